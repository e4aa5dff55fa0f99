//! Broker connection for the tools: one request at a time, in the newest version that both sides support.
//!
//! This client is independent of the producer, so that neither hides the other's mistakes. Both share the rules for
//! valid hosts, the settings of TLS and SASL, and the sources of credentials.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use bytes::Bytes;
use kurier::{Config, ConnectionSecurity, HostPort, Login, SecureStream, SecurityProtocol};
use kurier_protocol::messages::api_versions::ApiVersion;
use kurier_protocol::messages::{ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest};
use kurier_protocol::{
    Api, CorrelationId, ErrorCode, FrameBuffer, Message, Request, Secret, read_response, write_request,
};
use kurier_security::{Mechanism, SaslError, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::exit::Misuse;
use crate::options::nowhere;

/// The part of a session after which a new connection takes over.
const SESSION_SHARE: f64 = 0.85;

/// Beginnings of the keys that concern the security of a connection.
const SECURITY: [&str; 8] =
    ["security.", "ssl.", "sasl.", "https.ca.", "enable.ssl.", "enable.sasl.", "kurier.tls.", "kurier.sasl."];

/// Kafka settings of a connection and of the reader that uses it, with the producer's keys and defaults.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `bootstrap.servers`, librdkafka's `metadata.broker.list`.
    pub(crate) bootstrap_servers: Vec<HostPort>,
    /// `client.id`.
    pub(crate) client_id: String,
    /// `request.timeout.ms`.
    pub(crate) request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub(crate) setup_timeout: Duration,
    /// `retry.backoff.ms`; doubled with each retry.
    pub(crate) retry_backoff: Duration,
    /// `retry.backoff.max.ms`.
    pub(crate) retry_backoff_max: Duration,
    /// TLS and SASL.
    security: ConnectionSecurity,
    /// `security.protocol`, for texts.
    pub(crate) protocol: SecurityProtocol,
}

impl Settings {
    /// Builds the settings; a later entry overrides an earlier one. Also returns the keys that have no effect here.
    ///
    /// # Errors
    /// When a value is invalid, no server is given, or settings contradict each other.
    pub(crate) fn new(given: &[(String, String)]) -> Result<(Self, Vec<String>)> {
        let mut config = Config::default();
        let mut ignored = Vec::new();
        for (key, value) in given {
            match key.as_str() {
                "bootstrap.servers"
                | "metadata.broker.list"
                | "client.id"
                | "request.timeout.ms"
                | "socket.connection.setup.timeout.ms"
                | "retry.backoff.ms"
                | "retry.backoff.max.ms" => config.set(key, value).map_err(Misuse::of)?,
                _ if SECURITY.iter().any(|beginning| key.starts_with(beginning)) => {
                    config.set(key, value).map_err(Misuse::of)?;
                }
                _ => ignored.push(key.clone()),
            }
        }
        if config.bootstrap_servers.is_empty() {
            return Err(nowhere());
        }
        let config = config.check().map_err(Misuse::of)?;
        let settings = Self {
            security: ConnectionSecurity::new(config.clone()).map_err(Misuse::of)?,
            protocol: config.security_protocol,
            bootstrap_servers: config.bootstrap_servers.to_vec(),
            client_id: config.client_id,
            request_timeout: config.request_timeout,
            setup_timeout: config.connection_setup_timeout,
            retry_backoff: config.retry_backoff,
            retry_backoff_max: config.retry_backoff_max,
        };
        Ok((settings, ignored))
    }

    /// Returns how long to wait before the `retry`th retry in a row, counted from 1.
    pub(crate) fn backoff(&self, retry: u32) -> Duration {
        let doubled = 1u32.checked_shl(retry.saturating_sub(1)).unwrap_or(u32::MAX);
        self.retry_backoff.saturating_mul(doubled).min(self.retry_backoff_max)
    }
}

