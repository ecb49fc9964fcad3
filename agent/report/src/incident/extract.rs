//! What the recorder, the iterations and the pool said around an incident.
//!
//! All `start_ns` are nanoseconds relative to the incident's begin: negative before it.

use serde::{Deserialize, Serialize};

/// Callbacks of one kind and site within the busy period.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// Kind of callback: `timer`, `io_read`, `microtask` ...
    pub kind: String,
    /// Name and place of the site: `flush (src/x.rs:25)`.
    pub label: String,
    /// For drained jobs, the site of the callback after which most of them ran; `None` for callbacks.
    pub parent: Option<String>,
    /// How many ran, the running one included; `None` where some were told as one without their number. An estimate where
    /// the incident has [`unobserved`](super::Incident::unobserved) ones.
    pub count: Option<u64>,
    /// Run time of all of them, in nanoseconds. An estimate like `count`.
    pub total_ns: u64,
    /// Run time of the longest that was seen, in nanoseconds; `None` where none was told by itself.
    pub longest_ns: Option<u64>,
}

/// A span that was open inside the callback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// The span's name.
    pub name: String,
    /// Its fields as `key=value key=value`, cut at 96 bytes.
    pub fields: String,
    /// Source file of the span; empty where not known.
    pub file: String,
    /// Line there, from 1; 0 where not known.
    pub line: u32,
}

/// One callback or drained job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Start, relative to the incident's begin, in nanoseconds.
    pub start_ns: i64,
    /// Run time in nanoseconds; of one that still runs, as of the last look.
    pub run_ns: u64,
    /// From ready to start, in nanoseconds; `None` where not known.
    pub wait_ns: Option<u64>,
    /// Kind of callback.
    pub kind: String,
    /// The loop's phase.
    pub phase: String,
    /// Name and place of its site.
    pub site: String,
    /// For a drained job, the site of the callback after which it ran.
    pub parent: Option<String>,
    /// True for the one that had not ended at the last look.
    pub is_running: bool,
    /// For a drained job, what the runtime calls its queue; `None` for others, and in files of older agents.
    pub queue: Option<String>,
    /// It stands for many, a batch or a drain as a whole.
    pub is_many: bool,
    /// How many it stands for, where that is known; else `None`.
    pub many: Option<u64>,
    /// It is where a job of the pool gave its result to the loop.
    pub is_pool_result: bool,
}

/// One busy period of the loop: from the return of one poll to the begin of the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Iteration {
    /// Number since the loop was made.
    pub number: u64,
    /// Start, relative to the incident's begin, in nanoseconds.
    pub start_ns: i64,
    /// Length of the busy period in nanoseconds.
    pub busy_ns: u64,
    /// Events that its poll returned; `None` where its runtime cannot know.
    pub events: Option<u64>,
}

/// One job of the loop's pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Start on its thread, relative to the incident's begin, in nanoseconds.
    pub start_ns: i64,
    /// Run time in nanoseconds; of one that still runs, as of the last look.
    pub run_ns: u64,
    /// From submission to start, in nanoseconds; `None` where not known.
    pub wait_ns: Option<u64>,
    /// Kind of work: `fs`, `dns` ...
    pub kind: String,
    /// Name and place of where it was submitted.
    pub site: String,
    /// Number of the pool's thread.
    pub worker: u32,
    /// False where the job panicked.
    pub is_ok: bool,
    /// It had not ended at the last look.
    pub is_running: bool,
}
