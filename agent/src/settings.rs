//! What the program asked of its agent.

/// What the thread is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub warning_ns: u64,
    pub critical_ns: u64,
    pub has_recorder: bool,
    pub has_process_metrics: bool,
}
