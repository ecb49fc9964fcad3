//! Since when a worker is stuck, without the time in which its thread was ready and had no processor.
//!
//! A thread that waits for a processor is blocked by no code. On a machine with more work than processors all workers look stuck
//! most of the time.

use loopscope_probe::Ticks;
use loopscope_probe::raw::clock::Scale;

/// A worker is stuck when it has not moved for so long, in nanoseconds: visits had time to meet one that was not met yet.
pub(crate) const STUCK_NS: u64 = 20_000_000;
/// How often to look at workers that tell since when they are busy, in nanoseconds: not as seldom as a look that is late.
pub(crate) const TOLD_LOOK_NS: u64 = 18_000_000;
/// So often where each of them moved just now.
pub(crate) const CALM_LOOK_NS: u64 = 30_000_000;

/// Reads for how long a thread of this process was ready and had no processor. Keeps its file: opening it costs most of a reading.
#[derive(Debug)]
pub(crate) struct RunDelay {
    thread: u32,
    last_ns: Option<u64>,
    /// `None` where the kernel does not tell.
    #[cfg(target_os = "linux")]
    file: Option<std::fs::File>,
}

impl RunDelay {
    pub(crate) fn of(thread: u32) -> RunDelay {
        RunDelay {
            thread,
            last_ns: None,
            #[cfg(target_os = "linux")]
            file: loopscope_probe::raw::proc::open_sched(thread).ok(),
        }
    }

    pub(crate) fn is_of(&self, thread: u32) -> bool {
        self.thread == thread
    }

    /// Returns what was last read, as [`RunDelay::read_ns`].
    pub(crate) fn last_ns(&self) -> Option<u64> {
        self.last_ns
    }

    /// Returns it, in nanoseconds since the thread began; `None` where it is not told.
    pub(crate) fn read_ns(&mut self) -> Option<u64> {
        self.last_ns = self.ns();
        self.last_ns
    }

    #[cfg(target_os = "linux")]
    fn ns(&self) -> Option<u64> {
        loopscope_probe::raw::proc::Sched::read(self.file.as_ref()?).map(|times| times.runqueue_ns)
    }

    #[cfg(not(target_os = "linux"))]
    fn ns(&self) -> Option<u64> {
        None
    }
}

/// One worker, since it last moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StillWorker {
    moved_at: Ticks,
    /// When it was last looked at, and how long its thread had waited for processors then, in nanoseconds since it began.
    looked_at: Ticks,
    delay_ns: Option<u64>,
    /// How long it had waited at a look before it moved, where that is known.
    delay_ns_before: Option<u64>,
    stuck_since: Ticks,
    /// It has been stuck for longer than the threshold: what is told has one beginning.
    is_told: bool,
}

impl StillWorker {
    /// A look found that it has moved.
    pub(crate) fn moved(at: Ticks) -> StillWorker {
        let (delay_ns, delay_ns_before) = (None, None);
        StillWorker {
            moved_at: at,
            looked_at: at,
            delay_ns,
            delay_ns_before,
            stuck_since: at,
            is_told: false,
        }
    }

    /// The same, and how long its thread had waited for processors at a look before that, where it was read.
    pub(crate) fn after(self, delay_ns_before: Option<u64>) -> StillWorker {
        StillWorker { delay_ns_before, ..self }
    }

    /// Returns when a look last found that it has moved.
    pub(crate) fn moved_at(&self) -> Ticks {
        self.moved_at
    }

    /// Tells whether a timer that was `due` then, and has not come, may wait for a thread that does something else: the worker has
    /// not moved since, or, where looks were late and found that it did, not for a while.
    pub(crate) fn may_be_out(&self, scale: Scale, due: Ticks, at: Ticks) -> bool {
        /// A worker that polls tasks moves more often, in nanoseconds.
        const STILL_NS: u64 = 20_000_000;
        self.moved_at <= due || scale.ns(at.since(self.moved_at)) >= STILL_NS
    }

    /// Tells whether a worker that was found with so many parks and unparks can run a task that is sent to it: one that has done
    /// something else since `visited_at` will not, before it moves.
    pub(crate) fn can_be_met(&self, parks: u64, visited_at: Ticks) -> bool {
        !parks.is_multiple_of(2) || self.moved_at > visited_at
    }

