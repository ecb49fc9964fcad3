//! The agent's HTTP server: what it answers, and the limits that keep a careless or hostile client harmless.

pub(crate) mod agent_socket;
pub(crate) mod answer;
pub(crate) mod capture;
pub(crate) mod client;
pub(crate) mod doorway;
pub(crate) mod entrance;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod incidents;
pub(crate) mod live;
pub(crate) mod negotiate;
pub(crate) mod page;
pub(crate) mod peer_user;
pub(crate) mod query;
pub(crate) mod routes;
#[cfg(feature = "web-config")]
pub(crate) mod secure;
#[cfg(not(feature = "web-config"))]
#[path = "secure_absent.rs"]
pub(crate) mod secure;
pub(crate) mod server;
pub(crate) mod slots;
pub(crate) mod stamp;
pub(crate) mod thresholds;
pub(crate) mod token;
pub(crate) mod wish;

use crate::export::format::Format;
use crate::incident::Incident;
use crate::live::Seen;
use crate::web::answer::Answer;
use crate::web::health::Health;
use crate::web::thresholds::{ThresholdList, ThresholdWish};
use hyper::http::request::Parts;
use loopscope_probe::Snapshot;
use loopscope_probe::incident_id::IncidentId;
use std::pin::Pin;
use std::sync::Arc;

/// An answer that is being made.
pub(crate) type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// What a server answers: the paths of one process's agent, or those of a whole host.
pub(crate) trait Service: Send + Sync {
    /// Answers one request, and counts the answer.
    fn answer<'a>(&'a self, request: &'a Parts) -> Answering<'a>;
    /// Counts a refusal that was given without asking; `path` is one of a fixed list.
    fn count(&self, path: &'static str, code: u16);
    /// Tells the program's log.
    fn warn(&self, note: String);
}

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
    /// Copies the pages of all loops, or of those that are called so.
    fn snapshots(&self, name: Option<&str>) -> Vec<Snapshot>;
    /// Returns the incidents in memory, newest first, as they are now.
    fn incidents(&self) -> Vec<Arc<Incident>>;
    /// Returns one of them.
    fn incident(&self, id: IncidentId) -> Option<Arc<Incident>>;
    /// Returns the stall thresholds of all loops.
    fn thresholds(&self) -> ThresholdList;
    /// Changes stall thresholds, and logs that with `who` asked for it. Returns what is wrong with the wish: its status
    /// code and words.
    fn set_thresholds(&self, wish: &ThresholdWish, who: &str) -> Result<(), (u16, String)>;
    /// Counts an answer; `path` is one of a fixed list.
    fn count(&self, path: &'static str, code: u16);
    /// Tells the program's log.
    fn warn(&self, note: String);
    /// Counts a panic while answering.
    fn count_panic(&self);
}
