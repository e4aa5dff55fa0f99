//! `kurier capture`: a relay that records the traffic it forwards.

mod addresses;
mod relay;
#[cfg(feature = "tls")]
mod tls;

use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use kurier::HostPort;

use crate::exit::Misuse;
use crate::interrupt::Signals;
use crate::notice;
use crate::options::listen_address;
use crate::target::Target;
use relay::{Recording, Relay, bind};
#[cfg(feature = "tls")]
use tls::TlsOptions;

/// Relay clients to a cluster and record their traffic in a capture file, until Ctrl-C.
///
/// Needs no root rights. Clients use the address that is printed on one line of standard output as their bootstrap
/// server. Node i of the cluster gets the port i + 1 above the relay's. The relay replaces the addresses in responses
/// to Metadata and FindCoordinator and in the leader hints of Produce; the file holds the responses as the clients
/// received them. Wireshark opens the file, kurier decode prints it, kurier replay produces its records again.
///
/// The file has zeros in place of SASL passwords and tokens, and of messages that may have secrets: those about
/// delegation tokens, SCRAM users and configurations. A connection with TLS is forwarded and recorded as it is, but not
/// decoded, and its client learns the cluster's own addresses.
///
/// With --tls-cert and --tls-key, clients speak TLS to the relay, the relay speaks TLS to the cluster, and the file has
/// the messages in plaintext. -X, --command-config and --env have the ssl.* settings for the cluster. SASL passes through.
/// If the cluster requires client certificates, the relay shows its own (ssl.keystore.*).
#[derive(Args, Debug)]
pub(crate) struct Capture {
    /// Address to listen on for clients. Port 0 gives the relay and each node a free port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9192", value_parser = listen_address)]
    listen: SocketAddr,

    /// A broker of the cluster.
    // Parsed later: the parser of arguments would repeat a wrong one, which may contain a password.
    #[arg(long, value_name = "HOST:PORT")]
    upstream: String,

    /// Capture file to write (pcap). An older capture is replaced; a FILE with other data is refused.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Record passwords and tokens as they are.
    #[arg(long)]
    keep_secrets: bool,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    tls: TlsOptions,
}

impl Capture {
    pub(crate) fn run(&self, out: &mut impl Write) -> Result<ExitCode> {
        let name = self.out.display();
        let upstream = HostPort::list(&self.upstream).map_err(|why| Misuse::because("--upstream", why))?;
        let [upstream] = &upstream[..] else {
            return Err(Misuse::error("--upstream takes one broker of the cluster: kurier learns the others from it"));
        };
        let wrong = |why: &str| Misuse::error(format!("--out {name}: {why}"));
        let target = Target::new(&self.out, &[], "capture", is_capture).map_err(|why| wrong(&why))?;
        if matches!(target, Target::Stdout | Target::Stderr) || is_output(&self.out) {
            return Err(wrong("the command prints its own lines to standard output: name a file"));
        }
        #[cfg(feature = "tls")]
        let tls = self.tls.load(upstream)?;
        // Opened only once the address is free, because it replaces an older capture.
        let listener = bind(self.listen)?;
        let file = target.open_private().with_context(|| format!("{name} cannot be written"))?;
        let recording = Recording::new(BufWriter::new(file)).with_context(|| name.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let relay = Relay::new(self.listen, upstream.clone(), recording, self.keep_secrets);
        #[cfg(feature = "tls")]
        let relay = relay.ending(tls);
        let relay = Arc::new(relay);
        let ended = runtime.block_on(async {
            // Taken over before the address is printed, because a script may end the capture as soon as it reads it.
            let mut signals = Signals::new()?;
            let (at, failure) = relay.start(listener)?;
            writeln!(out, "{at}")?;
            out.flush()?;
            anyhow::Ok(signals.unless(failure).await)
        });
        // Drop open connections without waiting for them.
        drop(runtime);
        let counts = Arc::into_inner(relay).map(Relay::finish).transpose().with_context(|| name.to_string())?;
        if let Some(counts) = counts {
            notice::say(format_args!("{counts} in {name}"));
        }
        match ended? {
            // Ctrl-C is the normal end of a capture.
            Err(_interrupted) => Ok(ExitCode::SUCCESS),
            Ok(failure) => Err(failure.context(name.to_string())),
        }
    }
}

/// Returns whether a path names standard output or standard error, which may be a pipe or a terminal.
fn is_output(path: &Path) -> bool {
    ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/1", "/proc/self/fd/2"]
        .iter()
        .any(|output| path == Path::new(output))
}

/// Returns whether a file begins as pcap of either byte order and resolution, or as pcapng.
fn is_capture(beginning: &[u8]) -> bool {
    const MAGICS: [[u8; 4]; 5] = [
        [0xa1, 0xb2, 0xc3, 0xd4],
        [0xd4, 0xc3, 0xb2, 0xa1],
        [0xa1, 0xb2, 0x3c, 0x4d],
        [0x4d, 0x3c, 0xb2, 0xa1],
        [0x0a, 0x0d, 0x0d, 0x0a],
    ];
    MAGICS.iter().any(|magic| beginning.starts_with(magic))
}
