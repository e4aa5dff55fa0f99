//! One entry of a JAAS configuration: the value of `sasl.jaas.config`, as Java's `JaasConfig` reads it (KIP-85).
//!
//! ```text
//! CLASS required NAME="VALUE" NAME="VALUE";
//! ```

mod error;
mod login;
mod tokens;

use std::collections::BTreeMap;
use std::fmt;

use crate::secret::Secret;

pub use error::{JaasError, JaasErrorKind};
pub use login::{JaasLogin, OauthLogin};
use tokens::{Token, Tokens};

/// Maximum size of an entry, in bytes. An entry with a token or a key has a few KiB.
const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of options. Kafka's modules have about ten.
const OPTIONS_MAX: usize = 100;

/// The entry of a `sasl.jaas.config`: a login module and its options. Java's control flag has no effect here.
///
/// Unlike in Java, options and modules must have names that are not numbers. `Debug` shows the module and the number of
/// options.
///
/// ```
/// use kurier_security::{Credentials, JaasEntry, JaasLogin, Mechanism};
///
/// let entry = JaasEntry::parse(
///     r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="say \"hi\"";"#,
/// )?;
/// let JaasLogin::Credentials(credentials) = entry.login(Mechanism::Plain)? else { panic!("PLAIN has credentials") };
/// assert_eq!(credentials, Credentials::Plain { username: "alice".to_owned(), password: "say \"hi\"".into() });
/// # Ok::<(), kurier_security::JaasError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct JaasEntry {
    module: String,
    module_position: usize,
    /// The options by name, each with its position.
    options: BTreeMap<String, (usize, Secret)>,
}

impl JaasEntry {
    /// Reads an entry. Of two options with the same name the last one counts, as in Java.
    ///
    /// # Errors
    /// If the text is not one entry; with the position of the mistake.
    pub fn parse(text: &str) -> Result<Self, JaasError> {
        if text.len() > ENTRY_BYTES_MAX {
            return Err(JaasError::new(1, JaasErrorKind::TooLong));
        }
        let mut tokens = Tokens::new(text);
        let fail = |position, kind| Err(JaasError::new(position, kind));

        let (module_position, module) = match tokens.next() {
            Some((position, Token::Text(module))) if !module.is_empty() => (position, module.to_string()),
            Some((position, _)) => return fail(position, JaasErrorKind::NoModule),
            None => return fail(tokens.position(), JaasErrorKind::NoModule),
        };
        match tokens.next() {
            Some((_, Token::Text(flag))) if is_flag(&flag) => {}
            Some((position, Token::Text(_))) => return fail(position, JaasErrorKind::UnknownFlag),
            Some((position, _)) => return fail(position, JaasErrorKind::NoFlag),
            None => return fail(tokens.position(), JaasErrorKind::NoFlag),
        }
        let mut options = BTreeMap::new();
        loop {
            let (position, name) = match tokens.next() {
                Some((_, Token::Sign(';'))) => break,
                Some((position, Token::Text(name))) => (position, name),
                Some((position, _)) => return fail(position, JaasErrorKind::NoName),
                None => return fail(tokens.position(), JaasErrorKind::Unterminated),
            };
            let no_value = |position| fail(position, JaasErrorKind::NoValue);
            match tokens.next() {
                Some((_, Token::Sign('='))) => {}
                other => return no_value(other.map_or_else(|| tokens.position(), |(position, _)| position)),
            }
            let value = match tokens.next() {
                Some((_, Token::Text(value))) => Secret::from(value.as_str()),
                other => return no_value(other.map_or_else(|| tokens.position(), |(position, _)| position)),
            };
            options.insert(name.to_string(), (position, value));
            if options.len() > OPTIONS_MAX {
                return fail(position, JaasErrorKind::TooManyOptions);
            }
        }
        match tokens.next() {
            None => Ok(Self { module, module_position, options }),
            Some((position, _)) => fail(position, JaasErrorKind::SecondEntry),
        }
    }

    /// Returns the class of the login module.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Returns the value of an option.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&Secret> {
        self.options.get(name).map(|(_, value)| value)
    }

    /// Returns the names and values of all options. In a malformed entry, a part of a password can look like a name.
    pub fn options(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.options.iter().map(|(name, (_, value))| (name.as_str(), value))
    }
}

/// Java's `LoginModuleControlFlag`.
fn is_flag(text: &str) -> bool {
    ["required", "requisite", "sufficient", "optional"].iter().any(|flag| flag.eq_ignore_ascii_case(text))
}

impl fmt::Debug for JaasEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JaasEntry").field("module", &self.module).field("options", &self.options.len()).finish()
    }
}
