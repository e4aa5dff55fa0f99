//! From a JAAS entry to credentials: the login modules of Kafka and their options.

use std::fmt;
use std::time::Duration;

use super::JaasEntry;
use super::error::{JaasError, JaasErrorKind};
use crate::credentials::Credentials;
use crate::jwt::{Claim, UnsecuredToken};
use crate::mechanism::{Mechanism, ScramMechanism};
use crate::printable::printable;
use crate::secret::Secret;

/// The login modules of Kafka, with their options. An option that ends with `_` is a prefix.
const MODULES: [(&str, Module, &[&str]); 3] = [
    ("org.apache.kafka.common.security.plain.PlainLoginModule", Module::Plain, &["username", "password"]),
    ("org.apache.kafka.common.security.scram.ScramLoginModule", Module::Scram, &["username", "password", "tokenauth"]),
    (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
        Module::OauthBearer,
        &[
            "clientId",
            "clientSecret",
            "scope",
            EXTENSION,
            STRING_CLAIM,
            NUMBER_CLAIM,
            LIST_CLAIM,
            UNSECURED_EXTENSION,
            LIFETIME,
            PRINCIPAL_CLAIM_NAME,
            SCOPE_CLAIM_NAME,
        ],
    ),
];

const EXTENSION: &str = "extension_";
const STRING_CLAIM: &str = "unsecuredLoginStringClaim_";
const NUMBER_CLAIM: &str = "unsecuredLoginNumberClaim_";
const LIST_CLAIM: &str = "unsecuredLoginListClaim_";
const UNSECURED_EXTENSION: &str = "unsecuredLoginExtension_";
const LIFETIME: &str = "unsecuredLoginLifetimeSeconds";
const PRINCIPAL_CLAIM_NAME: &str = "unsecuredLoginPrincipalClaimName";
/// The option that names the claim with the scope. Brokers have a setting of their own for it.
const SCOPE_CLAIM_NAME: &str = "unsecuredLoginScopeClaimName";

/// Java's default for the lifetime of an unsecured token.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(3_600);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Module {
    Plain,
    Scram,
    OauthBearer,
}

impl Module {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PlainLoginModule",
            Self::Scram => "ScramLoginModule",
            Self::OauthBearer => "OAuthBearerLoginModule",
        }
    }

    fn options(self) -> &'static str {
        match self {
            Self::Plain => "username and password",
            Self::Scram => "username, password and tokenauth",
            Self::OauthBearer => "clientId, clientSecret, scope, extension_NAME and unsecuredLogin...",
        }
    }
}

/// The meaning of a JAAS entry. See [`JaasEntry`] for an example.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum JaasLogin {
    /// User name and password, for `PLAIN` and SCRAM.
    Credentials(Credentials),
    /// How to get a token, for `OAUTHBEARER`.
    Oauth(OauthLogin),
}

/// How to get a token: the options of Java's `OAuthBearerLoginModule`.
///
/// ```
/// use kurier_security::{JaasEntry, JaasLogin, Mechanism};
///
/// let entry = JaasEntry::parse(
///     r#"org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required
///        clientId="kurier" clientSecret="s3cret" scope="kafka" extension_logicalCluster="lkc-1";"#,
/// )?;
/// let JaasLogin::Oauth(login) = entry.login(Mechanism::OauthBearer)? else { panic!("OAUTHBEARER has a token") };
/// assert_eq!(login.client_id.as_deref(), Some("kurier"));
/// assert_eq!(login.extensions, [("logicalCluster".to_owned(), "lkc-1".to_owned())]);
/// # Ok::<(), kurier_security::JaasError>(())
/// ```
#[derive(Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct OauthLogin {
    /// `clientId`: the client's id at the token endpoint.
    pub client_id: Option<String>,
    /// `clientSecret`: the client's secret at the token endpoint.
    pub client_secret: Option<Secret>,
    /// `scope`: the scope to ask for.
    pub scope: Option<String>,
    /// `extension_NAME`: SASL extensions, as pairs of key and value (KIP-342).
    pub extensions: Vec<(String, String)>,
    /// The options `unsecuredLogin…`: an unsigned token, for brokers that do not check signatures (KIP-255).
    pub unsecured: Option<UnsecuredToken>,
}

