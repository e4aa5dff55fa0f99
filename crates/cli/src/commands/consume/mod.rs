//! `kurier consume`: prints a topic's records on standard output.

mod connection;
mod reader;

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use kurier_cli::format::{Entry, Format, Header};
use kurier_protocol::PartitionIndex;
use kurier_protocol::record_batch::{self, Record};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::interrupt::unless_interrupted;
use crate::options::{Options, say_ignored};
use crate::output::Output;
use connection::Settings;
use reader::{Reader, Start, Wanted};

/// How long a signal lets the reader of standard output take the records that are being printed.
const PATIENCE: Duration = Duration::from_secs(1);

/// Print the records of a topic, from all partitions, until Ctrl-C.
///
/// Records of one partition are printed in order; partitions are mixed as their records arrive. Joins no consumer group
/// and commits no offsets. Also prints records of open and aborted transactions (read_uncommitted).
#[derive(Args, Debug)]
pub(crate) struct Consume {
    #[command(flatten)]
    options: Options,

    /// Topic to read; it is not created if it is missing.
    #[arg(short, long)]
    topic: String,

    /// Read only this partition.
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,

    /// Start offset in each partition: beginning, end, or a number.
    #[arg(short, long, value_name = "OFFSET", default_value = "beginning", value_parser = start)]
    offset: Start,

    /// Exit after N records.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,

    /// Exit at the end that each partition had at the start, instead of waiting for more records.
    #[arg(short, long)]
    exit_at_end: bool,

    /// Print records in FORMAT: json, frames, or a template of kcat's placeholders. kurier produce --format FORMAT
    /// reads them back: those of json and frames unchanged, those of a template as far as it tells its parts apart.
    ///
    /// json prints one object per line: topic, partition, offset, timestamp, key, value, and headers as pairs. A null
    /// key or value is null. Bytes that are not UTF-8 are printed in base64, as key_base64, value_base64, or
    /// {"base64":"…"} in headers.
    ///
    /// frames prints each record in binary, preceded by its length; kurier produce --help describes the layout.
    ///
    /// Any other text is a template. %s is the value, %S its length (-1 for null), %R its length as 4 bytes in binary
    /// (big-endian). %k is the key, %K its length (-1 for null). %t is the topic, %p the partition, %o the offset, %T
    /// the timestamp in milliseconds since 1970, %h the headers as name=value,… with NULL for null, %% a percent sign.
    /// A null value or key prints nothing. Escapes are \n, \t, \r, \\ and \xNN. End FORMAT with \n to separate records.
    /// A template with lengths, such as '%T %p %K %k%S %s\n', can be read back whatever bytes a key and a value contain.
    /// What %h prints cannot if a header's name contains = or its value contains a comma or is NULL.
    #[arg(short, long, value_name = "FORMAT", default_value = r"%s\n")]
    format: Format,
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        offset => match offset.parse() {
            Ok(offset @ 0..) => Ok(Start::Offset(offset)),
            _ => Err("it takes beginning, end, or an offset".to_owned()),
        },
    }
}

/// Converts a record for printing.
fn entry<'a>(topic: &'a str, partition: PartitionIndex, record: &Record<'a>) -> Entry<'a> {
    let header =
        |header: record_batch::Header<'a>| Header { name: header.key.into(), value: header.value.map(Into::into) };
    Entry {
        topic: Some(topic),
        offset: Some(record.offset),
        partition: Some(partition.0),
        timestamp: Some(record.timestamp),
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers: record.headers.clone().map(header).collect(),
    }
}

impl Consume {
    /// Reads on another thread: a full pipe blocks that thread, and signals still end the command.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let (settings, ignored) = Settings::new(&self.options.given()?)?;
        say_ignored("kurier consume", &ignored);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (done, mut ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("kurier-consume".to_owned());
        thread.spawn(move || drop(done.send(self.read_until(stopped, settings))))?;
        runtime.block_on(async {
            match unless_interrupted(&mut ended).await? {
                Ok(ended) => {
                    ended.map_err(|_| anyhow!("the thread that reads has panicked"))?.map(|()| ExitCode::SUCCESS)
                }
                Err(interrupted) => {
                    drop(stop);
                    let _ = timeout(PATIENCE, ended).await;
                    Ok(interrupted)
                }
            }
        })
    }

    /// Prints records until the end, or until `stopped` is closed.
    fn read_until(&self, mut stopped: oneshot::Receiver<()>, settings: Settings) -> Result<()> {
        // Not the standard library's handle: its lock would block the end of the command while a write is blocked.
        let mut out = Output::new(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(async {
            let mut read = pin!(self.read(settings, &mut out));
            let until_stopped = poll_fn(|cx| match Pin::new(&mut stopped).poll(cx) {
                Poll::Ready(_) => Poll::Ready(Ok(())),
                Poll::Pending => read.as_mut().poll(cx),
            });
            until_stopped.await
        });
        // Do not wait for a name that is still being resolved.
        runtime.shutdown_background();
        // The reader of standard output has closed it.
        if out.is_unwanted() { Ok(()) } else { result }
    }

    /// Prints whole responses between two waits, so that an interruption never cuts a line.
    async fn read(&self, settings: Settings, out: &mut impl Write) -> Result<()> {
        let wanted = Wanted {
            topic: self.topic.clone(),
            partition: self.partition,
            start: self.offset,
            stops_at_end: self.exit_at_end,
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut reader = Reader::open(wanted, settings).await?;
        while left > 0 {
            let mut print = |partition: PartitionIndex, record: &Record<'_>| {
                self.format.write(&entry(&self.topic, partition, record), out)?;
                left -= 1;
                Ok(if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            };
            let flow = reader.next(&mut print).await?;
            out.flush()?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}
