//! A page as plain values: what agents and commands compute with.

use crate::clock::{Clock, Ticks};
use crate::count_histogram::CountValues;
use crate::description::Description;
use crate::gauges::{GaugeValue, NamedHistogram};
use crate::histogram::HistogramValues;
use crate::kind::{HandleType, Kind, Queue};
use crate::limits::{DURATION_NS_MAX, UNIX_NS_MAX, count, gauge};
use crate::now::{Running, unpack};
use crate::page::Page;
use crate::paths::{Epoch, PathStat};
use crate::phase::Phase;
use crate::pool::PoolValues;
use crate::record::CallbackRecord;
use crate::shared_u64::SharedU64;
use crate::site::{Site, SiteId, load_text};
use std::sync::Arc;

/// How much later than its begin an observer may see a busy period, at most; what runs longer is told from then on.
const OBSERVER_LATE_NS: u64 = 3_600_000_000_000;

/// Who wrote a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// Name of the loop.
    pub name: String,
    /// What its process calls it: the name, made unique among the loops that lived there when it was made.
    pub label: String,
    /// `mio`, `node`, `tokio`.
    pub runtime: String,
    /// What the runtime says of itself.
    pub description: Arc<Description>,
    /// The name of the runtime that has several workers, each with a page; empty for a loop by itself.
    pub group: String,
    /// The number of the worker in its runtime; `None` for a loop by itself.
    pub worker: Option<u32>,
    /// The thread has ceased to run this loop.
    pub is_retired: bool,
    /// `epoll` and the like.
    pub backend: String,
    /// Name of the loop's thread; may be empty.
    pub thread: String,
    /// File name of the program.
    pub process: String,
    /// Its process, and when that started in clock ticks since boot.
    pub pid: u32,
    /// See `pid`.
    pub pid_start: u64,
    /// Inode of the pid namespace in which `pid` means something.
    pub pid_namespace: u64,
    /// The machine's boot in which the process runs; 0 where its kernel did not tell.
    pub boot: u128,
    /// The loop's thread.
    pub tid: u32,
    /// When the page was made, nanoseconds since 1970.
    pub created_unix_ns: u64,
}

/// What a loop is doing at one instant. Write one as `NowValues { busy_ns, ..NowValues::IDLE }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NowValues {
    /// Age of the busy period in nanoseconds; 0 while the loop is in its poll.
    pub busy_ns: u64,
    /// The part of the busy period that the program announced with [`expect_block`](crate::expect_block), in nanoseconds.
    pub expected_ns: u64,
    /// The expected block that is open now.
    pub expected: Option<SiteId>,
    /// How long the loop has been in its poll, in nanoseconds; 0 while it is busy.
    pub parked_ns: u64,
    /// What runs; `None` while in the poll.
    pub running: Option<Running>,
    /// How long that has been running, in nanoseconds; 0 while in the poll.
    pub running_ns: u64,
    /// Callbacks and jobs that ended within this busy period.
    pub busy_callbacks: u64,
    /// How long the running drain has lasted, in nanoseconds, and how many jobs it has run; `None` outside a drain.
    pub drain: Option<(u64, u64)>,
}

impl NowValues {
    /// A loop in its poll, since no known time.
    pub const IDLE: NowValues = NowValues {
        busy_ns: 0,
        expected_ns: 0,
        expected: None,
        parked_ns: 0,
        running: None,
        running_ns: 0,
        busy_callbacks: 0,
        drain: None,
    };

    /// Returns the age of the busy period without its expected part: what stall thresholds are compared with.
    pub fn unexpected_ns(&self) -> u64 {
        self.busy_ns.saturating_sub(self.expected_ns)
    }
}

