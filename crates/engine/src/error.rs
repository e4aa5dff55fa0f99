//! Error type of the producer, with the facts that decide whether to send a record again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kurier_protocol::{ErrorCode, PartitionIndex};

/// Why a record was not delivered, or a call failed.
///
/// Cheap to clone: all records of a batch share one error. Check [`written`](Self::written) before sending a record
/// again.
///
/// `{error}` says what failed and what to do. [`source`](std::error::Error::source) has the cause, and its source the
/// next one. `{error:#}` prints the whole chain in one line, from the failure to its root cause: use it in logs. The
/// `{:#}` of `anyhow` prints the same line.
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

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    text: String,
    written: Written,
    place: Option<(Arc<str>, PartitionIndex)>,
    node: Option<String>,
    code: Option<ErrorCode>,
    stage: Option<Stage>,
    attempts: u32,
    age: Option<Duration>,
    cause: Option<Cause>,
}

/// Category of an error, and with it who can fix the problem.
///
/// See [`Error`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is wrong, or two settings contradict each other. Correct the configuration.
    Configuration,
    /// The record is larger than `max.request.size`, `buffer.memory` or its topic allow. Make it smaller, or raise the
    /// limit.
    RecordTooLarge,
    /// The record's timestamp is negative. Use milliseconds since 1970, or no timestamp.
    InvalidTimestamp,
    /// Kafka does not allow the topic's name. Use another name.
    InvalidTopic,
    /// The serializer refused the key or the value.
    Serialization,
    /// The partitioner rejected the record, or the topic does not have the record's partition.
    Partitioning,
    /// The topic's partitions were not known in time, or the topic does not exist.
    Metadata,
    /// The topic's partitions are not known yet; the producer has requested them. Only
    /// `kurier::try_send` fails with this.
    MetadataPending,
    /// No room under `buffer.memory` in time. Send more slowly, or raise the limit.
    BufferFull,
    /// The record had no outcome within `delivery.timeout.ms`.
    DeliveryTimeout,
    /// A broker refused the request or the record; [`error_code`](Error::error_code) has the reason.
    Refused,
    /// A broker lacks an API, or a version of an API, that the configuration needs. The error text names the API, the
    /// setting that needs it, and the way out.
    Unsupported,
    /// A broker refused the credentials or our certificate, or did not prove its identity. Correct the credentials or the
    /// trusted certificates.
    Authentication,
    /// No broker could be reached, or a broker broke the protocol.
    Network,
    /// The producer is closed, or was closed before the record was delivered.
    Closed,
    /// The topic was deleted and created again while the record was on its way.
    TopicRecreated,
    /// A bug in Kurier. Please report it.
    Bug,
}

/// Whether a record that failed may be in the log.
///
/// See [`Error`] for an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Written {
    /// The record is not in the log, and will not be.
    No,
    /// The record may be in the log, now or in a moment: the broker's response was lost or did not settle it.
    Unknown,
}

/// How far a record got before it failed.
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
    /// The record was never sent: its batch was open, or waited to be sent.
    Queued,
    /// The record was sent at least once, and waited to be sent again.
    Backoff,
    /// The record's batch was on its way to a broker, or the response on its way back.
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
    #[doc(hidden)]
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
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

    /// Creates the error for a broker's error code.
    #[doc(hidden)]
    pub fn refused(code: ErrorCode, said: Option<&str>) -> Self {
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

    #[doc(hidden)]
    pub fn caused_by(self, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        self.change(|inner| inner.cause = Some(cause))
    }

    #[doc(hidden)]
    pub fn written_is(self, written: Written) -> Self {
        self.change(|inner| inner.written = written)
    }

    /// Appends the reason to the text.
    #[doc(hidden)]
    pub fn because(self, why: &str) -> Self {
        self.change(|inner| inner.text = format!("{}: {why}", inner.text))
    }

    /// Appends a further sentence to the text.
    #[doc(hidden)]
    pub fn and(self, more: &str) -> Self {
        self.change(|inner| inner.text = format!("{}; {more}", inner.text))
    }

    #[doc(hidden)]
    pub fn at(self, topic: &Arc<str>, partition: PartitionIndex) -> Self {
        self.change(|inner| inner.place = Some((Arc::clone(topic), partition)))
    }

    #[doc(hidden)]
    pub fn on(self, node: Option<String>) -> Self {
        self.change(|inner| inner.node = node)
    }

    #[doc(hidden)]
    pub fn with_code(self, code: Option<ErrorCode>) -> Self {
        self.change(|inner| inner.code = code.or(inner.code))
    }

    #[doc(hidden)]
    pub fn after(self, stage: Stage, attempts: u32, age: Duration) -> Self {
        self.change(|inner| {
            inner.stage = Some(stage);
            inner.attempts = attempts;
            inner.age = Some(age);
        })
    }

    /// Whether this is a clone of another error, which shares its text.
    #[cfg(test)]
    #[doc(hidden)]
    pub fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Category of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the record may be in the log although it failed. `No` if the failed call concerned no record.
    #[must_use]
    pub fn written(&self) -> Written {
        self.0.written
    }

    /// The record's topic and partition, if they were already chosen.
    #[must_use]
    pub fn topic_partition(&self) -> Option<(&str, i32)> {
        self.0.place.as_ref().map(|(topic, partition)| (&**topic, partition.0))
    }

    /// The last error code that a broker returned for the record or call.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        self.0.code
    }

    /// The broker concerned, as its id and address.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// How far the record got.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        self.0.stage
    }

    /// How often the record's batch had been sent.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How old the record's batch was.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.0.age
    }

    /// Whether the same call may succeed later without any change.
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

    /// Whether the producer can do nothing more: it is closed, or failed with an internal error.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Closed | ErrorKind::Bug)
    }
}