/// A failure to connect or to authenticate, by the remedy.
///
/// The cause is kept as text: an I/O error in the chain would look like an error of standard output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A connection that could not be made, or broke. Another connection, perhaps to another broker, may work.
    #[error("{0}")]
    Broken(String),
    /// There are no credentials yet, such as from a file that is being written. No server is usable before they come.
    #[error("{0}")]
    NoCredentials(String),
    /// Refused credentials. Each further attempt could lock the account.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// Returns the failure in an error's chain.
    fn of(error: &Error) -> Option<&Self> {
        error.chain().find_map(<dyn std::error::Error>::downcast_ref)
    }

    /// Returns whether a later attempt may succeed.
    pub(crate) fn may_pass(error: &Error) -> bool {
        matches!(Self::of(error), Some(Self::Broken(_) | Self::NoCredentials(_)))
    }

    /// Returns whether a later attempt with other credentials may succeed.
    pub(crate) fn lacks_credentials(error: &Error) -> bool {
        matches!(Self::of(error), Some(Self::NoCredentials(_)))
    }

    /// Returns whether other servers of the cluster would only repeat the failure.
    pub(crate) fn is_the_same_everywhere(error: &Error) -> bool {
        matches!(Self::of(error), Some(Self::NoCredentials(_) | Self::Refused(_)))
    }

    /// Returns the error for a connection that could not be made, or broke.
    pub(crate) fn broken(text: impl fmt::Display) -> Error {
        Error::new(Self::Broken(text.to_string()))
    }

    fn no_credentials(text: impl fmt::Display) -> Error {
        Error::new(Self::NoCredentials(text.to_string()))
    }

    fn refused(text: impl fmt::Display) -> Error {
        Error::new(Self::Refused(text.to_string()))
    }
}

/// An open connection that has negotiated its API versions and has authenticated.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The broker's name in errors.
    peer: String,
    server: HostPort,
    settings: Arc<Settings>,
    stream: SecureStream,
    buffer: FrameBuffer,
    versions: Vec<ApiVersion>,
    /// Whether the server has answered a request other than ApiVersions.
    has_answered: bool,
    next_correlation_id: CorrelationId,
    /// When to replace the connection, because its session ends soon after (KIP-368).
    stale_at: Option<Instant>,
}

