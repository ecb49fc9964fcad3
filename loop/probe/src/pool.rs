//! The thread pool's part of the page, as it lies there and as it is read.

use crate::clock::{Scale, Ticks};
use crate::histogram::{Histogram, HistogramValues};
use crate::kind::WorkKind;
use crate::limits::count;
use crate::shared_u64::{PoolOwned, SharedU64};
use crate::site::SiteId;
use crate::sync::{Ordering, fence};

/// How many workers' running jobs a page tells.
pub const JOBS_NOW: usize = 32;

/// In a word of a pool that is only observed: not known.
pub(crate) const UNKNOWN: u64 = u64::MAX;

fn known(word: u64) -> Option<u64> {
    (word != UNKNOWN).then(|| count(word))
}

/// A job that runs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobNow {
    /// The worker that runs it.
    pub worker: u32,
    /// The kernel's number of that worker's thread; `None` where its pool does not tell.
    pub tid: Option<u32>,
    /// What it does.
    pub kind: WorkKind,
    /// Where it was submitted.
    pub site: SiteId,
    /// Since when.
    pub since: Ticks,
}

/// The pool's words.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct PoolWords {
    /// Worker threads; 0 where this page has no pool. This word and the next two may be [`UNKNOWN`].
    pub(crate) threads: SharedU64<PoolOwned>,
    pub(crate) running: SharedU64<PoolOwned>,
    pub(crate) queued: SharedU64<PoolOwned>,
    pub(crate) queued_max: SharedU64<PoolOwned>,
    /// When the job at the head of the queue was submitted, in ticks; 0 while the queue is empty; [`UNKNOWN`].
    pub(crate) oldest: SharedU64<PoolOwned>,
    /// When all threads became busy with jobs still queued, in ticks; 0 while that is not so.
    pub(crate) saturated_since: SharedU64<PoolOwned>,
    pub(crate) saturated_ticks: SharedU64<PoolOwned>,
    /// Busy time of all threads until `busy_as_of`, in ticks; since then `running` threads are busy.
    pub(crate) busy_ticks: SharedU64<PoolOwned>,
    pub(crate) busy_as_of: SharedU64<PoolOwned>,
    /// What runs now: by worker, site and kind (kind + 1 in bits 0 to 15, site in 16 to 31, the thread's number in 32
    /// to 63, 0 where not told), and since when in ticks.
    pub(crate) jobs_now: [[SharedU64<PoolOwned>; 2]; JOBS_NOW],
    pub(crate) submitted: [SharedU64<PoolOwned>; WorkKind::COUNT],
    pub(crate) completed: [SharedU64<PoolOwned>; WorkKind::COUNT],
    pub(crate) failed: [SharedU64<PoolOwned>; WorkKind::COUNT],
    pub(crate) cancelled: [SharedU64<PoolOwned>; WorkKind::COUNT],
    pub(crate) wait: [Histogram<PoolOwned>; WorkKind::COUNT],
    pub(crate) run: [Histogram<PoolOwned>; WorkKind::COUNT],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(
    PoolWords,
    "pool",
    threads,
    running,
    queued,
    queued_max,
    oldest,
    saturated_since,
    saturated_ticks,
    busy_ticks,
    busy_as_of,
    jobs_now,
    submitted,
    completed,
    failed,
    cancelled,
    wait,
    run
);

/// A copy of a pool's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolValues {
    /// Worker threads, at least 1; `None` where nobody knows.
    pub threads: Option<u64>,
    /// Jobs that run now; `None` where nobody knows.
    pub running: Option<u64>,
    /// Jobs that wait now; `None` where nobody knows.
    pub queued: Option<u64>,
    /// Most jobs that ever waited at once, as far as was seen.
    pub queued_max: u64,
    /// How long the job at the head of the queue has waited, in nanoseconds; 0 with an empty queue; `None` where
    /// nobody knows.
    pub oldest_wait_ns: Option<u64>,
    /// How long all threads have been busy with jobs still queued, in nanoseconds; 0 while not so.
    pub saturated_for_ns: u64,
    /// Time with all threads busy and jobs queued, in nanoseconds, the present such period included.
    pub saturated_ns: u64,
    /// Busy time of all threads, in nanoseconds, running jobs included.
    pub busy_ns: u64,
    /// Jobs submitted, by kind.
    pub submitted: [u64; WorkKind::COUNT],
    /// Jobs finished without a panic, by kind.
    pub completed: [u64; WorkKind::COUNT],
    /// Jobs that panicked, by kind.
    pub failed: [u64; WorkKind::COUNT],
    /// Jobs cancelled while queued, by kind.
    pub cancelled: [u64; WorkKind::COUNT],
    /// Submit to start, by kind.
    pub wait: [HistogramValues; WorkKind::COUNT],
    /// Start to end, by kind.
    pub run: [HistogramValues; WorkKind::COUNT],
}

