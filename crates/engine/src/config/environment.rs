//! Settings from environment variables.

use std::env;
use std::ffi::OsString;

use super::Config;
use super::origin::Origin;
use super::values::refused;
use crate::error::{Error, printable};

/// Variables that are settings of any client.
const NAMES: [&str; 2] = ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL"];

/// Beginnings of the names of variables that are settings of TLS and SASL.
const PREFIXES: [&str; 2] = ["KAFKA_SASL_", "KAFKA_SSL_"];

impl Config {
    /// Reads settings from the environment variables `KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_SECURITY_PROTOCOL`,
    /// `KAFKA_SASL_…` and `KAFKA_SSL_…`, and from no others. The rest of a name is the key in capitals, with `_` for
    /// each dot: `KAFKA_SASL_USERNAME` sets `sasl.username`. Nothing else in Kurier reads these variables.
    ///
    /// ```
    /// use kurier::Config;
    ///
    /// let mut config = Config::from_env()?;
    /// config.set("linger.ms", "20")?;
    /// # Ok::<(), kurier::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if such a variable has an unknown name, with the
    /// name that was probably meant; if its value is wrong; if its value is not Unicode. The error names the variable.
    pub fn from_env() -> Result<Self, Error> {
        let mut config = Self::default();
        config.set_variables(env::vars_os())?;
        Ok(config)
    }

    /// Adds the settings of those of these environment variables that [`from_env`](Self::from_env) reads.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn set_variables<K: Into<OsString>, V: Into<OsString>>(
        &mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(), Error> {
        read(variables).try_for_each(|variable| {
            let Variable { name, key, value } = variable?;
            let set = self.set_from(&key, &value, Origin::Variable(name.clone()));
            set.map_err(|error| error.and(&format!("see the environment variable {name}")))
        })
    }

    /// Returns the keys and values of those of these environment variables that [`from_env`](Self::from_env) reads.
    ///
    /// ```
    /// let variables = [("KAFKA_SASL_USERNAME", "alice"), ("PATH", "/bin")];
    /// assert_eq!(kurier::Config::read_variables(variables)?, [("sasl.username".to_owned(), "alice".to_owned())]);
    /// # Ok::<(), kurier::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if such a variable has an unknown name, or its value
    /// is not Unicode. The values are not checked.
    pub fn read_variables<K: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Vec<(String, String)>, Error> {
        read(variables).map(|variable| variable.map(|Variable { key, value, .. }| (key, value))).collect()
    }
}

/// An environment variable that is a setting.
struct Variable {
    name: String,
    key: String,
    value: String,
}

/// Reads the variables that are settings.
fn read<K: Into<OsString>, V: Into<OsString>>(
    variables: impl IntoIterator<Item = (K, V)>,
) -> impl Iterator<Item = Result<Variable, Error>> {
    variables.into_iter().filter_map(|(name, value)| {
        let name = name.into().into_string().ok().filter(|name| is_setting(name))?;
        let key = name.strip_prefix("KAFKA_").unwrap_or(&name).to_ascii_lowercase().replace('_', ".");
        Some(match value.into().into_string() {
            _ if !Config::is_producers(&key) => Err(unknown(&name)),
            Ok(value) => Ok(Variable { name, key, value }),
            Err(_) => Err(refused(format!("the environment variable {} is not Unicode", printable(&name)))),
        })
    })
}

