//! Producer handles: accept records, and flush and close the producer.

use std::cell::Cell;
use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use kurier_partitioner::{Choice, Partitioner, RecordView};
use kurier_protocol::PartitionIndex;
use tokio::sync::oneshot;

use crate::builder::ProducerBuilder;
use crate::driver::{Command, Shared};
use kurier_engine::accumulator::memory::Permit;
use kurier_engine::accumulator::{AppendError, Placed, Signal, Topic};
use kurier_engine::closing::{Summary, Unfinished};
use kurier_engine::config::{Config, FOREVER};
use kurier_engine::delivery::{Callback, Delivery};
use kurier_engine::error::{Error, ErrorKind, SendError};
use kurier_engine::record::{Record, RecordMetadata, check_topic_name};
use kurier_engine::serializer::{Bytes, BytesSerializer, Serialize};
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

/// State shared by all clones; dropped with the last of them.
pub(crate) struct Handle<KS, VS> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key_serializer: KS,
    pub(crate) value_serializer: VS,
    pub(crate) partitioner: Arc<dyn Partitioner>,
}

impl<KS, VS> Drop for Handle<KS, VS> {
    fn drop(&mut self) {
        self.shared.command(Command::Detach);
    }
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
    /// In a tokio task, about one send in a hundred yields to other tasks even if nothing blocks it. Code that cannot
    /// wait calls [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// Of kind [`Metadata`](ErrorKind::Metadata), [`BufferFull`](ErrorKind::BufferFull),
    /// [`RecordTooLarge`](ErrorKind::RecordTooLarge), [`InvalidTopic`](ErrorKind::InvalidTopic),
    /// [`InvalidTimestamp`](ErrorKind::InvalidTimestamp), [`Serialization`](ErrorKind::Serialization),
    /// [`Partitioning`](ErrorKind::Partitioning) or [`Closed`](ErrorKind::Closed). The record is then not sent.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent.
    pub async fn send<K, V>(&self, record: Record<'_, K, V>) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.submit(&record, None).await
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
    pub async fn send_with<K, V>(
        &self,
        record: Record<'_, K, V>,
        callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static,
    ) -> Result<(), Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.submit(&record, Some(Box::new(callback))).await.map(Delivery::forget)
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
        self.try_send_to(record.topic, record)
    }

