//! Security of Kafka clients: secrets, credentials, the client's side of SASL, and the settings of TLS.
//!
//! The crate has no socket, no task, no clock and no source of random numbers: the caller passes the messages of the
//! broker, the nonce and the time. Only TLS reads files, those of its settings. The crate uses no other crate of Kurier.
//!
//! ```
//! use kurier_security::Secret;
//!
//! let password = Secret::from(" s3cret");
//! assert_eq!(format!("{password:?}"), "[hidden]");
//! ```
//!
//! | feature | content |
//! |---|---|
//! | none | [`Secret`], [`Mechanism`], [`Credentials`] |
//! | `sasl` (default) | the [`Exchange`] that proves credentials to a broker, [`JaasEntry`], [`Claims`], the [`TokenClient`] of a token endpoint |
//! | `tls` | `tls::TlsConfig`: certificates, keys and settings for rustls; the application brings the provider of cryptography |
//! | `tls-ring`, `tls-aws-lc`, `tls-graviola` | `tls` with a provider (`tls::Provider`) |
//! | `tls-webpki-roots` | Mozilla's root certificates, compiled in |
//! | `tls-encrypted-keys` | private keys that a password encrypts |

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]

#[cfg(feature = "sasl")]
pub mod assertion;
pub mod credentials;
#[cfg(feature = "sasl")]
pub mod jaas;
#[cfg(feature = "sasl")]
mod json;
#[cfg(feature = "sasl")]
pub mod jwt;
pub mod mechanism;
mod names;
#[cfg(feature = "sasl")]
pub mod oidc;
mod printable;
#[cfg(feature = "sasl")]
pub mod sasl;
pub mod secret;
#[cfg(feature = "tls")]
pub mod tls;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "sasl")]
pub use assertion::{Assertion, AssertionAlgorithm, AssertionTemplate, TemplateError, UnknownAlgorithm};
pub use credentials::{Credentials, Token};
#[cfg(feature = "sasl")]
pub use jaas::{JaasEntry, JaasError, JaasErrorKind, JaasLogin, OauthLogin};
#[cfg(feature = "sasl")]
pub use jwt::{Claim, Claims, JwtError, UnsecuredToken};
pub use mechanism::{Mechanism, ScramMechanism, UnknownMechanism};
#[cfg(feature = "sasl")]
pub use oidc::{ClientProof, EndpointError, TokenClient};
#[cfg(feature = "sasl")]
pub use sasl::{Exchange, Message, Refusal, SaslError, ScramJob, ScramProof, Step};
pub use secret::Secret;
