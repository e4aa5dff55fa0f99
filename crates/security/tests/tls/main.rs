//! TLS: which settings, certificates and keys a client accepts, and how it explains failures.
//!
//! `make features` runs them with each provider. testdata/ORIGIN.md describes the certificates.
#![cfg(any(feature = "tls-ring", feature = "tls-aws-lc", feature = "tls-graviola"))]

#[cfg(feature = "sasl")]
mod assertions;
mod handshakes;
mod settings;

use kurier_security::Secret;
use kurier_security::tls::PemSource;

/// The path of a file in testdata/tls.
fn path(name: &str) -> String {
    format!("{}/../../testdata/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> PemSource {
    PemSource::path(path(name))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn text(text: impl Into<String>) -> PemSource {
    PemSource::text("ssl.setting", Secret::from(text.into()))
}
