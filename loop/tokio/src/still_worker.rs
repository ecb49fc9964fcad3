//! Since when a worker is stuck, without the time in which its thread was ready and had no processor.
//!
//! A thread that waits for a processor is blocked by no code. On a machine with more work than processors all workers look stuck
//! most of the time.

use loopscope_probe::Ticks;
use loopscope_probe::raw::clock::Scale;

/// Reads for how long a thread of this process was ready and had no processor. Keeps its file: opening it costs most of a reading.
#[derive(Debug)]
pub(crate) struct RunDelay {
    thread: u32,
    /// `None` where the kernel does not tell.
    #[cfg(target_os = "linux")]
    file: Option<std::fs::File>,
}

impl RunDelay {
    pub(crate) fn of(thread: u32) -> RunDelay {
        RunDelay {
            thread,
            #[cfg(target_os = "linux")]
            file: loopscope_probe::raw::proc::open_sched(thread).ok(),
        }
    }

    pub(crate) fn is_of(&self, thread: u32) -> bool {
        self.thread == thread
    }

    /// Returns it, in nanoseconds since the thread began; `None` where it is not told.
    #[cfg(target_os = "linux")]
    pub(crate) fn ns(&self) -> Option<u64> {
        loopscope_probe::raw::proc::Sched::read(self.file.as_ref()?).map(|times| times.runqueue_ns)
    }

    /// As above: it is not told.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn ns(&self) -> Option<u64> {
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
    stuck_since: Ticks,
    /// It has been stuck for longer than the threshold: what is told has one beginning.
    is_told: bool,
}

impl StillWorker {
    /// A look found that it has moved.
    pub(crate) fn moved(at: Ticks) -> StillWorker {
        StillWorker { moved_at: at, looked_at: at, delay_ns: None, stuck_since: at, is_told: false }
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

    /// Returns since when it has been stuck, as if it had lost no time to other threads.
    pub(crate) fn stuck_since(&self) -> Ticks {
        self.stuck_since
    }

    /// A look found that it has not moved. `delay_ns` is for how long its thread has waited for processors since it began, where
    /// that is known; `warning_ns` the age from which on it is told.
    pub(crate) fn stays(&mut self, scale: Scale, at: Ticks, delay_ns: Option<u64>, warning_ns: u64) {
        /// A look that is later than this is late, in nanoseconds: what was before is not known.
        const LATE_NS: u64 = 20_000_000;
        /// The agent may see it so much older in the same look, in nanoseconds.
        const SOON_NS: u64 = 2_000_000;
        let looked_at = std::mem::replace(&mut self.looked_at, at);
        let before = std::mem::replace(&mut self.delay_ns, delay_ns);
        if self.is_told {
            return;
        }
        let unseen = at.since(looked_at);
        let lost = match (before, delay_ns) {
            (Some(before), Some(now)) => scale.ticks(now.saturating_sub(before)).min(unseen),
            (None, Some(_)) if scale.ns(unseen) > LATE_NS => unseen,
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
