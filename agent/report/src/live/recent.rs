//! The last two minutes of loops, kept while nobody looks: so that who opens the live page sees what came before.
//!
//! Coarse and small: a sample of some hundred bytes a loop every few seconds, without sites. Whoever looks at the
//! loops anyway records it at a look, so that it wakes nobody up.

use crate::live::loop_sample::LoopSample;
use crate::live::view::{LagView, LoopView, PhaseView};
use crate::live::view_builder::ViewBuilder;
use serde::Serialize;
use std::collections::VecDeque;

/// Time between two samples. Looks of an idle process are five seconds apart.
const INTERVAL_NS: u64 = 4_000_000_000;

/// How long samples are kept.
const SPAN_NS: u64 = 120_000_000_000;

/// Loops that are recorded; of more, the first.
pub const LOOPS_MAX: usize = 64;

/// One sample of one loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastLoop {
    /// Which loop, as in views.
    pub id: String,
    /// What the figures are of, in nanoseconds.
    pub interval_ns: u64,
    /// As in views.
    pub lag: Option<LagView>,
    /// As in views.
    pub phases: Vec<PhaseView>,
    /// Time in stalls since the loop began, in nanoseconds.
    pub blocked_ns: u64,
}

/// One sample of all loops.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastView {
    /// When it was taken, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The loops.
    pub loops: Vec<PastLoop>,
}

/// Keeps samples.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    observer: ViewBuilder,
    /// When the last one was taken; `None` before the first.
    last_ns: Option<u64>,
    views: VecDeque<PastView>,
}

impl Recent {
    /// Tells whether it is time for a sample, at `now_ns` on a monotonic clock.
    pub fn is_due(&self, now_ns: u64) -> bool {
        self.last_ns.is_none_or(|last_ns| now_ns.saturating_sub(last_ns) >= INTERVAL_NS)
    }

    /// Takes a sample of loops as they are seen now.
    pub fn record(&mut self, seen: impl IntoIterator<Item = LoopSample>, now_ns: u64, unix_ns: u64) {
        let view = PastView::of(&mut self.observer, seen, unix_ns);
        // A first one is of the loops' lives.
        if self.last_ns.replace(now_ns).is_some() {
            self.views.push_back(view);
        }
        let is_old = |view: &PastView| unix_ns.saturating_sub(view.unix_ns) > SPAN_NS;
        while self.views.front().is_some_and(is_old) {
            self.views.pop_front();
        }
    }

    /// Returns the samples, the oldest first, and one more of what came since the last one, by loops as they are seen
    /// now: without it, who opens the page would miss some seconds before.
    pub fn views_until(&self, seen: impl IntoIterator<Item = LoopSample>, unix_ns: u64) -> Vec<PastView> {
        let rest = self.last_ns.map(|_| PastView::of(&mut self.observer.clone(), seen, unix_ns));
        self.views.iter().cloned().chain(rest).collect()
    }
}

impl PastView {
    /// Makes one of the time since `observer` last saw the loops.
    fn of(observer: &mut ViewBuilder, seen: impl IntoIterator<Item = LoopSample>, unix_ns: u64) -> PastView {
        let view = observer.observe(seen.into_iter().take(LOOPS_MAX), unix_ns);
        let loops = view.processes.into_iter().flat_map(|process| process.loops);
        let loops = loops.flat_map(|mut entry| {
            let workers = std::mem::take(&mut entry.workers);
            std::iter::once(entry).chain(workers)
        });
        PastView { unix_ns, loops: loops.map(PastLoop::from).collect() }
    }
}

impl From<LoopView> for PastLoop {
    fn from(entry: LoopView) -> PastLoop {
        let blocked_ns = entry.stalls.blocked_ns;
        PastLoop {
            id: entry.id,
            interval_ns: entry.interval_ns,
            lag: entry.lag,
            phases: entry.phases,
            blocked_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Clock, VirtualClock, Writer};

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn two_minutes_are_kept_of_what_was_seen_every_few_seconds() {
        let time = VirtualClock::starting_at(SECOND_NS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let mut recent = Recent::default();
        // The last sample is of second 296.
        for second in 0..300 {
            writer.resume();
            time.advance_ns(SECOND_NS / 4);
            writer.suspend();
            time.advance_ns(SECOND_NS * 3 / 4);
            let now_ns = second * SECOND_NS;
            if recent.is_due(now_ns) {
                recent.record(
                    [LoopSample::of(writer.page(), writer.clock(), writer.clock().now())],
                    now_ns,
                    now_ns,
                );
            }
        }
        let seen = LoopSample::of(writer.page(), writer.clock(), writer.clock().now());
        let mut views = recent.views_until([seen], 299 * SECOND_NS);
        let rest = views.pop().unwrap();
        let interval_ns = rest.loops[0].interval_ns;
        assert_eq!((rest.unix_ns, interval_ns), (299 * SECOND_NS, 3 * SECOND_NS), "until now");
        for (before, after) in views.iter().zip(views.iter().skip(1).chain([&rest])) {
            assert_eq!(after.unix_ns - after.loops[0].interval_ns, before.unix_ns, "without a gap");
        }
        assert!((28..=31).contains(&views.len()), "{}", views.len());
        let last = &views.last().unwrap().loops[0];
        assert_eq!(last.interval_ns, INTERVAL_NS);
        assert!(last.lag.as_ref().is_some_and(|lag| lag.max_ns > SECOND_NS / 10), "{last:?}");
        assert!(last.blocked_ns > 70 * SECOND_NS, "of all stalls so far: {}", last.blocked_ns);
    }
}
