//! The tallies: counters and histograms that only grow. No reader can reset them.

use crate::count_histogram::CountHistogram;
use crate::histogram::Histogram;
use crate::kind::{HandleType, Kind, Queue};
use crate::paths::Epoch;
use crate::phase::Phase;
use crate::shared_u64::{LoopOwned, SharedU64};

type Counter = SharedU64<LoopOwned>;
type Durations = Histogram<LoopOwned>;

/// How long a stall is. A critical one counts as a warning too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum StallSeverity {
    /// Longer than the warning threshold.
    Warning = 0,
    /// Longer than the critical threshold.
    Critical = 1,
}

impl StallSeverity {
    /// Both severities, in the order of their numbers.
    pub const ALL: [StallSeverity; 2] = [StallSeverity::Warning, StallSeverity::Critical];

    /// Returns the label value.
    pub const fn name(self) -> &'static str {
        match self {
            StallSeverity::Warning => "warning",
            StallSeverity::Critical => "critical",
        }
    }
}

/// The loop's tallies. Written by the loop's thread only.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct TallyWords {
    /// Time outside the poll until the last `park`, in ticks.
    pub(crate) active_ticks: Counter,
    /// Time in the poll until the last `unpark`, in ticks.
    pub(crate) idle_ticks: Counter,
    /// Callbacks run, by phase.
    pub(crate) phase_callbacks: [Counter; Phase::COUNT],
    /// Callbacks that panicked, by kind.
    pub(crate) errors: [Counter; Kind::CALLBACKS],
    /// Work begun, by kind: a timer armed, a connection asked for, a job handed to the pool.
    pub(crate) submitted: [Counter; Kind::CALLBACKS],
    /// Work given up before its callback ran, by kind.
    pub(crate) cancelled: [Counter; Kind::CALLBACKS],
    /// Jobs drained, by queue.
    pub(crate) drained_jobs: [Counter; 2],
    /// Most jobs waiting at once in a queue, in the even and the odd epoch, as [`Epoch`] packs it.
    pub(crate) queue_depth_max: [[Counter; 2]; 2],
    /// Ended stalls, by severity.
    pub(crate) blocked: [Counter; 2],
    /// Handles that exist now, by type.
    pub(crate) handles: [Counter; HandleType::COUNT],
    /// Handles that keep the loop alive now.
    pub(crate) handles_referenced: Counter,
    /// Requests under way now: pool jobs, connects, writes.
    pub(crate) requests_active: Counter,
    /// Timers armed now.
    pub(crate) timers_pending: Counter,
    /// Wakeups from other threads that were merged with a pending one.
    pub(crate) wakes_coalesced: Counter,

    pub(crate) lag: Durations,
    pub(crate) iteration: Durations,
    pub(crate) poll_wait: Durations,
    pub(crate) blocked_duration: Durations,
    pub(crate) work_delivery: Durations,
    /// Stages of a task's life that are not by kind: operation (submit to ready), completed (return to drained).
    pub(crate) operation: Durations,
    pub(crate) completed: Durations,
    pub(crate) drain: [Durations; 2],
    pub(crate) phase: [Durations; Phase::COUNT],
    pub(crate) run: [Durations; Kind::CALLBACKS],
    pub(crate) wait: [Durations; Kind::CALLBACKS],

    pub(crate) drain_jobs: [CountHistogram<LoopOwned>; 2],
    pub(crate) poll_events: CountHistogram<LoopOwned>,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(
    TallyWords,
    "tallies",
    active_ticks,
    idle_ticks,
    phase_callbacks,
    errors,
    submitted,
    cancelled,
    drained_jobs,
    queue_depth_max,
    blocked,
    handles,
    handles_referenced,
    requests_active,
    timers_pending,
    wakes_coalesced,
    lag,
    iteration,
    poll_wait,
    blocked_duration,
    work_delivery,
    operation,
    completed,
    drain,
    phase,
    run,
    wait,
    drain_jobs,
    poll_events
);

impl TallyWords {
    /// How many bytes at the front are numbers; histograms come after them.
    #[cfg(target_os = "linux")]
    pub(crate) const NUMBERS_BYTES: usize = std::mem::offset_of!(TallyWords, lag);

    /// Returns the high-water mark of a queue within the present and the previous epoch.
    pub(crate) fn queue_depth_recent(&self, queue: Queue, epoch: Epoch) -> u64 {
        epoch.recent(&self.queue_depth_max[queue.index()])
    }
}
