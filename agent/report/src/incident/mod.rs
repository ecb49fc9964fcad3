//! An incident: one stall, starvation or saturated pool, with everything that was known of it.
//!
//! ```text
//!   1 s before        begin                threshold      2x        4x            end
//!   |-- recorder ------|=== busy period ====|=============|=========|=============|
//!   before: figures        during: figures   opened        looked at again: stacks,
//!   of the 10 s to here    of the busy period    (is_over      records, CPU time        closed
//!                                             = false)
//! ```
//!
//! The struct is what the agent keeps in memory, what it writes to its incidents directory (one JSON file each) and
//! what it answers over HTTP; the names in JSON are those of the fields. Every number tells its unit. A field that was
//! not known is empty, 0 or `null`: a reader must not take it for a measurement.
//!
//! Reading is lenient, so that a command can read the files of an older or newer agent: a missing field has its
//! default, and an unknown one is ignored. [`Incident::parse`] refuses what is not an incident at all.

mod class;
mod counts;
mod extract;
mod figures;
pub mod file_name;
mod folded_frames;
mod source_path;
mod stack;
mod text;

pub use crate::model::frame_owner::FrameOwner;
pub use class::{Class, IncidentKind, Severity};
pub use counts::IncidentCounts;
pub use extract::{Group, Iteration, Job, Record, Span};
pub use figures::{LoopFigures, PoolState};
pub use folded_frames::StackLine;
pub use source_path::dependency_path;
pub use stack::{Frame, StackCount};

