//! The cluster as its clients see it. All speak the wire with `kurier-protocol`, whose reader and tables the cluster's
//! own reader of requests does not share.

// Some of its batches are compressed.
#[cfg(all(feature = "gzip", feature = "snappy", feature = "lz4"))]
mod conformance;
#[cfg(all(feature = "gzip", feature = "snappy", feature = "lz4"))]
mod conforming;
mod faults;
mod hostile;
mod leaders;
mod metadata;
mod produce;
mod reading;
mod sequences;
mod server;
mod topics;
mod versions;
mod wire;
