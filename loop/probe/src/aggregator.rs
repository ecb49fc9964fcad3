//! From the recorder to the tallies, in batches.
//!
//! `end` only writes a recorder entry: a clock read and a handful of stores. Histograms, counts and paths are updated
//! from those entries later, many at once: before each poll, and whenever [`BATCH`] entries have come together. The
//! same work costs a third in a tight loop of its own, because the processor overlaps what it cannot overlap across a
//! clock read and a call of user code.
//!
//! So the tallies of a running busy period may be up to [`BATCH`] callbacks behind. Nothing is lost by it: the entries
//! are in the recorder meanwhile, also after a crash.

use crate::clock::Scale;
use crate::histogram::Histogram;
use crate::kind::{Kind, Queue};
use crate::page::{Page, RECORDS};
use crate::paths::{Epoch, PathIndex};
use crate::record::{MANY, SPANS, frame_kind, frame_phase};
use crate::ring::EntryWords;
use crate::shared_u64::{LoopOwned, WriteToken};

/// Most entries that wait to be aggregated. A small part of the ring, and about a microsecond of work.
pub const BATCH: u64 = 256;

/// Adds recorder entries to the tallies: the page, and what is needed besides the entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aggregator<'a> {
    pub(crate) page: &'a Page,
    pub(crate) pen: &'a WriteToken<LoopOwned>,
    pub(crate) index: &'a PathIndex,
    pub(crate) scale: Scale,
    pub(crate) epoch: Epoch,
}

/// Consecutive entries of one kind in one phase, added up before they are stored.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    calls: u64,
    run_sum_ns: u64,
    wait_sum_ns: u64,
}

/// Consecutive entries of one path, likewise.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    frame: u64,
    calls: u64,
    own_ticks: u64,
    longest: u64,
}