use crate::words::RuntimeWords;
use loopscope_probe::raw::incident_id::{self, IncidentId};
use loopscope_probe::raw::loop_id::LoopId;
use loopscope_probe::raw::printable::{printable, printable_json};
use loopscope_probe::raw::process_id::ProcessId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// One stall, starvation or saturated pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Incident {
    /// What it is called: `PID-NUMBER`, `4711-3`; on a list with another one of that pid and number, with a suffix that
    /// tells them apart. [`Incident::identity`] is unique for ever, also where a process has several agents.
    #[serde(with = "text")]
    pub id: IncidentId,
    /// The loop, and with it the process, for good: pids are used again. All zeros in files of older agents.
    #[serde(with = "text")]
    pub loop_id: LoopId,
    /// The process.
    pub pid: u32,
    /// File name of its program.
    pub process: String,
    /// Label of the loop, the same as in the metrics.
    pub r#loop: String,
    /// Label of the runtime that the loop is a worker of, the same as in the metrics; empty for a loop by itself.
    pub group: String,
    /// The number of that worker in its runtime.
    pub worker: Option<u32>,
    /// What runs the loop, such as `mio`.
    pub runtime: String,
    /// What that calls things.
    pub words: RuntimeWords,
    /// When it began (not when it was found), nanoseconds since 1970.
    pub begin_unix_ns: u64,
    /// How long it lasted, or had lasted at the last look where it is not over, in nanoseconds.
    pub duration_ns: u64,
    /// Of `duration_ns`, how long code ran that was announced to block (`expect_block`), in nanoseconds.
    pub expected_ns: u64,
    /// False while it lasts. It also stays false in the file of a process that ended in the middle.
    pub is_over: bool,
    /// Found only after it was over: by the page's own count and recorder. Durations are then approximate.
    pub was_missed: bool,
    /// The threshold that it crossed, in nanoseconds.
    pub threshold_ns: u64,
    /// The worst it came to.
    pub severity: Severity,
    /// What happened.
    pub kind: IncidentKind,
    /// The `cause` label of the metrics (`callback`, `microtask`, `timer` ...), or `pool`.
    pub cause: String,
    /// Of a starvation, what its runtime calls many runs of that cause: `microtasks`; empty in files of older agents.
    pub flood: String,
    /// What the time went to.
    pub class: Class,
    /// Phase of the loop when it was found; empty where not known.
    pub phase: String,
    /// Who is to blame.
    pub culprit: Culprit,
    /// Many small or one big, in words: `1 callback of 203 ms`, `412 callbacks of 500 µs: 388 x io_read at src/x.rs:40`.
    pub summary: String,
    /// What the busy period consisted of, by kind and site, the longest in sum first; at most 16.
    pub groups: Vec<Group>,
    /// Of what `groups` counts (callbacks and drained jobs; of a pool, its jobs), how many were overwritten before anybody saw
    /// them. They are shared out among the groups in proportion to those that were seen: where this is not 0, `count` and
    /// `total_ns` of a group are estimates.
    pub unobserved: u64,
    /// Spans open inside the callback when it was found, outermost first.
    pub spans: Vec<Span>,
    /// What the loop's thread was asleep in when it was found: `read(fd 3 -> pipe:[81])`. `None` where it was running. Of a
    /// saturated pool, what the job that has run the longest is asleep in.
    pub waiting_in: Option<String>,
    /// Processor time of the loop's thread within the incident, in nanoseconds, as far as it was watched.
    pub cpu_ns: u64,
    /// Time within the incident that the loop's thread was ready to run and had no processor, in nanoseconds.
    pub runqueue_ns: u64,
    /// Time within the incident that the CPU quota of the process's cgroup held it back, in nanoseconds, about; 0
    /// where there is none, or nobody looked.
    pub throttled_ns: u64,
    /// For how much of the incident `cpu_ns` and `runqueue_ns` were watched, in nanoseconds: at most the duration.
    pub watched_ns: u64,
    /// What else is worth knowing, a sentence each: the agent was late itself, a stack was guessed.
    pub notes: Vec<String>,
    /// Native stacks that were captured, equal ones counted; the most frequent first.
    pub stacks: Vec<StackCount>,
    /// Why a capture brought nothing, a sentence each; equal ones once.
    pub captures_failed: Vec<String>,
    /// How many different jobs captures found running, of a drain or batch that is told as a whole; `None` where they did not
    /// tell.
    pub jobs_captured: Option<u64>,
    /// Captures that were due and not taken, because the loop's budget was used up.
    pub captures_suppressed: u64,
    /// Number of the last incident of the same culprit that has stacks, where this one has none.
    pub stacks_in: Option<u64>,
    /// The recorder from one second before the begin to the end, oldest first; bounded, see `records_lost`.
    pub records: Vec<Record>,
    /// Callbacks within that time that are not in `records`.
    pub records_lost: u64,
    /// Iterations of the loop in the same time, oldest first; bounded.
    pub iterations: Vec<Iteration>,
    /// Jobs of the loop's pool that ended in the same time, oldest first; bounded. Behind them those that run still.
    pub jobs: Vec<Job>,
    /// The loop's pool when it was found; `None` where the loop has none.
    pub pool: Option<PoolState>,
    /// The loop in the ten seconds before the begin.
    pub before: LoopFigures,
    /// The loop from the begin to the end.
    pub during: LoopFigures,
}

/// Who is to blame: a place in the source where a callback was registered, or a job of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Culprit {
    /// Kind of callback: `timer`, `io_read` ... `main` for code outside any callback.
    pub kind: String,
    /// Name and place for people: `flush (src/x.rs:25)`; `?` where not known.
    pub label: String,
    /// The name that the site was given; empty where none was.
    pub name: String,
    /// Source file of the registration; empty where not known.
    pub file: String,
    /// Line there, from 1; 0 where not known.
    pub line: u32,
    /// Column there, from 1; 0 where not known.
    pub column: u32,
}

impl Incident {
    /// Reads one incident from JSON.
    ///
    /// # Errors
    /// The text is cut off, is not JSON, or is not an incident.
    pub fn parse(json: &[u8]) -> Result<Incident, IncidentError> {
        let incident: Incident = serde_json::from_slice(json).map_err(IncidentError::Malformed)?;
        match incident.is_identified() {
            true => Ok(incident),
            false => Err(IncidentError::NoIncident),
        }
    }

