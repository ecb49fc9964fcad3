//! Changing stall thresholds over HTTP: reading what a request asks for.

use crate::query::{decoded, pairs};
use loopscope_report::duration;
use loopscope_report::model::threshold_change::ThresholdChange;

/// A year and some days is more than anybody means.
const LONGEST_NS: u64 = 32_000_000_000_000_000;

/// Reads the query of a URL.
///
/// # Errors
/// Names the parameter that is wrong.
pub fn parse_change(query: &str) -> Result<ThresholdChange, String> {
    let mut change = ThresholdChange::default();
    for (name, value) in pairs(query) {
        match name {
            "loop" => change.loop_name = Some(decoded(value)),
            "warning" => change.warning_ns = Some(parse_ns(name, value)?),
            "critical" => change.critical_ns = Some(parse_ns(name, value)?),
            name => {
                return Err(format!("unknown parameter {name:?}: valid are loop, warning and critical\n"));
            }
        }
    }
    Ok(change)
}

fn parse_ns(name: &str, value: &str) -> Result<u64, String> {
    let value = decoded(value);
    match duration::parse(&value) {
        Ok(ns @ 1..=LONGEST_NS) => Ok(ns),
        Ok(0) => Err(format!("parameter {name}: {value:?} is not a threshold\n")),
        Ok(_) => Err(format!("parameter {name}: {value:?} is longer than a year\n")),
        Err(error) => Err(format!("parameter {name}: {value:?} {error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_wrong_ones_named() {
        assert_eq!(parse_change("warning=800us").unwrap(), parse_change("warning=800%C2%B5s").unwrap());
        let change = parse_change("loop=a%20b&warning=50ms&critical=1.5s").unwrap();
        assert_eq!(change.loop_name.as_deref(), Some("a b"));
        assert_eq!((change.warning_ns, change.critical_ns), (Some(50_000_000), Some(1_500_000_000)));
        assert!(
            !parse_change("warning=%1b[2J").unwrap_err().contains('\u{1b}'),
            "what is repeated is shown, not sent"
        );
        assert!(parse_change("loop=main").unwrap().is_empty());
        for query in
            ["warning=", "warning=5", "warning=ms", "critical=-1s", "critical=9000h", "warning=1e9s", "a=1"]
        {
            assert!(parse_change(query).unwrap_err().contains("parameter "), "{query}");
        }
    }
}
