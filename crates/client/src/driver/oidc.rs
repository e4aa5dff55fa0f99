//! Asks a token endpoint for a token (KIP-768): one request by HTTP/1.1, on a connection of its own. Follows no redirect,
//! and reads no variable for proxies.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::rt::ReadBufCursor;
use hyper::{Request, Response};
use kurier_engine::config::{Config, LoginSettings, OidcSettings, SaslSettings};
use kurier_engine::core::{CredentialError, Ending};
use kurier_engine::error::{Cause, Error, ErrorKind};
use kurier_security::{Secret, Token};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::assertion;
use super::clock::wall_time;
use super::connection;
use super::credentials::Failure;
use super::names::SystemNames;
#[cfg(feature = "tls")]
use super::tls::{self, Tls};
use super::transport::{Security, Target, Transport};

/// Largest answer, and largest head of one.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A token endpoint.
pub(crate) struct Endpoint {
    settings: OidcSettings,
    login: LoginSettings,
    allow_cleartext: bool,
    config: Arc<Config>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.settings.endpoint)
    }
}

/// An answer of the endpoint.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Endpoint {
    /// Checks the certificates and the key for assertions that the settings name, and may block for a moment.
    ///
    /// # Errors
    /// If they cannot be used, or if the build has no TLS.
    pub(crate) fn new(config: &Arc<Config>, sasl: &SaslSettings, settings: &OidcSettings) -> Result<Self, Error> {
        security(settings)?;
        assertion::check(settings)?;
        Ok(Self {
            settings: settings.clone(),
            login: sasl.login,
            allow_cleartext: sasl.allow_cleartext,
            config: Arc::clone(config),
        })
    }

    /// Asks for a token.
    pub(super) async fn token(&self) -> Result<Token, Failure> {
        let assertion = assertion::make(&self.settings).await?;
        let asked_at = wall_time();
        let transport = self.connect().await?;
        if !transport.is_private() && !self.allow_cleartext {
            return Err(Failure::refused(self.settings.in_the_clear()));
        }
        let millis = self.login.read_timeout.as_millis();
        let answer = timeout(self.login.read_timeout, self.exchange(transport, &assertion)).await;
        let Answer { status, retry_after, body } = answer.unwrap_or_else(|_| {
            let text = format!("has not answered within {millis} ms (sasl.login.read.timeout.ms)");
            Err(self.failed(&text, None))
        })?;
        let token = self.settings.client.read_answer(status, &body, asked_at, &assertion).map_err(|error| Failure {
            retry_after,
            ..match error.is_refusal() {
                true => Failure::refused(self.error(ErrorKind::Authentication, &error.to_string())),
                false => self.failed(&error.to_string(), None),
            }
        })?;
        Ok(Token { extensions: self.settings.extensions.clone(), ..token })
    }

    fn error(&self, kind: ErrorKind, text: &str) -> Error {
        Error::new(kind, format!("token endpoint {} {text}", self.settings.endpoint))
    }

    /// Returns a failure that may pass.
    fn failed(&self, text: &str, cause: Option<Cause>) -> Failure {
        let why = self.error(ErrorKind::Network, text);
        let why = match cause {
            Some(cause) => why.caused_by(cause),
            None => why,
        };
        Failure { error: CredentialError { is_refusal: false, why }, retry_after: None }
    }

    /// Connects. Reads the certificates of the authorities first, because their files may have changed.
    async fn connect(&self) -> Result<Transport, Failure> {
        let settings = self.settings.clone();
        let security = super::blocking::on_a_thread("kurier-files", move || Ok(security(&settings))).await;
        let security = security.map_err(|error| self.failed("cannot be reached", Some(error.into())))?;
        let security =
            security.map_err(|why| Failure { error: CredentialError { is_refusal: false, why }, retry_after: None })?;
        let target = Target {
            config: Arc::clone(&self.config),
            names: Arc::new(SystemNames),
            security,
            host: self.settings.endpoint.server.clone(),
            attempt: 0,
            // Leaves out a question about Kafka's ports.
            was_ready: true,
        };
        let millis = self.login.connect_timeout.as_millis();
        match timeout(self.login.connect_timeout, connection::open(&target)).await {
            Ok(Ok(transport)) => Ok(transport),
            Ok(Err(Ending::Failed(cause))) => Err(self.failed("cannot be reached", Some(cause))),
            Ok(Err(Ending::Closed(said))) => Err(self.failed("cannot be reached", Some(said.into()))),
            Ok(Err(Ending::Untrusted(why))) => {
                let text = format!("cannot be trusted: {}", for_endpoint(&format!("{why:#}")));
                let why = self.error(ErrorKind::Authentication, &text);
                Err(Failure { error: CredentialError { is_refusal: false, why }, retry_after: None })
            }
            Err(_) => {
                let text = format!("no connection within {millis} ms (sasl.login.connect.timeout.ms)");
                Err(self.failed("cannot be reached", Some(text.into())))
            }
        }
    }

    async fn exchange(&self, transport: Transport, assertion: &Secret) -> Result<Answer, Failure> {
        let request = self.request(assertion).map_err(|error| {
            let why = self.error(ErrorKind::Configuration, "cannot be asked: the URL is wrong");
            Failure::refused(why.caused_by(error))
        })?;
        let answer = match transport {
            Transport::Plain(stream) => ask(stream, request).await,
            #[cfg(feature = "tls")]
            Transport::Tls(stream) => ask(stream, request).await,
        };
        match answer {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(self.failed(&format!("answered with more than {ANSWER_BYTES_MAX} bytes"), None)),
            Err(error) => Err(self.failed("has not answered", Some(error.into()))),
        }
    }

    fn request(&self, assertion: &Secret) -> Result<Request<String>, hyper::http::Error> {
        let OidcSettings { endpoint, client, .. } = &self.settings;
        let mut request = Request::post(endpoint.target.as_str())
            .header(HOST, endpoint.authority.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("kurier/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close");
        if let Some(value) = client.authorization() {
            let mut value = HeaderValue::from_bytes(value.expose())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        // A form is ASCII.
        request.body(String::from_utf8_lossy(client.form(assertion).expose()).into_owned())
    }
}

/// Returns the protection of the connection, with the certificates that the settings name.
fn security(settings: &OidcSettings) -> Result<Security, Error> {
    if !settings.endpoint.is_encrypted {
        return Ok(Security::Plain);
    }
    #[cfg(feature = "tls")]
    return tls::load(&settings.tls).map(|config| Security::Tls(Tls::new(config)));
    #[cfg(not(feature = "tls"))]
    {
        let text = format!(
            "the token endpoint {} needs TLS, but this build of kurier has none: enable one of the features tls-ring, \
             tls-aws-lc and tls-graviola",
            settings.endpoint
        );
        Err(Error::new(ErrorKind::Configuration, text))
    }
}

/// Replaces the settings of brokers in a TLS error with those of the token endpoint.
fn for_endpoint(text: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("ssl.truststore.certificates or ssl.truststore.location", "https.ca.location or https.ca.pem"),
        ("ssl.truststore.*", "https.ca.location"),
        ("check advertised.listeners, or set kurier.tls.server.name", "check sasl.oauthbearer.token.endpoint.url"),
        ("set ssl.keystore.location", "none can be set for a token endpoint"),
        (", and trust its issuer", ""),
        ("the broker's", "its"),
        ("the broker", "it"),
    ];
    WORDS.iter().fold(text.to_owned(), |text, (of_broker, of_endpoint)| text.replace(of_broker, of_endpoint))
}

/// Sends a request and reads the answer; `None` if that is too large.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<String>,
) -> Result<Option<Answer>, hyper::Error> {
    let (mut sender, connection) = http1::Builder::new().max_buf_size(ANSWER_BYTES_MAX).handshake(Io(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = read(response.into_body()).await?;
        Ok(body.map(|body| Answer { status, retry_after, body }))
    };
    let (mut connection, mut answer) = (pin!(connection), pin!(answer));
    let mut has_ended = false;
    poll_fn(|cx| {
        // Ignore the connection's result: the answer has the error.
        has_ended = has_ended || connection.as_mut().poll(cx).is_ready();
        answer.as_mut().poll(cx)
    })
    .await
}

/// Reads a body; `None` if it is too large.
async fn read(mut body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len() + data.len() > ANSWER_BYTES_MAX {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}

/// Returns the wait that the endpoint asks for, if it is a number of seconds.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A stream of tokio for hyper.
struct Io<S>(S);

impl<S: AsyncRead + Unpin> hyper::rt::Read for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; 4096];
        let room = buffer.remaining().min(bytes.len());
        let mut read = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
