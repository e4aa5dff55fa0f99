//! TLS that the relay ends: to clients with a certificate of its own, to the cluster with the settings.
//!
//! ```text
//!   client ◀── TLS, --tls-cert ──▶ plaintext: recorded ◀── TLS, ssl.* ──▶ broker
//! ```

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use kurier::{Config, ConnectionSecurity, HostPort, SecureStream, SecurityProtocol};
use kurier_broker::TlsAcceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::certificates::server_tls;
use crate::exit::Misuse;
use crate::options::{Settings, say_ignored};

/// The relay's certificate, and the settings for the cluster.
#[derive(Args, Debug)]
pub(crate) struct TlsOptions {
    /// End TLS at the relay: file of its certificate, as PEM, followed by those of its issuers. The certificate must name
    /// the relay's IP address, and clients must trust its issuer.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// File of the certificate's private key, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

/// Both ends of the relay's TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    cluster: ConnectionSecurity,
}

impl TlsOptions {
    /// Loads certificates and settings; `None` if TLS passes through.
    ///
    /// # Errors
    /// When a file or a setting cannot be used.
    pub(crate) fn load(&self, upstream: &HostPort) -> Result<Option<Tls>> {
        let given = self.settings.given()?;
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return match given.first() {
                None => Ok(None),
                Some((key, _)) => Err(Misuse::error(format!(
                    "{key} is set, but without --tls-cert the relay forwards TLS as it is and uses no settings: give \
                     --tls-cert and --tls-key, or leave the settings out"
                ))),
            };
        };
        let acceptor = server_tls(certificate, key)?.acceptor()?;
        let config = config(upstream, given)?;
        let cluster = ConnectionSecurity::new(config).map_err(Misuse::of)?;
        Ok(Some(Tls { acceptor, cluster }))
    }
}

/// Returns the settings of TLS for the cluster. The clients' SASL passes through the relay.
fn config(upstream: &HostPort, given: Vec<(String, String)>) -> Result<Config> {
    let mut config = Config::default();
    let mut ignored = Vec::new();
    for (key, value) in given {
        match key.as_str() {
            "security.protocol" => {
                config.set(&key, &value).map_err(Misuse::of)?;
                if !SecurityProtocol::named(value.trim()).is_some_and(SecurityProtocol::has_tls) {
                    return Err(Misuse::error(format!(
                        "security.protocol is {}, but a relay with --tls-cert uses TLS to the cluster: set SSL or SASL_SSL, \
                         or leave --tls-cert out",
                        value.trim()
                    )));
                }
            }
            _ if ["ssl.", "kurier.tls.", "enable.ssl."].iter().any(|beginning| key.starts_with(beginning)) => {
                config.set(&key, &value).map_err(Misuse::of)?;
            }
            _ => ignored.push(key),
        }
    }
    config.set("bootstrap.servers", &upstream.to_string()).map_err(Misuse::of)?;
    config.set("security.protocol", "SSL").map_err(Misuse::of)?;
    say_ignored("kurier capture", &ignored);
    Ok(config)
}

impl Tls {
    /// Accepts a client's handshake.
    pub(crate) async fn accept(&self, client: TcpStream) -> Result<impl AsyncRead + AsyncWrite + Send + 'static> {
        self.acceptor.accept(client).await.context("no TLS with this client")
    }

    /// Starts TLS on a connection to a broker.
    pub(crate) async fn connect(&self, broker: TcpStream, upstream: &HostPort) -> Result<SecureStream> {
        Ok(self.cluster.secure(broker, upstream).await?)
    }
}
