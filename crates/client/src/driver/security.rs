//! TLS and SASL of the settings, for connections that a program opens by itself.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
#[cfg(feature = "tls")]
use std::time::Duration;
use std::time::Instant;

use kurier_engine::accumulator::Clock;
#[cfg(feature = "tls")]
use kurier_engine::config::TlsSettings;
use kurier_engine::config::{Config, HostPort, in_the_clear};
use kurier_engine::core::{CredentialError, Ending, Entropy, FetchReason};
use kurier_engine::error::{Error, ErrorKind};
use kurier_security::{Credentials, Exchange, Message};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::clock::SystemClock;
use super::credentials::{Failure, Fetcher};
use super::entropy::SystemEntropy;
use super::protection::{Given, Protection};
#[cfg(feature = "tls")]
use super::tls::{self, Tls};
use super::transport::{Security, Transport};

/// TLS and SASL as a configuration asks for them, for tools that speak Kafka's protocol beside the producer.
///
/// The tool opens the socket and sends the requests. This type encrypts the connection, fetches the credentials, and
/// starts the [`Exchange`] that proves them. New connections use the certificates that the files then have, if
/// `kurier.tls.reload.ms` has passed since the last look at them.
///
/// ```no_run
/// use kurier::{Config, ConnectionSecurity, HostPort};
/// use tokio::net::TcpStream;
///
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::from_properties(std::fs::File::open("client.properties")?)?;
/// let security = ConnectionSecurity::new(config)?;
/// let server: HostPort = "kafka-1:9093".parse()?;
/// let socket = TcpStream::connect((server.host.as_str(), server.port)).await?;
/// let stream = security.secure(socket, &server).await?;
/// if let Some(login) = security.start_login(&stream, &server).await? {
///     // Send SaslHandshake with `login.exchange.mechanism()`, then `login.first` in SaslAuthenticate.
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ConnectionSecurity {
    security: Security,
    #[cfg(feature = "tls")]
    files: Option<Mutex<Files>>,
    sasl: Option<Fetcher>,
    /// A token that the next connections may use too, and until when. The lock lets one task at a time ask for another.
    token: Mutex<Option<(Credentials, Instant)>>,
}

impl ConnectionSecurity {
    /// Checks the settings, and loads the files that they name, which may block for a moment.
    ///
    /// # Errors
    /// Of kind [`Configuration`](ErrorKind::Configuration), if settings contradict each other, or a file cannot be used.
    pub fn new(config: Config) -> Result<Self, Error> {
        let protection = Protection::new(&Arc::new(config.check()?), Given::default())?;
        Ok(Self {
            security: protection.security,
            #[cfg(feature = "tls")]
            files: protection.files.and_then(Files::new).map(Mutex::new),
            sasl: protection.sasl,
            token: Mutex::default(),
        })
    }

    /// Performs the handshake of TLS on a new connection to this server, if the settings ask for it.
    ///
    /// # Errors
    /// Of kind [`Authentication`](ErrorKind::Authentication) or [`Configuration`](ErrorKind::Configuration), if the server
    /// cannot be trusted, or does not trust us; of kind [`Network`](ErrorKind::Network) otherwise.
    pub async fn secure(&self, socket: TcpStream, server: &HostPort) -> Result<SecureStream, Error> {
        #[cfg(feature = "tls")]
        if let (Security::Tls(tls), Some(files)) = (&self.security, &self.files) {
            files.lock().await.reload(tls).await;
        }
        self.security.secure(socket, server, false).await.map(SecureStream::from).map_err(error)
    }

    /// Explains an error of an established connection, if TLS is to blame. With TLS 1.3 a server refuses a client's
    /// certificate only after the handshake.
    #[must_use]
    pub fn explain(&self, error_of_stream: &io::Error, server: &HostPort) -> Option<Error> {
        self.security.explain(error_of_stream, server).map(error)
    }

    /// Fetches the credentials, and starts the exchange for this connection. Returns `None` if the settings ask for no
    /// SASL. Each connection needs an exchange of its own.
    ///
    /// # Errors
    /// If the mechanism would reveal a secret or cannot carry the credentials, or if there are no credentials. The error
    /// tells whether they may come: see [`LoginError::is_refusal`].
    pub async fn start_login(&self, stream: &SecureStream, server: &HostPort) -> Result<Option<Login>, LoginError> {
        let Some(fetcher) = &self.sasl else { return Ok(None) };
        let settings = &fetcher.settings;
        if !stream.is_private && settings.mechanism.reveals_secret() && !settings.allow_cleartext {
            return Err(refusal(in_the_clear(settings.mechanism, server)));
        }
        let (credentials, is_reused) = self.credentials(fetcher).await?;
        let (mut exchange, first) = Exchange::start(&credentials, SystemEntropy.nonce())
            .map_err(|error| refusal(Error::new(ErrorKind::Configuration, error.to_string())))?;
        exchange.set_scram_iterations_max(settings.scram_max_iterations);
        let username = credentials.username().map(str::to_owned);
        Ok(Some(Login { exchange, first, username, ticket: Ticket { credentials, is_reused } }))
    }