impl Aggregator<'_> {
    /// Adds the entries numbered `from..to`, of which the ring has the last: the page may be damaged, and its count
    /// any number.
    // A function of its own: inlined it takes a tenth more instructions, and whether it is would depend on what else is
    // compiled with it.
    #[inline(never)]
    pub(crate) fn entries(&self, from: u64, to: u64) {
        let mut next = from.max(to.saturating_sub(RECORDS as u64));
        while next < to {
            let entry = self.page.recorder().own_entry(next);
            let frame = entry[0];
            if frame & MANY != 0 {
                self.many(entry);
                next += 1;
                continue;
            }
            let group = self.group(frame, next, to);
            next += group.calls;
            self.settle_group(frame, group);
        }
    }

    /// Adds one entry that stands for one run, without what adding up several takes: most iterations of a loop with
    /// little to do have one.
    #[inline(always)]
    pub(crate) fn only(&self, [frame, ready, start, end]: EntryWords) {
        let run = end.saturating_sub(start);
        if let Some((run_histogram, wait_histogram)) = self.histograms(frame) {
            run_histogram.record(self.pen, self.scale.ns(run));
            if ready != 0 {
                wait_histogram.record(self.pen, self.scale.ns(start.saturating_sub(ready)));
            }
        }
        let own_ticks = if frame & SPANS == 0 { run } else { 0 };
        let path = self.index.path_again(self.pen, &self.page.paths, frame & !SPANS);
        self.page.paths.add_calls(self.pen, path, 1, own_ticks, run, self.epoch);
        self.count_calls(frame, 1);
    }

    /// Adds one entry that stands for many: its run time is that of one entry, its calls are as many as it says.
    #[cold]
    fn many(&self, [frame, jobs, start, end]: EntryWords) {
        let (run, calls) = (end.saturating_sub(start), jobs.max(1));
        if let Some((run_histogram, _)) = self.histograms(frame) {
            run_histogram.record(self.pen, self.scale.ns(run));
        }
        let own_ticks = if frame & SPANS == 0 { run } else { 0 };
        let path = self.index.path_of_frame(self.pen, &self.page.paths, frame);
        self.page.paths.add_calls(self.pen, path, calls, own_ticks, run, self.epoch);
        self.count_calls(frame, calls);
    }

    /// Returns the histograms of run time and wait of a callback. Jobs of the queues have no histograms of their own;
    /// theirs are by drain.
    #[inline(always)]
    fn histograms(&self, frame: u64) -> Option<(&Histogram<LoopOwned>, &Histogram<LoopOwned>)> {
        let (kind, tallies) = (frame_kind(frame), &self.page.tallies);
        tallies.run.get(kind).zip(tallies.wait.get(kind))
    }

    /// Adds run time, wait and path of the entries from `next` on that have the kind and phase of `frame`.
    fn group(&self, frame: u64, next: u64, to: u64) -> Group {
        let (ring, histograms) = (self.page.recorder(), self.histograms(frame));
        let (mut group, mut streak) = (Group::default(), Streak::default());
        for [entry_frame, ready, start, end] in (next..to).map(|number| ring.own_entry(number)) {
            if !is_same_group(entry_frame, frame) {
                break;
            }
            let run = end.saturating_sub(start);
            group.calls += 1;
            self.add_to_streak(&mut streak, entry_frame, run);
            let Some((run_histogram, wait_histogram)) = histograms else { continue };
            let run_ns = self.scale.ns(run);
            run_histogram.count_one(self.pen, run_ns);
            group.run_sum_ns = group.run_sum_ns.wrapping_add(run_ns);
            if ready != 0 {
                let wait_ns = self.scale.ns(start.saturating_sub(ready));
                wait_histogram.count_one(self.pen, wait_ns);
                group.wait_sum_ns = group.wait_sum_ns.wrapping_add(wait_ns);
            }
        }
        self.settle_streak(streak);
        group
    }

    #[inline(always)]
    fn add_to_streak(&self, streak: &mut Streak, entry_frame: u64, run: u64) {
        let frame = entry_frame & !SPANS;
        if frame != streak.frame {
            self.settle_streak(*streak);
            *streak = Streak { frame, ..Streak::default() };
        }
        streak.calls += 1;
        streak.longest = streak.longest.max(run);
        // With spans inside, own times were charged span by span.
        let own_ticks = if entry_frame & SPANS == 0 { run } else { 0 };
        streak.own_ticks = streak.own_ticks.wrapping_add(own_ticks);
    }

    #[inline(always)]
    fn settle_streak(&self, streak: Streak) {
        if streak.calls == 0 {
            return;
        }
        let path = self.index.path_of_frame(self.pen, &self.page.paths, streak.frame);
        self.page.paths.add_calls(self.pen, path, streak.calls, streak.own_ticks, streak.longest, self.epoch);
    }

    fn settle_group(&self, frame: u64, group: Group) {
        self.count_calls(frame, group.calls);
        if let Some((run, wait)) = self.histograms(frame) {
            run.add_sum(self.pen, group.run_sum_ns);
            wait.add_sum(self.pen, group.wait_sum_ns);
        }
    }

    #[inline(always)]
    fn count_calls(&self, frame: u64, calls: u64) {
        let tallies = &self.page.tallies;
        // The kinds of jobs come after those of callbacks, in the order of their queues, and nothing else is in a frame.
        match frame_kind(frame).checked_sub(Kind::CALLBACKS) {
            Some(queue) => tallies.drained_jobs[queue & 1].add(self.pen, calls),
            None => tallies.phase_callbacks[frame_phase(frame).index()].add(self.pen, calls),
        }
    }
}

const _: () = {
    assert!(Kind::Tick as usize == Kind::CALLBACKS + Queue::NextTick as usize);
    assert!(Kind::Microtask as usize == Kind::CALLBACKS + Queue::Microtask as usize);
};

/// Those with the same kind and phase, of which none stands for many.
#[inline(always)]
fn is_same_group(frame: u64, other: u64) -> bool {
    const GROUP: u64 = MANY | 0xffff << 32;
    (frame ^ other) & GROUP == 0
}