/// A copy of a page's counters, histograms and tables.
///
/// The writer goes on while it is taken, so two numbers may differ by the callbacks that ran in between; each number
/// by itself is one that was written, up to the bounds of `limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of the metric catalogue, which documents them")]
pub struct Snapshot {
    pub facts: Facts,
    pub taken: Ticks,
    pub now: NowValues,
    pub warning_ns: u64,
    pub critical_ns: u64,
    pub iterations: u64,
    /// Time outside the poll in nanoseconds, the running busy period included.
    pub active_ns: u64,
    /// Time in the poll in nanoseconds, the running poll included.
    pub idle_ns: u64,
    pub phase_callbacks: [u64; Phase::COUNT],
    pub errors: [u64; Kind::CALLBACKS],
    pub submitted: [u64; Kind::CALLBACKS],
    pub cancelled: [u64; Kind::CALLBACKS],
    pub drained_jobs: [u64; 2],
    pub queue_depth_max: [u64; 2],
    /// Stalls by severity, the running busy period included once it is long enough.
    pub blocked: [u64; 2],
    pub handles: [u64; HandleType::COUNT],
    pub handles_referenced: u64,
    pub requests_active: u64,
    pub timers_pending: u64,
    pub wakes_coalesced: u64,
    pub lag: HistogramValues,
    pub iteration: HistogramValues,
    pub poll_wait: HistogramValues,
    pub blocked_duration: HistogramValues,
    pub work_delivery: HistogramValues,
    pub operation: HistogramValues,
    pub completed: HistogramValues,
    pub drain: [HistogramValues; 2],
    pub phase: [HistogramValues; Phase::COUNT],
    pub run: [HistogramValues; Kind::CALLBACKS],
    pub wait: [HistogramValues; Kind::CALLBACKS],
    pub drain_jobs: [CountValues; 2],
    pub poll_events: CountValues,
    pub pool: Option<PoolValues>,
    pub gauges: Vec<GaugeValue>,
    pub gauge_histograms: Vec<NamedHistogram>,
    pub gauges_refused: u64,
    pub sites: Vec<Site>,
    pub sites_overflow: u64,
    pub paths: Vec<PathStat>,
    pub paths_overflow: u64,
}

impl Snapshot {
    /// Returns a site; `None` where it is not known.
    pub fn site(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(id.index()).filter(|_| id != SiteId::NONE)
    }
}

impl Page {
    /// Returns who wrote the page.
    pub fn facts(&self) -> Facts {
        let header = &self.header;
        Facts {
            name: load_text(&header.name),
            label: load_text(&header.label),
            runtime: load_text(&header.runtime),
            group: load_text(&header.group),
            worker: header.worker.get().checked_sub(1).map(|worker| worker.min(u64::from(u32::MAX)) as u32),
            is_retired: self.control.retired() != Ticks::NONE,
            description: self.description(),
            backend: load_text(&header.backend),
            thread: load_text(&header.thread),
            process: load_text(&header.process),
            pid: header.pid.get() as u32,
            pid_start: header.pid_start.get(),
            pid_namespace: header.pid_namespace.get(),
            boot: header.boot.iter().rev().fold(0, |boot, word| boot << 64 | u128::from(word.get())),
            tid: header.tid.get() as u32,
            created_unix_ns: header.created_unix_ns.get().min(UNIX_NS_MAX),
        }
    }

    /// Returns what the loop was doing at `now`, a moment on its own clock.
    pub fn now_values(&self, now: Ticks, clock: &Clock) -> NowValues {
        self.vitals_at(clock, now).now
    }

    /// Reads what belongs to the busy period that began at `since`, 0 for the poll, and in which the loop last polled
    /// at `turned`.
    pub(crate) fn period_values(
        &self,
        since: Ticks,
        turned: Ticks,
        now: Ticks,
        clock: &Clock,
        parked_since: Ticks,
    ) -> NowValues {
        if since != Ticks::NONE {
            return self.busy_values(since, turned, now, clock);
        }
        let parked_ns = clock.duration_ns(parked_since, now);
        NowValues { parked_ns, ..NowValues::IDLE }
    }

    fn busy_values(&self, since: Ticks, turned: Ticks, now: Ticks, clock: &Clock) -> NowValues {
        let (words, shift) = (&self.now, (self.header.clock_shift.get() as u32).min(6));
        // An observer is late: what runs may have begun before it saw the period begin.
        let earlier = if self.is_observed() { clock.scale().ticks(OBSERVER_LATE_NS) } else { 0 };
        let running = unpack(words.running.get(), Ticks(since.0.saturating_sub(earlier)), shift);
        let (drain_since, records) = (words.drain_since.get(), count(self.record_count.get()));
        let jobs = records.saturating_sub(words.drain_first.get());
        NowValues {
            busy_ns: clock.duration_ns(turned, now).max(1),
            expected_ns: clock.scale().duration_ns(self.expected.ticks(turned, now)),
            expected: self.expected.open_site(),
            parked_ns: 0,
            running,
            running_ns: running.map_or(0, |running| clock.duration_ns(running.since, now)),
            busy_callbacks: records.saturating_sub(words.busy_first.get()),
            drain: (drain_since != 0).then(|| (clock.duration_ns(Ticks(drain_since), now), jobs)),
        }
    }

