//! Records from lines of text: what `kurier produce` reads from files and standard input.
//!
//! A line is a record, without its `\n`; a `\r` before it belongs to the record, as in kcat. An empty line is a record,
//! too: what is read back is then what was sent, line for line. (kcat passes over empty lines.)
//!
//! No more than one line is held, and of a line no more than the limit, however much comes.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::escapes::unescaped;
use crate::exit::Misuse;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Where records come from, and how a line becomes one.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Input {
    /// What stands between key and value, such as '\t'. A line without it is a record without a key.
    ///
    /// The first one in the line counts. Escapes are \t, \n, \r, \\ and \xNN.
    #[arg(short = 'K', long, value_name = "DELIMITER", value_parser = delimiter)]
    key_delimiter: Option<Delimiter>,

    /// Send null for a key or value that is empty.
    #[arg(short = 'Z', long)]
    null: bool,

    /// A header of every record; without = its value is null. May be repeated, also with the same name.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<RecordHeader>,

    /// Files to read, a record a line; - is standard input, which is read if there are none.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Delimiter(Vec<u8>);

fn delimiter(text: &str) -> Result<Delimiter, String> {
    let bytes = unescaped(text)?;
    if bytes.is_empty() { Err("it cannot be empty".to_owned()) } else { Ok(Delimiter(bytes)) }
}

/// A header for every record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) name: String,
    /// `None` is null.
    pub(crate) value: Option<String>,
}

fn header(text: &str) -> Result<RecordHeader, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("it takes a name, = and a value, or a name alone for null".to_owned());
    }
    Ok(RecordHeader { name: name.to_owned(), value })
}

impl Input {
    /// Makes ready to read, with lines of up to `limit` bytes.
    ///
    /// # Errors
    /// When a file is not there, or cannot be opened: before the first record is sent, not in the middle.
    pub(crate) fn open(&self, limit: usize) -> Result<Lines> {
        let mut files: VecDeque<PathBuf> = self.files.iter().cloned().collect();
        if files.is_empty() {
            files.push_back(PathBuf::from("-"));
        }
        for file in files.iter().filter(|file| !is_stdin(file)) {
            check(file).map_err(|error| Misuse::error(format!("{} cannot be read: {error}", file.display())))?;
        }
        Ok(Lines {
            files,
            reading: None,
            line: Vec::new(),
            limit,
            number: 0,
            delimiter: self.key_delimiter.clone(),
            empty_is_null: self.null,
        })
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// Whether a file can be opened. What is not a regular file, such as a named pipe, can be opened once only.
fn check(file: &Path) -> io::Result<()> {
    let metadata = fs::metadata(file)?;
    match (metadata.is_dir(), metadata.is_file()) {
        (true, _) => Err(io::ErrorKind::IsADirectory.into()),
        (_, true) => File::open(file).map(drop),
        _ => Ok(()),
    }
}

/// The lines of all inputs, one after the other.
pub(crate) struct Lines {
    files: VecDeque<PathBuf>,
    reading: Option<Reading>,
    line: Vec<u8>,
    limit: usize,
    /// Of the line last read, over all inputs.
    number: u64,
    delimiter: Option<Delimiter>,
    empty_is_null: bool,
}

/// What a line came to.
enum Read {
    Whole,
    TooLong,
    End,
}

/// The input that is being read.
struct Reading {
    name: String,
    from: Box<dyn BufRead + Send>,
    /// Of the line last read, in this input.
    number: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Counted from 1 over all inputs: every line counts, also one that is too long.
    pub(crate) number: u64,
    /// What it holds.
    pub(crate) content: Result<KeyValue<'a>, LineTooLong>,
}

/// What a line holds; `None` is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyValue<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

/// A line above the limit. It was passed over; the next one can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place} is longer than {limit} bytes: raise max.request.size, or send less at once")]
pub(crate) struct LineTooLong {
    /// The input, and the line's number in it.
    pub(crate) place: String,
    /// What it may have, in bytes.
    pub(crate) limit: usize,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("number", &self.number).field("files", &self.files).finish_non_exhaustive()
    }
}

impl Lines {
    /// How many bytes all inputs have, if that is known beforehand.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        let bytes_of = |file: &PathBuf| fs::metadata(file).ok().filter(fs::Metadata::is_file).map(|file| file.len());
        self.files.iter().map(bytes_of).sum()
    }

