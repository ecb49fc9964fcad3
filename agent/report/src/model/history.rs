//! A loop's counters over the last ten seconds, one copy a second: what an incident tells of the time before it.

use crate::model::waits::Waits;
use std::collections::VecDeque;

/// The period before an incident that is told, in nanoseconds.
const SPAN_NS: u64 = 10_000_000_000;

/// Copies closer together than this, in nanoseconds, are not kept.
const SPACING_NS: u64 = 1_000_000_000;

/// A loop's counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub active_ns: u64,
    pub idle_ns: u64,
    pub iterations: u64,
    /// Callbacks and drained jobs that ended.
    pub callbacks: u64,
    /// Stalls that ended.
    pub stalls: u64,
    pub waits: Waits,
}

impl Counters {
    /// All the time the loop has existed, which makes it the copy's time stamp too.
    pub fn total_ns(&self) -> u64 {
        self.active_ns.saturating_add(self.idle_ns)
    }
}

/// Copies, oldest first; at most twelve.
#[derive(Clone, Debug, Default)]
pub struct History {
    copies: VecDeque<Counters>,
}

impl History {
    /// Tells whether another copy is due when the loop has existed for `total_ns`.
    pub fn is_due(&self, total_ns: u64) -> bool {
        self.copies.back().is_none_or(|newest| {
            let newest_ns = newest.total_ns();
            total_ns >= newest_ns.saturating_add(SPACING_NS) || is_refuted(newest_ns, total_ns)
        })
    }

    /// Adds the present copy. Earlier ones that are of a clearly later moment are dropped: time does not go back, so they were
    /// read from a page that was not whole.
    pub fn push(&mut self, copy: Counters) {
        let total_ns = copy.total_ns();
        while self.copies.back().is_some_and(|earlier| is_refuted(earlier.total_ns(), total_ns)) {
            self.copies.pop_back();
        }
        self.copies.push_back(copy);
        while self.copies.len() > 2 && self.copies[1].total_ns().saturating_add(SPAN_NS) <= total_ns {
            self.copies.pop_front();
        }
    }

    /// Returns the copy at the beginning of the ten seconds that end when the loop had existed for `total_ns`, or the
    /// oldest there is; `None` where there is none from before that.
    pub fn beginning(&self, total_ns: u64) -> Option<&Counters> {
        let is_old = |copy: &&Counters| copy.total_ns().saturating_add(SPAN_NS) <= total_ns;
        let oldest = self.copies.front().filter(|oldest| oldest.total_ns() <= total_ns);
        self.copies.iter().rev().find(is_old).or(oldest)
    }
}

/// Tells whether a copy that was made earlier, when the loop had existed for `earlier_ns`, was not: it has existed for less now.
fn is_refuted(earlier_ns: u64, now_ns: u64) -> bool {
    earlier_ns > now_ns.saturating_add(SPACING_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_are_kept_in_twelve_copies() {
        let mut history = History::default();
        for ms in (0..60_000u64).step_by(50) {
            let copy = Counters { idle_ns: ms * 1_000_000, ..Counters::default() };
            if history.is_due(copy.total_ns()) {
                history.push(copy);
            }
        }
        assert!(history.copies.len() <= 12, "{}", history.copies.len());
        let beginning = history.beginning(60_000_000_000).unwrap();
        assert_eq!(beginning.idle_ns, 50_000_000_000);
        assert!(History::default().beginning(5).is_none());
    }

    #[test]
    fn a_copy_that_time_refutes_is_not_kept() {
        let mut history = History::default();
        history.push(Counters { idle_ns: 86_400_000_000_000, ..Counters::default() });
        assert!(history.beginning(100_000_000).is_none());
        for ms in (0..30_000u64).step_by(100) {
            let copy = Counters { idle_ns: ms * 1_000_000, ..Counters::default() };
            if history.is_due(copy.total_ns()) {
                history.push(copy);
            }
            // Before ten seconds are over, it is not in the way of the oldest that is true.
            let beginning = history.beginning(ms * 1_000_000).unwrap();
            assert_eq!(beginning.idle_ns / 1_000_000, ms.saturating_sub(10_000) / 1_000 * 1_000, "{ms}");
        }
        assert_eq!(history.beginning(30_000_000_000).unwrap().idle_ns, 20_000_000_000);
    }
}
