//! Watches one pool for saturation that lasts: all threads busy and jobs waiting.

use crate::compute::episode::Episode;
use crate::watch::report::{Event, Report};
use loopscope_probe::pool::PoolNow;

/// Follows one pool.
#[derive(Debug, Default)]
pub(crate) struct PoolWatch {
    episode: Episode,
}

impl PoolWatch {
    /// Takes one look at the pool of the loop called `label`.
    pub(crate) fn look(
        &mut self,
        label: &str,
        pool: &PoolNow,
        warning_ns: u64,
        critical_ns: u64,
    ) -> Vec<Report> {
        let age_ns = pool.saturated_for_ns;
        let step = self.episode.look(pool.saturated_since.0, age_ns, warning_ns);
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

    #[test]
    fn saturation_is_told_when_it_lasts_and_when_it_ends() {
        let mut watch = PoolWatch::default();
        let mut look = |since: u64, age_ms: u64| -> Vec<String> {
            let saturated_for_ns = age_ms * 1_000_000;
            let pool = PoolNow {
                threads: 4,
                running: 4,
                queued: 9,
                oldest_wait_ns: 7_000_000,
                saturated_since: Ticks(since),
                saturated_for_ns,
            };
            let reports = watch.look("main", &pool, 100_000_000, 1_000_000_000);
            reports.iter().map(Report::message).collect()
        };
        assert!(look(0, 0).is_empty() && look(5, 90).is_empty());
        assert_eq!(
            look(5, 110),
            ["pool of loop main saturated for 110 ms: 4 threads busy, 9 jobs waiting, the oldest for 7.0 ms"]
        );
        assert!(look(5, 150).is_empty());
        assert_eq!(look(5, 400).len(), 1);
        assert_eq!(look(9, 1), ["pool of loop main no longer saturated after 400 ms"]);
    }
}
