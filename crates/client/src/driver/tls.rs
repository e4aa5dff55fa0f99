//! TLS of a producer's connections, and the reload of its files.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kurier_engine::config::{
    HostPort, Identity, PemSource as Source, Roots as RootsChoice, TlsProvider, TlsSettings, Trust,
};
use kurier_engine::core::{Ending, Input};
use kurier_engine::error::{Cause, Error, ErrorKind};
use kurier_security::tls::{
    PemSource, Provider, Roots, TlsConfig, TlsConfigBuilder, TlsError, TlsErrorKind, TlsVersion,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::blocking::on_a_thread;

/// The newest configuration of TLS, which new connections use.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<ArcSwap<TlsConfig>>);

impl Tls {
    pub(crate) fn new(config: TlsConfig) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    /// Performs the handshake of a new connection to this host.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        host: &HostPort,
        was_ready: bool,
    ) -> Result<TlsStream<TcpStream>, Ending> {
        let config = self.0.load_full();
        let name = config.server_name(&host.host).map_err(ending)?;
        let connected = TlsConnector::from(config.client()).connect(name, stream).await;
        connected.map_err(|error| ending(config.explain_handshake(&error, &host.host, was_ready)))
    }

    /// Explains an error of an established connection; `None` if TLS is not to blame.
    pub(super) fn explain(&self, error: &io::Error, host: &HostPort) -> Option<Ending> {
        self.0.load().explain(error, &host.host).map(ending)
    }

    /// Uses this configuration for new connections.
    pub(super) fn set(&self, config: TlsConfig) {
        self.0.store(Arc::new(config));
    }

    /// Uses this configuration for new connections, if its certificates differ from those in use. Returns whether they
    /// do.
    pub(super) fn replace(&self, config: TlsConfig) -> bool {
        let is_same = self.0.load().has_same_certificates(&config);
        if !is_same {
            self.0.store(Arc::new(config));
        }
        !is_same
    }
}

fn ending(error: TlsError) -> Ending {
    match error.kind() {
        TlsErrorKind::Network => Ending::Failed(Cause::from(error)),
        TlsErrorKind::Configuration => Ending::Untrusted(with_kind(ErrorKind::Configuration, error)),
        _ => Ending::Untrusted(with_kind(ErrorKind::Authentication, error)),
    }
}

/// Converts an error of TLS, with its text and its cause.
pub(super) fn with_kind(kind: ErrorKind, error: TlsError) -> Error {
    let text = error.to_string();
    match std::error::Error::source(&error) {
        Some(cause) => Error::new(kind, text).caused_by(cause.to_string()),
        None => Error::new(kind, text),
    }
}

/// Loads the files and texts that the settings name. May block.
pub(crate) fn load(settings: &TlsSettings) -> Result<TlsConfig, Error> {
    builder(settings).build().map_err(|error| with_kind(ErrorKind::Configuration, error))
}

/// Loads the same on a thread that may block.
pub(super) async fn load_on_a_thread(settings: &TlsSettings) -> Result<TlsConfig, Error> {
    let settings = settings.clone();
    let loaded = on_a_thread("kurier-files", move || Ok(load(&settings))).await;
    loaded.unwrap_or_else(|error| Err(Error::new(ErrorKind::Configuration, error.to_string())))
}

/// Logs that certificates could not be loaded again.
pub(super) fn warn_of_old_certificates(error: &Error) {
    tracing::warn!(why = format_args!("{error:#}"), "cannot reload the certificates: the old ones stay in use");
}

pub(super) fn source(source: &Source) -> PemSource {
    match source {
        Source::Path(path) => PemSource::path(path),
        Source::Text { setting, text } => PemSource::text(*setting, text.clone()),
    }
}

pub(super) fn provider(choice: TlsProvider) -> Provider {
    match choice {
        TlsProvider::Auto => Provider::Auto,
        TlsProvider::AwsLc => Provider::AwsLc,
        TlsProvider::Ring => Provider::Ring,
        TlsProvider::Graviola => Provider::Graviola,
    }
}

fn builder(settings: &TlsSettings) -> TlsConfigBuilder {
    let TlsSettings { trust, identity, versions, cipher_suites, server_name, provider, reload: _ } = settings;
    let offered = [(versions.tls_1_2, TlsVersion::Tls12), (versions.tls_1_3, TlsVersion::Tls13)];
    let mut builder = TlsConfig::builder()
        .versions(offered.into_iter().filter(|(is_on, _)| *is_on).map(|(_, version)| version))
        .cipher_suites(cipher_suites.iter().cloned())
        .provider(self::provider(*provider));
    builder = match trust {
        Trust::Roots(RootsChoice::Auto) => builder.roots(Roots::Auto),
        Trust::Roots(RootsChoice::System) => builder.roots(Roots::System),
        Trust::Roots(RootsChoice::Mozilla) => builder.roots(Roots::Mozilla),
        Trust::Certificates(certificates) => builder.root_certificates(source(certificates)),
    };
    if let Some(Identity { certificates, key, key_password }) = identity {
        builder = builder.identity(source(certificates), source(key));
        if let Some(password) = key_password {
            builder = builder.key_password(password.clone());
        }
    }
    match server_name {
        Some(name) => builder.server_name(name),
        None => builder,
    }
}

/// Replaces the configuration when its files change (`kurier.tls.reload.ms`), or on demand.
pub(super) struct Reload {
    pub(super) tls: Tls,
    pub(super) settings: TlsSettings,
    /// Each command asks for a reload now, and gets its result.
    pub(super) commands: mpsc::Receiver<ReloadCommand>,
    pub(super) inputs: mpsc::Sender<Input>,
}

/// A demand for a reload, with the channel for its result.
pub(crate) type ReloadCommand = tokio::sync::oneshot::Sender<Result<(), Error>>;

impl Reload {
    /// Runs until the driver ends.
    pub(super) async fn run(mut self) {
        /// First wait after a failure, such as half-written files. It doubles with each failure.
        const AGAIN: Duration = Duration::from_secs(1);
        /// Failures in a row without a warning.
        const QUIET: u32 = 2;
        let mut failures = 0;
        loop {
            let wait = match (failures, self.settings.reload) {
                (0, wait) => wait,
                (_, Some(wait)) => Some(AGAIN.saturating_mul(1 << failures.min(10)).min(wait)),
                (_, None) => None,
            };
            let reply = match wait {
                Some(wait) => match timeout(wait, self.commands.recv()).await {
                    Ok(None) => return,
                    Ok(reply) => reply,
                    Err(_) => None,
                },
                None => match self.commands.recv().await {
                    None => return,
                    reply => reply,
                },
            };
            let result = match load_on_a_thread(&self.settings).await {
                Ok(config) => {
                    failures = 0;
                    if self.tls.replace(config) {
                        tracing::info!("the certificates have changed: connections are replaced");
                        if self.inputs.send(Input::TlsChanged).await.is_err() {
                            return;
                        }
                    }
                    Ok(())
                }
                Err(error) => {
                    failures += 1;
                    if failures > QUIET {
                        warn_of_old_certificates(&error);
                    }
                    Err(error)
                }
            };
            if let Some(reply) = reply {
                let _ = reply.send(result);
            }
        }
    }
}
