//! Watches one pool for saturation that lasts: all threads busy and jobs waiting.

use crate::compute::episode::Episode;
use crate::model::thresholds::Thresholds;
use crate::watch::report::{Event, Report};
use loopscope_probe::pool::PoolNow;

/// A pool that was found free this shortly after it was found saturated, in nanoseconds, was only between two jobs:
/// for a moment one worker has ended its job and has not taken the next one.
const GAP_NS: u64 = 60_000_000;

/// Follows one pool.
#[derive(Debug, Default)]
pub(crate) struct PoolWatch {
    episode: Episode,
    /// Begin of the saturation and the last look that found it, on the page's clock in nanoseconds.
    saturated: Option<(u64, u64)>,
}

impl PoolWatch {
    /// Takes one look at the pool of the loop called `label`, at `taken_ns` on the page's clock.
    pub(crate) fn look(
        &mut self,
        label: &str,
        pool: &PoolNow,
        taken_ns: u64,
        thresholds: Thresholds,
    ) -> Vec<Report> {
        let Thresholds { warning_ns, critical_ns } = thresholds;
        self.saturated = match self.saturated {
            Some((since, _)) if pool.saturated_for_ns > 0 => Some((since, taken_ns)),
            Some((since, last)) if taken_ns.saturating_sub(last) <= GAP_NS => Some((since, last)),
            _ if pool.saturated_for_ns > 0 => {
                Some((taken_ns.saturating_sub(pool.saturated_for_ns), taken_ns))
            }
            _ => None,
        };
        let (since, age_ns) =
            self.saturated.map_or((0, 0), |(since, last)| (since, last.saturating_sub(since)));
        let step = self.episode.look(since, age_ns, warning_ns);
        let PoolNow { threads, queued, oldest_wait_ns, .. } = *pool;
        let events = [
            step.ended_ns.map(|seen_ns| (Event::PoolEnded, seen_ns)),
            step.has_begun.then_some((Event::PoolBegan { threads, queued, oldest_wait_ns }, age_ns)),
            step.lasts.map(|times| (Event::PoolLasts { times, threads, queued, oldest_wait_ns }, age_ns)),
        ];
        let report = |(event, age_ns)| Report {
            event,
            subject: label.to_owned(),
            blame: None,
            age_ns,
            is_critical: age_ns > critical_ns,
        };
        events.into_iter().flatten().map(report).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Ticks;

    const THRESHOLDS: Thresholds = Thresholds { warning_ns: 100_000_000, critical_ns: 1_000_000_000 };

    #[test]
    fn saturation_is_told_when_it_lasts_and_when_it_ends() {
        let mut watch = PoolWatch::default();
        let mut look = |at_ms: u64, saturated_for_ms: u64| -> Vec<String> {
            let pool = PoolNow {
                threads: 4,
                running: 4,
                queued: 9,
                oldest_wait_ns: 7_000_000,
                saturated_since: Ticks(1),
                saturated_for_ns: saturated_for_ms * 1_000_000,
            };
            let reports = watch.look("main", &pool, at_ms * 1_000_000, THRESHOLDS);
            reports.iter().map(Report::message).collect()
        };
        assert!(look(1_000, 0).is_empty() && look(1_090, 90).is_empty());
        assert_eq!(
            look(1_110, 110),
            ["pool of loop main saturated for 110 ms: 4 threads busy, 9 jobs waiting, the oldest for 7.0 ms"]
        );
        // Between two jobs, and right after it.
        assert!(look(1_130, 0).is_empty() && look(1_155, 2).is_empty());
        assert_eq!(look(1_400, 247).len(), 1);
        assert!(look(1_425, 0).is_empty());
        assert_eq!(look(1_475, 0), ["pool of loop main no longer saturated after 400 ms"]);
        assert!(look(1_500, 0).is_empty());
    }
}
