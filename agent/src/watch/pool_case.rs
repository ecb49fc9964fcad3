//! The incident of a saturated pool: who fills it, and the loop meanwhile.

use crate::watch::case::{At, Case, pool_state};
use crate::watch::desk::Desk;
use crate::watch::places::Places;
use loopscope_probe::{SiteId, Ticks, WorkKind};
use loopscope_report::compute::figures::between;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::{Culprit, Group, IncidentKind};
use loopscope_report::model::history::Counters;
use std::collections::HashMap;

/// A saturated pool, and the loop's counters when it was found.
#[derive(Debug)]
pub(crate) struct PoolCase {
    pub case: Case,
    counters: Counters,
}

impl PoolCase {
    /// Opens the incident of a pool that has been saturated for `age_ns`.
    pub(crate) fn open(at: &At<'_>, desk: &mut Desk, age_ns: u64, counters: Counters) -> PoolCase {
        let begin = Ticks(at.taken.0.saturating_sub(at.clock.scale().ticks(age_ns)));
        let mut case = Case::open(at, desk, begin, age_ns, None);
        case.incident.kind = IncidentKind::Pool;
        case.incident.cause = "pool".to_owned();
        let mut open = PoolCase { case, counters };
        open.update(at, age_ns);
        open
    }

    /// Takes over the pool's present state.
    pub(crate) fn update(&mut self, at: &At<'_>, age_ns: u64) {
        self.case.extract.extend(at.page, None);
        self.case.incident.duration_ns = age_ns;
        self.case.worsen(at, age_ns);
        if let Some(pool) = &at.vitals.pool {
            self.case.incident.summary = format!(
                "{} threads busy, {} jobs waiting, the oldest for {}",
                pool.running,
                pool.queued,
                show_ns(pool.oldest_wait_ns)
            );
            self.case.incident.pool = Some(pool_state(pool));
        }
        self.blame(at);
    }

    /// Closes the incident.
    pub(crate) fn close(&mut self, at: &At<'_>, age_ns: u64, counters: &Counters) {
        self.case.extract.extend(at.page, None);
        self.blame(at);
        self.case.close(at, age_ns);
        self.case.incident.during = between(&self.counters, counters);
    }

    /// The jobs that ended meanwhile tell who fills the pool.
    fn blame(&mut self, at: &At<'_>) {
        let scale = at.clock.scale();
        let mut sums: HashMap<(WorkKind, SiteId), (u64, u64, u64)> = HashMap::new();
        for job in self.case.extract.own_jobs() {
            let ns = scale.duration_ns(job.ended.since(job.started));
            let (count, total_ns, longest_ns) = sums.entry((job.kind, job.site)).or_default();
            (*count, *total_ns, *longest_ns) = (*count + 1, *total_ns + ns, (*longest_ns).max(ns));
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by_key(|((kind, site), (_, total_ns, _))| {
            (std::cmp::Reverse(*total_ns), *site, kind.index())
        });
        let mut places = Places::of(at.page);
        let incident = &mut self.case.incident;
        if let Some(((_, id), _)) = sums.first()
            && let Some(site) = places.site(*id)
        {
            incident.culprit = Culprit {
                kind: "job".to_owned(),
                label: site.label(),
                name: site.name,
                file: site.file,
                line: site.line,
            };
        }
        let group =
            |((kind, site), (count, total_ns, longest_ns)): ((WorkKind, SiteId), (u64, u64, u64))| Group {
                kind: kind.name().to_owned(),
                label: places.label(site),
                parent: None,
                count,
                total_ns,
                longest_ns,
            };
        incident.groups = sums.into_iter().take(16).map(group).collect();
    }
}
