//! TLS of the listeners: certificates, and the handshake of a connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Maximum time of a handshake. Kafka waits ten minutes, which is too long for a test.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);

/// Certificates of the listeners, as PEM. [`BrokerBuilder::start`](crate::BrokerBuilder::start) and
/// [`Broker::set_tls`](crate::Broker::set_tls) read them.
///
/// `Debug` does not show the key.
///
/// ```
/// use kurier_broker::{Broker, ServerTls};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/tls");
/// # let read = |name| std::fs::read_to_string(format!("{folder}/{name}"));
/// let tls = ServerTls::from_pem(read("broker.pem")?, read("broker-key.pem")?).client_ca(read("ca.pem")?);
/// # if cfg!(any(feature = "tls-ring", feature = "tls-aws-lc", feature = "tls-graviola")) {
/// let broker = Broker::builder().tls(tls).start().await?;
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`BrokerBuilder::start`](crate::BrokerBuilder::start) and [`Broker::set_tls`](crate::Broker::set_tls) refuse text without
/// a certificate or a key, a key that does not belong to the certificate, and a build without a provider of cryptography.
#[derive(Clone)]
pub struct ServerTls {
    chain: String,
    key: String,
    client_ca: Option<String>,
}

impl ServerTls {
    /// Takes the broker's certificate, followed by those of its issuers, and its private key: PKCS#8, PKCS#1 or SEC1, not
    /// encrypted.
    #[must_use]
    pub fn from_pem(chain: impl Into<String>, key: impl Into<String>) -> Self {
        Self { chain: chain.into(), key: key.into(), client_ca: None }
    }

    /// Requires a certificate of each client, which one of these authorities must have signed
    /// (`ssl.client.auth=required`).
    #[must_use]
    pub fn client_ca(mut self, certificates: impl Into<String>) -> Self {
        self.client_ca = Some(certificates.into());
        self
    }

    pub(crate) fn acceptor(&self) -> io::Result<Acceptor> {
        let provider = Arc::new(provider()?);
        let chain = certificates("the broker's chain", &self.chain)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| refused("the broker's private key cannot be read", error))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("the provider of cryptography has no cipher suite", error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("the authorities of clients", authorities)? {
                    roots.add(certificate).map_err(|error| refused("an authority of clients cannot be used", error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| refused("the authorities of clients cannot be used", error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| refused("the broker's certificate and private key cannot be used", error))?;
        Ok(Acceptor(TlsAcceptor::from(Arc::new(config))))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("requires_client", &self.client_ca.is_some()).finish_non_exhaustive()
    }
}

/// Accepts the handshakes of clients.
#[derive(Clone)]
pub(crate) struct Acceptor(TlsAcceptor);

impl Acceptor {
    /// Accepts a client's handshake.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let accept = async {
            match self.0.accept(socket).into_fallible().await {
                Ok(stream) => Ok(stream),
                Err((error, mut socket)) => {
                    // Closing with unread bytes would reset the connection, and the client would not read the alert.
                    socket.shutdown().await?;
                    while socket.read(&mut [0; 1024]).await? > 0 {}
                    Err(error)
                }
            }
        };
        timeout(HANDSHAKE_TIME_MAX, accept).await?
    }
}

fn certificates(name: &str, pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| refused(&format!("{name} cannot be read"), error))?;
    if certificates.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} has no certificate in PEM")));
    }
    Ok(certificates)
}

/// Returns the application's provider, or else the first of those that are compiled in.
fn provider() -> io::Result<CryptoProvider> {
    if let Some(provider) = CryptoProvider::get_default() {
        return Ok(provider.as_ref().clone());
    }
    cfg_select! {
        feature = "tls-aws-lc" => Ok(rustls::crypto::aws_lc_rs::default_provider()),
        feature = "tls-ring" => Ok(rustls::crypto::ring::default_provider()),
        all(feature = "tls-graviola", any(target_arch = "x86_64", target_arch = "aarch64")) => {
            Ok(rustls_graviola::default_provider())
        }
        _ => {
            let why = "TLS needs a provider of cryptography: enable the feature tls-ring, tls-aws-lc or tls-graviola";
            Err(io::Error::new(io::ErrorKind::InvalidInput, why))
        }
    }
}

/// Error of TLS settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Refused {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn refused(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, Refused { what: what.to_owned(), source: source.into() })
}
