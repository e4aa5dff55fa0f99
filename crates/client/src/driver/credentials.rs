//! The task that fetches credentials for the core, and replaces them in time.
//!
//! ```text
//!   core ── FetchCredentials ──▶ ┌──────┐ ──▶ source: settings, file, token endpoint, provider
//!   handle ── set_credentials ─▶ │ task │
//!   core ◀───── Credentials ──── └──────┘ ◀── time: a token expires, a file may have changed
//! ```

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use kurier_engine::accumulator::Clock;
use kurier_engine::config::{Config, LocalCredentials, LoginSettings, SaslCredentials, SaslSettings};
use kurier_engine::core::{CredentialError, FetchReason, Grant, Input};
use kurier_engine::error::{Error, ErrorKind, panic_text};
use kurier_security::{Claims, Credentials, Token};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use super::clock::{SystemClock, wall_time};
use super::files::read_secret;
#[cfg(feature = "oauth-oidc")]
use super::oidc::Endpoint;
use crate::credentials::{CredentialSource, TokenError, TokenProvider, TokenRequest};

/// Where the credentials come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Local(LocalCredentials),
    #[cfg(feature = "oauth-oidc")]
    Endpoint(Arc<Endpoint>),
    Tokens(Arc<dyn TokenProvider>),
    Program(Arc<dyn CredentialSource>),
}

impl Source {
    /// Returns the source that the settings name; `None` if the program must provide one.
    ///
    /// # Errors
    /// If they name a token endpoint that this build, or its TLS, cannot ask.
    pub(crate) fn of(config: &Arc<Config>, settings: &SaslSettings) -> Result<Option<Self>, Error> {
        Ok(match &settings.credentials {
            SaslCredentials::Local(local) => {
                if let LocalCredentials::Unsecured(_) = local {
                    tracing::warn!("the tokens have no signature: only brokers for development accept them");
                }
                Some(Self::Local(local.clone()))
            }
            #[cfg(feature = "oauth-oidc")]
            SaslCredentials::Oidc(oidc) => Some(Self::Endpoint(Arc::new(Endpoint::new(config, settings, oidc)?))),
            #[cfg(not(feature = "oauth-oidc"))]
            SaslCredentials::Oidc(oidc) => {
                let _ = config;
                let text = format!(
                    "this build of kurier cannot ask the token endpoint {}: enable the feature oauth-oidc, or give the \
                     builder a token_provider",
                    oidc.endpoint
                );
                return Err(Error::new(ErrorKind::Configuration, text));
            }
            SaslCredentials::Program => None,
        })
    }
}

/// Work for the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Fetch credentials for the core.
    Fetch(FetchReason),
    /// Use these credentials from now on.
    Replace(Credentials),
    /// Ask the source again now, and send its result to the reply channel.
    Refresh(oneshot::Sender<Result<(), Error>>),
}

/// Capacity of the command channel. The core has at most one request under way.
pub(crate) const COMMANDS_MAX: usize = 16;

/// How often a password file is read again.
const FILE_POLL: Duration = Duration::from_secs(10);
/// The shortest time between two requests to a source that keeps returning the same token.
const RENEWAL_MIN: Duration = Duration::from_secs(1);
/// Largest password file.
const PASSWORD_BYTES_MAX: u64 = 8 * 1024;
/// Largest token file.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

/// A source with the settings that it needs.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) source: Source,
    pub(super) settings: SaslSettings,
}

/// The task.
pub(super) struct Task {
    pub(super) fetcher: Fetcher,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) inputs: mpsc::Sender<Input>,
}

