//! Plan of a run, drawn from its seed: settings, and the rate of each fault. Most kinds of faults are absent from any
//! one run, so that the others have more effect (swarm testing).

use std::time::Duration;

use kurier_broker::UnknownProducer;
use kurier_protocol::NodeId;

use kurier_engine::config::{Acks, Config};

/// Possible events of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Send,
    Flush,
    /// A connection breaks.
    Cut,
    /// A connection goes silent in one direction: requests arrive, responses do not.
    Deafen,
    /// A node dies, or restarts.
    StopNode,
    StartNode,
    /// A node freezes for a while, then continues as if nothing had happened.
    Pause,
    MoveLeader,
    /// A node refuses the next request with batches.
    Refuse,
    /// A node writes the next batches, but reports an unclear outcome.
    Unsure,
    /// A node executes a request or not, and closes the connection.
    CloseOne,
    Throttle,
    /// A request for a producer id is refused.
    RefuseId,
    /// A metadata request gets no response.
    LoseMetadata,
    /// The topic is missing from metadata.
    HideTopic,
    /// Metadata responses are outdated.
    Lag,
    /// A node moves to another port.
    MoveNode,
    /// Compression takes time.
    HoldTakes,
    /// The machine sleeps.
    Sleep,
    /// Senders that wait for memory give up.
    GiveUp,
    AddPartition,
    Recreate,
    /// One partition of a request is refused, the others are not.
    RefuseSome,
    /// A broker blames single records for refusing a partition's batches.
    Blame,
    /// A new leader lacks the end of the log.
    Truncate,
    /// Brokers forget producers that were silent for a long time.
    Forget,
    /// No record is sent for more than ten minutes.
    Silence,
    /// The wall clock is set to another day.
    SetClock,
    /// A node moves to another address after its connections were refused, during a pause in sending.
    MoveInSilence,
    /// A leader hint arrives late: its topic was deleted and created again meanwhile, or the leader has moved once
    /// more.
    LateHint,
    /// The bootstrap servers lead to another cluster, sometimes while pieces of a split batch wait.
    SwitchCluster,
    /// A node sends a response without a request.
    Babble,
    /// A topic's `max.message.bytes` is lowered or raised.
    Limit,
    /// Many records are sent at once.
    Burst,
    /// A batch is refused with a retriable error, then as too large.
    RefuseThenTooLarge,
    /// A leader is unreachable for about `metadata.max.idle.ms`.
    LeaderAway,
    /// The machine sleeps while a batch is open, and a record is sent before anything else happens.
    Suspend,
    /// Topics are unused for longer than `metadata.max.idle.ms`.
    Leave,
}

/// Something that all brokers of a run lack or refuse, from start to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// The brokers do not offer InitProducerId.
    ProducerIds,
    /// The brokers offer no version of Produce that has record batches.
    Produce,
    /// The brokers refuse every InitProducerId with CLUSTER_AUTHORIZATION_FAILED.
    Authorization,
}

use Happening as H;

/// Each kind of fault with its highest weight.
const TROUBLES: [(Happening, u32); 36] = [
    (H::Cut, 6),
    (H::Deafen, 3),
    (H::StopNode, 4),
    (H::StartNode, 6),
    (H::Pause, 3),
    (H::MoveLeader, 6),
    (H::Refuse, 8),
    (H::Unsure, 6),
    (H::CloseOne, 6),
    (H::Throttle, 3),
    (H::RefuseId, 2),
    (H::LoseMetadata, 3),
    (H::HideTopic, 2),
    (H::Lag, 2),
    (H::MoveNode, 1),
    (H::HoldTakes, 4),
    (H::Sleep, 1),
    (H::GiveUp, 4),
    (H::AddPartition, 1),
    (H::Recreate, 1),
    (H::RefuseSome, 6),
    (H::Blame, 2),
    (H::Truncate, 4),
    (H::Forget, 1),
    (H::Silence, 1),
    (H::SetClock, 2),
    (H::MoveInSilence, 1),
    (H::LateHint, 2),
    (H::SwitchCluster, 1),
    (H::Babble, 4),
    (H::Limit, 2),
    (H::Burst, 3),
    (H::RefuseThenTooLarge, 4),
    (H::LeaderAway, 1),
    (H::Suspend, 2),
    (H::Leave, 2),
];

/// Plan of a topic.
#[derive(Debug)]
pub(super) struct TopicPlan {
    pub(super) partitions: i32,
    pub(super) min_insync: usize,
    pub(super) max_message_bytes: usize,
    pub(super) is_log_append_time: bool,
}

/// The largest number of topics in a run.
const TOPICS_MAX: usize = 12;

/// Returns a topic's name, by its number.
pub(super) fn topic_name(topic: usize) -> &'static str {
    const NAMES: [&str; TOPICS_MAX] = ["t", "u", "v", "w", "x", "y", "z", "a", "b", "c", "d", "e"];
    NAMES.get(topic).copied().unwrap_or_default()
}

