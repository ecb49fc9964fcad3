//! Names of incidents' files, which sort by begin.
//!
//! `1700000000123-4711-3.0.json` is incident 3 of process 4711, of its loop 0, begun that many milliseconds after 1970. The
//! loop keeps the files of two agents in one process apart, which count alike and may watch the same block. Where it is not
//! known, it is left out. Several processes may share a directory. What is not named so belongs to somebody else, and is
//! neither read nor removed.

use crate::incident::Incident;
use std::path::{Path, PathBuf};

/// How long an incident is kept beside the pages, in nanoseconds: a day.
pub const KEPT_FOR_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// Returns where incidents are kept beside the pages of a runtime directory.
pub fn kept_directory(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("incidents")
}

/// Returns the begin in milliseconds since 1970 and the pid that a file's name tells; `None` for what is not named so.
pub fn begin_and_pid(name: &str) -> Option<(u64, &str)> {
    let mut parts = name.split('-');
    let (begin, pid) = (parts.next()?.parse().ok()?, parts.next()?);
    is_incident_name(name).then_some((begin, pid))
}

/// Returns the name of an incident's file.
pub fn file_name(incident: &Incident) -> String {
    let id = incident.identity().short_with_loop();
    format!("{:013}-{id}.json", incident.begin_unix_ns / 1_000_000)
}

/// Tells whether a file is named like an incident's.
pub fn is_incident_name(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".json") else { return false };
    let parts: Vec<&str> = name.split('-').collect();
    let [begin, pid, number] = parts[..] else { return false };
    let (number, ordinal) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    begin.len() >= 13 && [begin, pid, number, ordinal].into_iter().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_incidents_are_ours() {
        let incident = Incident {
            id: "4711-3".parse().unwrap(),
            pid: 4711,
            begin_unix_ns: 1_700_000_000_123_456_789,
            ..Incident::default()
        };
        assert_eq!(file_name(&incident), "1700000000123-4711-3.json");
        assert!(is_incident_name(&file_name(&incident)));
        assert_eq!(begin_and_pid("1700000000123-4711-3.json"), Some((1_700_000_000_123, "4711")));
        let loop_id = "4711-123456.2".parse().unwrap();
        let of_loop = file_name(&Incident { loop_id, ..incident });
        assert_eq!(of_loop, "1700000000123-4711-3.2.json");
        assert_eq!(begin_and_pid(&of_loop), Some((1_700_000_000_123, "4711")));
        assert_eq!(begin_and_pid("1-2-3.json"), None);
        for foreign in [
            "notes.json",
            "1700000000123-4711-3.json.tmp",
            "1-2-3.json",
            "1700000000123-4711.json",
            "1700000000123-4711-3..json",
            "1700000000123-4711-3.x.json",
            "1700000000123-4711-3.2.1.json",
            "a-1-2.json",
            ".json",
        ] {
            assert!(!is_incident_name(foreign), "{foreign}");
        }
    }
}
