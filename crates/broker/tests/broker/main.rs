//! Tests of the cluster from the clients' side. All of them use `kurier-protocol` for the wire; the cluster reads
//! requests with a reader of its own.

mod authentication;
// The suite sends compressed batches.
#[cfg(all(feature = "gzip", feature = "snappy", feature = "lz4"))]
mod conformance;
#[cfg(all(feature = "gzip", feature = "snappy", feature = "lz4"))]
mod conforming;
mod connection;
mod faults;
mod hostile;
mod leaders;
mod metadata;
mod produce;
mod reading;
mod sequences;
mod server;
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc", feature = "tls-graviola"))]
mod tls;
mod topics;
mod versions;
mod wire;