fn is_setting(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the variable that sets this key.
fn variable(key: &str) -> String {
    format!("KAFKA_{}", key.to_ascii_uppercase().replace('.', "_"))
}

fn unknown(name: &str) -> Error {
    /// The most letters that a typing error changes.
    const DISTANCE_MAX: usize = 2;
    /// Longest text to compare: longer than every name, and quick to compare.
    const CHARACTERS_MAX: usize = 80;
    let beginning: String = name.chars().take(CHARACTERS_MAX).collect();
    let names = Config::KEYS.iter().flat_map(|names| names.iter()).map(|key| variable(key));
    let distances = names.filter(|name| is_setting(name)).map(|name| (strsim::osa_distance(&name, &beginning), name));
    let hint = match distances.min() {
        Some((..=DISTANCE_MAX, near)) => format!("did you mean {near}?"),
        _ => "it must be KAFKA_ and a key in capitals, as in KAFKA_SASL_USERNAME for sasl.username".to_owned(),
    };
    refused(format!("unknown producer setting in the environment variable {}: {hint}", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: [(&str, &str); 4] =
        [("PATH", "/bin"), ("KAFKA_LINGER_MS", "20"), ("kafka_sasl_username", "x"), ("KAFKA_BOOTSTRAP_SERVER", "x")];

    #[test]
    fn variables_are_settings_with_their_origin() {
        let mut config = Config::default();
        config.set_variables(OTHERS).unwrap();
        assert_eq!(config, Config::default());
        config
            .set_variables([
                ("KAFKA_BOOTSTRAP_SERVERS", "h:1"),
                ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
                ("KAFKA_SASL_MECHANISMS", "SCRAM-SHA-512"),
                ("KAFKA_SASL_USERNAME", "alice"),
                ("KAFKA_SASL_PASSWORD", " hunter2 "),
                ("KAFKA_SSL_CA_LOCATION", "/ca.pem"),
                ("KAFKA_SASL_KERBEROS_SERVICE_NAME", "kafka"),
                ("KAFKA_SSL_TRUSTSTORE_PASSWORD", ""),
            ])
            .unwrap();
        assert_eq!(config.sasl_password.expose(), b" hunter2 ");
        let lines: Vec<String> = config.check().unwrap().explain().iter().map(ToString::to_string).collect();
        for line in [
            "bootstrap.servers=h:1 # set by KAFKA_BOOTSTRAP_SERVERS (default none)",
            "security.protocol=SASL_SSL # set by KAFKA_SECURITY_PROTOCOL (default PLAINTEXT)",
            "sasl.mechanism=SCRAM-SHA-512 # set by KAFKA_SASL_MECHANISMS (default none)",
            "sasl.password=[hidden] # set by KAFKA_SASL_PASSWORD (default none)",
            "ssl.truststore.location=/ca.pem # set by KAFKA_SSL_CA_LOCATION (default none)",
            "# sasl.kerberos.service.name ignored: there is no Kerberos",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line} is not in {lines:#?}");
        }
    }

    #[test]
    fn wrong_variable_is_an_error_that_names_it() {
        for (name, value, expected) in [
            ("KAFKA_SASL_USER", "x", "it must be KAFKA_ and a key in capitals"),
            ("KAFKA_SASL_USERNAM", "x", "did you mean KAFKA_SASL_USERNAME?"),
            ("KAFKA_SSL_KEYSTORE_LOCATON", "x", "did you mean KAFKA_SSL_KEYSTORE_LOCATION?"),
            ("KAFKA_SASL_", "x", "it must be KAFKA_ and a key in capitals"),
            ("KAFKA_SECURITY_PROTOCOL", "TLS", "security.protocol cannot be \"TLS\": it is PLAINTEXT"),
            ("KAFKA_SSL_KEYSTORE_PASSWORD", "hunter2", "a PEM store has no password"),
        ] {
            let text = format!("{:#}", Config::default().set_variables([(name, value)]).unwrap_err());
            assert!(text.contains(name) && text.contains(expected) && !text.contains("hunter2"), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn value_that_is_not_unicode_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(b"hunter2\xff".to_vec());
        let error = Config::default().set_variables([("KAFKA_SASL_PASSWORD", value)]).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable KAFKA_SASL_PASSWORD is not Unicode");
        Config::default().set_variables([("PATH", OsString::from_vec(b"\xff".to_vec()))]).unwrap();
    }
}
