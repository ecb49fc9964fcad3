//! Durations as people write and read them: one formatter, one parser, for all that this project prints and takes.
//!
//! ```text
//!   show_ns        what was measured, with few digits: 940 ns, 3.1 ms, 1.2 s, 2 m 05 s
//!   show_exactly   what was set, so that it can be given again: 500ms, 1500ms, 10s
//!   parse          takes both
//! ```

use std::fmt;

/// Nanoseconds of each unit that [`parse`] takes.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    // The Greek letter, which looks the same and is another character.
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration. The message follows the text that is at fault: "`10` has no unit: ...".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// A number without a unit.
    NoUnit,
    /// A number with a unit that is none of time.
    UnknownUnit(String),
    /// Anything else.
    NoDuration,
    /// More than 584 years.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DurationError::NoUnit => f.write_str("has no unit")?,
            DurationError::UnknownUnit(unit) => write!(f, "has the unknown unit `{unit}`")?,
            DurationError::NoDuration => f.write_str("is not a duration")?,
            DurationError::TooLong => f.write_str("is too long")?,
        }
        f.write_str(": write it as 500ms, 10s, 2m or 1h")
    }
}

impl std::error::Error for DurationError {}

/// Writes nanoseconds for people, with three digits at most: `940 ns`, `3.1 ms`, `1.2 s`, `2 m 05 s`, `2 h 03 m`.
pub fn show_ns(ns: u64) -> String {
    let scaled = |unit: f64, name: &str| {
        let value = ns as f64 / unit;
        if value < 9.95 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
    };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_500 => scaled(1e3, "µs"),
        999_500..999_500_000 => scaled(1e6, "ms"),
        999_500_000..99_500_000_000 => scaled(1e9, "s"),
        99_500_000_000..7_199_500_000_000 => {
            let seconds = (ns + 500_000_000) / 1_000_000_000;
            format!("{} m {:02} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = ns.saturating_add(30_000_000_000) / 60_000_000_000;
            format!("{} h {:02} m", minutes / 60, minutes % 60)
        }
    }
}

/// Writes nanoseconds exactly, in the largest unit up to seconds that they are a whole number of: `50ms`, `1500ms`, `10s`.
pub fn show_exactly(ns: u64) -> String {
    let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)];
    let (name, unit_ns) =
        units.into_iter().find(|(_, unit_ns)| ns.is_multiple_of(*unit_ns)).unwrap_or(("ns", 1));
    format!("{}{name}", ns / unit_ns)
}

/// Reads a duration, in nanoseconds: a number and a unit (`50ms`, `1.5s`, `800µs`, `800us`), or several of them one after the
/// other (`2 m 05 s`). Blanks before units and between parts are ignored.
///
/// # Errors
/// Says what is missing or unknown, and shows the forms that are understood.
pub fn parse(text: &str) -> Result<u64, DurationError> {
    let mut rest = text.trim_end();
    let mut sum_ns: u64 = 0;
    loop {
        let (part_ns, left) = parse_part(rest)?;
        sum_ns = sum_ns.checked_add(part_ns).ok_or(DurationError::TooLong)?;
        rest = left.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(sum_ns);
        }
    }
}

/// Reads one number with its unit, and returns what follows.
fn parse_part(text: &str) -> Result<(u64, &str), DurationError> {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = text.split_at(text.find(|c| !is_of_number(c)).unwrap_or(text.len()));
    if number.parse::<f64>().is_err() {
        return Err(DurationError::NoDuration);
    }
    let rest = rest.trim_start_matches(' ');
    let (unit, left) = rest.split_at(rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len()));
    let unit_ns = UNITS.into_iter().find(|(name, _)| *name == unit).map(|(_, unit_ns)| unit_ns);
    match unit_ns {
        Some(unit_ns) => Ok((scaled_ns(number, unit_ns).ok_or(DurationError::TooLong)?, left)),
        None if rest.is_empty() => Err(DurationError::NoUnit),
        None if unit.is_empty() => Err(DurationError::NoDuration),
        None => Err(DurationError::UnknownUnit(unit.to_owned())),
    }
}

