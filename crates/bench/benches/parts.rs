//! Benchmarks of the producer's parts, each by itself. `make bench` runs them; a part of a name selects some.
//!
//! They measure the processor time of the thread, which other programs on the machine disturb less than the time on the
//! wall.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Throughput, criterion_group, criterion_main};
use kurier_compression::{Compression, CompressionType};
use kurier_engine::accumulator::{Accumulator, Layout, Leadership, PartitionId, Placed, Still, Topic};
use kurier_engine::config::Config;
use kurier_engine::delivery::{Delivery, NoCallbacks};
use kurier_engine::fault_injection::FaultInjection;
use kurier_partitioner::{Choice, Keyed, Partitioner, RecordView, TopicView, murmur2};
use kurier_protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use kurier_protocol::messages::{ProduceRequest, ProduceResponse};
use kurier_protocol::record_batch::{NewRecord, RecordBatch, RecordBatchBuilder, SealedBatch, Stamp};
use kurier_protocol::{read_response, write_response};
use nix::time::{ClockId, clock_gettime};

type Criterion = criterion::Criterion<ThreadTime>;

/// The processor time of this thread.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const VALUE: [u8; 100] = [b'v'; 100];

/// Records per batch: about the default `batch.size`, 16 KiB.
const BATCH: u64 = 150;

fn record() -> NewRecord<'static> {
    NewRecord { timestamp: 1_790_000_000_000, value: Some(&VALUE), ..Default::default() }
}

fn batch() -> SealedBatch {
    let mut builder = RecordBatchBuilder::new();
    for _ in 0..BATCH {
        builder.append(&record()).unwrap();
    }
    builder.seal().unwrap()
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch of 150 records");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("encode", |bencher| bencher.iter(batch));
    let sealed = batch();
    // The checksum of the whole batch, and its header.
    group.bench_function("stamp", |bencher| bencher.iter(|| sealed.stamp(&Stamp::NONE).unwrap()));
    let bytes = sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
    // Mostly varints.
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let (batch, _) = RecordBatch::parse(&bytes).unwrap();
            batch.records().unwrap().map(|record| record.unwrap().value.map_or(0, <[u8]>::len)).sum::<usize>()
        });
    });
    group.finish();
}

fn checksum(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("CRC-32C");
    for size in [1_024, 16_384, 65_536] {
        let bytes: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        group.throughput(Throughput::Bytes(size));
        group.bench_function(format!("{size} bytes"), |bencher| bencher.iter(|| crc32c::crc32c(&bytes)));
    }
    group.finish();
}

fn compression(criterion: &mut Criterion) {
    let events = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/events.txt")).unwrap();
    let events = &events[..65_536];
    let mut group = criterion.benchmark_group("compress 64 KiB of JSON");
    group.throughput(Throughput::Bytes(events.len() as u64));
    let codecs = CompressionType::ALL.into_iter().filter(|kind| *kind != CompressionType::None);
    let codecs = codecs.map(|kind| (kind.name().to_owned(), Compression::new(kind)));
    let gzip = |level| Compression::new(CompressionType::Gzip).with_level(level).unwrap();
    let levels = [1, 2, 3, 4, 6, 9].map(|level| (format!("gzip at level {level}"), gzip(level)));
    for (name, compression) in codecs.chain(levels) {
        let mut codec = compression.codec().unwrap();
        let mut output = Vec::new();
        codec.compress(&[events], &mut output).unwrap();
        let percent = output.len() * 100 / events.len();
        group.bench_function(format!("{name} ({percent} % are left)"), |bencher| {
            bencher.iter(|| {
                output.clear();
                codec.compress(&[events], &mut output).unwrap();
            });
        });
    }
    group.finish();
}

fn partitioning(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("partition");
    let available: Vec<i32> = (0..6).collect();
    let view = TopicView::new("events", 6, &available).unwrap();
    group.bench_function("murmur2 of 8 bytes", |bencher| bencher.iter(|| murmur2(b"customer")));
    let keyed = Keyed::JAVA;
    let record = RecordView::keyed(b"customer");
    group.bench_function("by key", |bencher| bencher.iter(|| keyed.partition(&record, &view)));
    group.finish();
}

/// Returns an accumulator with one topic of one partition.
#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn accumulator() -> (Accumulator, Arc<Topic>) {
    let clock = Arc::new(Still(std::time::Instant::now()));
    let config = Arc::new(Config::default());
    let accumulator = Accumulator::new(config, clock, Arc::new(NoCallbacks), 1, FaultInjection::NONE, Box::new(|| {}));
    accumulator.publish(&Layout { topic: "t".into(), partitions: vec![(PartitionId(0), Leadership::Anywhere)] });
    let topic = accumulator.topic("t").unwrap();
    (accumulator, topic)
}

fn accumulating(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accumulator");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("append a batch of 150 records", |bencher| {
        let append = |(accumulator, topic): (Accumulator, Arc<Topic>)| {
            for _ in 0..BATCH {
                let mut placed = Placed::new(Choice::Partition(0), record());
                accumulator.append(&topic, &mut placed, &mut Delivery::new).unwrap().forget();
            }
            (accumulator, topic)
        };
        bencher.iter_batched(accumulator, append, BatchSize::SmallInput);
    });
    group.finish();
}

fn responses(criterion: &mut Criterion) {
    const VERSION: i16 = 12;
    let partition = |index| PartitionProduceResponse { index, base_offset: 1 << 40, ..Default::default() };
    let topic = TopicProduceResponse {
        name: "events".to_owned(),
        partition_responses: (0..6).map(partition).collect(),
        ..Default::default()
    };
    let mut frame = Vec::new();
    write_response(&ProduceResponse { responses: vec![topic], ..Default::default() }, VERSION, 1, &mut frame).unwrap();
    let frame = Bytes::from(frame).slice(4..);
    criterion.bench_function("read a Produce response of 6 partitions", |bencher| {
        bencher.iter(|| read_response::<ProduceRequest>(&frame, VERSION).unwrap());
    });
}

criterion_group! {
    name = parts;
    config = criterion::Criterion::default().with_measurement(ThreadTime);
    targets = encoding, checksum, compression, partitioning, accumulating, responses
}
criterion_main!(parts);
