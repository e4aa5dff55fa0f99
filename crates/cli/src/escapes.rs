//! Characters that are awkward to type, as kcat's users write them: `\t`, `\n`, `\r`, `\\` and `\xNN`.

use std::iter::Peekable;
use std::str::Chars;

/// The byte after a backslash.
///
/// # Errors
/// When a backslash begins nothing that is known: kcat would drop it without a word.
pub(crate) fn escaped(rest: &mut Peekable<Chars<'_>>) -> Result<u8, String> {
    match rest.next() {
        Some('t') => Ok(b'\t'),
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = rest.next_if(char::is_ascii_hexdigit).into_iter().collect();
            let digits: String = digits.chars().chain(rest.next_if(char::is_ascii_hexdigit)).collect();
            u8::from_str_radix(&digits, 16).map_err(|_| r"\x takes hexadecimal digits, such as \x1f".to_owned())
        }
        Some(other) => Err(format!(r"\{other} is not known: there are \t, \n, \r, \\ and \xNN")),
        None => Err(r"it ends in a backslash: write \\ for one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescaped(text: &str) -> Result<Vec<u8>, String> {
        let mut rest = text.chars().peekable();
        let mut bytes = Vec::new();
        while rest.peek().is_some() {
            bytes.push(escaped(&mut rest)?);
        }
        Ok(bytes)
    }

    #[test]
    fn escapes_stand_for_bytes() {
        for (text, byte) in [("t", 9), ("n", 10), ("r", 13), ("\\", 92), ("x41", 65), ("xfF", 255), ("x9", 9)] {
            assert_eq!(unescaped(text), Ok(vec![byte]), "{text}");
        }
    }

    #[test]
    fn what_stands_for_nothing_is_refused() {
        for (text, says) in [("q", r"\q is not known"), ("", "ends in a backslash"), ("xg", "hexadecimal")] {
            let error = escaped(&mut text.chars().peekable()).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
