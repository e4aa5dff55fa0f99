//! The bytes of a connection: as they are, or encrypted by TLS.

use std::io;
use std::sync::Arc;

use kurier_engine::config::{Config, HostPort};
use kurier_engine::core::Ending;
use kurier_engine::error::Cause;
use tokio::net::TcpStream;

use super::names::Names;
#[cfg(feature = "tls")]
use super::tls::Tls;

/// An established connection.
#[derive(Debug)]
pub(super) enum Transport {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Transport {
    /// Returns whether the connection is encrypted or does not leave the machine, so that no one else can read it.
    pub(super) fn is_private(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback()),
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
        }
    }
}

/// A server to connect to, and how.
pub(crate) struct Target {
    pub(crate) config: Arc<Config>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) security: Security,
    pub(crate) host: HostPort,
    /// Each attempt starts with a later address of the host.
    pub(crate) attempt: u32,
    /// Whether a connection to this server was ever ready.
    pub(crate) was_ready: bool,
}

/// Whether connections use TLS.
#[derive(Clone, Debug)]
pub(crate) enum Security {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Tls),
}

impl Security {
    /// Starts TLS on a connection to this host, if the settings ask for it.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unused_async, reason = "TLS waits for the server"))]
    pub(super) async fn secure(
        &self,
        stream: TcpStream,
        host: &HostPort,
        was_ready: bool,
    ) -> Result<Transport, Ending> {
        match self {
            Self::Plain => {
                let _ = (host, was_ready);
                Ok(Transport::Plain(stream))
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.connect(stream, host, was_ready).await.map(|stream| Transport::Tls(Box::new(stream))),
        }
    }

    /// Describes the end of an established connection after an error.
    pub(super) fn ending(&self, what: &str, error: io::Error, host: &HostPort) -> Ending {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        if let Some(ending) = self.explain(&error, host) {
            return ending;
        }
        match error.kind() {
            ConnectionReset | ConnectionAborted | BrokenPipe => Ending::Closed("it reset the connection"),
            // The peer closed TCP without closing TLS. That is no truncation, because frames have a length.
            UnexpectedEof => Ending::Closed("it closed the connection"),
            _ => Ending::Failed(Cause::from(error).context(what)),
        }
    }

    /// Explains an error of an established connection; `None` if TLS is not to blame.
    pub(super) fn explain(&self, error: &io::Error, host: &HostPort) -> Option<Ending> {
        match self {
            Self::Plain => {
                let _ = (error, host);
                None
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.explain(error, host),
        }
    }
}
