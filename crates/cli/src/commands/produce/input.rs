//! Input of `kurier produce`: files and standard input, one record at a time.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use kurier_cli::escapes::unescaped;
use kurier_cli::format::lines::Lines;
use kurier_cli::format::{Entry, Flaw, Format, Next, Parser, Stream};

use crate::exit::Misuse;
use crate::target::FileId;

/// Input files and their format.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Input {
    /// Split each line at the first DELIMITER, such as '\t', into key and value.
    ///
    /// A line without DELIMITER is a record without a key. Escapes are \t, \r, \\ and \xNN.
    #[arg(short = 'K', long, value_name = "DELIMITER", value_parser = delimiter, conflicts_with = "format")]
    key_delimiter: Option<Delimiter>,

    /// Read records in FORMAT instead of lines: json, frames, or a template of kcat's placeholders.
    ///
    /// Reads back the output of kurier consume --format FORMAT. The output of json and frames comes back unchanged.
    ///
    /// json reads one object per line:
    /// {"key":"k","value":"v","headers":[["h","1"]],"partition":0,"timestamp":1700000000000}. A null value is a
    /// tombstone. key_base64 and value_base64 take bytes, as does ["h",{"base64":"/w=="}] in headers. Only the value is
    /// required; topic and offset are ignored.
    ///
    /// frames reads big-endian binary: int32 length of the rest, int8 version (1), int32 partition (-1: any), int64
    /// timestamp (-1: now), key, value, int32 header count, then name and value of each header. Keys, values and names
    /// are an int32 length (-1: null) and the bytes.
    ///
    /// Any other text is a template of the placeholders that kurier consume --help explains. %k and %s end after the
    /// bytes that a %K, %S or %R before them counts, or else where the text after them first appears. %p and %T set
    /// partition and timestamp (-1: none); %h is name=value,…; %t and %o are ignored.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Send null for an empty key or value (in a template: one without a length).
    #[arg(short = 'Z', long)]
    null: bool,

    /// Add a header to every record. A NAME without = has a null value. May be repeated, also with the same name.
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header)]
    pub(crate) headers: Vec<RecordHeader>,

    /// Read records from FILE; - is standard input (default: standard input).
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Delimiter(Vec<u8>);

fn delimiter(text: &str) -> Result<Delimiter, String> {
    let bytes = unescaped(text)?;
    if bytes.is_empty() {
        return Err("it cannot be empty".to_owned());
    }
    if bytes.contains(&b'\n') {
        let why = "a line contains no \\n, so no line would have a key: use --format '%k\\n%s\\n' to read keys and values from \
                   lines of their own";
        return Err(why.to_owned());
    }
    Ok(Delimiter(bytes))
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
    /// Checks all inputs. The key, value and headers of a record may take up to `limit` bytes.
    ///
    /// # Errors
    /// When a file cannot be opened, when Kurier cannot tell records of this format apart, or when the format allows
    /// no `--null`. No record has been sent then.
    pub(crate) fn open(&self, limit: usize) -> Result<Records> {
        let parser = match &self.format {
            Some(format) => {
                format.parser(self.null).map_err(|reason| Misuse::because("cannot read records of --format", reason))?
            }
            None => {
                let delimiter = self.key_delimiter.clone().map(|Delimiter(bytes)| bytes);
                Parser::Lines(Lines { delimiter, empty_is_null: self.null })
            }
        };
        let mut files: VecDeque<PathBuf> = self.files.iter().cloned().collect();
        if files.is_empty() {
            files.push_back(PathBuf::from("-"));
        }
        for file in files.iter().filter(|file| !is_stdin(file)) {
            check(file).map_err(|error| Misuse::unreadable(file, error))?;
        }
        Ok(Records { files, reading: None, parser, limit, number: 0 })
    }
}

fn is_stdin(file: &Path) -> bool {
    file == Path::new("-")
}

/// Checks that a file can be opened. Skips files that are not regular: a named pipe, for example, can be opened only
/// once.
fn check(file: &Path) -> io::Result<()> {
    let metadata = fs::metadata(file)?;
    match (metadata.is_dir(), metadata.is_file()) {
        (true, _) => Err(io::ErrorKind::IsADirectory.into()),
        (_, true) => File::open(file).map(drop),
        _ => Ok(()),
    }
}

/// The records of all inputs, one input after the other.
pub(crate) struct Records {
    files: VecDeque<PathBuf>,
    reading: Option<Reading>,
    parser: Parser,
    limit: usize,
    /// Number of the last record, counted over all inputs.
    number: u64,
}

/// The input that is being read.
struct Reading {
    name: String,
    stream: Stream,
    /// Number of the record that was read last, counted in this input.
    number: u64,
}

/// A record with its number, or the reason why it is invalid.
#[derive(Debug)]
pub(crate) struct Numbered<'a> {
    /// Counted from 1 over all inputs, bad records included.
    pub(crate) number: u64,
    /// Size of the record in the input.
    pub(crate) bytes: usize,
    pub(crate) content: Result<Entry<'a>, BadRecord>,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub(crate) struct BadRecord {
    /// The input, and the line or byte number in it.
    place: String,
    reason: String,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("number", &self.number).field("files", &self.files).finish_non_exhaustive()
    }
}

impl Records {
    /// Returns the identities of the input files, as far as they are known.
    pub(crate) fn file_ids(&self) -> Vec<FileId> {
        let id_of = |file: &PathBuf| if is_stdin(file) { FileId::stdin() } else { FileId::at(file) };
        self.files.iter().filter_map(|file| id_of(file).ok()).collect()
    }