    /// Returns the incident as one line of JSON, in which characters that are not to be shown are escapes.
    pub fn to_json(&self) -> Vec<u8> {
        printable_json(
            serde_json::to_vec(self).expect("the fields have string keys and no failing serializer"),
        )
    }

    /// Returns the incident as text for people has it: in all its texts, escapes stand for characters that are not to be
    /// shown, and long ones are cut. Names in it may come from anybody: from a page, a file, an agent.
    pub fn printable(&self) -> Incident {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        make_printable(&mut value);
        serde_json::from_value(value).unwrap_or_default()
    }

    /// Returns the function to look at first, of its stacks: with the line that ran where one of them has that, because lines of another
    /// runtime may come when the first stacks are named already.
    pub fn guilty_frame(&self) -> Option<&Frame> {
        let first = self.stacks.iter().find_map(StackCount::guilty_frame)?;
        let is_better = |frame: &&Frame| {
            !frame.is_function_start
                && frame.line.is_some()
                && frame.function == first.function
                && frame.file == first.file
        };
        let mut others = self.stacks.iter().filter_map(StackCount::guilty_frame);
        let better = if first.is_function_start { others.find(is_better) } else { None };
        Some(better.unwrap_or(first))
    }

    /// Tells whether it says which incident it is, and of which process, without a contradiction.
    pub fn is_identified(&self) -> bool {
        let pids = [self.id.process().pid(), self.process_id().pid()];
        self.id != IncidentId::default() && pids == [self.pid; 2]
    }

    /// Returns which incident it is, as far as that is known: by its process, its loop, and the number that it has from the
    /// agent of that loop.
    pub fn identity(&self) -> IncidentId {
        match self.loop_id == LoopId::default() {
            true => IncidentId::new(self.process_id(), self.id.number()),
            false => IncidentId::of_loop(self.loop_id, self.id.number()),
        }
    }

    /// Returns what the loop is called for people: `web/3` for worker 3 of runtime `web`, else its label. A full pool is the
    /// runtime's, whichever worker tells of it: `web`.
    pub fn loop_words(&self) -> String {
        match self.worker.filter(|_| !self.group.is_empty()) {
            Some(_) if self.kind == IncidentKind::Pool => self.group.clone(),
            Some(worker) => format!("{}/{worker}", self.group),
            None => self.r#loop.clone(),
        }
    }

    /// Tells whether it is of the loop, or of a worker of the runtime, that a person calls `name`.
    pub fn is_of(&self, name: &str) -> bool {
        self.r#loop == name || (!self.group.is_empty() && (self.group == name || self.loop_words() == name))
    }

    /// Returns the number within its process.
    pub fn number(&self) -> u64 {
        self.id.number()
    }

    /// Returns the process, as far as that is known: a file of an older agent tells its pid alone.
    pub fn process_id(&self) -> ProcessId {
        match self.loop_id.process() {
            process if process == ProcessId::default() => self.id.process(),
            process => process,
        }
    }

    /// Gives each incident of a list the shortest id that means no other one of the list.
    pub fn name_all(list: &mut [&mut Incident]) {
        let identities: Vec<IncidentId> = list.iter().map(|incident| incident.identity()).collect();
        for (incident, name) in list.iter_mut().zip(incident_id::names(&identities)) {
            incident.id = name;
        }
    }

    /// Tells whether its thread was kept from a processor by the CPU quota of its cgroup, for most of that time.
    pub fn is_throttled(&self) -> bool {
        self.class == Class::StarvedOfCpu
            && self.throttled_ns > 0
            && self.throttled_ns.saturating_mul(2) >= self.runqueue_ns
    }