    /// Forgets the token of a login that the broker has refused: the next login fetches another. Returns whether that may
    /// help, because the token was not fetched for this login. Passwords are fetched for each login.
    pub async fn forget(&self, refused: &Ticket) -> bool {
        self.token.lock().await.take_if(|(credentials, _)| *credentials == refused.credentials);
        refused.is_reused
    }

    /// Returns credentials, and whether an earlier login fetched them.
    async fn credentials(&self, fetcher: &Fetcher) -> Result<(Credentials, bool), LoginError> {
        let mut token = self.token.lock().await;
        if let Some((credentials, until)) = &*token
            && SystemClock.now() < *until
        {
            return Ok((credentials.clone(), true));
        }
        let fetched = fetcher.fetch(FetchReason::First).await;
        let credentials = fetched.map_err(|Failure { error, .. }| LoginError(error))?;
        *token = fetcher.reusable_until(&credentials).map(|until| (credentials.clone(), until));
        Ok((credentials, false))
    }
}

/// Files of certificates and keys that may change.
#[cfg(feature = "tls")]
#[derive(Debug)]
struct Files {
    settings: TlsSettings,
    /// `kurier.tls.reload.ms`.
    period: Duration,
    loaded_at: Instant,
}

#[cfg(feature = "tls")]
impl Files {
    /// Notes that the files were just loaded; `None` if they are not to be loaded again.
    fn new(settings: TlsSettings) -> Option<Self> {
        let period = settings.reload?;
        Some(Self { settings, period, loaded_at: SystemClock.now() })
    }

    /// Loads the files if the period has passed. After a failure the old certificates stay in use, and the next connection
    /// loads again.
    async fn reload(&mut self, tls: &Tls) {
        let now = SystemClock.now();
        if now.saturating_duration_since(self.loaded_at) < self.period {
            return;
        }
        match tls::load_on_a_thread(&self.settings).await {
            Ok(config) => {
                self.loaded_at = now;
                tls.replace(config);
            }
            Err(error) => tls::warn_of_old_certificates(&error),
        }
    }
}

fn refusal(why: Error) -> LoginError {
    LoginError(CredentialError { is_refusal: true, why })
}

/// Why an authentication could not begin.
///
/// ```
/// # async fn connect(
/// #     security: &kurier::ConnectionSecurity, stream: &kurier::SecureStream, server: &kurier::HostPort,
/// # ) -> Result<(), kurier::Error> {
/// match security.start_login(stream, server).await {
///     Err(error) if !error.is_refusal() => println!("trying again in a second: {error:#}"),
///     login => drop(login?),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LoginError(CredentialError);

impl LoginError {
    /// Returns whether a retry would not help: the source refused, or the settings are wrong. Otherwise wait, then start
    /// again: another process may be writing a file, a token may be about to be replaced, or the source cannot be reached.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.0.is_refusal
    }
}

impl fmt::Display for LoginError {
    /// Writes the error; with `{:#}` also its causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.why.fmt(f)
    }
}

impl std::error::Error for LoginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.why.source()
    }
}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        error.0.why
    }
}

fn error(ending: Ending) -> Error {
    match ending {
        Ending::Untrusted(error) => error,
        Ending::Failed(cause) => Error::new(ErrorKind::Network, format!("{cause:#}")),
        Ending::Closed(said) => Error::new(ErrorKind::Network, said),
    }
}

/// The beginning of an authentication by SASL. See [`ConnectionSecurity`] for an example.
#[derive(Debug)]
#[non_exhaustive]
pub struct Login {
    /// The exchange, which takes the broker's answers.
    pub exchange: Exchange,
    /// Its first message.
    pub first: Message,
    /// The user name, for errors; `None` for OAUTHBEARER.
    pub username: Option<String>,
    /// The credentials in use, for [`ConnectionSecurity::forget`].
    pub ticket: Ticket,
}

/// The credentials of a [`Login`]. See [`ConnectionSecurity`] for an example of a login.
#[derive(Debug)]
pub struct Ticket {
    credentials: Credentials,
    is_reused: bool,
}

/// A connection, with TLS if the settings ask for it. See [`ConnectionSecurity`] for an example.
pub struct SecureStream {
    stream: Pin<Box<dyn Duplex>>,
    is_private: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Sync {}
impl<S: AsyncRead + AsyncWrite + Send + Sync> Duplex for S {}

impl From<Transport> for SecureStream {
    fn from(transport: Transport) -> Self {
        let is_private = transport.is_private();
        let stream: Pin<Box<dyn Duplex>> = match transport {
            Transport::Plain(stream) => Box::pin(stream),
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => Box::pin(*stream),
        };
        Self { stream, is_private }
    }
}

impl fmt::Debug for SecureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureStream").field("is_private", &self.is_private).finish_non_exhaustive()
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }
}
