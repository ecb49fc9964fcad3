//! Text that people look at, without the characters that a terminal, a log or a page acts on instead of showing them.
//!
//! Names and fields come from programs, and through them from whoever talks to those: an escape sequence clears a screen
//! or sets its title, a line break makes up a line of a log, and a bidirectional override shows `gpj.exe` as `exe.jpg`. The
//! rule for what is shown is in one place, here; each exit of text (page, log, file, answer, terminal) asks it.
//!
//! Letters of every script, accents, emoji and spaces of every width pass. So do, although they show nothing themselves, the
//! joiners U+200C and U+200D and the variation selectors of emoji (U+FE00 to U+FE0F) and of Mongolian, which scripts and emoji
//! need; and format characters that are signs, such as U+06DD and those that join Egyptian hieroglyphs. What that leaves: a row
//! of variation selectors can carry what nobody sees, and letters of a script that runs from right to left move the
//! punctuation beside them where a terminal knows such scripts. Variation selectors of ideographs (U+E0100 on) and the tags
//! that make flags of regions do not pass: they carry any text unseen.
//!
//! # Source
//! `Default_Ignorable_Code_Point` and the format characters (Cf) of Unicode 16, its line and paragraph separators, and Unicode
//! Technical Report 36 on what bidirectional controls are misused for. A test compares this file with Unicode's lists.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Tells whether a character is not to be shown as it is: C0 and C1 controls, line and paragraph separators, bidirectional
/// controls, and what shows nothing where it stands, save what scripts and emoji need (see the module).
pub const fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => {
            true
        }
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{fffb}' => true,
        // Letters of Hangul and Khmer that are blank.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}' => true,
        // Controls of shorthand and of music; tags and variation selectors of ideographs.
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// Writes a text in one line, with hidden characters as escapes: `\n`, `\u{1b}`, `\u{202e}`.
///
/// ```
/// use loopscope_probe::raw::printable::Printable;
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

    /// Returns a test for the characters of one of Unicode's lists.
    #[cfg(not(miri))]
    fn listed(pattern: &str) -> impl Fn(char) -> bool {
        let hir = regex_syntax::parse(pattern).unwrap();
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(list)) = hir.into_kind()
        else {
            panic!("{pattern} is no list");
        };
        move |c| list.iter().any(|range| (range.start()..=range.end()).contains(&c))
    }

    // Not under Miri, which needs an hour for all characters.
    #[cfg(not(miri))]
    #[test]
    fn nothing_of_unicodes_lists_of_what_does_not_show_passes_unless_it_is_needed() {
        let (is_ignorable, is_format) = (listed(r"\p{Default_Ignorable_Code_Point}"), listed(r"\p{Cf}"));
        let is_needed = |c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{180b}'..='\u{180d}' | '\u{180f}');
        let is_sign = |c| {
            matches!(c, '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}')
                || matches!(c, '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}')
        };
        for c in '\0'..=char::MAX {
            let is_separator = matches!(c, '\u{2028}' | '\u{2029}');
            let shows_nothing = (is_ignorable(c) || is_format(c)) && !is_needed(c) && !is_sign(c);
            assert_eq!(is_hidden(c), c.is_control() || is_separator || shows_nothing, "{c:?}");
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
