//! `kurier broker`: a cluster in memory.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kurier_broker::{Broker as Cluster, TopicSettings};
use tokio::signal::unix::{SignalKind, signal};

use crate::options::property;

/// Run a Kafka cluster in memory, until Ctrl-C or SIGTERM.
///
/// Its bootstrap servers are printed on one line of standard output once it is ready. What is written to it is gone when
/// it ends.
#[derive(Args, Debug)]
pub(crate) struct Broker {
    /// Where the first node listens; the next ones on the ports after it. Port 0 gives each a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: SocketAddr,

    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: u16,

    /// A topic to begin with. Others come to be when they are asked for.
    #[arg(short, long = "topic", value_name = "NAME:PARTITIONS", value_parser = topic)]
    topics: Vec<(String, i32)>,

    /// A setting in the words of a Kafka broker: auto.create.topics.enable, num.partitions, default.replication.factor,
    /// min.insync.replicas, message.max.bytes, log.message.timestamp.type.
    #[arg(short = 'X', long = "command-property", value_name = "KEY=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
}

fn topic(text: &str) -> Result<(String, i32), String> {
    let (name, partitions) = text.rsplit_once(':').ok_or("it takes a name, a colon and a number of partitions")?;
    let partitions = partitions.parse().map_err(|_| format!("{partitions:?} is no number of partitions"))?;
    Ok((name.to_owned(), partitions))
}

impl Broker {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let cluster = self.start().await?;
            writeln!(out, "{}", cluster.bootstrap_servers())?;
            out.flush()?;
            std::future::poll_fn(|cx| {
                let ended = interrupt.poll_recv(cx).is_ready() || terminate.poll_recv(cx).is_ready();
                if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            Ok(())
        })
    }

    async fn start(&self) -> Result<Cluster> {
        let mut topics = TopicSettings::default();
        let (mut auto_create, mut partitions) = (true, 1);
        for (key, value) in &self.properties {
            let wrong = || anyhow!("{key} cannot be {value:?}");
            match key.as_str() {
                "auto.create.topics.enable" => auto_create = value.parse().ok().with_context(wrong)?,
                "num.partitions" => partitions = value.parse().ok().with_context(wrong)?,
                "default.replication.factor" => topics.replication_factor = value.parse().ok().with_context(wrong)?,
                "min.insync.replicas" => topics.min_insync_replicas = value.parse().ok().with_context(wrong)?,
                "message.max.bytes" => topics.max_message_bytes = value.parse().ok().with_context(wrong)?,
                "log.message.timestamp.type" => {
                    topics.is_log_append_time = match value.as_str() {
                        "CreateTime" => false,
                        "LogAppendTime" => true,
                        _ => return Err(wrong()),
                    }
                }
                _ => return Err(anyhow!("{key} is no setting of this broker; kurier broker --help lists them")),
            }
        }
        let mut builder = Cluster::builder()
            .listen(self.listen)
            .nodes(self.nodes)
            .topics_by_default(topics)
            .auto_create_topics(auto_create, partitions);
        for (name, partitions) in &self.topics {
            builder = builder.topic(name, *partitions);
        }
        Ok(builder.start().await?)
    }
}
