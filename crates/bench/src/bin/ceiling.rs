//! The ceiling: what a producer cannot undercut.
//!
//! One thread encodes records in place, checksums each batch, and writes requests of six batches, five in flight. It
//! has no partitioner, queue, timestamp per record or outcome per record: the cost of those is a producer's own.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use kurier_bench::meter::now;
use kurier_bench::{Latencies, Meter, Payload, Workload};

/// Batches of a request, one for each partition.
const BATCHES: i32 = 6;

/// Requests without an answer.
const IN_FLIGHT: usize = 5;

/// Bytes of a batch before its records.
const HEADER_BYTES: usize = 61;

fn main() -> Result<()> {
    let workload = Workload::parse();
    ensure!(workload.compression == "none" && workload.rate == 0.0, "the ceiling neither compresses nor waits");
    let mut ceiling = Ceiling {
        socket: TcpStream::connect(&workload.bootstrap)?,
        payload: Payload::new(&workload)?,
        workload,
        sent: 0,
        in_flight: VecDeque::new(),
        latencies: Latencies::default(),
    };
    ceiling.socket.set_nodelay(true)?;
    let meter = Meter::start()?;
    ceiling.run()?;
    meter.report("ceiling", &ceiling.workload, ceiling.sent, 0, &ceiling.latencies)
}

struct Ceiling {
    socket: TcpStream,
    payload: Payload,
    workload: Workload,
    sent: u64,
    /// Start and number of records of each request without an answer.
    in_flight: VecDeque<(Instant, u64)>,
    latencies: Latencies,
}

impl Ceiling {
    fn run(&mut self) -> Result<()> {
        let mut request = Vec::with_capacity(8 * self.workload.batch_size);
        let mut correlation_id = 0;
        while self.sent < self.workload.records {
            let start = (now(), self.sent);
            self.encode(correlation_id, &mut request)?;
            self.in_flight.push_back((start.0, self.sent - start.1));
            correlation_id += 1;
            self.socket.write_all(&request)?;
            if self.in_flight.len() >= IN_FLIGHT {
                self.read_answer()?;
            }
        }
        while !self.in_flight.is_empty() {
            self.read_answer()?;
        }
        Ok(())
    }

    fn read_answer(&mut self) -> Result<()> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length).try_into()?];
        self.socket.read_exact(&mut body)?;
        let (start, records) = self.in_flight.pop_front().context("no request awaits an answer")?;
        self.latencies.record(start.elapsed(), records);
        Ok(())
    }

    /// Writes a Produce request of version 3.
    fn encode(&mut self, correlation_id: i32, request: &mut Vec<u8>) -> Result<()> {
        request.clear();
        request.extend_from_slice(&[0; 4]); // length
        request.extend_from_slice(&0i16.to_be_bytes()); // Produce
        request.extend_from_slice(&3i16.to_be_bytes());
        request.extend_from_slice(&correlation_id.to_be_bytes());
        request.extend_from_slice(&(-1i16).to_be_bytes()); // client id
        request.extend_from_slice(&(-1i16).to_be_bytes()); // transactional id
        request.extend_from_slice(&(-1i16).to_be_bytes()); // acks
        request.extend_from_slice(&30_000i32.to_be_bytes()); // timeout
        request.extend_from_slice(&1i32.to_be_bytes());
        request.extend_from_slice(&i16::try_from(self.workload.topic.len())?.to_be_bytes());
        request.extend_from_slice(self.workload.topic.as_bytes());
        let count_at = request.len();
        request.extend_from_slice(&[0; 4]);
        let mut batches = 0i32;
        // The last request has fewer batches: none is empty.
        while batches < BATCHES && self.sent < self.workload.records {
            let partition = batches;
            batches += 1;
            request.extend_from_slice(&partition.to_be_bytes());
            let length_at = request.len();
            request.extend_from_slice(&[0; 4]);
            self.encode_batch(request)?;
            let length = i32::try_from(request.len() - length_at - 4)?;
            put(request, length_at, length.to_be_bytes());
        }
        put(request, count_at, batches.to_be_bytes());
        let length = i32::try_from(request.len() - 4)?;
        put(request, 0, length.to_be_bytes());
        Ok(())
    }

    fn encode_batch(&mut self, request: &mut Vec<u8>) -> Result<()> {
        let start = request.len();
        request.resize(start + HEADER_BYTES, 0);
        let mut records = 0i32;
        let full = self.workload.batch_size.saturating_sub(self.workload.size).max(1);
        while request.len() - start < full && self.sent < self.workload.records {
            let key = self.workload.key(self.sent);
            let key = key.as_ref().map(|key| &key[..]);
            encode_record(request, i64::from(records), key, self.payload.next_value());
            records += 1;
            self.sent += 1;
        }
        let size = i32::try_from(request.len() - start)?;
        put(request, start + 8, (size - 12).to_be_bytes());
        put(request, start + 16, [2]); // magic
        put(request, start + 23, (records - 1).to_be_bytes());
        put(request, start + 57, records.to_be_bytes());
        let checksum = crc32c::crc32c(request.get(start + 21..).unwrap_or_default());
        put(request, start + 17, checksum.to_be_bytes());
        Ok(())
    }
}

fn encode_record(out: &mut Vec<u8>, delta: i64, key: Option<&[u8]>, value: &[u8]) {
    let length = |bytes: &[u8]| i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let field = |bytes: &[u8]| varint_len(length(bytes)) + bytes.len();
    let body = 1 + 2 * varint_len(delta) + key.map_or(1, field) + field(value) + 1;
    put_varint(out, i64::try_from(body).unwrap_or(i64::MAX));
    out.push(0); // attributes
    put_varint(out, delta); // timestamp
    put_varint(out, delta); // offset
    match key {
        Some(key) => {
            put_varint(out, length(key));
            out.extend_from_slice(key);
        }
        None => put_varint(out, -1),
    }
    put_varint(out, length(value));
    out.extend_from_slice(value);
    put_varint(out, 0); // headers
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn varint_len(number: i64) -> usize {
    let bits = 64 - (zigzag(number) | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

/// Overwrites bytes that are there.
fn put<const N: usize>(out: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = out.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}
