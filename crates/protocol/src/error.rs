//! Errors of reading and writing messages, with message, version, position and field.
//!
//! Inside the crate a parser fails with a [`Fault`], which has the number of bytes left and the path to the field. The
//! public functions know the message and the length of its body, and turn the fault into a [`ParseError`].

use std::fmt;

use crate::names::kafka_name;

/// An error in the bytes of a message.
///
/// The text names the message, its version, the byte and the field, in Kafka's own names:
/// `MetadataResponse v9: the input ends inside this value, at byte 17, in topics[0].partitions[2].leaderId`.
///
/// ```
/// use kurier_protocol::messages::SaslHandshakeRequest;
/// use kurier_protocol::{Message, ParseErrorKind};
///
/// let error = SaslHandshakeRequest::read(&bytes::Bytes::from_static(&[0, 5, b'P']), 1).unwrap_err();
/// assert_eq!((error.what(), error.version()), ("SaslHandshakeRequest", 1));
/// assert_eq!((error.offset(), error.field()), (2, "mechanism"));
/// assert_eq!(error.kind(), &ParseErrorKind::Truncated);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError(Box<ParseErrorInner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct ParseErrorInner {
    what: &'static str,
    version: i16,
    offset: usize,
    field: String,
    kind: ParseErrorKind,
}

/// The kind of a [`ParseError`]. See [`ParseError`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The input ends inside a value.
    Truncated,
    /// Bytes are left after the last field.
    TrailingBytes(usize),
    /// This crate does not know the version (or the batch's magic).
    UnsupportedVersion,
    /// This crate does not know the API key.
    UnknownApi(i16),
    /// A length or count below -1.
    NegativeLength(i64),
    /// A string longer than Kafka's limit of 32,767 bytes.
    StringTooLong(usize),
    /// Null where the schema allows none.
    UnexpectedNull,
    /// A string that is not UTF-8.
    InvalidUtf8,
    /// A variable-length integer with more bytes or bits than its type.
    VarintTooLong,
    /// An array that claims more elements than the bytes left can hold.
    CountExceedsInput(usize),
    /// Arrays of many small elements, which would take this many bytes more memory than their message may.
    MemoryExceedsInput(usize),
    /// More bytes than a field of its kind may have.
    BytesTooLong(usize),
    /// Tagged fields must come in strictly ascending order of their tags (KIP-482).
    TagOrder(u32),
    /// A known tagged field that is shorter or longer than its declared size.
    TagSize(u32),
    /// A batch whose declared length is below its header's or beyond the input.
    BatchLength(i32),
    /// A batch whose bytes do not match its checksum (CRC-32C).
    Crc {
        /// As written in the batch.
        stored: u32,
        /// As computed from its bytes.
        computed: u32,
    },
    /// A batch whose record count is negative or contradicts its last offset delta or its records.
    RecordCount(i32),
    /// A record whose declared length does not match its content.
    RecordLength(i64),
    /// A record whose offset is not above the one before it, or is outside its batch.
    OffsetDelta(i32),
    /// An offset or timestamp beyond 64 bits.
    Overflow,
    /// The records are compressed: decompress the body first.
    Compressed,
}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the input ends inside this value"),
            Self::TrailingBytes(n) => write!(f, "{n} bytes are left after the last field"),
            Self::UnsupportedVersion => write!(f, "this version is not supported"),
            Self::UnknownApi(key) => write!(f, "no API with key {key} is known"),
            Self::NegativeLength(n) => write!(f, "the length {n} is negative"),
            Self::StringTooLong(n) => write!(f, "a string of {n} bytes is longer than 32767"),
            Self::UnexpectedNull => write!(f, "null is not allowed here"),
            Self::InvalidUtf8 => write!(f, "the string is not UTF-8"),
            Self::VarintTooLong => write!(f, "the variable-length integer does not fit its type"),
            Self::CountExceedsInput(n) => write!(f, "an array of {n} elements cannot fit into the bytes left"),
            Self::MemoryExceedsInput(n) => write!(f, "its elements would take {n} bytes, far more than the message"),
            Self::BytesTooLong(n) => write!(f, "{n} bytes are more than this field may have"),
            Self::TagOrder(tag) => write!(f, "the tagged field {tag} is repeated or out of order"),
            Self::TagSize(tag) => write!(f, "the tagged field {tag} does not fill its declared size"),
            Self::BatchLength(n) => write!(f, "the batch length {n} is not possible"),
            Self::Crc { stored, computed } => {
                write!(f, "the checksum is {stored:08x} but the bytes give {computed:08x}: they were altered")
            }
            Self::RecordCount(n) => write!(f, "the record count {n} does not agree with the batch"),
            Self::RecordLength(n) => write!(f, "the record length {n} does not agree with the record"),
            Self::OffsetDelta(n) => write!(f, "the offset delta {n} is out of order or outside the batch"),
            Self::Overflow => write!(f, "the value does not fit into 64 bits"),
            Self::Compressed => write!(f, "the records are compressed"),
        }
    }
}

