//! The demo's line per second: what the loop did in the last second, and what it does now.

use crate::ls::describe;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_probe::{Page, Snapshot};
use loopscope_report::duration::show_ns;
use loopscope_report::incident::PoolState;
use loopscope_report::model::waits::Waits;

/// Makes the lines of one loop.
#[derive(Debug)]
pub struct Summary {
    earlier: Snapshot,
    earlier_served: u64,
}

/// What one line says.
#[derive(Debug, PartialEq)]
struct Second {
    requests: f64,
    /// 99th percentile of the loop's lag; `None` where nothing is known of the second.
    lag_ns: Option<u64>,
    utilization: f64,
    now: String,
    /// Jobs drained in the second, both queues together.
    drained: u64,
    /// Running jobs, threads, and waiting jobs of the pool.
    pool: Option<PoolState>,
}

impl Summary {
    /// Begins now.
    pub fn new(page: &LocalPage, served: u64) -> Summary {
        Summary { earlier: page.page().snapshot(page.clock()), earlier_served: served }
    }

    /// Returns the line for the time since the last one.
    pub fn line(&mut self, page: &LocalPage, served: u64) -> String {
        let later = page.page().snapshot(page.clock());
        let elapsed_ns = page.clock().ns_between(self.earlier.taken, later.taken).max(1);
        self.second(later, page.page(), served, elapsed_ns).line()
    }

    /// Returns what has happened since the last time, `elapsed_ns` ago.
    fn second(&mut self, later: Snapshot, page: &Page, served: u64, elapsed_ns: u64) -> Second {
        let second = Second {
            requests: (served - self.earlier_served) as f64 * 1e9 / elapsed_ns as f64,
            lag_ns: lag_ns(&self.earlier, &later),
            utilization: later.active_ns.saturating_sub(self.earlier.active_ns) as f64 / elapsed_ns as f64,
            now: now(&later, page),
            drained: later.drained_jobs.iter().sum::<u64>() - self.earlier.drained_jobs.iter().sum::<u64>(),
            pool: later.pool.as_ref().map(|pool| PoolState { oldest_wait_ns: None, ..PoolState::from(pool) }),
        };
        (self.earlier, self.earlier_served) = (later, served);
        second
    }
}

/// Returns the 99th percentile of the waits of the time between, of those that still wait until now.
fn lag_ns(earlier: &Snapshot, later: &Snapshot) -> Option<u64> {
    Waits::of(later).since(&Waits::of(earlier)).running(later.now.busy_ns).quantile_ns(0.99)
}

fn now(snapshot: &Snapshot, page: &Page) -> String {
    let now = &snapshot.now;
    let what = || now.running.map_or("?".to_owned(), |running| describe(&running, page));
    match now.busy_ns {
        0 => "idle".to_owned(),
        ns if ns > snapshot.warning_ns => format!("STALLED {} in {}", show_ns(ns), what()),
        _ => what(),
    }
}

impl Second {
    fn line(&self) -> String {
        let lag = match self.lag_ns {
            None => "-".to_owned(),
            // The first bucket also holds the zeros of an idle loop.
            Some(..1_000) => "< 1 µs".to_owned(),
            Some(ns) => show_ns(ns),
        };
        let pool = match &self.pool {
            Some(pool) => format!(" | pool: {}", pool.words()),
            None => String::new(),
        };
        format!(
            "{:4.0} req/s | p99 lag {lag} | busy {:3.0}% | {} drained/s{pool} | now {}",
            self.requests,
            self.utilization * 100.0,
            self.drained,
            self.now
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Clock, Kind, Queue, SiteId, TaskTimes, VirtualClock, Writer};

    const MS: u64 = 1_000_000;

    /// Requests, share of busy time and drained jobs are those of a second, not of all time.
    #[test]
    fn each_second_has_figures_of_its_own() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        writer.park();
        let mut summary = Summary { earlier: writer.page().snapshot(writer.clock()), earlier_served: 0 };
        let mut second = |busy_ms: u64, served| {
            time.advance_ns((1_000 - busy_ms) * MS);
            writer.unpark(1);
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            writer.end();
            for (queue, kind, jobs) in
                [(Queue::NextTick, Kind::Tick, 2), (Queue::Microtask, Kind::Microtask, 3)]
            {
                writer.drain_begin(queue, jobs);
                for _ in 0..jobs {
                    writer.begin(kind, SiteId::NONE, TaskTimes::UNKNOWN);
                    writer.end();
                }
                writer.drain_end(queue, jobs as u64);
            }
            writer.drained();
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            time.advance_ns(busy_ms * MS);
            let running = writer.page().snapshot(writer.clock());
            let what = now(&running, writer.page());
            writer.end();
            writer.park();
            let later = writer.page().snapshot(writer.clock());
            let told = summary.second(later, writer.page(), served, 1_000 * MS);
            (told.requests as u64, (told.utilization * 100.0).round() as u64, told.drained, what)
        };
        let (first, later) = (second(300, 50), second(50, 80));
        assert_eq!((first.0, first.1, first.2), (50, 30, 5));
        assert!(first.3.starts_with("STALLED 300 ms in timer"), "{}", first.3);
        assert_eq!((later.0, later.1, later.2), (30, 5, 5));
        assert!(later.3.starts_with("timer"), "{}", later.3);
    }

    #[test]
    fn the_lag_of_a_second_has_those_in_it_who_wait_still() {
        let time = VirtualClock::starting_at(1_000_000);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let seen = |writer: &Writer| writer.page().snapshot(writer.clock());
        writer.park();
        let begin = seen(&writer);
        time.advance_ns(838_000_000);
        let idle = seen(&writer);
        assert_eq!(lag_ns(&begin, &idle), Some(0));
        writer.unpark(1);
        time.advance_ns(162_000_000);
        let lag_ns = lag_ns(&begin, &seen(&writer)).unwrap();
        assert!((140_000_000..=162_000_000).contains(&lag_ns), "{lag_ns}");
    }

    #[test]
    fn a_line_has_figures_with_units_and_what_runs() {
        let second = Second {
            requests: 199.6,
            lag_ns: Some(302_000_000),
            utilization: 0.163,
            now: "STALLED 120 ms in timer parse_invoices (src/x.rs:40)".to_owned(),
            drained: 1250,
            pool: Some(PoolState {
                threads: Some(4),
                running: Some(4),
                queued: Some(36),
                oldest_wait_ns: None,
            }),
        };
        assert_eq!(
            second.line(),
            " 200 req/s | p99 lag 302 ms | busy  16% | 1250 drained/s | pool: 4 of 4 threads busy, 36 jobs waiting | now STALLED 120 ms in timer parse_invoices (src/x.rs:40)"
        );
        let quiet = Second { lag_ns: None, pool: None, now: "idle".to_owned(), ..second };
        assert_eq!(quiet.line(), " 200 req/s | p99 lag - | busy  16% | 1250 drained/s | now idle");
    }
}
