//! TLS of the listeners: certificates, and the handshake of a connection.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
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

    /// Reads the certificates, for a server of your own, such as a relay.
    ///
    /// # Errors
    /// As described above.
    pub fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(provider()?);
        let chain = certificates("the certificate", &self.chain)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| {
            let what = match self.key.contains("ENCRYPTED") {
                true => "the private key is encrypted: decrypt it with openssl pkey -in KEY -out PLAIN_KEY",
                false => "the private key cannot be read: it must be PEM with PKCS#8, PKCS#1 or SEC1",
            };
            refused(what, error)
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| refused("the provider of cryptography has no cipher suite", error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates("the authority of clients", authorities)? {
                    roots.add(certificate).map_err(|error| refused("an authority of clients cannot be used", error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| refused("the authorities of clients cannot be used", error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                refused("the private key does not belong to the certificate", error)
            }
            error => refused("the certificate and the private key cannot be used", error),
        })?;
        Ok(TlsAcceptor(tokio_rustls::TlsAcceptor::from(Arc::new(config))))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("requires_client", &self.client_ca.is_some()).finish_non_exhaustive()
    }
}

/// Accepts the handshakes of clients, for servers of your own. [`ServerTls::acceptor`] returns one.
///
/// ```no_run
/// use kurier_broker::ServerTls;
/// use tokio::net::TcpListener;
///
/// # async fn serve() -> std::io::Result<()> {
/// let read = |name| std::fs::read_to_string(name);
/// let acceptor = ServerTls::from_pem(read("chain.pem")?, read("key.pem")?).acceptor()?;
/// let (socket, _) = TcpListener::bind("127.0.0.1:9093").await?.accept().await?;
/// let stream = acceptor.accept(socket).await?;
/// # drop(stream);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TlsAcceptor(tokio_rustls::TlsAcceptor);

impl TlsAcceptor {
    /// Accepts a client's handshake, within ten seconds.
    ///
    /// # Errors
    /// If the client does not speak TLS, does not trust the certificate, or closes the connection.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let accept = async {
            match self.0.accept(socket).into_fallible().await {
                Ok(stream) => Ok(stream),
                Err((error, mut socket)) => {
                    // Closing with unread bytes would reset the connection, and the client would not read the alert.
                    let _ = socket.shutdown().await;
                    while socket.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
                    Err(explained(error))
                }
            }
        };
        timeout(HANDSHAKE_TIME_MAX, accept).await.unwrap_or_else(|_| {
            let why = format!("it has not ended the TLS handshake within {HANDSHAKE_TIME_MAX:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })
    }
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

/// Says why a handshake failed, and what to do.
fn explained(error: io::Error) -> io::Error {
    let what = match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "it does not speak TLS: set its security.protocol to SSL, or SASL_SSL with SASL"
        }
        Some(rustls::Error::AlertReceived(_)) => {
            "it refused the certificate: does it trust the issuer, and does the certificate name the address that it \
             dialled?"
        }
        Some(rustls::Error::NoCertificatesPresented) => "it shows no certificate: set its ssl.keystore settings",
        _ => return error,
    };
    io::Error::new(error.kind(), Refused { what: what.to_owned(), source: error.into() })
}

fn certificates(name: &str, pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| refused(&format!("{name} cannot be read"), error))?;
    if certificates.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not PEM with a certificate")));
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
