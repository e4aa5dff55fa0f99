//! How a record is printed: kcat's format strings (`-f`), with its tokens and its ways with null.

use std::io::{self, Write};
use std::str::FromStr;

use kurier_protocol::record_batch::Record;

use crate::escapes::escaped;

/// A format string, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Token(Token),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Value,
    ValueLength,
    ValueLengthBinary,
    Key,
    KeyLength,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

/// What stands after the percent sign.
const TOKENS: [(char, Token); 10] = [
    ('s', Token::Value),
    ('S', Token::ValueLength),
    ('R', Token::ValueLengthBinary),
    ('k', Token::Key),
    ('K', Token::KeyLength),
    ('t', Token::Topic),
    ('p', Token::Partition),
    ('o', Token::Offset),
    ('T', Token::Timestamp),
    ('h', Token::Headers),
];

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut bytes = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '\\' => bytes.push(escaped(&mut rest)?),
                '%' if rest.next_if_eq(&'%').is_some() => bytes.push(b'%'),
                '%' => {
                    let token = token(rest.next())?;
                    pieces.extend((!bytes.is_empty()).then(|| Piece::Bytes(std::mem::take(&mut bytes))));
                    pieces.push(Piece::Token(token));
                }
                letter => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        pieces.extend((!bytes.is_empty()).then_some(Piece::Bytes(bytes)));
        Ok(Self(pieces))
    }
}

fn token(letter: Option<char>) -> Result<Token, String> {
    let Some(letter) = letter else { return Err("it ends in a percent sign: write %% for one".to_owned()) };
    TOKENS.iter().find(|(name, _)| *name == letter).map(|(_, token)| *token).ok_or_else(|| {
        let names: Vec<_> = TOKENS.iter().map(|(name, _)| format!("%{name}")).collect();
        format!("%{letter} is not known: there are {} and %%", names.join(", "))
    })
}

impl Format {
    /// Prints a record.
    pub(crate) fn write(
        &self,
        topic: &str,
        partition: i32,
        record: &Record<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => out.write_all(bytes)?,
                Piece::Token(Token::Value) => out.write_all(record.value.unwrap_or_default())?,
                Piece::Token(Token::ValueLength) => write!(out, "{}", length(record.value))?,
                Piece::Token(Token::ValueLengthBinary) => out.write_all(&length(record.value).to_be_bytes())?,
                Piece::Token(Token::Key) => out.write_all(record.key.unwrap_or_default())?,
                Piece::Token(Token::KeyLength) => write!(out, "{}", length(record.key))?,
                Piece::Token(Token::Topic) => out.write_all(topic.as_bytes())?,
                Piece::Token(Token::Partition) => write!(out, "{partition}")?,
                Piece::Token(Token::Offset) => write!(out, "{}", record.offset)?,
                Piece::Token(Token::Timestamp) => write!(out, "{}", record.timestamp)?,
                Piece::Token(Token::Headers) => write_headers(record, out)?,
            }
        }
        Ok(())
    }
}

/// -1 is null. The wire has no longer ones.
fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

fn write_headers(record: &Record<'_>, out: &mut impl Write) -> io::Result<()> {
    for (index, header) in record.headers.clone().enumerate() {
        out.write_all(if index > 0 { b"," } else { b"" })?;
        out.write_all(header.key)?;
        out.write_all(b"=")?;
        out.write_all(header.value.unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kurier_protocol::record_batch::{Header, NewRecord, RecordBatch, RecordBatchBuilder, Stamp};

    use super::*;

    /// What the format makes of the record, the first in partition 3 of "orders".
    fn printed(format: &str, record: &NewRecord<'_>) -> Vec<u8> {
        let mut builder = RecordBatchBuilder::new();
        builder.append(record).unwrap();
        let bytes = builder.seal().unwrap().stamp(&Stamp::NONE).unwrap().to_bytes();
        let (batch, _) = RecordBatch::parse(&bytes).unwrap();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        let mut out = Vec::new();
        format.parse::<Format>().unwrap().write("orders", 3, &record, &mut out).unwrap();
        out
    }

    #[test]
    fn tokens_print_what_kcat_prints() {
        let headers = [
            Header { key: b"trace", value: Some(b"ab12") },
            Header { key: b"empty", value: Some(b"") },
            Header { key: b"trace", value: None },
        ];
        let full = NewRecord {
            timestamp: 1_700_000_000_007,
            key: Some("키".as_bytes()),
            value: Some(b"v\xff"),
            headers: &headers,
        };
        let empty = NewRecord { key: Some(b""), value: Some(b""), ..Default::default() };
        let null = NewRecord { timestamp: -1, ..Default::default() };
        let cases: [(&str, &NewRecord<'_>, &[u8]); 13] = [
            ("", &full, b""),
            (r"%s\n", &full, b"v\xff\n"),
            (r"%t-%p@%o %T\n", &full, b"orders-3@0 1700000000007\n"),
            (r"%k\t%s", &full, b"\xed\x82\xa4\tv\xff"),
            ("%K/%S", &full, b"3/2"),
            ("%R%s", &full, b"\0\0\0\x02v\xff"),
            ("%h", &full, b"trace=ab12,empty=,trace=NULL"),
            ("100%% %%s → ", &full, "100% %s → ".as_bytes()),
            ("[%k][%s][%K][%S][%h]", &empty, b"[][][0][0][]"),
            ("[%k][%s][%K][%S][%T]", &null, b"[][][-1][-1][-1]"),
            ("%R", &null, b"\xff\xff\xff\xff"),
            (r"\x00\\%o\r", &null, b"\0\\0\r"),
            ("%s%s", &full, b"v\xffv\xff"),
        ];
        for (format, record, expected) in cases {
            assert_eq!(printed(format, record), expected, "{format}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for (text, says) in [("%q", "%q is not known: there are %s, %S"), ("a%", "write %%"), (r"%s\z", r"\z is not")] {
            let error = text.parse::<Format>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
