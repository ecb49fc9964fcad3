//! Which loop of which process, and what it is called.
//!
//! Loops may share a name, and a thread may make one loop after the other. So a loop is told by its process and its
//! ordinal: the number of its page among all that the process ever made. Its **label** is for people and for metrics: the
//! name, made unique among the loops that live, `worker` and `worker#2`.
//!
//! The probe gives the label when the loop is made, and writes it on the page, so that everybody calls the loop the same. Who
//! reads pages from outside trusts none: [`labels`] makes those of one process unique where they are not.

use crate::process_id::{ProcessId, decimal};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

/// A loop. Its text, `PROCESS.ORDINAL`, is read back as the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopId {
    process: ProcessId,
    ordinal: u32,
}

impl LoopId {
    /// Names a loop: by its process, and its number among that process's loops, from 0.
    pub const fn new(process: ProcessId, ordinal: u32) -> LoopId {
        LoopId { process, ordinal }
    }

    /// Returns its process.
    pub fn process(self) -> ProcessId {
        self.process
    }

    /// Returns its number among the loops that its process ever had, from 0.
    pub fn ordinal(self) -> u32 {
        self.ordinal
    }

    /// Tells whether both may be the same loop: nothing that is known of both differs.
    pub fn agrees_with(self, other: LoopId) -> bool {
        self.ordinal == other.ordinal && self.process.agrees_with(other.process)
    }
}

impl fmt::Display for LoopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process, self.ordinal)
    }
}

impl FromStr for LoopId {
    type Err = LoopIdError;

    fn from_str(text: &str) -> Result<LoopId, LoopIdError> {
        let read = || {
            let (process, ordinal) = text.split_once('.')?;
            Some(LoopId::new(process.parse().ok()?, u32::try_from(decimal(ordinal)?).ok()?))
        };
        read().ok_or_else(|| LoopIdError(text.to_owned()))
    }
}

/// Returns an ordinal that no loop of this process had, not below `least`.
pub(crate) fn next_ordinal(least: u32) -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_max(least, Ordering::Relaxed);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Why a text names no loop: it is not `PROCESS.ORDINAL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopIdError(String);

impl fmt::Display for LoopIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a loop id: write it as PROCESS.ORDINAL, such as 4711-123456.0", self.0)
    }
}

impl std::error::Error for LoopIdError {}

/// What the loops that have no label of their own are called together; no loop is called so.
pub const OTHER: &str = "_other";

/// Returns the label of a loop called `name` where `taken` are those of the other loops of its process: the name, or
/// `name#2`, `name#3` and so on, the first that is free.
pub fn label<'a>(name: &str, taken: impl Iterator<Item = &'a str> + Clone) -> String {
    // A loop may not pass for the sum of others.
    let name = match name {
        "" => "unnamed",
        OTHER => "other",
        name => name,
    };
    let is_free = |label: &str| taken.clone().all(|other| other != label);
    if is_free(name) {
        return name.to_owned();
    }
    let mut numbered = (2_u64..).map(|number| format!("{name}#{number}"));
    numbered.find(|label| is_free(label)).expect("a process has fewer loops than there are numbers")
}

/// What a loop and its runtime are called within their process. All labels of a process are different ones, those of its
/// runtimes and those of its loops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// The label of the loop.
    pub label: String,
    /// The name of the runtime that it is a worker of, as the program gave it; empty for a loop by itself.
    pub given_runtime: String,
    /// The label of that runtime, which all of its workers have; empty for a loop by itself.
    pub runtime: String,
}

impl Called {
    /// Returns what it is called for people: `web/3` for worker 3 of runtime `web`, else its label.
    pub fn words(&self, worker: Option<u32>) -> String {
        match worker.filter(|_| !self.runtime.is_empty()) {
            Some(worker) => format!("{}/{worker}", self.runtime),
            None => self.label.clone(),
        }
    }
}

/// Returns what a new loop called `name`, a worker of the runtime called `runtime` where that is not empty, and its
/// runtime are called beside the `others` of its process.
pub fn called<'a>(name: &str, runtime: &str, others: impl Iterator<Item = &'a Called> + Clone) -> Called {
    let taken =
        || others.clone().flat_map(|other| [&*other.label, &*other.runtime]).filter(|text| !text.is_empty());
    let known =
        others.clone().find(|other| other.given_runtime == runtime).map(|other| other.runtime.clone());
    let runtime_label = match known {
        _ if runtime.is_empty() => String::new(),
        Some(known) => known,
        None => label(runtime, taken()),
    };
    let own = std::iter::once(&*runtime_label).filter(|text| !text.is_empty());
    let label = label(name, taken().chain(own));
    Called { label, given_runtime: runtime.to_owned(), runtime: runtime_label }
}

/// Returns unique labels of all loops of a process and of their runtimes, given both as their pages have them, in the
/// order of their ordinals: the same where they are unique already.
pub fn labels<'a>(pages: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Called> {
    let mut all: Vec<Called> = Vec::new();
    for (label, runtime) in pages {
        let called = called(label, runtime, all.iter());
        all.push(called);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process_id::tests::processes;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
        #[test]
        fn a_loop_is_read_back_from_its_text(process in processes(), ordinal in any::<u32>()) {
            let id = LoopId::new(process, ordinal);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.agrees_with(LoopId::new(ProcessId::new(process.pid(), 0, 0, 0), ordinal)));
            prop_assert!(!id.agrees_with(LoopId::new(process, ordinal.wrapping_add(1))));
        }

        #[test]
        fn labels_are_unique_and_those_of_earlier_loops_stay(
            names in proptest::collection::vec(("(worker|worker#2|_other|)", "(|worker|_other)"), 0..if cfg!(miri) { 5 } else { 12 })
        ) {
            let of = |names: &[(String, String)]| labels(names.iter().map(|(name, runtime)| (&**name, &**runtime)));
            let all = of(&names);
            let runtimes: HashSet<_> = all.iter().map(|called| &called.runtime).filter(|label| !label.is_empty()).collect();
            let given: HashSet<_> = names.iter().map(|(_, runtime)| runtime).filter(|name| !name.is_empty()).collect();
            prop_assert_eq!(runtimes.len(), given.len());
            let loops = all.iter().map(|called| &called.label);
            prop_assert_eq!(loops.chain(runtimes).collect::<HashSet<_>>().len(), names.len() + given.len());
            for count in 0..names.len() {
                let first = of(&names[..count]);
                prop_assert_eq!(&first[..], &all[..count]);
            }
        }
    }

    #[test]
    fn a_runtime_has_one_label_that_no_loop_has() {
        let all = labels([("web", ""), ("web/0", "web"), ("web/1", "web"), ("db", "db"), ("db", "")]);
        let told: Vec<_> = all.iter().map(|called| (&*called.label, &*called.runtime)).collect();
        assert_eq!(told, [("web", ""), ("web/0", "web#2"), ("web/1", "web#2"), ("db#2", "db"), ("db#3", "")]);
    }

    #[test]
    fn equal_names_are_numbered() {
        let names = ["worker", "web", "worker", "", OTHER, "worker", "worker#2"];
        let labels = labels(names.map(|name| (name, ""))).into_iter().map(|called| called.label);
        let labels: Vec<String> = labels.collect();
        assert_eq!(labels, ["worker", "web", "worker#2", "unnamed", "other", "worker#3", "worker#2#2"]);
        for text in ["", "1", "1.", ".1", "1.x", "1.-1", "1.2.3", "x.1"] {
            assert!(text.parse::<LoopId>().is_err(), "{text}");
        }
    }
}
