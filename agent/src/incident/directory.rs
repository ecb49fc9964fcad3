//! A directory of incidents on disk: one JSON file each, named so that the names sort by begin.
//!
//! `1700000000123-4711-3.json` is incident 3 of process 4711, begun that many milliseconds after 1970. Several
//! processes may share a directory. What is not named so belongs to somebody else, and is neither read nor removed.

use crate::incident::Incident;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A file longer than this many bytes is no incident of ours.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What was found in a directory.
#[derive(Debug, Default)]
pub struct IncidentDirectory {
    /// The incidents, newest first.
    pub incidents: Vec<Incident>,
    /// Files that are named like incidents and could not be read, each with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl IncidentDirectory {
    /// Reads all incidents of a directory. Files of others are passed over; what is half-written or damaged is listed.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn read(path: &Path) -> io::Result<IncidentDirectory> {
        let mut found = IncidentDirectory::default();
        let mut files: Vec<PathBuf> = fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.file_name().and_then(|name| name.to_str()).is_some_and(is_incident_name));
        files.sort_by(|one, other| other.cmp(one));
        for file in files {
            match read_file(&file) {
                Ok(incident) => found.incidents.push(incident),
                Err(why) => found.unreadable.push((file, why)),
            }
        }
        found.incidents.sort_by_key(|incident| std::cmp::Reverse(incident.begin_unix_ns));
        Ok(found)
    }
}

fn read_file(path: &Path) -> Result<Incident, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{length} bytes are more than an incident has"));
    }
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    Incident::parse(&bytes).map_err(|error| error.to_string())
}

/// Returns the name of an incident's file.
pub(crate) fn file_name(incident: &Incident) -> String {
    format!("{:013}-{}.json", incident.begin_unix_ns / 1_000_000, incident.id.short())
}

/// Tells whether a file is named like an incident's.
pub(crate) fn is_incident_name(name: &str) -> bool {
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
