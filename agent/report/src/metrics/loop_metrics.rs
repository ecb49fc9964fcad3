//! Everything the agent knows, as values ready to be written.

use crate::compute::sites::SiteTotal;
use crate::compute::stall::StallCounts;
use crate::incident::IncidentCounts;
use crate::metrics::classic_buckets::ClassicBuckets;
use crate::metrics::compat_set::CompatSet;
use crate::metrics::format::MetricsFormat;
use crate::model::waits::Waits;
use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::{HandleType, Kind, Snapshot};
use std::sync::Arc;

/// Whose a loop is, where a page tells of several processes: labels that its series have before their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopOwner {
    pub pid: String,
    /// The name of its program.
    pub name: String,
    pub runtime: String,
}

/// One loop, ready to be written.
#[derive(Clone, Debug)]
pub struct LoopMetrics {
    /// `None` on the page of one process.
    pub owner: Option<Arc<LoopOwner>>,
    /// What its series are called: as the loop, as its runtime, or `_other`.
    pub label: String,
    /// It has ended: its counters and histograms are exported, its gauges are not.
    pub is_at_rest: bool,
    /// It goes into a sum with that label; see [`Sums`](crate::metrics::sums::Sums).
    pub is_part: bool,
    /// Of a part, the number of the worker in its runtime.
    pub worker: Option<u32>,
    /// Of the sum of a runtime's workers, those that live and have series of their own, by number.
    pub workers: Vec<WorkerMetrics>,
    pub snapshot: Snapshot,
    /// Callbacks that returned without a panic, by kind.
    pub succeeded: [u64; Kind::CALLBACKS],
    pub utilization: f64,
    /// Which types of handles the loop was seen to have, now or before.
    pub handle_types: [bool; HandleType::COUNT],
    pub stalls: StallCounts,
    /// `None` where no agent tells of incidents.
    pub incidents: Option<IncidentCounts>,
    pub sites: Vec<SiteTotal>,
    /// The lag of the last minute, where somebody wants it.
    pub lag_minute: Option<Waits>,
    /// How long its threads were ready to run and had no processor; `None` where the kernel does not tell.
    pub run_delay_ns: Option<u64>,
}

/// One worker of a runtime: the little that tells which of them is at fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerMetrics {
    pub number: u32,
    pub thread: String,
    pub utilization: f64,
    /// Age of its busy period without what was announced in it.
    pub stall_ns: u64,
    pub active_ns: u64,
    pub idle_ns: u64,
    /// As [`LoopMetrics::run_delay_ns`].
    pub run_delay_ns: Option<u64>,
    /// Its stalls by severity.
    pub blocked: [u64; 2],
}

/// What has no series of its own now; of series and names as of the last page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overflow {
    pub loops: u64,
    pub sites: u64,
    pub workers: u64,
    pub series: u64,
    /// Families of the host program whose name was taken.
    pub names: u64,
}

/// The pages of one format.
#[derive(Clone, Debug, Default)]
pub struct Scrapes {
    pub duration: HistogramValues,
    /// Size of the last one.
    pub bytes: u64,
}

/// The process as `/proc` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessMetrics {
    pub cpu_ns: u64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub start_unix_ns: u64,
    pub threads: u64,
}

/// How many of something came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub ok: u64,
    pub failed: u64,
    pub dropped: u64,
}

/// The agent itself.
#[derive(Clone, Debug, Default)]
pub struct AgentMetrics {
    /// The name of the process that the page is of, and its pid; `None` on the page of a host.
    pub identity: Option<(String, u32)>,
    pub cpu_ns: u64,
    pub ticks: u64,
    pub panics: u64,
    pub tick_lateness: HistogramValues,
    pub last_tick_unix_ns: u64,
    pub reports_dropped: u64,
    pub threshold_changes: u64,
    /// By format.
    pub scrapes: [Scrapes; MetricsFormat::COUNT],
    pub incident_writes: Outcomes,
    pub incident_actions: Outcomes,
    pub overflow: Overflow,
    /// Requests by path and status code.
    pub requests: Vec<(&'static str, u16, u64)>,
    pub process: Option<ProcessMetrics>,
    pub compat: CompatSet,
    pub classic: ClassicBuckets,
}

/// The processes of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMetrics {
    /// Processes whose loops are told: those that live, and those that have ended lately.
    pub alive: u64,
    pub ended: u64,
    /// Page files that were passed over, by reason.
    pub skipped: Vec<(&'static str, u64)>,
    /// What was asked of agents on behalf of somebody.
    pub forwards: Outcomes,
}
