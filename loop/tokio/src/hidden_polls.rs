//! When a worker that tells when it parks polled its driver in between, from the one counter that Tokio has of that: arithmetic on
//! values.
//!
//! `worker_total_busy_duration` is added to when a worker polls its driver, which it does every 61 polls of tasks. Since the begin of
//! a busy period it has grown by the time until the last of those polls, but for what these polls themselves took. So the counter is
//! a time, and looks may be far apart: the last poll was at the begin and what was added, at the earliest, and at the look that
//! first found it added, at the latest. The two lie apart by what polls of the driver took since they last were one.
//!
//! ```text
//!   begin            look: added to         earliest   latest
//!    |=======|==|======|====x....................|.......|
//!             polls of the driver     next look, which finds that it was added to again
//! ```

use loopscope_probe::Ticks;
use loopscope_probe::raw::clock::Scale;

/// What is told of a poll is later than it was by no more than this, in nanoseconds: a stall is to be told within 10 ms.
const VAGUE_NS: u64 = 8_000_000;

/// The busy period that runs, as its thread tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BusyPeriod {
    /// Another number for each.
    pub number: u64,
    pub began: Ticks,
    /// The worker's busy time when it began, in nanoseconds.
    pub base_busy_ns: u64,
}

/// Follows one worker, look by look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HiddenPolls {
    period: BusyPeriod,
    busy_ns: u64,
    earliest: Ticks,
    latest: Ticks,
    looked_at: Ticks,
}

/// What is known of the last hidden poll of the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastPoll {
    /// No earlier than it was, save where polls of the driver took more than 8 ms since the look before.
    pub at: Ticks,
    /// This look found it, and nobody knows to 8 ms when it was: another look right now finds out, where the worker goes on.
    pub is_vague: bool,
}

impl HiddenPolls {
    /// Takes a look, which found what the one before did.
    pub(crate) fn stays(&mut self, at: Ticks) {
        self.looked_at = at;
    }

    /// Takes a look, which found the worker's busy time. `None` where it has not polled since the period began.
    pub(crate) fn look(
        &mut self,
        scale: Scale,
        at: Ticks,
        period: BusyPeriod,
        busy_ns: u64,
    ) -> Option<LastPoll> {
        if self.period != period {
            let (began, busy_ns) = (period.began, period.base_busy_ns);
            *self = HiddenPolls { period, busy_ns, earliest: began, latest: began, looked_at: began };
        }
        let looked_at = std::mem::replace(&mut self.looked_at, at);
        let added = busy_ns.saturating_sub(self.busy_ns);
        if added > 0 {
            let counted = Ticks(self.earliest.0.saturating_add(scale.ticks(added)));
            // It was after the look before, which did not find it.
            (self.earliest, self.latest) = (counted.max(looked_at).min(at), at);
            self.busy_ns = busy_ns;
        }
        (busy_ns > period.base_busy_ns).then(|| LastPoll {
            at: Ticks(self.earliest.0.saturating_add(scale.ticks(VAGUE_NS))).min(self.latest),
            is_vague: added > 0 && scale.ns(self.latest.since(self.earliest)) > VAGUE_NS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Looks at a worker at these milliseconds of its busy period, when its counter had grown by these. Returns what is known of the
    /// last poll after each: when it was, and whether that is vague.
    fn told(looks: &[(u64, u64)]) -> Vec<Option<(u64, bool)>> {
        let mut polls = HiddenPolls::default();
        let period = BusyPeriod { number: 7, began: Ticks(1_000 * MS), base_busy_ns: 50 * MS };
        let look = |(at_ms, busy_ms): &(u64, u64)| {
            let at = Ticks((1_000 + at_ms) * MS);
            let told = polls.look(Scale::NANOSECONDS, at, period, (50 + busy_ms) * MS);
            told.map(|told| (told.at.0 / MS - 1_000, told.is_vague))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn a_poll_is_told_with_its_time_however_far_apart_looks_are() {
        assert_eq!(told(&[(20, 0), (90, 0)]), [None, None], "it has not polled");
        // Its polls took nothing: it goes on all the time.
        assert_eq!(told(&[(20, 19), (40, 39), (60, 59)]), [20, 40, 60].map(|at| Some((at, false))));
        // Its last poll was after 40 ms, and then it was blocked.
        assert_eq!(
            told(&[(100, 39), (101, 39), (139, 39)]),
            [Some((47, true)), Some((47, false)), Some((47, false))]
        );
        assert_eq!(told(&[(45, 40), (139, 40)]), [Some((45, false)); 2]);
    }

    #[test]
    fn what_the_polls_themselves_took_is_found_out_by_a_look_right_after() {
        // A third of its time it polls: after the second look it is known to a millisecond.
        let looks = [(30, 20), (31, 21), (60, 40)];
        assert_eq!(told(&looks), [Some((28, true)), Some((31, false)), Some((57, true))]);
        // A poll is no earlier than the look that did not find it yet.
        assert_eq!(told(&[(30, 20), (60, 21)]), [Some((28, true)), Some((38, true))]);
    }

    #[test]
    fn each_period_begins_anew() {
        let mut polls = HiddenPolls::default();
        let mut look = |number, began, base, at, busy| {
            let period = BusyPeriod { number, began: Ticks(began * MS), base_busy_ns: base * MS };
            polls.look(Scale::NANOSECONDS, Ticks(at * MS), period, busy * MS).map(|told| told.at.0 / MS)
        };
        assert_eq!(look(1, 100, 10, 150, 30), Some(128));
        assert_eq!(look(3, 200, 70, 250, 70), None);
        assert_eq!(look(3, 200, 70, 260, 121), Some(259));
    }
}
