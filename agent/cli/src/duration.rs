//! Durations in arguments: `500ms`, `10s`, `2m`.

use loopscope_report::duration;
use std::time::Duration;

/// The longest duration that an argument may name. Longer ones are typing errors, and would overflow elsewhere.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads a duration.
///
/// # Errors
/// Names the text and shows the forms that are understood.
pub fn parse(text: &str) -> Result<Duration, String> {
    let ns = duration::parse(text).map_err(|error| format!("`{text}` {error}"))?;
    let duration = Duration::from_nanos(ns);
    if duration > LONGEST {
        return Err(format!("`{text}` is longer than a week"));
    }
    Ok(duration)
}

/// Writes a duration as [`parse`] reads it, for messages that repeat an argument.
pub fn show(duration: Duration) -> String {
    duration::show_exactly(duration.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_text_and_shows_the_forms() {
        for text in ["", "10", "5d"] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("500ms, 10s, 2m"), "{error}");
        }
        assert_eq!(parse("169h").unwrap_err(), "`169h` is longer than a week");
    }

    #[test]
    fn what_is_shown_of_an_argument_can_be_read_again() {
        for text in ["500ms", "10s", "1500ms"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
