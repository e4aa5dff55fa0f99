//! Words, quoted texts and signs of a JAAS entry, as Java's `StreamTokenizer` reads them with the settings of Kafka's
//! `JaasConfig`.

use zeroize::Zeroizing;

/// A token. Java gives no text to a number, so that a value that begins with a digit or a hyphen needs quotes.
pub(super) enum Token {
    Text(Zeroizing<String>),
    Sign(char),
    Number,
}

/// The tokens of a text, each with the position of its first character, counted from 1.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, position: 1 }
    }

    /// Returns the position of the next character.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Takes this many bytes, which end at a character.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.position += taken.chars().count();
        self.rest = rest;
        taken
    }

    /// Takes characters while the condition holds.
    fn take_while(&mut self, condition: impl Fn(char) -> bool) -> &'a str {
        self.take(self.rest.find(|letter| !condition(letter)).unwrap_or(self.rest.len()))
    }

    fn skip_spaces_and_comments(&mut self) {
        loop {
            self.take_while(|letter| letter <= ' ');
            if self.rest.starts_with("/*") {
                self.take(2);
                self.take(self.rest.find("*/").map_or(self.rest.len(), |end| end + 2));
            } else if self.rest.starts_with('/') {
                // In Java a single slash begins a comment.
                self.take_while(|letter| !is_line_end(letter));
            } else {
                return;
            }
        }
    }

    /// Reads a number: an optional minus, digits, and at most one dot. A minus alone is a sign.
    fn number(&mut self) -> Token {
        if self.rest.starts_with('-') {
            self.take(1);
            if !self.rest.starts_with(|letter: char| letter == '.' || letter.is_ascii_digit()) {
                return Token::Sign('-');
            }
        }
        self.take_while(|letter| letter.is_ascii_digit());
        if self.rest.starts_with('.') {
            self.take(1);
            self.take_while(|letter| letter.is_ascii_digit());
        }
        Token::Number
    }

    /// Takes a text in quotes. It also ends at the end of a line.
    fn quoted(&mut self, quote: char) -> Token {
        self.take(1);
        let mut is_escaped = false;
        let end = self.rest.find(|letter| {
            let is_end = !is_escaped && (letter == quote || is_line_end(letter));
            is_escaped = !is_escaped && letter == '\\';
            is_end
        });
        let raw = self.take(end.unwrap_or(self.rest.len()));
        if self.rest.starts_with(quote) {
            self.take(1);
        }
        Token::Text(unescape(raw))
    }
}

impl Iterator for Tokens<'_> {
    type Item = (usize, Token);

    fn next(&mut self) -> Option<(usize, Token)> {
        self.skip_spaces_and_comments();
        let position = self.position;
        let token = match self.rest.chars().next()? {
            '0'..='9' | '.' | '-' => self.number(),
            letter if is_letter(letter) => {
                let word = self.take_while(|letter| is_letter(letter) || matches!(letter, '0'..='9' | '.'));
                Token::Text(Zeroizing::new(word.to_owned()))
            }
            quote @ ('"' | '\'') => self.quoted(quote),
            sign => {
                self.take(sign.len_utf8());
                Token::Sign(sign)
            }
        };
        Some((position, token))
    }
}

fn is_letter(letter: char) -> bool {
    letter.is_ascii_alphabetic() || matches!(letter, '-' | '_' | '$' | '\u{a0}'..)
}

fn is_line_end(letter: char) -> bool {
    matches!(letter, '\n' | '\r')
}

/// Replaces the escapes of a quoted text: `\n` and its like, and one to three octal digits up to `\377`.
fn unescape(raw: &str) -> Zeroizing<String> {
    // No escape is shorter than its character. So the text fits, and is not copied to a larger buffer.
    let mut text = Zeroizing::new(String::with_capacity(raw.len()));
    let mut letters = raw.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some(first @ '0'..='7') => {
                let mut code = first.to_digit(8).unwrap_or_default();
                let more = if first <= '3' { 2 } else { 1 };
                for _ in 0..more {
                    let Some(digit) = letters.next_if(|letter| letter.is_digit(8)) else { break };
                    code = code * 8 + digit.to_digit(8).unwrap_or_default();
                }
                text.extend(char::from_u32(code));
            }
            Some('a') => text.push('\x07'),
            Some('b') => text.push('\x08'),
            Some('f') => text.push('\x0c'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('v') => text.push('\x0b'),
            Some(other) => text.push(other),
            // A backslash at the end: the entry has no semicolon, so it is refused later.
            None => {}
        }
    }
    text
}