    /// Copies the recorder's entries numbered `from` and up, oldest first. Damaged entries are left out.
    pub fn records(&self, from: u64) -> Vec<CallbackRecord> {
        self.recorder()
            .read(from)
            .into_iter()
            .filter_map(|(number, words)| CallbackRecord::decode(number, words))
            .collect()
    }

    /// Copies everything, as of now on `clock`, which must be the page's own.
    pub fn snapshot(&self, clock: &Clock) -> Snapshot {
        self.snapshot_at(clock, clock.now())
    }

    /// Copies everything as of a given moment: for pages of the dead, whose last moment is not now.
    pub fn snapshot_at(&self, clock: &Clock, taken: Ticks) -> Snapshot {
        let tallies = &self.tallies;
        let ns = |ticks: u64| clock.scale().duration_ns(ticks);
        let vitals = self.vitals_at(clock, taken);
        let now = vitals.now;
        let threshold = |ns: u64| ns.min(DURATION_NS_MAX);
        let warning_ns = threshold(self.control.warning_ns());
        let critical_ns = threshold(self.control.critical_ns());
        let epoch = Epoch::number(ns(taken.since(self.created())) / crate::paths::EPOCH_NS);
        let live = |over_ns: u64| u64::from(now.unexpected_ns() > over_ns);
        Snapshot {
            facts: self.facts(),
            taken,
            now,
            warning_ns,
            critical_ns,
            iterations: count(self.now.iterations.get()),
            active_ns: vitals.active_ns,
            idle_ns: vitals.idle_ns,
            phase_callbacks: counts(&tallies.phase_callbacks),
            errors: counts(&tallies.errors),
            submitted: counts(&tallies.submitted),
            cancelled: counts(&tallies.cancelled),
            drained_jobs: counts(&tallies.drained_jobs),
            queue_depth_max: [Queue::NextTick, Queue::Microtask]
                .map(|queue| tallies.queue_depth_recent(queue, epoch)),
            blocked: [
                vitals.stalls_ended.saturating_add(live(warning_ns)),
                vitals.critical_ended.saturating_add(live(critical_ns)),
            ],
            handles: tallies.handles.each_ref().map(|word| gauge(word.get())),
            handles_referenced: gauge(tallies.handles_referenced.get()),
            requests_active: gauge(tallies.requests_active.get()),
            timers_pending: gauge(tallies.timers_pending.get()),
            wakes_coalesced: count(tallies.wakes_coalesced.get()),
            lag: self.lag_at(clock, taken),
            iteration: tallies.iteration.read(),
            poll_wait: tallies.poll_wait.read(),
            blocked_duration: tallies.blocked_duration.read(),
            work_delivery: tallies.work_delivery.read(),
            operation: tallies.operation.read(),
            completed: tallies.completed.read(),
            drain: std::array::from_fn(|queue| tallies.drain[queue].read()),
            phase: std::array::from_fn(|phase| tallies.phase[phase].read()),
            run: std::array::from_fn(|kind| tallies.run[kind].read()),
            wait: std::array::from_fn(|kind| tallies.wait[kind].read()),
            drain_jobs: std::array::from_fn(|queue| tallies.drain_jobs[queue].read()),
            poll_events: tallies.poll_events.read(),
            pool: self.pool.read(Some(taken), clock.scale()),
            gauges: self.gauges.read(),
            gauge_histograms: self.gauges.read_histograms(),
            gauges_refused: self.gauges.refused(),
            sites: self.sites.read(),
            sites_overflow: self.sites.overflow(),
            paths: self.paths.read(epoch, ns),
            paths_overflow: self.paths.overflow(),
        }
    }
}

fn counts<Owner, const N: usize>(words: &[SharedU64<Owner>; N]) -> [u64; N] {
    std::array::from_fn(|index| count(words[index].get()))
}
