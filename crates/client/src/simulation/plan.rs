//! What a seed draws: settings, and what goes wrong how often. Most kinds of trouble are absent from any one run, so that
//! the others can show what they do (swarm testing).

use std::time::Duration;

use kurier_broker::UnknownProducer;

use crate::config::{Acks, Config};

/// What may happen between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    Send,
    Flush,
    /// A connection is cut.
    Cut,
    /// A connection goes silent in one direction: what is sent arrives, what is answered does not.
    Deafen,
    /// A node dies, or comes back.
    StopNode,
    StartNode,
    /// A node stands still for a while, and then goes on as if nothing had been.
    Pause,
    MoveLeader,
    /// A node refuses the next request with batches.
    Refuse,
    /// A node writes what comes, and says that it did not quite.
    Unsure,
    /// A node does something, or nothing, and closes the connection.
    CloseOne,
    Throttle,
    /// An id is not to be had.
    RefuseId,
    /// A question about the cluster is not answered.
    LoseMetadata,
    /// The topic cannot be seen.
    HideTopic,
    /// What is said about the cluster is old.
    Lag,
    /// A node listens at another port.
    MoveNode,
    /// Compression takes its time.
    HoldTakes,
    /// The machine sleeps.
    Sleep,
    /// Who waits for memory goes away.
    GiveUp,
    AddPartition,
    Recreate,
    /// One partition of a request is refused, others are not.
    RefuseSome,
    /// Some records of a partition's batches are to blame for a refusal.
    Blame,
    /// A new leader has not got the end of the log.
    Truncate,
    /// Brokers forget producers that were silent for long.
    Forget,
    /// Nobody sends anything for more than ten minutes.
    Silence,
    /// The clock on the wall is set to another day.
    SetClock,
    /// A node listens at another address after its connections were refused, while nobody sends.
    MoveInSilence,
    /// A leader hint arrives late: its topic is deleted and created again meanwhile, or the leader has moved again.
    LateHint,
    /// The bootstrap servers lead to another cluster, at times while pieces of a split batch wait.
    SwitchCluster,
    /// A node answers what nobody asked.
    Babble,
    /// A topic's `max.message.bytes` is lowered or raised.
    Limit,
    /// Many records at once.
    Burst,
    /// A batch is refused for now, and then as too large.
    RefuseThenTooLarge,
    /// A leader cannot be reached for about `metadata.max.idle.ms`.
    LeaderAway,
    /// The machine sleeps while a batch is open, and the next record is sent before anything else happens.
    Suspend,
    /// Topics are not used for longer than `metadata.max.idle.ms`.
    Leave,
}

/// Something that every broker of a world lacks or refuses, from the first moment to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// They do not offer InitProducerId.
    ProducerIds,
    /// They offer no version of Produce that has record batches.
    Produce,
    /// They refuse every InitProducerId with CLUSTER_AUTHORIZATION_FAILED.
    Authorization,
}

use Happening as H;

/// Each kind with how much of all that happens it may be at most.
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

/// What a topic is like.
#[derive(Debug)]
pub(super) struct TopicPlan {
    pub(super) partitions: i32,
    pub(super) min_insync: usize,
    pub(super) max_message_bytes: usize,
    pub(super) is_log_append_time: bool,
}

/// The largest number of topics in a world.
const TOPICS_MAX: usize = 12;

/// The name of a topic, by its number.
pub(super) fn topic_name(topic: usize) -> &'static str {
    const NAMES: [&str; TOPICS_MAX] = ["t", "u", "v", "w", "x", "y", "z", "a", "b", "c", "d", "e"];
    NAMES.get(topic).copied().unwrap_or_default()
}

/// One run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) nodes: u16,
    pub(super) topics: Vec<TopicPlan>,
    pub(super) largest_record: usize,
    pub(super) steps: usize,
    /// The highest latency of the network, one way.
    pub(super) latency: Duration,
    /// Of how many connections one cannot be made.
    pub(super) connect_failure: u32,
    /// The highest version of Produce that the brokers offer.
    pub(super) produce_max: i16,
    pub(super) first_epoch: i16,
    pub(super) first_sequence: i32,
    pub(super) unknown_producer: UnknownProducer,
    pub(super) lack: Option<Lack>,
    /// After which step all nodes are dead for ten minutes, while everybody sends.
    pub(super) outage: Option<usize>,
    /// Whether everything that happens at one time is told to the core before it is asked what to do.
    pub(super) is_lumpy: bool,
    /// Whether the producer is closed with nothing healed.
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
        #[cfg(feature = "lz4")]
        if random.u32(0..4) == 0 {
            config.compression_type = crate::CompressionType::Lz4;
        }
        if random.u32(0..10) == 0 {
            config.retries = random.u32(1..8);
        }
        // Half of all kinds of trouble, and of those most in moderation.
        let mut weights: Vec<(Happening, u32)> = Vec::new();
        for (happening, most) in TROUBLES {
            if random.bool() {
                weights.push((happening, random.u32(1..=most)));
            }
        }
        weights.push((H::Send, random.u32(20..100)));
        weights.push((H::Flush, random.u32(0..4)));
        // What stops nodes starts some, too.
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
        // Where sequences do not begin at 0, brokers that want that would be no help.
        let unknown_producer = match random.u32(0..4) {
            0 if first_sequence == 0 => UnknownProducer::OutOfOrder,
            1 if first_sequence == 0 => UnknownProducer::Refused,
            _ => UnknownProducer::Taken,
        };
        let steps = random.usize(50..500);
        // Not drawn, so that seeds go on meaning what they meant.
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

    /// Draws what takes long: delivery timeouts above all recovery, topics that are idle soon, and APIs that are missing.
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
}
