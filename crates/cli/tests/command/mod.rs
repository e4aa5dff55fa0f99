//! Test helpers: runs the command, an in-memory cluster and broken servers.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::thread;

use assert_cmd::Command;
use bytes::Bytes;
use kurier_broker::{Broker, BrokerBuilder};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::runtime::Runtime;

pub(crate) const KURIER: &str = env!("CARGO_BIN_EXE_kurier");

/// Output and exit status of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) printed: String,
    pub(crate) said: String,
    pub(crate) status: i32,
}

/// Runs the command to its end, with empty standard input.
pub(crate) fn kurier(arguments: &[&str]) -> Ran {
    kurier_reading("", arguments)
}

/// Runs the command to its end, with this standard input.
pub(crate) fn kurier_reading(input: impl Into<Vec<u8>>, arguments: &[&str]) -> Ran {
    let output = Command::new(KURIER).args(arguments).write_stdin(input).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { printed: text(output.stdout), said: text(output.stderr), status: output.status.code().unwrap() }
}

impl Ran {
    /// Asserts that the command printed this and succeeded.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert_eq!(self.printed, text, "{}", self.said);
        self.ends(0)
    }

    /// Asserts that the command printed nothing and exited with this status.
    #[track_caller]
    pub(crate) fn fails(self, status: i32) -> Self {
        assert_eq!(self.printed, "", "{}", self.said);
        self.ends(status)
    }

    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}", self.said);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.said.contains(part), "{part:?} is missing in: {}", self.said);
        }
        self
    }
}

/// Sends a signal to a running command.
pub(crate) fn kill(child: &Child, signal: Signal) {
    signal::kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// A running cluster and its runtime.
pub(crate) struct Running {
    pub(crate) broker: Broker,
    pub(crate) runtime: Runtime,
}

pub(crate) fn start(builder: BrokerBuilder) -> Running {
    let runtime = Runtime::new().unwrap();
    let broker = runtime.block_on(builder.start()).unwrap();
    Running { broker, runtime }
}

/// Starts a server that handles each connection with `serve`. Returns its address.
pub(crate) fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(socket.unwrap()));
        }
    });
    address
}

/// Starts a server that answers any input with these bytes, until the client disconnects.
pub(crate) fn answering(bytes: &'static [u8]) -> String {
    server(move |mut socket| {
        let mut heard = [0; 1000];
        while socket.read(&mut heard).is_ok_and(|read| read > 0) && socket.write_all(bytes).is_ok() {}
    })
}

/// Returns an address where no server listens: its port was free a moment ago.
pub(crate) fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Reads the next frame, without its length.
pub(crate) fn read_frame(socket: &mut TcpStream) -> Bytes {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
    socket.read_exact(&mut frame).unwrap();
    frame.into()
}
