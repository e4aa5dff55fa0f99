//! What went wrong: whose fault, where, after what, whether the record may be in the log all the same, and what to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kurier_protocol::ErrorCode;

/// Why a record was not delivered, or a call not carried out.
///
/// Cheap to clone: all records of a batch share one. [`written`](Self::written) is the question to ask before sending a
/// record again.
///
/// ```
/// use kurier::{ErrorKind, Producer, Written};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let error = runtime.block_on(Producer::builder().set("linger.m", "5").build()).unwrap_err();
/// assert_eq!((error.kind(), error.written()), (ErrorKind::Configuration, Written::No));
/// assert_eq!(error.to_string(), "unknown producer setting linger.m: did you mean linger.ms?");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

type Cause = Arc<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    text: String,
    written: Written,
    place: Option<(Arc<str>, i32)>,
    node: Option<String>,
    code: Option<ErrorCode>,
    stage: Option<Stage>,
    attempts: u32,
    age: Option<Duration>,
    cause: Option<Cause>,
}

/// What kind of thing went wrong, and so whose turn it is.
///
/// See [`Error`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong, or two do not agree. Mend the configuration.
    Configuration,
    /// The record is larger than `max.request.size`, `buffer.memory` or its topic allow. Make it smaller, or allow more.
    RecordTooLarge,
    /// The record's timestamp is negative. Give milliseconds since 1970, or none.
    InvalidTimestamp,
    /// The topic's name is none that Kafka allows. Use another.
    InvalidTopic,
    /// The serializer refused the key or the value.
    Serialization,
    /// The partitioner refused the record, or its partition is none of the topic's.
    Partitioning,
    /// The topic's partitions were not learnt in time, or it does not exist.
    Metadata,
    /// The topic's partitions are not known yet; they are being asked for. Only [`try_send`](crate::Producer::try_send)
    /// says so.
    MetadataPending,
    /// There was no room under `buffer.memory` in time. Send more slowly, or give more memory.
    BufferFull,
    /// The outcome was not known before `delivery.timeout.ms`.
    DeliveryTimeout,
    /// A broker refused; [`error_code`](Error::error_code) says how.
    Refused,
    /// The broker that a request would go to does not offer an API, or a version of it, that the configuration needs. The
    /// text names the API, what needs it, and the way out.
    Unsupported,
    /// No broker could be reached, or one broke the protocol.
    Network,
    /// The producer is closed, or was closed before the record was delivered.
    Closed,
    /// The topic was deleted and made anew while the record was on its way.
    TopicRecreated,
    /// A bug in Kurier. Please report it.
    Bug,
}

/// Whether a record that failed may be in the log.
///
/// See [`Error`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// It is not, and will not be.
    No,
    /// It may be, now or in a moment: the answer was lost, or said too little.
    Unknown,
}

