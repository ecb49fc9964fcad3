//! The page: one loop's shared memory, laid out once and for all readers.
//!
//! The layout is `repr(C)`, all of it 64-bit words, and its sizes and offsets are asserted below: changing one is a
//! new [`VERSION`], and a reader refuses any other version than its own. Every word may hold anything: a page that
//! another process wrote is hostile input, and all accessors bound what they read.

use crate::clock::{ClockSource, Scale, Ticks};
use crate::control::ControlWords;
use crate::description::{Description, DescriptionWords};
use crate::expected::ExpectedWords;
use crate::gauges::GaugeTable;
use crate::now::NowWords;
use crate::open_spans::{OpenSpan, OpenWords};
use crate::paths::PathTable;
use crate::pool::{JobNow, PoolWords};
use crate::record::{IterationRecord, IterationWords};
use crate::record::{JobRecord, JobWords};
use crate::ring::{ENTRY_WORDS, Ring};
use crate::shared_u64::{LoopOwned, SharedU64};
use crate::site::{SiteTable, load_text};
use crate::tallies::TallyWords;
use std::sync::Arc;

/// `LOOPSCOP`, the first eight bytes of every page.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"LOOPSCOP");

/// The layout's version; readers accept no other.
pub const VERSION: u64 = 3;

/// Entries of the recorder: the last 4,096 callbacks, in 128 KiB (larger rings evict the program's own cache lines).
pub const RECORDS: usize = 4096;

/// A name, and up to 16 bytes that make it unique.
pub(crate) const LABEL_WORDS: usize = 10;

/// Facts that do not change after the page was made. The words to `is_closed` are where they are in every
/// version: whoever removes pages has to judge those of other versions, too. Written in `builder.rs`.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct HeaderWords {
    /// [`MAGIC`]; stored last (release), so that a page that shows it is complete.
    pub(crate) magic: SharedU64<LoopOwned>,
    pub(crate) version: SharedU64<LoopOwned>,
    pub(crate) bytes: SharedU64<LoopOwned>,
    pub(crate) pid: SharedU64<LoopOwned>,
    /// Start time of the process in clock ticks since boot: with the pid, it names a process for good.
    pub(crate) pid_start: SharedU64<LoopOwned>,
    /// Inode of the pid namespace: a pid means nothing in another one.
    pub(crate) pid_namespace: SharedU64<LoopOwned>,
    pub(crate) tid: SharedU64<LoopOwned>,
    pub(crate) created_unix_ns: SharedU64<LoopOwned>,
    pub(crate) created_ticks: SharedU64<LoopOwned>,
    pub(crate) clock_source: SharedU64<LoopOwned>,
    pub(crate) clock_multiplier: SharedU64<LoopOwned>,
    pub(crate) clock_shift: SharedU64<LoopOwned>,
    /// 1 once the loop ended in an orderly way.
    pub(crate) is_closed: SharedU64<LoopOwned>,
    pub(crate) name: [SharedU64<LoopOwned>; 8],
    pub(crate) runtime: [SharedU64<LoopOwned>; 2],
    pub(crate) backend: [SharedU64<LoopOwned>; 2],
    pub(crate) thread: [SharedU64<LoopOwned>; 4],
    pub(crate) process: [SharedU64<LoopOwned>; 8],
    /// The machine's boot in which the process runs, the lower half first; with pid, start and namespace it names the process
    /// for good. 0 where the kernel does not tell.
    pub(crate) boot: [SharedU64<LoopOwned>; 2],
    /// The loop's label: its name, made unique among the loops that lived in the process when it was made.
    pub(crate) label: [SharedU64<LoopOwned>; LABEL_WORDS],
    /// [`OBSERVED`], or 0.
    pub(crate) flags: SharedU64<LoopOwned>,
    /// 1 more than the number of the worker in its runtime; 0 for a loop by itself.
    pub(crate) worker: SharedU64<LoopOwned>,
    /// The name of the runtime that has several workers, each with a page; empty for a loop by itself.
    pub(crate) group: [SharedU64<LoopOwned>; 8],
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(
    HeaderWords,
    "header",
    magic,
    version,
    bytes,
    pid,
    pid_start,
    pid_namespace,
    tid,
    created_unix_ns,
    created_ticks,
    clock_source,
    clock_multiplier,
    clock_shift,
    is_closed,
    name,
    runtime,
    backend,
    thread,
    process,
    boot,
    label,
    flags,
    worker,
    group
);

/// The loop's thread does not tell when it waits for events: `busy_since` and the times are the agent's words.
pub(crate) const OBSERVED: u64 = 1;

