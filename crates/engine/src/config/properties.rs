//! Parser for Java properties files, with the rules of `java.util.Properties.load(InputStream)`.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use super::Config;
use super::origin::Origin;
use super::values::refused;
use crate::error::{BoxError, Error, printable};

/// The largest properties file, in bytes: far more than all settings need.
const FILE_MAX: usize = 1 << 20;

/// Byte order marks, which would otherwise become part of the first key.
const MARKS: [(&[u8], &str); 3] = [(b"\xef\xbb\xbf", "UTF-8"), (b"\xfe\xff", "UTF-16"), (b"\xff\xfe", "UTF-16")];

impl Config {
    /// Reads settings from a Java properties file, with keys of Java or librdkafka.
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if the file is not a properties file, or a key or
    /// value is wrong; with the number of its line.
    pub fn from_properties(file: impl Read) -> Result<Self, Error> {
        let mut config = Self::default();
        config.set_properties(file)?;
        Ok(config)
    }

    /// Adds the settings of a properties file to these.
    ///
    /// # Errors
    /// As [`from_properties`](Self::from_properties).
    pub fn set_properties(&mut self, file: impl Read) -> Result<(), Error> {
        self.set_lines(None, file)
    }

    /// Adds the settings of a properties file with this name to these. Errors and [`explain`](Self::explain) show the
    /// name; nothing opens a file of that name.
    ///
    /// # Errors
    /// As [`from_properties`](Self::from_properties).
    pub fn set_properties_of(&mut self, name: &str, file: impl Read) -> Result<(), Error> {
        self.set_lines(Some(name.into()), file)
    }

    fn set_lines(&mut self, file: Option<Arc<str>>, text: impl Read) -> Result<(), Error> {
        let name = file.as_ref().map_or_else(|| "the properties file".to_owned(), |name| printable(name));
        read(&name, text)?.into_iter().try_for_each(|(key, Written { line, value })| {
            let origin = Origin::Line { file: file.clone(), line };
            self.set_from(&key, &value, origin.clone()).map_err(|error| error.and(&format!("see {origin}")))
        })
    }

    /// Returns the keys and values of a properties file, sorted by key. If a key is repeated, its last value counts.
    ///
    /// As in Java the file is ISO 8859-1, with other characters written as `\uXXXX`, and spaces at the end of a line
    /// belong to the value.
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): if the file cannot be read, is larger than 1 MiB,
    /// begins with a byte order mark, or has a wrong escape.
    pub fn read_properties(file: impl Read) -> Result<Vec<(String, String)>, Error> {
        Ok(read("the properties file", file)?.into_iter().map(|(key, written)| (key, written.value)).collect())
    }
}

/// The last value of a key.
struct Written {
    /// The number of the line where the key stands, from 1.
    line: usize,
    value: String,
}

/// Reads the keys and values of a properties file.
fn read(name: &str, file: impl Read) -> Result<BTreeMap<String, Written>, Error> {
    let wrong = |why: BoxError| refused(format!("cannot read {name}")).caused_by(why);
    let mut bytes = Vec::new();
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.into()))?;
    if bytes.len() > FILE_MAX {
        return Err(wrong(format!("it has more than {FILE_MAX} bytes").into()));
    }
    if let Some((_, encoding)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        let why = format!("it begins with a byte order mark of {encoding}: save it as ASCII, without the mark");
        return Err(wrong(why.into()));
    }
    let mut pairs = BTreeMap::new();
    for Line { number, text } in (Lines { rest: &bytes, number: 1 }) {
        let (key, value) = split(&text);
        let unescape = |part| unescape(part).map_err(|why| wrong(format!("line {number}: {why}").into()));
        pairs.insert(unescape(key)?, Written { line: number, value: unescape(value)? });
    }
    Ok(pairs)
}

/// A line with its continuations, without comments, line ends and the blanks before each part.
struct Line {
    /// The number of its first part in the file.
    number: usize,
    text: Vec<u8>,
}

/// The lines that have a key.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        let mut line = Line { number: self.number, text: Vec::new() };
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(self.rest.len());
            let (part, after) = self.rest.split_at(end);
            let part = trim_start(part);
            // Java looks at one byte behind a final backslash.
            let is_last = after.len() <= 1;
            self.rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
            self.number += 1;
            if line.text.is_empty() {
                line.number = self.number - 1;
                // A backslash does not continue a comment.
                if matches!(part, [] | [b'#' | b'!', ..]) {
                    continue;
                }
            }
            let is_continued = part.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
            line.text.extend(part.strip_suffix(b"\\").filter(|_| is_continued).unwrap_or(part));
            if !is_continued || is_last {
                return Some(line);
            }
        }
        Some(line).filter(|line| !line.text.is_empty())
    }
}

