//! Emphasis for terminals, and lines that fit them.
//!
//! Nothing is painted where stdout is not a terminal, where `NO_COLOR` is set, or where the terminal is a dumb one.

use std::io::IsTerminal;

/// Lines are no longer than this also on a wider terminal: longer ones are hard to read.
const WIDTH_MAX: usize = 110;

/// The width where there is no terminal: as wide as messages of this command are anywhere.
const WIDTH_ELSEWHERE: usize = 110;

/// No narrower than this: a line per word helps nobody.
const WIDTH_MIN: usize = 40;

/// What emphasis is written with: reset, bold, faint, and the colours.
const CODES: [&str; 6] = ["0", "1", "2", "1;31", "1;33", "32"];

/// Returns the length in bytes of the escape sequence of ours that `text` begins with; `None` where it begins with none.
pub fn emphasis(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\x1b[")?;
    let code =
        CODES.iter().find(|code| rest.strip_prefix(**code).is_some_and(|rest| rest.starts_with('m')))?;
    Some(2 + code.len() + 1)
}

/// How to write to stdout.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    is_on: bool,
    /// Columns that lines of text may have.
    pub width: usize,
    /// Columns that lines of a table may have: all of a terminal's, and any number where there is none.
    pub columns: usize,
}

impl Paint {
    /// Returns what fits stdout.
    pub fn stdout() -> Paint {
        let is_terminal = std::io::stdout().is_terminal();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let columns = columns.filter(|_| is_terminal);
        Paint {
            is_on: is_terminal && !is_set("NO_COLOR") && !is_dumb,
            width: columns.unwrap_or(WIDTH_ELSEWHERE).clamp(WIDTH_MIN, WIDTH_MAX),
            columns: columns.unwrap_or(usize::MAX),
        }
    }

    /// Returns what paints nothing, in lines of so many columns.
    #[cfg(test)]
    pub fn plain(width: usize) -> Paint {
        Paint { is_on: false, width, columns: width }
    }

    fn with(self, code: &str, text: &str) -> String {
        debug_assert!(CODES.contains(&code));
        if self.is_on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.with("1;33", text)
    }

    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Breaks `text` into lines of at most `width` columns. The first begins with `lead`, which may be painted and has
    /// `indent` columns; the others are indented by as much. Ends with a line break.
    pub fn paragraph(self, lead: &str, indent: usize, text: &str, paint: impl Fn(&str) -> String) -> String {
        let room = self.width.saturating_sub(indent).max(WIDTH_MIN / 2);
        let mut written = String::new();
        for (number, line) in lines(text, room).into_iter().enumerate() {
            let lead = if number == 0 { lead.to_owned() } else { " ".repeat(indent) };
            written += &format!("{lead}{}\n", paint(&line));
        }
        written
    }
}

/// Breaks at spaces; a word that is too long has a line of its own.
fn lines(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut length = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let columns = word.chars().count();
        match lines.last_mut() {
            Some(line) if length + 1 + columns <= room => {
                line.push(' ');
                line.push_str(word);
                length += 1 + columns;
            }
            _ => {
                lines.push(word.to_owned());
                length = columns;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_hang_and_fit() {
        let text =
            "one two three four five six seven eight nine ten eleven_is_a_word_that_does_not_fit_at_all x";
        let written = Paint::plain(40).paragraph("  - ", 4, text, str::to_owned);
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines[..2], ["  - one two three four five six seven", "    eight nine ten"]);
        assert_eq!(lines[3], "    x");
        assert!(lines.iter().filter(|line| !line.contains("eleven")).all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn nothing_is_painted_where_nobody_sees_it() {
        let paint = Paint::plain(80);
        assert_eq!(paint.red("a") + &paint.bold("b") + &paint.faint("c"), "abc");
        assert!(Paint { is_on: true, ..paint }.red("a").starts_with("\x1b[1;31ma"));
    }
}
