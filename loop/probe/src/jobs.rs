//! The last jobs of the thread pool: what ran on which of its threads.
//!
//! Written under the pool's mutex when a job ends, so the ring is true also while the loop is blocked.
//!
//! ```text
//!   63    62..48   47       32 31     16 15     8 7      0
//!  +-----+--------+-----------+---------+--------+--------+
//!  |is_ok| 0      | worker    | site    | 0      | kind   |   word 0
//!  +-----+--------+-----------+---------+--------+--------+
//!   words 1 to 3: submitted, started, ended in ticks
//! ```

use crate::clock::Ticks;
use crate::kind::WorkKind;
use crate::ring::{ENTRY_WORDS, EntryWords, Ring};
use crate::site::SiteId;
use crate::word::{PoolOwned, Word};

/// How many jobs a page keeps.
pub const JOBS: usize = 1024;

/// The ring in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct JobWords {
    count: Word<PoolOwned>,
    entries: [[Word<PoolOwned>; ENTRY_WORDS]; JOBS],
}

#[cfg(all(test, not(loom)))]
crate::page_layout::layout!(JobWords, "jobs", count, entries);

/// One job that ended.
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
mod tests {
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