/// Splits a line at its separator: an equals sign, a colon or blanks.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut is_escaped = false;
    let is_end = |byte: &u8| {
        let is_end = !is_escaped && (b"=:".contains(byte) || BLANKS.contains(byte));
        is_escaped = !is_escaped && *byte == b'\\';
        is_end
    };
    let end = line.iter().position(is_end).unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    match trim_start(rest) {
        [b'=' | b':', value @ ..] => (key, trim_start(value)),
        value => (key, value),
    }
}

const BLANKS: &[u8] = b" \t\x0c";

fn trim_start(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| !BLANKS.contains(byte)).unwrap_or(text.len());
    text.split_at(end).1
}

/// Replaces escapes. Two of them can be the halves of a character in UTF-16.
fn unescape(mut text: &[u8]) -> Result<String, &'static str> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    while let [byte, rest @ ..] = text {
        text = rest;
        let unit = match (byte, rest) {
            (b'\\', [b'u', rest @ ..]) => {
                let unit =
                    rest.first_chunk().and_then(from_hex).ok_or("\\u needs four hexadecimal digits, as in \\u00e9")?;
                text = rest.split_at(4).1;
                unit
            }
            (b'\\', [letter, rest @ ..]) => {
                text = rest;
                match letter {
                    b't' => 0x09,
                    b'n' => 0x0a,
                    b'f' => 0x0c,
                    b'r' => 0x0d,
                    other => u16::from(*other),
                }
            }
            (byte, _) => u16::from(*byte),
        };
        units.push(unit);
    }
    String::from_utf16(&units)
        .map_err(|_| "\\ud800 to \\udfff are characters only in pairs, as in \\ud83d\\ude00 for 😀")
}

fn from_hex(digits: &[u8; 4]) -> Option<u16> {
    let digits = std::str::from_utf8(digits).ok()?;
    // Rust's parser accepts a leading plus sign.
    u16::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Files and their pairs as Java reads them; ORIGIN.md in the same folder names the program.
    const GOLDEN: &str = include_str!("../../../../testdata/properties.jsonl");

    #[test]
    fn files_are_read_as_java_reads_them() {
        let mut refused = 0;
        for line in GOLDEN.lines() {
            let [file, theirs]: [Value; 2] = serde_json::from_str(line).unwrap();
            let file: Vec<u8> = file.as_str().unwrap().chars().map(|letter| u8::try_from(letter).unwrap()).collect();
            let ours = Config::read_properties(&file[..]);
            refused += usize::from(ours.is_err());
            assert_eq!(ours.map_or(Value::Null, |pairs| serde_json::to_value(pairs).unwrap()), theirs, "{line}");
        }
        assert_eq!((GOLDEN.lines().count(), refused), (522, 4));
    }

    #[test]
    fn error_names_the_line() {
        const HALF: &str = "\\ud800 to \\udfff are characters only in pairs";
        const DIGITS: &str = "\\u needs four hexadecimal digits";
        for (file, line, expected) in [
            ("a=\\u", 1, DIGITS),
            ("\n\r\n# \\u\r  a=b\\\n c\\u12g4", 4, DIGITS),
            ("\\\n# a\n\n\\u 123", 4, DIGITS),
            ("a=b\nb=\\ud83d", 2, HALF),
            ("a=\\ude00\\ud83d", 1, HALF),
            ("a=\\\nb\\\r\nc\r\nlinger.ms=soon", 4, "see line 4 of the properties file"),
            ("acks=0\nacks=all\\\n!\n", 2, "see line 2 of the properties file"),
        ] {
            let mut config = Config::default();
            config.strict(false);
            let text = format!("{:#}", config.set_properties(file.as_bytes()).unwrap_err());
            assert!(text.contains(expected) && text.contains(&format!("line {line}")), "{file:?}: {text}");
            let mut config = Config::default();
            config.strict(false);
            let text = format!("{:#}", config.set_properties_of("a.properties", file.as_bytes()).unwrap_err());
            assert!(text.contains("a.properties"), "{file:?}: {text}");
        }
    }
}
