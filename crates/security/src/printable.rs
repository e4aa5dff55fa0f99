//! Text of a peer or a user in error texts.

/// Maximum number of characters of a peer's text in an error.
const CHARACTERS_MAX: usize = 300;

/// Makes bytes of a peer safe for terminals and logs: replaces bytes that are not UTF-8, escapes control characters and
/// those that reorder or hide others, and cuts long text.
pub(crate) fn printable(bytes: &[u8]) -> String {
    // No character has more than 4 bytes, so that later bytes cannot appear.
    let text = String::from_utf8_lossy(bytes.get(..CHARACTERS_MAX * 4).unwrap_or(bytes));
    let escape = |letter: char| match letter {
        '"' | '\'' | '\\' => letter.to_string(),
        _ => letter.escape_debug().to_string(),
    };
    let mut shown: String = text.chars().take(CHARACTERS_MAX).map(escape).collect();
    if bytes.len() > CHARACTERS_MAX * 4 || text.chars().nth(CHARACTERS_MAX).is_some() {
        shown += "...";
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_peer_is_escaped_and_cut() {
        assert_eq!(printable(b"it's \x1b[2J\n\xff"), "it's \\u{1b}[2J\\n\u{fffd}");
        assert_eq!(printable("\u{202e}".as_bytes()), "\\u{202e}");
        assert_eq!(printable("é".repeat(300).as_bytes()), "é".repeat(300));
        for long in ["é".repeat(301), "a".repeat(100_000)] {
            let shown = printable(long.as_bytes());
            assert_eq!(shown.chars().count(), 303);
            assert!(shown.ends_with("..."));
        }
    }
}
