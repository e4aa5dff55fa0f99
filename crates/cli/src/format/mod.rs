//! Record formats: `kurier consume --format` prints them and `kurier produce --format` reads them.
//!
//! One module per format, each with its writer and its reader over the same [`Entry`]:
//!
//! | `--format` | module | a record is |
//! |---|---|---|
//! | (none, `produce` only) | [`lines`] | a line: a value, or a key, a delimiter and a value |
//! | `json` | [`json`] | a line with one JSON object |
//! | `frames` | [`frames`] | a length, then that many bytes |
//! | any other text | [`template`] | that text, with kcat's placeholders filled in |
//!
//! Readers work on bytes in memory: [`Parser::extent`] finds where a record ends, [`Parser::decode`] reads it.
//! [`Stream`] feeds them from a file or pipe.

mod entry;
mod extent;
pub mod frames;
pub mod json;
pub mod lines;
mod parser;
pub mod stream;
pub mod template;

use std::io::{self, Write};
use std::str::FromStr;

pub use entry::{Entry, Header};
pub use extent::{Extent, Flaw, More, Resume};
pub use parser::Parser;
pub use stream::{Next, Stream};
use template::{Template, TemplateParser};

/// The value of `--format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// kcat's placeholders.
    Template(Template),
    /// One JSON object per line.
    Json,
    /// Binary frames, each preceded by its length.
    Frames,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "frames" => Ok(Self::Frames),
            // Refuse `JSON` and the like: as a template it would print its own name for each record.
            name if ["json", "frames"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
                Err(format!("write {} for this format, in small letters", name.to_ascii_lowercase()))
            }
            template => template.parse().map(Self::Template),
        }
    }
}

