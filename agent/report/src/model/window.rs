//! The last ten seconds of a loop's time split, thinned to one sample each quarter of a second.

use std::collections::VecDeque;

/// The period that utilization is told over, in nanoseconds.
pub(crate) const SPAN_NS: u64 = 10_000_000_000;

/// Samples closer together than this, in nanoseconds, are not kept.
const SPACING_NS: u64 = 250_000_000;

/// A loop's cumulative time split at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub active_ns: u64,
    pub idle_ns: u64,
}

impl Split {
    /// All the time the loop has existed, which makes it the sample's time stamp too.
    pub(crate) fn total_ns(self) -> u64 {
        self.active_ns.saturating_add(self.idle_ns)
    }
}

/// Samples of the last ten seconds and the one before them. At most 42.
#[derive(Clone, Debug, Default)]
pub struct Window {
    samples: VecDeque<Split>,
}

impl Window {
    /// Adds the present sample where the last one is old enough. Earlier ones that are of a clearly later moment are dropped:
    /// time does not go back, so they were read from a page that was not whole.
    pub fn push(&mut self, sample: Split) {
        let is_refuted = |earlier: &Split| earlier.total_ns() > sample.total_ns().saturating_add(SPACING_NS);
        while self.samples.back().is_some_and(is_refuted) {
            self.samples.pop_back();
        }
        let newest_ns = self.samples.back().map(|newest| newest.total_ns());
        if newest_ns.is_some_and(|newest_ns| sample.total_ns() < newest_ns.saturating_add(SPACING_NS)) {
            return;
        }
        self.samples.push_back(sample);
        // Keep exactly one sample that is older than the span: the beginning of the period.
        while self.samples.len() > 2
            && self.samples[1].total_ns().saturating_add(SPAN_NS) <= sample.total_ns()
        {
            self.samples.pop_front();
        }
    }

    /// Returns the sample at the beginning of the ten seconds that end with `present`, or the oldest there is; where that is
    /// none, or later than `present`, the loop's own beginning.
    pub fn beginning(&self, present: Split) -> Split {
        let is_old = |sample: &&Split| sample.total_ns().saturating_add(SPAN_NS) <= present.total_ns();
        let youngest_old = self.samples.iter().rev().find(is_old);
        let oldest = self.samples.front().filter(|oldest| oldest.total_ns() <= present.total_ns());
        youngest_old.or(oldest).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Split {
        Split { active_ns: ms * 1_000_000, idle_ns: 0 }
    }

    #[test]
    fn the_window_spans_ten_seconds_whatever_the_tick() {
        let mut window = Window::default();
        for ms in (0..60_000).step_by(10) {
            window.push(at(ms));
        }
        let beginning_ms = window.beginning(at(60_000)).total_ns() / 1_000_000;
        assert!((49_500..=50_000).contains(&beginning_ms), "{beginning_ms}");
        assert!(window.samples.len() <= 42, "{}", window.samples.len());
    }

    #[test]
    fn a_young_loop_is_measured_from_its_first_sample() {
        let mut window = Window::default();
        assert_eq!(window.beginning(at(5)), Split::default());
        window.push(at(100));
        assert_eq!(window.beginning(at(900)), at(100));
    }

    #[test]
    fn a_sample_that_time_refutes_is_not_kept() {
        let (boot, mut window) = (Split { active_ns: 0, idle_ns: 86_400_000_000_000 }, Window::default());
        window.push(boot);
        assert_eq!(window.beginning(at(100)), Split::default());
        for ms in (0..30_000).step_by(100) {
            let half = Split { active_ns: ms * 500_000, idle_ns: ms * 500_000 };
            window.push(half);
            if ms == 20_000 {
                window.push(boot);
            }
        }
        let present = Split { active_ns: 15_000_000_000, idle_ns: 15_000_000_000 };
        let beginning = window.beginning(present);
        assert!(beginning.active_ns == beginning.idle_ns, "{beginning:?}");
        assert!((19_500..=20_500).contains(&(beginning.total_ns() / 1_000_000)), "{beginning:?}");
    }
}
