//! Batches: all timers that are due, or all immediates, which V8 enters as one. What parts them is V8's checkpoint of
//! microtasks, which Node makes between two of them, also where nothing waits for it.
//!
//! ```text
//!   enter  timer  checkpoint  timer  checkpoint  timer  left
//!          '- by itself -'    '- the rest: as one, with their number -'
//! ```
//!
//! The first is told as one callback, so that a timer that is alone, as most are, is what it is also while it runs.
//! Those after it are told as one, with their number; but one that takes long is told by itself as soon as that is
//! known: at its end, or where the agent interrupts it. Without checkpoints nothing parts them but drains, and their
//! number is not known.
//!
//! Between two that are due in different lists Node may find that the second is not due yet: such a part is counted, too, and
//! so is each further round of ticks and promises between two.

use super::drains::Drain;
use super::{Entries, Frame, Runtime};
use loopscope_probe::{Kind, SiteId, TaskTimes, Ticks};

/// What takes so long is told by itself, in nanoseconds.
const LONG_NS: u64 = 1_000_000;

/// The batch that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    site: SiteId,
    /// When the member that runs began.
    since: Ticks,
    /// What the page is told of it.
    told: Told,
}

/// How the member that runs is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// By itself.
    Alone,
    /// As one with so many that ended before it.
    With(u64),
    /// As a part of nobody knows how many.
    Unknown,
}

impl<R: Runtime> Entries<R> {
    /// V8 tells of its checkpoints, so that the members of a batch and the drains of ticks can be told apart.
    pub fn tells_checkpoints(&mut self) {
        self.has_checkpoints = true;
    }

    /// All timers that are due, or all immediates, are one entry.
    pub(super) fn batch_begins(&mut self, kind: Kind, site: SiteId) {
        (self.frame, self.kind, self.is_parted, self.is_thrown) = (Frame::Callback, kind, false, false);
        self.needs_checkpoints = true;
        self.start.entry(kind);
        self.member_begins(site);
    }

    /// The next member begins at the last stamp.
    fn member_begins(&mut self, site: SiteId) {
        let told = match self.has_checkpoints {
            true => {
                self.writer.begin(self.kind, site, TaskTimes::UNKNOWN);
                Told::Alone
            }
            false => {
                self.writer.begin_many(self.kind, site);
                Told::Unknown
            }
        };
        self.batch = Some(Batch { site, since: self.writer.last(), told });
    }

    /// Tells whether a checkpoint would part what runs, members of a batch or rounds of ticks, or says what it is: kept up to date
    /// where that changes, as each entry asks for it.
    #[inline]
    pub fn needs_checkpoints(&self) -> bool {
        self.needs_checkpoints
    }

    /// V8's queue of microtasks is empty. Between the members of a batch that is where one ends, and in Node's queue of ticks
    /// where a drain of it does.
    #[inline(always)]
    pub(super) fn checkpoint(&mut self) {
        if !self.is_in_entry || !matches!(self.drain, Drain::None) {
            return;
        }
        self.is_thrown = false;
        self.is_surely_ticks();
        match (self.frame, self.batch) {
            (Frame::Tick, _) => self.ticks_may_end(),
            (Frame::Callback, Some(batch)) if !std::mem::take(&mut self.is_parted) => self.member_ends(batch),
            _ => {}
        }
    }

    fn member_ends(&mut self, batch: Batch) {
        let now = self.writer.clock().now();
        let told = match batch.told {
            Told::Unknown => return,
            Told::With(before) if !self.is_long(batch.since, now) => Told::With(before + 1),
            told => {
                if let Told::With(before) = told {
                    self.tell_alone(batch, before);
                }
                self.writer.end_at(now);
                self.writer.drained();
                self.writer.begin_many(self.kind, batch.site);
                Told::With(0)
            }
        };
        self.batch = Some(Batch { since: now, told, ..batch });
    }

    pub(super) fn is_long(&self, since: Ticks, now: Ticks) -> bool {
        self.writer.clock().ns_between(since, now) >= LONG_NS
    }

    /// Tells those before the member that runs, so that it is told by itself.
    fn tell_alone(&mut self, batch: Batch, before: u64) {
        if before > 0 {
            self.writer.end_many_at(before, batch.since);
            self.writer.drained();
        }
        self.writer.begin(self.kind, batch.site, TaskTimes::UNKNOWN);
    }

    /// What runs blocks the loop. A member of a batch is told by itself, where it runs for long; ticks are told as such.
    pub fn part_what_blocks(&mut self) {
        if self.frame == Frame::Callback && self.ask_for_ticks() {
            self.becomes_ticks();
        }
        if self.further_round_begins() {
            self.is_round_sure = false;
        }
        self.part_what_is_untold();
        let Some(batch) = self.batch.filter(|_| self.is_in_callback()) else { return };
        if let Told::With(before) = batch.told
            && self.is_long(batch.since, self.writer.clock().now())
        {
            self.tell_alone(batch, before);
            self.batch = Some(Batch { told: Told::Alone, ..batch });
        }
    }

    /// The member that runs gets a name: it is told by itself.
    pub(super) fn name_member(&mut self, batch: Batch, site: SiteId) {
        match batch.told {
            Told::Unknown => {
                self.writer.end();
                self.writer.drained();
            }
            Told::With(before) => self.tell_alone(batch, before),
            Told::Alone => {}
        }
        let told = if batch.told == Told::Unknown { Told::Unknown } else { Told::Alone };
        self.batch = Some(Batch { told, ..batch });
        self.writer.begin(self.kind, site, TaskTimes::UNKNOWN);
    }

    /// The entry of a batch is over, or a drain has come between two members.
    pub(super) fn batch_part_ends(&mut self, batch: Batch) {
        match batch.told {
            Told::With(before) => self.last_ends(batch, before),
            _ => {
                self.writer.end();
            }
        }
    }

    /// The last of several ends.
    fn last_ends(&mut self, batch: Batch, before: u64) {
        let now = self.writer.clock().now();
        match self.is_long(batch.since, now) {
            true => {
                self.tell_alone(batch, before);
                self.writer.end_at(now);
            }
            false => {
                self.writer.end_many_at(before + 1, now);
            }
        }
    }

    /// A drain inside a batch has ended: what comes is another member of it, and not what was named.
    pub(super) fn next_of_batch(&mut self) {
        if let Some(batch) = self.batch {
            // The checkpoint that this drain was comes still.
            self.is_parted = self.has_checkpoints;
            self.member_begins(batch.site);
        }
    }
}
