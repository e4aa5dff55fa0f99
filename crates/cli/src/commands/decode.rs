//! `kurier decode`: prints captured traffic, or the bytes of one message, as JSON.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use kurier_capture::{Reader, body};
use kurier_protocol::{APIS, Api, RequestHeader, ResponseHeader};
use serde_json::{Map, Value};

use crate::exit::Misuse;
use crate::gaps;

/// Print captured traffic as JSON, one object per request or response; with --api, print one message.
///
/// Fields have Kafka's names. Bytes are printed in base64, ids as Kafka's tools print them. Record data is printed as
/// its size (recordsSizeInBytes); record batches are also decompressed and printed record by record (records).
///
/// Each object of a capture has a number, the time in seconds since 1970, connection, client, server, direction,
/// apiKey, api, version, correlationId and the body. A response also has the number of its request. A message of an
/// unknown API, such as one between brokers, has its bytes in hex (raw) and the reason (unread) instead of a body.
#[derive(Args, Debug)]
pub(crate) struct Decode {
    /// Capture to read (pcap or pcapng, as tcpdump, Wireshark and kurier capture write them); with --api, the bytes of
    /// one message without the frame's length; - is standard input.
    file: PathBuf,

    /// Decode only connections to port N. May be repeated.
    #[arg(long, value_name = "N", conflicts_with = "api")]
    port: Vec<u16>,

    /// Print SASL tokens, and raw bytes that may contain passwords. They are masked by default.
    #[arg(long)]
    secrets: bool,

    #[command(flatten)]
    message: Message,
}

/// Options for one message outside a capture.
#[derive(Args, Debug)]
#[command(next_help_heading = "One message")]
struct Message {
    /// Name or number of the API, such as Produce, api-versions or 18.
    #[arg(long, value_name = "NAME", value_parser = api, requires_all = ["api_version", "side"])]
    api: Option<&'static Api>,

    /// Version of the message.
    #[arg(long = "version", value_name = "N", requires = "api", default_value_t, hide_default_value = true)]
    api_version: i16,

    #[command(flatten)]
    side: Side,

    /// The bytes begin with the message's header; print it as header.
    #[arg(long, requires = "api")]
    header: bool,
}

#[derive(Args, Debug)]
#[group(id = "side", multiple = false, requires = "api")]
struct Side {
    /// The message is a request.
    #[arg(long)]
    request: bool,

    /// The message is a response.
    #[arg(long)]
    response: bool,
}

fn api(name: &str) -> Result<&'static Api, String> {
    let numbered = || Api::of(name.parse().ok()?);
    Api::named(name).or_else(numbered).ok_or_else(|| {
        let names: Vec<_> = APIS.iter().map(|api| format!("{} ({})", api.name(), api.key())).collect();
        format!("known are {}", names.join(", "))
    })
}

impl Decode {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        match self.message.api {
            Some(api) => self.message.run(api, &self.file, self.secrets, out),
            None => self.capture(out),
        }
    }

    fn capture(&self, out: &mut impl Write) -> Result<()> {
        let name = self.file.display();
        let file: Box<dyn Read + Send> = match self.file == Path::new("-") {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(&self.file).map_err(|error| Misuse::unreadable(&self.file, error))?),
        };
        let mut reader = Reader::new(file).with_context(|| name.to_string())?.to_ports(self.port.iter().copied());
        let mut frames: u64 = 0;
        for frame in &mut reader {
            serde_json::to_writer(&mut *out, &frame.with_context(|| name.to_string())?.json(self.secrets))?;
            writeln!(out)?;
            frames += 1;
        }
        out.flush()?;
        gaps::say(&name.to_string(), frames, &reader);
        Ok(())
    }
}

impl Message {
    fn run(&self, api: &Api, file: &Path, secrets: bool, out: &mut impl Write) -> Result<()> {
        let frame = read(file)?;
        let advice = || self.advice(api, file);
        let (header, bytes) = self.split(api, file, &frame)?;
        let (direction, version) = match self.side.request {
            true => (api.request(), self.api_version),
            false => (api.response(), api.response_version(self.api_version, &bytes)),
        };
        let message = direction.read(&bytes, version).with_context(advice)?;
        let fields = body(api, &message, version, secrets);
        let mut object = Map::new();
        object.extend(header.map(|header| ("header".to_owned(), header)));
        object.extend(fields.as_object().cloned().unwrap_or_default());
        serde_json::to_writer_pretty(&mut *out, &Value::Object(object))?;
        writeln!(out)?;
        Ok(())
    }

    fn split(&self, api: &Api, file: &Path, frame: &Bytes) -> Result<(Option<Value>, Bytes)> {
        if !self.header {
            return Ok((None, frame.clone()));
        }
        if self.side.response {
            let (header, body) =
                ResponseHeader::read(frame, api, self.api_version).with_context(|| self.advice(api, file))?;
            return Ok((Some(header.json()), body));
        }
        let (header, body) = RequestHeader::read(frame).with_context(|| self.advice(api, file))?;
        if (header.api_key, header.api_version) != (api.key(), self.api_version) {
            let found = Api::of(header.api_key).map_or("an unknown API", Api::name);
            bail!(
                "{} holds a request of {found} v{}, not of {} v{}: give --api and --version accordingly",
                file.display(),
                header.api_version,
                api.name(),
                self.api_version
            );
        }
        Ok((Some(header.json()), body))
    }

    fn advice(&self, api: &Api, file: &Path) -> String {
        let side = if self.side.request { "request" } else { "response" };
        let versions = api.versions();
        format!(
            "{} is no {side} of {} v{} (its versions are {} to {}; --header is for bytes with a header, and neither \
             form has the four bytes of a frame's length)",
            file.display(),
            api.name(),
            self.api_version,
            versions.start(),
            versions.end()
        )
    }
}

fn read(file: &Path) -> Result<Bytes> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("standard input cannot be read")?;
        return Ok(bytes.into());
    }
    Ok(fs::read(file).map_err(|error| Misuse::unreadable(file, error))?.into())
}