impl Task {
    /// Runs until the driver ends.
    pub(super) async fn run(mut self) {
        let mut current: Option<Arc<Grant>> = None;
        let mut failures = 0;
        // After a failed token endpoint, the earliest time to ask it again; a request of the core waits in `demand`.
        let mut hold: Option<Instant> = None;
        let mut demand: Option<FetchReason> = None;
        loop {
            let due = hold.or_else(|| self.fetcher.due(current.as_deref(), failures));
            let command = match due {
                Some(due) => timeout_at(due.into(), self.commands.recv()).await,
                None => Ok(self.commands.recv().await),
            };
            let mut refreshed = None;
            let (reason, is_asked) = match command {
                Ok(None) => return,
                Ok(Some(Command::Fetch(reason))) if hold.is_some_and(|until| SystemClock.now() < until) => {
                    demand = Some(reason);
                    continue;
                }
                Ok(Some(Command::Fetch(reason))) => (reason, true),
                Ok(Some(Command::Replace(credentials))) => {
                    self.fetcher.source = Source::Local(LocalCredentials::Known(credentials));
                    (FetchReason::First, true)
                }
                Ok(Some(Command::Refresh(reply))) => {
                    refreshed = Some(reply);
                    (FetchReason::SessionEnds, demand.is_some())
                }
                Err(_) => (demand.unwrap_or(FetchReason::SessionEnds), demand.is_some()),
            };
            (hold, demand) = (None, None);
            let fetched = self.fetcher.fetch(reason).await;
            if let Some(reply) = refreshed {
                let _ = reply.send(fetched.as_ref().map(drop).map_err(|failure| failure.error.why.clone()));
            }
            let input = match fetched {
                Ok(credentials) => {
                    failures = 0;
                    let generation = match &current {
                        Some(old) if old.credentials == credentials => old.generation,
                        Some(old) => old.generation + 1,
                        None => 1,
                    };
                    // Report unchanged credentials only if the core asked for them.
                    let is_same = current.as_ref().is_some_and(|old| old.generation == generation);
                    let expires_at = expires_at(&credentials);
                    let grant = Arc::new(Grant { credentials, generation, expires_at });
                    current = Some(Arc::clone(&grant));
                    if is_same && !is_asked {
                        continue;
                    }
                    Input::Credentials(Ok(grant))
                }
                Err(failure) => {
                    failures += 1;
                    hold = self.fetcher.hold(&failure, failures, is_asked && current.is_none());
                    let Failure { error, .. } = failure;
                    if !is_asked {
                        let why = format_args!("{:#}", error.why);
                        match current {
                            // The old credentials have not expired yet.
                            Some(_) => tracing::warn!(why, "cannot renew the credentials"),
                            None => tracing::debug!(why, "there are no credentials yet"),
                        }
                        continue;
                    }
                    Input::Credentials(Err(error))
                }
            };
            if self.inputs.send(input).await.is_err() {
                return;
            }
        }
    }
}

impl Fetcher {
    /// Returns when to fetch without being asked.
    fn due(&self, current: Option<&Grant>, failures: u32) -> Option<Instant> {
        let now = SystemClock.now();
        let current = current?;
        let login = &self.settings.login;
        match &self.source {
            Source::Local(LocalCredentials::Known(_)) => None,
            Source::Local(LocalCredentials::PasswordFile { .. } | LocalCredentials::TokenFile { .. }) => {
                Some(now + FILE_POLL)
            }
            Source::Tokens(_) | Source::Program(_) if failures > 0 => Some(now + retry_wait(login, failures)),
            _ => {
                let left = current.expires_at?.saturating_duration_since(now);
                Some(now + renewal(login, left, fastrand::f64()).max(RENEWAL_MIN))
            }
        }
    }

    /// Returns until when connections may share a token, before another one is fetched; `None` for passwords.
    pub(super) fn reusable_until(&self, credentials: &Credentials) -> Option<Instant> {
        let now = SystemClock.now();
        let left = expires_at(credentials)?.saturating_duration_since(now);
        Some(now + renewal(&self.settings.login, left, fastrand::f64()))
    }

    /// Returns the earliest time to ask a token endpoint again after a failure. With `is_paced` the core itself waits
    /// after a refusal, because it has no credentials.
    #[cfg_attr(not(feature = "oauth-oidc"), expect(clippy::unused_self, reason = "there are no token endpoints"))]
    fn hold(&self, failure: &Failure, failures: u32, is_paced: bool) -> Option<Instant> {
        #[cfg(feature = "oauth-oidc")]
        if let Source::Endpoint(_) = &self.source {
            let login = &self.settings.login;
            let wait = match failure.error.is_refusal {
                true if is_paced => return None,
                true => refusal_wait(failures),
                false => {
                    let asked_for = failure.retry_after.unwrap_or_default().min(login.retry_backoff_max);
                    retry_wait(login, failures).max(asked_for)
                }
            };
            return Some(SystemClock.now() + wait);
        }
        let _ = (failure, failures, is_paced);
        None
    }

