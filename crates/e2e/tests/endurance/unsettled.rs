//! Unsettled batches: sent on a connection that dies without a response, and retried on another one while the first
//! attempts may still arrive. No record may be in the log twice. No record reported as not written may be in the log,
//! and every record reported as written must be.
//!
//! A batch with a lost response is *unsettled*: it may be written or not, or written later, even after the response to
//! the second attempt. That response may then be wrong: OUT_OF_ORDER_SEQUENCE_NUMBER for a batch that is in the log a
//! moment later. A producer that believes it, and sends the batch with other sequences, writes the batch twice.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use kurier::{Delivery, Error, Producer, Record, RecordMetadata, Written};
use kurier_e2e::cluster::Cluster;
use kurier_e2e::kafka::{Kafka, Record as Log};
use tokio::time::sleep;

use crate::proxy::{End, Fault, Proxy, Seen, Wire};
use crate::setting;

/// Even numbers go to the first partition, odd ones to the second.
const PARTITIONS: i32 = 2;
const RECORDS: usize = 80;

pub(crate) async fn unsettled(cluster: &Cluster) -> Result<()> {
    let runs: usize = setting("ENDURANCE_RUNS", 200)?;
    let seed: u64 = setting("ENDURANCE_SEED", fastrand::u64(..))?;
    let kafka = cluster.kafka();
    println!("runs {runs}, ENDURANCE_SEED={seed}");
    let mut total = Counts::default();
    let (mut topics, mut drawn, mut unmet) = (Vec::new(), 0, 0);
    while total.runs < runs {
        let plan = Plan::draw(seed.wrapping_add(drawn), true);
        let topic = format!("unsettled-{drawn}");
        let ran = run(kafka, &topic, &plan).await;
        let again = format!("ENDURANCE_SEED={} ENDURANCE_RUNS=1", plan.seed);
        let counts = ran.with_context(|| format!("run {drawn}, {again}: {plan:?}"))?;
        topics.push(topic);
        drawn += 1;
        // On slow machines, an impatient producer more often gives up before a retry.
        if counts.seen.retried == 0 {
            unmet += 1;
            ensure!(unmet < 10 + runs / 2, "{unmet} runs sent no batch again");
            continue;
        }
        total.add(&counts);
        if topics.len() >= 20 || total.runs == runs {
            kafka.delete_topics(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
            topics.clear();
            let Counts { runs: met, seen, .. } = &total;
            println!("{met} of {runs} runs, {} batches retried, {}", seen.retried, total.outcomes());
        }
    }
    println!("{unmet} runs more in which no batch was sent again; of the others:");
    println!("{total}");
    let Seen { changed, written_unheard, out_of_order_and_written, .. } = total.seen;
    ensure!(changed == 0, "{changed} batches were sent again with other bytes under the same sequences");
    // Every run has retries; with this many runs, some must have the other cases too.
    if runs >= 50 {
        ensure!(written_unheard > 0, "no batch was written by an attempt that was given up");
        ensure!(out_of_order_and_written > 0, "no batch was called out of order that is in the log");
    }
    control(kafka, seed).await
}

/// Without idempotence the same must write records twice. Otherwise this test would not notice doubled records.
async fn control(kafka: &Kafka, seed: u64) -> Result<()> {
    const TRIES: u64 = 20;
    for n in 0..TRIES {
        let plan = Plan::draw(seed.wrapping_add(n), false);
        let Err(error) = run(kafka, &format!("control-{n}"), &plan).await else { continue };
        let text = format!("{error:#}");
        ensure!(text.contains(TWICE), "the control failed, but not as it should: {text}");
        println!("control: without idempotence, run {n}: {text}");
        return Ok(());
    }
    bail!("without idempotence nothing was written twice in {TRIES} runs: this test would not notice it");
}

/// The parameters that a run draws from its seed.
#[derive(Debug)]
struct Plan {
    seed: u64,
    is_idempotent: bool,
    faults: Vec<Fault>,
    lag: Duration,
    request_timeout: Duration,
    delivery_timeout: Duration,
    retry_backoff_ms: u64,
    /// Longest pause between records.
    pause_max: Duration,
}

impl Plan {
    fn draw(seed: u64, is_idempotent: bool) -> Self {
        let random = &mut Rng::with_seed(seed);
        let ms = Duration::from_millis;
        // Some records expire before the fault ends.
        let is_impatient = random.u8(0..3) == 0;
        let ends = [End::Reset, End::Reset, End::Closed, End::Silence];
        // The broker gets these requests late: often after the second attempt, and perhaps after the producer gave up
        // the first.
        let late = if is_impatient { 800 } else { 200 };
        let fault = |random: &mut Rng| Fault {
            after: if is_impatient { 0 } else { random.u32(0..8) },
            requests: random.u32(1..=5),
            late_max: if random.u8(0..4) == 0 { Duration::ZERO } else { ms(random.u64(1..late)) },
            forwarded: if random.u8(0..4) == 0 { random.u32(0..4) } else { u32::MAX },
            end: if is_impatient { End::Silence } else { ends[random.usize(0..ends.len())] },
        };
        let faults = (0..random.usize(1..=3)).map(|_| fault(random)).collect();
        let request_timeout = ms(random.u64(150..400));
        // Enough for a second attempt, but not for many.
        let little = request_timeout + ms(random.u64(400..800));
        Self {
            seed,
            is_idempotent,
            faults,
            lag: ms(random.u64(5..30)),
            request_timeout,
            delivery_timeout: if is_impatient { little } else { ms(15_000) },
            retry_backoff_ms: random.u64(1..100),
            pause_max: Duration::from_micros(random.u64(500..4_000)),
        }
    }
}

/// Outcomes of all records in some runs.
#[derive(Debug, Default)]
struct Counts {
    runs: usize,
    records: usize,
    written: usize,
    /// Acknowledged, but the broker no longer knew the offset.
    without_offset: usize,
    not_written: usize,
    unknown: usize,
    /// Those among the unknown ones that are in the log.
    unknown_but_written: usize,
    seen: Seen,
    /// The lowest number in a run.
    retried_min: Option<usize>,
}

async fn run(kafka: &Kafka, topic: &str, plan: &Plan) -> Result<Counts> {
    kafka.create_topic(topic, PARTITIONS, 1, &[])?;
    let random = &mut Rng::with_seed(!plan.seed);
    let broker: SocketAddr = kafka.bootstrap_servers().parse()?;
    let proxy = Proxy::start(broker, plan.lag, plan.faults.clone(), random.fork()).await?;
    let producer = Producer::builder()
        .bootstrap_servers([proxy.address.to_string()])
        .enable_idempotence(plan.is_idempotent)
        .linger(Duration::ZERO)
        // Small batches of a few records.
        .batch_size(200)
        .request_timeout(plan.request_timeout)
        .delivery_timeout(plan.delivery_timeout)
        .set("retry.backoff.ms", &plan.retry_backoff_ms.to_string())
        .set("reconnect.backoff.ms", "10")
        .build()
        .await?;
    let producer = &producer;
    let send = async |n: usize, partition: i32| -> Result<Delivery> {
        let value = value(topic, partition, n);
        Ok(producer.send(Record::to(topic).partition(partition).value(&value)).await?)
    };
    // A partition's first batch goes alone; after its acknowledgement, up to five batches are in flight. On a new topic
    // and a busy machine, an impatient producer may need several batches.
    let mut outcomes = Vec::new();
    let mut acknowledged = BTreeSet::new();
    while acknowledged.len() < usize::try_from(PARTITIONS)? {
        let n = outcomes.len();
        ensure!(n < RECORDS, "before any fault: {:?}", outcomes.last());
        let outcome = send(n, partition_of(n)).await?.await;
        acknowledged.extend(outcome.is_ok().then(|| partition_of(n)));
        outcomes.push(outcome);
    }
    proxy.arm();
    let mut deliveries = Vec::new();
    while deliveries.len() < RECORDS || proxy.has_faults() {
        ensure!(deliveries.len() < 100 * RECORDS, "the faults do not come: {plan:?}");
        let n = outcomes.len() + deliveries.len();
        deliveries.push(send(n, partition_of(n)).await?);
        sleep(plan.pause_max.mul_f64(random.f64())).await;
    }
    for delivery in deliveries {
        outcomes.push(delivery.await);
    }
    ensure!(producer.close(Duration::from_secs(20)).await.is_ok(), "something has no outcome, and all were awaited");
    let wire = proxy.finish().await?;
    // After this, no more requests can arrive.
    check(topic, &outcomes, &kafka.read_by_java(topic)?, &wire)
}

fn partition_of(n: usize) -> i32 {
    i32::from(!n.is_multiple_of(2))
}

fn value(topic: &str, partition: i32, n: usize) -> String {
    format!("{topic} {partition} {n} {:0>60}", n * 7_919)
}

/// The failure that the control must have.
const TWICE: &str = "more than once";

/// Compares the log with the producer's reports.
fn check(topic: &str, outcomes: &[Result<RecordMetadata, Error>], read: &[Log], wire: &Wire) -> Result<Counts> {
    let mut found: HashMap<usize, (i32, i64)> = HashMap::new();
    let mut last: HashMap<i32, usize> = HashMap::new();
    for record in read {
        let n = record.value.split(' ').nth(2).context("its number")?.parse::<usize>()?;
        let is_ours = n < outcomes.len() && record.partition == partition_of(n);
        ensure!(is_ours && record.value == value(topic, partition_of(n), n), "nobody sent this: {record:?}");
        if let Some(first) = found.insert(n, (record.partition, record.offset)) {
            bail!("record {n} is in the log {TWICE}: {first:?} and {record:?}; {:?}", outcomes[n]);
        }
        if let Some(before) = last.insert(record.partition, n) {
            ensure!(before < n, "record {n} stands behind {before}: {record:?}");
        }
    }
    let mut counts = Counts { runs: 1, records: outcomes.len(), seen: wire.seen(), ..Counts::default() };
    for (n, outcome) in outcomes.iter().enumerate() {
        let there = found.get(&n).copied();
        match outcome {
            Ok(metadata) => {
                let is_there = there.is_some_and(|(partition, offset)| {
                    partition == metadata.partition() && metadata.offset().is_none_or(|said| said == offset)
                });
                ensure!(is_there, "record {n} was acknowledged as {metadata:?}, and the log has it at {there:?}");
                counts.written += 1;
                counts.without_offset += usize::from(metadata.offset().is_none());
            }
            Err(error) if error.written() == Written::No => {
                ensure!(there.is_none(), "record {n} is at {there:?}, and was called not written: {error}");
                counts.not_written += 1;
            }
            Err(_) => {
                counts.unknown += 1;
                counts.unknown_but_written += usize::from(there.is_some());
            }
        }
    }
    ensure!(wire.is_of_one_mind(), "a batch was written at two places");
    counts.retried_min = Some(counts.seen.retried);
    Ok(counts)
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.records += other.records;
        self.written += other.written;
        self.without_offset += other.without_offset;
        self.not_written += other.not_written;
        self.unknown += other.unknown;
        self.unknown_but_written += other.unknown_but_written;
        self.seen.add(other.seen);
        self.retried_min = self.retried_min.into_iter().chain(other.retried_min).min();
    }

    fn outcomes(&self) -> String {
        let Self { written, not_written, unknown, unknown_but_written, .. } = self;
        format!("{written} written, {not_written} not written, {unknown} unknown ({unknown_but_written} written)")
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, records, without_offset, retried_min, seen, .. } = self;
        writeln!(f, "{runs} runs, {records} records: {}", self.outcomes())?;
        writeln!(f, "  {without_offset:>6} of the written without an offset")?;
        writeln!(f, "  {:>6} batches retried in a run at least", retried_min.unwrap_or_default())?;
        write!(f, "{seen}")?;
        write!(f, "in the log more than once 0, out of order 0, acknowledged and not there 0, not written and there 0")
    }
}
