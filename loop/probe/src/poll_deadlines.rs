//! From when on a poll has more to do than every poll has.

use crate::clock::{Scale, Ticks};
use crate::lag::Arrivals;
use crate::paths::EPOCH_NS;

/// When there is more to do than in every poll.
#[derive(Debug)]
pub(crate) struct PollDeadlines {
    /// The next arrival, or the end of the epoch where that is earlier; [`Ticks::NONE`] while the capture's signal is
    /// blocked, so that it is always due. One comparison for all three.
    pub(crate) any: Ticks,
    pub(crate) arrival: Ticks,
    pub(crate) epoch_end: Ticks,
    /// A busy period longer than this may be a stall. As of the last arrival, of which every period of two milliseconds has
    /// one: a shorter threshold than that takes effect with the next.
    pub(crate) stall_ticks: u64,
    /// The threshold that `stall_ticks` was made of.
    pub(crate) warning_ns: u64,
}

impl PollDeadlines {
    pub(crate) fn from(origin: Ticks, scale: Scale, arrivals: &Arrivals, warning_ns: u64) -> PollDeadlines {
        let after = |ns: u64| Ticks(origin.0.saturating_add(scale.ticks(ns)));
        let (arrival, epoch_end) = (after(arrivals.next_ns()), after(EPOCH_NS));
        let (any, stall_ticks) = (arrival.min(epoch_end), scale.ticks(warning_ns));
        PollDeadlines { any, arrival, epoch_end, stall_ticks, warning_ns }
    }
}