impl Format {
    /// Writes a record.
    ///
    /// # Errors
    /// When `out` fails, or a frame would exceed 2 GiB.
    pub fn write(&self, entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Template(template) => template.write(entry, out),
            Self::Json => json::write(entry, out),
            Self::Frames => frames::write(entry, out),
        }
    }

    /// Returns the reader of this format. With `empty_is_null`, an empty key or value without a length is read as null.
    ///
    /// # Errors
    /// When records of this format cannot be told apart, or the format has its own null.
    pub fn parser(&self, empty_is_null: bool) -> Result<Parser, String> {
        match self {
            Self::Template(template) => TemplateParser::new(template.clone(), empty_is_null).map(Parser::Template),
            Self::Json | Self::Frames if empty_is_null => {
                Err("this format tells null from empty itself: leave out --null".to_owned())
            }
            Self::Json => Ok(Parser::Json),
            Self::Frames => Ok(Parser::Frames),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::lines::Lines;
    use super::*;

    /// Returns at most `.1` bytes per read.
    struct Chunks(Vec<u8>, usize);

    impl Read for Chunks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(buffer.len()).min(self.0.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }

    fn parser(format: &str) -> Parser {
        format.parse::<Format>().unwrap().parser(false).unwrap()
    }

    /// Prints a record on one line: key|value, then partition, timestamp and headers if present.
    fn line(entry: &Entry<'_>) -> String {
        let bytes =
            |bytes: Option<&[u8]>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.escape_ascii().to_string());
        let mut line = format!("{}|{}", bytes(entry.key.as_deref()), bytes(entry.value.as_deref()));
        line.extend(entry.partition.map(|partition| format!(" p{partition}")));
        line.extend(entry.timestamp.map(|timestamp| format!(" t{timestamp}")));
        for header in &entry.headers {
            line.push_str(&format!(" {}={}", header.name.escape_ascii(), bytes(header.value.as_deref())));
        }
        line
    }

    /// Returns each record as a line, and each bad record as "!", its offset in the input and the reason.
    fn read(parser: &Parser, input: &[u8], chunk: usize, limit: usize) -> Vec<String> {
        let mut stream = Stream::new(Chunks(input.to_vec(), chunk));
        let mut lines = Vec::new();
        loop {
            let flaw = match stream.advance(parser, limit).unwrap() {
                Next::End => return lines,
                Next::Bad { flaw, .. } => flaw,
                Next::Record => match parser.decode(stream.record()) {
                    Ok(entry) => {
                        lines.push(line(&entry));
                        continue;
                    }
                    Err(flaw) => flaw,
                },
            };
            lines.push(format!("!{} {}", stream.offset() + flaw.at as u64, flaw.text));
        }
    }

    /// Asserts that the input yields these records for every chunk size. For a bad record, `expected` is a prefix.
    #[track_caller]
    fn reads(parser: &Parser, input: &[u8], limit: usize, expected: &[&str]) {
        for chunk in [input.len().max(1), 7, 1] {
            let found = read(parser, input, chunk, limit);
            let is_same = |(found, expected): (&String, &&str)| match expected.starts_with('!') {
                true => found.starts_with(expected),
                false => found == expected,
            };
            let are_same = found.len() == expected.len() && found.iter().zip(expected).all(is_same);
            assert!(are_same, "in pieces of {chunk}: {found:#?}\nnot {expected:#?}");
        }
    }

    #[test]
    fn templates_are_read() {
        let cases: [(&str, &[u8], &[&str]); 19] = [
            (r"%s\n", b"a\n\nb\n", &["-|a", "-|", "-|b"]),
            (r"%s\n", b"a", &["-|a"]),
            (r"%s\r\n", b"a\nb\r\nc\r", &[r"-|a\nb", r#"!5 expected %s and then "\r\n", found "c\r""#]),
            (r"%k\t%s\n", b"k\tv\tw\nk\t\n\t\n", &[r"k|v\tw", "k|", "|"]),
            (r"%k\t%s\n", b"none\nk\tv\n", &[r#"!0 expected %k and then "\t", found "none\n""#, "k|v"]),
            (r"%k\n%s\n", b"k\nv\nl\nw", &["k|v", "l|w"]),
            (r"%k\n%s\n", b"k\nv\nl", &["k|v", "!4 expected %k"]),
            ("%S %s", b"3 a\nb-1 0 ", &[r"-|a\nb", "-|-", "-|"]),
            ("%S %s", b"3 ab", &["!2 expected 3 bytes of %s, of which 2 are present, found \"ab\""]),
            ("%S %s", b"-2 abx", &["!3 -2 cannot be the length of %s"]),
            ("%R%s", b"\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0", &["-|a", "-|-", "-|"]),
            ("%R%s", b"\0\0\0", &["!0 expected the 4 bytes of %R"]),
            (r"%K,%S:%k%s\n", b"1,-1:k\n-1,2:\n\n\n0,0:", &["k|-", r"-|\n\n", "|"]),
            (r"%K,%S:%k%s\n", b"1,1:kvx\n1,1:kv\n", &[r#"!6 expected "\n", found "x"#]),
            (r"%s %S %k %K\n", b"v 1 k 1\n -1  0\nv 2 k 1\n", &["k|v", "|-", "!23 expected 2 bytes of %s"]),
            (
                r"%t[%p]@%o %T %h|%s\n",
                b"my-t.x[3]@77 1700000000007 a=1,b=,a=NULL,c==|v\nt[-1]@0 -1 |\n",
                &["-|v p3 t1700000000007 a=1 b= a=- c==", "-|"],
            ),
            (
                r"%p %s\n",
                b"x a\n5000000000 b\n-7 c\n1 d\n",
                &["!0 expected a number", "!4 5000000000", "!17 -7", "-|d p1"],
            ),
            (r"%h %s\n", b"a=1,b v\nc=d w\n", &["!0 expected name=value in %h, found \"b\"", "-|w c=d"]),
            (r"100%% %s\n", b"100% a\n99% b\n100% c\n", &["-|a", "!7 expected \"100% \"", "-|c"]),
        ];
        for (format, input, expected) in cases {
            println!("{format}");
            reads(&parser(format), input, 100, expected);
        }
        let null = r"%k\t%s\n".parse::<Format>().unwrap().parser(true).unwrap();
        reads(&null, b"\t\nk\t\n", 100, &["-|-", "k|-"]);
        assert!(Format::Json.parser(true).is_err() && Format::Frames.parser(true).is_err());
    }

    #[test]
    fn json_is_read() {
        let cases: [(&[u8], &str); 27] = [
            (br#"{"value":"v"}"#, "-|v"),
            (br#"{"value":null,"key":null}"#, "-|-"),
            (br#"{"value":"","key":""}"#, "|"),
            (
                br#" {"topic":"t","partition":3,"offset":9,"timestamp":7,"key":"\u00e9","value":"a\nb"} "#,
                r"\xc3\xa9|a\nb p3 t7",
            ),
            (br#"{"partition":-1,"timestamp":-1,"value":"v","headers":[]}"#, "-|v"),
            (br#"{"partition":null,"timestamp":null,"value":"v","headers":null}"#, "-|v"),
            (br#"{"key_base64":"/wA=","value_base64":"Cg=="}"#, r"\xff\x00|\n"),
            (
                br#"{"value":"v","headers":[["a","1"],["a",null],["",""],["b",{"base64":"/w=="}]]}"#,
                r"-|v a=1 a=- = b=\xff",
            ),
            (br#"{"key":"k"}"#, "!0 the value is missing"),
            (br#"{"value":"v","value_base64":null}"#, "!0 value and value_base64 are both given"),
            (br#"{"value":"v","value":"w"}"#, "!19 column 20: duplicate field `value`"),
            (br#"{"vaule":"v"}"#, "!7 column 8: unknown field `vaule`, expected one of `topic`"),
            (br#"{"value":5}"#, "!9 column 10: invalid type: integer `5`, expected a string"),
            (br#"{"value":"v","partition":-2}"#, "!0 -2 cannot be a partition"),
            (br#"{"value":"v","timestamp":-2}"#, "!0 -2 cannot be a timestamp"),
            (br#"{"value":"v","timestamp":1.5}"#, "!27 column 28: invalid type: floating point"),
            (br#"{"value_base64":"/w"}"#, "!0 expected base64 in value_base64"),
            (br#"{"value":"v","headers":[["a"]]}"#, "!28 column 29: invalid length 1"),
            (br#"{"value":"v"} x"#, "!14 column 15: trailing characters"),
            (b"{\"value\":\"\xff\"}", "!10 column 11: invalid unicode"),
            (b"", "!0 expected an object such as {\"key\":\"k\",\"value\":\"v\"}, found the end"),
            (b"null", "!0 expected an object"),
            (b"\xef\xbb\xbf{\"value\":\"v\"}", "!0 this begins with a byte order mark of UTF-8: remove the mark"),
            (b"\xff\xfe{\0", "!0 this begins with a byte order mark of UTF-16: convert the input to UTF-8"),
            (b"\xfe\xff\0{", "!0 this begins with a byte order mark of UTF-16: convert the input to UTF-8"),
            (b"[[[[", "!0 expected an object such as {\"key\":\"k\",\"value\":\"v\"}, found \"[[[[\""),
            (br#"["t",5,0,7,"k",null,"v"]"#, "!0 expected an object"),
        ];
        for (input, expected) in cases {
            println!("{}", input.escape_ascii());
            let lines = [input, b"\n{\"value\":\"next\"}\n"].concat();
            reads(&Parser::Json, &lines, 100, &[expected, "-|next"]);
        }
        let deep = [&br#"{"value":"v","headers":"#[..], &b"[".repeat(5000)].concat();
        reads(&Parser::Json, &deep, 10_000, &["!"]);
    }

    #[test]
    fn frames_are_read() {
        let frame = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
        let whole = b"\x01\0\0\0\x03\0\0\0\0\0\0\0\x07\0\0\0\x01k\xff\xff\xff\xff\0\0\0\x01\0\0\0\x01h\0\0\0\0";
        let next = frame(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0");
        let mut wrong_version = whole.to_vec();
        wrong_version[0] = 9;
        let mut null_name = whole.to_vec();
        null_name[26 + 3] = 0xff;
        let cases: [(Vec<u8>, &[&str]); 9] = [
            (frame(whole), &["k|- p3 t7 h=", "-|"]),
            (frame(&wrong_version), &["!4 expected version 1 of the frame layout, found \"\\t\"", "-|"]),
            (frame(&whole[..20]), &["!22 expected a value of", "-|"]),
            (frame(&[&whole[..], b"x"].concat()), &["!39 expected the frame's end, found 1 more", "-|"]),
            (
                frame(&[&whole[..22], b"\x7f\xff\xff\xff"].concat()),
                &["!26 expected a count of headers that fits 0 bytes", "-|"],
            ),
            (frame(b""), &["!4 expected a version", "-|"]),
            (
                frame(&vec![0; 4600]),
                &["!0 a frame of 4600 bytes is above the limit of 4496 for max.request.size=100: raise", "-|"],
            ),
            (b"\xff\xff\xff\xff".to_vec(), &["!0 expected a frame's length, found -1"]),
            (b"text".to_vec(), &["!0 a frame of 1952807028 bytes is above the limit"]),
        ];
        for (input, expected) in cases {
            reads(&Parser::Frames, &[input, next.clone()].concat(), 100, expected);
        }
        reads(&Parser::Frames, &next[..9], 100, &["!9 expected a frame of 25 bytes, found 5 bytes and the end"]);
        reads(&Parser::Frames, &next[..3], 100, &["!3 expected a frame's length of 4 bytes"]);
        println!("{:?}", read(&Parser::Frames, &frame(&null_name), 100, 100));
    }

    #[test]
    fn record_above_the_limit_is_skipped_if_its_end_is_known() {
        let long = b"x".repeat(9000);
        let with = |before: &[u8], behind: &[u8]| [before, &long, behind].concat();
        let too_long = "!0 the record is longer than";
        let lines = Parser::Lines(Lines { delimiter: None, empty_is_null: false });
        reads(&lines, &with(b"", b"\na\n"), 100, &["!0 the record is longer than 100 bytes: raise", "-|a"]);
        let limit = "!0 the record is longer than 4696 bytes, the limit for max.request.size=100: raise";
        reads(&Parser::Json, &with(b"", b"\n"), 100, &[limit]);
        reads(&parser(r"%s\n"), &with(b"", b"\na\n"), 100, &[too_long, "-|a"]);
        reads(
            &parser(r"%S %s\n"),
            &with(b"9000 ", b"\n1 a\n"),
            100,
            &["!5 %s has 9000 bytes, the limit is 100", "-|a"],
        );
        reads(&parser(r"%S %s%p\n"), &with(b"9000 ", b"5\n1 a5\n"), 100, &["!5 %s has 9000 bytes, the limit is 100"]);
        reads(&parser(r"%S %k;%s"), &with(b"1 ", b";a1 k;b"), 100, &["!0 the record is longer"]);
        let json = with(br#"{"value":""#, b"\"}\n{\"value\":\"a\"}\n");
        reads(&Parser::Json, &json, 100, &[too_long, "-|a"]);
    }

    #[test]
    fn name_of_a_format_in_capital_letters_is_no_template() {
        for (name, right) in [("JSON", "json"), ("Json", "json"), ("FRAMES", "frames"), ("Frames", "frames")] {
            let error = name.parse::<Format>().unwrap_err();
            assert_eq!(error, format!("write {right} for this format, in small letters"));
        }
        for template in [r"JSON\n", "JSON %s", " JSON"] {
            assert!(matches!(template.parse(), Ok(Format::Template(_))), "{template}");
        }
    }

    #[test]
    fn header_name_must_be_utf_8() {
        reads(
            &parser(r"%h %s\n"),
            b"\xff=1 a\nb=1 c\n",
            100,
            &[r#"!0 the header name "\xff" is not UTF-8"#, "-|c b=1"],
        );
    }

    #[test]
    fn json_is_printed_on_one_line() {
        let header = |name: &'static [u8], value: Option<&'static [u8]>| Header {
            name: name.into(),
            value: value.map(Into::into),
        };
        let entry = Entry {
            topic: Some("t"),
            offset: Some(5),
            partition: Some(0),
            timestamp: Some(7),
            key: Some(b"\xff"[..].into()),
            value: Some("é\n\"\0".as_bytes().into()),
            headers: vec![header(b"a", Some(b"1")), header(b"a", None), header(b"b", Some(b"\xff\xfe"))],
        };
        let mut out = Vec::new();
        json::write(&entry, &mut out).unwrap();
        json::write(&Entry::default(), &mut out).unwrap();
        let expected = concat!(
            r#"{"topic":"t","partition":0,"offset":5,"timestamp":7,"key_base64":"/w==","value":"é\n\"\u0000","#,
            r#""headers":[["a","1"],["a",null],["b",{"base64":"//4="}]]}"#,
            "\n",
            r#"{"partition":null,"timestamp":null,"key":null,"value":null,"headers":[]}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
