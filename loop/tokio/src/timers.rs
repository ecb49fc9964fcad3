//! Whether a runtime has timers, which Tokio does not say (1.54): asking for one where there are none is a panic, and nothing of
//! ours may cause one. So the kernel is asked how the runtime waits.
//!
//! A driver without timers waits for ever or not at all (`park` and `park_timeout(0)` in Tokio's `runtime::driver`, from 1.49 to
//! 1.54); only the driver of timers waits for a time, when one is pending. So a worker that waits for a time *in its driver* proves
//! that there are timers. That it is in its driver, and not in what a task of the program does on that thread, is proven so:
//!
//! 1. Its counter is odd, before and after the thread was looked at: the worker is parked, and runs no task.
//! 2. The thread may do that worker's work no more (`block_in_place` handed it over, another thread is in `block_on`), and wait for
//!    something of its own. So tasks of ours are sent afterwards, and one of them has to run on this very thread, as this worker,
//!    after it unparked exactly once.
//! 3. All that three times, at the same place.
//!
//! Until then the runtime is taken for one without timers. Where a panic would end the process it always is.

use crate::epoll_wait::TimedWait;
use crate::runtime::WatchedRuntime;
use crate::timed_park::TimedPark;
use loopscope_probe::Ticks;
use loopscope_probe::raw::clock::Scale;
use std::sync::Arc;

/// So many waits at one place prove that there are timers.
const PROOFS: u32 = 3;
/// After one that proved nothing the next is looked for so much later, in nanoseconds, then twice as much, and so on: the tasks
/// that are sent cost the workers some time.
const FIRST_AGAIN_NS: u64 = 20_000_000;
const LAST_AGAIN_NS: u64 = 1_000_000_000;
/// Where no thread waits for a time, likewise.
const FIRST_NONE_NS: u64 = 20_000_000;
const LAST_NONE_NS: u64 = 500_000_000;
/// So many threads are asked in one look; each costs some 10 µs.
const THREADS: usize = 4;

/// Finds out whether a runtime has timers, look by look.
#[derive(Debug)]
pub(crate) struct TimerSearch {
    place: Option<TimedWait>,
    proofs: u32,
    next_at: Ticks,
    again_ns: u64,
    none_ns: u64,
    /// How many threads were asked so far.
    asked: usize,
}

impl TimerSearch {
    /// Nothing is known.
    pub(crate) fn new() -> TimerSearch {
        TimerSearch {
            place: None,
            proofs: 0,
            next_at: Ticks(0),
            again_ns: FIRST_AGAIN_NS,
            none_ns: FIRST_NONE_NS,
            asked: 0,
        }
    }

    /// Tells whether there are timers, as far as is known.
    pub(crate) fn has_found(&self) -> bool {
        self.proofs >= PROOFS
    }

    /// Tells whether more looks would bring no answer soon.
    pub(crate) fn is_settled(&self) -> bool {
        let is_rare = self.none_ns >= LAST_NONE_NS || self.again_ns >= LAST_AGAIN_NS;
        cfg!(panic = "abort") || self.has_found() || is_rare
    }

    /// Takes a look, while no task of ours is on its way. Returns whether tasks are to be sent that run on each worker.
    pub(crate) fn look(&mut self, runtime: &Arc<WatchedRuntime>, scale: Scale, at: Ticks) -> bool {
        if cfg!(panic = "abort") || self.has_found() {
            return false;
        }
        if let Some((seen, is_proven)) = runtime.take_timed_park() {
            self.judge(seen.place, is_proven, scale, at);
        }
        if self.has_found() || at < self.next_at {
            return false;
        }
        let seen = self.find(runtime);
        match seen {
            Some(seen) => {
                self.none_ns = FIRST_NONE_NS;
                runtime.expect_timed_park(seen);
            }
            None => {
                self.wait(self.none_ns, scale, at);
                self.none_ns = (self.none_ns * 2).min(LAST_NONE_NS);
            }
        }
        seen.is_some()
    }

    fn wait(&mut self, ns: u64, scale: Scale, at: Ticks) {
        self.next_at = Ticks(at.0.saturating_add(scale.ticks(ns)));
    }

    /// Tasks were sent after a worker was seen to wait at this place; `None` where none of them ran on that worker.
    fn judge(&mut self, place: TimedWait, is_proven: Option<bool>, scale: Scale, at: Ticks) {
        if is_proven == Some(true) {
            self.proofs = if self.place == Some(place) { self.proofs + 1 } else { 1 };
            (self.place, self.again_ns) = (Some(place), FIRST_AGAIN_NS);
            return;
        }
        if is_proven == Some(false) {
            self.proofs = 0;
        }
        self.wait(self.again_ns, scale, at);
        self.again_ns = (self.again_ns * 2).min(LAST_AGAIN_NS);
    }

    /// Looks for a worker that is parked while its thread waits for a time.
    fn find(&mut self, runtime: &Arc<WatchedRuntime>) -> Option<TimedPark> {
        let threads = runtime.threads();
        let first = self.asked;
        self.asked = first.saturating_add(THREADS.min(threads.len()));
        let of_worker = |(index, thread): (usize, u32)| {
            let parks = runtime.counters(index).parks;
            let place = Some(thread).filter(|_| !parks.is_multiple_of(2)).and_then(TimedWait::of_thread)?;
            (runtime.counters(index).parks == parks).then_some(TimedPark { index, thread, parks, place })
        };
        (first..self.asked).map(|number| threads[number % threads.len()]).find_map(of_worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn three_proofs_at_one_place_are_enough_and_what_is_none_makes_it_begin_anew() {
        let (own, other) = (TimedWait::Epoll(5), TimedWait::Epoll(6));
        for (judged, has_found) in [
            (&[(own, true), (own, true)][..], false),
            (&[(own, true), (own, true), (own, true)], true),
            (&[(own, true), (own, true), (other, true)], false),
            (&[(own, true), (own, true), (own, false), (own, true)], false),
        ] {
            let mut search = TimerSearch::new();
            judged
                .iter()
                .for_each(|(place, is)| search.judge(*place, Some(*is), Scale::NANOSECONDS, Ticks(0)));
            assert_eq!(search.has_found(), has_found, "{judged:?}");
        }
    }

    #[test]
    fn where_it_fails_again_and_again_it_is_tried_more_and_more_rarely() {
        let mut search = TimerSearch::new();
        for wait_ms in [20, 40, 80, 160] {
            assert!(!search.is_settled());
            search.judge(TimedWait::Epoll(5), None, Scale::NANOSECONDS, Ticks(1_000 * MS));
            assert_eq!(search.next_at, Ticks((1_000 + wait_ms) * MS));
        }
        (0..20).for_each(|_| search.judge(TimedWait::Epoll(5), Some(false), Scale::NANOSECONDS, Ticks(0)));
        assert_eq!(search.next_at, Ticks(LAST_AGAIN_NS));
        assert!(search.is_settled() && !search.has_found());
    }
}