impl ParseError {
    /// Returns an error without a position within the fields.
    pub(crate) fn whole(what: &'static str, version: i16, kind: ParseErrorKind) -> Self {
        Self(Box::new(ParseErrorInner { what, version, offset: 0, field: String::new(), kind }))
    }

    /// Adds a position to a fault; `len` is the length of the input in which the fault occurred.
    pub(crate) fn locate(fault: nom::Err<Fault>, what: &'static str, version: i16, len: usize) -> Self {
        let fault = match fault {
            nom::Err::Error(fault) | nom::Err::Failure(fault) => *fault.0,
            // Frames are parsed without streaming parsers. If one were used, incomplete input would mean truncation.
            nom::Err::Incomplete(_) => FaultInner { kind: ParseErrorKind::Truncated, left: 0, path: Vec::new() },
        };
        let offset = len.saturating_sub(fault.left);
        Self(Box::new(ParseErrorInner { what, version, offset, field: written(&fault.path), kind: fault.kind }))
    }

    /// Returns the same error relative to input that begins `bytes` earlier, within the element of this index.
    pub(crate) fn within(mut self, bytes: usize, index: usize) -> Self {
        let inner = &mut self.0;
        inner.offset = inner.offset.saturating_add(bytes);
        let dot = if inner.field.is_empty() { "" } else { "." };
        inner.field = format!("[{index}]{dot}{}", inner.field);
        self
    }

    /// The message or structure being read, by its Kafka name: `MetadataResponse`, `RecordBatch`.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.0.what
    }

    /// The version being read; the magic for a record batch.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.0.version
    }

    /// Number of bytes before the failing value: in a message's body, or for records in the batch's body after
    /// decompression.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.0.offset
    }

    /// Path to the failing field, such as `topics[0].name`; empty outside a field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> &ParseErrorKind {
        &self.0.kind
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseErrorInner { what, version, offset, field, kind } = &*self.0;
        write!(f, "{what} v{version}: {kind}, at byte {offset}")?;
        if !field.is_empty() {
            write!(f, ", in {field}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseError {}

/// A message that cannot be written in the requested version.
///
/// ```
/// use kurier_protocol::messages::FindCoordinatorRequest;
/// use kurier_protocol::{EncodeErrorKind, Message};
///
/// let request = FindCoordinatorRequest { coordinator_keys: vec!["orders-1".to_owned()], ..Default::default() };
/// let error = request.write(3, &mut Vec::new()).unwrap_err();
/// assert_eq!(error.kind(), &EncodeErrorKind::NotInVersion);
/// assert_eq!(
///     error.to_string(),
///     "FindCoordinatorRequest v3: the field is set, but this version cannot carry it, in coordinatorKeys"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(Box<EncodeErrorInner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct EncodeErrorInner {
    what: &'static str,
    version: i16,
    path: Vec<Step>,
    kind: EncodeErrorKind,
}

/// The kind of an [`EncodeError`]. See [`EncodeError`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// This crate does not know the version.
    UnsupportedVersion,
    /// This crate does not know the API key.
    UnknownApi(i16),
    /// The field is set but does not exist in the version, and the receiver needs it.
    NotInVersion,
    /// Null where this version allows none.
    UnexpectedNull,
    /// Longer than the length prefix allows: 32,767 bytes for strings, 2,147,483,647 for all else.
    TooLong(usize),
    /// The difference between a record's timestamp and the batch's first exceeds 64 bits.
    Overflow,
}

