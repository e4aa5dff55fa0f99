//! Reader of requests. It is a plain cursor that shares no code with `kurier-protocol`: a client and a broker with the
//! same tables would agree on each other's mistakes.
//!
//! Compact forms, null and tagged fields follow KIP-482. The flexible version of each API is in the table of APIs.

/// Limit on the array elements of a request. An element may take a byte or two in the request, but many times that in
/// the node's memory.
const ELEMENTS_MAX: usize = 200_000;

/// Error for a malformed request. Kafka closes the connection on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A cursor over a request's bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    is_flexible: bool,
    is_strict: bool,
    elements_left: usize,
}

pub(super) type Read<T> = Result<T, Malformed>;

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, is_flexible: false, is_strict: true, elements_left: ELEMENTS_MAX }
    }

    /// Sets whether bytes after the request are refused.
    pub(super) fn strict(self, is_strict: bool) -> Self {
        Self { is_strict, ..self }
    }

    /// Sets whether lengths are compact and structures end in tagged fields, from here on.
    pub(super) fn flexible(self, is_flexible: bool) -> Self {
        Self { is_flexible, ..self }
    }

    fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn slice(&mut self, len: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn int8(&mut self) -> Read<i8> {
        Ok(i8::from_be_bytes(self.take()?))
    }

    pub(super) fn int16(&mut self) -> Read<i16> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    pub(super) fn int32(&mut self) -> Read<i32> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    pub(super) fn int64(&mut self) -> Read<i64> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    pub(super) fn boolean(&mut self) -> Read<bool> {
        Ok(self.int8()? != 0)
    }

    pub(super) fn uuid(&mut self) -> Read<[u8; 16]> {
        self.take()
    }

    /// Reads up to five bytes of seven bits, the lowest first.
    fn unsigned_varint(&mut self) -> Read<u32> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.take()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(value).map_err(|_| Malformed);
            }
        }
        Err(Malformed)
    }

    /// Reads a length: compact, of 16 bits or of 32; `None` is null.
    fn length(&mut self, is_short: bool) -> Read<Option<usize>> {
        let length = match (self.is_flexible, is_short) {
            (true, _) => i64::from(self.unsigned_varint()?) - 1,
            (false, true) => self.int16()?.into(),
            (false, false) => self.int32()?.into(),
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Malformed),
        }
    }

    pub(super) fn nullable_string(&mut self) -> Read<Option<&'a str>> {
        let Some(length) = self.length(true)? else { return Ok(None) };
        str::from_utf8(self.slice(length)?).map(Some).map_err(|_| Malformed)
    }

    pub(super) fn string(&mut self) -> Read<&'a str> {
        self.nullable_string()?.ok_or(Malformed)
    }

    pub(super) fn nullable_bytes(&mut self) -> Read<Option<&'a [u8]>> {
        match self.length(false)? {
            None => Ok(None),
            Some(length) => self.slice(length).map(Some),
        }
    }

    /// Reads an array that may be null; `element` reads each element.
    pub(super) fn nullable_array<T>(&mut self, mut element: impl FnMut(&mut Self) -> Read<T>) -> Read<Option<Vec<T>>> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        // Every element takes at least one byte.
        if length > self.rest.len() {
            return Err(Malformed);
        }
        self.elements_left = self.elements_left.checked_sub(length).ok_or(Malformed)?;
        (0..length).map(|_| element(self)).collect::<Read<Vec<T>>>().map(Some)
    }

    pub(super) fn array<T>(&mut self, element: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.nullable_array(element)?.ok_or(Malformed)
    }

    /// Skips the tagged fields at the end of a structure; this broker uses none.
    pub(super) fn tags(&mut self) -> Read<()> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            let _tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()?;
            self.slice(usize::try_from(size).map_err(|_| Malformed)?)?;
        }
        Ok(())
    }

    /// Checks that no bytes are left, if the reader is strict.
    pub(super) fn end(self) -> Read<()> {
        if self.rest.is_empty() || !self.is_strict { Ok(()) } else { Err(Malformed) }
    }
}
