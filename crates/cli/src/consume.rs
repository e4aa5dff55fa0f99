//! `kurier consume`: a topic's records, on standard output.

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use kurier_cli::format::{Entry, Format, Header};
use kurier_protocol::record_batch::{self, Record};

use crate::connection::Settings;
use crate::interrupt::unless_interrupted;
use crate::notice;
use crate::options::Options;
use crate::reader::{Reader, Start, Wanted};

/// Print a topic's records, from all of its partitions, until Ctrl-C.
///
/// A partition's records come in their order, those of several as they arrive. It is a plain reader: it joins no
/// consumer group, commits no offsets, and reads what open and aborted transactions wrote, too.
#[derive(Args, Debug)]
pub(crate) struct Consume {
    #[command(flatten)]
    options: Options,

    /// The topic to read. It is not created if it is missing.
    #[arg(short, long)]
    topic: String,

    /// Read this partition alone.
    #[arg(short, long, value_name = "N")]
    partition: Option<i32>,

    /// Where to begin in each partition: beginning, end, or an offset.
    #[arg(short, long, value_name = "OFFSET", default_value = "beginning", value_parser = start)]
    offset: Start,

    /// Exit after this many records.
    #[arg(short, long, value_name = "N")]
    count: Option<u64>,

    /// Exit where each partition ended at the start, instead of waiting for more.
    #[arg(short, long)]
    exit_at_end: bool,

    /// Print records in FORMAT: json, frames, or kcat's placeholders. kurier produce --format FORMAT reads it back.
    ///
    /// json prints one object a line: topic, partition, offset, timestamp, key, value, headers as pairs. null is a null key
    /// or value; bytes that are not UTF-8 stand in base64 as key_base64, value_base64, or {"base64":"…"} in headers.
    ///
    /// frames prints each record behind its length, in binary; kurier produce --help has the layout.
    ///
    /// In any other text, %s is the value, %S its length (-1 for null), %R the same as 4 bytes in binary (big-endian); %k
    /// is the key, %K its length (-1 for null); %t the topic, %p the partition, %o the offset, %T the timestamp in
    /// milliseconds since 1970, %h the headers as name=value,… with NULL for null; %% a percent sign. A null value or key
    /// prints nothing. Escapes are \n, \t, \r, \\ and \xNN. End FORMAT with \n to separate records. A template with lengths,
    /// such as '%T %p %K %k%S %s\n', can be read back whatever bytes a record has.
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

/// A record as formats print it.
fn entry<'a>(topic: &'a str, partition: i32, record: &Record<'a>) -> Entry<'a> {
    let header =
        |header: record_batch::Header<'a>| Header { name: header.key.into(), value: header.value.map(Into::into) };
    Entry {
        topic: Some(topic),
        offset: Some(record.offset),
        partition: Some(partition),
        timestamp: Some(record.timestamp),
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers: record.headers.clone().map(header).collect(),
    }
}

impl Consume {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<ExitCode> {
        let (settings, ignored) = Settings::new(&self.options.settings()?)?;
        for key in ignored {
            notice::say(format_args!("{key} means nothing to consume"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(unless_interrupted(self.read(settings, out)));
        // A name that is still being resolved must not hold up the end.
        runtime.shutdown_background();
        match ended? {
            Ok(result) => result.map(|()| ExitCode::SUCCESS),
            Err(interrupted) => Ok(interrupted),
        }
    }

    /// Prints whole answers between one wait and the next, so that an interruption cuts no line.
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
            let mut print = |partition: i32, record: &Record<'_>| {
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
