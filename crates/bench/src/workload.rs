//! What to send: the flags that every measured program takes, and the records.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// The flags of every measured program.
#[derive(Clone, Debug, Parser)]
pub struct Workload {
    /// Bootstrap servers as host:port, separated by commas.
    #[arg(long)]
    pub bootstrap: String,
    /// Topic to send to.
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// Number of the topic's partitions.
    #[arg(long, default_value_t = 6)]
    pub partitions: i32,
    /// Number of records.
    #[arg(long, default_value_t = 1_000_000)]
    pub records: u64,
    /// Size of each value in bytes.
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    /// File to cut the values from, one after the other (default: pseudo-random letters).
    #[arg(long)]
    pub payload: Option<PathBuf>,
    /// 1 gives each record a key of eight digits.
    #[arg(long, default_value_t = 0)]
    pub keyed: u8,
    /// Acknowledgements to wait for: 0, 1 or all.
    #[arg(long, default_value = "all")]
    pub acks: String,
    /// `linger.ms`.
    #[arg(long, default_value_t = 5)]
    pub linger_ms: u64,
    /// `batch.size`.
    #[arg(long, default_value_t = 16_384)]
    pub batch_size: usize,
    /// `compression.type`.
    #[arg(long, default_value = "none")]
    pub compression: String,
    /// 1 sets `enable.idempotence`.
    #[arg(long, default_value_t = 1)]
    pub idempotence: u8,
    /// `buffer.memory`.
    #[arg(long, default_value_t = 33_554_432)]
    pub buffer: usize,
    /// Records per second; 0 is unlimited.
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    /// The call to use, for programs that have several.
    #[arg(long, default_value = "")]
    pub api: String,
}

impl Workload {
    /// Returns the settings that have the same names in all clients with settings by name.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 7] {
        [
            ("bootstrap.servers", self.bootstrap.clone()),
            ("acks", self.acks.clone()),
            ("linger.ms", self.linger_ms.to_string()),
            ("batch.size", self.batch_size.to_string()),
            ("compression.type", self.compression.clone()),
            ("enable.idempotence", (self.idempotence == 1).to_string()),
            ("buffer.memory", self.buffer.to_string()),
        ]
    }

    /// Returns a key for this record, if records have keys.
    #[must_use]
    pub fn key(&self, number: u64) -> Option<[u8; 8]> {
        (self.keyed == 1).then(|| key(number))
    }
}

/// The values to send: slices of a file or of pseudo-random letters, one after the other.
#[derive(Debug)]
pub struct Payload {
    bytes: Vec<u8>,
    size: usize,
    at: usize,
}

impl Payload {
    /// Reads the file, or makes the letters, which are always the same.
    ///
    /// # Errors
    /// When the file cannot be read, or is not longer than a value.
    pub fn new(workload: &Workload) -> Result<Self> {
        let size = workload.size;
        let bytes = match &workload.payload {
            Some(path) => std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?,
            None => letters(size.max(1 << 20) + 1),
        };
        ensure!(bytes.len() > size, "the payload has {} bytes: it must be longer than a value of {size}", bytes.len());
        Ok(Self { bytes, size, at: 0 })
    }

    /// Returns the next value.
    pub fn next_value(&mut self) -> &[u8] {
        let at = self.next_place();
        self.bytes.get(at..at + self.size).unwrap_or_default()
    }

    /// Returns the next values.
    pub fn next_values(&mut self, count: usize) -> Vec<&[u8]> {
        let places: Vec<usize> = (0..count).map(|_| self.next_place()).collect();
        places.into_iter().map(|at| self.bytes.get(at..at + self.size).unwrap_or_default()).collect()
    }

    fn next_place(&mut self) -> usize {
        let slices = self.bytes.len() - self.size;
        let at = self.at;
        self.at = if at + self.size < slices { at + self.size } else { (at + self.size) % slices };
        at
    }
}

fn letters(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'A' + u8::try_from(state % 26).unwrap_or_default()
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Returns a key of eight digits; consecutive numbers give scattered keys.
#[must_use]
pub fn key(number: u64) -> [u8; 8] {
    let mut rest = number.wrapping_mul(2_654_435_761) % 100_000_000;
    let mut key = [b'0'; 8];
    for digit in key.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
    }
    key
}
