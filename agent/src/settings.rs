//! What the program asked of its agent.

use crate::address_source::AddressSources;
use crate::capture::Captures;
use crate::watch::frame_source::FrameSources;
use crate::watch::incident_action::Action;
use loopscope_report::metrics::ClassicBuckets;
use loopscope_report::metrics::compat_set::CompatSet;
use loopscope_report::model::thresholds::ThresholdTable;
use std::fmt;
use std::path::PathBuf;

/// What the thread is told.
#[derive(Clone)]
pub(crate) struct Settings {
    pub thresholds: ThresholdTable,
    pub reports_per_minute: u32,
    pub captures_per_second: u32,
    pub incidents_dir: Option<PathBuf>,
    /// The last incidents outlive the process, beside its pages.
    pub keeps_incidents: bool,
    pub actions: Vec<Action>,
    pub frame_sources: FrameSources,
    pub address_sources: AddressSources,
    pub captures: Captures,
    /// Whether the first stall is printed on standard error where nobody logs.
    pub prints_first_stall: bool,
    pub compat: CompatSet,
    pub classic: ClassicBuckets,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources: Vec<&String> = self.frame_sources.keys().collect();
        f.debug_struct("Settings")
            .field("thresholds", &self.thresholds)
            .field("reports_per_minute", &self.reports_per_minute)
            .field("captures_per_second", &self.captures_per_second)
            .field("incidents_dir", &self.incidents_dir)
            .field("keeps_incidents", &self.keeps_incidents)
            .field("actions", &self.actions)
            .field("frame_sources", &sources)
            .field("address_sources", &self.address_sources)
            .field("captures", &self.captures)
            .field("prints_first_stall", &self.prints_first_stall)
            .finish()
    }
}
