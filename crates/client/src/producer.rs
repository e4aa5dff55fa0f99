//! Producer handles: accept records, and flush and close the producer.

use std::fmt;
use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::builder::ProducerBuilder;
use crate::driver::{Command, Shared};
use crate::handle::{Handle, To};
use kurier_engine::accumulator::{Keep, Topic};
use kurier_engine::closing::{Summary, Unfinished};
use kurier_engine::config::{Config, FOREVER};
use kurier_engine::delivery::{Callback, Cell, Delivery};
use kurier_engine::error::{Error, ErrorKind, SendError};
use kurier_engine::record::{Record, RecordMetadata, check_topic_name};
use kurier_engine::serializer::{BytesSerializer, Serialize, Serializer};
use kurier_security::Credentials;
#[cfg(feature = "tls")]
use kurier_security::tls::TlsConfig;

/// Sends records. Clones share connections and batches.
///
/// `KS` and `VS` serialise keys and values. The default serializers take anything that is bytes.
///
/// When the last handle is dropped, accepted records are still delivered in the background and callbacks are called,
/// while the process lives. [`close`](Self::close) waits for them and returns their outcomes. When the process ends,
/// records and callbacks that are left are lost without notice.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let broker = kurier_broker::Broker::builder().topic("orders", 3).start().await?;
/// # let servers = broker.bootstrap_servers();
/// use std::time::Duration;
///
/// use kurier::{Producer, Record};
///
/// let producer = Producer::builder().bootstrap_servers(servers.split(',')).build().await?;
/// let record = || Record::to("orders").key("customer-7").value("two of them");
///
/// producer.send(record()).await?.forget(); // accepted: fire and forget
/// let metadata = producer.send(record()).await?.await?; // wait for partition and offset
/// assert_eq!(metadata.offset(), Some(1));
/// producer.send(record()).await?.on_complete(|result| println!("{result:?}")); // take a callback
///
/// let summary = producer.close(Duration::from_secs(10)).await?;
/// assert_eq!(summary.written, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Producer<KS = BytesSerializer, VS = BytesSerializer> {
    handle: Arc<Handle<KS, VS>>,
}

impl<KS, VS> Clone for Producer<KS, VS> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl Producer {
    /// Returns a builder with default settings.
    #[must_use]
    pub fn builder() -> ProducerBuilder {
        ProducerBuilder::default()
    }

    /// Builds a producer from a Java properties file, with keys of Java or librdkafka.
    ///
    /// # Errors
    /// As [`Config::from_properties`] and [`ProducerBuilder::build`].
    pub async fn from_properties(file: impl Read) -> Result<Self, Error> {
        Self::builder().config(Config::from_properties(file)?).build().await
    }
}

impl<KS: Send + Sync, VS: Send + Sync> Producer<KS, VS> {
    pub(crate) fn new(handle: Handle<KS, VS>) -> Self {
        Self { handle: Arc::new(handle) }
    }

    /// Sends a record: waits until the producer accepts it, which is normally at once, and returns its [`Delivery`].
    ///
    /// The producer accepts a record when its topic is known and `buffer.memory` has room for it; the wait can take up
    /// to `max.block.ms`. An accepted record will be delivered or fail, whatever happens to the `Delivery`.
    ///
    /// In a tokio task, about one send in five hundred yields to other tasks even if nothing blocks it. Code that
    /// cannot wait calls [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// Of kind [`Metadata`](ErrorKind::Metadata), [`BufferFull`](ErrorKind::BufferFull),
    /// [`RecordTooLarge`](ErrorKind::RecordTooLarge), [`InvalidTopic`](ErrorKind::InvalidTopic),
    /// [`InvalidTimestamp`](ErrorKind::InvalidTimestamp), [`Serialization`](ErrorKind::Serialization),
    /// [`Partitioning`](ErrorKind::Partitioning) or [`Closed`](ErrorKind::Closed). The record is then not sent.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent.
    #[inline]
    pub fn send<K, V>(&self, record: Record<'_, K, V>) -> impl Future<Output = Result<Delivery, Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.handle.submit(To::Name(record.topic), record, Delivery::new)
    }