    /// Returns how soon to look again, in nanoseconds, so that a worker which is stuck for as long as is to be told is found no later than
    /// by looks that are all [`TOLD_LOOK_NS`] apart.
    pub(crate) fn look_ns(&self, scale: Scale, at: Ticks, warning_ns: u64) -> u64 {
        /// As much older than [`STUCK_NS`] it may be when it is found either way, in nanoseconds.
        const YOUNG_NS: u64 = STUCK_NS + TOLD_LOOK_NS - CALM_LOOK_NS;
        // What is told of so young a worker is told at the look that finds it.
        let is_told_later = warning_ns > STUCK_NS + TOLD_LOOK_NS;
        let is_young = scale.ns(at.since(self.stuck_since)) < YOUNG_NS;
        if is_told_later && is_young { CALM_LOOK_NS } else { TOLD_LOOK_NS }
    }

    /// Returns since when it has been stuck, as if it had lost no time to other threads.
    pub(crate) fn stuck_since(&self) -> Ticks {
        self.stuck_since
    }

    /// A look found that it has not moved. `delay_ns` is for how long its thread has waited for processors since it began, where
    /// that is known; `warning_ns` the age from which on it is told.
    pub(crate) fn stays(&mut self, scale: Scale, at: Ticks, delay_ns: Option<u64>, warning_ns: u64) {
        /// A look that is later than this is late, in nanoseconds: what was before is known from a look before it moved, or not at all.
        const LATE_NS: u64 = 20_000_000;
        /// The agent may see it so much older in the same look, in nanoseconds.
        const SOON_NS: u64 = 2_000_000;
        let looked_at = std::mem::replace(&mut self.looked_at, at);
        let before = std::mem::replace(&mut self.delay_ns, delay_ns);
        if self.is_told {
            return;
        }
        let unseen = at.since(looked_at);
        let waited_since = |before: u64, now: u64| scale.ticks(now.saturating_sub(before)).min(unseen);
        let lost = match (before, delay_ns) {
            (Some(before), Some(now)) => waited_since(before, now),
            (None, Some(now)) if scale.ns(unseen) > LATE_NS => {
                self.delay_ns_before.map_or(unseen, |before| waited_since(before, now))
            }
            _ => 0,
        };
        self.stuck_since = Ticks(self.stuck_since.0.saturating_add(lost));
        self.is_told = scale.ns(at.since(self.stuck_since)) + SOON_NS > warning_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Returns since when it is stuck after looks at these times, each with the delay of its thread until then; in milliseconds.
    fn stuck_since(looks: &[(u64, Option<u64>)]) -> u64 {
        let mut worker = StillWorker::moved(Ticks(1_000 * MS));
        for (at, delay) in looks {
            let (at, delay) = (Ticks((1_000 + at) * MS), delay.map(|ms| ms * MS));
            worker.stays(Scale::NANOSECONDS, at, delay, 60 * MS);
        }
        assert_eq!(worker.moved_at(), Ticks(1_000 * MS));
        worker.stuck_since().0 / MS - 1_000
    }

    #[test]
    fn a_worker_that_is_blocked_for_good_is_not_visited_again_and_again() {
        let [visit, after] = [1_000, 1_010].map(|ms| Ticks(ms * MS));
        assert!(!StillWorker::moved(visit).can_be_met(4, visit), "awake, and in one task since the visit");
        assert!(!StillWorker::moved(visit).can_be_met(0, visit), "in its first task, or never run");
        assert!(StillWorker::moved(visit).can_be_met(5, visit), "parked: a task wakes it");
        assert!(StillWorker::moved(after).can_be_met(4, visit), "it goes from task to task");
    }

    #[test]
    fn time_without_a_processor_is_not_time_in_which_it_was_stuck() {
        for (looks, since) in [
            (&[(10, Some(700)), (20, Some(700)), (30, Some(700))][..], 0),
            (&[(10, Some(700)), (110, Some(795))], 95),
            (&[(10, Some(700)), (20, Some(705)), (110, Some(790))], 90),
            // Where nothing is known of its thread all of it counts.
            (&[(10, None), (110, None)], 0),
            // The agent was late, and nobody knows what was before.
            (&[(80, Some(700)), (90, Some(700))], 80),
            // More than there was is another reading's mistake.
            (&[(10, Some(700)), (20, Some(900))], 10),
        ] {
            assert_eq!(stuck_since(looks), since, "{looks:?}");
        }
    }

    /// Returns how long a worker had been stuck at the look that found it, which began so long after a look at which it moved.
    fn found_after_ms(began_ms: u64, warning_ms: u64, has_one_distance: bool) -> u64 {
        let mut worker = StillWorker::moved(Ticks(0));
        let mut at = 0;
        loop {
            let look_ns = worker.look_ns(Scale::NANOSECONDS, Ticks(at), warning_ms * MS);
            at += if has_one_distance { TOLD_LOOK_NS } else { look_ns };
            // Before, each look finds that it has just moved.
            worker = StillWorker::moved(Ticks(at.min(began_ms * MS)));
            if at >= began_ms * MS + STUCK_NS {
                return at / MS - began_ms;
            }
        }
    }

    #[test]
    fn looks_are_rarer_while_workers_move_and_find_one_that_is_stuck_no_later() {
        let latest = |has_one_distance, warning_ms| {
            (0..90).map(|began_ms| found_after_ms(began_ms, warning_ms, has_one_distance)).max().unwrap()
        };
        assert_eq!((latest(true, 100), latest(false, 100)), (37, 37));
        assert_eq!(latest(false, 30), 37, "where that is too late already");
        let look_ns = |age_ms: u64, warning_ms: u64| {
            let worker = StillWorker::moved(Ticks(1_000 * MS));
            worker.look_ns(Scale::NANOSECONDS, Ticks((1_000 + age_ms) * MS), warning_ms * MS)
        };
        assert_eq!(look_ns(0, 100), 30 * MS);
        assert_eq!(look_ns(7, 100), 30 * MS);
        assert_eq!(look_ns(8, 100), 18 * MS, "it may be stuck");
        assert_eq!(look_ns(0, 38), 18 * MS, "it is to be told sooner");
    }

    #[test]
    fn what_a_look_before_it_moved_read_bounds_what_a_late_look_may_have_missed() {
        for (before, look, since) in [
            // Nothing is lost where the thread did not wait, however late the look.
            (Some(700), (29, 700), 0),
            (Some(700), (29, 703), 3),
            // More than there was since it moved was waited before that.
            (Some(600), (29, 700), 29),
            // A look that is not late misses little.
            (Some(600), (15, 700), 0),
            (None, (29, 700), 29),
        ] {
            let mut worker = StillWorker::moved(Ticks(1_000 * MS)).after(before.map(|ms: u64| ms * MS));
            let (at, delay): (u64, u64) = look;
            worker.stays(Scale::NANOSECONDS, Ticks((1_000 + at) * MS), Some(delay * MS), 60 * MS);
            assert_eq!(worker.stuck_since().0 / MS - 1_000, since, "{before:?} {look:?}");
        }
    }

    #[test]
    fn a_worker_that_stays_still_while_a_timer_is_overdue_may_be_out_also_where_the_look_that_saw_it_move_was_late()
     {
        for (moved_at, at, is_so) in [
            (5, 14, true),
            (10, 14, true),
            // It polls tasks, and the timer has to wait for them.
            (14, 14, false),
            (14, 30, false),
            // It returned before the timer was due; the look after that came late.
            (14, 34, true),
            (14, 2_000, true),
        ] {
            let worker = StillWorker::moved(Ticks(moved_at * MS));
            assert_eq!(
                worker.may_be_out(Scale::NANOSECONDS, Ticks(10 * MS), Ticks(at * MS)),
                is_so,
                "{moved_at} {at}"
            );
        }
    }

    #[test]
    fn what_is_told_has_one_beginning() {
        assert_eq!(stuck_since(&[(10, Some(700)), (75, Some(700)), (200, Some(800))]), 0);
    }
}
