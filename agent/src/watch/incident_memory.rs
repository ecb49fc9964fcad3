//! The incidents that the agent keeps in memory: bounded in number and bytes, the newest stay.

use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::incident::Incident;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub number: usize,
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { number: 1_000, bytes: 16 << 20 }
    }
}

/// The store, oldest first.
#[derive(Debug, Default)]
pub(crate) struct IncidentMemory {
    bounds: Bounds,
    entries: VecDeque<(Arc<Incident>, usize)>,
    bytes: usize,
}

impl IncidentMemory {
    #[cfg(test)]
    pub(crate) fn within(bounds: Bounds) -> Self {
        IncidentMemory { bounds, ..IncidentMemory::default() }
    }

    /// Puts an incident in the store, in place of its earlier version where that is there.
    pub(crate) fn put(&mut self, incident: Arc<Incident>) {
        let bytes = weight(&incident);
        self.bytes += bytes;
        // Those that change are among the last.
        match self.entries.iter_mut().rev().find(|(known, _)| known.id == incident.id) {
            Some(entry) => {
                self.bytes -= entry.1;
                *entry = (incident, bytes);
            }
            None => self.entries.push_back((incident, bytes)),
        }
        while self.entries.len() > self.bounds.number
            || self.bytes > self.bounds.bytes && self.entries.len() > 1
        {
            if let Some((_, bytes)) = self.entries.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// Returns all, newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Arc<Incident>> {
        self.entries.iter().rev().map(|(incident, _)| incident)
    }

    /// Returns the one with this id.
    pub(crate) fn find(&self, id: IncidentId) -> Option<Arc<Incident>> {
        self.newest_first().find(|incident| incident.identity().agrees_with(id)).cloned()
    }
}

/// About how many bytes an incident takes in memory.
fn weight(incident: &Incident) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let records: usize = incident
        .records
        .iter()
        .map(|record| record.kind.len() + record.phase.len() + record.site.len() + text(&record.parent))
        .sum();
    let jobs: usize = incident.jobs.iter().map(|job| job.kind.len() + job.site.len()).sum();
    let frames: usize = incident
        .stacks
        .iter()
        .flat_map(|stack| &stack.frames)
        .map(|frame| size_of_val(frame) + frame.function.len() + text(&frame.file) + text(&frame.module))
        .sum();
    size_of::<Incident>()
        + 1024
        + records
        + jobs
        + frames
        + size_of_val(incident.records.as_slice())
        + size_of_val(incident.iterations.as_slice())
        + size_of_val(incident.jobs.as_slice())
        + size_of_val(incident.stacks.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::process_id::ProcessId;
    use loopscope_report::incident::Record;

    fn incident(number: u64, records: usize) -> Arc<Incident> {
        let records = vec![Record { site: "s".repeat(40), ..Record::default() }; records];
        Arc::new(Incident {
            id: IncidentId::new(ProcessId::new(7, 0, 0, 0), number),
            pid: 7,
            records,
            ..Incident::default()
        })
    }

    #[test]
    fn thousands_of_incidents_leave_the_newest() {
        let mut store = IncidentMemory::within(Bounds { number: 100, bytes: usize::MAX });
        for number in 1..=5_000 {
            store.put(incident(number, 3));
        }
        let ids: Vec<u64> = store.newest_first().map(|incident| incident.number()).collect();
        assert_eq!((ids.len(), ids[0], ids[99]), (100, 5_000, 4_901));
        assert!(
            store.find("7-4901".parse().unwrap()).is_some()
                && store.find("7-4900".parse().unwrap()).is_none()
        );
    }

    #[test]
    fn bytes_are_bounded_and_a_newer_version_replaces_the_older() {
        let mut store = IncidentMemory::within(Bounds { number: 1_000, bytes: 1 << 20 });
        for number in 1..=200 {
            store.put(incident(number, 1));
            store.put(incident(number, 500));
        }
        assert!(store.bytes <= 1 << 20 && store.entries.len() > 3, "{} {}", store.bytes, store.entries.len());
        let newest = store.newest_first().next().unwrap();
        assert_eq!((newest.number(), newest.records.len()), (200, 500));
        let one_too_long = incident(201, 20_000);
        store.put(one_too_long);
        assert_eq!(store.newest_first().count(), 1, "the newest is kept, however long");
    }
}