    /// Sends a record and waits for its outcome.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`Delivery`].
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record may or may not be sent. An accepted record is
    /// delivered.
    pub async fn deliver<K, V>(&self, record: Record<'_, K, V>) -> Result<RecordMetadata, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.send(record).await?.await
    }

    /// Sends a record and calls `callback` with its outcome. The callbacks of a partition's records run in the order of
    /// the records, on a thread of the producer that does nothing else.
    ///
    /// # Errors
    /// As [`send`](Self::send); the callback is then not called.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent and the callback not called.
    pub fn send_with<K, V>(
        &self,
        record: Record<'_, K, V>,
        callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static,
    ) -> impl Future<Output = Result<(), Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.handle.submit(To::Name(record.topic), record, calling(Box::new(callback)))
    }

    /// Sends a record without a [`Delivery`], which costs less than `send` and `forget`. The producer delivers the record
    /// all the same. If it fails, it is only counted: [`flush`](Self::flush) and [`close`](Self::close) return the counts.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// # let broker = kurier_broker::Broker::start().await?;
    /// # let producer = kurier::Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await?;
    /// use kurier::Record;
    ///
    /// producer.post(Record::to("clicks").value("a page")).await?;
    /// producer.post(Record::to("clicks").value("another")).await?;
    /// let summary = producer.flush().await?;
    /// assert_eq!((summary.written, summary.failed()), (2, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent.
    #[inline]
    pub fn post<K, V>(&self, record: Record<'_, K, V>) -> impl Future<Output = Result<(), Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.handle.submit(To::Name(record.topic), record, nothing)
    }

    /// Sends a record if that is possible at once; otherwise returns it in the error.
    ///
    /// # Errors
    /// As [`send`](Self::send). Of kind [`MetadataPending`](ErrorKind::MetadataPending) if the topic is not known yet:
    /// the producer requests it, so a later try may succeed. The same holds for a partition that the topic does not
    /// have, of kind [`Partitioning`](ErrorKind::Partitioning): the topic may have grown.
    pub fn try_send<'r, K, V>(&self, record: Record<'r, K, V>) -> Result<Delivery, Box<SendError<Record<'r, K, V>>>>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.try_send_to(To::Name(record.topic), record)
    }

    fn try_send_to<'r, K, V>(
        &self,
        to: To<'_>,
        record: Record<'r, K, V>,
    ) -> Result<Delivery, Box<SendError<Record<'r, K, V>>>>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.handle.try_submit(to, &record, &mut Delivery::new).map_err(|stop| {
            let error = self.handle.not_now(to, &record, stop);
            Box::new(SendError { error, record })
        })
    }

    /// Returns a handle to one topic, which saves the look-up for each record.
    ///
    /// # Errors
    /// Of kind [`InvalidTopic`](ErrorKind::InvalidTopic) if Kafka does not allow the name. Of kind
    /// [`Metadata`](ErrorKind::Metadata) if the topic is not known within `max.block.ms`.
    ///
    /// # Cancel safety
    /// Dropping this future changes nothing.
    pub async fn topic(&self, name: &str) -> Result<TopicProducer<KS, VS>, Error> {
        let topic = match self.shared().accumulator.topic(name) {
            Some(topic) => topic,
            None => {
                check_topic_name(name)?;
                self.handle.learn(name, 0, self.handle.deadline()).await?
            }
        };
        Ok(TopicProducer { producer: self.clone(), topic })
    }

    /// Waits until every record accepted until now has its outcome, and returns the counts since the producer's start.
    /// Open batches are sent at once, without lingering. Callbacks may still be running or waiting afterwards: a slow
    /// callback does not delay a flush.
    ///
    /// # Errors
    /// Of kind [`Closed`](ErrorKind::Closed) if the producer was closed before, or its runtime was shut down. Of kind
    /// [`Bug`](ErrorKind::Bug) if the producer failed with an internal error.
    ///
    /// # Cancel safety
    /// Dropping this future changes nothing.
    pub async fn flush(&self) -> Result<Summary, Error> {
        let (reply, answer) = oneshot::channel();
        self.shared().command(Command::Flush { reply });
        answer.await.map_err(|_| self.shared().ended())
    }

    /// Uses other credentials from now on, for example after a vault has changed a password.
    ///
    /// Connections of the same user stay, and use them when they authenticate again. Connections of another user are
    /// replaced once their requests are answered. No record is lost.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration) if the credentials are not for `sasl.mechanism`, or
    /// `security.protocol` has no SASL.
    pub fn set_credentials(&self, credentials: Credentials) -> Result<(), Error> {
        let expected = self.shared().config.security().sasl.as_ref().map(|sasl| sasl.mechanism);
        let given = credentials.mechanism();
        let text = match expected {
            Some(mechanism) if mechanism == given => {
                self.shared().command(Command::SetCredentials(credentials));
                return Ok(());
            }
            Some(mechanism) => format!("the credentials are for {given}, but sasl.mechanism is {mechanism}"),
            None => "set_credentials has no effect: security.protocol has no SASL".to_owned(),
        };
        Err(Error::new(ErrorKind::Configuration, text))
    }

    /// Uses another configuration of TLS from now on, for example with a new client certificate.
    ///
    /// All connections are replaced, each once its requests are answered. No record is lost. From now on the producer
    /// reads no files of the settings `ssl.*` again.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration) if `security.protocol` has no TLS.
    #[cfg(feature = "tls")]
    pub fn set_tls(&self, config: TlsConfig) -> Result<(), Error> {
        if self.shared().config.security().tls.is_none() {
            let text = "set_tls has no effect: security.protocol has no TLS";
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        self.shared().command(Command::SetTls(config));
        Ok(())
    }

    /// Reads the files of certificates, keys and passwords again now, instead of after `kurier.tls.reload.ms`.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration) if a file cannot be used: the producer keeps the old ones. Of
    /// kind [`Closed`](ErrorKind::Closed) if the producer is closed.
    ///
    /// # Cancel safety
    /// Dropping this future changes nothing.
    pub async fn reload_security(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.shared().command(Command::ReloadSecurity { reply });
        answer.await.unwrap_or_else(|_| Err(self.shared().ended()))
    }

    /// Accepts no more records, waits up to `patience` until every record has its outcome and every callback has run,
    /// and ends the producer and its clones.
    ///
    /// When the time is up, the remaining records fail. The error lists the callbacks that have not returned. They are
    /// still called in the background, in order and once each, while the process lives. A callback that blocks on this
    /// call waits for itself until the time is up: close from another thread or task.
    ///
    /// If close is called again before it is done, for example by a clone, the earlier of the deadlines holds for all
    /// records; each call waits for callbacks up to its own deadline. If close is called again afterwards, it returns
    /// the same outcomes of records, and waits again for the remaining callbacks.
    ///
    /// # Errors
    /// [`Unfinished`], with the records that were left when the time was up, whether each may be written, and the
    /// callbacks that had not returned. Also if the producer ended without a close: then it has a
    /// [`cause`](Unfinished::cause).
    ///
    /// # Cancel safety
    /// Once this future is polled, the producer is closed in the background, even if the future is dropped.
    pub async fn close(&self, patience: Duration) -> Result<Summary, Unfinished> {
        let shared = self.shared();
        let deadline = shared.accumulator.clock().now() + patience.min(FOREVER);
        shared.command(Command::Close { deadline });
        shared.end(deadline).await
    }

    /// Waits up to `max.block.ms` for a connection to a bootstrap server; with `max.block.ms` at 0 it does not wait.
    ///
    /// [`ProducerBuilder::build`] does this. After [`ProducerBuilder::start`] it is optional: each send waits for its
    /// topic.
    ///
    /// # Errors
    /// Of kind [`Network`](ErrorKind::Network), with the reason for every server, if none could be resolved or reached
    /// in time. If none could be resolved, the producer has ended; otherwise it keeps trying.
    ///
    /// # Cancel safety
    /// Dropping this future changes nothing.
    pub async fn connected(&self) -> Result<(), Error> {
        let shared = self.shared();
        let (reply, answer) = oneshot::channel();
        shared.command(Command::Reach { deadline: self.handle.deadline(), reply });
        answer.await.map_err(|_| shared.ended())?
    }

    /// Describes in one line, for a log or a terminal, what blocks this producer now; `None` if nothing waits.
    ///
    /// Before the first connection, that is the reason at each bootstrap server. Afterwards it is the reason for the
    /// oldest batch without an outcome, or else for a topic or partition that senders wait for:
    ///
    /// ```text
    /// orders-0: node 1 (kafka-1:9092): Connection refused (os error 111)
    /// orders-0: node 1 (kafka-1:9092) has not acknowledged the batch for 3.2 s
    /// orders-0: the partition has no leader (LEADER_NOT_AVAILABLE (5), the partition has no leader; an election may be
    ///   under way)
    /// topic orders has 6 partitions, and a send waits for partition 8
    /// ```
    ///
    /// The words may change in any version. Each call scans all partitions: ask every second, not every millisecond.
    ///
    /// # Cancel safety
    /// Dropping this future changes nothing.
    pub async fn obstacle(&self) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        self.shared().command(Command::Obstacle { reply });
        answer.await.unwrap_or_default()
    }

    /// Counts of all outcomes so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.shared().summary()
    }

    /// Number of partitions of all topics that the producer knows now.
    #[cfg(feature = "internal")]
    #[doc(hidden)]
    #[must_use]
    pub fn known_partitions(&self) -> usize {
        self.shared().accumulator.partition_ids().len()
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }
}

