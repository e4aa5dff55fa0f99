//! Escapes as in kcat: `\t`, `\n`, `\r`, `\\` and `\xNN`.

use std::iter::Peekable;
use std::str::Chars;

/// Replaces the escapes of a text. Returns bytes, because `\xff` is not UTF-8.
///
/// # Errors
/// As [`escaped`].
pub fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\\' => bytes.push(escaped(&mut rest)?),
            letter => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(bytes)
}

/// Reads the escape after a backslash and returns its byte.
///
/// # Errors
/// When the escape is unknown; kcat would drop its backslash silently.
pub fn escaped(rest: &mut Peekable<Chars<'_>>) -> Result<u8, String> {
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
        Some(other) => Err(format!(r"\{other} is unknown: use \t, \n, \r, \\ or \xNN")),
        None => Err(r"it ends in a backslash: write \\ for one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_bytes() {
        let cases: [(&str, &[u8]); 9] = [
            ("", b""),
            ("plain", b"plain"),
            (r"\t", b"\t"),
            (r"a\nb\rc", b"a\nb\rc"),
            (r"C:\\x", b"C:\\x"),
            (r"\x41\x1fz", b"A\x1fz"),
            (r"\xfF0", b"\xff0"),
            (r"\x9!", b"\x09!"),
            ("→\\t키", "→\t키".as_bytes()),
        ];
        for (text, bytes) in cases {
            assert_eq!(unescaped(text).as_deref(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn unknown_escape_is_refused() {
        for (text, says) in [(r"a\q", r"\q is unknown"), ("a\\", "ends in a backslash"), (r"\xg", "hexadecimal")] {
            let error = unescaped(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