    /// Fetches credentials that can be used now.
    pub(super) async fn fetch(&self, reason: FetchReason) -> Result<Credentials, Failure> {
        let credentials = self.ask(reason).await?;
        if credentials.mechanism() != self.settings.mechanism {
            let text = format!(
                "the source of credentials gave some for {}, but sasl.mechanism is {}",
                credentials.mechanism(),
                self.settings.mechanism
            );
            return Err(refusal(text));
        }
        if let Credentials::Scram { username, .. } = &credentials
            && !username.is_ascii()
        {
            tracing::warn!("sasl.username has characters besides ASCII, and Kafka's SCRAM knows no such users");
        }
        match &credentials {
            Credentials::Bearer(token) if token.expires_at <= wall_time() => {
                let ago = wall_time().duration_since(token.expires_at).unwrap_or_default().as_secs();
                let text =
                    format!("the token expired {ago} s ago: renew it at its source, or check this machine's clock");
                Err(Failure::passing(Error::new(ErrorKind::Authentication, text)))
            }
            _ => Ok(credentials),
        }
    }

    /// Asks the source.
    async fn ask(&self, reason: FetchReason) -> Result<Credentials, Failure> {
        let login = &self.settings.login;
        let limit = login.connect_timeout + login.read_timeout;
        let request = TokenRequest { reason };
        let fetched = match &self.source {
            Source::Local(local) => return self.read(local).await,
            #[cfg(feature = "oauth-oidc")]
            Source::Endpoint(endpoint) => return endpoint.token().await.map(Credentials::Bearer),
            Source::Tokens(provider) => {
                timeout(limit, unwinding(async { provider.token(&request).await.map(Credentials::Bearer) })).await
            }
            Source::Program(source) => timeout(limit, unwinding(source.credentials(&request))).await,
        };
        match fetched {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(of_source(error)),
            Err(_) => {
                let text = format!("the source of credentials did not answer within {:.0} s", limit.as_secs_f64());
                Err(Failure::passing(Error::new(ErrorKind::Network, text)))
            }
        }
    }

    /// Reads the file that has the credentials, if they are not in the settings.
    async fn read(&self, local: &LocalCredentials) -> Result<Credentials, Failure> {
        match local {
            LocalCredentials::Known(credentials) => Ok(credentials.clone()),
            LocalCredentials::PasswordFile { username, path } => {
                let password = read_secret("kurier.sasl.password.file", path, PASSWORD_BYTES_MAX).await;
                let credentials = self.settings.with_password(username.clone(), password?, false);
                credentials.ok_or_else(|| refusal("OAUTHBEARER takes a token, not a password file"))
            }
            LocalCredentials::TokenFile { path, extensions } => {
                const KEY: &str = "sasl.oauthbearer.token.endpoint.url";
                let value = read_secret(KEY, path, TOKEN_BYTES_MAX).await?;
                // Another process may be writing the file.
                let wrong = |why: String| {
                    let text = format!("{KEY}: the token in {} {why}", path.display());
                    Failure::passing(Error::new(ErrorKind::Authentication, text))
                };
                let claims = Claims::read(value.expose()).map_err(|error| wrong(format!("cannot be used: {error}")))?;
                let expires_at = claims.expires_at.ok_or_else(|| wrong("has no time of expiry (exp)".to_owned()))?;
                Ok(Credentials::Bearer(Token { value, expires_at, extensions: extensions.clone() }))
            }
            LocalCredentials::Unsecured(token) => Ok(Credentials::Bearer(token.issue(wall_time()))),
        }
    }
}

/// Returns when a token expires.
fn expires_at(credentials: &Credentials) -> Option<Instant> {
    let Credentials::Bearer(token) = credentials else { return None };
    let left = token.expires_at.duration_since(wall_time()).unwrap_or_default();
    /// Cap that avoids an overflow of `Instant`.
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    Some(SystemClock.now() + left.min(FAR))
}