impl fmt::Display for Error {
    /// Writes this error; with `{:#}` also its causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, text, written, place, node, stage, attempts, age, .. } = &*self.0;
        if let Some((topic, partition)) = place {
            write!(f, "produce to {}-{partition}", printable(topic))?;
            if let Some(node) = node {
                write!(f, " on {node}")?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{text}")?;
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
        write_causes(self, f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self:#})", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(Cause::as_error)
    }
}

/// Reason for a failure: an error with its own causes, or a text. Cheap to clone.
///
/// As for [`Error`], `{:#}` prints the whole chain.
///
/// ```
/// use kurier_engine::error::Cause;
///
/// let cause = Cause::from(std::io::Error::other("connection reset")).context("cannot read from it");
/// assert_eq!(cause.to_string(), "cannot read from it");
/// assert_eq!(format!("{cause:#}"), "cannot read from it: connection reset");
/// ```
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// Returns a cause with this text, whose source is this cause.
    #[must_use]
    pub fn context(self, text: impl Into<String>) -> Self {
        Self(Arc::new(Context { text: text.into(), cause: self }))
    }

    fn as_error(&self) -> &(dyn std::error::Error + 'static) {
        &*self.0
    }
}

impl<T: Into<BoxError>> From<T> for Cause {
    fn from(error: T) -> Self {
        Self(error.into().into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        write_causes(self.as_error(), f)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

/// A text for a step on the way to a cause.
#[derive(Debug)]
struct Context {
    text: String,
    cause: Cause,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Context {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_error())
    }
}

/// Writes the causes of an error behind its own text, if `{:#}` asks for them.
pub(crate) fn write_causes(error: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if f.alternate() {
        for cause in std::iter::successors(error.source(), |cause| cause.source()) {
            write!(f, ": {cause}")?;
        }
    }
    Ok(())
}

/// Makes text of a user or a peer safe for terminals and logs: escapes control characters and those that reorder or
/// hide others, and cuts long text.
#[doc(hidden)]
pub fn printable(text: &str) -> String {
    /// Enough of a peer's text for any error.
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
#[doc(hidden)]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", printable(text.unwrap_or("without a message")))
}

/// A record that was not accepted, with the reason. It displays and has the same causes as its [`Error`].
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
        self.error.source()
    }
}

impl<R> From<SendError<R>> for Error {
    fn from(error: SendError<R>) -> Self {
        error.error
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::closing::{Summary, Unfinished};

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

    /// Every kind of error.
    const KINDS: [ErrorKind; 17] = [
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
        ErrorKind::Authentication,
        ErrorKind::Network,
        ErrorKind::Closed,
        ErrorKind::TopicRecreated,
        ErrorKind::Bug,
    ];

    fn chain(error: &dyn std::error::Error) -> Vec<String> {
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
    }

    #[test]
    fn error_displays_itself_and_its_chain_reaches_the_root_cause() {
        const ROOT: &str = "connection reset";
        let root = || Cause::from(io::Error::other(ROOT)).context("no response");
        for kind in KINDS {
            let plain = Error::new(kind, "it failed").caused_by(root());
            let placed =
                plain.clone().at(&"t".into(), PartitionIndex(1)).after(Stage::InFlight, 2, Duration::from_secs(3));
            let nested = Error::new(kind, "it failed").caused_by(placed.clone());
            let unfinished = Unfinished::new(Summary::default(), Vec::new(), Vec::new(), Some(plain.clone()));
            let sent = SendError { error: placed.clone(), record: () };
            let errors: [(&dyn std::error::Error, usize, String); 5] = [
                (&plain, 3, format!("{plain:#}")),
                (&placed, 3, format!("{placed:#}")),
                (&nested, 4, format!("{nested:#}")),
                (&sent, 3, format!("{sent:#}")),
                (&unfinished, 4, format!("{unfinished:#}")),
            ];
            for (error, steps, shown) in errors {
                let chain = chain(error);
                assert_eq!((chain.len(), chain.last().map(String::as_str)), (steps, Some(ROOT)), "{chain:?}");
                assert_eq!(shown, chain.join(": "));
                for (at, step) in chain.iter().enumerate() {
                    let is_repeated = |later: &String| step.contains(later.as_str());
                    assert!(!chain.iter().skip(at + 1).any(is_repeated), "{step} repeats its cause");
                }
                let root = std::iter::successors(Some(error), |error| error.source()).last().unwrap();
                assert!(root.is::<io::Error>(), "{root:?}");
            }
        }
    }

    #[test]
    fn manual_describes_every_kind() {
        let manual = include_str!("../../client/src/manual/errors.md");
        let rows: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(rows, KINDS.map(|kind| format!("{kind:?}")));
    }
}
