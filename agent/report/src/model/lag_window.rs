//! The lag of about the last minute, for those who want gauges: copies of the histogram, ten seconds apart.

use crate::model::waits::Waits;
use std::collections::VecDeque;

/// The period that is told over, in nanoseconds.
const SPAN_NS: u64 = 60_000_000_000;

/// Copies closer together than this, in nanoseconds, are not made.
const SPACING_NS: u64 = 10_000_000_000;

/// At most 8 copies of 6 KiB.
#[derive(Clone, Debug, Default)]
pub struct LagWindow {
    samples: VecDeque<(u64, Waits)>,
}

impl LagWindow {
    /// Makes a copy where the last one is old enough. `now_ns` is a moment on the monotonic clock.
    pub fn note(&mut self, now_ns: u64, read: impl FnOnce() -> Waits) {
        if self.samples.back().is_some_and(|(at_ns, _)| now_ns < at_ns.saturating_add(SPACING_NS)) {
            return;
        }
        self.samples.push_back((now_ns, read()));
        // One is kept that is older than the period: its beginning.
        while self.samples.len() > 2 && self.samples[1].0.saturating_add(SPAN_NS) <= now_ns {
            self.samples.pop_front();
        }
    }

    /// Returns what was counted in the last 60 to 70 seconds, or since the first copy.
    pub fn since_beginning(&self, present: &Waits) -> Waits {
        self.samples.front().map_or_else(|| present.clone(), |(_, beginning)| present.since(beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_a_minute_and_some() {
        let mut window = LagWindow::default();
        let mut values = Waits::default();
        for second in 0..300u64 {
            values.lag.buckets[9] += 1;
            window.note(second * 1_000_000_000, || values.clone());
            assert!(window.samples.len() <= 8, "{}", window.samples.len());
        }
        let counted = window.since_beginning(&values).lag.count();
        assert!((60..=70).contains(&counted), "{counted}");
        assert_eq!(LagWindow::default().since_beginning(&values).lag.count(), 300);
    }
}
