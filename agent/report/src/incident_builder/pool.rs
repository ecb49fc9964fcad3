//! The incident of a saturated pool: who fills it.

use crate::incident::{Culprit, Group, IncidentKind, PoolState};
use crate::incident_builder::site_labels::SiteLabels;
use crate::incident_builder::{GROUPS_MAX, IncidentBuilder, Observation};
use loopscope_probe::incident_id::IncidentId;
use loopscope_probe::{SiteId, Ticks, WorkKind};
use std::collections::HashMap;

/// What ran of one kind and site: how often, for how long in sum, and the longest; in nanoseconds.
#[derive(Clone, Copy, Default)]
struct JobSum {
    count: u64,
    total_ns: u64,
    longest_ns: u64,
}

impl IncidentBuilder {
    /// Opens the incident of a pool that has been saturated for `age_ns`. `process` is as for [`open`](Self::open).
    pub fn open_pool(seen: &Observation<'_>, id: IncidentId, age_ns: u64) -> IncidentBuilder {
        let begin = Ticks(seen.taken.0.saturating_sub(seen.clock.scale().ticks(age_ns)));
        let mut builder = IncidentBuilder::open(seen, id, begin, age_ns, None);
        builder.incident.kind = IncidentKind::Pool;
        builder.incident.cause = "pool".to_owned();
        builder.grow_pool(seen, age_ns);
        builder
    }

    /// Takes over the present state of a pool that still is saturated.
    pub fn grow_pool(&mut self, seen: &Observation<'_>, age_ns: u64) {
        self.incident.duration_ns = age_ns;
        self.worsen(seen, age_ns);
        if let Some(pool) = &seen.vitals.pool {
            let state = PoolState::from(pool);
            self.incident.summary = state.words();
            self.incident.pool = Some(state);
        }
        self.blame_jobs(seen);
    }

    /// Closes the incident of a pool: it was saturated for `ns`.
    pub fn close_pool(&mut self, seen: &Observation<'_>, ns: u64) {
        self.blame_jobs(seen);
        self.close(seen, ns);
    }

    /// The jobs that ended meanwhile tell who fills the pool.
    fn blame_jobs(&mut self, seen: &Observation<'_>) {
        self.extend(seen.page, None);
        let mut sums: HashMap<(WorkKind, SiteId), JobSum> = HashMap::new();
        for job in self.extract.own_jobs() {
            let ns = seen.clock.duration_ns(job.started, job.ended);
            let sum = sums.entry((job.kind, job.site)).or_default();
            sum.count += 1;
            sum.total_ns = sum.total_ns.saturating_add(ns);
            sum.longest_ns = sum.longest_ns.max(ns);
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|((kind, site), sum)| (std::cmp::Reverse(sum.total_ns), *site, kind.index()));
        let mut labels = SiteLabels::of(seen.page);
        if let Some(((_, id), _)) = sums.first()
            && let Some(site) = labels.site(*id)
        {
            self.incident.culprit = Culprit {
                kind: "job".to_owned(),
                label: site.label(),
                name: site.name,
                file: site.file,
                line: site.line,
                column: site.column,
            };
        }
        let group = |((kind, site), sum): ((WorkKind, SiteId), JobSum)| Group {
            kind: kind.name().to_owned(),
            label: labels.label(site),
            parent: None,
            count: sum.count,
            total_ns: sum.total_ns,
            longest_ns: sum.longest_ns,
        };
        self.incident.groups = sums.into_iter().take(GROUPS_MAX).map(group).collect();
    }
}