/// How far a record had come.
///
/// ```
/// # fn look(error: &kurier::Error) {
/// if error.stage() == Some(kurier::Stage::Queued) {
///     println!("it never left: {error}");
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// It was never sent: its batch was open, or waited to be sent.
    Queued,
    /// It was sent at least once, and waited to be sent again.
    Backoff,
    /// Its batch was on its way to a broker, or the answer on its way back.
    InFlight,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Backoff => "waiting to be sent again",
            Self::InFlight => "in flight",
        })
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            text: text.into(),
            written: Written::No,
            place: None,
            node: None,
            code: None,
            stage: None,
            attempts: 0,
            age: None,
            cause: None,
        }))
    }

    fn change(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// A broker's refusal.
    pub(crate) fn refused(code: ErrorCode, said: Option<&str>) -> Self {
        let text = match said {
            Some(said) => format!("{code}, {} (the broker says: {})", code.meaning(), printable(said)),
            None => format!("{code}, {}", code.meaning()),
        };
        let kind = match code {
            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => ErrorKind::RecordTooLarge,
            _ => ErrorKind::Refused,
        };
        Self::new(kind, text).change(|inner| inner.code = Some(code))
    }

    pub(crate) fn caused_by(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let cause: Box<dyn std::error::Error + Send + Sync> = cause.into();
        self.change(|inner| inner.cause = Some(cause.into()))
    }

    pub(crate) fn written_is(self, written: Written) -> Self {
        self.change(|inner| inner.written = written)
    }

    /// Adds the reason to the text.
    pub(crate) fn because(self, why: &str) -> Self {
        self.change(|inner| inner.text = format!("{}: {why}", inner.text))
    }

    pub(crate) fn at(self, topic: &Arc<str>, partition: i32) -> Self {
        self.change(|inner| inner.place = Some((Arc::clone(topic), partition)))
    }

    pub(crate) fn on(self, node: Option<String>) -> Self {
        self.change(|inner| inner.node = node)
    }

    pub(crate) fn with_code(self, code: Option<ErrorCode>) -> Self {
        self.change(|inner| inner.code = code.or(inner.code))
    }

    pub(crate) fn after(self, stage: Stage, attempts: u32, age: Duration) -> Self {
        self.change(|inner| {
            inner.stage = Some(stage);
            inner.attempts = attempts;
            inner.age = Some(age);
        })
    }

    /// Whether this is a clone of another error, which shares its text.
    #[cfg(test)]
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the record may be in the log all the same. Of a call that concerned no record it is `No`.
    #[must_use]
    pub fn written(&self) -> Written {
        self.0.written
    }

    /// The record's topic and partition, once they were chosen.
    #[must_use]
    pub fn topic_partition(&self) -> Option<(&str, i32)> {
        self.0.place.as_ref().map(|(topic, partition)| (&**topic, *partition))
    }

    /// The last thing that a broker said of it.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.0.code
    }

    /// The broker that it was about, as its id and address.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// How far the record had come.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        self.0.stage
    }

    /// How often its batch had been sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How old its batch was.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.0.age
    }

    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self.0.kind {
            ErrorKind::MetadataPending
            | ErrorKind::Metadata
            | ErrorKind::BufferFull
            | ErrorKind::DeliveryTimeout
            | ErrorKind::Network => true,
            ErrorKind::Refused => self.0.code.is_some_and(ErrorCode::is_retriable),
            _ => false,
        }
    }

    /// Whether the producer can do nothing more: it is closed, or met a bug of its own.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Closed | ErrorKind::Bug)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, text, written, place, node, stage, attempts, age, cause, .. } = &*self.0;
        if let Some((topic, partition)) = place {
            write!(f, "produce to {}-{partition}", printable(topic))?;
            if let Some(node) = node {
                write!(f, " on {node}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{text}")?;
        if let Some(cause) = cause {
            write!(f, ": {cause}")?;
        }
        if let (Some(stage), Some(age)) = (stage, age) {
            write!(f, "; {stage}, ")?;
            match attempts {
                0 => write!(f, "never sent")?,
                1 => write!(f, "sent once")?,
                many => write!(f, "sent {many} times")?,
            }
            write!(f, " in {:.1} s", age.as_secs_f64())?;
        }
        match (place, written) {
            (None, _) => {}
            (Some(_), Written::No) => write!(f, "; not written")?,
            (Some(_), Written::Unknown) => write!(f, "; it is not known whether it was written")?,
        }
        if *kind == ErrorKind::Bug {
            write!(f, "; this is a bug in Kurier, please report it")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

/// Text of a user or a peer, made fit for a terminal and a log: control characters and those that turn or hide others are
/// escaped, and a long text is cut.
pub(crate) fn printable(text: &str) -> String {
    /// No error needs more of what a peer says.
    const CHARACTERS_MAX: usize = 512;
    let shown = |letter: char| match letter {
        '"' | '\'' | '\\' => letter.to_string(),
        _ => letter.escape_debug().to_string(),
    };
    let end = text.char_indices().nth(CHARACTERS_MAX).map(|(at, _)| at);
    let kept: String = text.get(..end.unwrap_or(text.len())).unwrap_or_default().chars().map(shown).collect();
    match end {
        Some(_) => format!("{kept}... ({} bytes in all)", text.len()),
        None => kept,
    }
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", printable(text.unwrap_or("without a message")))
}

/// A record that was not accepted, with the reason.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let broker = kurier_broker::Broker::start().await?;
/// # let producer = kurier::Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await?;
/// use kurier::{ErrorKind, Record};
///
/// let refused = producer.try_send(Record::to("orders").value("two")).unwrap_err();
/// assert_eq!(refused.error.kind(), ErrorKind::MetadataPending);
/// // The record is back, to be sent as soon as its topic is known.
/// producer.deliver(refused.record).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SendError<R> {
    /// Why.
    pub error: Error,
    /// The record, to be sent again or kept.
    pub record: R,
}

impl<R> fmt::Display for SendError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<R: fmt::Debug> std::error::Error for SendError<R> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<R> From<SendError<R>> for Error {
    fn from(error: SendError<R>) -> Self {
        error.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut() {
        for (text, expected) in [
            ("e\x1b".repeat(256), "e\\u{1b}".repeat(256)),
            ("\u{e9}".repeat(513), format!("{}... (1026 bytes in all)", "\u{e9}".repeat(512))),
        ] {
            assert_eq!(printable(&text), expected);
        }
        let error = Error::refused(ErrorCode::INVALID_RECORD, Some(&"x".repeat(200_000)));
        assert!(error.to_string().len() < 1_000, "{}", error.to_string().len());
    }

    #[test]
    fn the_manual_tells_of_every_kind() {
        let kinds = [
            ErrorKind::Configuration,
            ErrorKind::RecordTooLarge,
            ErrorKind::InvalidTimestamp,
            ErrorKind::InvalidTopic,
            ErrorKind::Serialization,
            ErrorKind::Partitioning,
            ErrorKind::Metadata,
            ErrorKind::MetadataPending,
            ErrorKind::BufferFull,
            ErrorKind::DeliveryTimeout,
            ErrorKind::Refused,
            ErrorKind::Unsupported,
            ErrorKind::Network,
            ErrorKind::Closed,
            ErrorKind::TopicRecreated,
            ErrorKind::Bug,
        ];
        let manual = include_str!("manual/errors.md");
        let rows: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(rows, kinds.map(|kind| format!("{kind:?}")));
    }
}
