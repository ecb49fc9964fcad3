//! While all workers of a runtime that was attached to are parked, nobody has to look: how the first of them to wake is noticed
//! by what the kernel tells.
//!
//! One parked worker waits in the driver's epoll instance, the others for each other. Tokio wakes the one that went to sleep last. So
//! where the worker in the driver is *the last*, nothing goes on without an event of the instance, or the end of the time that it
//! waits for. A task of ours that was the last to run proves it: the others were parked while it ran, and have not moved since, and
//! its own worker has parked once and waits in an epoll instance.
//!
//! Of two workers it does not matter which is the last: one that wakes and finds a task wakes another before it polls it
//! (`transition_from_searching` in Tokio's `scheduler::multi_thread`), and that is the one in the driver.

use crate::activity::Counters;
use crate::epoll_wait::EpollWait;
use loopscope_probe::Ticks;
use loopscope_probe::observer::Asleep;
use loopscope_probe::raw::clock::Scale;

/// Nobody looks more rarely than this, in nanoseconds.
const LONGEST_NS: u64 = 1_000_000_000;
/// A timer that is not there so long after its time is waited for no more, in nanoseconds.
const OVERDUE_NS: u64 = 100_000_000;

/// What a task of ours saw that ran on a worker while the others were parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Witness {
    /// The worker that it ran on.
    pub index: usize,
    /// The worker's thread, as the kernel counts them.
    pub thread: u32,
    /// When it ended, or shortly before.
    pub at: Ticks,
    /// What the counters of all workers were then.
    pub counters: Vec<Counters>,
}

/// What a look at a runtime found that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quiet {
    /// What wakes it is known.
    Known(Asleep),
    /// A timer of it is due: it moves at any moment.
    Due,
    /// What wakes it is not known, or it is about to move.
    Unknown,
}

/// Judges a runtime of two workers, both of which are parked, by what their threads wait in: an epoll instance, or a condition.
pub(crate) fn judge_pair(waits: [(Option<EpollWait>, bool); 2]) -> Quiet {
    let descriptor = match waits {
        [(Some(waits), _), (None, true)] | [(None, true), (Some(waits), _)] if waits.timeout_ms.is_none() => {
            Some(waits.descriptor)
        }
        // Since when it waits for its time is not known.
        _ => None,
    };
    descriptor.map_or(Quiet::Unknown, |descriptor| {
        Quiet::Known(Asleep { descriptor: Some(descriptor), within_ns: LONGEST_NS })
    })
}

impl Witness {
    /// Judges by the `counters` of now, and by what the witness's thread waits in.
    pub(crate) fn judge(
        &self,
        scale: Scale,
        at: Ticks,
        counters: &[Counters],
        waits: Option<EpollWait>,
    ) -> Quiet {
        let has_slept_since = |(index, (then, now)): (usize, (&Counters, &Counters))| {
            let parks = if index == self.index { 1 } else { 0 };
            now.parks == then.parks + parks && !now.parks.is_multiple_of(2)
        };
        let is_all_there = counters.len() == self.counters.len();
        let all_sleep = is_all_there && self.counters.iter().zip(counters).enumerate().all(has_slept_since);
        let Some(waits) = waits.filter(|_| all_sleep) else { return Quiet::Unknown };
        let elapsed_ns = scale.ns(at.since(self.at));
        // It began to wait after the task ended, and not long after.
        let left_ns = waits.timeout_ms.map(|ms| (ms * 1_000_000).saturating_sub(elapsed_ns));
        match left_ns {
            Some(0) if waits.timeout_ms.is_some_and(|ms| elapsed_ns < ms * 1_000_000 + OVERDUE_NS) => {
                Quiet::Due
            }
            Some(0) => Quiet::Unknown,
            left_ns => {
                let within_ns = left_ns.map_or(LONGEST_NS, |ns| ns.min(LONGEST_NS));
                Quiet::Known(Asleep { descriptor: Some(waits.descriptor), within_ns })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn counters(parks: [u64; 3]) -> Vec<Counters> {
        parks.iter().map(|parks| Counters { parks: *parks, busy_ns: 7 }).collect()
    }

    /// At 500 ms; the task ran at 100 ms on worker 1.
    fn judge(then: [u64; 3], now: [u64; 3], waits: Option<EpollWait>) -> Quiet {
        let witness = Witness { index: 1, thread: 7, at: Ticks(100 * MS), counters: counters(then) };
        witness.judge(Scale::NANOSECONDS, Ticks(500 * MS), &counters(now), waits)
    }

    fn in_epoll(timeout_ms: Option<u64>) -> Option<EpollWait> {
        Some(EpollWait { descriptor: 5, timeout_ms })
    }

    #[test]
    fn the_last_to_run_that_waits_in_the_driver_is_the_first_to_wake() {
        let known = |within_ns| Quiet::Known(Asleep { descriptor: Some(5), within_ns });
        assert_eq!(judge([3, 8, 5], [3, 9, 5], in_epoll(None)), known(LONGEST_NS));
        assert_eq!(judge([3, 8, 5], [3, 9, 5], in_epoll(Some(60_000))), known(LONGEST_NS));
        assert_eq!(judge([3, 8, 5], [3, 9, 5], in_epoll(Some(450))), known(50 * MS), "its timer wakes it");
    }

    #[test]
    fn of_two_workers_the_one_in_the_driver_is_woken_in_any_case() {
        let known = Quiet::Known(Asleep { descriptor: Some(5), within_ns: LONGEST_NS });
        for (waits, quiet) in [
            ([(in_epoll(None), false), (None, true)], known),
            ([(None, true), (in_epoll(None), false)], known),
            ([(in_epoll(Some(450)), false), (None, true)], Quiet::Unknown),
            ([(in_epoll(None), false), (in_epoll(None), false)], Quiet::Unknown),
            ([(in_epoll(None), false), (None, false)], Quiet::Unknown),
            ([(None, true), (None, true)], Quiet::Unknown),
        ] {
            assert_eq!(judge_pair(waits), quiet, "{waits:?}");
        }
    }

    #[test]
    fn where_another_may_be_the_first_or_has_moved_nothing_is_known() {
        assert_eq!(judge([3, 8, 5], [3, 9, 5], None), Quiet::Unknown, "it waits elsewhere");
        assert_eq!(judge([4, 8, 5], [5, 9, 5], in_epoll(None)), Quiet::Unknown, "another parked later");
        assert_eq!(judge([3, 8, 5], [3, 11, 5], in_epoll(None)), Quiet::Unknown, "it was awake again");
        assert_eq!(judge([3, 8, 5], [3, 8, 5], in_epoll(None)), Quiet::Unknown, "it is awake");
        assert_eq!(judge([3, 8, 5], [4, 9, 5], in_epoll(None)), Quiet::Unknown, "another is awake");
    }

    #[test]
    fn a_timer_that_is_due_is_waited_for_and_one_that_never_comes_is_not() {
        assert_eq!(judge([3, 8, 5], [3, 9, 5], in_epoll(Some(400))), Quiet::Due);
        assert_eq!(judge([3, 8, 5], [3, 9, 5], in_epoll(Some(301))), Quiet::Due);
        assert_eq!(judge([3, 8, 5], [3, 9, 5], in_epoll(Some(299))), Quiet::Unknown);
    }
}
