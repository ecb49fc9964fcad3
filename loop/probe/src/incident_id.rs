//! Which incident of which process.
//!
//! An id has the pid and a number: `PID-N`, such as `4711-3`. N is counted per agent. Where a list has two incidents that this
//! would name alike, each gets what is needed to distinguish them ([`names`]):
//! - the process: `@` and as much of its identity as is needed, if they are of processes with the same pid (an ended process, or a
//!   container's): `1-3@123456`, `1-3@123456-4026531836`;
//! - the loop: `.LOOP`, if they are of two agents of one process (a program with two versions of loopscope has two agents, and each
//!   counts from 1): `4711-3.0` and `4711-3.2`. LOOP is the number in the name of the loop's page file and at the end of `loop_id`.
//!
//! The parser accepts every form.
//!
//! # Who numbers
//! An agent counts its incidents, from 1, and writes the count on every page of its process. Where a process has no
//! agent, or has been killed, its pages tell one incident for each loop, the stall under way, and [`number_of_stall`]
//! derives its number from what the page says, above the agent's count: it is the same for everybody who reads it,
//! and stays so until that stall is over. An agent that starts later goes on above all numbers that the pages can
//! have told until then ([`registry::incidents_told`](crate::registry::incidents_told)), also those of loops that
//! have ended. So no two incidents of a process have one number, whoever told them, if one version of loopscope is in
//! it; of two versions each numbers its own. No two of one loop ever have. A stall under way when an agent starts has two
//! numbers: the pages', and the agent's.

use crate::loop_id::LoopId;
use crate::process_id::{ProcessId, decimal};
use std::fmt;
use std::str::FromStr;

/// An incident. Its text, `PID-N`, `PID-N.LOOP` or `PID-N.LOOP@START-NAMESPACE-BOOT`, is read back as the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncidentId {
    process: ProcessId,
    number: u64,
    /// The ordinal of its loop within the process; `None` where the id does not have it.
    ordinal: Option<u32>,
}

impl IncidentId {
    /// Names an incident: by its process, as far as that is known, and its number within it.
    pub const fn new(process: ProcessId, number: u64) -> IncidentId {
        IncidentId { process, number, ordinal: None }
    }

    /// Names an incident of a loop: of two agents in one process, each has numbers of its own, and loops of its own.
    pub fn of_loop(loop_id: LoopId, number: u64) -> IncidentId {
        IncidentId { process: loop_id.process(), number, ordinal: Some(loop_id.ordinal()) }
    }

    /// Returns the incident of this number, of the same process, and of the same loop where this id has one.
    #[must_use]
    pub fn with_number(self, number: u64) -> IncidentId {
        IncidentId { number, ..self }
    }

    /// Returns the process.
    pub fn process(self) -> ProcessId {
        self.process
    }

    /// Returns the number within the process.
    pub fn number(self) -> u64 {
        self.number
    }

    /// Returns `PID-N`: the id where the pid means one process, and that has one agent.
    #[must_use]
    pub fn short(self) -> IncidentId {
        self.with_parts(0, false)
    }

    /// Returns `PID-N.LOOP`: the id where the pid means one process, and that has several agents; `PID-N` if the loop is not
    /// known.
    #[must_use]
    pub fn short_with_loop(self) -> IncidentId {
        self.with_parts(0, true)
    }

    /// Tells whether both may be the same incident: nothing that is known of both differs.
    pub fn agrees_with(self, other: IncidentId) -> bool {
        let is_of_one_loop = self.ordinal.zip(other.ordinal).is_none_or(|(one, two)| one == two);
        self.number == other.number && is_of_one_loop && self.process.agrees_with(other.process)
    }

    fn with_parts(self, count: usize, has_loop: bool) -> IncidentId {
        let ordinal = self.ordinal.filter(|_| has_loop);
        IncidentId { process: self.process.with_parts(count), number: self.number, ordinal }
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Padded, because lists have it in a column.
        let ordinal = self.ordinal.map_or_else(String::new, |ordinal| format!(".{ordinal}"));
        f.pad(&format!("{}-{}{ordinal}{}", self.process.pid(), self.number, self.process.parts('@')))
    }
}

