//! Validates the settings of SASL against each other.

use std::mem;
use std::time::Duration;

use kurier_security::{Claim, Credentials, JaasEntry, JaasError, JaasLogin, Mechanism, OauthLogin, UnsecuredToken};

use super::super::Config;
use super::super::origin::{Made, Origin};
use super::super::values::{Value, cannot_be, refused};
use super::check::CREDENTIALS;
use super::endpoint::TokenUrl;
use super::values::Extensions;
use super::{LocalCredentials, LoginSettings, SaslCredentials, SaslSettings, password_credentials};
use crate::error::Error;

/// The largest user name and the largest password, in bytes.
const CREDENTIAL_MAX: usize = 8 << 10;

/// Settings that a JAAS entry replaces.
const PASSWORD_KEYS: [&str; 3] = ["sasl.username", "sasl.password", "kurier.sasl.password.file"];

/// Beginnings of the settings that only a token endpoint uses.
const OF_ENDPOINT: [&str; 5] = [
    "sasl.oauthbearer.assertion.",
    "sasl.oauthbearer.client.",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.header.",
    "https.ca.",
];

pub(super) const JAAS: &str = "sasl.jaas.config";

impl Config {
    /// Returns the settings of SASL.
    pub(super) fn sasl_settings(&mut self) -> Result<SaslSettings, Error> {
        let Some(mechanism) = self.sasl_mechanism else {
            return Err(refused(format!(
                "sasl.mechanism is missing, and security.protocol is {} (Java's default, GSSAPI, is not supported): set one of \
                 SCRAM-SHA-512, SCRAM-SHA-256, PLAIN, OAUTHBEARER",
                self.security_protocol
            )));
        };
        if self.login_retry_backoff > self.login_retry_backoff_max {
            return Err(refused(format!(
                "sasl.login.retry.backoff.ms is {}, but must be at most sasl.login.retry.backoff.max.ms, which is {}: lower \
                 the first, or raise the other",
                self.login_retry_backoff.shown(),
                self.login_retry_backoff_max.shown()
            )));
        }
        let unused: &[&str] = if mechanism == Mechanism::OauthBearer {
            &["kurier.sasl.scram."]
        } else {
            &["sasl.login.", "sasl.oauthbearer.", "enable.sasl.oauthbearer.", "https.ca."]
        };
        self.note_unused(unused, &format!("sasl.mechanism is {mechanism}"));
        Ok(SaslSettings {
            mechanism,
            credentials: self.credentials(mechanism)?,
            allow_cleartext: self.sasl_allow_cleartext,
            scram_max_iterations: self.scram_max_iterations,
            login: LoginSettings {
                window_factor: self.login_window_factor,
                window_jitter: self.login_window_jitter,
                min_period: Duration::from_secs(self.login_min_period_seconds.into()),
                buffer: Duration::from_secs(self.login_buffer_seconds.into()),
                connect_timeout: self.login_connect_timeout,
                read_timeout: self.login_read_timeout,
                retry_backoff: self.login_retry_backoff,
                retry_backoff_max: self.login_retry_backoff_max,
            },
        })
    }

    /// Reports the explicit settings with these beginnings as unused.
    pub(super) fn note_unused(&mut self, beginnings: &[&str], why: &str) {
        for key in self.given() {
            if beginnings.iter().any(|beginning| key.starts_with(beginning)) {
                self.unused.insert(key, why.to_owned());
            }
        }
    }

    fn credentials(&mut self, mechanism: Mechanism) -> Result<SaslCredentials, Error> {
        if self.has_source {
            self.note_unused(CREDENTIALS, "the program provides credentials");
            return Ok(SaslCredentials::Program);
        }
        if !self.sasl_jaas_config.is_empty() {
            if let Some(other) = PASSWORD_KEYS.into_iter().find(|key| self.given().contains(key)) {
                return Err(self.both("sasl.jaas.config", other));
            }
            return self.jaas(mechanism);
        }
        if mechanism == Mechanism::OauthBearer {
            return self.token();
        }
        let missing = |key: &str| refused(format!("{key} is missing: {mechanism} needs a user name and a password"));
        let (username, password) = (self.sasl_username.clone(), self.sasl_password.clone());
        if username.is_empty() {
            return Err(missing("sasl.username"));
        }
        check_text("sasl.username", username.as_bytes())?;
        check_text("sasl.password", password.expose())?;
        match &self.sasl_password_file {
            Some(_) if !password.is_empty() => Err(self.both("sasl.password", "kurier.sasl.password.file")),
            Some(path) => Ok(SaslCredentials::Local(LocalCredentials::PasswordFile { username, path: path.clone() })),
            None if password.is_empty() => Err(missing("sasl.password")),
            None => password_credentials(mechanism, username, password, false)
                .map(|known| SaslCredentials::Local(LocalCredentials::Known(known)))
                .ok_or_else(|| refused(format!("{mechanism} takes no password"))),
        }
    }

    /// Reads `sasl.jaas.config`.
    fn jaas(&mut self, mechanism: Mechanism) -> Result<SaslCredentials, Error> {
        let wrong = |error: JaasError| refused(format!("{JAAS} cannot be used")).caused_by(error);
        let text = String::from_utf8_lossy(self.sasl_jaas_config.expose());
        let entry = JaasEntry::parse(&text).map_err(wrong)?;
        let login = entry.login(mechanism).map_err(wrong)?;
        if let Some(unknown) = entry.unknown_option() {
            if self.strict {
                return Err(wrong(unknown));
            }
            self.ignored.insert(format!("{JAAS} {unknown}"), ("it is not known", Origin::Jaas));
        }
        match login {
            JaasLogin::Credentials(credentials) => {
                self.password_of_jaas(credentials).map(|known| SaslCredentials::Local(LocalCredentials::Known(known)))
            }
            JaasLogin::Oauth(mut login) => {
                match (login.unsecured.take(), self.token_url.is_some() || self.unsecure_jwt) {
                    (Some(_), true) => Err(refused(format!(
                        "{JAAS} has options unsecuredLogin..., and another setting has a token: remove one"
                    ))),
                    (Some(unsecured), false) => Ok(SaslCredentials::Local(LocalCredentials::Unsecured(unsecured))),
                    (None, _) => self.token_with(login),
                }
            }
            _ => Err(refused(format!("{JAAS} is for a mechanism that is not supported"))),
        }
    }

