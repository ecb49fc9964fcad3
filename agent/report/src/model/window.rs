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
    /// Adds the present sample where the last one is old enough.
    pub fn push(&mut self, sample: Split) {
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

    /// Returns the sample at the beginning of the ten seconds that end with `present`, or the oldest there is.
    pub fn beginning(&self, present: Split) -> Split {
        let is_old = |sample: &&Split| sample.total_ns().saturating_add(SPAN_NS) <= present.total_ns();
        let youngest_old = self.samples.iter().rev().find(is_old);
        youngest_old.or(self.samples.front()).copied().unwrap_or_default()
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
}
