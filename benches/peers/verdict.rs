//! What many pairs of slices prove about a goal, and when they prove nothing.
//!
//! The median of the pairs has a confidence interval that needs no assumption about their distribution: between the
//! values whose ranks lie [`DEVIATIONS`] standard deviations of a binomial from the middle. It is widened by what the
//! A/A control was off by, for that is what this run cannot tell from nothing. A goal is met or missed only where the
//! whole interval lies on one side of it.

use std::fmt;

/// Of a normal distribution's standard deviations: a confidence of 95 %.
const DEVIATIONS: f64 = 1.96;

/// A median, where the middle half lies, and where the true median may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub median: f64,
    pub quartiles: (f64, f64),
    pub bounds: (f64, f64),
}

impl Estimate {
    /// # Panics
    /// Panics without values.
    pub fn of(mut values: Vec<f64>) -> Estimate {
        values.sort_by(f64::total_cmp);
        let last = values.len() as f64 - 1.0;
        let at = |rank: f64| values[rank.clamp(0.0, last) as usize];
        let reach = DEVIATIONS * (values.len() as f64).sqrt() / 2.0;
        let middle = last / 2.0;
        Estimate {
            median: (at(middle.floor()) + at(middle.ceil())) / 2.0,
            quartiles: (at((last * 0.25).round()), at((last * 0.75).round())),
            bounds: (at((middle - reach).floor()), at((middle + reach).ceil())),
        }
    }

    /// Widens the bounds by a share: what the control was off by.
    fn widened(self, share: f64) -> (f64, f64) {
        (self.bounds.0 * (1.0 - share), self.bounds.1 * (1.0 + share))
    }

    /// How far the bounds of a ratio that should be 1 lie from it: the noise that this run cannot tell from nothing.
    /// Only what lies beyond 1 counts: bounds on both sides of it are as they should be.
    pub fn bias(self) -> f64 {
        let (low, high) = self.bounds;
        (low - 1.0).max(1.0 - high).max(0.0)
    }
}

/// What a run says about a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Verdict::Inconclusive => "*inconclusive*",
        })
    }
}

/// Compares with a goal of at most `at_most`, given what the A/A control was off by.
pub fn judge(estimate: Estimate, at_most: f64, control: Estimate) -> Verdict {
    // A control whose own bounds are wide hides a bias as large.
    let (low, high) = control.bounds;
    let noise = control.bias().max((high - low) / 2.0);
    match estimate.widened(noise) {
        (_, high) if high <= at_most => Verdict::Met,
        (low, _) if low > at_most => Verdict::Missed,
        _ => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` values spread evenly around `middle` by `spread` on each side.
    fn around(middle: f64, spread: f64, count: usize) -> Estimate {
        let at = |index: usize| middle + spread * (2.0 * index as f64 / (count as f64 - 1.0) - 1.0);
        Estimate::of((0..count).map(at).collect())
    }

    #[test]
    fn an_estimate_has_the_median_in_the_middle_of_its_bounds() {
        let estimate = around(10.0, 5.0, 101);
        assert_eq!((estimate.median, estimate.quartiles), (10.0, (7.5, 12.5)));
        assert!((estimate.bounds.0 - 9.0).abs() < 0.11 && (estimate.bounds.1 - 11.0).abs() < 0.11);
        assert_eq!(Estimate::of(vec![3.0]).bounds, (3.0, 3.0));
    }

    #[test]
    fn a_goal_is_met_or_missed_only_beyond_the_noise() {
        let quiet = around(1.0, 0.01, 101);
        assert_eq!(judge(around(0.90, 0.05, 101), 0.95, quiet), Verdict::Met);
        assert_eq!(judge(around(1.00, 0.05, 101), 0.95, quiet), Verdict::Missed);
        assert_eq!(judge(around(0.95, 0.05, 101), 0.95, quiet), Verdict::Inconclusive);
        assert_eq!(judge(around(0.90, 0.50, 101), 0.95, quiet), Verdict::Inconclusive);
        // The control is 10 % off: the same figures prove nothing.
        let biased = around(1.10, 0.01, 101);
        assert_eq!(judge(around(0.90, 0.05, 101), 0.95, biased), Verdict::Inconclusive);
        let spread = around(1.0, 0.5, 101);
        assert_eq!(judge(around(0.90, 0.05, 101), 0.95, spread), Verdict::Inconclusive);
    }
}
