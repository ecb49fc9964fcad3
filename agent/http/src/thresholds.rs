//! Changing stall thresholds over HTTP: reading what a request asks for.

use crate::query::{decoded, pairs};
use loopscope_report::model::threshold_change::ThresholdChange;

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
                return Err(format!("parameter {name:?}: there are only loop, warning and critical\n"));
            }
        }
    }
    Ok(change)
}

/// Reads a duration: `50ms`, `1.5s`, `800us`, `2m`.
fn parse_ns(name: &str, value: &str) -> Result<u64, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let unit_ns = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        _ => 0.0,
    };
    let ns = number.parse::<f64>().map_or(0.0, |number| number * unit_ns);
    // A year is more than anybody means.
    if !(1.0..=3.2e16).contains(&ns) {
        return Err(format!(
            "parameter {name}: {value:?} is no duration; write a number and us, ms, s or m, like 50ms or 1.5s\n"
        ));
    }
    Ok(ns as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_wrong_ones_named() {
        let change = parse_change("loop=a%20b&warning=50ms&critical=1.5s").unwrap();
        assert_eq!(change.loop_name.as_deref(), Some("a b"));
        assert_eq!((change.warning_ns, change.critical_ns), (Some(50_000_000), Some(1_500_000_000)));
        assert!(parse_change("loop=main").unwrap().is_empty());
        for query in
            ["warning=", "warning=5", "warning=ms", "critical=-1s", "critical=1h", "warning=1e9s", "a=1"]
        {
            assert!(parse_change(query).unwrap_err().starts_with("parameter "), "{query}");
        }
    }
}