impl Connection {
    /// Connects to the first address of a server that answers as a Kafka broker.
    ///
    /// # Errors
    /// When no address works. The error lists each address with its cause, separated by line breaks.
    pub(crate) async fn open(server: &HostPort, settings: &Arc<Settings>) -> Result<Self> {
        let resolve = timeout(settings.setup_timeout, lookup_host((server.host.as_str(), server.port)));
        let addresses: Vec<SocketAddr> = match resolve.await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(error)) => return Err(Failure::broken(format!("{server}: the name cannot be resolved: {error}"))),
            Err(_) => return Err(Failure::broken(format!("{server}: the name was not resolved in time"))),
        };
        let mut causes = Vec::new();
        let mut is_broken = true;
        for address in addresses {
            let shown = address.to_string();
            let peer = server.to_string();
            let peer = if peer == shown { peer } else { format!("{peer} ({shown})") };
            match Self::open_address(server, address, &peer, settings).await {
                Ok(connection) => return Ok(connection),
                Err(error) if Failure::is_the_same_everywhere(&error) => return Err(error.context(peer)),
                Err(error) => {
                    is_broken &= Failure::may_pass(&error);
                    causes.push(format!("{peer}: {error:#}"));
                }
            }
        }
        if causes.is_empty() {
            return Err(Failure::broken(format!("{server}: the name has no address")));
        }
        let causes = causes.join("\n");
        Err(if is_broken { Failure::broken(causes) } else { anyhow!(causes) })
    }

    async fn open_address(
        server: &HostPort,
        address: SocketAddr,
        peer: &str,
        settings: &Arc<Settings>,
    ) -> Result<Self> {
        const KEY: &str = "socket.connection.setup.timeout.ms";
        let millis = settings.setup_timeout.as_millis();
        let socket = timeout(settings.setup_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| Failure::broken(format!("no connection within {millis} ms ({KEY})")))?
            .map_err(Failure::broken)?;
        socket.set_nodelay(true).map_err(Failure::broken)?;
        let stream = timeout(settings.setup_timeout, settings.security.secure(socket, server))
            .await
            .map_err(|_| Failure::broken(format!("the TLS handshake did not end within {millis} ms ({KEY})")))?
            .map_err(of_security)?;
        let mut connection = Self {
            peer: peer.to_owned(),
            server: server.clone(),
            settings: Arc::clone(settings),
            stream,
            // Until the server has proved to be a broker, limit its responses.
            buffer: FrameBuffer::new(FrameBuffer::UNAUTHENTICATED_LIMIT_BYTES),
            versions: Vec::new(),
            has_answered: false,
            next_correlation_id: CorrelationId(0),
            stale_at: None,
        };
        connection.learn_versions().await?;
        connection.authenticate().await?;
        connection.buffer.set_limit(FrameBuffer::DEFAULT_LIMIT_BYTES);
        Ok(connection)
    }

    /// Authenticates by SASL, if the settings ask for it.
    async fn authenticate(&mut self) -> Result<()> {
        let started = self.settings.security.start_login(&self.stream, &self.server).await;
        let started = started.map_err(|error| match error.is_refusal() {
            false => Failure::no_credentials(format_args!("{error:#}")),
            true => Failure::refused(format_args!("{error:#}")),
        })?;
        let Some(Login { mut exchange, first: mut message, username, ticket, .. }) = started else { return Ok(()) };
        let mechanism = exchange.mechanism();
        // Version 0 has no errors and no sessions.
        if self.version::<SaslHandshakeRequest>()? < 1 {
            bail!("it offers only the SASL of Kafka 0.10, and Kurier needs Kafka 1.0 or later");
        }
        let answer = self.call_in(&SaslHandshakeRequest { mechanism: mechanism.name().to_owned() }, 1).await?;
        match answer.error_code {
            ErrorCode::NONE => {}
            ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
                let offered = answer.mechanisms.join(", ");
                return Err(Failure::refused(format_args!(
                    "the broker offers {offered}, not {mechanism}: set sasl.mechanism"
                )));
            }
            ErrorCode::ILLEGAL_SASL_STATE => bail!(
                "this listener does not use SASL: set security.protocol to PLAINTEXT or SSL, or use another listener of the \
                 broker"
            ),
            code => return Err(Failure::broken(format_args!("SaslHandshake was refused: {code}, {}", code.meaning()))),
        }
        let version = self.version::<SaslAuthenticateRequest>()?;
        loop {
            let started_at = Instant::now();
            let request = SaslAuthenticateRequest { auth_bytes: Secret::from(Bytes::from_owner(message)) };
            let answer = self.call_in(&request, version).await?;
            match answer.error_code {
                ErrorCode::NONE => {}
                code @ ErrorCode::SASL_AUTHENTICATION_FAILED => {
                    let words = answer.error_message.unwrap_or_else(|| code.meaning().to_owned());
                    let why = exchange.refusal().map_or_else(|| shortened(&words), ToString::to_string);
                    if self.settings.security.forget(&ticket).await {
                        let text = format!("{mechanism}: {code}, {why}; the token was an earlier one");
                        return Err(Failure::no_credentials(text));
                    }
                    return Err(refused(mechanism, username.as_deref(), format_args!("{code}, {why}")));
                }
                code => {
                    return Err(Failure::broken(format_args!(
                        "SaslAuthenticate was refused: {code}, {}",
                        code.meaning()
                    )));
                }
            }
            message = match exchange.handle(answer.auth_bytes.reveal()) {
                Ok(Step::Send(message)) => message,
                Ok(Step::Compute(job)) => exchange.prove(spawn_blocking(|| job.run()).await?)?,
                Ok(Step::Done) => {
                    // Later, the broker would close the connection at the next request.
                    let lifetime = u64::try_from(answer.session_lifetime_ms).ok().filter(|millis| *millis > 0);
                    self.stale_at = lifetime.and_then(|millis| {
                        started_at.checked_add(Duration::from_millis(millis).mul_f64(SESSION_SHARE))
                    });
                    return Ok(());
                }
                Err(SaslError::Refused { detail, .. }) => return Err(refused(mechanism, username.as_deref(), detail)),
                Err(error) => return Err(error.into()),
            };
        }
    }

    /// Returns whether the session ends too soon for another request.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale_at.is_some_and(|at| at <= Instant::now())
    }

    async fn learn_versions(&mut self) -> Result<()> {
        /// Later versions add nothing that a reader needs; every broker since 2.4 has version 3.
        const NEWEST: i16 = 3;
        let request = ApiVersionsRequest {
            client_software_name: "kurier-cli".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Default::default()
        };
        let mut response = self.call_in(&request, NEWEST).await?;
        if response.error_code == ErrorCode::UNSUPPORTED_VERSION {
            response = self.call_in(&request, 0).await?;
        }
        if !response.error_code.is_none() {
            bail!("ApiVersions was refused: {}, {}", response.error_code, response.error_code.meaning());
        }
        let mut keys = BTreeSet::new();
        for ApiVersion { api_key, min_version, max_version } in &response.api_keys {
            if *min_version < 0 || min_version > max_version {
                bail!("it offers API {api_key} in versions {min_version} to {max_version}, which is invalid");
            }
            if !keys.insert(api_key) {
                bail!("it offers API {api_key} twice");
            }
        }
        self.versions = response.api_keys;
        Ok(())
    }

    /// Returns the broker's name in errors.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Sends a request and waits for its response. The connection is unusable after an error.
    pub(crate) async fn call<R: Request>(&mut self, request: &R) -> Result<R::Response> {
        let version = self.version::<R>()?;
        self.call_in(request, version).await.with_context(|| self.peer.clone())
    }

    fn version<R: Request>(&self) -> Result<i16> {
        let (lowest, highest) = (*R::VERSIONS.start(), *R::VERSIONS.end());
        let offered = self.versions.iter().find(|versions| versions.api_key == R::KEY);
        match offered {
            Some(offered) if offered.max_version.min(highest) >= offered.min_version.max(lowest) => {
                Ok(offered.max_version.min(highest))
            }
            Some(ApiVersion { min_version, max_version, .. }) => bail!(
                "{} offers {} in versions {min_version} to {max_version}, and Kurier speaks {lowest} to {highest}: use a broker of another version",
                self.peer,
                name_of::<R>()
            ),
            None if R::KEY == MetadataRequest::KEY => bail!(
                "{} does not offer Metadata: is this a controller's listener? Use a listener of a broker",
                self.peer
            ),
            None => bail!("{} does not offer {}", self.peer, name_of::<R>()),
        }
    }

    async fn call_in<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let limit = self.settings.request_timeout;
        timeout(limit, self.exchange(request, version)).await.unwrap_or_else(|_| {
            let (name, millis) = (name_of::<R>(), limit.as_millis());
            Err(Failure::broken(format!("no response to {name} within {millis} ms (request.timeout.ms)")))
        })
    }

    async fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = CorrelationId(correlation_id.0.wrapping_add(1));
        // The request may carry a password.
        let mut frame = Zeroizing::new(Vec::new());
        write_request(request, version, correlation_id, Some(&self.settings.client_id), &mut *frame)?;
        let written = async {
            self.stream.write_all(&frame).await?;
            self.stream.flush().await
        };
        if let Err(error) = written.await {
            return Err(self.ended::<R>(error));
        }
        let frame = loop {
            if let Some(frame) = self.buffer.next_frame()? {
                break frame;
            }
            match self.stream.read_buf(self.buffer.room()).await {
                Ok(0) => return Err(self.ended::<R>(ErrorKind::ConnectionReset.into())),
                Ok(_) => {}
                Err(error) => return Err(self.ended::<R>(error)),
            }
        };
        let (answered, response) = read_response::<R>(&frame, version)
            .with_context(|| format!("its response to {} cannot be read", name_of::<R>()))?;
        if answered != correlation_id {
            bail!(
                "the response has correlation id {answered} instead of {correlation_id}: is the server a Kafka broker?"
            );
        }
        self.has_answered = !self.versions.is_empty();
        Ok(response)
    }

    /// Returns the error for a connection that ended before the response.
    fn ended<R: Request>(&self, error: io::Error) -> Error {
        if let Some(error) = self.settings.security.explain(&error, &self.server) {
            return of_security(error);
        }
        match error.kind() {
            // A server that closes with unread bytes resets the connection; TLS reports a missing farewell.
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof => {
                let (name, suspicion) = (name_of::<R>(), self.suspicion());
                Failure::broken(format!("it closed the connection instead of answering {name}{suspicion}"))
            }
            _ => Failure::broken(error),
        }
    }

    /// Returns a guess at why the server closed the connection; empty if the server is known to be a broker.
    fn suspicion(&self) -> String {
        let protocol = self.settings.protocol;
        if self.versions.is_empty() {
            format!(": is it a Kafka broker, and is this its {protocol} listener (security.protocol)?")
        } else if !self.has_answered && !protocol.has_sasl() {
            // A SASL listener answers only ApiVersions before the client has authenticated.
            ": does this listener require SASL? Set security.protocol and sasl.mechanism".to_owned()
        } else {
            String::new()
        }
    }
}

