//! The incident of a saturated pool: who fills it.

use crate::incident::{Culprit, Group, IncidentKind, PoolState};
use crate::incident_builder::job_sums::JobSum;
use crate::incident_builder::site_labels::SiteLabels;
use crate::incident_builder::{GROUPS_MAX, IncidentBuilder, Observation};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::{SiteId, Ticks, WorkKind};

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
        self.update_severity(seen, age_ns);
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

    /// The jobs that ended meanwhile, and those that run still, tell who fills the pool.
    fn blame_jobs(&mut self, seen: &Observation<'_>) {
        self.extend(seen.page, None);
        let mut sums = self.extract.jobs_of_it.clone();
        self.incident.unobserved = sums.unseen;
        self.jobs_now = seen.page.jobs_now();
        self.taken = seen.taken;
        for job in &self.jobs_now {
            sums.add(job.kind, job.site, seen.clock.duration_ns(job.since, seen.taken));
        }
        let sums = sums.heaviest_first();
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
            count: Some(sum.count),
            total_ns: sum.total_ns,
            longest_ns: Some(sum.longest_ns),
        };
        self.incident.groups = sums.into_iter().take(GROUPS_MAX).map(group).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::process_id::ProcessId;
    use loopscope_probe::{Clock, Kind, VirtualClock, Writer};
    use std::panic::Location;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_pool_full_of_jobs_that_have_not_ended_names_them() {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let [upload, short] =
            ["upload", "stat"].map(|name| writer.named_site(Location::caller(), Kind::Job, name));
        let mut pool = writer.take_pool().unwrap();
        pool.threads(2);
        let clock = pool.clock().clone();
        for worker in 0..2 {
            pool.submitted(WorkKind::User, clock.now());
            pool.started(WorkKind::User, clock.now(), None);
            pool.runs(worker, WorkKind::User, upload, clock.now());
        }
        pool.submitted(WorkKind::Fs, clock.now());
        time.advance_ns(10_000 * MS);
        let page = writer.page();
        let (taken, vitals) = (clock.now(), page.vitals_at(&clock, clock.now()));
        let seen = Observation {
            label: "web",
            ordinal: 0,
            page,
            clock: &clock,
            vitals: &vitals,
            taken,
            unix_ns: 1_000_000 * MS,
            warning_ns: 100 * MS,
            critical_ns: 1_000 * MS,
        };
        let id = IncidentId::new(ProcessId::default(), 1);
        let builder = IncidentBuilder::open_pool(&seen, id, 9_000 * MS);
        let incident = builder.whole(page);
        assert_eq!((incident.culprit.name.as_str(), incident.culprit.kind.as_str()), ("upload", "job"));
        let [group] = &incident.groups[..] else { panic!("{:?}", incident.groups) };
        assert_eq!((group.kind.as_str(), group.count, group.total_ns), ("user", Some(2), 20_000 * MS));
        let told: Vec<_> = incident
            .jobs
            .iter()
            .map(|job| (job.worker, job.start_ns, job.run_ns, job.wait_ns, job.is_running))
            .collect();
        let began = -1_000 * MS as i64;
        assert_eq!(told, [(0, began, 10_000 * MS, None, true), (1, began, 10_000 * MS, None, true)]);
        // One that ended meanwhile, and was short, is not to blame.
        pool.rests(0);
        pool.runs(0, WorkKind::Fs, short, clock.now());
        time.advance_ns(MS);
        let vitals = page.vitals_at(&clock, clock.now());
        let later = Observation { vitals: &vitals, taken: clock.now(), ..seen };
        let mut builder = builder;
        builder.grow_pool(&later, 9_001 * MS);
        assert_eq!(builder.incident.culprit.name, "upload");
        builder.close_pool(&later, 9_001 * MS);
        assert!(builder.whole(page).jobs.iter().all(|job| !job.is_running), "it is over");
    }
}
