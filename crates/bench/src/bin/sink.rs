//! Runs the sink: a broker that keeps nothing.
//!
//! The first line of its output is its address. Each line of input makes it print what it has counted since the line
//! before, as JSON. It ends with its input.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use kurier_bench::sink::{Counts, Settings, serve};
use tokio::net::TcpListener;

#[derive(Parser)]
struct Sink {
    /// Address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Check each batch; refuse a bad one with CORRUPT_MESSAGE.
    #[arg(long)]
    verify: bool,
}

fn main() -> Result<()> {
    let Sink { listen, partitions, verify } = Sink::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(listen))?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", listener.local_addr()?)?;
    let counts = Arc::new(Counts::default());
    let served = serve(listener, Settings { partitions, is_verifying: verify }, Arc::clone(&counts));
    std::thread::spawn(move || runtime.block_on(served));
    for line in std::io::stdin().lines() {
        line?;
        writeln!(output, "{}", counts.take())?;
        output.flush()?;
    }
    Ok(())
}