impl FromStr for IncidentId {
    type Err = IncidentIdError;

    fn from_str(text: &str) -> Result<IncidentId, IncidentIdError> {
        let read = || {
            let (short, parts) =
                text.split_once('@').map_or((text, None), |(short, parts)| (short, Some(parts)));
            let (pid, number) = short.split_once('-')?;
            let (number, ordinal) =
                number.split_once('.').map_or((number, None), |(number, ordinal)| (number, Some(ordinal)));
            let (pid, number) = (u32::try_from(decimal(pid)?).ok()?, decimal(number)?);
            let ordinal = match ordinal {
                None => None,
                Some(ordinal) => Some(u32::try_from(decimal(ordinal)?).ok()?),
            };
            let process = match parts {
                None => ProcessId::new(pid, 0, 0, 0),
                Some(parts) => ProcessId::parse_parts(pid, parts)?,
            };
            Some(IncidentId { process, number, ordinal })
        };
        read().ok_or_else(|| IncidentIdError(text.to_owned()))
    }
}

/// Why a text names no incident: it is not `PID-N` or `PID-N.LOOP@START-NAMESPACE-BOOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentIdError(String);

impl fmt::Display for IncidentIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an incident id: write it as PID-NUMBER, such as 4711-3", self.0)
    }
}

impl std::error::Error for IncidentIdError {}

/// Returns the shortest id for each incident of a list that no other incident of the list agrees with, in the same order.
pub fn names(list: &[IncidentId]) -> Vec<IncidentId> {
    let mut of_short: std::collections::HashMap<IncidentId, Vec<IncidentId>> =
        std::collections::HashMap::new();
    for id in list {
        let same = of_short.entry(id.short()).or_default();
        if !same.contains(id) {
            same.push(*id);
        }
    }
    let name = |id: &IncidentId| {
        let same = &of_short[&id.short()];
        let is_alone =
            |named: &IncidentId| same.iter().filter(|other| other.agrees_with(*named)).count() <= 1;
        // The process first: of incidents of one process, only the loop can tell.
        let forms = [false, true].into_iter().flat_map(|has_loop| (0..3).map(move |parts| (parts, has_loop)));
        forms.map(|(parts, has_loop)| id.with_parts(parts, has_loop)).find(is_alone).unwrap_or(*id)
    };
    list.iter().map(name).collect()
}

