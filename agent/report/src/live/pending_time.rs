//! Time that is shown while it passes, and counted only later.
//!
//! A page counts a callback at its end, spans inside it as they end, and many short callbacks in batches. Told is what
//! was counted since, or what of the running callback falls into the interval, whichever is more; and what was told
//! ahead of the counts is not told again.

/// One site's or phase's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PendingTime {
    told_ns: u64,
}

impl PendingTime {
    /// Returns the time to tell of an interval of `interval_ns`. `counted_ns` is the total on the page, `running_ns` how
    /// long what runs there has been running, 0 where nothing does. All in nanoseconds.
    pub(super) fn settle(&mut self, counted_ns: u64, running_ns: u64, interval_ns: u64) -> u64 {
        let due_ns = counted_ns.saturating_sub(self.told_ns);
        let tell_ns = due_ns.max(running_ns).min(interval_ns);
        // What was counted late and does not fit belongs to an interval that is over: it is let go.
        self.told_ns = self.told_ns.saturating_add(tell_ns).max(counted_ns);
        tell_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_told_as_it_passes_and_only_once() {
        let mut account = PendingTime::default();
        // Counted, running, interval: 1.2 s that begin in the first interval, with spans counted on the way.
        let steps = [(100, 0, 500), (100, 200, 500), (450, 700, 500), (1_300, 0, 500), (1_310, 0, 500)];
        let told = steps.map(|(counted, running, interval)| account.settle(counted, running, interval));
        assert_eq!(told, [100, 200, 500, 500, 10]);
    }

    #[test]
    fn no_interval_has_more_time_than_it_is_long() {
        let mut account = PendingTime::default();
        assert_eq!(account.settle(9_000, 0, 500), 500);
        assert_eq!(account.settle(9_000, 0, 500), 0);
        assert_eq!(account.settle(8_000, 0, 500), 0, "a damaged page's counter fell");
        assert_eq!(account.settle(u64::MAX, u64::MAX, 0), 0);
    }
}