/// Sends records to one topic; created by [`Producer::topic`].
///
/// It stays usable after the producer forgets a topic that was not used for `metadata.max.idle.ms`: the next send waits
/// for the topic as a first send does.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let broker = kurier_broker::Broker::start().await?;
/// # let producer = kurier::Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await?;
/// let orders = producer.topic("orders").await?;
/// let metadata = orders.send(orders.record().value("two of them")).await?.await?;
/// assert_eq!((metadata.topic(), metadata.offset()), ("orders", Some(0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopicProducer<KS = BytesSerializer, VS = BytesSerializer> {
    producer: Producer<KS, VS>,
    topic: Arc<Topic>,
}

impl<KS: Send + Sync, VS: Send + Sync> TopicProducer<KS, VS> {
    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.topic.name
    }

    /// Returns an empty record for this topic.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record::to(&self.topic.name)
    }

    /// Sends a record to this topic, as [`Producer::send`]. The topic that the record names is ignored.
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent.
    #[inline]
    pub fn send<K, V>(&self, record: Record<'_, K, V>) -> impl Future<Output = Result<Delivery, Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.producer.handle.submit(self.to(), record, Delivery::new)
    }

    /// Sends a record to this topic without a [`Delivery`], as [`Producer::post`].
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent.
    #[inline]
    pub fn post<K, V>(&self, record: Record<'_, K, V>) -> impl Future<Output = Result<(), Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.producer.handle.submit(self.to(), record, nothing)
    }

    /// Sends values without keys to this topic, in their order, and without a [`Delivery`] for each. This is the cheapest
    /// way to send: up to 64 values share one lock and one timestamp.
    ///
    /// Each value becomes a record of its own, without headers, in a partition that the producer chooses as for other
    /// records without a key. As with [`post`](Self::post), outcomes are only counted.
    ///
    /// `values` shows what was accepted: the call advances it past each accepted value. After an error or a dropped
    /// future it begins with the first value that was not accepted, so the call can be repeated.
    ///
    /// With a [`Partitioner`](crate::partitioner::Partitioner) of your own, values are sent one by one, since it looks at
    /// each of them.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// # let broker = kurier_broker::Broker::start().await?;
    /// # let producer = kurier::Producer::builder().bootstrap_servers([broker.bootstrap_servers()]).build().await?;
    /// let clicks = producer.topic("clicks").await?;
    /// let pages = vec!["a page".to_owned(); 1_000];
    ///
    /// let mut left = &pages[..];
    /// if let Err(error) = clicks.post_all(&mut left).await {
    ///     println!("{} of {} pages were accepted: {error}", pages.len() - left.len(), pages.len());
    /// }
    /// assert_eq!(producer.flush().await?.written, 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Producer::send`], about the first value in `values`. The values before it were accepted.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the values in `values` are not sent, and all before them were
    /// accepted.
    pub async fn post_all<V>(&self, values: &mut &[V]) -> Result<(), Error>
    where
        V: Sync,
        VS: Serializer<V>,
    {
        while !values.is_empty() {
            // One turn for each run, as `send` spends one for every fourth record.
            tokio::task::consume_budget().await;
            self.producer.handle.post_run(&self.topic, values).await?;
        }
        Ok(())
    }

    /// Sends a record to this topic and calls `callback` with its outcome, as [`Producer::send_with`].
    ///
    /// # Errors
    /// As [`Producer::send`]; the callback is then not called.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent and the callback not called.
    pub fn send_with<K, V>(
        &self,
        record: Record<'_, K, V>,
        callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static,
    ) -> impl Future<Output = Result<(), Error>> + Send
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.producer.handle.submit(self.to(), record, calling(Box::new(callback)))
    }

    /// Sends a record to this topic and waits for its outcome, as [`Producer::deliver`].
    ///
    /// # Errors
    /// As [`Producer::send`] and [`Delivery`].
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record may or may not be sent. An accepted record is
    /// delivered.
    pub async fn deliver<K, V>(&self, record: Record<'_, K, V>) -> Result<RecordMetadata, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.send(record).await?.await
    }

    /// Sends a record to this topic if that is possible at once, as [`Producer::try_send`]; otherwise returns it in the
    /// error.
    ///
    /// # Errors
    /// As [`Producer::try_send`].
    pub fn try_send<'r, K, V>(&self, record: Record<'r, K, V>) -> Result<Delivery, Box<SendError<Record<'r, K, V>>>>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.producer.try_send_to(self.to(), record)
    }

    /// A topic that was forgotten and is known again is a new object, which only a look-up finds.
    fn to(&self) -> To<'_> {
        match self.topic.is_retired() {
            true => To::Name(&self.topic.name),
            false => To::Topic(&self.topic),
        }
    }
}

impl<KS, VS> Clone for TopicProducer<KS, VS> {
    fn clone(&self) -> Self {
        Self { producer: self.producer.clone(), topic: Arc::clone(&self.topic) }
    }
}

impl<KS, VS> fmt::Debug for TopicProducer<KS, VS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicProducer").field("topic", &self.topic.name).finish_non_exhaustive()
    }
}

impl<KS, VS> fmt::Debug for Producer<KS, VS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("shared", &self.handle.shared).finish_non_exhaustive()
    }
}

/// Keeps nothing of the record that is appended.
fn nothing(_: &Arc<Cell>, _: u32, _: i64) {}

/// Registers a callback for the record that is appended.
fn calling(callback: Callback) -> impl Keep<()> + Send {
    let mut callback = Some(callback);
    move |cell: &Arc<Cell>, index: u32, timestamp: i64| {
        if let Some(callback) = callback.take() {
            cell.add_callback(index, timestamp, callback);
        }
    }
}
