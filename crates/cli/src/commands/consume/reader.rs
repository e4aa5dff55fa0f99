//! Reads a topic's records from its partition leaders, without a consumer group and without committing offsets.
//!
//! ```text
//!                   ┌────────── a passing failure: wait, ask for metadata ─────────┐
//!                   ▼                                                              │
//!  partition:  no leader ──▶ leader known ──ListOffsets──▶ offset known ──Fetch──▶ records, …, its end
//!                                 ▲                                          │
//!                                 └──────────── OFFSET_OUT_OF_RANGE ─────────┘
//! ```
//!
//! A task runs one request per leader at a time. It takes the leader's connection and returns it with the response. So
//! no leader waits for another, and memory holds at most one response per leader.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Error, Result, anyhow, bail};
use bytes::Bytes;
use kurier::HostPort;
use kurier_compression::{DEFAULT_LIMIT_BYTES, decompress_batch};
use kurier_protocol::messages::fetch::{FetchPartition, FetchTopic, PartitionData};
use kurier_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use kurier_protocol::messages::metadata::{MetadataRequestTopic, MetadataResponseTopic};
use kurier_protocol::messages::{FetchRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse};
use kurier_protocol::record_batch::{Batches, Record};
use kurier_protocol::{ErrorCode, NodeId, ParseErrorKind, PartitionIndex};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::{Connection, Failure, Settings};
use crate::notice;

/// Failures in a row before a partition fails, or the command for want of credentials. With the default backoff they take half a minute. In that time a cluster
/// notices a dead leader and elects another.
const FAILURES_MAX: u32 = 30;

/// Number of requests for a topic before it counts as missing: a new topic may not be known everywhere.
const ASKED_FOR_TOPIC_MAX: u32 = 3;

/// Milliseconds that a leader may wait for records (`fetch.max.wait.ms`); reduced if `request.timeout.ms` is short.
const MAX_WAIT_MS: u128 = 500;

/// Maximum size of a response, and of one partition in it (`fetch.max.bytes`, `max.partition.fetch.bytes`). A larger
/// batch comes alone (KIP-74).
const FETCH_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 1 << 20;

/// `ListOffsetsPartition::timestamp` for a partition's end.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// Start offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    End,
    Offset(i64),
}

/// Topic, partition and range to read.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: String,
    /// `None` reads all partitions.
    pub(crate) partition: Option<i32>,
    pub(crate) start: Start,
    /// Whether to stop at the end that each partition had at the start.
    pub(crate) stops_at_end: bool,
}

