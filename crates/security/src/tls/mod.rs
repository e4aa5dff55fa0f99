//! TLS of clients with rustls: settings, PEM files, the provider of cryptography, and the meaning of failures.
//!
//! The module opens no socket. [`TlsConfig`] gives the caller a `rustls::ClientConfig` and the name to verify, and
//! explains why a handshake failed.
//!
//! ```no_run
//! use kurier_security::tls::{PemSource, TlsConfig};
//!
//! # fn main() -> Result<(), kurier_security::tls::TlsError> {
//! let tls = TlsConfig::builder().root_certificates(PemSource::path("/etc/kafka/ca.pem")).build()?;
//! let name = tls.server_name("kafka-1.example.")?;
//! println!("{tls}");
//! # let _ = (tls.client(), name);
//! # Ok(())
//! # }
//! ```
//!
//! Whatever the settings: sessions resume only within one `TlsConfig`, no data travels before the handshake ends (0-RTT),
//! and no file gets the keys of a session (`SSLKEYLOGFILE`).

#[cfg(feature = "sasl")]
pub mod assertion;
pub mod config;
pub mod error;
pub mod pem;
pub mod provider;
pub mod version;

mod explain;
mod identity;
mod key;
mod roots;

#[cfg(feature = "sasl")]
pub use assertion::AssertionKey;
pub use config::{TlsConfig, TlsConfigBuilder};
pub use error::{TlsError, TlsErrorKind};
pub use pem::PemSource;
pub use provider::{Provider, UnknownProvider};
pub use roots::Roots;
pub use rustls;
pub use version::{TlsVersion, UnknownTlsVersion};