    /// Returns how much of the watched time the kernel counted neither as running nor as waiting for a processor, in
    /// nanoseconds: a sleep where the thread was found asleep, else nobody knows.
    pub fn unaccounted_ns(&self) -> u64 {
        self.watched_ns.saturating_sub(self.cpu_ns.saturating_add(self.runqueue_ns))
    }

    /// Tells whether it lasted longer than its threshold, expected blocks aside: what did not is nothing to report.
    pub fn is_beyond_threshold(&self) -> bool {
        self.duration_ns.saturating_sub(self.expected_ns) > self.threshold_ns
    }

    /// Returns the incident without what makes it long: the stacks' frames, records, iterations and jobs.
    pub fn brief(&self) -> Incident {
        let stacks = self.stacks.iter().map(StackCount::without_frames).collect();
        let empty = Incident::default();
        Incident {
            stacks,
            records: empty.records,
            iterations: empty.iterations,
            jobs: empty.jobs,
            ..self.without_extract()
        }
    }

    /// Returns the incident with the last `most` records, iterations and jobs of it; what is left out of the records
    /// is counted.
    pub fn abridged(&self, most: usize) -> Incident {
        fn last<T: Clone>(all: &[T], most: usize) -> Vec<T> {
            all[all.len().saturating_sub(most)..].to_vec()
        }
        let left_out = self.records.len().saturating_sub(most) as u64;
        Incident {
            stacks: self.stacks.clone(),
            records: last(&self.records, most),
            records_lost: self.records_lost.saturating_add(left_out),
            iterations: last(&self.iterations, most),
            jobs: last(&self.jobs, most),
            ..self.without_extract()
        }
    }

    /// Tells whether what took the time was told as a whole, a drain or a batch, without a number.
    pub fn is_of_unknown_number(&self) -> bool {
        self.groups.first().is_some_and(|group| group.count.is_none())
    }

    /// Returns where stacks of the same culprit are: the incident's own id, or that of the last one that has some.
    pub fn stacks_elsewhere(&self) -> Option<IncidentId> {
        let number = self.stacks_in.filter(|_| self.stacks.is_empty())?;
        Some(self.id.with_number(number))
    }

    fn without_extract(&self) -> Incident {
        // Field by field, because a clone of the whole would copy thousands of records to drop them.
        Incident {
            process: self.process.clone(),
            r#loop: self.r#loop.clone(),
            group: self.group.clone(),
            runtime: self.runtime.clone(),
            words: self.words.clone(),
            cause: self.cause.clone(),
            flood: self.flood.clone(),
            phase: self.phase.clone(),
            culprit: self.culprit.clone(),
            summary: self.summary.clone(),
            groups: self.groups.clone(),
            spans: self.spans.clone(),
            waiting_in: self.waiting_in.clone(),
            notes: self.notes.clone(),
            captures_failed: self.captures_failed.clone(),
            pool: self.pool.clone(),
            before: self.before.clone(),
            during: self.during.clone(),
            stacks: Vec::new(),
            records: Vec::new(),
            iterations: Vec::new(),
            jobs: Vec::new(),
            ..*self
        }
    }
}

/// Characters of a text that are shown: longer than any name of a function that people read.
const TEXT_MAX: usize = 2_000;

fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
                text.truncate(end);
                text.push_str("...");
            }
            if let Cow::Owned(shown) = printable(text) {
                *text = shown;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(fields) => fields.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Why a text is no incident.
#[derive(Debug)]
#[non_exhaustive]
pub enum IncidentError {
    /// Not JSON, cut off, or a field of another type.
    Malformed(serde_json::Error),
    /// JSON, but its `id` is not that of an incident of its process.
    NoIncident,
}

impl fmt::Display for IncidentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IncidentError::Malformed(error) => write!(f, "not an incident: {error}"),
            IncidentError::NoIncident => f.write_str("not an incident: its id does not match its pid"),
        }
    }
}

impl std::error::Error for IncidentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IncidentError::Malformed(error) => Some(error),
            IncidentError::NoIncident => None,
        }
    }
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
