//! kcat's format strings (`kcat -f`): text with a placeholder for each part of a record.
//!
//! Output equals kcat's, byte for byte, except where kcat loses data: kcat ends a header's value and a literal at a
//! NUL, takes every hexadecimal digit after `\x` (here: two at most), and prints `\xff`, whose first digit is a letter,
//! as `ff`.
//!
//! The same template splits the input. A key or value ends after the bytes that a preceding `%K`, `%S` or `%R` counts,
//! or else where the literal after it first appears. In a template without lengths, no part may contain the template's
//! last literal: `a\nb` as a key in `%k\t%s\n` is an error, and the next record begins after the `\n`. In a template
//! with lengths, parts may contain any bytes, but a bad record ends the input, because the next record's beginning is
//! unknown. The template's last literal may be missing at the end of the input.
//!
//! `%h` is `name=value,name=value`, so a name must not contain `=`, a value no `,`, and the value `NULL` is null. `%t` and
//! `%o` are checked and ignored; a `%p` or `%T` of -1 means none.

use std::borrow::Cow;
use std::io::{self, Write};
use std::str::FromStr;

use memchr::memmem;

use super::entry::{Entry, Header, partition, timestamp};
use super::extent::{Extent, Flaw, More, Resume, shown};
use crate::escapes::escaped;

/// A parsed format string. Two literals are never adjacent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
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

/// The placeholders, by the letter after the percent sign.
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

impl Token {
    /// Returns the placeholder, such as `%s`.
    fn name(self) -> String {
        let letter = TOKENS.iter().find(|(_, token)| *token == self).map_or('%', |(letter, _)| *letter);
        format!("%{letter}")
    }

    /// Returns whether the placeholder is a decimal number.
    fn is_number(self) -> bool {
        matches!(self, Self::ValueLength | Self::KeyLength | Self::Partition | Self::Offset | Self::Timestamp)
    }
}

impl FromStr for Template {
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
                    pieces.extend((!bytes.is_empty()).then(|| Piece::Literal(std::mem::take(&mut bytes))));
                    pieces.push(Piece::Token(token));
                }
                letter => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        pieces.extend((!bytes.is_empty()).then_some(Piece::Literal(bytes)));
        Ok(Self(pieces))
    }
}

fn token(letter: Option<char>) -> Result<Token, String> {
    let Some(letter) = letter else { return Err("it ends in a percent sign: write %% for one".to_owned()) };
    TOKENS.iter().find(|(name, _)| *name == letter).map(|(_, token)| *token).ok_or_else(|| {
        let names: Vec<_> = TOKENS.iter().map(|(name, _)| format!("%{name}")).collect();
        format!("%{letter} is unknown: use {} or %%", names.join(", "))
    })
}

impl Template {
    pub(crate) fn write(&self, entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
        let value_length = length(entry.value.as_deref());
        for piece in &self.0 {
            match piece {
                Piece::Literal(bytes) => out.write_all(bytes)?,
                Piece::Token(Token::Value) => out.write_all(entry.value.as_deref().unwrap_or_default())?,
                Piece::Token(Token::ValueLength) => write!(out, "{value_length}")?,
                Piece::Token(Token::ValueLengthBinary) => out.write_all(&value_length.to_be_bytes())?,
                Piece::Token(Token::Key) => out.write_all(entry.key.as_deref().unwrap_or_default())?,
                Piece::Token(Token::KeyLength) => write!(out, "{}", length(entry.key.as_deref()))?,
                Piece::Token(Token::Topic) => out.write_all(entry.topic.unwrap_or_default().as_bytes())?,
                Piece::Token(Token::Partition) => write!(out, "{}", entry.partition.unwrap_or(-1))?,
                Piece::Token(Token::Offset) => write!(out, "{}", entry.offset.unwrap_or(-1))?,
                Piece::Token(Token::Timestamp) => write!(out, "{}", entry.timestamp.unwrap_or(-1))?,
                Piece::Token(Token::Headers) => write_headers(&entry.headers, out)?,
            }
        }
        Ok(())
    }
}

/// Returns the length; -1 is null. Kafka's lengths have 32 bits.
fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX))
}

