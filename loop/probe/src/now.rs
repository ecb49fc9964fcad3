//! What runs at this instant, in one word, and since when the loop is busy, in another.
//!
//! One word holds phase, kind, site, and the start of the current callback, so a reader can never see the callback of
//! one moment with the phase of another. The start is a truncated stamp: its lowest bits are dropped and its highest
//! wrap; the reader completes it from the start of the busy period, which is a full stamp.
//!
//! ```text
//!   63                              23 22 21 20    16 15  12  11  10        0
//!  +----------------------------------+-----+--------+------+----+-----------+
//!  | start >> shift, modulo 2^41      |queue| kind   | phase|many| site      |
//!  +----------------------------------+-----+--------+------+----+-----------+
//! ```

use crate::clock::Ticks;
use crate::kind::{Kind, Queue};
use crate::phase::Phase;
use crate::shared_u64::{LoopOwned, SharedU64};
use crate::site::SiteId;

/// Bits of a packed word that tell what runs; the rest is the truncated start.
const WHAT_BITS: u32 = 23;
const START_MASK: u64 = (1 << (64 - WHAT_BITS)) - 1;
/// In place of a kind between callbacks.
pub(crate) const NO_KIND: u64 = 31;
/// Set where what runs stands for many: a batch, or a drain whose jobs are not told one by one.
pub(crate) const MANY: u64 = 1 << 11;
const SITE_MASK: u64 = MANY - 1;

/// The words that tell what runs now. On cache lines of their own: a reader polls them, the loop writes them often.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct NowWords {
    /// What runs, and the start of it: [`place`], [`what`] and [`stamp`] together.
    pub(crate) running: SharedU64<LoopOwned>,
    /// Start of the busy period in ticks; 0 while the loop is in its poll. Published (release) by `unpark` and
    /// `park`, so that a reader that sees a busy period also sees the words below as of its start.
    pub(crate) busy_since: SharedU64<LoopOwned>,
    /// Start of the poll in ticks; meaningful while `busy_since` is 0.
    pub(crate) parked_since: SharedU64<LoopOwned>,
    /// The recorder's count of callbacks when the busy period began: progress within the busy period is its count less this.
    pub(crate) busy_first: SharedU64<LoopOwned>,
    /// Start of the running drain in ticks; 0 outside a drain.
    pub(crate) drain_since: SharedU64<LoopOwned>,
    /// The recorder's count of callbacks when the running drain began.
    pub(crate) drain_first: SharedU64<LoopOwned>,
    /// Iterations begun.
    pub(crate) iterations: SharedU64<LoopOwned>,
    /// The site of the callback after which queues are drained: stored before the first job of the drain begins, and
    /// meaningful while `running` tells a queue. [`SiteId::NONE`] where no callback ended before.
    pub(crate) drained_after: SharedU64<LoopOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(
    NowWords,
    "now",
    running,
    busy_since,
    parked_since,
    busy_first,
    drain_since,
    drain_first,
    iterations,
    drained_after
);

/// What the loop is doing at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The phase the loop is in.
    pub phase: Phase,
    /// The kind of the running callback or job; `None` between callbacks.
    pub kind: Option<Kind>,
    /// The site of the running callback or job; [`SiteId::NONE`] between callbacks.
    pub site: SiteId,
    /// The queue that is being drained; `None` outside a drain.
    pub queue: Option<Queue>,
    /// It stands for many: all callbacks of a batch, or all jobs of a drain.
    pub is_many: bool,
    /// When the running callback began (between callbacks: when the last one ended). Exact to a few nanoseconds.
    pub since: Ticks,
}

/// Returns how many low bits of a stamp the packed word drops, for a clock of `hz` ticks a second: about 25 ns worth.
/// What is left wraps after 15 hours or more.
pub fn shift_for(hz: u64) -> u32 {
    (hz / 25_000_000).checked_ilog2().unwrap_or(0).min(6)
}

/// The part of a packed word that changes only with the phase and the queue: a writer keeps it ready.
#[inline(always)]
pub(crate) fn place(phase: Phase, queue: Option<Queue>) -> u64 {
    (phase.index() as u64) << 12 | queue.map_or(0, |queue| queue as u64 + 1) << 21
}

/// The part of a packed word that tells the callback.
#[inline(always)]
pub(crate) fn what(kind: u64, site: SiteId) -> u64 {
    u64::from(site.0) & SITE_MASK | kind << 16
}

/// The part of a packed word that tells since when.
#[inline(always)]
pub(crate) fn stamp(since: Ticks, shift: u32) -> u64 {
    (since.0 >> shift) << WHAT_BITS
}

/// Unpacks a word. `not_before` is a full stamp at or shortly before the packed start (the start of the busy
/// period), and completes the truncated one. Returns `None` for a word that no writer of this version makes.
pub(crate) fn unpack(word: u64, not_before: Ticks, shift: u32) -> Option<Running> {
    let phase = Phase::of_bits(word >> 12);
    let kind = match word >> 16 & 31 {
        NO_KIND => None,
        index => Some(Kind::from_index(index as usize)?),
    };
    let queue = match word >> 21 & 3 {
        0 => None,
        index => Some(Queue::from_index(index as usize - 1)?),
    };
    let base = not_before.0 >> shift;
    let ahead = (word >> WHAT_BITS).wrapping_sub(base) & START_MASK;
    // The dropped bits may put the packed start just before `not_before`.
    let ahead = if ahead == START_MASK { 0 } else { ahead };
    let since = Ticks(base.wrapping_add(ahead).wrapping_shl(shift).max(not_before.0));
    let (site, is_many) = (SiteId((word & SITE_MASK) as u16), word & MANY != 0);
    Some(Running { phase, kind, queue, site, is_many, since })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A whole word, of the parts that a writer stores.
    fn pack(
        phase: Phase,
        kind: Option<Kind>,
        queue: Option<Queue>,
        site: SiteId,
        since: Ticks,
        shift: u32,
    ) -> u64 {
        let kind = kind.map_or(NO_KIND, |kind| kind as u64);
        place(phase, queue) | what(kind, site) | stamp(since, shift)
    }

    #[test]
    fn what_is_packed_comes_back() {
        for (hz, since) in [(2_596_000_000, 1u64 << 60), (1_000_000_000, 987_654_321_000), (25_000_000, 77)] {
            let shift = shift_for(hz);
            let since = Ticks(since >> shift << shift);
            for (kind, queue) in
                [(Some(Kind::Timer), None), (Some(Kind::Tick), Some(Queue::NextTick)), (None, None)]
            {
                let word = pack(Phase::CHECK, kind, queue, SiteId(511), since, shift);
                let earlier = Ticks(since.0 - since.0.min(3_000_000));
                let running = unpack(word, earlier, shift).unwrap();
                let (phase, site, is_many) = (Phase::CHECK, SiteId(511), false);
                assert_eq!(running, Running { phase, kind, queue, site, is_many, since });
                let many = Running { is_many: true, ..running };
                assert_eq!(unpack(word | MANY, earlier, shift), Some(many));
            }
        }
    }

    #[test]
    fn a_callback_that_starts_with_its_busy_period_does_not_wrap() {
        let busy_since = Ticks((5 << 20) + 63);
        let word = pack(Phase::POLL, None, None, SiteId::NONE, busy_since, 6);
        assert_eq!(unpack(word, busy_since, 6).unwrap().since, busy_since);
    }

    #[test]
    fn a_damaged_word_is_refused() {
        assert_eq!(unpack(30 << 16, Ticks(0), 6), None);
        assert_eq!(unpack(3 << 21, Ticks(0), 6), None);
    }
}