    /// Checks user name and password of a JAAS entry, and lets [`explain`](Self::explain) show them.
    fn password_of_jaas(&mut self, credentials: Credentials) -> Result<Credentials, Error> {
        if let Credentials::Plain { username, password } | Credentials::Scram { username, password, .. } = &credentials
        {
            for (option, value) in [("username", username.as_bytes()), ("password", password.expose())] {
                let name = format!("{option} in {JAAS}");
                if value.is_empty() {
                    return Err(refused(format!("{name} is empty")));
                }
                check_text(&name, value)?;
            }
            self.sasl_username.clone_from(username);
            self.sasl_password = password.clone();
            for key in ["sasl.username", "sasl.password"] {
                self.made.insert(key, Made { key, origin: Origin::Jaas });
            }
        }
        Ok(credentials)
    }

    /// Returns the source of tokens that the settings name.
    fn token(&mut self) -> Result<SaslCredentials, Error> {
        self.token_with(OauthLogin::default())
    }

    fn token_with(&mut self, mut login: OauthLogin) -> Result<SaslCredentials, Error> {
        self.note_unused(
            &["sasl.username", "sasl.password", "kurier.sasl.password.file"],
            "sasl.mechanism is OAUTHBEARER, which takes a token",
        );
        if !self.unsecure_jwt {
            self.note_unused(&["sasl.oauthbearer.config"], "enable.sasl.oauthbearer.unsecure.jwt is false");
        }
        if self.unsecure_jwt && self.token_url.is_some() {
            return Err(self.both("sasl.oauthbearer.token.endpoint.url", "enable.sasl.oauthbearer.unsecure.jwt"));
        }
        self.check_token_url(&login)?;
        let extensions = match mem::take(&mut login.extensions) {
            extensions if extensions.is_empty() => self.oauth_extensions.0.clone(),
            extensions => extensions,
        };
        let url = match self.token_url.clone() {
            Some(TokenUrl::Endpoint(url)) => {
                return self.oidc(url, login, extensions).map(|oidc| SaslCredentials::Oidc(Box::new(oidc)));
            }
            url => url,
        };
        self.note_unused(&OF_ENDPOINT, "no token endpoint is set");
        match url {
            Some(TokenUrl::File(path)) => Ok(SaslCredentials::Local(LocalCredentials::TokenFile { path, extensions })),
            _ if self.unsecure_jwt => {
                let mut token = unsecured("sasl.oauthbearer.config", &self.oauthbearer_config)?;
                token.extensions.extend(extensions);
                Ok(SaslCredentials::Local(LocalCredentials::Unsecured(token)))
            }
            _ => Ok(SaslCredentials::Program),
        }
    }
}

/// Checks a user name or a password. The error does not quote it.
pub(super) fn check_text(key: &str, text: &[u8]) -> Result<(), Error> {
    let why = match text.len() {
        len if len > CREDENTIAL_MAX => format!("it has {len} bytes, and at most {CREDENTIAL_MAX} are allowed"),
        _ if text.contains(&0) => "it contains a NUL character".to_owned(),
        _ => return Ok(()),
    };
    Err(refused(format!("{key} cannot be used: {why}")))
}

/// Reads the claims of an unsigned token in the form of librdkafka.
fn unsecured(key: &str, text: &str) -> Result<UnsecuredToken, Error> {
    /// A year, as in a JAAS entry.
    const SECONDS_MAX: u64 = 31_536_000;
    let allowed = "it takes principal=NAME, and optionally principalClaimName, scope, scopeClaimName, lifeSeconds and \
                   extension_NAME, separated by spaces";
    let wrong = || cannot_be(key, text, allowed);
    let (mut principal, mut principal_claim, mut scope_claim) = (None, "sub", "scope");
    let (mut scopes, mut extensions) = (Vec::new(), Vec::new());
    let mut lifetime = Duration::from_secs(3_600);
    for pair in text.split_whitespace() {
        match pair.split_once('=').ok_or_else(wrong)? {
            (_, "") => return Err(wrong()),
            ("principal", name) => principal = Some(name),
            ("principalClaimName", name) => principal_claim = name,
            ("scopeClaimName", name) => scope_claim = name,
            ("scope", list) => scopes = list.split(',').map(str::to_owned).collect(),
            ("lifeSeconds", seconds) => {
                let seconds = seconds.parse().ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
                lifetime = Duration::from_secs(seconds.ok_or_else(wrong)?);
            }
            (name, value) => {
                let name = name.strip_prefix("extension_").ok_or_else(wrong)?;
                extensions.extend(Extensions::read(key, &format!("{name}={value}"))?.0);
            }
        }
    }
    let mut claims = vec![(principal_claim.to_owned(), Claim::Text(principal.ok_or_else(wrong)?.to_owned()))];
    if !scopes.is_empty() {
        claims.push((scope_claim.to_owned(), Claim::List(scopes)));
    }
    let is_own = |name: &str| !matches!(name, "iat" | "exp");
    if principal_claim == scope_claim || !claims.iter().all(|(name, _)| is_own(name)) {
        return Err(wrong());
    }
    Ok(UnsecuredToken { claims, lifetime, extensions })
}
