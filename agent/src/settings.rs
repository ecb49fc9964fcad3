//! What the program asked of its agent.

use crate::model::thresholds::ThresholdTable;

/// What the thread is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub thresholds: ThresholdTable,
    pub reports_per_minute: u32,
    pub has_recorder: bool,
    pub has_process_metrics: bool,
}