fn write_headers(headers: &[Header<'_>], out: &mut impl Write) -> io::Result<()> {
    for (index, header) in headers.iter().enumerate() {
        out.write_all(if index > 0 { b"," } else { b"" })?;
        out.write_all(&header.name)?;
        out.write_all(b"=")?;
        out.write_all(header.value.as_deref().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

/// Reader for the output of a template.
#[derive(Clone, Debug)]
pub struct TemplateParser {
    pieces: Vec<Piece>,
    empty_is_null: bool,
    /// Whether a literal that appears nowhere else ends each record, and no part has a length before it.
    is_delimited: bool,
}

impl TemplateParser {
    pub(crate) fn new(Template(pieces): Template, empty_is_null: bool) -> Result<Self, String> {
        let token_at = |index: usize| match pieces.get(index) {
            Some(Piece::Token(token)) => Some(*token),
            _ => None,
        };
        let place = |wanted: &[Token]| {
            pieces.iter().position(|piece| matches!(piece, Piece::Token(token) if wanted.contains(token)))
        };
        if place(&[Token::Value]).is_none() {
            return Err("the template has no value: add %s".to_owned());
        }
        if place(&[Token::ValueLength]).is_some() && place(&[Token::ValueLengthBinary]).is_some() {
            return Err("%S and %R both give the value's length: leave out one".to_owned());
        }
        let is_counted = |index: usize, lengths: &[Token]| place(lengths).is_some_and(|place| place < index);
        let mut has_counted = false;
        for index in 0..pieces.len() {
            let Some(token) = token_at(index) else { continue };
            let name = token.name();
            if place(&[token]) != Some(index) {
                return Err(format!("{name} appears twice: remove one"));
            }
            // After the last number comes the next record.
            let (next, wrapped) = (pieces.get(index + 1), pieces.get(index + 1).or_else(|| pieces.first()));
            let first = match wrapped {
                Some(Piece::Literal(literal)) => literal.first().copied(),
                _ => None,
            };
            let counted = match token {
                Token::Value => is_counted(index, &[Token::ValueLength, Token::ValueLengthBinary]),
                Token::Key => is_counted(index, &[Token::KeyLength]),
                _ => false,
            };
            has_counted |= counted;
            let reason = match (token, next) {
                (Token::ValueLengthBinary, _) => None,
                (Token::Value | Token::Key, _) if counted => None,
                (Token::Value, Some(Piece::Literal(_))) => None,
                (Token::Key | Token::Headers, Some(Piece::Literal(_))) => None,
                (Token::Value, _) => Some("nothing says where %s ends: put %S or %R before it, or text after it"),
                (Token::Key, _) => Some("nothing says where %k ends: put %K before it, or text after it"),
                (Token::Headers, _) => Some("nothing says where %h ends: put text after it"),
                (Token::Topic, _) if first.is_none_or(is_of_topic) => Some(
                    "nothing says where %t ends: put text after it that does not begin with a letter, digit, '.', '_' or '-'",
                ),
                (Token::Topic, _) => None,
                _ if first.is_none_or(|first| first.is_ascii_digit()) => {
                    return Err(format!(
                        "nothing says where the number {name} ends: put text after it that does not begin with a digit"
                    ));
                }
                _ => None,
            };
            if let Some(reason) = reason {
                return Err(reason.to_owned());
            }
        }
        let is_delimited = match pieces.split_last() {
            Some((Piece::Literal(last), others)) => {
                let contains = |piece: &Piece| match piece {
                    Piece::Literal(literal) => memmem::find(literal, last).is_some(),
                    Piece::Token(_) => false,
                };
                !has_counted && !others.iter().any(contains)
            }
            _ => false,
        };
        Ok(Self { pieces, empty_is_null, is_delimited })
    }

    /// Returns the literal that ends each record, if no part of a record may contain it.
    pub(crate) fn terminator(&self) -> Option<&[u8]> {
        match self.pieces.last() {
            Some(Piece::Literal(literal)) if self.is_delimited => Some(literal),
            _ => None,
        }
    }

    pub(crate) fn literal_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| if let Piece::Literal(literal) = piece { literal.len() } else { 0 }).sum()
    }

    pub(crate) fn extent(&self, input: &[u8], is_end: bool, limit: usize) -> Extent {
        let mut walk = Walk::new(self, input, is_end, limit);
        match walk.run() {
            Ok(()) => Extent::Record(walk.at),
            Err(Stop::More(more)) => Extent::More(more),
            Err(Stop::Skip(flaw, bytes)) => Extent::Bad(flaw, Resume::After(bytes)),
            Err(Stop::Flaw(flaw)) => {
                let resume = if self.is_delimited { Resume::BehindTerminator(flaw.at) } else { Resume::Never };
                Extent::Bad(flaw, resume)
            }
        }
    }

    pub(crate) fn decode<'a>(&'a self, record: &'a [u8]) -> Result<Entry<'a>, Flaw> {
        let mut walk = Walk::new(self, record, true, usize::MAX);
        match walk.run() {
            Ok(()) => walk.finish(),
            Err(Stop::Flaw(flaw) | Stop::Skip(flaw, _)) => Err(flaw),
            Err(Stop::More(_)) => Err(Flaw::new(record.len(), "the input ends within a record")),
        }
    }
}

/// One pass over the template's pieces and the input.
struct Walk<'a> {
    parser: &'a TemplateParser,
    input: &'a [u8],
    is_end: bool,
    limit: usize,
    at: usize,
    key: Part<'a>,
    value: Part<'a>,
    headers: Option<(usize, &'a [u8])>,
    partition: Option<(usize, i64)>,
    timestamp: Option<(usize, i64)>,
}

/// A key or value, and its length if the template has it.
#[derive(Default)]
struct Part<'a> {
    bytes: &'a [u8],
    length: Option<i64>,
}

/// Reason for an unfinished walk.
enum Stop {
    More(More),
    Flaw(Flaw),
    /// A bad record that takes this many bytes.
    Skip(Flaw, u64),
}

impl<'a> Walk<'a> {
    fn new(parser: &'a TemplateParser, input: &'a [u8], is_end: bool, limit: usize) -> Self {
        Self {
            parser,
            input,
            is_end,
            limit,
            at: 0,
            key: Part::default(),
            value: Part::default(),
            headers: None,
            partition: None,
            timestamp: None,
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// Returns the error for unexpected input at this position.
    fn unexpected(&self, what: &str) -> Stop {
        Stop::Flaw(Flaw::new(self.at, format!("expected {what}, found {}", shown(self.rest()))))
    }

    fn run(&mut self) -> Result<(), Stop> {
        let pieces = &self.parser.pieces;
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == pieces.len();
            match piece {
                Piece::Literal(literal) => self.literal(literal, is_last)?,
                Piece::Token(Token::Topic) => self.topic()?,
                Piece::Token(Token::ValueLengthBinary) => {
                    self.value.length = Some(match self.rest().first_chunk() {
                        Some(bytes) => i32::from_be_bytes(*bytes).into(),
                        None if self.is_end => return Err(self.unexpected("the 4 bytes of %R")),
                        None => return Err(Stop::More(More::UpTo(self.at + 4))),
                    });
                    self.at += 4;
                }
                Piece::Token(token) if token.is_number() => self.number(*token)?,
                Piece::Token(Token::Key) => self.key.bytes = self.bytes(Token::Key, self.key.length, index)?,
                Piece::Token(Token::Headers) => {
                    self.headers = Some((self.at, self.bytes(Token::Headers, None, index)?))
                }
                Piece::Token(_) => self.value.bytes = self.bytes(Token::Value, self.value.length, index)?,
            }
        }
        Ok(())
    }

    fn literal(&mut self, literal: &[u8], is_last: bool) -> Result<(), Stop> {
        let rest = self.rest();
        if rest.starts_with(literal) {
            self.at += literal.len();
            return Ok(());
        }
        if !self.is_end && literal.starts_with(rest) {
            return Err(Stop::More(More::UpTo(self.at + literal.len())));
        }
        match is_last && self.is_end && rest.is_empty() && self.at > 0 {
            true => Ok(()),
            false => Err(self.unexpected(&format!("\"{}\"", literal.escape_ascii()))),
        }
    }

    fn number(&mut self, token: Token) -> Result<(), Stop> {
        const DIGITS_MAX: usize = 20;
        let rest = self.rest();
        let is_of_number = |(index, byte): (usize, &u8)| byte.is_ascii_digit() || (index == 0 && *byte == b'-');
        let len = rest.iter().enumerate().take(DIGITS_MAX).take_while(|byte| is_of_number(*byte)).count();
        if len == rest.len() && !self.is_end {
            return Err(Stop::More(More::UpTo(self.input.len() + 1)));
        }
        let number = rest.get(..len).and_then(|digits| str::from_utf8(digits).ok()?.parse::<i64>().ok());
        let number = number.ok_or_else(|| self.unexpected(&format!("a number for {}", token.name())))?;
        match token {
            Token::ValueLength => self.value.length = Some(number),
            Token::KeyLength => self.key.length = Some(number),
            Token::Partition => self.partition = Some((self.at, number)),
            Token::Timestamp => self.timestamp = Some((self.at, number)),
            _ => {}
        }
        self.at += len;
        Ok(())
    }

    fn topic(&mut self) -> Result<(), Stop> {
        const TOPIC_BYTES_MAX: usize = 249;
        let rest = self.rest();
        let len = rest.iter().take(TOPIC_BYTES_MAX).take_while(|byte| is_of_topic(**byte)).count();
        if len == rest.len() && !self.is_end {
            return Err(Stop::More(More::UpTo(self.input.len() + 1)));
        }
        if len == 0 {
            return Err(self.unexpected("a topic name for %t"));
        }
        self.at += len;
        Ok(())
    }

    /// Reads a part that has a known length or ends at the literal after it.
    fn bytes(&mut self, token: Token, length: Option<i64>, index: usize) -> Result<&'a [u8], Stop> {
        let bytes = match (length, self.parser.pieces.get(index + 1)) {
            (Some(length), _) => self.counted(token, length, index)?,
            (None, Some(Piece::Literal(literal))) => {
                let is_last = index + 2 == self.parser.pieces.len();
                self.delimited(token, literal, is_last)?
            }
            (None, _) => return Err(self.unexpected("text after a part without length")),
        };
        self.at += bytes.len();
        Ok(bytes)
    }

    fn counted(&self, token: Token, length: i64, index: usize) -> Result<&'a [u8], Stop> {
        let name = token.name();
        let Ok(count) = u64::try_from(length.max(0)) else { return Ok(&[]) };
        if length < -1 {
            let text = format!("{length} cannot be the length of {name}: it takes a number of bytes, or -1 for null");
            return Err(Stop::Flaw(Flaw::new(self.at, text)));
        }
        let Some(len) = usize::try_from(count).ok().filter(|len| *len <= self.limit) else {
            let text = format!("{name} has {count} bytes, the limit is {}: raise max.request.size", self.limit);
            let flaw = Flaw::new(self.at, text);
            let to_end = self.at as u64;
            return Err(match self.parser.pieces.get(index + 1..).unwrap_or_default() {
                [] => Stop::Skip(flaw, to_end.saturating_add(count)),
                [Piece::Literal(literal)] => {
                    Stop::Skip(flaw, to_end.saturating_add(count).saturating_add(literal.len() as u64))
                }
                _ => Stop::Flaw(flaw),
            });
        };
        match self.rest().get(..len) {
            Some(bytes) => Ok(bytes),
            None if self.is_end => {
                Err(self.unexpected(&format!("{len} bytes of {name}, of which {} are present", self.rest().len())))
            }
            None => Err(Stop::More(More::UpTo(self.at + len))),
        }
    }

    fn delimited(&self, token: Token, literal: &'a [u8], is_last: bool) -> Result<&'a [u8], Stop> {
        let rest = self.rest();
        let expected = |found: &[u8]| {
            let text =
                format!("expected {} and then \"{}\", found {}", token.name(), literal.escape_ascii(), shown(found));
            Stop::Flaw(Flaw::new(self.at, text))
        };
        let found = memmem::find(rest, literal);
        // No part of the record may contain the terminator.
        let terminator = self.parser.terminator();
        let before = rest.get(..found.unwrap_or(rest.len())).unwrap_or_default();
        if let Some(end) = terminator.and_then(|terminator| Some(memmem::find(before, terminator)? + terminator.len()))
        {
            return Err(expected(rest.get(..end).unwrap_or_default()));
        }
        if found.is_some() {
            return Ok(before);
        }
        if !self.is_end {
            let last = terminator.unwrap_or(literal).last().copied().unwrap_or_default();
            return Err(Stop::More(More::Until(last)));
        }
        let is_cut = (1..literal.len()).any(|len| literal.get(..len).is_some_and(|start| rest.ends_with(start)));
        if is_last && !is_cut { Ok(rest) } else { Err(expected(rest)) }
    }

    /// Builds the record after a complete pass.
    fn finish(self) -> Result<Entry<'a>, Flaw> {
        let Self { at, headers, partition: partition_at, timestamp: timestamp_at, .. } = self;
        let part = |part: &Part<'a>, name: &str| -> Result<Option<Cow<'a, [u8]>>, Flaw> {
            match part.length {
                Some(-1) if part.bytes.is_empty() => Ok(None),
                None if part.bytes.is_empty() && self.parser.empty_is_null => Ok(None),
                Some(length) if usize::try_from(length) != Ok(part.bytes.len()) => Err(Flaw::new(
                    at,
                    format!("expected {length} bytes of {name} as its length says, found {}", part.bytes.len()),
                )),
                _ => Ok(Some(Cow::Borrowed(part.bytes))),
            }
        };
        // Without %k, records have no key.
        let has_key = self.parser.pieces.contains(&Piece::Token(Token::Key));
        Ok(Entry {
            partition: partition_at
                .map_or(Ok(None), |(at, number)| partition(number).map_err(|text| Flaw::new(at, text)))?,
            timestamp: timestamp_at
                .map_or(Ok(None), |(at, number)| timestamp(number).map_err(|text| Flaw::new(at, text)))?,
            key: if has_key { part(&self.key, "%k")? } else { None },
            value: part(&self.value, "%s")?,
            headers: headers.map_or(Ok(Vec::new()), |(at, headers)| parse_headers(at, headers))?,
            ..Entry::default()
        })
    }
}