    fn try_send_to<'r, K, V>(
        &self,
        name: &str,
        record: Record<'r, K, V>,
    ) -> Result<Delivery, Box<SendError<Record<'r, K, V>>>>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        let sent = match self.shared().accumulator.topic(name) {
            Some(topic) => self.send_now(&topic, &record),
            None if let Err(error) = check_topic_name(name).and_then(|()| record.check_timestamp()) => Err(error),
            None => Err(self.pending(name)),
        };
        sent.map_err(|error| Box::new(SendError { error, record }))
    }

    /// Requests metadata for an unknown topic, and returns the error for it.
    fn pending(&self, name: &str) -> Error {
        let accumulator = &self.shared().accumulator;
        if let Some(closed) = accumulator.closed() {
            return closed;
        }
        accumulator.signal(Signal::Wanted { topic: name.into(), partitions: 0 });
        let topic = kurier_engine::error::printable(name);
        Error::new(
            ErrorKind::MetadataPending,
            format!("topic {topic} is not known yet; the producer has requested it: send again"),
        )
    }

    fn send_now<K, V>(&self, topic: &Topic, record: &Record<'_, K, V>) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        record.check_timestamp()?;
        let accumulator = &self.shared().accumulator;
        let parts = self.serialize(record)?;
        match self.append(topic, record, &parts, None, &mut None) {
            Ok(delivery) => Ok(delivery),
            Err(AppendError::Refused(error)) => match topic.lacks(record.partition.map(PartitionIndex)) {
                Some(_) if let Some(closed) = accumulator.closed() => Err(closed),
                Some(partitions) => {
                    accumulator.signal(Signal::Wanted { topic: Arc::clone(&topic.name), partitions });
                    Err(error.and("the producer has requested the topic's partitions again"))
                }
                None => Err(error),
            },
            Err(AppendError::Retired) => Err(self.pending(&topic.name)),
            Err(AppendError::NoRoom(_)) => {
                accumulator.signal(Signal::Pressure);
                let text = format!("no room under buffer.memory, which is {}", self.shared().config.buffer_memory);
                Err(Error::new(ErrorKind::BufferFull, text))
            }
        }
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
                self.learn(name, 0, self.deadline()).await?
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
        shared.command(Command::Reach { deadline: self.deadline(), reply });
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

    /// Deadline of a call that starts to wait now.
    fn deadline(&self) -> Instant {
        let shared = self.shared();
        shared.accumulator.clock().now() + shared.config.max_block
    }

    /// Finds the record's topic, or waits until it is known, and sends the record.
    async fn submit<K, V>(&self, record: &Record<'_, K, V>, callback: Option<Callback>) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        // A send that never blocks would starve other tasks and timers on this runtime: in a loop of sends alone, an
        // interval never ticked. Each send spends some of tokio's budget, at a cost of 7 ns. Outside of tokio the
        // budget is unlimited.
        tokio::task::consume_budget().await;
        self.submit_to(record.topic, record, callback).await
    }

    /// Finds a topic, or waits until it is known, and sends the record.
    async fn submit_to<K, V>(
        &self,
        name: &str,
        record: &Record<'_, K, V>,
        callback: Option<Callback>,
    ) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        let (topic, deadline) = match self.shared().accumulator.topic(name) {
            Some(topic) => (topic, None),
            None => {
                check_topic_name(name)?;
                record.check_timestamp()?;
                let deadline = self.deadline();
                (self.learn(name, 0, deadline).await?, Some(deadline))
            }
        };
        self.send_to(&topic, record, deadline, callback).await
    }

    /// Waits until a topic is known and has this many partitions.
    async fn learn(&self, name: &str, partitions: usize, deadline: Instant) -> Result<Arc<Topic>, Error> {
        let shared = self.shared();
        let (reply, answer) = oneshot::channel();
        shared.command(Command::Topic { name: name.into(), partitions, deadline, reply });
        answer.await.map_err(|_| shared.ended())?
    }

    fn serialize<'v, K, V>(&self, record: &'v Record<'_, K, V>) -> Result<Parts<'v>, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        let refused = |what: &str, error| {
            let text = format!(
                "cannot serialize the {what} of a record for topic {}",
                kurier_engine::error::printable(record.topic)
            );
            Error::new(ErrorKind::Serialization, text).caused_by(error)
        };
        let mut scratch = Scratch::take();
        let key = record.key.serialize(&self.handle.key_serializer, record.topic, &mut scratch.0);
        let key = key.map_err(|error| refused("key", error))?;
        let key_end = scratch.0.len();
        let value = record.value.serialize(&self.handle.value_serializer, record.topic, &mut scratch.0);
        let value = value.map_err(|error| refused("value", error))?;
        Ok(Parts { key, value, key_end, scratch })
    }

    fn append<K, V>(
        &self,
        topic: &Topic,
        record: &Record<'_, K, V>,
        parts: &Parts<'_>,
        permit: Option<Permit>,
        callback: &mut Option<Callback>,
    ) -> Result<Delivery, AppendError> {
        let accumulator = &self.shared().accumulator;
        let (key, value) = (parts.key(), parts.value());
        let choice = match record.partition {
            Some(partition) => Ok(Choice::Partition(partition)),
            None => {
                let nowhere = || Error::new(ErrorKind::Metadata, format!("topic {} has no partitions", topic.name));
                let chosen =
                    topic.with_view(|view| self.handle.partitioner.partition(&RecordView::new(key, value), view));
                chosen.ok_or_else(nowhere).and_then(|chosen| {
                    chosen.map_err(|error| {
                        Error::new(ErrorKind::Partitioning, "the partitioner rejected the record").caused_by(error)
                    })
                })
            }
        };
        let choice = choice.map_err(AppendError::Refused)?;
        let mut keep = |cell: &Arc<_>, index, timestamp| {
            let delivery = Delivery::new(cell, index, timestamp);
            if let Some(callback) = callback.take() {
                delivery.call_back(callback);
            }
            delivery
        };
        let placed = Placed { choice, timestamp: record.timestamp, key, value, headers: &record.headers };
        accumulator.append(topic, &placed, permit, &mut keep)
    }

    /// Appends a record to its topic, waiting for room up to the deadline. `deadline` is set if the record has waited
    /// before.
    async fn send_to<K, V>(
        &self,
        topic: &Arc<Topic>,
        record: &Record<'_, K, V>,
        deadline: Option<Instant>,
        mut callback: Option<Callback>,
    ) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        record.check_timestamp()?;
        let parts = self.serialize(record)?;
        match self.append(topic, record, &parts, None, &mut callback) {
            Ok(delivery) => Ok(delivery),
            Err(obstacle) => {
                let deadline = deadline.unwrap_or_else(|| self.deadline());
                let sending = self.send_with_patience(topic, record, &parts, obstacle, deadline, callback);
                Box::pin(sending).await
            }
        }
    }

    /// Slow path: waits until the obstacle is gone, and tries again.
    async fn send_with_patience<K, V>(
        &self,
        topic: &Arc<Topic>,
        record: &Record<'_, K, V>,
        parts: &Parts<'_>,
        mut obstacle: AppendError,
        deadline: Instant,
        mut callback: Option<Callback>,
    ) -> Result<Delivery, Error>
    where
        K: Send + Sync,
        V: Send + Sync,
    {
        let shared = self.shared();
        let mut topic = Arc::clone(topic);
        loop {
            let mut permit = None;
            match obstacle {
                AppendError::Refused(error) => match topic.lacks(record.partition.map(PartitionIndex)) {
                    Some(partitions) => {
                        let learnt = self.learn(&topic.name, partitions, deadline).await;
                        topic = learnt.map_err(|why| match why.kind() {
                            ErrorKind::Closed => why,
                            _ => error.caused_by(why),
                        })?;
                    }
                    None => return Err(error),
                },
                AppendError::Retired => topic = self.learn(&topic.name, 0, deadline).await?,
                AppendError::NoRoom(missing) => permit = Some(missing.wait(&shared.accumulator, deadline).await?),
            }
            match self.append(&topic, record, parts, permit, &mut callback) {
                Ok(delivery) => return Ok(delivery),
                Err(still) => obstacle = still,
            }
        }
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
    pub async fn send<K, V>(&self, record: Record<'_, K, V>) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.submit(&record, None).await
    }

    /// Sends a record to this topic and calls `callback` with its outcome, as [`Producer::send_with`].
    ///
    /// # Errors
    /// As [`Producer::send`]; the callback is then not called.
    ///
    /// # Cancel safety
    /// If this future is dropped before it is ready, the record is not sent and the callback not called.
    pub async fn send_with<K, V>(
        &self,
        record: Record<'_, K, V>,
        callback: impl FnOnce(Result<RecordMetadata, Error>) + Send + 'static,
    ) -> Result<(), Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        self.submit(&record, Some(Box::new(callback))).await.map(Delivery::forget)
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
        if self.topic.is_retired() {
            return self.producer.try_send_to(&self.topic.name, record);
        }
        let sent = self.producer.send_now(&self.topic, &record);
        sent.map_err(|error| Box::new(SendError { error, record }))
    }

    async fn submit<K, V>(&self, record: &Record<'_, K, V>, callback: Option<Callback>) -> Result<Delivery, Error>
    where
        K: Serialize<KS>,
        V: Serialize<VS>,
    {
        tokio::task::consume_budget().await;
        // A topic that was forgotten and found again is another object, so look it up.
        match self.topic.is_retired() {
            true => self.producer.submit_to(&self.topic.name, record, callback).await,
            false => self.producer.send_to(&self.topic, record, None, callback).await,
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

/// A record's serialised key and value.
struct Parts<'v> {
    key: Bytes<'v>,
    value: Bytes<'v>,
    key_end: usize,
    scratch: Scratch,
}

impl Parts<'_> {
    fn key(&self) -> Option<&[u8]> {
        match self.key {
            Bytes::Null => None,
            Bytes::Borrowed(bytes) => Some(bytes),
            Bytes::Scratch => self.scratch.0.get(..self.key_end),
        }
    }

    fn value(&self) -> Option<&[u8]> {
        match self.value {
            Bytes::Null => None,
            Bytes::Borrowed(bytes) => Some(bytes),
            Bytes::Scratch => self.scratch.0.get(self.key_end..),
        }
    }
}

/// Output buffer of serializers, reused by each thread.
struct Scratch(BytesMut);

std::thread_local! {
    static SCRATCH: Cell<BytesMut> = Cell::default();
}

impl Scratch {
    fn take() -> Self {
        // A thread that is ending has lost its buffer already.
        Self(SCRATCH.try_with(Cell::take).unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        /// A buffer that grew for a large record is not kept.
        const KEPT_BYTES_MAX: usize = 64 * 1024;
        if self.0.capacity() == 0 || self.0.capacity() > KEPT_BYTES_MAX {
            return;
        }
        let mut scratch = std::mem::take(&mut self.0);
        scratch.clear();
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
}
