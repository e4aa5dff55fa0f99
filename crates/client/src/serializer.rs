//! Keys and values as bytes.

use bytes::{BufMut, BytesMut};

/// An error of whatever kind.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Turns keys or values of a type into bytes.
///
/// It is called on the thread that sends, once a record, and under no lock of the producer's.
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
    /// Appends the bytes of `value`, which goes to this topic, to `out`.
    ///
    /// # Errors
    /// When it cannot be; the record is then not sent.
    fn serialize(&self, topic: &str, value: &T, out: &mut BytesMut) -> Result<(), BoxError>;

    /// The bytes of `value`, if it holds them as they are; it is then copied once less.
    fn as_bytes<'v>(&self, value: &'v T) -> Option<&'v [u8]> {
        let _ = value;
        None
    }
}

/// Takes anything that is bytes already: `&str`, `String`, `&[u8]`, `Vec<u8>`, `Bytes` (Java's `StringSerializer`,
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

    fn as_bytes<'v>(&self, value: &'v T) -> Option<&'v [u8]> {
        Some(value.as_ref())
    }
}

/// Takes texts alone, as UTF-8 (Java's `StringSerializer`).
///
/// See [`ProducerBuilder`](crate::ProducerBuilder) for an example.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringSerializer;

impl<T: AsRef<str> + ?Sized> Serializer<T> for StringSerializer {
    fn serialize(&self, _: &str, value: &T, out: &mut BytesMut) -> Result<(), BoxError> {
        out.extend_from_slice(value.as_ref().as_bytes());
        Ok(())
    }

    fn as_bytes<'v>(&self, value: &'v T) -> Option<&'v [u8]> {
        Some(value.as_ref().as_bytes())
    }
}

/// Takes integers, of which it writes all bytes, the highest first (Java's `ShortSerializer`, `IntegerSerializer`,
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

/// A key or value that is not set: null.
///
/// See [`Record`](crate::Record) for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unset;

/// A key or value that is set, perhaps to null.
///
/// See [`Record`](crate::Record) for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<T>(pub(crate) Option<T>);

/// A key or value that a serializer of type `S` takes: what [`Record::key`](crate::Record::key) and
/// [`Record::value`](crate::Record::value) make of `T` where `S` is a [`Serializer`] of `T`, and what is not set.
///
/// See [`Record`](crate::Record) for an example.
pub trait Serialize<S>: sealed::Sealed + Send + Sync {
    /// The bytes as they are, or appended to `scratch`, or null.
    #[doc(hidden)]
    fn serialize<'v>(&'v self, serializer: &S, topic: &str, scratch: &mut BytesMut) -> Result<Bytes<'v>, BoxError>;
}

/// Where the bytes of a part are.
#[doc(hidden)]
#[derive(Debug)]
#[expect(unnameable_types, reason = "nobody else calls what gives it")]
pub enum Bytes<'v> {
    /// Nowhere: it is null.
    Null,
    /// With the caller.
    Borrowed(&'v [u8]),
    /// In the scratch.
    Scratch,
}

impl<S> Serialize<S> for Unset {
    fn serialize<'v>(&'v self, _: &S, _: &str, _: &mut BytesMut) -> Result<Bytes<'v>, BoxError> {
        Ok(Bytes::Null)
    }
}

impl<T: Send + Sync, S: Serializer<T>> Serialize<S> for Part<T> {
    #[inline]
    fn serialize<'v>(&'v self, serializer: &S, topic: &str, scratch: &mut BytesMut) -> Result<Bytes<'v>, BoxError> {
        let Some(value) = &self.0 else { return Ok(Bytes::Null) };
        if let Some(bytes) = serializer.as_bytes(value) {
            return Ok(Bytes::Borrowed(bytes));
        }
        serializer.serialize(topic, value, scratch)?;
        Ok(Bytes::Scratch)
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Sealed {}
    impl Sealed for super::Unset {}
    impl<T> Sealed for super::Part<T> {}
}
