//! Watches one pool for saturation that lasts: all threads busy and jobs waiting.

use loopscope_probe::raw::pool::PoolNow;
use loopscope_report::compute::episode::Episode;
use loopscope_report::model::thresholds::Thresholds;

/// A pool that was found free this shortly after it was found saturated, in nanoseconds, was only between two jobs:
/// for a moment one worker has ended its job and has not taken the next one.
const GAP_NS: u64 = 60_000_000;

/// What one look found. Ages in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolTurn {
    /// The pool has been saturated for longer than the threshold.
    Began { age_ns: u64 },
    /// It still is; this many times the threshold.
    Lasts { times: u64, age_ns: u64 },
    /// A thread is free or the queue is empty again.
    Ended { age_ns: u64 },
}

/// Follows one pool.
#[derive(Debug, Default)]
pub(crate) struct PoolWatch {
    episode: Episode,
    /// Begin of the saturation and the last look that found it, on the page's clock in nanoseconds.
    saturated: Option<(u64, u64)>,
}

impl PoolWatch {
    /// Takes one look at a pool, at `taken_ns` on the page's clock.
    pub(crate) fn look(&mut self, pool: &PoolNow, taken_ns: u64, thresholds: Thresholds) -> Vec<PoolTurn> {
        self.saturated = match self.saturated {
            Some((since, _)) if pool.saturated_for_ns > 0 => Some((since, taken_ns)),
            Some((since, last)) if taken_ns.saturating_sub(last) <= GAP_NS => Some((since, last)),
            _ if pool.saturated_for_ns > 0 => {
                Some((taken_ns.saturating_sub(pool.saturated_for_ns), taken_ns))
            }
            _ => None,
        };
        self.judge(thresholds)
    }

    /// The pool has ended.
    pub(crate) fn end(&mut self, thresholds: Thresholds) -> Vec<PoolTurn> {
        self.saturated = None;
        self.judge(thresholds)
    }

    fn judge(&mut self, thresholds: Thresholds) -> Vec<PoolTurn> {
        let (since, age_ns) =
            self.saturated.map_or((0, 0), |(since, last)| (since, last.saturating_sub(since)));
        let step = self.episode.look(since, age_ns, thresholds.warning_ns);
        let turns = [
            step.ended_ns.map(|age_ns| PoolTurn::Ended { age_ns }),
            step.has_begun.then_some(PoolTurn::Began { age_ns }),
            step.lasts.map(|times| PoolTurn::Lasts { times, age_ns }),
        ];
        turns.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Ticks;

    const MS: u64 = 1_000_000;

    const THRESHOLDS: Thresholds = Thresholds { warning_ns: 100 * MS, critical_ns: 1_000 * MS };

    #[test]
    fn saturation_is_told_when_it_lasts_and_when_it_ends() {
        let mut watch = PoolWatch::default();
        let mut look = |at_ms: u64, saturated_for_ms: u64| {
            let pool = PoolNow {
                threads: Some(4),
                running: Some(4),
                queued: Some(9),
                oldest_wait_ns: Some(7 * MS),
                saturated_since: Ticks(1),
                saturated_for_ns: saturated_for_ms * MS,
            };
            watch.look(&pool, at_ms * MS, THRESHOLDS)
        };
        assert!(look(1_000, 0).is_empty() && look(1_090, 90).is_empty());
        assert_eq!(look(1_110, 110), [PoolTurn::Began { age_ns: 110 * MS }]);
        // Between two jobs, and right after it.
        assert!(look(1_130, 0).is_empty() && look(1_155, 2).is_empty());
        assert_eq!(look(1_400, 247), [PoolTurn::Lasts { times: 4, age_ns: 400 * MS }]);
        assert!(look(1_425, 0).is_empty());
        assert_eq!(look(1_475, 0), [PoolTurn::Ended { age_ns: 400 * MS }]);
        assert!(look(1_500, 0).is_empty());
    }

    #[test]
    fn a_pool_that_ends_is_saturated_no_more() {
        let mut watch = PoolWatch::default();
        let pool = PoolNow {
            threads: None,
            running: None,
            queued: None,
            oldest_wait_ns: Some(110 * MS),
            saturated_since: Ticks(1),
            saturated_for_ns: 110 * MS,
        };
        assert_eq!(watch.look(&pool, 1_110 * MS, THRESHOLDS), [PoolTurn::Began { age_ns: 110 * MS }]);
        assert_eq!(watch.end(THRESHOLDS), [PoolTurn::Ended { age_ns: 110 * MS }]);
        assert!(watch.end(THRESHOLDS).is_empty());
    }
}
