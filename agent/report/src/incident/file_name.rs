//! Names of incidents' files, which sort by begin.
//!
//! `1700000000123-4711-3.json` is incident 3 of process 4711, begun that many milliseconds after 1970. Several
//! processes may share a directory. What is not named so belongs to somebody else, and is neither read nor removed.

use crate::incident::Incident;

/// Returns the name of an incident's file.
pub fn file_name(incident: &Incident) -> String {
    format!("{:013}-{}.json", incident.begin_unix_ns / 1_000_000, incident.id.short())
}

/// Tells whether a file is named like an incident's.
pub fn is_incident_name(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".json") else { return false };
    let parts: Vec<&str> = name.split('-').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() == 3 && parts[0].len() >= 13 && parts.iter().all(is_number)
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
        for foreign in [
            "notes.json",
            "1700000000123-4711-3.json.tmp",
            "1-2-3.json",
            "1700000000123-4711.json",
            "a-1-2.json",
            ".json",
        ] {
            assert!(!is_incident_name(foreign), "{foreign}");
        }
    }
}
