//! Compresses batches, and splits batches that are too large.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kurier_compression::{Codec, Compression, CompressionType, decompress_batch};
use kurier_protocol::record_batch::{NewRecord, RecordBatch, RecordBatchBuilder, SealedBatch, Stamp};

use crate::accumulator::batch::Taken;
use crate::accumulator::memory::Memory;
use crate::error::{Cause, panic_text};

/// Idle codecs, kept for reuse because their contexts are large.
#[derive(Debug)]
pub struct Codecs {
    compression: Compression,
    memory: Arc<Memory>,
    idle: Mutex<Vec<Box<dyn Codec>>>,
}

impl Codecs {
    pub fn new(compression: Compression, memory: Arc<Memory>) -> Self {
        Self { compression, memory, idle: Mutex::default() }
    }

    /// Whether batches are compressed at all.
    pub fn compress(&self) -> bool {
        self.compression.kind() != CompressionType::None
    }

    /// Compresses a batch. The batch stays uncompressed if compression does not shrink it or its codec fails. A codec
    /// that panicked is dropped, because its state is unknown.
    pub fn compress_batch(&self, taken: &mut Taken) {
        match catch_unwind(AssertUnwindSafe(|| self.compressed(taken))) {
            Ok(Some(sealed)) => taken.sealed = sealed,
            Ok(None) => {}
            Err(_) => {
                tracing::error!(codec = ?self.compression.kind(), "a codec panicked; sending a batch uncompressed");
            }
        }
    }

