//! Text that people look at, without the characters that a terminal, a log or a page acts on instead of showing them.
//!
//! Names and fields come from programs, and through them from whoever talks to those: an escape sequence clears a screen
//! or sets its title, a line break makes up a line of a log, and a bidirectional override shows `gpj.exe` as `exe.jpg`. The
//! rule for what is shown is in one place, here; each exit of text (page, log, file, answer, terminal) asks it.
//!
//! Letters of every script, accents and emoji pass. So do U+200C and U+200D, which have no width either: scripts and emoji
//! need them, and nothing acts on them.
//!
//! # Source
//! The format characters (Cf) of Unicode 16, the line and paragraph separators, and Unicode Technical Report 36 on what
//! bidirectional controls are misused for.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Tells whether a character is not to be shown as it is: C0 and C1 controls, line and paragraph separators, bidirectional
/// controls, and what has no width, except U+200C and U+200D.
pub const fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}' => true,
        '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

/// Writes a text in one line, with hidden characters as escapes: `\n`, `\u{1b}`, `\u{202e}`.
///
/// ```
/// use loopscope_probe::printable::Printable;
/// assert_eq!(Printable("é\u{1b}[2J\n").to_string(), r"é\u{1b}[2J\n");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            f.write_str(&rest[..at])?;
            c.escape_default().try_for_each(|part| f.write_char(part))?;
            rest = &rest[at + c.len_utf8()..];
        }
        f.write_str(rest)
    }
}

/// Returns a text as [`Printable`] writes it.
pub fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(is_hidden) {
        true => Cow::Owned(Printable(text).to_string()),
        false => Cow::Borrowed(text),
    }
}

/// Returns a text as one word of a POSIX shell: as it is where nothing in it means anything there, else in quotes.
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

/// Returns JSON that means the same, with hidden characters inside its strings as `\u` escapes: what reads it gets them
/// back, and a terminal that it is printed on does not. Line breaks and tabs between values stay.
pub fn printable_json(json: Vec<u8>) -> Vec<u8> {
    // Serializers escape what is below the space; what is left is DEL and what needs more bytes than one.
    if json.iter().all(|byte| *byte < 0x7f) {
        return json;
    }
    let Ok(text) = std::str::from_utf8(&json) else { return json };
    let is_escaped = |c: char| is_hidden(c) && c > '~';
    if !text.contains(is_escaped) {
        return json;
    }
    let mut escaped = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if !is_escaped(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acted_on_is_escaped_and_what_is_read_passes() {
        for (text, shown) in [
            ("plain ~ text", "plain ~ text"),
            ("é 中文 עברית عربى 👩‍🚀", "é 中文 עברית عربى 👩‍🚀"),
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("a\nb\tc\r", r"a\nb\tc\r"),
            ("\u{9b}2J\u{7f}", r"\u{9b}2J\u{7f}"),
            ("x\u{202e}gpj.exe\u{2066}\u{61c}\u{200f}", r"x\u{202e}gpj.exe\u{2066}\u{61c}\u{200f}"),
            ("a\u{200b}b\u{feff}c\u{2028}d\u{e0041}", r"a\u{200b}b\u{feff}c\u{2028}d\u{e0041}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn json_means_the_same_and_shows_nothing_hidden() {
        let json = "{\n  \"a\": \"é\u{202e}\u{7f}\u{85}\u{e0041}\\u001b\"\n}".to_owned();
        let shown = String::from_utf8(printable_json(json.into_bytes())).unwrap();
        assert_eq!(shown, "{\n  \"a\": \"é\\u202e\\u007f\\u0085\\udb40\\udc41\\u001b\"\n}");
        let plain = "[\"é 中文\"]".as_bytes().to_vec();
        assert_eq!(printable_json(plain.clone()), plain);
    }
}
