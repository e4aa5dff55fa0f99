//! A reader for one JSON object (RFC 8259): the claims of a token, or a broker's reason. The default dependencies have
//! no JSON library.

use std::collections::BTreeMap;
use std::str::Chars;

/// Maximum depth of nested values. Claims have two or three levels.
const DEPTH_MAX: usize = 32;

/// A member's value. Other types of values are parsed but not kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(f64),
    Other,
}

impl Value {
    /// Returns a string's characters.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a number.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// Writes a string in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\0'..='\x1f' => quoted += &format!("\\u{:04x}", u32::from(letter)),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Reads the members of an object. Returns `None` if the bytes are not exactly one object, or name a member twice.
pub(crate) fn object(bytes: &[u8]) -> Option<BTreeMap<String, Value>> {
    let members = Reader::read(str::from_utf8(bytes).ok()?)?;
    Some(members.into_iter().map(|(name, member)| (name, member.value)).collect())
}

/// Reads the members of an object, each with the text of its value. Returns `None` where [`object`] does.
pub(crate) fn texts(object: &str) -> Option<BTreeMap<String, &str>> {
    Some(Reader::read(object)?.into_iter().map(|(name, member)| (name, member.text)).collect())
}

/// Reads one string in quotes. Returns `None` for any other text.
pub(crate) fn string(text: &str) -> Option<String> {
    let mut reader = Reader { rest: text.chars() };
    let string = reader.string()?;
    reader.rest.next().is_none().then_some(string)
}

struct Member<'a> {
    value: Value,
    text: &'a str,
}

struct Reader<'a> {
    rest: Chars<'a>,
}

impl<'a> Reader<'a> {
    /// Reads a text that is one object.
    fn read(text: &'a str) -> Option<BTreeMap<String, Member<'a>>> {
        let mut reader = Self { rest: text.chars() };
        reader.skip_spaces();
        let members = reader.object(0)?;
        reader.skip_spaces();
        reader.rest.next().is_none().then_some(members)
    }

    fn skip_spaces(&mut self) {
        while self.next_if(|letter| matches!(letter, ' ' | '\t' | '\n' | '\r')).is_some() {}
    }

    /// Takes the next character if it is so.
    fn next_if(&mut self, is_so: impl FnOnce(char) -> bool) -> Option<char> {
        let mut ahead = self.rest.clone();
        let letter = ahead.next().filter(|letter| is_so(*letter))?;
        self.rest = ahead;
        Some(letter)
    }

    /// Takes the next character if it is this one.
    fn take(&mut self, letter: char) -> Option<()> {
        self.next_if(|next| next == letter).map(drop)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.rest.clone().next()? {
            '"' => self.string().map(Value::Text),
            '{' => self.object(depth + 1).map(|_| Value::Other),
            '[' => self.array(depth + 1),
            't' => self.word("true"),
            'f' => self.word("false"),
            'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<BTreeMap<String, Member<'a>>> {
        let mut members = BTreeMap::new();
        self.list('{', '}', depth, |reader| {
            let name = reader.string()?;
            reader.skip_spaces();
            reader.take(':')?;
            reader.skip_spaces();
            let text = reader.rest.as_str();
            let value = reader.value(depth)?;
            let text = text.get(..text.len().checked_sub(reader.rest.as_str().len())?)?;
            members.insert(name, Member { value, text }).is_none().then_some(())
        })?;
        Some(members)
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.list('[', ']', depth, |reader| reader.value(depth).map(drop))?;
        Some(Value::Other)
    }

    /// Reads elements with commas between them.
    fn list(
        &mut self,
        open: char,
        close: char,
        depth: usize,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.take(open)?;
        self.skip_spaces();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            self.skip_spaces();
            element(self)?;
            self.skip_spaces();
            match self.rest.next()? {
                ',' => {}
                end => return (end == close).then_some(()),
            }
        }
    }

    fn word(&mut self, word: &str) -> Option<Value> {
        word.chars().try_for_each(|letter| self.take(letter))?;
        Some(Value::Other)
    }

    fn string(&mut self) -> Option<String> {
        self.take('"')?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                '\0'..='\x1f' => return None,
                letter => text.push(letter),
            }
        }
    }

    /// Reads the rest of an escape.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.rest.next()? {
            letter @ ('"' | '\\' | '/') => letter,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => match self.unit()? {
                high @ 0xD800..=0xDBFF => {
                    self.take('\\')?;
                    self.take('u')?;
                    let low = self.unit()?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((high - 0xD800) << 10) + low)?
                }
                unit => char::from_u32(unit)?,
            },
            _ => return None,
        })
    }

    /// Reads four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit * 16 + self.rest.next()?.to_digit(16)?))
    }

    fn number(&mut self) -> Option<Value> {
        let mut text = String::new();
        while let Some(letter) = self.next_if(|letter| matches!(letter, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')) {
            text.push(letter);
        }
        let whole = text.strip_prefix('-').unwrap_or(&text);
        let (whole, exponent) =
            whole.split_once(['e', 'E']).map_or((whole, None), |(whole, power)| (whole, Some(power)));
        let (whole, fraction) =
            whole.split_once('.').map_or((whole, None), |(whole, fraction)| (whole, Some(fraction)));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = are_digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(are_digits)
            && exponent.is_none_or(|power| are_digits(power.strip_prefix(['+', '-']).unwrap_or(power)));
        is_number.then(|| text.parse().ok().map(Value::Number))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_an_object() {
        let members = object(
            br#" {"a": "x\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00", "b":-1.5e+2 ,"c":[1,{"d":null},[]],"e":true,"":{}} "#,
        )
        .unwrap();
        let text = Value::Text("x\"\\/\u{8}\u{c}\n\r\té😀".to_owned());
        let expected =
            [("", Value::Other), ("a", text), ("b", Value::Number(-150.0)), ("c", Value::Other), ("e", Value::Other)];
        assert_eq!(members.into_iter().collect::<Vec<_>>(), expected.map(|(name, value)| (name.to_owned(), value)));
        assert_eq!(object(b"{}"), Some(BTreeMap::new()));
    }

    #[test]
    fn texts_of_values_are_as_written() {
        let members = texts(r#" {"a":"x\u00e9", "b" : -1.50E+2 ,"c":[1, {"d":null}],"e":{ "f":9007199254740993 } } "#);
        let expected = [
            ("a", r#""x\u00e9""#),
            ("b", "-1.50E+2"),
            ("c", r#"[1, {"d":null}]"#),
            ("e", r#"{ "f":9007199254740993 }"#),
        ];
        assert_eq!(members, Some(expected.map(|(name, text)| (name.to_owned(), text)).into()));
        assert_eq!(texts("[]"), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        let cases = [
            "",
            "null",
            "[]",
            "1",
            "{",
            "}",
            "{}}",
            "{} {}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1,\"a\":2}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":+1}",
            "{\"a\":--1}",
            "{\"a\":-}",
            "{\"a\":tru}",
            "{\"a\":truee}",
            "{\"a\":NaN}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":[1,]}",
            "{\"a\":[1}",
            "{\"a\":\"",
            "\u{feff}{}",
            &deep,
        ];
        for case in cases {
            assert_eq!(object(case.as_bytes()), None, "{case}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }
}
