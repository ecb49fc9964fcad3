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

/// Why a text names no loop: it is not `PROCESS.ORDINAL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopIdError(String);

impl fmt::Display for LoopIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no loop: write PROCESS.ORDINAL, as 4711-123456.0", self.0)
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

/// Returns unique labels of all loops of a process, given those of their pages, or their names, in the order of their ordinals:
/// the same where they are unique already.
pub fn labels<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for name in names {
        let label = label(name, labels.iter().map(String::as_str));
        labels.push(label);
    }
    labels
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
            names in proptest::collection::vec("(worker|worker#2|_other|)", 0..12)
        ) {
            let all = labels(names.iter().map(String::as_str));
            prop_assert_eq!(all.iter().collect::<HashSet<_>>().len(), names.len());
            for count in 0..names.len() {
                let first = labels(names.iter().take(count).map(String::as_str));
                prop_assert_eq!(&first[..], &all[..count]);
            }
        }
    }

    #[test]
    fn equal_names_are_numbered() {
        let labels = labels(["worker", "web", "worker", "", OTHER, "worker", "worker#2"]);
        assert_eq!(labels, ["worker", "web", "worker#2", "unnamed", "other", "worker#3", "worker#2#2"]);
        for text in ["", "1", "1.", ".1", "1.x", "1.-1", "1.2.3", "x.1"] {
            assert!(text.parse::<LoopId>().is_err(), "{text}");
        }
    }
}
