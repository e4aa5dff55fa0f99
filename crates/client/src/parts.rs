//! A record's key and value as bytes.

use std::cell::Cell;
use std::ops::Range;

use bytes::BytesMut;

use kurier_engine::error::{BoxError, Error, ErrorKind, printable};
use kurier_engine::record::Record;
use kurier_engine::serializer::{Serialize, Serializer};

/// A serialised key and value.
pub(crate) struct Parts<'v> {
    key: Field<'v>,
    value: Field<'v>,
    scratch: Scratch,
}

/// A serialised key or value.
pub(crate) enum Field<'v> {
    /// In the caller's memory, or null.
    Borrowed(Option<&'v [u8]>),
    /// Written to the scratch buffer.
    Scratch(Range<usize>),
}

/// The part of [`Parts`] that does not borrow from a record. So a record can be moved before it is sent, and its
/// serializers still write once.
#[derive(Default)]
pub(crate) struct Output {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    scratch: Scratch,
}

impl<'v> Parts<'v> {
    /// Serialises a record's key and value.
    #[inline]
    pub(crate) fn of<KS, VS, K, V>(record: &'v Record<'_, K, V>, keys: &KS, values: &VS) -> Result<Self, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        Output::default().with(record, keys, values)
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.key.bytes(&self.scratch)
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.value.bytes(&self.scratch)
    }

    /// Lets go of the record.
    pub(crate) fn detach(self) -> Output {
        let range = |field| match field {
            Field::Borrowed(_) => None,
            Field::Scratch(range) => Some(range),
        };
        Output { key: range(self.key), value: range(self.value), scratch: self.scratch }
    }
}

impl Output {
    /// Serialises the parts of a record that its serializers have not written.
    #[inline]
    pub(crate) fn with<'v, KS, VS, K, V>(
        self,
        record: &'v Record<'_, K, V>,
        keys: &KS,
        values: &VS,
    ) -> Result<Parts<'v>, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        let Self { key, value, mut scratch } = self;
        let key = match key {
            Some(range) => Field::Scratch(range),
            None => {
                scratch.field(&record.key, keys, record.topic).map_err(|error| refused("key", record.topic, error))?
            }
        };
        let value = match value {
            Some(range) => Field::Scratch(range),
            None => {
                let field = scratch.field(&record.value, values, record.topic);
                field.map_err(|error| refused("value", record.topic, error))?
            }
        };
        Ok(Parts { key, value, scratch })
    }
}

impl<'v> Field<'v> {
    pub(crate) fn bytes<'a>(&'a self, scratch: &'a Scratch) -> Option<&'a [u8]>
    where
        'v: 'a,
    {
        match self {
            Field::Borrowed(bytes) => *bytes,
            Field::Scratch(range) => scratch.0.as_ref()?.get(range.clone()),
        }
    }
}

/// Error for a part that its serializer refused.
#[cold]
fn refused(part: &str, topic: &str, error: BoxError) -> Error {
    let text = format!("cannot serialize the {part} of a record for topic {}", printable(topic));
    Error::new(ErrorKind::Serialization, text).caused_by(error)
}

/// Output buffer of serializers. Each thread has one, which is taken when a serializer first needs it.
#[derive(Default)]
pub(crate) struct Scratch(Option<BytesMut>);

std::thread_local! {
    static SCRATCH: Cell<BytesMut> = Cell::default();
}

impl Scratch {
    /// Returns the bytes of a part: its own, or written here.
    #[inline]
    fn field<'v, S, T: Serialize<S>>(
        &mut self,
        part: &'v T,
        serializer: &S,
        topic: &str,
    ) -> Result<Field<'v>, BoxError> {
        match part.as_bytes(serializer) {
            Some(bytes) => Ok(Field::Borrowed(bytes)),
            None => self.write(|out| part.serialize(serializer, topic, out)).map(Field::Scratch),
        }
    }

    /// Returns the bytes of a value.
    pub(crate) fn value<'v, S: Serializer<V>, V>(
        &mut self,
        value: &'v V,
        serializer: &S,
        topic: &str,
    ) -> Result<Field<'v>, Error> {
        match serializer.as_bytes(value) {
            Some(bytes) => Ok(Field::Borrowed(Some(bytes))),
            None => self.write(|out| serializer.serialize(topic, value, out)).map(Field::Scratch),
        }
        .map_err(|error| refused("value", topic, error))
    }

    /// Returns how many bytes were written here.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, BytesMut::len)
    }

    /// Lets a serializer write, and returns where its output is.
    fn write<E>(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<Range<usize>, E> {
        // A thread that is ending has lost its buffer already.
        let out = self.0.get_or_insert_with(|| SCRATCH.try_with(Cell::take).unwrap_or_default());
        let start = out.len();
        write(out)?;
        Ok(start..out.len())
    }
}

impl Drop for Scratch {
    #[inline]
    fn drop(&mut self) {
        /// A buffer that grew for a large record is not kept.
        const KEPT_BYTES_MAX: usize = 64 * 1024;
        if let Some(mut scratch) = self.0.take()
            && scratch.capacity() <= KEPT_BYTES_MAX
        {
            scratch.clear();
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
    }
}
