//! When a session looks at its loops: at random moments, so that no timer of a loop keeps step with them.

/// The moments of a session's looks.
///
/// Each is drawn anew, from half a period to one and a half after the one before, all equally likely. With moments that only
/// move about a fixed grid, a loop whose timers have the grid's period would be met in the same place for ever. The width is
/// just a period, so that of work that comes once a period (or twice, three times), each look meets another random part.
#[derive(Debug)]
pub(crate) struct SampleTimes {
    next_ns: u64,
    period_ns: u64,
    random: u64,
}

impl SampleTimes {
    /// Begins now, with looks that are `period_ns` apart on the average.
    pub(crate) fn new(now_ns: u64, period_ns: u64) -> SampleTimes {
        SampleTimes { next_ns: now_ns, period_ns: period_ns.max(1), random: now_ns | 1 }
    }

    /// Returns how long to wait for the next look. The last one falls on the end, so that the time before it is counted.
    pub(crate) fn wait_ns(&mut self, now_ns: u64, end_ns: u64) -> u64 {
        self.next(now_ns).min(end_ns).saturating_sub(now_ns)
    }

    /// Returns the moment of the next look. Looks that were missed are not made up for.
    pub(crate) fn next(&mut self, now_ns: u64) -> u64 {
        self.next_ns = self.next_ns.saturating_add(self.draw());
        if self.next_ns <= now_ns {
            self.next_ns = now_ns.saturating_add(self.draw());
        }
        self.next_ns
    }

    fn draw(&mut self) -> u64 {
        // Xorshift: no secret depends on it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.period_ns / 2 + self.random % self.period_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_a_random_time_apart_and_a_period_on_the_average() {
        let mut pace = SampleTimes::new(1_000_000, 10_000);
        let moments: Vec<u64> = (0..10_000).map(|_| pace.next(0)).collect();
        let gaps: Vec<u64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| (5_000..15_000).contains(gap)));
        let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
        assert!(mean.abs_diff(10_000) < 100, "{mean}");
        // Against the grid, all places are equally often.
        let in_first_tenth = moments.iter().filter(|moment| **moment % 10_000 < 1_000).count();
        assert!(in_first_tenth.abs_diff(1_000) < 120, "{in_first_tenth}");
    }

    #[test]
    fn the_last_look_falls_on_the_end() {
        let mut pace = SampleTimes::new(1_000_000, 10_000);
        assert_eq!(pace.wait_ns(1_000_000, 1_000_004), 4);
        assert!((5_000..15_000).contains(&pace.wait_ns(2_000_000, 9_000_000)));
        assert_eq!(pace.wait_ns(3_000_000, 2_000_000), 0);
    }

    #[test]
    fn a_look_that_came_late_moves_those_after_it() {
        let mut pace = SampleTimes::new(1_000_000, 10_000);
        let next_ns = pace.next(9_000_000);
        assert!((9_005_000..9_015_000).contains(&next_ns), "{next_ns}");
    }
}
