//! TLS and SASL of a producer's connections, and the tasks that fetch credentials and reload certificates.
//!
//! ```text
//!   builder: settings, program's sources ─▶ Protection ─ start ─▶ Keepers ─▶ task: credentials
//!                                              │                        └──▶ task: files of TLS
//!                                              └─▶ Security, for each connection
//! ```

use std::sync::Arc;

use kurier_engine::config::{Config, SecurityConfig};
use kurier_engine::core::{CredentialError, FetchReason, Input};
use kurier_engine::error::{Error, ErrorKind};
use kurier_security::Credentials;
use tokio::sync::{mpsc, oneshot};

use super::credentials::{self, Fetcher, Source};
#[cfg(feature = "tls")]
use super::tls::{self, Reload, Tls};
use super::transport::Security;
#[cfg(feature = "tls")]
use kurier_engine::config::TlsSettings;
#[cfg(feature = "tls")]
use kurier_security::tls::TlsConfig;

/// Sources that the program gave to the builder, in place of settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) credentials: Option<Source>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<TlsConfig>,
}

/// TLS and SASL as the settings and the program ask for them.
pub(crate) struct Protection {
    pub(super) security: Security,
    pub(super) sasl: Option<Fetcher>,
    /// Settings whose files may change.
    #[cfg(feature = "tls")]
    pub(super) files: Option<TlsSettings>,
}

impl Protection {
    /// Connections as they are.
    #[cfg(test)]
    pub(super) const NONE: Self = Self {
        security: Security::Plain,
        sasl: None,
        #[cfg(feature = "tls")]
        files: None,
    };

    /// Loads the files that the settings name, which may block for a moment.
    pub(crate) fn new(config: &Arc<Config>, given: Given) -> Result<Self, Error> {
        let SecurityConfig { protocol, tls, sasl } = config.security();
        let sasl = match sasl {
            Some(settings) => {
                let source = match given.credentials {
                    Some(source) => Some(source),
                    None => Source::of(config, settings)?,
                };
                let source = source.ok_or_else(|| {
                    let text = format!(
                        "sasl.mechanism is {}, and nothing provides a token: call token_provider on the builder",
                        settings.mechanism
                    );
                    Error::new(ErrorKind::Configuration, text)
                })?;
                Some(Fetcher { source, settings: settings.clone() })
            }
            None if given.credentials.is_some() => {
                let text = format!(
                    "the builder has a source of credentials, but security.protocol is {protocol}: set SASL_SSL or \
                     SASL_PLAINTEXT, or remove the source"
                );
                return Err(Error::new(ErrorKind::Configuration, text));
            }
            None => None,
        };
        #[cfg(feature = "tls")]
        {
            let (security, files) = match (tls, given.tls) {
                (Some(_), Some(config)) => (Security::Tls(Tls::new(config)), None),
                (Some(settings), None) => (Security::Tls(Tls::new(tls::load(settings)?)), Some(settings.clone())),
                (None, Some(_)) => {
                    let text = format!(
                        "the builder has a TLS configuration, but security.protocol is {protocol}: set SSL or SASL_SSL, or \
                         remove it"
                    );
                    return Err(Error::new(ErrorKind::Configuration, text));
                }
                (None, None) => (Security::Plain, None),
            };
            Ok(Self { security, sasl, files })
        }
        #[cfg(not(feature = "tls"))]
        match tls {
            Some(_) => {
                let text = format!(
                    "security.protocol is {protocol}, but this build of kurier has no TLS: enable one of the features \
                     tls-ring, tls-aws-lc and tls-graviola"
                );
                Err(Error::new(ErrorKind::Configuration, text))
            }
            None => Ok(Self { security: Security::Plain, sasl }),
        }
    }

    /// Starts the tasks, on the current runtime.
    pub(super) fn start(self, inputs: &mpsc::Sender<Input>) -> Keepers {
        let credentials = self.sasl.map(|fetcher| {
            let (sender, commands) = mpsc::channel(credentials::COMMANDS_MAX);
            let task = credentials::Task { fetcher, commands, inputs: inputs.clone() };
            drop(tokio::spawn(task.run()));
            sender
        });
        #[cfg(feature = "tls")]
        let reload = match (self.security, self.files) {
            (Security::Tls(tls), Some(settings)) => {
                let (sender, commands) = mpsc::channel(1);
                let task = Reload { tls, settings, commands, inputs: inputs.clone() };
                drop(tokio::spawn(task.run()));
                Some(sender)
            }
            _ => None,
        };
        Keepers {
            credentials,
            #[cfg(feature = "tls")]
            reload,
        }
    }
}

/// Channels to the tasks that fetch credentials and reload certificates. The tasks end when this is dropped.
#[derive(Default)]
pub(super) struct Keepers {
    credentials: Option<mpsc::Sender<credentials::Command>>,
    #[cfg(feature = "tls")]
    reload: Option<mpsc::Sender<tls::ReloadCommand>>,
}

impl Keepers {
    /// Asks the task for credentials. If it does not run or its queue is full, returns the error for the core instead.
    pub(super) fn fetch(&self, reason: FetchReason) -> Option<Input> {
        let sender = self.credentials.as_ref();
        let is_asked = sender.is_some_and(|sender| sender.try_send(credentials::Command::Fetch(reason)).is_ok());
        (!is_asked).then(|| {
            let why = Error::new(ErrorKind::Authentication, "nothing provides credentials");
            Input::Credentials(Err(CredentialError { is_refusal: false, why }))
        })
    }

    /// Replaces the credentials, which the caller has checked.
    pub(super) fn set_credentials(&self, credentials: Credentials) {
        if let Some(sender) = &self.credentials
            && sender.try_send(credentials::Command::Replace(credentials)).is_err()
        {
            tracing::error!("set_credentials had no effect: the task for credentials is busy; call it again");
        }
    }

    /// Replaces the configuration of TLS, and returns the input for the core.
    #[cfg(feature = "tls")]
    pub(super) fn set_tls(&mut self, security: &Security, config: TlsConfig) -> Option<Input> {
        let Security::Tls(tls) = security else { return None };
        // From now on the program decides, not the files of the settings.
        self.reload = None;
        tls.set(config);
        Some(Input::TlsChanged)
    }

    /// Asks for credentials and loads certificates again now. Replies when both are done.
    pub(super) fn reload(&self, reply: oneshot::Sender<Result<(), Error>>) {
        let mut answers = Vec::new();
        if let Some(sender) = &self.credentials {
            let (done, answer) = oneshot::channel();
            let _ = sender.try_send(credentials::Command::Refresh(done));
            answers.push(answer);
        }
        #[cfg(feature = "tls")]
        if let Some(reload) = &self.reload {
            let (done, answer) = oneshot::channel();
            let _ = reload.try_send(done);
            answers.push(answer);
        }
        drop(tokio::spawn(async move {
            let mut result = Ok(());
            for answer in answers {
                let busy = || Error::new(ErrorKind::Configuration, "a reload is already under way: wait for it");
                result = result.and(answer.await.unwrap_or_else(|_| Err(busy())));
            }
            let _ = reply.send(result);
        }));
    }
}
