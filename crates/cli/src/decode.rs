//! `kurier decode`: the bytes of one message, as JSON.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use kurier_protocol::{APIS, Api, RequestHeader, ResponseHeader};
use serde_json::{Map, Value};

use crate::batches;

/// Print a message's bytes as one JSON object, with Kafka's own field names.
///
/// Bytes are shown in base64, ids as Kafka's tools show them, record data by its size (`recordsSizeInBytes`) and, where
/// it is record batches, decompressed and record by record (`records`).
#[derive(Args, Debug)]
pub(crate) struct Decode {
    /// Which API, such as Metadata or Produce.
    #[arg(long, value_name = "NAME", value_parser = api)]
    api: &'static Api,

    /// In which version the message is written.
    #[arg(long = "version", value_name = "N")]
    api_version: i16,

    #[command(flatten)]
    side: Side,

    /// The bytes begin with the message's header; it is shown as `header`.
    #[arg(long)]
    header: bool,

    /// A file with the bytes, without the length of a frame in front; - reads standard input.
    file: PathBuf,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Side {
    /// The message is a request.
    #[arg(long)]
    request: bool,

    /// The message is a response.
    #[arg(long)]
    response: bool,
}

fn api(name: &str) -> Result<&'static Api, String> {
    Api::named(name).ok_or_else(|| {
        let names: Vec<_> = APIS.iter().map(Api::name).collect();
        format!("known are {}", names.join(", "))
    })
}

impl Decode {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<()> {
        let frame = read(&self.file)?;
        let (header, body) = self.split(&frame)?;
        let (direction, version) = match self.side.request {
            true => (self.api.request(), self.api_version),
            false => (self.api.response(), self.api.response_version(self.api_version, &body)),
        };
        let message = direction.read(&body, version).with_context(|| self.advice())?;
        let fields = message.json_with(version, &batches::json);
        let mut object = Map::new();
        object.extend(header.map(|header| ("header".to_owned(), header)));
        object.extend(fields.as_object().cloned().unwrap_or_default());
        serde_json::to_writer_pretty(&mut *out, &Value::Object(object))?;
        writeln!(out)?;
        Ok(())
    }

    fn split(&self, frame: &Bytes) -> Result<(Option<Value>, Bytes)> {
        if !self.header {
            return Ok((None, frame.clone()));
        }
        if self.side.response {
            let (header, body) =
                ResponseHeader::read(frame, self.api, self.api_version).with_context(|| self.advice())?;
            return Ok((Some(header.json()), body));
        }
        let (header, body) = RequestHeader::read(frame).with_context(|| self.advice())?;
        if (header.api_key, header.api_version) != (self.api.key(), self.api_version) {
            let found = Api::of(header.api_key).map_or("an unknown API", Api::name);
            bail!(
                "{} holds a request of {found} v{}, not of {} v{}: give --api and --version accordingly",
                self.file.display(),
                header.api_version,
                self.api.name(),
                self.api_version
            );
        }
        Ok((Some(header.json()), body))
    }

    fn advice(&self) -> String {
        let side = if self.side.request { "request" } else { "response" };
        let versions = self.api.versions();
        format!(
            "{} is no {side} of {} v{} (its versions are {} to {}; --header is for bytes with a header, and neither \
             form has the four bytes of a frame's length)",
            self.file.display(),
            self.api.name(),
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
    Ok(fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?.into())
}