/// One loop's shared memory.
#[repr(C, align(4096))]
#[derive(Debug)]
pub struct Page {
    pub(crate) header: HeaderWords,
    pub(crate) control: ControlWords,
    pub(crate) description: DescriptionWords,
    pub(crate) now: NowWords,
    pub(crate) open: OpenWords,
    pub(crate) expected: ExpectedWords,
    pub(crate) tallies: TallyWords,
    pub(crate) pool: PoolWords,
    pub(crate) gauges: GaugeTable,
    pub(crate) record_count: SharedU64<LoopOwned>,
    pub(crate) records: [[SharedU64<LoopOwned>; ENTRY_WORDS]; RECORDS],
    pub(crate) iterations: IterationWords,
    pub(crate) jobs: JobWords,
    pub(crate) sites: SiteTable,
    pub(crate) paths: PathTable,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(
    Page,
    "page",
    header,
    control,
    description,
    now,
    open,
    expected,
    tallies,
    pool,
    gauges,
    record_count,
    records,
    iterations,
    jobs,
    sites,
    paths
);

// The layout of version 3. A failure here means: bump VERSION. What a part has no words for yet is zeros up to the next
// multiple of its alignment, and is where its next words go.
const _: () = {
    assert!(size_of::<HeaderWords>() == 512);
    assert!(size_of::<ControlWords>() == 384);
    assert!(size_of::<NowWords>() == 128);
    assert!(std::mem::offset_of!(HeaderWords, pid_namespace) == 40);
    assert!(std::mem::offset_of!(HeaderWords, is_closed) == 96);
    assert!(std::mem::offset_of!(HeaderWords, boot) == 296);
    assert!(std::mem::offset_of!(HeaderWords, label) == 312);
    assert!(std::mem::offset_of!(Page, control) == 512);
    assert!(std::mem::offset_of!(HeaderWords, flags) == 392);
    assert!(std::mem::offset_of!(Page, description) == 896);
    assert!(std::mem::offset_of!(Page, now) == 9088);
    assert!(size_of::<OpenWords>() == 1792);
    assert!(size_of::<ExpectedWords>() == 128);
    assert!(std::mem::offset_of!(Page, open) == 9216);
    assert!(std::mem::offset_of!(Page, expected) == 11008);
    assert!(std::mem::offset_of!(Page, tallies) == 11136);
    assert!(size_of::<Page>() <= 1 << 20);
    assert!(align_of::<Page>() == 4096);
};

/// Where the words lie that [`Page::vitals_at`] reads, from and to, rising: what runs, the first tallies, the pool's
/// numbers, and the counts of records and iterations.
#[cfg(target_os = "linux")]
pub(crate) const VITAL_RANGES: [(usize, usize); 4] = {
    const fn words(begin: usize, count: usize) -> (usize, usize) {
        (begin, begin + count * 8)
    }
    let tallies = std::mem::offset_of!(Page, tallies) + TallyWords::NUMBERS_BYTES;
    let pool = std::mem::offset_of!(Page, pool);
    [
        (0, tallies),
        (pool, pool + PoolWords::NUMBERS_BYTES),
        words(std::mem::offset_of!(Page, record_count), 1),
        words(std::mem::offset_of!(Page, iterations), 1),
    ]
};

/// Where the words lie that [`Page::snapshot_at`] reads, rising, without the entries of the tables of sites and paths:
/// all but the recorder, the iterations and the jobs.
#[cfg(target_os = "linux")]
pub(crate) const COUNTER_RANGES: [(usize, usize); 4] = {
    let (sites, paths) = (std::mem::offset_of!(Page, sites), std::mem::offset_of!(Page, paths));
    [
        (0, std::mem::offset_of!(Page, records)),
        VITAL_RANGES[3],
        (sites, sites + SiteTable::HEAD_BYTES),
        (paths, paths + PathTable::HEAD_BYTES),
    ]
};

/// Why a page cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageFault {
    /// It does not begin with [`MAGIC`]: something else, or not complete yet.
    NotAPage,
    /// It was written by another version of the layout.
    Version(u64),
    /// It has another length than its version has.
    Length(u64),
    /// Its clock is damaged.
    Clock,
}

impl std::error::Error for PageFault {}

impl std::fmt::Display for PageFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PageFault::NotAPage => f.write_str("is not a loopscope page, or not complete yet"),
            PageFault::Version(found) => write!(
                f,
                "has page version {found}, but this program reads version {VERSION}; use the loopscope release of \
                 the watched program"
            ),
            PageFault::Length(found) => {
                write!(f, "is truncated: {found} bytes instead of {}", size_of::<Page>())
            }
            PageFault::Clock => f.write_str("has a damaged clock"),
        }
    }
}

impl Page {
    /// Checks that this is a complete page of this version.
    ///
    /// # Errors
    /// Says what is wrong with it; nothing else of the page should be read then.
    pub fn check(&self) -> Result<(), PageFault> {
        let header = &self.header;
        if header.magic.observe() != MAGIC {
            return Err(PageFault::NotAPage);
        }
        if header.version.get() != VERSION {
            return Err(PageFault::Version(header.version.get()));
        }
        if header.bytes.get() != size_of::<Page>() as u64 {
            return Err(PageFault::Length(header.bytes.get()));
        }
        self.clock().map(|_| ()).ok_or(PageFault::Clock)
    }