/// Takes a record with its partition, and returns whether to continue.
pub(crate) trait Take: FnMut(PartitionIndex, &Record<'_>) -> Result<ControlFlow<()>> {}
impl<F: FnMut(PartitionIndex, &Record<'_>) -> Result<ControlFlow<()>>> Take for F {}

/// Reads a topic.
#[derive(Debug)]
pub(crate) struct Reader {
    cluster: Cluster,
    wanted: Wanted,
    partitions: BTreeMap<i32, Partition>,
    /// Leaders without a request in flight.
    idle: BTreeMap<NodeId, Leader>,
    errands: JoinSet<(Leader, Errand, Result<Answer>)>,
}

/// Read position of a partition.
#[derive(Debug, Default)]
struct Partition {
    leader: Option<NodeId>,
    /// Whether a request to the leader includes this partition.
    is_away: bool,
    /// Range to read next, if known.
    span: Option<Span>,
    /// End offset, once known.
    end: Option<i64>,
    /// The offset that the leader rejected as out of range.
    out_of_range: Option<i64>,
    /// Failures since the last success.
    failures: u32,
}

/// A leader, with its connection if one is open.
#[derive(Debug)]
struct Leader {
    node: NodeId,
    server: HostPort,
    connection: Option<Connection>,
    /// Counts requests; rotates the partitions so that none always comes first.
    turn: usize,
}

/// A request to a leader.
#[derive(Debug)]
enum Errand {
    /// First and last offsets of these partitions.
    Ends(Vec<i32>),
    /// Records of these partitions, from these offsets on.
    Records(Vec<(i32, i64)>),
}

enum Answer {
    Ends { first: BTreeMap<i32, Found>, last: BTreeMap<i32, Found> },
    Records { error_code: ErrorCode, partitions: BTreeMap<i32, PartitionData> },
}

/// An offset, or the broker's error.
type Found = Result<i64, ErrorCode>;

/// Says how many partitions there are, and their numbers.
fn numbers(partitions: &BTreeMap<i32, Partition>) -> String {
    match (partitions.first_key_value(), partitions.last_key_value()) {
        (Some((first, _)), Some((last, _))) if first < last => {
            format!("{} partitions, numbers {first} to {last}", partitions.len())
        }
        (Some((only, _)), _) => format!("1 partition, number {only}"),
        (None, _) => "no partitions".to_owned(),
    }
}

impl Reader {
    /// Looks up the topic and creates its reader.
    ///
    /// # Errors
    /// When no bootstrap server is usable, or the topic or partition does not exist.
    pub(crate) async fn open(wanted: Wanted, settings: Settings) -> Result<Self> {
        let mut cluster = Cluster::new(settings);
        let mut asked = 0;
        let mut failures = 0;
        let topic = loop {
            let topic = match cluster.topic(&wanted.topic).await {
                Err(error) if Failure::lacks_credentials(&error) => {
                    failures += 1;
                    match failures {
                        1 => warn(format_args!("{error:#}; trying again")),
                        ..=FAILURES_MAX => {}
                        _ => return Err(error.context(format!("no credentials after {FAILURES_MAX} retries"))),
                    }
                    sleep(cluster.settings.backoff(failures)).await;
                    continue;
                }
                topic => topic?,
            };
            asked += 1;
            if topic.error_code.is_none() {
                break topic;
            }
            if !topic.error_code.is_retriable() || asked == ASKED_FOR_TOPIC_MAX {
                return Err(cluster.no_topic(&wanted.topic, topic.error_code));
            }
            sleep(cluster.settings.backoff(asked)).await;
        };
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let mut partitions: BTreeMap<i32, Partition> = indexes.map(|index| (index, Partition::default())).collect();
        if let Some(wanted_index) = wanted.partition {
            if !partitions.contains_key(&wanted_index) {
                let known = numbers(&partitions);
                bail!("topic {:?} has no partition {wanted_index}: it has {known}", wanted.topic);
            }
            partitions.retain(|index, _| *index == wanted_index);
        }
        let mut reader = Self { cluster, wanted, partitions, idle: BTreeMap::new(), errands: JoinSet::new() };
        reader.assign(&topic)?;
        Ok(reader)
    }

    /// Waits for one leader's response and passes its records to `take`. Returns `Break` at the end, or when `take`
    /// wants no more.
    ///
    /// # Errors
    /// When `take` fails, an error is permanent, or failures persist.
    pub(crate) async fn next(&mut self, take: &mut impl Take) -> Result<ControlFlow<()>> {
        loop {
            if self.partitions.values().all(Partition::is_done) {
                return Ok(ControlFlow::Break(()));
            }
            if self.partitions.values().any(|partition| partition.leader.is_none() && !partition.is_done()) {
                self.find_leaders().await?;
            }
            self.send_errands();
            // No leader is known, so there is no request to wait for.
            let Some(done) = self.errands.join_next().await else { continue };
            let (leader, errand, answer) =
                done.context("a reading task panicked: this is a bug in Kurier, please report it")?;
            return self.handle(leader, &errand, answer, take);
        }
    }

    /// Fetches metadata for partitions without a known leader. Responses of other leaders wait for the backoff.
    async fn find_leaders(&mut self) -> Result<()> {
        let lost = self.partitions.values().filter(|partition| partition.leader.is_none());
        let failures = lost.map(|partition| partition.failures).max().unwrap_or_default();
        sleep(self.cluster.settings.backoff(failures)).await;
        let topic = match self.cluster.topic(&self.wanted.topic).await {
            Ok(topic) => topic,
            Err(error) if Failure::may_pass(&error) => {
                return self.lost().into_iter().try_for_each(|index| self.fail(index, &error));
            }
            Err(error) => return Err(error),
        };
        if !topic.error_code.is_none() && !topic.error_code.is_retriable() {
            return Err(self.cluster.no_topic(&self.wanted.topic, topic.error_code));
        }
        self.assign(&topic)
    }

    /// Returns the partitions without a known leader.
    fn lost(&self) -> Vec<i32> {
        self.partitions.iter().filter(|(_, partition)| partition.leader.is_none()).map(|(index, _)| *index).collect()
    }

    /// Assigns partitions to the leaders in the metadata.
    fn assign(&mut self, topic: &MetadataResponseTopic) -> Result<()> {
        for index in self.lost() {
            let told = topic.partitions.iter().find(|told| told.partition_index == index);
            let leader = told.map(|told| NodeId(told.leader_id));
            let leader = leader.and_then(|node| Some((node, self.cluster.nodes.get(&node)?)));
            match (leader, self.partitions.get_mut(&index)) {
                (Some((node, server)), Some(partition)) => {
                    partition.leader = Some(node);
                    let is_away = self.errands_of(node);
                    let leader = self.idle.get(&node);
                    // A node may return at another address.
                    if !is_away && leader.is_none_or(|leader| leader.server != *server) {
                        let leader = Leader { node, server: server.clone(), connection: None, turn: 0 };
                        self.idle.insert(node, leader);
                    }
                }
                _ => {
                    let code = told.map_or(topic.error_code, |told| told.error_code);
                    let code = if code.is_none() { ErrorCode::LEADER_NOT_AVAILABLE } else { code };
                    self.fail(index, &anyhow!("{code}, {}", code.meaning()))?;
                }
            }
        }
        Ok(())
    }

    /// Returns whether a request to this node is in flight.
    fn errands_of(&self, node: NodeId) -> bool {
        self.partitions.values().any(|partition| partition.is_away && partition.leader == Some(node))
    }

    fn send_errands(&mut self) {
        for (node, mut leader) in std::mem::take(&mut self.idle) {
            let mine = |partition: &Partition| partition.leader == Some(node) && !partition.is_done();
            let without_span = |partition: &Partition| mine(partition) && partition.span.is_none();
            let unplaced: Vec<i32> =
                self.partitions.iter().filter(|(_, part)| without_span(part)).map(|(index, _)| *index).collect();
            let errand = if unplaced.is_empty() {
                let placed = self.partitions.iter().filter(|(_, partition)| mine(partition));
                let mut placed: Vec<(i32, i64)> =
                    placed.filter_map(|(index, partition)| Some((*index, partition.span?.offset))).collect();
                let first = leader.turn.checked_rem(placed.len()).unwrap_or_default();
                placed.rotate_left(first);
                leader.turn = leader.turn.wrapping_add(1);
                Errand::Records(placed)
            } else {
                Errand::Ends(unplaced)
            };
            if errand.partitions().next().is_none() {
                self.idle.insert(node, leader);
                continue;
            }
            for index in errand.partitions() {
                self.partitions.entry(index).or_default().is_away = true;
            }
            let (topic, settings) = (self.wanted.topic.clone(), Arc::clone(&self.cluster.settings));
            self.errands.spawn(async move {
                let answer = leader.run(&errand, &topic, &settings).await;
                (leader, errand, answer)
            });
        }
    }

    fn handle(
        &mut self,
        mut leader: Leader,
        errand: &Errand,
        answer: Result<Answer>,
        take: &mut impl Take,
    ) -> Result<ControlFlow<()>> {
        for index in errand.partitions() {
            self.partitions.entry(index).or_default().is_away = false;
        }
        let peer = format!("node {} at {}", leader.node, leader.server);
        if answer.is_err() {
            leader.connection = None;
        }
        self.idle.insert(leader.node, leader);
        match answer {
            Ok(Answer::Ends { first, last }) => {
                for index in errand.partitions() {
                    let told = |ends: &BTreeMap<i32, Found>| ends.get(&index).copied().unwrap_or(Err(LEFT_OUT));
                    match (told(&first), told(&last)) {
                        (Ok(first), Ok(last)) => self.place(index, first, last),
                        (Err(code), _) | (_, Err(code)) => self.refused(index, code, &peer)?,
                    }
                }
            }
            Ok(Answer::Records { error_code, mut partitions }) => {
                for index in errand.partitions() {
                    let data = partitions.remove(&index);
                    let code = if error_code.is_none() {
                        data.as_ref().map_or(LEFT_OUT, |data| data.error_code)
                    } else {
                        error_code
                    };
                    if !code.is_none() {
                        self.refused(index, code, &peer)?;
                        continue;
                    }
                    let records = data.and_then(|data| data.records).unwrap_or_default().to_bytes();
                    if self.take(index, &records, take)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            Err(error) if Failure::may_pass(&error) => {
                errand.partitions().try_for_each(|index| self.fail(index, &error))?;
            }
            Err(error) => return Err(error),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Passes on a partition's records.
    fn take(&mut self, index: i32, records: &Bytes, take: &mut impl Take) -> Result<ControlFlow<()>> {
        let Some(partition) = self.partitions.get_mut(&index) else { return Ok(ControlFlow::Continue(())) };
        let Some(span) = &mut partition.span else { return Ok(ControlFlow::Continue(())) };
        let before = span.offset;
        let place = |offset: i64| format!("{}-{index} after offset {offset}", self.wanted.topic);
        let flow = span
            .take(records, &mut |record: &Record<'_>| take(PartitionIndex(index), record))
            .with_context(|| place(before))?;
        if span.offset > before || records.is_empty() || flow.is_break() {
            partition.failures = 0;
        } else {
            self.fail(index, &anyhow!("its leader returned only records before offset {before}"))?;
        }
        Ok(flow)
    }

    /// Sets the read position from a partition's first and last offset.
    fn place(&mut self, index: i32, first: i64, last: i64) {
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        let wanted = match (partition.out_of_range.take(), self.wanted.start) {
            (Some(offset), _) | (None, Start::Offset(offset)) => offset,
            (None, Start::Beginning) => first,
            (None, Start::End) => last,
        };
        // Not `clamp`: it panics if the broker returns last < first.
        let offset = wanted.min(last).max(first);
        if offset != wanted {
            let topic = &self.wanted.topic;
            warn(format_args!(
                "{topic}-{index} has the offsets from {first} to {last}, not {wanted}: reading goes on at {offset}"
            ));
        }
        partition.end = self.wanted.stops_at_end.then(|| partition.end.map_or(last, |end| end.min(last)));
        partition.span = Some(Span { offset, end: partition.end });
    }

    /// Handles an error code for a partition.
    fn refused(&mut self, index: i32, code: ErrorCode, peer: &str) -> Result<()> {
        let error = anyhow!("{peer} returned {code}, {}", code.meaning());
        if code == ErrorCode::OFFSET_OUT_OF_RANGE {
            // Old records were deleted, or the election was unclean. The leader may be unchanged.
            if let Some(partition) = self.partitions.get_mut(&index)
                && let Some(span) = partition.span.take()
            {
                partition.out_of_range = Some(span.offset);
            }
            return self.count_failure(index, &error).map(drop);
        }
        if code.is_retriable() {
            return self.fail(index, &error);
        }
        Err(error.context(format!("{}-{index} cannot be read", self.wanted.topic)))
    }

    /// Handles a temporary failure: looks up the leader again.
    fn fail(&mut self, index: i32, cause: &Error) -> Result<()> {
        if self.count_failure(index, cause)? == 1 {
            warn(format_args!("{}-{index}: {cause:#}; trying again", self.wanted.topic));
        }
        if let Some(partition) = self.partitions.get_mut(&index) {
            partition.leader = None;
        }
        Ok(())
    }

    /// Counts a failure in a row, and returns the count; an error if there are too many.
    fn count_failure(&mut self, index: i32, cause: &Error) -> Result<u32> {
        let partition = self.partitions.entry(index).or_default();
        partition.failures += 1;
        if partition.failures > FAILURES_MAX {
            bail!("{}-{index} cannot be read, after {FAILURES_MAX} retries: {cause:#}", self.wanted.topic);
        }
        Ok(partition.failures)
    }
}

/// Error for a partition that is missing from a response.
const LEFT_OUT: ErrorCode = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;

fn warn(text: fmt::Arguments<'_>) {
    notice::say(text);
}

impl Partition {
    fn is_done(&self) -> bool {
        self.span.is_some_and(|span| span.is_read())
    }
}

impl Errand {
    fn partitions(&self) -> Box<dyn Iterator<Item = i32> + '_> {
        match self {
            Self::Ends(partitions) => Box::new(partitions.iter().copied()),
            Self::Records(partitions) => Box::new(partitions.iter().map(|(index, _)| *index)),
        }
    }
}

impl Leader {
    async fn run(&mut self, errand: &Errand, topic: &str, settings: &Arc<Settings>) -> Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) if !connection.is_stale() => connection,
            other => {
                let opened = Connection::open(&self.server, settings).await;
                let node = self.node;
                other.insert(opened.map_err(|error| match Failure::is_the_same_everywhere(&error) {
                    true => error,
                    false => error.context(format!("node {node} is not at the address that the cluster advertises")),
                })?)
            }
        };
        match errand {
            Errand::Ends(partitions) => Ok(Answer::Ends {
                first: list_offsets(connection, topic, partitions, EARLIEST).await?,
                last: list_offsets(connection, topic, partitions, LATEST).await?,
            }),
            Errand::Records(partitions) => fetch(connection, topic, partitions, settings).await,
        }
    }
}

async fn list_offsets(
    connection: &mut Connection,
    topic: &str,
    partitions: &[i32],
    timestamp: i64,
) -> Result<BTreeMap<i32, Found>> {
    let partition = |index: &i32| ListOffsetsPartition { partition_index: *index, timestamp, ..Default::default() };
    let topics =
        vec![ListOffsetsTopic { name: topic.to_owned(), partitions: partitions.iter().map(partition).collect() }];
    let response = connection.call(&ListOffsetsRequest { replica_id: -1, topics, ..Default::default() }).await?;
    let told = response.topics.into_iter().filter(|told| told.name == topic).flat_map(|told| told.partitions);
    Ok(told
        .map(|told| {
            (told.partition_index, if told.error_code.is_none() { Ok(told.offset) } else { Err(told.error_code) })
        })
        .collect())
}

async fn fetch(
    connection: &mut Connection,
    topic: &str,
    partitions: &[(i32, i64)],
    settings: &Settings,
) -> Result<Answer> {
    let partition = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: PARTITION_BYTES,
        ..Default::default()
    };
    let wait_ms = (settings.request_timeout.as_millis() / 2).min(MAX_WAIT_MS);
    let request = FetchRequest {
        max_wait_ms: i32::try_from(wait_ms).unwrap_or_default(),
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        topics: vec![FetchTopic { topic: topic.to_owned(), partitions: partitions.iter().map(partition).collect() }],
        ..Default::default()
    };
    // A broker that throttles delays the next response by itself.
    let response = connection.call(&request).await?;
    let told = response.responses.into_iter().filter(|told| told.topic == topic).flat_map(|told| told.partitions);
    Ok(Answer::Records {
        error_code: response.error_code,
        partitions: told.map(|told| (told.partition_index, told)).collect(),
    })
}

/// Offsets of a partition that are still to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    offset: i64,
    /// The end, exclusive.
    end: Option<i64>,
}

impl Span {
    fn is_read(self) -> bool {
        self.end.is_some_and(|end| self.offset >= end)
    }

    /// Passes on the records within the span, and moves its start after them.
    ///
    /// The first batch may begin before the span, and the last may be incomplete. Transaction markers are skipped,
    /// records of aborted transactions are not (READ_UNCOMMITTED).
    fn take(
        &mut self,
        records: &[u8],
        take: &mut impl FnMut(&Record<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        for (index, batch) in Batches::new(records).enumerate() {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) if *error.kind() == ParseErrorKind::Truncated && index > 0 => break,
                Err(error) if *error.kind() == ParseErrorKind::UnsupportedVersion => {
                    return Err(Error::from(error).context("the batch has the format from before Kafka 0.11"));
                }
                Err(error) => return Err(error.into()),
            };
            let header = batch.header();
            let last = header.base_offset.checked_add(header.last_offset_delta.into());
            let next =
                last.and_then(|last| last.checked_add(1)).context("a batch reaches beyond 64 bits of offsets")?;
            if next <= self.offset {
                continue;
            }
            if !header.attributes.is_control() {
                let body = decompress_batch(&batch, DEFAULT_LIMIT_BYTES)?;
                for record in batch.records_in(&body)? {
                    let record = record?;
                    let is_wanted = record.offset >= self.offset && self.end.is_none_or(|end| record.offset < end);
                    if is_wanted && take(&record)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
            self.offset = next;
            if self.is_read() {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Known nodes of the cluster.
#[derive(Debug)]
struct Cluster {
    settings: Arc<Settings>,
    nodes: BTreeMap<NodeId, HostPort>,
    /// Connection to the broker that last returned metadata.
    connection: Option<Connection>,
}

impl Cluster {
    fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), nodes: BTreeMap::new(), connection: None }
    }

    /// Fetches a topic's metadata without creating the topic. Tries the broker that answered last, then the bootstrap
    /// servers, then every node.
    async fn topic(&mut self, name: &str) -> Result<MetadataResponseTopic> {
        let asked = MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let request =
            MetadataRequest { topics: Some(vec![asked]), allow_auto_topic_creation: false, ..Default::default() };
        if let Some(mut connection) = self.connection.take().filter(|connection| !connection.is_stale())
            && let Ok(response) = connection.call(&request).await
        {
            return self.learn(name, connection, response);
        }
        let mut causes = Vec::new();
        let mut is_broken = false;
        let mut servers = self.settings.bootstrap_servers.clone();
        let others: Vec<_> = self.nodes.values().filter(|server| !servers.contains(server)).cloned().collect();
        servers.extend(others);
        for server in &servers {
            let answer = match Connection::open(server, &self.settings).await {
                Ok(mut connection) => connection.call(&request).await.map(|response| (connection, response)),
                Err(error) => Err(error),
            };
            match answer {
                Ok((connection, response)) => return self.learn(name, connection, response),
                Err(error) if Failure::is_the_same_everywhere(&error) => return Err(error),
                Err(error) => {
                    is_broken |= Failure::may_pass(&error);
                    causes.push(format!("{error:#}").replace('\n', "\n  "));
                }
            }
        }
        let none = if self.nodes.is_empty() { "bootstrap server" } else { "broker" };
        let text = format!(
            "cannot use any {none}:\n  {}\nname brokers that are up, by host and port of a {} listener (-b)",
            causes.join("\n  "),
            self.settings.protocol
        );
        // A server that is not Kafka will stay so, but another one may come up.
        Err(if is_broken { Failure::broken(text) } else { anyhow!(text) })
    }

    fn learn(
        &mut self,
        name: &str,
        connection: Connection,
        response: MetadataResponse,
    ) -> Result<MetadataResponseTopic> {
        if !response.error_code.is_none() {
            let (code, meaning) = (response.error_code, response.error_code.meaning());
            return Err(Failure::broken(format!("{} returned {code}, {meaning}", connection.peer())));
        }
        // Nodes with a negative id or an invalid address are ignored, and so are partitions with a negative index.
        let places = response.brokers.iter().filter(|broker| broker.node_id >= 0);
        let places =
            places.filter_map(|broker| Some((NodeId(broker.node_id), HostPort::of_node(&broker.host, broker.port)?)));
        self.nodes = places.collect();
        let peer = connection.peer().to_owned();
        self.connection = Some(connection);
        let mut topic = response.topics.into_iter().find(|topic| topic.name.as_deref() == Some(name));
        if let Some(topic) = &mut topic {
            topic.partitions.retain(|partition| partition.partition_index >= 0);
        }
        topic.with_context(|| format!("{peer} returned no metadata for topic {name:?}"))
    }

    /// Returns the error for a topic that cannot be read.
    fn no_topic(&self, name: &str, code: ErrorCode) -> Error {
        let peer = self.connection.as_ref().map_or("the cluster", Connection::peer);
        let advice = match code {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                ": check its name; reading creates no topic, and writing does where auto.create.topics.enable is true"
            }
            _ => "",
        };
        anyhow!("topic {name:?} cannot be read: {peer} returned {code}, {}{advice}", code.meaning())
    }
}

#[cfg(test)]
mod tests {
    use kurier_protocol::record_batch::{
        Attributes, BatchHeader, NewRecord, ProducerEpoch, ProducerId, RecordBatch, RecordBatchBuilder, Sequence, Stamp,
    };

    use super::*;

    /// Encodes a batch up to offset `last`; each record's value is its offset.
    fn batch(offsets: &[i64], last: i64, attributes: Attributes) -> Vec<u8> {
        let base = offsets.first().copied().unwrap_or(last);
        let mut builder = RecordBatchBuilder::new();
        // Append the records that compaction removes, then leave them out.
        let mut body = Vec::new();
        for offset in base..=last {
            let before = builder.body_bytes();
            builder.append(&NewRecord { value: Some(offset.to_string().as_bytes()), ..Default::default() }).unwrap();
            body.push((offset, before..builder.body_bytes()));
        }
        let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
        let (whole, _) = RecordBatch::parse(&bytes).unwrap();
        let kept =
            body.into_iter().filter(|(offset, _)| offsets.contains(offset)).map(|(_, range)| &whole.body()[range]);
        let header = BatchHeader {
            base_offset: base,
            attributes,
            record_count: offsets.len().try_into().unwrap(),
            last_offset_delta: (last - base).try_into().unwrap(),
            producer_id: ProducerId(-1),
            producer_epoch: ProducerEpoch(-1),
            base_sequence: Sequence(-1),
            ..*whole.header()
        };
        header.with_body(vec![kept.flatten().copied().collect::<Vec<u8>>().into()]).unwrap().to_bytes().to_vec()
    }

    fn plain(offsets: std::ops::RangeInclusive<i64>) -> Vec<u8> {
        let last = *offsets.end();
        batch(&offsets.collect::<Vec<_>>(), last, Attributes::default())
    }

    /// Returns the offsets taken from a span, and the span's start afterwards.
    fn taken(offset: i64, end: Option<i64>, records: &[Vec<u8>]) -> Result<(Vec<i64>, i64)> {
        let mut span = Span { offset, end };
        let mut offsets = Vec::new();
        let flow = span.take(&records.concat(), &mut |record: &Record<'_>| {
            assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset);
            Ok(ControlFlow::Continue(()))
        })?;
        assert!(flow.is_continue());
        Ok((offsets, span.offset))
    }

    #[test]
    fn only_records_within_the_span_are_taken() {
        let marker = || batch(&[13], 13, Attributes::default().with_control(true));
        let cut = |mut batch: Vec<u8>, len: usize| {
            batch.truncate(len);
            batch
        };
        let check = |name: &str, offset, end, records: &[Vec<u8>], expected: &[i64], then: i64| {
            let (offsets, stands) = taken(offset, end, records).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert_eq!((offsets.as_slice(), stands), (expected, then), "{name}");
        };
        check("nothing", 10, None, &[], &[], 10);
        check("two batches", 10, None, &[plain(10..=11), plain(12..=12)], &[10, 11, 12], 13);
        check("begins within a batch", 11, None, &[plain(10..=12)], &[11, 12], 13);
        check("a batch before it", 12, None, &[plain(10..=11), plain(12..=12)], &[12], 13);
        check("ends within a batch", 10, Some(11), &[plain(10..=12), plain(13..=14)], &[10], 13);
        check("a marker", 12, None, &[plain(12..=12), marker(), plain(14..=14)], &[12, 14], 15);
        check("the last is cut", 10, None, &[plain(10..=10), cut(plain(11..=11), 62)], &[10], 11);
        check("cut in its first field", 10, None, &[plain(10..=10), cut(plain(11..=11), 5)], &[10], 11);
        let compacted = batch(&[10, 12], 15, Attributes::default());
        check("compacted", 10, Some(20), &[compacted, plain(19..=20)], &[10, 12, 19], 21);
    }

    #[test]
    fn compacted_empty_batch_is_skipped() {
        let empty = BatchHeader {
            base_offset: 10,
            last_offset_delta: 4,
            record_count: 0,
            ..*RecordBatch::parse(&plain(10..=14)).unwrap().0.header()
        };
        let empty = empty.with_body(vec![]).unwrap().to_bytes().to_vec();
        assert_eq!(taken(10, None, &[empty, plain(15..=15)]).unwrap(), (vec![15], 16));
    }

    #[test]
    fn damaged_records_are_an_error() {
        let mut damaged = plain(10..=11);
        *damaged.last_mut().unwrap() ^= 1;
        let mut old = plain(10..=10);
        old[16] = 1;
        let mut cut = plain(10..=10);
        cut.truncate(61);
        let beyond = batch(&[i64::MAX], i64::MAX, Attributes::default());
        for (records, says) in
            [(damaged, "checksum"), (old, "before Kafka 0.11"), (cut, "the input ends"), (beyond, "64 bits")]
        {
            let error = format!("{:#}", taken(10, None, &[records]).unwrap_err());
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn taker_that_stops_gets_no_more_records() {
        let mut span = Span { offset: 10, end: None };
        let mut count = 0;
        let flow = span.take(&plain(10..=12), &mut |_| {
            count += 1;
            Ok(ControlFlow::Break(()))
        });
        assert!(flow.unwrap().is_break() && count == 1);
    }
}
