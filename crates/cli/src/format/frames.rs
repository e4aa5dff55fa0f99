//! The `frames` format: binary records, each preceded by its length.
//!
//! ```text
//! frame:   length int32 (of what follows), version int8 (1),
//!          partition int32 (-1: none), timestamp int64 (milliseconds since 1970; -1: none),
//!          key bytes, value bytes, header count int32, then for each header: name bytes, value bytes
//! bytes:   length int32 (-1: null), and as many bytes
//! ```
//!
//! Integers are big-endian. A name cannot be null. There is no separator between frames.

use std::borrow::Cow;
use std::io::{self, Write};

use super::entry::{Entry, Header, partition, timestamp};
use super::extent::{Extent, Flaw, More, Resume, shown};

/// The only version of the layout.
const VERSION: u8 = 1;

/// Size of a frame's length.
const LENGTH_BYTES: usize = 4;

/// Smallest size of a header: two lengths.
const HEADER_BYTES_MIN: usize = 8;

pub(crate) fn write(entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut body = vec![VERSION];
    body.extend(entry.partition.unwrap_or(-1).to_be_bytes());
    body.extend(entry.timestamp.unwrap_or(-1).to_be_bytes());
    put_bytes(entry.key.as_deref(), &mut body)?;
    put_bytes(entry.value.as_deref(), &mut body)?;
    body.extend(length(entry.headers.len())?.to_be_bytes());
    for header in &entry.headers {
        put_bytes(Some(&header.name), &mut body)?;
        put_bytes(header.value.as_deref(), &mut body)?;
    }
    out.write_all(&length(body.len())?.to_be_bytes())?;
    out.write_all(&body)
}

fn put_bytes(bytes: Option<&[u8]>, body: &mut Vec<u8>) -> io::Result<()> {
    let length = bytes.map_or(Ok(-1), |bytes| length(bytes.len()))?;
    body.extend(length.to_be_bytes());
    body.extend_from_slice(bytes.unwrap_or_default());
    Ok(())
}

fn length(length: usize) -> io::Result<i32> {
    i32::try_from(length).map_err(|_| io::Error::other("a record above 2 GiB does not fit a frame"))
}

/// Finds the end of the frame. An error names `limit`, from which the caller computed `longest`.
pub(crate) fn extent(input: &[u8], is_end: bool, longest: usize, limit: usize) -> Extent {
    let cut = |text: String| Extent::Bad(Flaw::new(input.len(), text), Resume::Never);
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else {
        return match is_end {
            true => cut(format!("expected a frame's length of 4 bytes, found {} bytes and the end", input.len())),
            false => Extent::More(More::UpTo(LENGTH_BYTES)),
        };
    };
    let number = i32::from_be_bytes(*length);
    let Ok(length) = usize::try_from(number) else {
        let text = format!("expected a frame's length, found {number}: is this input of --format frames?");
        return Extent::Bad(Flaw::new(0, text), Resume::Never);
    };
    let frame = LENGTH_BYTES.saturating_add(length);
    if frame > longest {
        let text = format!(
            "a frame of {length} bytes is above the limit of {longest} for max.request.size={limit}: raise \
             max.request.size, or check that this is input of --format frames"
        );
        return Extent::Bad(Flaw::new(0, text), Resume::After(frame as u64));
    }
    match input.len() >= frame {
        true => Extent::Record(frame),
        false if is_end => {
            let found = input.len().saturating_sub(LENGTH_BYTES);
            cut(format!("expected a frame of {length} bytes, found {found} bytes and the end of the input"))
        }
        false => Extent::More(More::UpTo(frame)),
    }
}

pub(crate) fn decode(frame: &[u8]) -> Result<Entry<'_>, Flaw> {
    let mut fields = Fields { frame, at: LENGTH_BYTES };
    let version = fields.take(1, "a version")?;
    if version != [VERSION] {
        let text = format!("expected version {VERSION} of the frame layout, found {}", shown(version));
        return Err(Flaw::new(LENGTH_BYTES, text));
    }
    let partition_at = fields.at;
    let partition = partition(fields.int("a partition")?.into()).map_err(|text| Flaw::new(partition_at, text))?;
    let timestamp_at = fields.at;
    let timestamp = timestamp(fields.long("a timestamp")?).map_err(|text| Flaw::new(timestamp_at, text))?;
    let (key, value) = (fields.bytes("a key")?, fields.bytes("a value")?);
    let count_at = fields.at;
    let count = fields.int("a count of headers")?;
    let left = frame.len().saturating_sub(fields.at);
    let count = usize::try_from(count).ok().filter(|count| *count <= left / HEADER_BYTES_MIN).ok_or_else(|| {
        Flaw::new(count_at, format!("expected a count of headers that fits {left} bytes, found {count}"))
    })?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let at = fields.at;
        let name = fields.bytes("a header's name")?;
        let name = name.ok_or_else(|| Flaw::new(at, "expected a header's name, found null"))?;
        headers.push(Header { name, value: fields.bytes("a header's value")? });
    }
    let left = frame.get(fields.at..).unwrap_or_default();
    if !left.is_empty() {
        return Err(Flaw::new(fields.at, format!("expected the frame's end, found {} more bytes", left.len())));
    }
    Ok(Entry { partition, timestamp, key, value, headers, ..Entry::default() })
}

/// A cursor over a frame.
struct Fields<'a> {
    frame: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], Flaw> {
        let rest = self.frame.get(self.at..).unwrap_or_default();
        let taken = rest.get(..count).ok_or_else(|| {
            Flaw::new(self.at, format!("expected {what} of {count} bytes, found the frame's end after {}", rest.len()))
        })?;
        self.at += count;
        Ok(taken)
    }

    fn int(&mut self, what: &str) -> Result<i32, Flaw> {
        let bytes = self.take(4, what)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes)))
    }

    fn long(&mut self, what: &str) -> Result<i64, Flaw> {
        let bytes = self.take(8, what)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes)))
    }

    fn bytes(&mut self, what: &str) -> Result<Option<Cow<'a, [u8]>>, Flaw> {
        let at = self.at;
        match self.int(what)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length);
                let length = length
                    .map_err(|_| Flaw::new(at, format!("expected the length of {what}, found a negative one")))?;
                self.take(length, what).map(|bytes| Some(Cow::Borrowed(bytes)))
            }
        }
    }
}
