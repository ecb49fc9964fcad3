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
use crate::ring::{ENTRY_WORDS, EntryWords};
use crate::shared_u64::{LoopOwned, SharedU64, WriteToken};

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

/// Run times of consecutive entries with the same first word, in ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    ticks: u64,
    longest: u64,
}

type Entries = [[SharedU64<LoopOwned>; ENTRY_WORDS]];

impl Sums {
    #[inline(always)]
    fn add(&mut self, run: u64) {
        self.ticks = self.ticks.wrapping_add(run);
        self.longest = self.longest.max(run);
    }
}

impl Aggregator<'_> {
    /// Adds the entries numbered `from..to`, of which the ring has the last: the page may be damaged, and its count
    /// any number.
    // A function of its own: inlined it takes a tenth more instructions, and whether it is would depend on what else is
    // compiled with it.
    #[inline(never)]
    pub(crate) fn entries(&self, from: u64, to: u64) {
        let from = from.max(to.saturating_sub(RECORDS as u64));
        for mut entries in self.page.recorder().own_entries(from, to) {
            while let Some([frame, ..]) = entries.first() {
                entries = self.streak(frame.get(), entries);
            }
        }
    }

    /// Adds the entries at the begin that have this first word. Returns the others.
    #[inline(always)]
    fn streak<'a>(&self, frame: u64, entries: &'a Entries) -> &'a Entries {
        match frame & MANY == 0 && frame_kind(frame) < Kind::CALLBACKS {
            true => self.callbacks(frame, entries),
            false => self.others(frame, entries),
        }
    }

    /// Adds callbacks, each told by itself. Returns what comes after them.
    #[inline(always)]
    fn callbacks<'a>(&self, frame: u64, entries: &'a Entries) -> &'a Entries {
        let Some((run_histogram, wait_histogram)) = self.histograms(frame) else { return &[] };
        let (mut sums, mut run_sum_ns, mut wait_sum_ns, mut calls) = (Sums::default(), 0u64, 0u64, 0);
        while let Some([first, ready, start, end]) = entries.get(calls)
            && first.get() == frame
        {
            calls += 1;
            let (ready, start, end) = (ready.get(), start.get(), end.get());
            let run = end.saturating_sub(start);
            sums.add(run);
            let run_ns = self.scale.ns(run);
            run_histogram.count_one(self.pen, run_ns);
            run_sum_ns = run_sum_ns.wrapping_add(run_ns);
            if ready != 0 {
                let wait_ns = self.scale.ns(start.saturating_sub(ready));
                wait_histogram.count_one(self.pen, wait_ns);
                wait_sum_ns = wait_sum_ns.wrapping_add(wait_ns);
            }
        }
        run_histogram.add_sum(self.pen, run_sum_ns);
        // A line of the cache, which many loops never need.
        if wait_sum_ns != 0 {
            wait_histogram.add_sum(self.pen, wait_sum_ns);
        }
        self.settle(frame, calls as u64, sums);
        &entries[calls..]
    }

    /// Adds jobs, which have no histograms of their own (theirs are by drain), and what stands for many: the run time of one entry, and
    /// as many calls as it says. Returns what comes after them.
    #[inline(always)]
    fn others<'a>(&self, frame: u64, entries: &'a Entries) -> &'a Entries {
        let is_many = frame & MANY != 0;
        let (mut sums, mut calls, mut next) = (Sums::default(), 0u64, 0);
        while let Some([first, jobs, start, end]) = entries.get(next)
            && first.get() == frame
        {
            next += 1;
            let run = end.get().saturating_sub(start.get());
            sums.add(run);
            calls = calls.wrapping_add(if is_many { jobs.get().max(1) } else { 1 });
            if let Some((run_histogram, _)) = self.histograms(frame) {
                run_histogram.record(self.pen, self.scale.ns(run));
            }
        }
        self.settle(frame, calls, sums);
        &entries[next..]
    }

    #[inline(always)]
    fn settle(&self, frame: u64, calls: u64, Sums { ticks, longest }: Sums) {
        // With spans inside, own times were charged span by span.
        let own_ticks = if frame & SPANS == 0 { ticks } else { 0 };
        let path = self.index.path_again(self.pen, &self.page.paths, frame & !(SPANS | MANY));
        self.page.paths.add_calls(self.pen, path, calls, own_ticks, longest, self.epoch);
        self.count_calls(frame, calls);
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

    /// Returns the histograms of run time and wait of a callback; none for a job.
    #[inline(always)]
    fn histograms(&self, frame: u64) -> Option<(&Histogram<LoopOwned>, &Histogram<LoopOwned>)> {
        let (kind, tallies) = (frame_kind(frame), &self.page.tallies);
        tallies.run.get(kind).zip(tallies.wait.get(kind))
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