    fn compressed(&self, taken: &Taken) -> Option<SealedBatch> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut codec = kept.or_else(|| self.compression.codec().ok())?;
        let chunks: Vec<&[u8]> = taken.sealed.body().iter().map(AsRef::as_ref).collect();
        let plain_bytes = taken.sealed.body_bytes();
        // Events usually compress to half. A vector that is too small doubles.
        let mut body = Vec::with_capacity(plain_bytes / 2);
        let sealed = match codec.compress(&chunks, &mut body) {
            Ok(()) if body.len() < plain_bytes => {
                body.shrink_to_fit();
                let body = Bytes::from_owner(taken.piece(&self.memory, body));
                Some(taken.sealed.clone().with_compressed_body(codec.kind(), vec![body]))
            }
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "could not compress a batch; sending it uncompressed");
                None
            }
        };
        idle().push(codec);
        sealed
    }

    /// Splits a batch of at least two records into halves by size. A panic in a codec or a parser is an error.
    pub fn split(&self, whole: &Taken) -> Result<Vec<Taken>, Cause> {
        catch_unwind(AssertUnwindSafe(|| self.halves(whole))).unwrap_or_else(|panic| Err(panic_text(&*panic).into()))
    }

    fn halves(&self, whole: &Taken) -> Result<Vec<Taken>, Cause> {
        /// The most that a batch of this producer can hold.
        const LIMIT: usize = i32::MAX as usize;
        let bytes = whole.sealed.stamp(&Stamp::NONE)?.to_bytes();
        let (batch, _) = RecordBatch::parse(&bytes)?;
        let body = decompress_batch(&batch, LIMIT)?;
        let half = whole.plain_bytes / 2;
        let mut builders = vec![RecordBatchBuilder::new()];
        let last = batch.header().record_count - 1;
        for (record, index) in batch.records_in(&body)?.zip(0..) {
            let record = record?;
            let headers: Vec<_> = record.headers.collect();
            let new =
                NewRecord { timestamp: record.timestamp, key: record.key, value: record.value, headers: &headers };
            // The last record gets a batch of its own if it alone is half of the total.
            let is_half = |first: &RecordBatchBuilder<_>| first.body_bytes() >= half || index == last;
            let is_half = builders.len() == 1 && builders.last().is_some_and(is_half);
            if is_half && builders.last().is_some_and(|first| !first.is_empty()) {
                builders.push(RecordBatchBuilder::new());
            }
            let Some(builder) = builders.last_mut() else { continue };
            builder.append(&new)?;
        }
        let mut pieces = Vec::new();
        let mut first = whole.range.start;
        for sealed in builders.into_iter().filter_map(RecordBatchBuilder::seal) {
            // One buffer of the exact size: segments are at least 1 KiB, and a batch may be split into single records.
            let body = Bytes::from_owner(whole.piece(&self.memory, sealed.body().concat()));
            let sealed = sealed.with_compressed_body(CompressionType::None, vec![body]);
            let mut piece = whole.piece_of(first, sealed);
            first = piece.range.end;
            if self.compress() {
                self.compress_batch(&mut piece);
            }
            pieces.push(piece);
        }
        match pieces.len() {
            2 => Ok(pieces),
            count => Err(format!("its records make {count} pieces").into()),
        }
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use kurier_compression::{CompressError, DecompressError};
    use kurier_partitioner::Choice;

    use super::*;
    use crate::accumulator::{Accumulator, Layout, Leadership, PartitionId, Placed, Still};
    use crate::config::Config;
    use crate::delivery::NoCallbacks;
    use crate::fault_injection::FaultInjection;

    /// Returns an accumulator with one partition of topic `t`.
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn accumulator(config: &Arc<Config>) -> Accumulator {
        let clock = Arc::new(Still(std::time::Instant::now()));
        let (config, runner) = (Arc::clone(config), Arc::new(NoCallbacks));
        let accumulator = Accumulator::new(config, clock, runner, 1, FaultInjection::NONE, Box::new(|| {}));
        accumulator.publish(&Layout { topic: "t".into(), partitions: vec![(PartitionId(0), Leadership::Anywhere)] });
        accumulator
    }

    #[derive(Debug)]
    struct Panics;

    impl Codec for Panics {
        fn kind(&self) -> CompressionType {
            CompressionType::Gzip
        }

        fn compress(&mut self, _: &[&[u8]], output: &mut Vec<u8>) -> Result<(), CompressError> {
            output.push(1);
            panic!("a bug in a library");
        }

        fn decompress(&mut self, _: &[u8], _: usize, _: &mut Vec<u8>) -> Result<(), DecompressError> {
            unreachable!()
        }
    }

    #[test]
    fn batch_split_into_single_records_holds_no_more_memory() {
        let config = Arc::new(Config::default());
        let accumulator = accumulator(&config);
        let topic = accumulator.topic("t").unwrap();
        for _ in 0..100 {
            let record = NewRecord { value: Some(&[7; 10]), ..Default::default() };
            let mut placed = Placed::new(Choice::Partition(0), record);
            accumulator.append(&topic, &mut placed, &mut |_, _, _| ()).unwrap();
        }
        let codecs = Codecs::new(config.compression().unwrap(), Arc::clone(&accumulator.memory));
        let whole = accumulator.take(PartitionId(0), usize::MAX, true).0.unwrap();
        let plain_bytes = whole.plain_bytes;
        let (mut uncut, mut records) = (vec![whole], Vec::new());
        while let Some(batch) = uncut.pop() {
            let before = accumulator.memory.used();
            match batch.sealed.record_count() {
                1 => records.push(batch),
                _ => uncut.extend(codecs.split(&batch).unwrap()),
            }
            assert!(accumulator.memory.used() <= before + plain_bytes);
        }
        assert_eq!(records.len(), 100);
        assert!(accumulator.memory.used() <= plain_bytes, "{} of {plain_bytes}", accumulator.memory.used());
        drop(records);
        assert_eq!(accumulator.memory.used(), 0);
    }

    #[test]
    fn batch_stays_uncompressed_if_its_codec_panics() {
        let mut config = Config::default();
        config.set("compression.type", "gzip").unwrap();
        let config = Arc::new(config);
        let accumulator = accumulator(&config);
        let topic = accumulator.topic("t").unwrap();
        let codecs = Codecs::new(config.compression().unwrap(), Arc::clone(&accumulator.memory));
        codecs.idle.lock().unwrap().push(Box::new(Panics));
        for expected in [CompressionType::None, CompressionType::Gzip] {
            let record = NewRecord { value: Some(&[7; 1_000]), ..Default::default() };
            let mut placed = Placed::new(Choice::Partition(0), record);
            accumulator.append(&topic, &mut placed, &mut |_, _, _| ()).unwrap();
            let mut taken = accumulator.take(PartitionId(0), usize::MAX, true).0.unwrap();
            codecs.compress_batch(&mut taken);
            let bytes = taken.sealed.stamp(&Stamp::NONE).unwrap().to_bytes();
            let (batch, _) = RecordBatch::parse(&bytes).unwrap();
            assert_eq!(batch.header().attributes.compression_type(), Some(expected));
        }
    }
}