/// The pool's present state, without counters and histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolNow {
    /// Worker threads, at least 1; `None` where nobody knows.
    pub threads: Option<u64>,
    /// Jobs that run now; `None` where nobody knows.
    pub running: Option<u64>,
    /// Jobs that wait now; `None` where nobody knows.
    pub queued: Option<u64>,
    /// How long the job at the head of the queue has waited, in nanoseconds; 0 with an empty queue; `None` where
    /// nobody knows.
    pub oldest_wait_ns: Option<u64>,
    /// Since when all threads have been busy with jobs still queued; [`Ticks::NONE`] while not so.
    pub saturated_since: Ticks,
    /// How long that is, in nanoseconds.
    pub saturated_for_ns: u64,
}

impl PoolWords {
    /// How many bytes at the front are numbers; histograms come after them.
    #[cfg(target_os = "linux")]
    pub(crate) const NUMBERS_BYTES: usize = std::mem::offset_of!(PoolWords, wait);

    /// Reads the present state as of `now`, or `None` where the page has no pool.
    pub(crate) fn now(&self, now: Ticks, ns: impl Fn(u64) -> u64) -> Option<PoolNow> {
        let age = |since: u64| if since == 0 { 0 } else { ns(now.since(Ticks(since))) };
        let (threads, saturated_since) = (self.threads.get(), self.saturated_since.get());
        (threads > 0).then(|| PoolNow {
            threads: known(threads),
            running: known(self.running.get()),
            queued: known(self.queued.get()),
            oldest_wait_ns: Some(self.oldest.get()).filter(|oldest| *oldest != UNKNOWN).map(age),
            saturated_since: Ticks(saturated_since),
            saturated_for_ns: age(saturated_since),
        })
    }

    /// Copies the words as of `now`, or `None` where the page has no pool. Ages are 0 without `now`.
    pub(crate) fn read(&self, now: Option<Ticks>, scale: Scale) -> Option<PoolValues> {
        let ns = |ticks: u64| scale.duration_ns(ticks);
        if self.threads.get() == 0 {
            return None;
        }
        let (threads, running) = (known(self.threads.get()), known(self.running.get()));
        let age = |since: u64| now.filter(|_| since != 0).map_or(0, |now| now.since(Ticks(since)));
        let (busy_as_of, oldest) = (self.busy_as_of.get(), self.oldest.get());
        let busy_now = running.unwrap_or(0).min(threads.unwrap_or(u64::MAX));
        let saturated_for = age(self.saturated_since.get());
        let counters = |words: &[SharedU64<PoolOwned>; WorkKind::COUNT]| {
            std::array::from_fn(|kind| count(words[kind].get()))
        };
        Some(PoolValues {
            threads,
            running,
            queued: known(self.queued.get()),
            queued_max: count(self.queued_max.get()),
            oldest_wait_ns: (oldest != UNKNOWN).then(|| ns(age(oldest))),
            saturated_for_ns: ns(saturated_for),
            saturated_ns: ns(self.saturated_ticks.get().saturating_add(saturated_for)),
            // Of all threads together, which is longer than the loop has lived.
            busy_ns: scale
                .sum_ns(self.busy_ticks.get().saturating_add(age(busy_as_of).saturating_mul(busy_now))),
            submitted: counters(&self.submitted),
            completed: counters(&self.completed),
            failed: counters(&self.failed),
            cancelled: counters(&self.cancelled),
            wait: std::array::from_fn(|kind| self.wait[kind].read()),
            run: std::array::from_fn(|kind| self.run[kind].read()),
        })
    }

    /// Copies the jobs that run now, of the first [`JOBS_NOW`] workers.
    pub(crate) fn jobs_now(&self) -> Vec<JobNow> {
        let read = |(worker, [what, since]): (usize, &[SharedU64<PoolOwned>; 2])| {
            let (told, since) = (what.observe(), Ticks(since.get()));
            fence(Ordering::Acquire);
            // Else another job has begun meanwhile, and the start may be its.
            let told = Some(told).filter(|told| what.get() == *told)?;
            let kind = WorkKind::from_index((told as usize & 0xffff).checked_sub(1)?)?;
            let tid = Some((told >> 32) as u32).filter(|tid| *tid != 0);
            Some(JobNow { worker: worker as u32, tid, kind, site: SiteId((told >> 16) as u16), since })
        };
        self.jobs_now.iter().enumerate().filter_map(read).collect()
    }
}