/// Returns `number` units of `unit_ns` nanoseconds; none where that is too long. Whole numbers are exact, which a float is not.
fn scaled_ns(number: &str, unit_ns: u64) -> Option<u64> {
    if !number.contains('.') {
        return number.parse::<u64>().ok()?.checked_mul(unit_ns);
    }
    let ns = number.parse::<f64>().ok()? * unit_ns as f64;
    (ns < u64::MAX as f64).then_some(ns.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_shown_with_few_digits() {
        for (ns, shown) in [
            (0, "0 ns"),
            (940, "940 ns"),
            (3_140, "3.1 µs"),
            (63_900, "64 µs"),
            (500_000, "500 µs"),
            (3_140_000, "3.1 ms"),
            (99_900_000, "100 ms"),
            (302_400_000, "302 ms"),
            (999_900_000, "1.0 s"),
            (1_234_000_000, "1.2 s"),
            (42_000_000_000, "42 s"),
            (99_499_999_999, "99 s"),
            (99_500_000_000, "1 m 40 s"),
            (125_000_000_000, "2 m 05 s"),
            (7_199_499_999_999, "119 m 59 s"),
            (7_199_500_000_000, "2 h 00 m"),
            (7_380_000_000_000, "2 h 03 m"),
        ] {
            assert_eq!(show_ns(ns), shown);
        }
    }

    #[test]
    fn settings_are_shown_exactly() {
        for (ns, shown) in [
            (500_000_000, "500ms"),
            (10_000_000_000, "10s"),
            (1_500_000_000, "1500ms"),
            (1_900_000, "1900µs"),
            (7, "7ns"),
        ] {
            assert_eq!(show_exactly(ns), shown);
        }
    }

    #[test]
    fn the_documented_forms_are_read() {
        const MS: u64 = 1_000_000;
        for (text, ns) in [
            ("500ms", 500 * MS),
            ("10s", 10_000 * MS),
            ("2m", 120_000 * MS),
            ("1h", 3_600_000 * MS),
            ("0.5s", 500 * MS),
            ("0s", 0),
            (".5s", 500 * MS),
            ("1.s", 1_000 * MS),
            ("800us", 800_000),
            ("800µs", 800_000),
            ("800\u{3bc}s", 800_000),
            ("940 ns", 940),
            ("3.1 ms", 3_100_000),
            ("2 m 05 s", 125_000 * MS),
            ("2h3m", 7_380_000 * MS),
            ("18446744073709551615ns", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_reason() {
        let unknown = |unit: &str| DurationError::UnknownUnit(unit.to_owned());
        for (text, error) in [
            ("", DurationError::NoDuration),
            ("s", DurationError::NoDuration),
            ("10", DurationError::NoUnit),
            ("2m 5", DurationError::NoUnit),
            ("ten", DurationError::NoDuration),
            ("-1s", DurationError::NoDuration),
            ("1e3s", unknown("e")),
            ("1.2.3s", DurationError::NoDuration),
            (".s", DurationError::NoDuration),
            ("5d", unknown("d")),
            ("10S", unknown("S")),
            ("10 %", DurationError::NoDuration),
            ("inf", DurationError::NoDuration),
            ("é", DurationError::NoDuration),
            ("9999999h", DurationError::TooLong),
            ("18446744073709551616ns", DurationError::TooLong),
            ("99999999999.5s", DurationError::TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same_within_its_digits(ns: u64, shift in 0u32..64) {
            let ns = ns >> shift;
            let read = parse(&show_ns(ns)).unwrap();
            prop_assert_eq!(show_ns(read), show_ns(ns));
            prop_assert!(read.abs_diff(ns) <= ns / 19, "{} {}", ns, read);
        }

        #[test]
        fn what_is_shown_exactly_reads_as_the_same(ns: u64, shift in 0u32..64) {
            prop_assert_eq!(parse(&show_exactly(ns >> shift)), Ok(ns >> shift));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.]{0,5} ?[a-zµ]{0,3} ?\\PC{0,4}") {
            let _ = parse(&text);
        }
    }
}