    /// Returns the recorder.
    #[inline(always)]
    pub fn recorder(&self) -> Ring<'_> {
        Ring::new(&self.record_count, &self.records)
    }

    /// Returns the part that the agent writes.
    pub fn control(&self) -> &ControlWords {
        &self.control
    }

    /// Returns what the runtime says of itself. Cheap where the same was read before.
    pub fn description(&self) -> Arc<Description> {
        self.description.read()
    }

    /// Tells whether an observer, and not the loop's own thread, tells when it waits for events.
    #[inline(always)]
    pub fn is_observed(&self) -> bool {
        self.header.flags.get() & OBSERVED != 0
    }

    /// Returns since when the loop is busy (acquire); 0 while it waits, and once it is over.
    #[inline(always)]
    pub(crate) fn observe_busy(&self) -> u64 {
        // Of one that is observed, what was seen last would stay.
        if self.is_over() {
            return 0;
        }
        match self.is_observed() {
            true => self.control.observed_busy_word().observe(),
            false => self.now.busy_since.observe(),
        }
    }

    /// Returns the site table.
    pub fn sites(&self) -> &SiteTable {
        &self.sites
    }

    /// Returns the tree of paths.
    pub fn paths(&self) -> &PathTable {
        &self.paths
    }

    /// Copies the last iterations numbered `from` and up, oldest first; the running one is not among them.
    pub fn iterations(&self, from: u64) -> Vec<IterationRecord> {
        self.iterations.read(from)
    }

    /// Returns how many iterations were ever recorded: the number of the next one.
    pub fn iterations_recorded(&self) -> u64 {
        self.iterations.ring().count()
    }

    /// Copies the last jobs numbered `from` and up, in the order in which they ended. Damaged entries are left out.
    pub fn jobs(&self, from: u64) -> Vec<JobRecord> {
        self.jobs.read(from)
    }

    /// Copies the jobs that the pool runs now, of its first [`JOBS_NOW`](crate::pool::JOBS_NOW) workers.
    pub fn jobs_now(&self) -> Vec<JobNow> {
        self.pool.jobs_now()
    }

    /// Returns how many jobs were ever recorded: the number of the next one.
    pub fn jobs_recorded(&self) -> u64 {
        self.jobs.ring().count()
    }

    /// Copies the spans that are open inside the running callback, outermost first; at most
    /// [`OPEN_SPANS`](crate::open_spans::OPEN_SPANS). Empty where no callback runs, or where the stack changed all the time
    /// while it was read.
    pub fn open_spans(&self) -> Vec<OpenSpan> {
        self.open.read(&self.now.running).unwrap_or_default()
    }

    /// Returns the pid of the process that wrote the page.
    pub fn pid(&self) -> u32 {
        self.header.pid.get() as u32
    }

    /// Returns the name of the loop.
    pub fn loop_name(&self) -> String {
        load_text(&self.header.name)
    }

    /// Returns the clock source and scale, `None` where damaged.
    pub fn clock(&self) -> Option<(ClockSource, Scale)> {
        let source = ClockSource::from_index(self.header.clock_source.get())?;
        Some((source, Scale::from_multiplier(self.header.clock_multiplier.get())?))
    }

    /// Returns when the page was made, on its own clock.
    pub fn created(&self) -> Ticks {
        Ticks(self.header.created_ticks.get())
    }

    /// Tells whether there is nothing more to come: the loop ended in an orderly way, or its thread ceased to run it.
    pub fn is_over(&self) -> bool {
        self.is_closed() || self.control.retired() != Ticks::NONE
    }

    /// Tells whether the loop ended in an orderly way. Whoever sees that sees all that it did.
    pub fn is_closed(&self) -> bool {
        self.header.is_closed.observe() != 0
    }
}

#[cfg(target_os = "linux")]
impl Page {
    /// Checks magic and version only: what can be told of a truncated page.
    pub(crate) fn check_head(&self) -> Result<(), PageFault> {
        match (self.header.magic.get(), self.header.version.get()) {
            (MAGIC, VERSION) => Ok(()),
            (MAGIC, version) => Err(PageFault::Version(version)),
            _ => Err(PageFault::NotAPage),
        }
    }

    /// Returns where the entries of the tables lie that are in use, by the lengths among [`COUNTER_RANGES`].
    #[cfg(target_os = "linux")]
    pub(crate) fn ranges_in_use(&self) -> [(usize, usize); 2] {
        let (sites, paths) = (std::mem::offset_of!(Page, sites), std::mem::offset_of!(Page, paths));
        [
            (sites + SiteTable::HEAD_BYTES, sites + self.sites.bytes_in_use()),
            (paths + PathTable::HEAD_BYTES, paths + self.paths.bytes_in_use()),
        ]
    }

    /// Returns the page's memory, for filling it from a file.
    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `Page` is `repr(C)` and consists of `AtomicU64`s and padding; both stay valid with any bytes, and
        // `&mut self` excludes every other access. Padding is initialized: pages are made from zeros.
        unsafe { std::slice::from_raw_parts_mut(std::ptr::from_mut(self).cast::<u8>(), size_of::<Page>()) }
    }
}
