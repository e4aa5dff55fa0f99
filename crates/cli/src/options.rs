//! The options of every subcommand that talks to a cluster: where it is, and settings in Kafka's words.

use std::fs::File;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Error, Result};
use clap::Args;
use kurier::{Config, ErrorKind, Explained, Producer, TopicProducer};
use tokio::time::timeout;

use crate::exit::Misuse;
use crate::notice;

/// Where the cluster is and how to talk to it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Brokers to begin with, as host:port, separated by commas. An address of IPv6 stands in brackets.
    #[arg(short, long, value_name = "HOSTS")]
    pub(crate) bootstrap_server: Option<String>,

    /// A setting in Kafka's words, such as client.id=me. It counts more than the file's.
    #[arg(short = 'X', long = "command-property", value_name = "KEY=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,

    /// A file of such settings, as Java's clients read them.
    #[arg(long, value_name = "FILE")]
    pub(crate) command_config: Option<PathBuf>,
}

/// `key=value`.
pub(crate) fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it takes a key, = and a value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl Options {
    /// A producer's configuration: these settings, and others that go before them.
    ///
    /// # Errors
    /// When a setting is wrong, or there is no server.
    pub(crate) fn config(&self, others: impl IntoIterator<Item = (&'static str, String)>) -> Result<Config> {
        let mut config = Config::default();
        for (key, value) in self.settings()? {
            config.set(&key, &value).map_err(Misuse::error)?;
        }
        for (key, value) in others {
            config.set(key, &value).map_err(Misuse::error)?;
        }
        let is_nowhere = |line: &Explained| line.key == "bootstrap.servers" && line.value.as_deref() == Some("");
        if config.explain().iter().any(is_nowhere) { Err(nowhere()) } else { Ok(config) }
    }

    /// Every setting, in the order in which they are to be made: the file's, those of the command line, the bootstrap
    /// servers.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn settings(&self) -> Result<Vec<(String, String)>> {
        let mut settings = Vec::new();
        if let Some(path) = &self.command_config {
            let shown = path.display();
            let file = File::open(path)
                .map_err(|error| Misuse::error(format!("--command-config: {shown} cannot be read: {error}")))?;
            let wrong = |error| Misuse::error(format!("--command-config {shown}: {error}"));
            settings.extend(Config::read_properties(file).map_err(wrong)?);
        }
        settings.extend(self.properties.iter().cloned());
        let servers = self.bootstrap_server.iter().map(|servers| ("bootstrap.servers".to_owned(), servers.clone()));
        settings.extend(servers);
        Ok(settings)
    }
}

/// What to say when no server is named.
pub(crate) fn nowhere() -> Error {
    Misuse::error("where is the cluster? Name a broker by -b HOST:PORT")
}

/// A producer of this configuration.
///
/// # Errors
/// When settings do not agree, or no server can be reached.
pub(crate) async fn build(config: Config) -> Result<Producer> {
    let producer = Producer::builder().config(config).start().map_err(|error| match error.kind() {
        ErrorKind::Configuration => Misuse::error(error),
        _ => error.into(),
    })?;
    patiently("no bootstrap server has answered", &producer, producer.connected()).await?;
    Ok(producer)
}

/// A topic of this producer.
///
/// # Errors
/// When it is not known in time.
pub(crate) async fn topic(producer: &Producer, name: &str) -> Result<TopicProducer> {
    let topic = patiently(&format!("topic {name} is not known"), producer, producer.topic(name)).await;
    topic.map_err(|error| match error.kind() {
        ErrorKind::InvalidTopic => Misuse::error(error),
        _ => error.into(),
    })
}

/// Waits, and says once why if that takes long: a minute without a word looks like a hang.
async fn patiently<T>(what: &str, producer: &Producer, awaited: impl Future<Output = T>) -> T {
    const SOON: Duration = Duration::from_secs(2);
    let mut awaited = pin!(awaited);
    match timeout(SOON, awaited.as_mut()).await {
        Ok(result) => result,
        Err(_) => {
            let why = producer.obstacle().await.map(|why| format!(": {why}")).unwrap_or_default();
            notice::say(format_args!("{what} yet; trying on, as long as max.block.ms allows{why}"));
            awaited.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_goes_before_the_file() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/consume.properties");
        let options = Options {
            bootstrap_server: Some("c:9092".to_owned()),
            properties: vec![property(" client.id = two words ").unwrap()],
            command_config: Some(path),
        };
        let settings = options.settings().unwrap();
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            settings,
            [
                ("bootstrap.servers", "a:9092,b:9092"),
                ("client.id", "from the file"),
                ("client.id", "two words"),
                ("bootstrap.servers", "c:9092"),
            ]
        );
        assert!(property("client.id").is_err());
    }
}