/// Polls the user's source of credentials, and turns a panic into an error.
async fn unwinding<T>(source: impl Future<Output = Result<T, TokenError>>) -> Result<T, TokenError> {
    let mut source = pin!(source);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| source.as_mut().poll(cx)))
            .unwrap_or_else(|panic| Poll::Ready(Err(TokenError::unavailable(panic_text(&*panic)))))
    })
    .await
}

/// Returns how long to wait before renewing a token that has `left` to live. Java's `ExpiringCredentialRefreshingLogin`
/// waits as long.
fn renewal(login: &LoginSettings, left: Duration, random: f64) -> Duration {
    let at = left.mul_f64(login.window_factor + login.window_jitter * random);
    if login.min_period + login.buffer > left {
        return at;
    }
    at.min(left - login.buffer).max(login.min_period)
}

fn retry_wait(login: &LoginSettings, failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    login.retry_backoff.saturating_mul(1 << doublings).min(login.retry_backoff_max)
}

/// Returns the wait after a token endpoint has refused the client, while the client still has a token.
#[cfg(feature = "oauth-oidc")]
fn refusal_wait(failures: u32) -> Duration {
    const LONGEST: Duration = Duration::from_secs(300);
    let doublings = failures.saturating_sub(1).min(16);
    Duration::from_secs(60).saturating_mul(1 << doublings).min(LONGEST)
}

/// Why there are no credentials.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: CredentialError,
    /// The wait that a token endpoint asks for (`Retry-After`).
    #[cfg_attr(not(feature = "oauth-oidc"), expect(dead_code, reason = "only token endpoints ask for it"))]
    pub(super) retry_after: Option<Duration>,
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self { error, retry_after: None }
    }
}

impl Failure {
    /// Returns a failure that a retry may mend.
    fn passing(why: Error) -> Self {
        CredentialError { is_refusal: false, why }.into()
    }

    /// Returns a failure that a retry would not mend.
    pub(super) fn refused(why: Error) -> Self {
        CredentialError { is_refusal: true, why }.into()
    }
}

fn of_source(error: TokenError) -> Failure {
    let is_refusal = error.is_refusal();
    let kind = if is_refusal { ErrorKind::Authentication } else { ErrorKind::Network };
    let why = Error::new(kind, "the source of credentials has none").caused_by(error.into_source());
    CredentialError { is_refusal, why }.into()
}

fn refusal(why: impl Into<String>) -> Failure {
    Failure::refused(Error::new(ErrorKind::Authentication, why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: LoginSettings = LoginSettings {
        window_factor: 0.8,
        window_jitter: 0.05,
        min_period: Duration::from_secs(60),
        buffer: Duration::from_secs(300),
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(10),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(10),
    };

    #[test]
    fn tokens_are_renewed_in_their_window() {
        let seconds = Duration::from_secs;
        let cases = [
            // Lifetime, random number, wait.
            (seconds(3600), 0.0, seconds(2880)),
            (seconds(3600), 1.0, seconds(3060)),
            // The buffer counts.
            (seconds(1000), 1.0, seconds(700)),
            // The least period and the buffer together exceed the lifetime, so neither counts.
            (seconds(300), 0.0, seconds(240)),
            (seconds(10), 0.0, seconds(8)),
            (seconds(0), 0.5, seconds(0)),
        ];
        for (left, random, wait) in cases {
            assert_eq!(renewal(&LOGIN, left, random), wait, "{left:?}");
        }
    }

    #[cfg(feature = "oauth-oidc")]
    #[test]
    fn endpoint_that_refuses_is_left_alone_for_minutes() {
        let waits = [1, 2, 3, 4, 100, u32::MAX].map(|failures| refusal_wait(failures).as_secs());
        assert_eq!(waits, [60, 120, 240, 300, 300, 300]);
    }

    #[test]
    fn retries_wait_longer_and_longer() {
        let waits = [1, 2, 3, 7, 8, 100, u32::MAX].map(|failures| retry_wait(&LOGIN, failures).as_millis());
        assert_eq!(waits, [100, 200, 400, 6400, 10_000, 10_000, 10_000]);
    }
}
