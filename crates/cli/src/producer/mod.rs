//! The producer of a command, from its start to its last outcome.

pub(crate) mod watch;

use std::pin::pin;
use std::time::Duration;

use anyhow::Result;
use kurier::{Config, ErrorKind, Producer, TopicProducer};
use tokio::time::timeout;

use crate::exit::Misuse;
use crate::notice;

/// Creates a producer from a configuration.
///
/// # Errors
/// When settings contradict each other, or no server can be reached.
pub(crate) async fn start(config: Config) -> Result<Producer> {
    let producer = Producer::builder().config(config).start().map_err(|error| match error.kind() {
        ErrorKind::Configuration => Misuse::of(error),
        _ => error.into(),
    })?;
    patiently("no bootstrap server has answered", &producer, producer.connected()).await?;
    Ok(producer)
}

/// Returns a topic of this producer.
///
/// # Errors
/// When the topic's metadata does not arrive in time.
pub(crate) async fn topic(producer: &Producer, name: &str) -> Result<TopicProducer> {
    let topic = patiently(&format!("topic {name} is not known"), producer, producer.topic(name)).await;
    topic.map_err(|error| match error.kind() {
        ErrorKind::InvalidTopic => Misuse::of(error),
        _ => error.into(),
    })
}

/// Waits, and prints the cause once if the wait is long: a silent minute looks like a hang.
async fn patiently<T>(what: &str, producer: &Producer, awaited: impl Future<Output = T>) -> T {
    const SOON: Duration = Duration::from_secs(2);
    let mut awaited = pin!(awaited);
    match timeout(SOON, awaited.as_mut()).await {
        Ok(result) => result,
        Err(_) => {
            let why = producer.obstacle().await.map(|why| format!(": {why}")).unwrap_or_default();
            notice::say(format_args!("{what} yet; still trying, up to max.block.ms{why}"));
            awaited.await
        }
    }
}
