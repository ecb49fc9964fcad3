//! Stall thresholds: one pair for all loops, and pairs of their own for some.

use crate::duration::show_exactly;
use loopscope_probe::raw::loop_id::Called;
use std::collections::BTreeMap;
use std::fmt;

/// The shortest threshold, in nanoseconds. A loop that keeps turning is looked at once a threshold, so this bounds
/// the looks to 500 a second, which take 1.2 % of a core (`benches/RESULTS.md`, "Agent"); each halving would double
/// that, and below it the agent's own wake-ups would be what is measured.
pub const THRESHOLD_NS_MIN: u64 = 2_000_000;

/// From when on a busy period is a stall, and a critical one, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub warning_ns: u64,
    pub critical_ns: u64,
}

impl Thresholds {
    /// Tells whether they make sense: the warning from 2 ms up, and not above the critical one.
    pub fn are_sensible(self) -> bool {
        self.warning_ns >= THRESHOLD_NS_MIN && self.warning_ns <= self.critical_ns
    }
}

/// The thresholds of every loop.
#[derive(Clone, Debug)]
pub struct ThresholdTable {
    pub all: Thresholds,
    own: BTreeMap<String, Thresholds>,
}

impl ThresholdTable {
    pub fn new(all: Thresholds) -> Self {
        ThresholdTable { all, own: BTreeMap::new() }
    }

    /// Returns the thresholds of the loop that is called so and has this name: its own by label, else those of its name, else
    /// those of its runtime, else those of all.
    pub fn of(&self, called: &Called, name: &str) -> Thresholds {
        // A loop that is of no runtime has none by that name.
        let names = [&*called.label, name, &*called.runtime].into_iter().filter(|text| !text.is_empty());
        let own = names.into_iter().find_map(|text| self.own.get(text));
        own.copied().unwrap_or(self.all)
    }

    /// Sets the thresholds of all workers of a runtime; none of `workers`, by label or name, has its own then.
    pub fn set_runtime(&mut self, runtime: &str, workers: &[String], thresholds: Thresholds) {
        self.own.retain(|name, _| !workers.contains(name));
        self.set_one(runtime, thresholds);
    }

    /// Sets the thresholds of one loop, by its label or name, or of all workers of a runtime.
    pub fn set_one(&mut self, loop_name: &str, thresholds: Thresholds) {
        self.own.insert(loop_name.to_owned(), thresholds);
    }

    /// Sets the thresholds of all loops; none has its own then.
    pub fn set_all(&mut self, thresholds: Thresholds) {
        self.all = thresholds;
        self.own.clear();
    }

    /// Returns every pair that was set.
    pub fn pairs(&self) -> impl Iterator<Item = Thresholds> + '_ {
        std::iter::once(self.all).chain(self.own.values().copied())
    }
}

/// `100ms, critical from 1s (web 20ms/200ms)`.
impl fmt::Display for ThresholdTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Thresholds { warning_ns, critical_ns } = self.all;
        write!(f, "{}, critical {}", show_exactly(warning_ns), show_exactly(critical_ns))?;
        let own = |(name, own): (&String, &Thresholds)| {
            format!("{name} {}/{}", show_exactly(own.warning_ns), show_exactly(own.critical_ns))
        };
        match &*self.own.iter().map(own).collect::<Vec<_>>() {
            [] => Ok(()),
            own => write!(f, " ({})", own.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn pair(warning_ms: u64) -> Thresholds {
        Thresholds { warning_ns: warning_ms * MS, critical_ns: 1_000 * MS }
    }

    #[test]
    fn a_label_comes_before_a_name_a_runtime_and_all() {
        let mut table = ThresholdTable::new(pair(100));
        table.set_one("worker", pair(20));
        table.set_one("worker#2", pair(30));
        let of = |table: &ThresholdTable, label: &str, name: &str, runtime: &str| {
            let (label, runtime) = (label.to_owned(), runtime.to_owned());
            table.of(&Called { label, runtime, ..Called::default() }, name)
        };
        table.set_one("", pair(5));
        assert_eq!(of(&table, "main", "main", ""), pair(100), "no name is no runtime's");
        assert_eq!(of(&table, "worker#3", "worker", ""), pair(20));
        assert_eq!(of(&table, "worker#2", "worker", ""), pair(30));
        table.set_one("web", pair(40));
        assert_eq!(of(&table, "web/1", "web/1", "web"), pair(40));
        table.set_one("web/1", pair(60));
        assert_eq!(of(&table, "web/1", "web/1", "web"), pair(60));
        assert_eq!(table.pairs().count(), 6);
        table.set_runtime("web", &["web/1".to_owned(), "web/2".to_owned()], pair(70));
        assert_eq!(of(&table, "web/1", "web/1", "web"), pair(70), "what came last counts");
        assert_eq!(of(&table, "worker#2", "worker", ""), pair(30), "of no other");
        table.set_all(pair(50));
        assert_eq!(of(&table, "worker#2", "worker", ""), pair(50));
        assert_eq!(of(&table, "web/1", "web/1", "web"), pair(50));
    }

    #[test]
    fn thresholds_begin_at_two_milliseconds() {
        assert!(pair(2).are_sensible() && !pair(1_001).are_sensible());
        assert!(!Thresholds { warning_ns: 2 * MS - 1, critical_ns: MS * 9 }.are_sensible());
    }
}