/// Reads `name=value,name=value`.
fn parse_headers(at: usize, headers: &[u8]) -> Result<Vec<Header<'_>>, Flaw> {
    if headers.is_empty() {
        return Ok(Vec::new());
    }
    headers
        .split(|byte| *byte == b',')
        .map(|header| {
            let mut halves = header.splitn(2, |byte| *byte == b'=');
            match (halves.next(), halves.next()) {
                (Some(name), Some(value)) => {
                    Ok(Header { name: Cow::Borrowed(name), value: (value != b"NULL").then_some(Cow::Borrowed(value)) })
                }
                _ => Err(Flaw::new(at, format!("expected name=value in %h, found {}", shown(header)))),
            }
        })
        .collect()
}

/// Returns whether a topic's name may contain this byte.
fn is_of_topic(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints the record as the first one in partition 3 of "orders".
    fn printed(format: &str, entry: &Entry<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let entry = Entry { topic: Some("orders"), partition: Some(3), offset: Some(0), ..entry.clone() };
        format.parse::<Template>().unwrap().write(&entry, &mut out).unwrap();
        out
    }

    fn header<'a>(name: &'a str, value: Option<&'a str>) -> Header<'a> {
        Header { name: name.as_bytes().into(), value: value.map(|value| value.as_bytes().into()) }
    }

    #[test]
    fn tokens_print_what_kcat_prints() {
        let full = Entry {
            timestamp: Some(1_700_000_000_007),
            key: Some("키".as_bytes().into()),
            value: Some(b"v\xff"[..].into()),
            headers: vec![header("trace", Some("ab12")), header("empty", Some("")), header("trace", None)],
            ..Entry::default()
        };
        let empty = Entry { key: Some(b""[..].into()), value: Some(b""[..].into()), ..Entry::default() };
        let null = Entry::default();
        let cases: [(&str, &Entry<'_>, &[u8]); 13] = [
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
    fn invalid_template_is_refused() {
        for (text, says) in [("%q", "%q is unknown: use %s, %S"), ("a%", "write %%"), (r"%s\z", r"\z is unknown")] {
            let error = text.parse::<Template>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn template_that_cannot_be_read_is_refused_with_the_reason() {
        let cases = [
            ("", "no value: add %s"),
            (r"%k\n", "no value: add %s"),
            ("%s", "nothing says where %s ends"),
            (r"\n%s", "nothing says where %s ends"),
            ("%k%s\n", "nothing says where %k ends"),
            ("%h%S,%s", "nothing says where %h ends"),
            ("%S%s", "where the number %S ends"),
            ("%S1%s", "where the number %S ends"),
            ("%p%R%s", "where the number %p ends"),
            (r"%s\t%p", "where the number %p ends"),
            ("%t%p %s\n", "where %t ends"),
            ("%t-%p %s\n", "where %t ends"),
            ("%s %s\n", "%s appears twice"),
            ("%S %R%s", "%S and %R"),
        ];
        for (text, says) in cases {
            let error = TemplateParser::new(text.parse().unwrap(), false).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        for text in ["%s\n", "%R%s", "%S %s", "[%s]%p", "%K-%S %k%s", "%t[%p]@%o %T %h|%k\t%s\n", "%s,%S\n"] {
            TemplateParser::new(text.parse().unwrap(), false).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}
