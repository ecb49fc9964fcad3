//! Stall thresholds as they are read and changed while a program runs.

use crate::duration::show_exactly;
use crate::model::thresholds::{THRESHOLD_NS_MIN, Thresholds};

/// What is to be changed. What is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThresholdChange {
    /// Label or name of the loop, or of a runtime for all of its workers; `None` for all.
    pub loop_name: Option<String>,
    pub warning_ns: Option<u64>,
    pub critical_ns: Option<u64>,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LoopThresholds {
    /// The loop's label.
    pub r#loop: String,
    /// The loop's name, which several may share.
    pub name: String,
    /// The label of the runtime that it is a worker of; empty for a loop by itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    pub warning_ns: u64,
    pub critical_ns: u64,
}

impl LoopThresholds {
    /// Tells whether this is the loop, or a worker of the runtime, that a person calls `name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.r#loop == name || self.name == name || (!self.group.is_empty() && self.group == name)
    }
}

/// The answer: the thresholds of loops without their own, and those of every loop there is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ThresholdList {
    pub warning_ns: u64,
    pub critical_ns: u64,
    pub loops: Vec<LoopThresholds>,
}

impl ThresholdChange {
    /// Tells whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.warning_ns.is_none() && self.critical_ns.is_none()
    }

    /// Returns `present` with the changes made.
    ///
    /// # Errors
    /// The thresholds would make no sense.
    pub fn apply(&self, present: Thresholds) -> Result<Thresholds, String> {
        let wanted = Thresholds {
            warning_ns: self.warning_ns.unwrap_or(present.warning_ns),
            critical_ns: self.critical_ns.unwrap_or(present.critical_ns),
        };
        match wanted.are_sensible() {
            true => Ok(wanted),
            false => Err(format!(
                "thresholds of {} (warning) and {} (critical): warning must be at least {} and not above critical\n",
                show_exactly(wanted.warning_ns),
                show_exactly(wanted.critical_ns),
                show_exactly(THRESHOLD_NS_MIN),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays_and_nonsense_is_refused() {
        let present = Thresholds { warning_ns: 100_000_000, critical_ns: 1_000_000_000 };
        let apply = |warning_us: Option<u64>, critical_us: Option<u64>| {
            let [warning_ns, critical_ns] = [warning_us, critical_us].map(|us| us.map(|us| us * 1_000));
            ThresholdChange { loop_name: None, warning_ns, critical_ns }.apply(present)
        };
        assert_eq!(apply(Some(2_000), None), Ok(Thresholds { warning_ns: 2_000_000, ..present }));
        assert_eq!(apply(None, Some(100_000)), Ok(Thresholds { critical_ns: 100_000_000, ..present }));
        assert!(apply(Some(2_000_000), None).unwrap_err().contains("2s (warning) and 1s (critical)"));
        assert!(apply(Some(1_900), None).unwrap_err().contains("at least 2ms"));
    }
}