    /// Returns the total size of all inputs, if it is known in advance.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        let bytes_of = |file: &PathBuf| fs::metadata(file).ok().filter(fs::Metadata::is_file).map(|file| file.len());
        self.files.iter().map(bytes_of).sum()
    }

    /// Returns the unit of the record numbers: lines or records.
    pub(crate) fn unit(&self) -> &'static str {
        if self.parser.is_by_line() { "line" } else { "record" }
    }

    /// Returns the next record, `None` after the last.
    ///
    /// # Errors
    /// When an input cannot be read. All records before the failure have been returned.
    pub(crate) fn next(&mut self) -> Result<Option<Numbered<'_>>> {
        let Some(bad) = self.advance()? else { return Ok(None) };
        let Self { reading: Some(reading), parser, number, .. } = self else { return Ok(None) };
        let record = reading.stream.record();
        let content = match bad {
            Some(bad) => Err(bad),
            None => parser.decode(record).map_err(|flaw| reading.bad(parser, &flaw, false)),
        };
        Ok(Some(Numbered { number: *number, bytes: record.len(), content }))
    }

    /// Advances to the next record, in this input or the next one. `None` after the last.
    fn advance(&mut self) -> Result<Option<Option<BadRecord>>> {
        loop {
            let reading = match &mut self.reading {
                Some(reading) => reading,
                none => match self.files.pop_front() {
                    Some(file) => none.insert(Reading::open(&file)?),
                    None => return Ok(None),
                },
            };
            reading.number += 1;
            let next = reading.stream.advance(&self.parser, self.limit);
            let bad = match next.with_context(|| format!("{} cannot be read", reading.place(&self.parser, 0)))? {
                Next::Record => None,
                Next::Bad { flaw, is_last } => Some(reading.bad(&self.parser, &flaw, is_last)),
                Next::End => {
                    self.reading = None;
                    continue;
                }
            };
            self.number += 1;
            return Ok(Some(bad));
        }
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
        Self { name, stream: Stream::new(from), number: 0 }
    }

    /// Describes a position in the current record.
    fn place(&self, parser: &Parser, at: usize) -> String {
        match parser.is_by_line() {
            true => format!("{}, line {}", self.name, self.number),
            false => format!("{}, byte {}", self.name, self.stream.offset() + at as u64),
        }
    }

    fn bad(&self, parser: &Parser, flaw: &Flaw, is_last: bool) -> BadRecord {
        let rest = if is_last { "; the next record's beginning is unknown, so the rest is not sent" } else { "" };
        BadRecord { place: self.place(parser, flaw.at), reason: format!("{}{rest}", flaw.text) }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    /// Parses an input's command line.
    fn input(arguments: &[&str]) -> Result<Input, clap::Error> {
        let command = Input::augment_args(clap::Command::new("produce").no_binary_name(true));
        Input::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// Reads a text with these options. Returns each record's number with its key and value, or with its error.
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
            let content = line
                .content
                .map(|record| format!("{}|{}", shown(record.key.as_deref()), shown(record.value.as_deref())));
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
    fn line_above_the_limit_is_reported_and_the_next_one_read() {
        let long = |line: u64| {
            (
                line,
                Err(format!(
                    "text, line {line}: the record is longer than 3 bytes: raise max.request.size, or send less at once"
                )),
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
    fn line_without_end_takes_no_more_memory_than_the_limit() {
        let parser = Parser::Lines(Lines::default());
        let mut stream = Stream::new(io::Read::take(io::repeat(0), 1 << 28));
        assert!(matches!(stream.advance(&parser, 1 << 20), Ok(Next::Bad { .. })));
        assert!(matches!(stream.advance(&parser, 1 << 20), Ok(Next::End)));
        assert!(stream.held_bytes() <= 2 << 20, "{}", stream.held_bytes());
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

    /// An input that fails at once.
    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }

    #[test]
    fn unreadable_input_is_named() {
        let here = env!("CARGO_MANIFEST_DIR");
        for (file, says) in [("no-such-file", "No such file"), (here, "directory")] {
            let error = input(&["-", file]).unwrap().open(10).map(drop).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(file) && error.contains("cannot be read") && error.contains(says), "{error}");
        }
        let mut lines = input(&[]).unwrap().open(10).unwrap();
        lines.reading = Some(Reading::new("text".to_owned(), io::Read::chain(&b"one\n"[..], Broken)));
        assert!(lines.next().unwrap().unwrap().content.is_ok());
        let error = lines.next().unwrap_err();
        assert_eq!(format!("{error:#}"), "text, line 2 cannot be read: the disk is gone");
    }

    #[test]
    fn headers_and_delimiters_are_read_from_the_command_line() {
        let headers = input(&["-H", "a=b=c", "-H", "a=", "-H", "none"]).unwrap().headers;
        let headers: Vec<_> = headers.iter().map(|header| (header.name.as_str(), header.value.as_deref())).collect();
        assert_eq!(headers, [("a", Some("b=c")), ("a", Some("")), ("none", None)]);
        for (arguments, says) in [
            (["-H", "=v"], "a name, ="),
            (["-K", ""], "cannot be empty"),
            (["-K", "\\q"], "\\q is unknown"),
            (["-K", "\\n"], "no line would have a key"),
        ] {
            let error = input(&arguments).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
