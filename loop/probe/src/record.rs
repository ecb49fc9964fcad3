//! Entries of the recorder: callbacks with the jobs drained after them, iterations, and jobs of the thread pool.
//!
//! One callback: what ran, when it was ready, when it began, when it ended.
//!
//! ```text
//!   63      62       61     60..48  47    40 39   32 31            16 15        0
//!  +-------+--------+------+-------+--------+-------+----------------+-----------+
//!  |running| spans  | many | 0     | phase  | kind  | parent site    | site      |   word 0
//!  +-------+--------+------+-------+--------+-------+----------------+-----------+
//!   words 1 to 3: ready (of many: their number), start, end in ticks
//! ```

use crate::clock::Ticks;
use crate::kind::{Kind, WorkKind};
use crate::limits::count;
use crate::phase::Phase;
use crate::ring::{ENTRY_WORDS, EntryWords, Ring};
use crate::shared_u64::{LoopOwned, PoolOwned, SharedU64};
use crate::site::SiteId;

/// Set while a frame runs, so that no running frame is 0.
pub(crate) const RUNNING: u64 = 1 << 63;

/// Set where spans were entered inside: the path's own times are counted already, span by span.
pub(crate) const SPANS: u64 = 1 << 62;

/// Set where the entry stands for many: a batch, or a drain as a whole.
pub(crate) const MANY: u64 = 1 << 61;

/// One entry of the recorder, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackRecord {
    /// Number since the page was made.
    pub number: u64,
    /// What ran.
    pub kind: Kind,
    /// Where it was registered.
    pub site: SiteId,
    /// For a drained job, the site of the callback after which it was drained; else [`SiteId::NONE`].
    pub parent: SiteId,
    /// In which phase.
    pub phase: Phase,
    /// For many told as one, a batch or a drain as a whole: how many, 0 where not known. `None` for a single one.
    pub many: Option<u64>,
    /// When it was ready; [`Ticks::NONE`] where not known.
    pub ready: Ticks,
    /// When it began.
    pub start: Ticks,
    /// When it ended.
    pub end: Ticks,
}

/// The part of word 0 that stays the same within a phase, or within a drain after the callback at `parent`.
#[inline(always)]
pub(crate) fn frame_base(phase: Phase, parent: SiteId) -> u64 {
    RUNNING | (phase.index() as u64) << 40 | u64::from(parent.0) << 16
}

/// Word 0 of a callback or job.
#[inline(always)]
pub(crate) fn frame(base: u64, kind: Kind, site: SiteId) -> u64 {
    base | (kind as u64) << 32 | u64::from(site.0)
}

/// The site in word 0.
#[inline(always)]
pub(crate) fn frame_site(frame: u64) -> SiteId {
    SiteId(frame as u16)
}

/// The parent site in word 0.
#[inline(always)]
pub(crate) fn frame_parent(frame: u64) -> SiteId {
    SiteId((frame >> 16) as u16)
}

/// The kind's number in word 0.
#[inline(always)]
pub(crate) fn frame_kind(frame: u64) -> usize {
    (frame >> 32) as usize & 0xff
}

/// The phase in word 0.
#[inline(always)]
pub(crate) fn frame_phase(frame: u64) -> Phase {
    Phase::of_bits(frame >> 40)
}

impl CallbackRecord {
    /// Decodes an entry; `None` for one that no writer of this version makes.
    pub(crate) fn decode(number: u64, [frame, ready, start, end]: EntryWords) -> Option<CallbackRecord> {
        Some(CallbackRecord {
            number,
            kind: Kind::from_index(frame_kind(frame))?,
            site: frame_site(frame),
            parent: frame_parent(frame),
            phase: frame_phase(frame),
            many: (frame & MANY != 0).then(|| count(ready)),
            ready: if frame & MANY == 0 { Ticks(ready) } else { Ticks::NONE },
            start: Ticks(start),
            end: Ticks(end),
        })
    }
}

// The last iterations: one entry per busy period, written when it ends. Between two entries the loop was in its poll.

/// How many iterations a page keeps.
pub const ITERATIONS: usize = 1024;

/// The ring in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct IterationWords {
    count: SharedU64<LoopOwned>,
    entries: [[SharedU64<LoopOwned>; ENTRY_WORDS]; ITERATIONS],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(IterationWords, "iterations", count, entries);

/// One busy period: from the return of one poll to the begin of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IterationRecord {
    /// Number since the page was made.
    pub number: u64,
    /// When the poll before it returned.
    pub begin: Ticks,
    /// When the next poll began.
    pub end: Ticks,
    /// Events that the poll before it returned.
    pub events: u64,
    /// Number of the first callback's entry in the recorder.
    pub first_record: u64,
}

