//! Options of the subcommands that connect to a cluster: its address and Kafka settings.

use std::env;
use std::fs::File;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Error, Result};
use clap::Args;
use kurier::{Config, Explained};

use crate::exit::Misuse;
use crate::notice;

/// The cluster's address and its settings.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Bootstrap servers as host:port, separated by commas. IPv6 addresses are in brackets.
    #[arg(short, long, value_name = "HOSTS")]
    pub(crate) bootstrap_server: Option<String>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Kafka settings, from the command line, a file and the environment.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Kafka setting, such as client.id=me. Overrides --command-config.
    // Parsed later: the parser of arguments would repeat a wrong one, which may be a password.
    #[arg(short = 'X', long = "command-property", value_name = "KEY=VALUE")]
    pub(crate) properties: Vec<String>,

    /// File of Kafka settings, in the format of Java's clients. Overrides --env.
    #[arg(long, value_name = "FILE")]
    pub(crate) command_config: Option<PathBuf>,

    /// Read settings from the environment variables KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_* and
    /// KAFKA_SSL_*.
    #[arg(long)]
    pub(crate) env: bool,
}

/// Parses the `key=value` of an option `-X`. Spaces belong to the value, which may be a password, so the error does not
/// repeat it either.
///
/// # Errors
/// When there is no key or no `=`.
pub(crate) fn property(text: &str) -> Result<(String, String)> {
    let wrong = |why| Misuse::error(format!("-X takes KEY=VALUE, as in client.id=me: {why}"));
    let (key, value) = text.split_once('=').ok_or_else(|| wrong("the = is missing"))?;
    match key.trim() {
        "" => Err(wrong("the key before = is missing")),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}

/// Parses the address of a server, such as `127.0.0.1:9092` or `localhost:0`.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let first = text.to_socket_addrs().map(|mut addresses| addresses.next());
    first.ok().flatten().ok_or_else(|| "it takes a host of this machine and a port, as in 127.0.0.1:9092".to_owned())
}

impl Options {
    /// Returns a producer's configuration; these settings override `others`.
    ///
    /// # Errors
    /// When a setting is invalid, or no server is given.
    pub(crate) fn config(&self, others: impl IntoIterator<Item = (&'static str, String)>) -> Result<Config> {
        let mut config = if self.settings.env { Config::from_env().map_err(Misuse::of)? } else { Config::default() };
        if let Some((name, file)) = self.settings.file()? {
            config.set_properties_of(&name, file).map_err(Misuse::of)?;
        }
        for (key, value) in self.settings.properties()?.into_iter().chain(self.servers()) {
            config.set(&key, &value).map_err(Misuse::of)?;
        }
        for (key, value) in others {
            config.set(key, &value).map_err(Misuse::of)?;
        }
        let is_nowhere = |line: &Explained| line.key == "bootstrap.servers" && line.value.as_deref() == Some("");
        if config.explain().iter().any(is_nowhere) { Err(nowhere()) } else { Ok(config) }
    }

    /// Returns all settings in ascending precedence: those of [`Settings::given`], then the bootstrap servers.
    ///
    /// # Errors
    /// When a variable is not a setting, or the file cannot be read.
    pub(crate) fn given(&self) -> Result<Vec<(String, String)>> {
        let mut given = self.settings.given()?;
        given.extend(self.servers());
        Ok(given)
    }

    fn servers(&self) -> Option<(String, String)> {
        self.bootstrap_server.as_ref().map(|servers| ("bootstrap.servers".to_owned(), servers.clone()))
    }
}

impl Settings {
    /// Returns the settings in ascending precedence: the environment's, the file's, those of -X.
    ///
    /// # Errors
    /// When a variable is not a setting, or the file cannot be read.
    pub(crate) fn given(&self) -> Result<Vec<(String, String)>> {
        let mut given = Vec::new();
        if self.env {
            given = Config::read_variables(env::vars_os()).map_err(Misuse::of)?;
        }
        if let Some((name, file)) = self.file()? {
            let wrong = |error| Misuse::because(name, error);
            given.extend(Config::read_properties(file).map_err(wrong)?);
        }
        given.extend(self.properties()?);
        Ok(given)
    }

    /// Opens the file of settings, and returns it with its name.
    fn file(&self) -> Result<Option<(String, File)>> {
        let Some(path) = &self.command_config else { return Ok(None) };
        let name = format!("--command-config {}", path.display());
        match File::open(path) {
            Ok(file) => Ok(Some((name, file))),
            Err(error) => Err(Misuse::because(format_args!("{name} cannot be read"), error)),
        }
    }

    fn properties(&self) -> Result<Vec<(String, String)>> {
        self.properties.iter().map(|text| property(text)).collect()
    }
}

/// Says which settings have no effect on a command.
pub(crate) fn say_ignored(command: &str, keys: &[String]) {
    let mut distinct: Vec<&str> = Vec::new();
    for key in keys {
        if !distinct.contains(&key.as_str()) {
            distinct.push(key);
        }
    }
    match distinct[..] {
        [] => {}
        [key] => notice::say(format_args!("{key} has no effect on {command}")),
        _ => notice::say(format_args!("these settings have no effect on {command}: {}", distinct.join(", "))),
    }
}

/// Returns the error for a missing bootstrap server.
pub(crate) fn nowhere() -> Error {
    Misuse::error("no bootstrap server given: name a broker with -b HOST:PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_overrides_the_file() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/consume.properties");
        let options = Options {
            bootstrap_server: Some("c:9092".to_owned()),
            settings: Settings {
                properties: vec![" client.id = two words ".to_owned()],
                command_config: Some(path),
                env: false,
            },
        };
        let settings = options.given().unwrap();
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            settings,
            [
                ("bootstrap.servers", "a:9092,b:9092"),
                ("client.id", "from the file"),
                ("client.id", " two words "),
                ("bootstrap.servers", "c:9092"),
            ]
        );
    }

    #[test]
    fn property_without_key_or_equals_sign_is_refused_and_not_repeated() {
        for (text, why) in [
            ("sasl.password:s3cret", "the = is missing"),
            ("", "the = is missing"),
            ("=", "the key before = is missing"),
            ("=s3cret", "the key before = is missing"),
            (" =s3cret=y", "the key before = is missing"),
        ] {
            let error = property(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("s3cret"), "{text:?}: {error}");
        }
    }
}
