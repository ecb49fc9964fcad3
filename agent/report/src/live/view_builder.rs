//! The observer: remembers every loop from one observation to the next.

use crate::live::lag::LAG_BOUNDS_NS;
use crate::live::loop_sample::LoopSample;
use crate::live::past::{LoopViewParts, Past};
use crate::live::runtime::{RuntimePast, Workers};
use crate::live::view::{LoopView, ProcessView, View};
use loopscope_probe::raw::loop_id::{self, Called, LoopId};
use loopscope_probe::raw::process_id::ProcessId;
use std::collections::HashMap;

/// Observations without a loop after which it is forgotten. A page may be hard to read once, and the next figures are
/// not those of the loop's whole life then.
const MISSED_MAX: u32 = 3;

/// Makes views. It forgets the loops that some observations in a row do not have.
#[derive(Clone, Debug, Default)]
pub struct ViewBuilder {
    loops: HashMap<Identity, Past>,
    /// By id.
    runtimes: HashMap<String, RuntimePast>,
    number: u64,
    unix_ns: u64,
}

/// What tells one loop from all others, also from a later one of the same thread or the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Identity {
    pid: u32,
    pid_start: u64,
    tid: u32,
    created_unix_ns: u64,
    /// Among those that are equal in all of the above: loops of one thread can be made within the clock's grain.
    twin: u32,
}

impl ViewBuilder {
    /// Returns one that has seen nothing: in its first view, figures are of the loops' lives so far.
    pub fn new() -> ViewBuilder {
        ViewBuilder::default()
    }

    /// Makes the view of loops as they were seen at `unix_ns`, in nanoseconds since 1970. Loops of one process should
    /// come one after the other.
    pub fn observe(&mut self, seen: impl IntoIterator<Item = LoopSample>, unix_ns: u64) -> View {
        let mut loops = HashMap::with_capacity(self.loops.len());
        let mut processes: Vec<ProcessView> = Vec::new();
        let mut parts = ViewProgress::default();
        for seen in seen {
            let identity = identity_of(&seen, &loops);
            let at = process_of(&mut processes, &seen);
            let called = parts.name(at, &seen);
            let mut past = self.loops.remove(&identity).unwrap_or_default();
            let Identity { pid, tid, created_unix_ns, twin, .. } = identity;
            let id = match seen.ordinal {
                Some(ordinal) => LoopId::new(ProcessId::of_page(seen.facts()), ordinal).to_string(),
                None => format!("{pid}-{tid}-{created_unix_ns:x}-{twin}"),
            };
            let turn = past.turn(&seen, id, called.label.clone());
            match called.runtime.is_empty() || turn.view.worker.is_none() {
                true => processes[at].loops.push(turn.into_view()),
                false => {
                    // No loop's id is like this one.
                    let id = format!("{}/{}", ProcessId::of_page(seen.facts()), called.runtime);
                    parts.add(&mut processes[at], at, id, called, turn);
                }
            }
            past.missed = 0;
            loops.insert(identity, past);
        }
        for (identity, mut past) in self.loops.drain() {
            past.missed += 1;
            if past.missed <= MISSED_MAX {
                loops.insert(identity, past);
            }
        }
        self.loops = loops;
        let mut runtimes = HashMap::with_capacity(self.runtimes.len());
        for (process, place, workers) in parts.runtimes {
            let id = workers.id.clone();
            let mut past = self.runtimes.remove(&id).unwrap_or_default();
            processes[process].loops[place] = past.turn(workers);
            runtimes.insert(id, past);
        }
        self.runtimes = runtimes;
        self.number += 1;
        let interval_ns = if self.number == 1 { 0 } else { unix_ns.saturating_sub(self.unix_ns) };
        self.unix_ns = unix_ns;
        let lag_bounds_ns = LAG_BOUNDS_NS.to_vec();
        View { number: self.number, unix_ns, interval_ns, lag_bounds_ns, directory: None, processes }
    }
}

/// What one observation has put together so far.
#[derive(Debug, Default)]
struct ViewProgress {
    /// What the loops of each process are called.
    called: Vec<Vec<Called>>,
    /// Runtimes, with the places of their processes and of their views in those.
    runtimes: Vec<(usize, usize, Workers)>,
}

impl ViewProgress {
    /// Returns what a loop of the process at that place is called.
    fn name(&mut self, process: usize, seen: &LoopSample) -> Called {
        self.called.resize_with(self.called.len().max(process + 1), Vec::new);
        let others = &mut self.called[process];
        let facts = seen.facts();
        let called =
            seen.called.clone().unwrap_or_else(|| loop_id::called(&facts.name, &facts.group, others.iter()));
        others.push(called.clone());
        called
    }

    /// Adds what a worker did to its runtime, which is called so and has this id.
    fn add(&mut self, process: &mut ProcessView, at: usize, id: String, called: Called, turn: LoopViewParts) {
        match self.runtimes.iter_mut().find(|(_, _, workers)| workers.id == id) {
            Some((_, _, workers)) => workers.turns.push(turn),
            None => {
                // Its view takes this one's place.
                process.loops.push(LoopView::default());
                let (name, given_name) = (called.runtime, called.given_runtime);
                let workers = Workers { id, name, given_name, turns: vec![turn] };
                self.runtimes.push((at, process.loops.len() - 1, workers));
            }
        }
    }
}

fn identity_of(seen: &LoopSample, taken: &HashMap<Identity, Past>) -> Identity {
    let facts = seen.facts();
    let mut identity = Identity {
        pid: facts.pid,
        pid_start: facts.pid_start,
        tid: facts.tid,
        created_unix_ns: facts.created_unix_ns,
        twin: 0,
    };
    while taken.contains_key(&identity) {
        identity.twin += 1;
    }
    identity
}

/// Returns the place of the loop's process.
fn process_of(processes: &mut Vec<ProcessView>, seen: &LoopSample) -> usize {
    let facts = seen.facts();
    let is_it = |process: &ProcessView| process.pid == facts.pid && process.pid_start == facts.pid_start;
    let at = processes.iter().rposition(is_it).unwrap_or_else(|| {
        processes.push(ProcessView {
            pid: facts.pid,
            pid_start: facts.pid_start,
            name: facts.process.clone(),
            is_alive: !seen.has_ended,
            agent: None,
            base: None,
            loops: Vec::new(),
            damaged: Vec::new(),
        });
        processes.len() - 1
    });
    let process = &mut processes[at];
    process.agent = process.agent.take().or_else(|| seen.agent.clone());
    at
}
