//! Everything the agent knows, as values ready to be written.

use crate::compute::sites::SiteTotal;
use crate::export::compat::CompatSet;
use crate::export::format::Format;
use crate::watch::cases::CaseCounts;
use crate::watch::stall::StallCounts;
use loopscope_probe::histogram::HistogramValues;
use loopscope_probe::{HandleType, Kind, Snapshot};

/// One loop, ready to be written.
#[derive(Debug)]
pub(crate) struct LoopView {
    pub label: String,
    pub snapshot: Snapshot,
    /// Callbacks that returned without a panic, by kind.
    pub succeeded: [u64; Kind::CALLBACKS],
    pub utilization: f64,
    /// Which types of handles the loop was seen to have, now or before.
    pub handle_types: [bool; HandleType::COUNT],
    pub stalls: StallCounts,
    pub cases: CaseCounts,
    pub sites: Vec<SiteTotal>,
    /// The lag of the last minute, where somebody wants it.
    pub lag_minute: Option<HistogramValues>,
}

/// What could not get a series of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overflow {
    pub loops: u64,
    pub sites: u64,
    pub series: u64,
    /// Families of the host program whose name was taken.
    pub names: u64,
}

/// The pages of one format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scrapes {
    pub duration: HistogramValues,
    /// Size of the last one.
    pub bytes: u64,
}

/// The process as `/proc` tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessView {
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
pub(crate) struct Outcomes {
    pub ok: u64,
    pub failed: u64,
    pub dropped: u64,
}

/// The agent itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentView {
    pub cpu_ns: u64,
    pub ticks: u64,
    pub panics: u64,
    pub tick_lateness: HistogramValues,
    pub last_tick_unix_ns: u64,
    pub reports_dropped: u64,
    /// By format.
    pub scrapes: [Scrapes; Format::COUNT],
    pub incident_writes: Outcomes,
    pub incident_actions: Outcomes,
    pub overflow: Overflow,
    /// Requests by path and status code.
    pub requests: Vec<(&'static str, u16, u64)>,
    pub process: Option<ProcessView>,
    pub compat: CompatSet,
}
