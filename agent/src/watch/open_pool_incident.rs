//! The incident of a saturated pool while it is open, and the loop meanwhile.

use crate::watch::incident_queue::IncidentQueue;
use crate::watch::open_incident::{At, OpenIncident};
use loopscope_report::compute::figures::between;
use loopscope_report::incident_builder::IncidentBuilder;
use loopscope_report::model::history::Counters;

/// A saturated pool, and the loop's counters when it was found.
#[derive(Debug)]
pub(crate) struct OpenPoolIncident {
    pub case: OpenIncident,
    counters: Counters,
}

impl OpenPoolIncident {
    /// Opens the incident of a pool that has been saturated for `age_ns`.
    pub(crate) fn open(
        at: &At<'_>,
        queue: &mut IncidentQueue,
        age_ns: u64,
        counters: Counters,
    ) -> OpenPoolIncident {
        let build = |process| IncidentBuilder::open_pool(&at.seen, process, age_ns);
        OpenPoolIncident { case: OpenIncident::open(queue, age_ns, build), counters }
    }

    /// Takes over the pool's present state.
    pub(crate) fn update(&mut self, at: &At<'_>, age_ns: u64) {
        self.case.builder.grow_pool(&at.seen, age_ns);
    }

    /// Takes over what the longest job is asleep in.
    pub(crate) fn waits_in(&mut self, call: Option<String>) {
        self.case.builder.incident.waiting_in = call;
    }

    /// Closes the incident.
    pub(crate) fn close(&mut self, at: &At<'_>, age_ns: u64, counters: &Counters) {
        self.case.builder.close_pool(&at.seen, age_ns);
        self.case.closed(at.now_ns);
        let during = between(&self.counters, counters).known(&at.seen.page.description());
        self.case.builder.incident.during = during;
    }
}