impl fmt::Debug for OauthLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions: Vec<&String> = self.extensions.iter().map(|(name, _)| name).collect();
        f.debug_struct("OauthLogin")
            .field("client_id", &self.client_id)
            .field("client_secret", &self.client_secret)
            .field("scope", &self.scope)
            .field("extensions", &extensions)
            .field("unsecured", &self.unsecured)
            .finish()
    }
}

impl JaasEntry {
    /// Returns the meaning of the entry for the configured mechanism. Ignores unknown options; see
    /// [`unknown_option`](Self::unknown_option).
    ///
    /// # Errors
    /// If the login module is not one of Kafka's or is for another mechanism, or if an option is missing or wrong.
    pub fn login(&self, mechanism: Mechanism) -> Result<JaasLogin, JaasError> {
        let module = self.known_module()?;
        let username = || self.required("username").and_then(|name| self.text(name, "username"));
        let password = || self.required("password").cloned();
        Ok(match (module, mechanism) {
            (Module::Plain, Mechanism::Plain) => {
                JaasLogin::Credentials(Credentials::Plain { username: username()?, password: password()? })
            }
            (Module::Scram, Mechanism::ScramSha256 | Mechanism::ScramSha512) => {
                let is_sha256 = mechanism == Mechanism::ScramSha256;
                JaasLogin::Credentials(Credentials::Scram {
                    mechanism: if is_sha256 { ScramMechanism::Sha256 } else { ScramMechanism::Sha512 },
                    username: username()?,
                    password: password()?,
                    is_delegation_token: self.is_delegation_token()?,
                })
            }
            (Module::OauthBearer, Mechanism::OauthBearer) => JaasLogin::Oauth(self.oauth()?),
            _ => {
                let kind = JaasErrorKind::OtherMechanism { module: module.name(), mechanism };
                return Err(JaasError::new(self.module_position, kind));
            }
        })
    }

    /// Returns the error for the first option that the login module does not know, if there is one. Java ignores such
    /// options.
    #[must_use]
    pub fn unknown_option(&self) -> Option<JaasError> {
        let (_, module, known) = MODULES.iter().find(|(class, ..)| *class == self.module)?;
        let is_known = |name: &str| known.iter().any(|known| is_meant(known, name));
        let unknown =
            self.options.iter().filter(|(name, _)| !is_known(name)).map(|(_, (position, _))| *position).min()?;
        let kind = JaasErrorKind::UnknownOption { module: module.name(), options: module.options() };
        Some(JaasError::new(unknown, kind))
    }

    fn known_module(&self) -> Result<Module, JaasError> {
        if let Some((_, module, _)) = MODULES.iter().find(|(class, ..)| *class == self.module) {
            return Ok(*module);
        }
        let name = self.module.as_str();
        let text = match name.rsplit('.').next() {
            Some("Krb5LoginModule") => {
                "GSSAPI (Kerberos) is not supported: use ScramLoginModule and SCRAM-SHA-512".to_owned()
            }
            Some("IAMLoginModule") => {
                "AWS_MSK_IAM is not supported: use OAUTHBEARER, see \"MSK IAM\" in the manual".to_owned()
            }
            _ => format!(
                "the login module {} is not supported: use {}, {} or {}",
                // Do not print a text that is not a class name: it may be a password.
                if is_class(name) { printable(name.as_bytes()) } else { "at this place".to_owned() },
                MODULES[0].0,
                MODULES[1].0,
                MODULES[2].0
            ),
        };
        Err(JaasError::new(self.module_position, JaasErrorKind::UnknownModule(text)))
    }

    fn required(&self, name: &'static str) -> Result<&Secret, JaasError> {
        self.option(name).ok_or_else(|| JaasError::new(self.module_position, JaasErrorKind::MissingOption(name)))
    }

    /// Returns a value that is no secret, as text.
    fn text(&self, value: &Secret, option: &'static str) -> Result<String, JaasError> {
        let allowed = "it is text";
        String::from_utf8(value.expose().to_vec()).map_err(|_| self.wrong(option, allowed))
    }

    fn wrong(&self, option: &'static str, allowed: &'static str) -> JaasError {
        let position = self.options.iter().find(|(name, _)| is_meant(option, name)).map(|(_, (position, _))| *position);
        JaasError::new(position.unwrap_or(self.module_position), JaasErrorKind::WrongValue { option, allowed })
    }