    /// The next line, `None` after the last.
    ///
    /// # Errors
    /// When an input cannot be read (any more). The lines before it are read.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            let reading = match &mut self.reading {
                Some(reading) => reading,
                none => match self.files.pop_front() {
                    Some(file) => none.insert(Reading::open(&file)?),
                    None => return Ok(None),
                },
            };
            let content = match reading.read_line(&mut self.line, self.limit)? {
                Read::Whole => Ok(()),
                Read::TooLong => Err(LineTooLong { place: reading.place(), limit: self.limit }),
                Read::End => {
                    self.reading = None;
                    continue;
                }
            };
            self.number += 1;
            return Ok(Some(Line { number: self.number, content: content.map(|()| self.split()) }));
        }
    }

    fn split(&self) -> KeyValue<'_> {
        let (key, value) = match &self.delimiter {
            Some(Delimiter(delimiter)) => split_at(&self.line, delimiter),
            None => (None, self.line.as_slice()),
        };
        let unless_null = |bytes: &&[u8]| !(self.empty_is_null && bytes.is_empty());
        KeyValue { key: key.filter(unless_null), value: Some(value).filter(unless_null) }
    }
}

/// What stands before and after the first delimiter.
fn split_at<'a>(line: &'a [u8], delimiter: &[u8]) -> (Option<&'a [u8]>, &'a [u8]) {
    let at = line.windows(delimiter.len()).position(|window| window == delimiter);
    match at.and_then(|at| line.split_at_checked(at)) {
        Some((key, rest)) => (Some(key), rest.get(delimiter.len()..).unwrap_or_default()),
        None => (None, line),
    }
}

impl Reading {
    fn open(file: &Path) -> Result<Self> {
        if is_stdin(file) {
            return Ok(Self::new("standard input".to_owned(), io::stdin()));
        }
        let name = file.display().to_string();
        let opened = File::open(file).with_context(|| format!("{name} cannot be read"))?;
        Ok(Self::new(name, opened))
    }

    fn new(name: String, from: impl io::Read + Send + 'static) -> Self {
        Self { name, from: Box::new(BufReader::with_capacity(READ_BYTES, from)), number: 0 }
    }

    /// Reads a line without its `\n`, or, of one that is too long, no more than one byte above the limit.
    fn read_line(&mut self, line: &mut Vec<u8>, limit: usize) -> Result<Read> {
        self.number += 1;
        self.try_read_line(line, limit).with_context(|| format!("{} cannot be read", self.place()))
    }

    fn try_read_line(&mut self, line: &mut Vec<u8>, limit: usize) -> io::Result<Read> {
        line.clear();
        let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        if self.from.by_ref().take(one_more).read_until(b'\n', line)? == 0 {
            return Ok(Read::End);
        }
        // The last line need not have it.
        if line.pop_if(|last| *last == b'\n').is_some() || line.len() <= limit {
            return Ok(Read::Whole);
        }
        self.from.skip_until(b'\n')?;
        Ok(Read::TooLong)
    }

    fn place(&self) -> String {
        format!("{}, line {}", self.name, self.number)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    /// An input as the command line gives it.
    fn input(arguments: &[&str]) -> Result<Input, clap::Error> {
        let command = Input::augment_args(clap::Command::new("produce").no_binary_name(true));
        Input::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// The lines of a text under these options: number, and key and value or what is said of it.
    fn read(
        arguments: &[&str],
        text: impl io::Read + Send + 'static,
        limit: usize,
    ) -> Vec<(u64, Result<String, String>)> {
        let mut lines = input(arguments).unwrap().open(limit).unwrap();
        lines.files.clear();
        lines.reading = Some(Reading::new("text".to_owned(), text));
        let shown =
            |bytes: Option<&[u8]>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.escape_ascii().to_string());
        let mut read = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let content = line.content.map(|record| format!("{}|{}", shown(record.key), shown(record.value)));
            read.push((line.number, content.map_err(|error| error.to_string())));
        }
        read
    }

