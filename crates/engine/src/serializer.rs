//! Serializers, which turn keys and values into bytes.

use bytes::{BufMut, BytesMut};

pub use crate::error::BoxError;

/// Turns keys or values of a type into bytes.
///
/// The producer calls it on the sending thread, once per key or value, and holds no lock of its own meanwhile.
///
/// ```
/// use bytes::BytesMut;
/// use kurier::{BoxError, Serializer};
///
/// struct Order {
///     id: u32,
/// }
///
/// #[derive(Debug)]
/// struct AsText;
///
/// impl Serializer<Order> for AsText {
///     fn serialize(&self, _topic: &str, order: &Order, out: &mut BytesMut) -> Result<(), BoxError> {
///         out.extend_from_slice(format!("order {}", order.id).as_bytes());
///         Ok(())
///     }
/// }
/// ```
pub trait Serializer<T: ?Sized>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`; the record goes to this topic.
    ///
    /// # Errors
    /// If the value cannot be serialised; the record is then not sent.
    fn serialize(&self, topic: &str, value: &T, out: &mut BytesMut) -> Result<(), BoxError>;

    /// Returns the bytes of `value`, if it holds them in this form. This saves one copy. It may be called
    /// several times for a record.
    fn as_bytes<'v>(&self, value: &'v T) -> Option<&'v [u8]> {
        let _ = value;
        None
    }
}

/// Takes anything that is already bytes: `&str`, `String`, `&[u8]`, `Vec<u8>`, `Bytes` (Java's `StringSerializer`,
/// `ByteArraySerializer`, `BytesSerializer`).
///
/// See [`Record`](crate::Record) for an example.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesSerializer;

impl<T: AsRef<[u8]> + ?Sized> Serializer<T> for BytesSerializer {
    fn serialize(&self, _: &str, value: &T, out: &mut BytesMut) -> Result<(), BoxError> {
        out.extend_from_slice(value.as_ref());
        Ok(())
    }

    #[inline]
    fn as_bytes<'v>(&self, value: &'v T) -> Option<&'v [u8]> {
        Some(value.as_ref())
    }
}

/// Takes only text, as UTF-8 (Java's `StringSerializer`).
///
/// See `kurier::ProducerBuilder` for an example.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringSerializer;

impl<T: AsRef<str> + ?Sized> Serializer<T> for StringSerializer {
    fn serialize(&self, _: &str, value: &T, out: &mut BytesMut) -> Result<(), BoxError> {
        out.extend_from_slice(value.as_ref().as_bytes());
        Ok(())
    }

    #[inline]
    fn as_bytes<'v>(&self, value: &'v T) -> Option<&'v [u8]> {
        Some(value.as_ref().as_bytes())
    }
}

/// Takes integers, and writes all their bytes in big-endian order (Java's `ShortSerializer`, `IntegerSerializer`,
/// `LongSerializer`).
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let broker = kurier_broker::Broker::start().await?;
/// # let producer = kurier::Producer::builder().key_serializer(kurier::IntegerSerializer).bootstrap_servers([broker.bootstrap_servers()]).build().await?;
/// // A producer with this serializer for its keys.
/// producer.deliver(kurier::Record::to("orders").key(42_i64).value("two")).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct IntegerSerializer;

macro_rules! integers {
    ($($type:ty, $put:ident;)*) => {$(
        impl Serializer<$type> for IntegerSerializer {
            fn serialize(&self, _: &str, value: &$type, out: &mut BytesMut) -> Result<(), BoxError> {
                out.$put(*value);
                Ok(())
            }
        }
    )*};
}

integers! { i16, put_i16; i32, put_i32; i64, put_i64; u16, put_u16; u32, put_u32; u64, put_u64; }

/// A key or value that is not set, so null.
///
/// See [`Record`](crate::Record) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unset;

/// A key or value that is set, possibly to null.
///
/// See [`Record`](crate::Record) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<T>(pub Option<T>);

/// A key or value that a serializer of type `S` takes: an unset one, or the result of
/// [`Record::key`](crate::Record::key) and [`Record::value`](crate::Record::value) for a `T` where `S` is a
/// [`Serializer`] of `T`.
///
/// See [`Record`](crate::Record) for an example.
pub trait Serialize<S>: sealed::Sealed + Send + Sync {
    /// Returns the bytes, if the part holds them in this form. The inner `None` is null.
    #[doc(hidden)]
    fn as_bytes<'v>(&'v self, serializer: &S) -> Option<Option<&'v [u8]>>;

    /// Appends the bytes to `out`.
    #[doc(hidden)]
    fn serialize(&self, serializer: &S, topic: &str, out: &mut BytesMut) -> Result<(), BoxError>;
}

impl<S> Serialize<S> for Unset {
    #[inline]
    fn as_bytes<'v>(&'v self, _: &S) -> Option<Option<&'v [u8]>> {
        Some(None)
    }

    fn serialize(&self, _: &S, _: &str, _: &mut BytesMut) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T: Send + Sync, S: Serializer<T>> Serialize<S> for Part<T> {
    #[inline]
    fn as_bytes<'v>(&'v self, serializer: &S) -> Option<Option<&'v [u8]>> {
        match &self.0 {
            None => Some(None),
            Some(value) => serializer.as_bytes(value).map(Some),
        }
    }

    fn serialize(&self, serializer: &S, topic: &str, out: &mut BytesMut) -> Result<(), BoxError> {
        self.0.as_ref().map_or(Ok(()), |value| serializer.serialize(topic, value, out))
    }
}

/// A key or value that was serialised before, or null.
///
/// See [`Record`](crate::Record) for an example of a record.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Serialized<'v>(pub Option<&'v [u8]>);

impl std::fmt::Debug for Serialized<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Serialized").field(&self.0.map(<[u8]>::len)).finish()
    }
}

impl<S> Serialize<S> for Serialized<'_> {
    fn as_bytes<'v>(&'v self, _: &S) -> Option<Option<&'v [u8]>> {
        Some(self.0)
    }

    fn serialize(&self, _: &S, _: &str, _: &mut BytesMut) -> Result<(), BoxError> {
        Ok(())
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
    impl Sealed for super::Unset {}
    impl Sealed for super::Serialized<'_> {}
    impl<T> Sealed for super::Part<T> {}
}