    fn is_delegation_token(&self) -> Result<bool, JaasError> {
        match self.option("tokenauth").map(|value| value.expose().to_ascii_lowercase()) {
            None => Ok(false),
            Some(value) if value == b"true" => Ok(true),
            Some(value) if value == b"false" => Ok(false),
            Some(_) => Err(self.wrong("tokenauth", "it is true or false")),
        }
    }

    fn oauth(&self) -> Result<OauthLogin, JaasError> {
        let text = |name: &'static str| self.option(name).map(|value| self.text(value, name)).transpose();
        Ok(OauthLogin {
            client_id: text("clientId")?,
            client_secret: self.option("clientSecret").cloned(),
            scope: text("scope")?,
            extensions: self.with_prefix(EXTENSION)?,
            unsecured: self.unsecured()?,
        })
    }

    /// Returns the unsigned token of the options `unsecuredLogin…`, if there is one.
    fn unsecured(&self) -> Result<Option<UnsecuredToken>, JaasError> {
        if !self.options.keys().any(|name| name.starts_with("unsecuredLogin")) {
            return Ok(None);
        }
        let strings = self.with_prefix(STRING_CLAIM)?;
        let numbers = self.with_prefix(NUMBER_CLAIM)?;
        let lists = self.with_prefix(LIST_CLAIM)?;
        let principal_claim = match self.option(PRINCIPAL_CLAIM_NAME) {
            Some(name) => self.text(name, PRINCIPAL_CLAIM_NAME)?,
            None => "sub".to_owned(),
        };
        if !strings.iter().any(|(name, value)| *name == principal_claim && !value.is_empty()) {
            let kind = JaasErrorKind::MissingOption("unsecuredLoginStringClaim_sub");
            return Err(JaasError::new(self.module_position, kind));
        }

        let mut claims: Vec<(String, Claim)> = Vec::new();
        claims.extend(strings.into_iter().map(|(name, value)| (name, Claim::Text(value))));
        for (name, value) in numbers {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            claims.push((name, Claim::Number(number.ok_or_else(|| self.wrong(NUMBER_CLAIM, "it is a number"))?)));
        }
        for (name, value) in lists {
            // The first character separates the elements.
            let mut letters = value.chars();
            let elements =
                letters.next().map_or_else(Vec::new, |separator| letters.as_str().split(separator).collect());
            claims.push((name, Claim::List(elements.into_iter().map(str::to_owned).collect())));
        }
        for option in [STRING_CLAIM, NUMBER_CLAIM, LIST_CLAIM] {
            if ["iat", "exp"].iter().any(|claim| self.options.contains_key(&format!("{option}{claim}"))) {
                return Err(self.wrong(option, "each token has its own iat and exp"));
            }
        }
        claims.sort_by(|(one, _), (other, _)| one.cmp(other));
        if claims.array_windows().any(|[(one, _), (other, _)]| one == other) {
            return Err(self.wrong("unsecuredLogin", "two options have the same claim"));
        }
        let lifetime = match self.option(LIFETIME) {
            None => LIFETIME_DEFAULT,
            Some(seconds) => {
                let seconds =
                    self.text(seconds, LIFETIME)?.parse().ok().filter(|seconds| (1..=31_536_000).contains(seconds));
                Duration::from_secs(
                    seconds.ok_or_else(|| self.wrong(LIFETIME, "it is a number of seconds up to a year"))?,
                )
            }
        };
        Ok(Some(UnsecuredToken { claims, lifetime, extensions: self.with_prefix(UNSECURED_EXTENSION)? }))
    }

    /// Returns the options that begin with a prefix, without it.
    fn with_prefix(&self, prefix: &'static str) -> Result<Vec<(String, String)>, JaasError> {
        let named = self.options().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
        named
            .map(|(name, value)| match name.is_empty() {
                true => Err(self.wrong(prefix, "a name must follow the underscore")),
                false => Ok((name.to_owned(), self.text(value, prefix)?)),
            })
            .collect()
    }
}

/// Returns whether an option has this name, or this prefix.
fn is_meant(known: &str, name: &str) -> bool {
    known == name || known.ends_with('_') && name.starts_with(known)
}

/// Returns whether a text looks like the name of a Java class in a package.
fn is_class(name: &str) -> bool {
    name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._$".contains(&byte))
}
