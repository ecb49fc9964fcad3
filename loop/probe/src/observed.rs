//! When a loop was busy and when it waited, as an observer saw it: for loops whose threads do not tell.
//!
//! Written by the agent that asks the observer. Changes are counted, at their begin in the last word and at their end
//! in the first: a copy between two equal counts is of one moment, and never counts a busy period both as running and
//! as over. Orderings as in [`open`](crate::open_spans): begin relaxed, release fence, stores, end published; a
//! reader observes the end, copies, issues an acquire fence and reads the begin.

use crate::clock::Ticks;
use crate::limits::count;
use crate::shared_u64::{AgentOwned, SharedU64, WriteToken};
use crate::sync::{Ordering, fence};

/// How often a reader tries to copy the words.
const TRIES: usize = if cfg!(loom) { 1 } else { 8 };

/// What an observer saw of a loop whose thread does not tell when it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Since when it is busy; [`Ticks::NONE`] while it waits.
    pub busy_since: Ticks,
    /// Since when it waits, or last began to.
    pub parked_since: Ticks,
    /// How long it was busy until `busy_since`, in ticks.
    pub active_ticks: u64,
    /// How long it waited until `parked_since`, in ticks.
    pub idle_ticks: u64,
}

/// The words.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ObservedWords {
    /// Changes that have ended.
    ended: SharedU64<AgentOwned>,
    /// Since when the loop is busy, in ticks; 0 while it waits.
    pub(crate) busy: SharedU64<AgentOwned>,
    /// Since when it waits, in ticks.
    parked: SharedU64<AgentOwned>,
    /// How long it was busy until `busy`, in ticks.
    active: SharedU64<AgentOwned>,
    /// How long it waited until `parked`, in ticks.
    idle: SharedU64<AgentOwned>,
    /// Busy periods of it that have ended and were stalls, by severity.
    blocked: [SharedU64<AgentOwned>; 2],
    /// Changes that have begun: one more while they are written.
    begun: SharedU64<AgentOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(ObservedWords, "observed", ended, busy, parked, active, idle, blocked, begun);

impl ObservedWords {
    /// Copies what was seen, and how many stalls were seen to end, by severity. Where it changed all the time, the last try.
    pub fn read(&self) -> (Observed, [u64; 2]) {
        let mut copy = self.try_read();
        for _ in 1..TRIES {
            if copy.is_ok() {
                break;
            }
            copy = self.try_read();
        }
        copy.unwrap_or_else(|torn| torn)
    }

    /// Copies the words; `Err` with what was read where they changed meanwhile.
    pub fn try_read(&self) -> Result<(Observed, [u64; 2]), (Observed, [u64; 2])> {
        let ended = self.ended.observe();
        let seen = Observed {
            busy_since: Ticks(self.busy.get()),
            parked_since: Ticks(self.parked.get()),
            active_ticks: self.active.get(),
            idle_ticks: self.idle.get(),
        };
        let blocked = self.blocked.each_ref().map(|word| count(word.get()));
        fence(Ordering::Acquire);
        if self.begun.get() == ended { Ok((seen, blocked)) } else { Err((seen, blocked)) }
    }

    /// Stores what was seen, and counts a stall of each severity that `is_stall` tells of.
    pub fn store(&self, pen: &WriteToken<AgentOwned>, seen: Observed, is_stall: [bool; 2]) {
        let number = self.begun.get().wrapping_add(1);
        self.begun.set(pen, number);
        fence(Ordering::Release);
        self.busy.set(pen, seen.busy_since.0);
        self.parked.set(pen, seen.parked_since.0);
        self.active.set(pen, seen.active_ticks);
        self.idle.set(pen, seen.idle_ticks);
        for (word, is_one) in self.blocked.iter().zip(is_stall) {
            word.add(pen, u64::from(is_one));
        }
        self.ended.publish(pen, number);
    }
}
