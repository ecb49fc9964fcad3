//! When a worker was busy and when it waited, from the two counters that Tokio has of it: arithmetic on values.
//!
//! Between two looks nobody knows: a worker that moved meanwhile may have been stuck all the time, or may have moved again and again.
//! So of what is over a stall is only what was seen to last.
//!
//! `worker_park_unpark_count` is even while the worker is unparked. `worker_total_busy_duration` is added to when it parks, and
//! when it polls its driver in between, which it does every 61 polls.

use loopscope_probe::Ticks;
use loopscope_probe::observer::Observed;
use loopscope_probe::raw::clock::Scale;

/// What the runtime's metrics tell of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// How often it parked and unparked.
    pub parks: u64,
    /// How long it was busy, in nanoseconds.
    pub busy_ns: u64,
}

impl Counters {
    /// Tells whether the worker is parked.
    pub(crate) fn is_parked(&self) -> bool {
        !self.parks.is_multiple_of(2)
    }
}

/// Follows one worker that does not tell anything itself, look by look.
#[derive(Debug)]
pub(crate) struct Activity {
    scale: Scale,
    origin: Ticks,
    /// The busy time before the first look.
    base_ns: u64,
    last: Counters,
    seen: Observed,
    /// When the last look was.
    looked_at: Ticks,
    ended_unseen: bool,
}

impl Activity {
    /// Begins at `origin`, a moment on a clock of this scale.
    pub(crate) fn new(scale: Scale, origin: Ticks, counters: Counters) -> Activity {
        let seen = Observed { parked_since: origin, ..Observed::default() };
        let base_ns = counters.busy_ns;
        Activity { scale, origin, base_ns, last: counters, seen, looked_at: origin, ended_unseen: false }
    }

    /// Takes one look. A busy period begins at the look that first finds the worker awake, or moved while it is awake: not
    /// before, so that nothing is called a stall that is none. `is_driven` is false where nobody runs the runtime. At `turned_at`
    /// the worker was last known to be between two polls, by a task of ours that it ran.
    pub(crate) fn look(
        &mut self,
        at: Ticks,
        counters: Counters,
        is_driven: bool,
        turned_at: Ticks,
    ) -> Observed {
        let has_moved = counters != self.last;
        let is_awake = is_driven && !counters.is_parked();
        let was_awake = self.seen.busy_since != Ticks::NONE;
        let has_turned = is_awake && was_awake && turned_at > self.seen.busy_since;
        let at = if has_turned && !has_moved { turned_at.min(at) } else { at };
        let looked_at = std::mem::replace(&mut self.looked_at, at);
        self.last = counters;
        if is_awake == was_awake && !has_moved && !has_turned {
            self.ended_unseen = false;
            return self.seen;
        }
        self.ended_unseen = is_unseen(self.scale, self.seen.busy_since, looked_at, at);
        let elapsed = at.since(self.origin);
        let active = self.scale.ticks(counters.busy_ns.saturating_sub(self.base_ns)).min(elapsed);
        // Neither goes back, also where a counter is late.
        self.seen.active_ticks = self.seen.active_ticks.max(active);
        self.seen.idle_ticks = self.seen.idle_ticks.max(elapsed.saturating_sub(self.seen.active_ticks));
        self.seen.parked_since = at;
        self.seen.busy_since = if is_awake { at } else { Ticks::NONE };
        self.seen
    }

    /// Tells whether the last look ended a busy period of which more was not looked at than was: it may have been none.
    pub(crate) fn ended_unseen(&self) -> bool {
        self.ended_unseen
    }

    /// Tells whether the last look found the worker awake.
    pub(crate) fn is_awake(&self) -> bool {
        self.seen.busy_since != Ticks::NONE
    }
}

