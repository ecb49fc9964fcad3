//! What the agent of a process answers over HTTP: its paths, and captures on request.

pub(crate) mod capture;
pub(crate) mod routes;

use loopscope_http::health::Health;
use loopscope_probe::Snapshot;
use loopscope_report::incident::Incident;
use loopscope_report::live::Seen;
use loopscope_report::metrics::format::Format;
use loopscope_report::model::threshold_change::{ThresholdChange, ThresholdList};
use std::sync::Arc;

/// What the server needs of the agent. Called on the agent's thread, never across an await.
pub(crate) trait Backend: Send + Sync {
    /// Writes the page of metrics.
    fn metrics(&self, format: Format) -> Vec<u8>;
    /// Returns how long the agent has run and how long ago it last looked at the loops of its own accord, in nanoseconds,
    /// and how many loops there are.
    fn health(&self) -> Health;
    /// Returns a line for each loop that is stalled beyond the critical threshold now.
    fn stalled(&self) -> Vec<String>;
    /// Copies the pages of all loops, for the live page.
    fn seen(&self) -> Vec<Seen>;
    /// Copies the pages of all loops.
    fn snapshots(&self) -> Vec<Snapshot>;
    /// Returns the incidents in memory, newest first, as they are now.
    fn incidents(&self) -> Vec<Arc<Incident>>;
    /// Returns one of them.
    fn incident(&self, id: &str) -> Option<Arc<Incident>>;
    /// Returns the stall thresholds of all loops.
    fn thresholds(&self) -> ThresholdList;
    /// Changes stall thresholds, and logs that with `who` asked for it. Returns what is wrong with the wish: its status
    /// code and words.
    fn set_thresholds(&self, wish: &ThresholdChange, who: &str) -> Result<(), (u16, String)>;
    /// Counts an answer; `path` is one of a fixed list.
    fn count(&self, path: &'static str, code: u16);
    /// Tells the program's log.
    fn warn(&self, note: String);
    /// Counts a panic while answering.
    fn count_panic(&self);
}
