//! Durations as people write and read them: `500ms`, `10s`, `2m`.

use std::time::Duration;

const FORMS: &str = "write it as 500ms, 10s, 2m or 1h";

/// The longest duration that an argument may name. Longer ones are typing errors, and would overflow elsewhere.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads a duration.
///
/// # Errors
/// Names the text and shows the forms that are understood.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("`{text}` has no unit: {FORMS}")),
        other => return Err(format!("`{text}` has the unknown unit `{other}`: {FORMS}")),
    };
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = digits.parse::<f64>().ok().filter(|_| is_plain);
    let number = number.ok_or_else(|| format!("`{text}` is not a duration: {FORMS}"))?;
    let duration = Duration::try_from_secs_f64(number * unit).unwrap_or(Duration::MAX);
    if duration > LONGEST {
        return Err(format!("`{text}` is longer than a week: {FORMS}"));
    }
    Ok(duration)
}

/// Writes nanoseconds for people, with three digits at most: `940 ns`, `3.1 ms`, `1.2 s`, `2 m 05 s`.
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
        99_500_000_000..7_200_000_000_000 => {
            format!("{} m {:02} s", ns / 60_000_000_000, ns / 1_000_000_000 % 60)
        }
        _ => format!("{} h {:02} m", ns / 3_600_000_000_000, ns / 60_000_000_000 % 60),
    }
}

/// Writes a duration as [`parse`] reads it, for messages that repeat an argument.
pub fn show(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        for (text, ms) in
            [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("1h", 3_600_000), ("0.5s", 500), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn an_error_names_the_text_and_shows_the_forms() {
        for text in [
            "", "s", "10", "ten", "10 s", "-1s", "1e3s", "1.2.3s", "5d", "10S", "inf", "NaNs", "9999999h",
            "é",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("500ms, 10s, 2m"), "{error}");
        }
    }

    #[test]
    fn durations_are_shown_with_few_digits() {
        for (ns, shown) in [
            (0, "0 ns"),
            (3_140, "3.1 µs"),
            (3_140_000, "3.1 ms"),
            (99_900_000, "100 ms"),
            (999_900_000, "1.0 s"),
            (99_900_000_000, "1 m 39 s"),
            (1_234_000_000, "1.2 s"),
            (42_000_000_000, "42 s"),
            (125_000_000_000, "2 m 05 s"),
            (7_380_000_000_000, "2 h 03 m"),
        ] {
            assert_eq!(show_ns(ns), shown);
        }
    }

    #[test]
    fn what_is_shown_of_an_argument_can_be_read_again() {
        for text in ["500ms", "10s", "1500ms"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