/// Returns the error for credentials that the broker refused.
fn refused(mechanism: Mechanism, username: Option<&str>, why: impl fmt::Display) -> Error {
    Failure::refused(match username {
        Some(name) => format!("{mechanism} for user {name}: {why}; correct the user name or the password"),
        None => format!("{mechanism}: {why}; correct the token or its source"),
    })
}

/// Cuts a broker's words to a length that suits an error.
fn shortened(words: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    words.chars().take(CHARACTERS_MAX).collect()
}

/// Returns the error of TLS. Another server, or another attempt, may help only if the network failed.
fn of_security(error: kurier::Error) -> Error {
    match error.kind() {
        kurier::ErrorKind::Network => Failure::broken(format_args!("{error:#}")),
        _ => error.into(),
    }
}

fn name_of<R: Request>() -> &'static str {
    Api::of(R::KEY).map_or(R::SCHEMA.name, Api::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn later_settings_override_earlier_ones_and_unused_keys_are_returned() {
        let (settings, ignored) = Settings::new(&given(&[
            ("bootstrap.servers", "a:1"),
            ("retry.backoff.ms", "3"),
            ("linger.ms", "5"),
            ("security.protocol", "plaintext"),
            ("metadata.broker.list", "b:2"),
        ]))
        .unwrap();
        assert_eq!(
            (settings.bootstrap_servers[0].to_string(), ignored),
            ("b:2".to_owned(), vec!["linger.ms".to_owned()])
        );
        let waits: Vec<_> = [1, 2, 3, 9, 10, 100].map(|retry| settings.backoff(retry).as_millis()).into();
        assert_eq!(waits, [3, 6, 12, 768, 1000, 1000]);
    }

    #[test]
    fn invalid_settings_are_refused() {
        for (wrong, says) in [
            (vec![], "-b HOST:PORT"),
            (vec![("bootstrap.servers", "a")], "port is missing"),
            (vec![("bootstrap.servers", "a:1"), ("request.timeout.ms", "1s")], "request.timeout.ms cannot be \"1s\""),
            (
                vec![("bootstrap.servers", "a:1"), ("sasl.username", "me")],
                "sasl.username is set, but security.protocol",
            ),
            (vec![("bootstrap.servers", "a:1"), ("security.protocol", "SASL_SSL")], "sasl.mechanism is missing"),
        ] {
            let error = Settings::new(&given(&wrong)).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
        }
    }
}
