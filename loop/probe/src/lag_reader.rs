//! Lag as readers see it: what is counted, and the events of a poll that is not over.
//!
//! A loop counts the events of a poll when that ends, and it may poll for hours. So that the count grows all the time,
//! whoever reads adds those that have come meanwhile: by the writer's own formula, one a millisecond since the page
//! was made. They have waited 0, and that is what the writer will count for them; nothing that a reader has shown is
//! taken back.
//!
//! ```text
//!   created                 counted          parked or turned        now
//!      |----- tallies.lag ----|---- nobody -----|------ added -------|
//! ```
//!
//! What arrives in a busy period is not added while that lasts: how long it will have waited is not known.

use crate::clock::{Clock, Ticks};
use crate::histogram::HistogramValues;
use crate::lag::MS_NS;
use crate::page::Page;
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::sync::{Ordering, fence};

impl Page {
    /// Copies the histogram of lag as of `taken`, a moment on `clock`, which must be the page's own. It must have
    /// been read before the page is (or was copied): of a poll that was over by then, nobody can tell that it was
    /// one.
    pub fn lag_at(&self, clock: &Clock, taken: Ticks) -> HistogramValues {
        self.lag_by(clock, taken, || self.tallies.lag.read())
    }

    /// [`Page::lag_at`], where `read` copies what is counted, while the writer goes on.
    fn lag_by(&self, clock: &Clock, taken: Ticks, read: impl Fn() -> HistogramValues) -> HistogramValues {
        let parked = self.now.parked_since.get();
        // As in `Page::vitals_at`: whoever read the begin of a poll sees below that the one before it is over.
        fence(Ordering::Acquire);
        let Some((busy, poll)) = self.open_poll(Ticks(parked), taken) else { return read() };
        let mut lag = read();
        // Pairs with the release fence after each change of `busy_since`: whoever read what was counted after a change
        // sees it.
        fence(Ordering::Acquire);
        if (self.now.busy_since.observe(), self.now.parked_since.get()) != (busy, parked) {
            // The poll is over and counted, and so may later periods be: what was read may be of both.
            return read();
        }
        lag.buckets[0] = lag.buckets[0].saturating_add(self.uncounted(clock, poll, lag.count()));
        lag
    }

    /// Copies the lengths of the busy periods that are over, and of those that were stalls: after [`Page::lag_at`],
    /// so that those are in it in which somebody waited.
    pub fn stretches_ended(&self) -> (HistogramValues, HistogramValues) {
        (self.tallies.iteration.read(), self.tallies.blocked_duration.read())
    }

    /// Adds the events of the poll in which the loop ends, which readers have added until now. Before the page says
    /// that it is closed, on the thread of its writer.
    pub(crate) fn record_last_poll(&self, pen: &WriteToken<LoopOwned>, clock: &Clock) {
        let parked = Ticks(self.now.parked_since.get());
        if let Some((_, poll)) = self.open_poll(parked, clock.now()) {
            let count = self.uncounted(clock, poll, self.tallies.lag.read().count());
            self.tallies.lag.count_shortest(pen, count);
        }
    }

    /// Returns since when the loop is busy, 0 where it is not, and the poll whose events are not counted: where it is
    /// in its poll, which began at `parked`, or has polled without telling within its busy period. `None` where there is
    /// none, or the page counts by no formula.
    fn open_poll(&self, parked: Ticks, taken: Ticks) -> Option<(u64, (Ticks, Ticks))> {
        let has_ended = self.header.is_closed.observe() != 0;
        if has_ended || self.is_observed() || self.created() == Ticks::NONE {
            return None;
        }
        let (busy, retired) = (self.now.busy_since.observe(), self.control.retired());
        if busy == 0 {
            let until = if retired == Ticks::NONE { taken } else { taken.min(retired) };
            return Some((busy, (parked, until)));
        }
        let turned = self.control.since_turn(Ticks(busy));
        (turned > Ticks(busy)).then_some((busy, (Ticks(busy), turned.min(taken))))
    }

    /// Returns how many events have come until the end of a poll that are not among the `counted`: none where what
    /// came before its begin is not counted yet.
    fn uncounted(&self, clock: &Clock, (begin, end): (Ticks, Ticks), counted: u64) -> u64 {
        let arrived = |at: Ticks| clock.scale().duration_ns(at.since(self.created())) / MS_NS;
        if counted < arrived(begin) { 0 } else { arrived(end).saturating_sub(counted) }
    }
}

#[cfg(test)]
#[path = "lag_reader_tests.rs"]
mod tests;
