//! Messages for people, on standard error.

use std::fmt;
use std::io::{self, Write};

/// Writes a line to standard error. A line that cannot be written is dropped, so that records are not affected. Control
/// characters, such as those of a file's name, are escaped.
pub(crate) fn say(text: impl fmt::Display) {
    say_as_it_is(format_args!("kurier: {}", printable(&text.to_string())));
}

/// Escapes the characters that a terminal does not show as they are.
pub(crate) fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '"' | '\'' | '\\' => letter.to_string(),
        _ => letter.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

/// Like [`say`], without the command's name.
pub(crate) fn say_as_it_is(text: impl fmt::Display) {
    // One write per line, so that lines of several threads do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}