/// Plan of a run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) nodes: u16,
    pub(super) topics: Vec<TopicPlan>,
    pub(super) largest_record: usize,
    pub(super) steps: usize,
    /// The highest one-way latency of the network.
    pub(super) latency: Duration,
    /// The percentage of connection attempts that fail.
    pub(super) connect_failure: u32,
    /// The highest version of Produce that the brokers offer.
    pub(super) produce_max: i16,
    pub(super) first_epoch: i16,
    pub(super) first_sequence: i32,
    pub(super) unknown_producer: UnknownProducer,
    pub(super) lack: Option<Lack>,
    /// After this step all nodes are dead for ten minutes, while senders go on.
    pub(super) outage: Option<usize>,
    /// Whether the core gets all inputs of an instant before it is asked for actions.
    pub(super) is_lumpy: bool,
    /// Whether the producer is closed while faults last.
    pub(super) ends_badly: bool,
    weights: Vec<(Happening, u32)>,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Plan {
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        let mut config = Config::default();
        config.acks = match random.u32(0..12) {
            0 => Acks::None,
            1 => Acks::Leader,
            _ => Acks::All,
        };
        config.enable_idempotence = config.acks == Acks::All && random.u32(0..8) > 0;
        config.max_in_flight = random.usize(1..=5);
        config.linger = ms(*random.choice(&[0, 1, 5, 20]).unwrap_or(&5));
        config.batch_size = random.usize(80..600);
        config.max_request_size = random.usize(500..3_000);
        config.buffer_memory = 1 << random.u32(15..20);
        config.max_block = ms(random.u64(100..2_000));
        config.request_timeout = ms(random.u64(200..1_500));
        config.delivery_timeout = config.request_timeout + config.linger + ms(random.u64(200..6_000));
        config.metadata_max_age = ms(random.u64(1_000..60_000));
        config.retry_backoff = ms(random.u64(1..200));
        config.retry_backoff_max = config.retry_backoff + ms(random.u64(0..1_000));
        config.reconnect_backoff = ms(random.u64(1..100));
        config.reconnect_backoff_max = config.reconnect_backoff + ms(random.u64(0..1_000));
        config.connection_setup_timeout = ms(random.u64(100..1_000));
        config.connection_setup_timeout_max = config.connection_setup_timeout + ms(random.u64(0..1_000));
        config.connections_max_idle = ms(random.u64(200..60_000));
        if random.u32(0..4) == 0 {
            config.compression_type = kurier_engine::CompressionType::Lz4;
        }
        if random.u32(0..10) == 0 {
            config.retries = random.u32(1..8);
        }
        // Half of all kinds of faults, most of them at a low rate.
        let mut weights: Vec<(Happening, u32)> = Vec::new();
        for (happening, most) in TROUBLES {
            if random.bool() {
                weights.push((happening, random.u32(1..=most)));
            }
        }
        weights.push((H::Send, random.u32(20..100)));
        weights.push((H::Flush, random.u32(0..4)));
        // If nodes stop, some also start again.
        if weights.iter().any(|(happening, _)| *happening == H::StopNode) {
            weights.push((H::StartNode, 4));
        }
        let mut topics = Vec::new();
        for _ in 0..*random.choice(&[1, 1, 1, 2, 2, 3, TOPICS_MAX]).unwrap_or(&1) {
            topics.push(TopicPlan {
                partitions: random.i32(1..=4),
                min_insync: random.usize(1..=2),
                max_message_bytes: if random.u32(0..3) == 0 { random.usize(150..600) } else { 1_048_588 },
                is_log_append_time: random.u32(0..4) == 0,
            });
        }
        let first_sequence = if random.u32(0..6) == 0 { i32::MAX - random.i32(0..40) } else { 0 };
        // Brokers that require sequences to start at 0 do not fit runs where they start elsewhere.
        let unknown_producer = match random.u32(0..4) {
            0 if first_sequence == 0 => UnknownProducer::OutOfOrder,
            1 if first_sequence == 0 => UnknownProducer::Refused,
            _ => UnknownProducer::Taken,
        };
        let steps = random.usize(50..500);
        // Derived, not drawn, so that older seeds keep their runs.
        if steps.is_multiple_of(3) {
            config.availability_timeout = config.request_timeout / 4;
        }
        let outage = (random.u32(0..50) == 0).then(|| random.usize(..steps));
        if outage.is_some() {
            config.buffer_memory = 1 << random.u32(15..17);
        }
        let lack = Self::draw_patience(&mut config, random);
        Self {
            nodes: random.u16(1..=5),
            topics,
            unknown_producer,
            lack,
            outage,
            largest_record: random.usize(9..250),
            steps,
            latency: ms(*random.choice(&[0, 1, 3, 20]).unwrap_or(&1)),
            connect_failure: random.u32(0..15),
            produce_max: if random.u32(0..4) == 0 { random.i16(8..=12) } else { 13 },
            first_epoch: if random.u32(0..6) == 0 { i16::MAX - random.i16(0..3) } else { 0 },
            first_sequence,
            is_lumpy: random.u32(0..4) == 0,
            ends_badly: random.u32(0..4) == 0,
            config,
            weights,
        }
    }

    /// Draws rare long-running settings: long delivery timeouts, topics that are soon idle, and missing APIs.
    fn draw_patience(config: &mut Config, random: &mut fastrand::Rng) -> Option<Lack> {
        if random.bool() {
            config.metadata_max_idle = ms(5_000);
        }
        if random.u32(0..4) == 0 {
            config.rebootstrap_trigger = ms(random.u64(2_000..20_000));
        }
        let lack = match random.u32(0..100) {
            0 | 1 if config.enable_idempotence => Some(Lack::ProducerIds),
            2 => Some(Lack::Produce),
            3 | 4 if config.enable_idempotence => Some(Lack::Authorization),
            _ => None,
        };
        if lack.is_some() || random.u32(0..3) == 0 {
            config.delivery_timeout += ms(random.u64(15_000..40_000));
        }
        lack
    }

    pub(super) fn happening(&self, random: &mut fastrand::Rng) -> Happening {
        let mut at = random.u32(0..self.weights.iter().map(|(_, weight)| weight).sum());
        for (happening, weight) in &self.weights {
            match at.checked_sub(*weight) {
                Some(left) => at = left,
                None => return *happening,
            }
        }
        H::Send
    }

    /// Returns the ids of the cluster's nodes.
    pub(super) fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes.into()).map(NodeId)
    }
}
