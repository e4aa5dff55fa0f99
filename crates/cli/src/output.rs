//! Standard output, whose reader may close it early: `kurier consume … | head -1` is no failure. A broken broker
//! connection has the same error but is a failure, so this writer records which errors are its own.

use std::io::{self, BufWriter, ErrorKind, Write};

/// Buffered standard output of a command.
#[derive(Debug)]
pub(crate) struct Output<W: Write> {
    to: BufWriter<W>,
    is_unwanted: bool,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to: BufWriter::new(to), is_unwanted: false }
    }

    /// Returns whether the reader has closed the output.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.is_unwanted
    }

    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.is_unwanted |= result.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe);
        result
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.to.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.to.flush();
        self.note(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Left(ErrorKind);

    impl Write for Left {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_closed_pipe_makes_output_unwanted() {
        for (kind, is_unwanted) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let mut out = Output::new(Left(kind));
            out.write_all(b"buffered").unwrap();
            assert!(!out.is_unwanted());
            out.flush().unwrap_err();
            assert_eq!(out.is_unwanted(), is_unwanted);
        }
    }
}