    #[test]
    fn lines_become_records() {
        let cases: [(&[&str], &[u8], &[&str]); 14] = [
            (&[], b"", &[]),
            (&[], b"a\nb\n", &["-|a", "-|b"]),
            (&[], b"a\nb", &["-|a", "-|b"]),
            (&[], b"\n\na\n", &["-|", "-|", "-|a"]),
            (&[], b"a\r\n\r\n", &["-|a\\r", "-|\\r"]),
            (&[], b"\xff\0\xfe\n", &["-|\\xff\\x00\\xfe"]),
            (&[], b"k\tv\n", &["-|k\\tv"]),
            (&["-K", "\\t"], b"k\tv\tw\nnone\n\tv\nk\t\n\n", &["k|v\\tw", "-|none", "|v", "k|", "-|"]),
            (&["-K", "\\t", "-Z"], b"k\tv\n\tv\nk\t\n\t\n\n", &["k|v", "-|v", "k|-", "-|-", "-|-"]),
            (&["-Z"], b"a\n\n", &["-|a", "-|-"]),
            (&["-K", "::"], b"a:b::c::d\n:::\na:\n", &["a:b|c::d", "|:", "-|a:"]),
            (&["-K", "\\x1f"], b"a\x1fb\n", &["a|b"]),
            (&["-K", "é"], "aéb\n".as_bytes(), &["a|b"]),
            (&["--key-delimiter", "=", "--null"], b"=\n", &["-|-"]),
        ];
        for (arguments, text, expected) in cases {
            let read = read(arguments, text, 100);
            let numbered: Vec<_> = (1..).zip(expected).map(|(number, line)| (number, Ok((*line).to_owned()))).collect();
            assert_eq!(read, numbered, "{arguments:?} {}", text.escape_ascii());
        }
    }

    #[test]
    fn a_line_above_the_limit_is_named_and_the_next_one_read() {
        let long = |line: u64| {
            (
                line,
                Err(format!("text, line {line} is longer than 3 bytes: raise max.request.size, or send less at once")),
            )
        };
        let good = |line: u64, text: &str| (line, Ok(format!("-|{text}")));
        let cases: [(&str, Vec<_>); 5] = [
            ("abc\nabcd\nab\n", vec![good(1, "abc"), long(2), good(3, "ab")]),
            ("abc", vec![good(1, "abc")]),
            ("abcd", vec![long(1)]),
            ("abcd\n", vec![long(1)]),
            ("abcdefghi\n\nabcdefg\nz", vec![long(1), good(2, ""), long(3), good(4, "z")]),
        ];
        for (text, expected) in cases {
            assert_eq!(read(&[], text.as_bytes(), 3), expected, "{text:?}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit() {
        let mut line = Vec::new();
        let mut reading = Reading::new("zero".to_owned(), io::repeat(0).take(1 << 28));
        assert!(matches!(reading.read_line(&mut line, 1 << 20), Ok(Read::TooLong)));
        // A vector doubles.
        assert!(line.capacity() <= 2 << 20, "{}", line.capacity());
        assert!(matches!(reading.read_line(&mut line, 1 << 20), Ok(Read::End)));
    }

    #[test]
    fn lines_are_counted_over_all_files() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/consume.properties");
        let count = fs::read_to_string(file).unwrap().lines().count();
        let mut lines = input(&[file, file]).unwrap().open(1000).unwrap();
        let mut numbers = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            numbers.push(usize::try_from(line.number).unwrap());
        }
        assert_eq!(numbers, (1..=2 * count).collect::<Vec<_>>());
    }

    /// Breaks at once.
    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let here = env!("CARGO_MANIFEST_DIR");
        for (file, says) in [("no-such-file", "No such file"), (here, "directory")] {
            let error = input(&["-", file]).unwrap().open(10).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains("cannot be read") && error.contains(says), "{error}");
        }
        let mut reading = Reading::new("text".to_owned(), b"one\n".chain(Broken));
        assert!(matches!(reading.read_line(&mut Vec::new(), 10), Ok(Read::Whole)));
        let error = reading.read_line(&mut Vec::new(), 10).err().unwrap();
        assert_eq!(format!("{error:#}"), "text, line 2 cannot be read: the disk is gone");
    }

    #[test]
    fn headers_and_delimiters_are_read_from_the_command_line() {
        let headers = input(&["-H", "a=b=c", "-H", "a=", "-H", "none"]).unwrap().headers;
        let headers: Vec<_> = headers.iter().map(|header| (header.name.as_str(), header.value.as_deref())).collect();
        assert_eq!(headers, [("a", Some("b=c")), ("a", Some("")), ("none", None)]);
        for (arguments, says) in
            [(["-H", "=v"], "a name, ="), (["-K", ""], "cannot be empty"), (["-K", "\\q"], "\\q is not known")]
        {
            let error = input(&arguments).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