impl fmt::Display for EncodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedVersion => write!(f, "this version is not supported"),
            Self::UnknownApi(key) => write!(f, "no API with key {key} is known"),
            Self::NotInVersion => write!(f, "the field is set, but this version cannot carry it"),
            Self::UnexpectedNull => write!(f, "this version does not allow null here"),
            Self::TooLong(n) => write!(f, "a length of {n} does not fit its prefix"),
            Self::Overflow => write!(f, "the timestamp is too far from the batch's first"),
        }
    }
}

impl EncodeError {
    pub(crate) fn new(kind: EncodeErrorKind) -> Self {
        Self(Box::new(EncodeErrorInner { what: "", version: 0, path: Vec::new(), kind }))
    }

    pub(crate) fn inside(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    pub(crate) fn of(mut self, what: &'static str, version: i16) -> Self {
        self.0.what = what;
        self.0.version = version;
        self
    }

    /// The message being written, by its Kafka name.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.0.what
    }

    /// The requested version.
    #[must_use]
    pub fn version(&self) -> i16 {
        self.0.version
    }

    /// Path to the field, such as `topics[0].name`; empty outside a field.
    #[must_use]
    pub fn field(&self) -> String {
        written(&self.0.path)
    }

    /// The kind of error.
    #[must_use]
    pub fn kind(&self) -> &EncodeErrorKind {
        &self.0.kind
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EncodeErrorInner { what, version, path, kind } = &*self.0;
        write!(f, "{what} v{version}: {kind}")?;
        if !path.is_empty() {
            write!(f, ", in {}", written(path))?;
        }
        Ok(())
    }
}

impl std::error::Error for EncodeError {}

/// One step on the path from a message to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Field(&'static str),
    Index(usize),
}

/// A parser's failure before the message and its length are known. Boxed to keep the success value small.
#[derive(Debug)]
pub(crate) struct Fault(Box<FaultInner>);

#[derive(Debug)]
struct FaultInner {
    kind: ParseErrorKind,
    /// Number of unread bytes at the failure.
    left: usize,
    /// Innermost step first.
    path: Vec<Step>,
}

impl Fault {
    pub(crate) fn new(kind: ParseErrorKind, input: &[u8]) -> Self {
        Self(Box::new(FaultInner { kind, left: input.len(), path: Vec::new() }))
    }

    fn inside(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    /// Returns the same fault relative to input that continues for `bytes` after the fault's own input.
    pub(crate) fn with_more(mut self, bytes: usize) -> Self {
        self.0.left = self.0.left.saturating_add(bytes);
        self
    }
}

impl nom::error::ParseError<&[u8]> for Fault {
    /// nom's primitive parsers fail only on too few bytes.
    fn from_error_kind(input: &[u8], _: nom::error::ErrorKind) -> Self {
        Self::new(ParseErrorKind::Truncated, input)
    }

    fn append(_: &[u8], _: nom::error::ErrorKind, other: Self) -> Self {
        other
    }
}

/// Adds a step to the path of a fault.
pub(crate) fn inside(error: nom::Err<Fault>, step: Step) -> nom::Err<Fault> {
    error.map(|fault| fault.inside(step))
}

/// Formats a path such as `topics[0].partitions[2].leaderId`, from its steps, innermost first.
fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path.iter().rev() {
        match step {
            Step::Field(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&kafka_name(name));
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