impl IterationWords {
    #[inline(always)]
    pub(crate) fn ring(&self) -> Ring<'_> {
        Ring::new(&self.count, &self.entries)
    }

    /// Copies the entries numbered `from` and up.
    pub(crate) fn read(&self, from: u64) -> Vec<IterationRecord> {
        let decode = |(number, [begin, end, events, first_record]): (u64, EntryWords)| IterationRecord {
            number,
            begin: Ticks(begin),
            end: Ticks(end),
            events: count(events),
            first_record: count(first_record),
        };
        self.ring().read(from).into_iter().map(decode).collect()
    }
}

// The last jobs of the thread pool: what ran on which of its threads.
//
// Written under the pool's mutex when a job ends, so the ring is true also while the loop is blocked.
//
// ```text
//   63    62..48   47       32 31     16 15     8 7      0
//  +-----+--------+-----------+---------+--------+--------+
//  |is_ok| 0      | worker    | site    | 0      | kind   |   word 0
//  +-----+--------+-----------+---------+--------+--------+
//   words 1 to 3: submitted, started, ended in ticks
// ```

/// How many jobs a page keeps.
pub const JOBS: usize = 1024;

/// The ring in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct JobWords {
    count: SharedU64<PoolOwned>,
    entries: [[SharedU64<PoolOwned>; ENTRY_WORDS]; JOBS],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(JobWords, "jobs", count, entries);

/// One job that ended. Write one as `JobRecord { kind, site, ..JobRecord::default() }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Number since the page was made; a writer need not set it.
    pub number: u64,
    /// What it did.
    pub kind: WorkKind,
    /// Where it was submitted.
    pub site: SiteId,
    /// Which thread of the pool ran it, from 0; at most 65,535.
    pub worker: u32,
    /// When it was handed to the pool.
    pub submitted: Ticks,
    /// When a thread took it.
    pub started: Ticks,
    /// When it ended.
    pub ended: Ticks,
    /// False where it panicked.
    pub is_ok: bool,
}

impl Default for JobRecord {
    /// Returns a job of which nothing is known but that it did not panic.
    fn default() -> JobRecord {
        let (number, worker, never) = (0, 0, Ticks::NONE);
        let (kind, site) = (WorkKind::Other, SiteId::NONE);
        JobRecord { number, kind, site, worker, submitted: never, started: never, ended: never, is_ok: true }
    }
}

impl JobRecord {
    pub(crate) fn encode(&self) -> EntryWords {
        let worker = u64::from(self.worker.min(0xffff));
        let head =
            self.kind as u64 | u64::from(self.site.0) << 16 | worker << 32 | u64::from(self.is_ok) << 63;
        [head, self.submitted.0, self.started.0, self.ended.0]
    }

    fn decode((number, [head, submitted, started, ended]): (u64, EntryWords)) -> Option<JobRecord> {
        Some(JobRecord {
            number,
            kind: WorkKind::from_index(head as usize & 0xff)?,
            site: SiteId((head >> 16) as u16),
            worker: (head >> 32) as u32 & 0xffff,
            submitted: Ticks(submitted),
            started: Ticks(started),
            ended: Ticks(ended),
            is_ok: head >> 63 == 1,
        })
    }
}

impl JobWords {
    pub(crate) fn ring(&self) -> Ring<'_, PoolOwned> {
        Ring::new(&self.count, &self.entries)
    }

    /// Copies the entries numbered `from` and up that are not damaged.
    pub(crate) fn read(&self, from: u64) -> Vec<JobRecord> {
        self.ring().read(from).into_iter().filter_map(JobRecord::decode).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod jobs_tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let job = JobRecord {
            number: 4,
            kind: WorkKind::Zlib,
            site: SiteId(500),
            worker: 1023,
            submitted: Ticks(1),
            started: Ticks(2),
            ended: Ticks(u64::MAX),
            is_ok: true,
        };
        assert_eq!(JobRecord::decode((4, job.encode())), Some(job));
        let job = JobRecord { is_ok: false, worker: 0, ..job };
        assert_eq!(JobRecord::decode((4, job.encode())), Some(job));
        assert_eq!(JobRecord::decode((0, [0xff, 0, 0, 0])), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let base = frame_base(Phase::CHECK, SiteId(300));
        let record =
            CallbackRecord::decode(9, [frame(base, Kind::Tick, SiteId(17)) | SPANS, 1, 2, 3]).unwrap();
        let (ready, start, end) = (Ticks(1), Ticks(2), Ticks(3));
        let (kind, site, parent, phase) = (Kind::Tick, SiteId(17), SiteId(300), Phase::CHECK);
        let single = CallbackRecord { number: 9, kind, site, parent, phase, many: None, ready, start, end };
        assert_eq!(record, single);
        let record =
            CallbackRecord::decode(9, [frame(base, Kind::Tick, SiteId(17)) | MANY, 40, 2, 3]).unwrap();
        assert_eq!(record, CallbackRecord { many: Some(40), ready: Ticks::NONE, ..single });
        assert_eq!(CallbackRecord::decode(0, [0xff << 32, 0, 0, 0]), None);
    }
}
