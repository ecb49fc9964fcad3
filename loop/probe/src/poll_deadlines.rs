//! From when on a poll has more to do than every poll has.

use crate::clock::{Scale, Ticks};
use crate::lag::Arrivals;
use crate::paths::EPOCH_NS;

/// When there is more to do than in every poll.
// In this order: what each poll compares with comes first, and has a line of the cache in common with other words of the poll.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct PollDeadlines {
    /// The next arrival, the end of the epoch or the thread's next look at itself, whichever is first; [`Ticks::NONE`] while
    /// the capture's signal is blocked, so that it is always due. One comparison for all four.
    pub(crate) any: Ticks,
    /// A busy period longer than this may be a stall. As of the last arrival, of which every period of two milliseconds has
    /// one: a shorter threshold than that takes effect with the next.
    pub(crate) stall_ticks: u64,
    pub(crate) arrival: Ticks,
    pub(crate) epoch_end: Ticks,
    /// The threshold that `stall_ticks` was made of.
    pub(crate) warning_ns: u64,
    /// When the thread looks again, after a poll, at what only it is shown of itself.
    pub(crate) thread_look: Ticks,
}

/// How often that is done at most, in nanoseconds: it takes a system call.
const THREAD_LOOK_NS: u64 = 1_000_000_000;

impl PollDeadlines {
    pub(crate) fn from(origin: Ticks, scale: Scale, arrivals: &Arrivals, warning_ns: u64) -> PollDeadlines {
        let after = |ns: u64| Ticks(origin.0.saturating_add(scale.ticks(ns)));
        let (arrival, epoch_end) = (after(arrivals.next_ns()), after(EPOCH_NS));
        let (any, stall_ticks) = (Ticks::NONE, scale.ticks(warning_ns));
        let thread_look = after(THREAD_LOOK_NS);
        let mut due = PollDeadlines { any, arrival, epoch_end, stall_ticks, warning_ns, thread_look };
        due.any = due.first();
        due
    }

    /// Returns when something is due next.
    pub(crate) fn first(&self) -> Ticks {
        self.arrival.min(self.epoch_end).min(self.thread_look)
    }

    /// Whether the thread is to look at itself now; then not again for a second.
    pub(crate) fn takes_thread_look(&mut self, now: Ticks, scale: Scale) -> bool {
        let is_due = now >= self.thread_look;
        if is_due {
            self.thread_look = Ticks(now.0.saturating_add(scale.ticks(THREAD_LOOK_NS)));
        }
        is_due
    }
}
