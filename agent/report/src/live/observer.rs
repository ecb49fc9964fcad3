//! The observer: remembers every loop from one observation to the next.

use crate::live::lag::LAG_BOUNDS_NS;
use crate::live::past::Past;
use crate::live::seen::Seen;
use crate::live::view::{ProcessView, View};
use crate::model::label;
use loopscope_probe::loop_id::LoopId;
use loopscope_probe::process_id::ProcessId;
use std::collections::HashMap;

/// Makes views. It forgets the loops that an observation does not have.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    loops: HashMap<Identity, Past>,
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

impl Observer {
    /// Returns one that has seen nothing: in its first view, figures are of the loops' lives so far.
    pub fn new() -> Observer {
        Observer::default()
    }

    /// Makes the view of loops as they were seen at `unix_ns`, in nanoseconds since 1970. Loops of one process should
    /// come one after the other.
    pub fn observe(&mut self, seen: impl IntoIterator<Item = Seen>, unix_ns: u64) -> View {
        let mut loops = HashMap::with_capacity(self.loops.len());
        let mut processes: Vec<ProcessView> = Vec::new();
        for seen in seen {
            let identity = identity_of(&seen, &loops);
            let process = process_of(&mut processes, &seen);
            let name = name_of(&seen, process);
            let mut past = self.loops.remove(&identity).unwrap_or_default();
            let Identity { pid, tid, created_unix_ns, twin, .. } = identity;
            let id = match seen.ordinal {
                Some(ordinal) => LoopId::new(ProcessId::of_page(seen.facts()), ordinal).to_string(),
                None => format!("{pid}-{tid}-{created_unix_ns:x}-{twin}"),
            };
            process.loops.push(past.turn(&seen, id, name));
            loops.insert(identity, past);
        }
        self.loops = loops;
        self.number += 1;
        let interval_ns = if self.number == 1 { 0 } else { unix_ns.saturating_sub(self.unix_ns) };
        self.unix_ns = unix_ns;
        let lag_bounds_ns = LAG_BOUNDS_NS.to_vec();
        View { number: self.number, unix_ns, interval_ns, lag_bounds_ns, directory: None, processes }
    }
}

fn identity_of(seen: &Seen, taken: &HashMap<Identity, Past>) -> Identity {
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

fn process_of<'a>(processes: &'a mut Vec<ProcessView>, seen: &Seen) -> &'a mut ProcessView {
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
    process
}

fn name_of(seen: &Seen, process: &ProcessView) -> String {
    let taken = process.loops.iter().map(|taken| taken.name.as_str());
    seen.label.clone().unwrap_or_else(|| label::unique(&seen.facts().name, taken))
}
