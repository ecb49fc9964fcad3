//! Stall thresholds over HTTP: reading them, and changing them while the program runs.

use crate::model::thresholds::{THRESHOLD_NS_MIN, Thresholds};
use crate::web::query::{decoded, pairs};

/// What a request asks to be changed. What is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThresholdWish {
    /// Label or name of the loop; `None` for all.
    pub loop_name: Option<String>,
    pub warning_ns: Option<u64>,
    pub critical_ns: Option<u64>,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct LoopThresholds {
    /// The loop's label.
    pub r#loop: String,
    /// The loop's name, which several may share.
    pub name: String,
    pub warning_ns: u64,
    pub critical_ns: u64,
}

/// The answer: the thresholds of loops without their own, and those of every loop there is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ThresholdList {
    pub warning_ns: u64,
    pub critical_ns: u64,
    pub loops: Vec<LoopThresholds>,
}

impl ThresholdWish {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// Names the parameter that is wrong.
    pub(crate) fn parse(query: &str) -> Result<ThresholdWish, String> {
        let mut wish = ThresholdWish::default();
        for (name, value) in pairs(query) {
            match name {
                "loop" => wish.loop_name = Some(decoded(value)),
                "warning" => wish.warning_ns = Some(parse_ns(name, value)?),
                "critical" => wish.critical_ns = Some(parse_ns(name, value)?),
                name => {
                    return Err(format!("parameter {name:?}: there are only loop, warning and critical\n"));
                }
            }
        }
        Ok(wish)
    }

    /// Tells whether nothing is to be changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.warning_ns.is_none() && self.critical_ns.is_none()
    }

    /// Returns `present` with the wishes fulfilled.
    ///
    /// # Errors
    /// The thresholds would make no sense.
    pub(crate) fn apply(&self, present: Thresholds) -> Result<Thresholds, String> {
        let wanted = Thresholds {
            warning_ns: self.warning_ns.unwrap_or(present.warning_ns),
            critical_ns: self.critical_ns.unwrap_or(present.critical_ns),
        };
        let ms = |ns: u64| ns as f64 / 1e6;
        match wanted.are_sensible() {
            true => Ok(wanted),
            false => Err(format!(
                "thresholds of {} ms (warning) and {} ms (critical): the warning must be at least {} ms and not above the critical one\n",
                ms(wanted.warning_ns),
                ms(wanted.critical_ns),
                ms(THRESHOLD_NS_MIN),
            )),
        }
    }
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
    fn wishes_are_read_and_wrong_ones_named() {
        let wish = ThresholdWish::parse("loop=a%20b&warning=50ms&critical=1.5s").unwrap();
        assert_eq!(wish.loop_name.as_deref(), Some("a b"));
        assert_eq!((wish.warning_ns, wish.critical_ns), (Some(50_000_000), Some(1_500_000_000)));
        assert!(ThresholdWish::parse("loop=main").unwrap().is_empty());
        for query in
            ["warning=", "warning=5", "warning=ms", "critical=-1s", "critical=1h", "warning=1e9s", "a=1"]
        {
            assert!(ThresholdWish::parse(query).unwrap_err().starts_with("parameter "), "{query}");
        }
    }

    #[test]
    fn what_is_not_given_stays_and_nonsense_is_refused() {
        let present = Thresholds { warning_ns: 100_000_000, critical_ns: 1_000_000_000 };
        let apply = |query: &str| ThresholdWish::parse(query).unwrap().apply(present);
        assert_eq!(apply("warning=2ms"), Ok(Thresholds { warning_ns: 2_000_000, ..present }));
        assert_eq!(apply("critical=100ms"), Ok(Thresholds { critical_ns: 100_000_000, ..present }));
        assert!(apply("warning=2s").unwrap_err().contains("2000 ms (warning) and 1000 ms (critical)"));
        assert!(apply("warning=1.9ms").unwrap_err().contains("at least 2 ms"));
    }
}