/// Returns the number of the stall that a page without an agent tells of, where agents have counted `counted`
/// incidents of the process: that of the loop with this ordinal, after `ended` others of it that no agent has
/// counted. No other stall of any loop of the process has it, and it is little above `counted` where both are small.
///
/// It counts the pairs along diagonals: 1 is the first stall of loop 0, 2 its second, 3 the first of loop 1.
pub fn number_of_stall(counted: u64, ordinal: u32, ended: u64) -> u64 {
    // Above, different pairs could no longer have different numbers; no loop gets there: a stall takes 5 ms at least.
    const ENDED_MAX: u64 = 1 << 30;
    let (ordinal, ended) = (u64::from(ordinal), ended.min(ENDED_MAX));
    let diagonal = ordinal + ended;
    let before = if diagonal.is_multiple_of(2) {
        (diagonal / 2).saturating_mul(diagonal + 1)
    } else {
        diagonal.saturating_mul(diagonal.div_ceil(2))
    };
    before.saturating_add(ordinal + 1).saturating_add(counted)
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
        fn an_incident_is_read_back_from_its_text(
            process in processes(), number in any::<u64>(), ordinal in any::<u32>()
        ) {
            let of_loop = IncidentId::of_loop(LoopId::new(process, ordinal), number);
            for id in [IncidentId::new(process, number), of_loop] {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
                prop_assert_eq!(id.short().to_string(), format!("{}-{number}", process.pid()));
                prop_assert!(id.short().agrees_with(id) && of_loop.agrees_with(id));
            }
            prop_assert_eq!(of_loop.short_with_loop().to_string(), format!("{}-{number}.{ordinal}", process.pid()));
            let of_another = IncidentId::of_loop(LoopId::new(process, ordinal.wrapping_add(1)), number);
            prop_assert!(!of_loop.agrees_with(of_another));
        }

        #[test]
        fn any_text_is_read_as_one_incident_or_refused(text in "[0-9]{1,3}-[0-9@.a-f-]{0,50}|.{0,20}") {
            if let Ok(id) = text.parse::<IncidentId>() {
                prop_assert_eq!(id.to_string().parse(), Ok(id));
            }
        }

        #[test]
        fn a_name_of_a_list_means_its_incident_and_no_other(
            parts in proptest::collection::vec(
                (1_u32..3, 1_u64..3, 1_u64..3, 1_u128..3, 1_u64..3, 0_u32..2), 1..12
            )
        ) {
            let of = |(pid, start, namespace, boot, number, ordinal)| {
                IncidentId::of_loop(LoopId::new(ProcessId::new(pid, start, namespace, boot), ordinal), number)
            };
            let list: Vec<IncidentId> = parts.into_iter().map(of).collect();
            for (name, id) in names(&list).into_iter().zip(&list) {
                let name: IncidentId = name.to_string().parse().unwrap();
                let meant: HashSet<_> = list.iter().filter(|other| other.agrees_with(name)).collect();
                prop_assert_eq!(meant, HashSet::from([id]));
            }
        }

        #[test]
        fn different_stalls_have_different_numbers(
            counted in 0_u64..99, one in (0_u32..200, 0_u64..200), other in (0_u32..200, 0_u64..200)
        ) {
            let number = |(ordinal, ended)| number_of_stall(counted, ordinal, ended);
            prop_assert_eq!(number(one) == number(other), one == other);
            prop_assert!(number(one) > counted);
        }
    }

    #[test]
    fn a_suffix_is_written_only_where_it_is_needed() {
        let id = |text: &str| text.parse::<IncidentId>().unwrap();
        let told = |list: &[IncidentId]| names(list).iter().map(IncidentId::to_string).collect::<Vec<_>>();
        let (one, two, container) = (id("1-3@50-7"), id("1-3@60-7"), id("1-3@50-8"));
        assert_eq!(told(&[one, id("2-3@50-7"), id("1-4@60-7")]), ["1-3", "2-3", "1-4"]);
        assert_eq!(told(&[one, two, one]), ["1-3@50", "1-3@60", "1-3@50"]);
        assert_eq!(told(&[one, container, two]), ["1-3@50-7", "1-3@50-8", "1-3@60"]);
        // Two agents of one process count alike, and an ended process that had the pid did, too.
        let (first, second, ended) = (id("1-3.0@50-7"), id("1-3.2@50-7"), id("1-3.0@60-7"));
        assert_eq!(told(&[first, second, id("1-4.0@50-7")]), ["1-3.0", "1-3.2", "1-4"]);
        assert_eq!(told(&[first, second, ended]), ["1-3.0@50", "1-3.2", "1-3@60"]);
        for text in [
            "",
            "4711",
            "4711-",
            "-3",
            "4711-web",
            "4711-3@",
            "4711-3@x",
            "4711-3-5",
            "4711-+3",
            "last",
            "4711-3.",
            "4711-3.x",
            "4711-3.1.2",
            "4711-3@5.1",
        ] {
            assert!(text.parse::<IncidentId>().unwrap_err().to_string().contains("PID-NUMBER"), "{text}");
        }
    }

    #[test]
    fn stalls_are_numbered_along_diagonals_and_without_overflow() {
        let numbers = [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0)]
            .map(|(loop_, ended)| number_of_stall(0, loop_, ended));
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        assert!(number_of_stall(0, u32::MAX, u64::MAX) > number_of_stall(0, u32::MAX - 1, u64::MAX));
        assert_eq!(number_of_stall(u64::MAX, 1, 1), u64::MAX);
    }
}