/// Tells whether a busy period that is over at `at` was looked at for less time than it was not, because the agent had no processor.
pub(crate) fn is_unseen(scale: Scale, busy_since: Ticks, looked_at: Ticks, at: Ticks) -> bool {
    /// So late are looks that are not late, in nanoseconds: two of them.
    const LATE_NS: u64 = 20_000_000;
    let (seen_ns, unseen_ns) = (scale.ns(looked_at.since(busy_since)), scale.ns(at.since(looked_at)));
    busy_since != Ticks::NONE && unseen_ns > LATE_NS && unseen_ns > seen_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn activity() -> impl FnMut(u64, u64, u64) -> Observed {
        let mut activity = Activity::new(Scale::NANOSECONDS, Ticks(1_000 * MS), Counters::default());
        move |at_ms, parks, busy_ms| {
            let counters = Counters { parks, busy_ns: busy_ms * MS };
            activity.look(Ticks((1_000 + at_ms) * MS), counters, true, Ticks::NONE)
        }
    }

    fn ms(ticks: Ticks) -> u64 {
        (ticks.0 / MS).saturating_sub(1_000)
    }

    #[test]
    fn a_worker_that_is_awake_and_does_not_move_is_busy_since_it_was_first_seen_so() {
        let mut look = activity();
        assert_eq!(look(5, 1, 1).busy_since, Ticks::NONE);
        assert_eq!(ms(look(10, 2, 1).busy_since), 10);
        assert_eq!(ms(look(15, 2, 1).busy_since), 10);
        let parked = look(120, 3, 111);
        assert_eq!((parked.busy_since, ms(parked.parked_since)), (Ticks::NONE, 120));
        assert_eq!(parked.active_ticks, 111 * MS);
        assert_eq!(parked.idle_ticks, 9 * MS);
    }

    #[test]
    fn one_that_turns_or_parks_between_two_looks_begins_anew() {
        let mut look = activity();
        look(10, 2, 1);
        assert_eq!(ms(look(15, 2, 4).busy_since), 15, "it polled its driver");
        assert_eq!(ms(look(20, 4, 5).busy_since), 20, "it parked and unparked");
        assert_eq!(ms(look(25, 4, 5).busy_since), 20);
    }

    #[test]
    fn one_that_ran_a_task_of_ours_begins_anew_and_one_that_ran_it_before_does_not() {
        let mut activity = Activity::new(Scale::NANOSECONDS, Ticks(0), Counters::default());
        let counters = Counters { parks: 2, busy_ns: MS };
        let mut look = |at_ms, turned_at_ms| {
            let seen = activity.look(Ticks(at_ms * MS), counters, true, Ticks(turned_at_ms * MS));
            (seen.busy_since.0 / MS, seen.parked_since.0 / MS)
        };
        assert_eq!(look(10, 4), (10, 10), "it was found awake");
        assert_eq!(look(50, 4), (10, 10));
        assert_eq!(look(60, 57), (57, 57));
        assert_eq!(look(160, 57), (57, 57), "it is stuck since then");
    }

    #[test]
    fn what_nobody_looked_at_for_long_may_have_been_no_busy_period() {
        for (looks, is_unseen) in [
            // It moved at each, and then nobody looked for 150 ms.
            (&[(10, 2, 1), (15, 2, 4), (165, 2, 150)][..], true),
            (&[(10, 2, 1), (15, 2, 4), (165, 3, 150)], true),
            // It was seen to be stuck for longer than it was not looked at.
            (&[(10, 2, 1), (120, 2, 1), (160, 3, 150)], false),
            (&[(10, 2, 1), (15, 2, 1), (20, 3, 10)], false),
        ] {
            let mut activity = Activity::new(Scale::NANOSECONDS, Ticks(0), Counters::default());
            for (at_ms, parks, busy_ms) in looks {
                let counters = Counters { parks: *parks, busy_ns: busy_ms * MS };
                activity.look(Ticks(at_ms * MS), counters, true, Ticks::NONE);
            }
            assert_eq!(activity.ended_unseen(), is_unseen, "{looks:?}");
        }
    }

    #[test]
    fn times_never_go_back() {
        let mut look = activity();
        let (first, then) = (look(10, 1, 9), look(20, 3, 2));
        assert!(then.active_ticks >= first.active_ticks && then.idle_ticks >= first.idle_ticks);
    }

    #[test]
    fn a_runtime_that_nobody_runs_is_not_busy() {
        let mut activity = Activity::new(Scale::NANOSECONDS, Ticks(MS), Counters::default());
        let counters = Counters { parks: 2, busy_ns: 1 };
        let mut look = |at_ms, is_driven| activity.look(Ticks(at_ms * MS), counters, is_driven, Ticks::NONE);
        assert!(look(2, true).busy_since != Ticks::NONE);
        assert_eq!(look(3, false).busy_since, Ticks::NONE);
        assert!(!activity.is_awake());
    }
}
