//! The folded format, written and read: a line per stack, `frame;frame;frame microseconds`.
//!
//! Reading is strict: a drawing made from half of a file would be believed. Every fault is told with its line.

use crate::profiles::FlameError;
use crate::profiles::colour;
use crate::profiles::frame::ProfileFrame;
use crate::profiles::kind::Of;
use crate::profiles::profile::{Profile, Stack};

/// The longest time of a line in microseconds: 2^46, two years. What draws the lines adds them up, 2,048 of a loop, without
/// a check; 128 loops of such lines are still less than 2^64.
const LINE_US_MAX: u64 = 1 << 46;

/// What a line is, for messages.
const LINE: &str = "a line is `frame;frame;frame microseconds`";

impl Profile {
    /// Returns the profile in folded format, a line per stack in alphabetical order: frames from the loop inwards,
    /// separated by `;`, a space, and own time in microseconds. Empty where the profile is.
    pub fn folded(&self) -> String {
        self.lines(false).into_iter().map(|(stack, us)| format!("{stack} {us}\n")).collect()
    }

    /// Reads folded stacks. Lines that begin with `# ` and empty ones are passed over.
    ///
    /// # Errors
    /// [`FlameError::Malformed`] names the first line that is not a stack and its time; [`FlameError::Empty`] where no
    /// stack has any.
    pub fn parse_folded(text: &str) -> Result<Profile, FlameError> {
        let mut profile = Profile::new(Of::Callbacks);
        let mut total_us = 0u64;
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            let malformed = |because| FlameError::Malformed { line: index + 1, because };
            let (frames, us) = parse_line(line).map_err(malformed)?;
            total_us = total_us.saturating_add(us);
            let ns = us.checked_mul(1_000).filter(|_| total_us <= u64::MAX / 1_000);
            let ns = ns.ok_or_else(|| malformed("the sum of all times is more than 584 years".to_owned()))?;
            profile.add(frames, ns, 1);
        }
        match profile.is_empty() {
            true => Err(FlameError::Empty),
            false => Ok(profile),
        }
    }

    /// Returns a line's stack and its time in microseconds for every text of a stack, sorted; with a mark for its
    /// colour behind each frame where the lines are to be drawn.
    pub(crate) fn lines(&self, is_marked: bool) -> Vec<(String, u64)> {
        let mut lines: Vec<(String, u64)> = Vec::new();
        for stack in self.sorted() {
            let text = self.text(stack, is_marked);
            // Stacks that differ only in places within a function have the same text.
            match lines.last_mut() {
                Some((last, ns)) if *last == text => *ns = ns.saturating_add(stack.ns),
                _ => lines.push((text, stack.ns)),
            }
        }
        let to_us =
            |(text, ns): (String, u64)| (text, (ns / 1_000 + u64::from(ns % 1_000 >= 500)).min(LINE_US_MAX));
        lines.into_iter().map(to_us).filter(|(_, us)| *us > 0).collect()
    }

    fn text(&self, stack: &Stack, is_marked: bool) -> String {
        let phase = self.phase_of(stack);
        let mut text = String::new();
        for (depth, frame) in self.frames_of(stack).enumerate() {
            if depth > 0 {
                text.push(';');
            }
            text.push_str(&frame.text);
            if is_marked {
                text.push(colour::mark(depth, frame, phase));
            }
        }
        text
    }
}

fn parse_line(line: &str) -> Result<(Vec<ProfileFrame>, u64), String> {
    let Some((stack, number)) = line.rsplit_once(' ') else {
        return Err(format!("{:?} has no time; {LINE}", cut(line)));
    };
    let us =
        number.parse::<u64>().map_err(|_| format!("the time {:?} {}; {LINE}", cut(number), fault(number)))?;
    let frames: Vec<&str> = stack.trim_end().split(';').collect();
    match frames.iter().position(|frame| frame.is_empty()) {
        Some(index) => Err(format!("frame {} is empty; {LINE}", index + 1)),
        None => Ok((frames.into_iter().map(ProfileFrame::plain).collect(), us)),
    }
}

/// Says what is wrong with a time that is none.
fn fault(number: &str) -> &'static str {
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match (is_number, digits.len() < number.len()) {
        (true, true) => "is negative",
        (true, false) => "is too large",
        _ if number.parse::<f64>().is_ok() => "has a fraction",
        _ => "is not a number",
    }
}

/// A message should not be longer than what it is about.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut profile = Profile::new(Of::Cpu);
        let plain = |stack: &str| stack.split(';').map(ProfileFrame::plain).collect::<Vec<_>>();
        profile.add(plain("main;poll;read x 3;{{closure}}"), 12_000_400, 3);
        profile.add(plain("main;poll"), 499, 1);
        profile.add([ProfileFrame::placed("main", "a.rs", 1), ProfileFrame::plain("timers")], 700, 1);
        profile.add([ProfileFrame::placed("main", "b.rs", 2), ProfileFrame::plain("timers")], 900, 1);
        let folded = profile.folded();
        assert_eq!(folded, "main;poll;read x 3;{{closure}} 12000\nmain;timers 2\n");
        assert_eq!(Profile::parse_folded(&folded).unwrap().folded(), folded);
        let twice = Profile::parse_folded("# by hand\n\na;b 2\r\n  a;b 3  \n").unwrap();
        assert_eq!((twice.folded(), twice.total_count()), ("a;b 5\n".to_owned(), 2));
    }

    #[test]
    fn faults_are_told_with_their_line() {
        for (text, line, part) in [
            ("a;b 5\nno_number", 2, "\"no_number\" has no time"),
            ("a;b x", 1, "\"x\" is not a number"),
            ("a 1\n\n# c\na;b -5", 4, "\"-5\" is negative"),
            ("a;b 1.5", 1, "\"1.5\" has a fraction"),
            ("a;b 99999999999999999999999", 1, "is too large"),
            ("a;b 18446744073709551615", 1, "584 years"),
            ("a 18446744073709551\nb 1", 2, "584 years"),
            ("a;;b 5", 1, "frame 2 is empty"),
            (";a 5", 1, "frame 1 is empty"),
        ] {
            match Profile::parse_folded(text) {
                Err(FlameError::Malformed { line: found, because }) => {
                    assert_eq!(found, line, "{text:?}");
                    assert!(because.contains(part), "{text:?}: {because}");
                }
                other => panic!("{text:?} was read as {other:?}"),
            }
        }
        for text in ["", "\n\n", "# only this\n", "a;b 0\n"] {
            assert!(matches!(Profile::parse_folded(text), Err(FlameError::Empty)), "{text:?}");
        }
    }
}
