//! The recorder's extract of one incident: copied at every look, because the ring forgets, and bounded.
//!
//! ```text
//!   1 s before | begin                                         end
//!   [ last 512 ][ first 512 ] . . . counted, not kept . . . [ last 512 ]
//! ```

use crate::compute::groups::Groups;
use crate::incident;
use crate::incident_builder::site_labels::SiteLabels;
use loopscope_probe::clock::Scale;
use loopscope_probe::iterations::IterationRecord;
use loopscope_probe::jobs::JobRecord;
use loopscope_probe::record::Record;
use loopscope_probe::{NowValues, Page, Ticks};
use std::collections::VecDeque;

/// How long before the begin the extract begins, in nanoseconds.
const BEFORE_NS: u64 = 1_000_000_000;

/// Callbacks kept of each of the three parts.
const PART_MAX: usize = 512;

/// Iterations and jobs kept, the newest.
const RING_MAX: usize = 256;

/// What was copied so far.
#[derive(Debug)]
pub(crate) struct Extract {
    begin: Ticks,
    from: Ticks,
    scale: Scale,
    before: VecDeque<Record>,
    first: Vec<Record>,
    last: VecDeque<Record>,
    lost: u64,
    /// Number of the record to copy next; of iterations and jobs likewise.
    next: u64,
    next_iteration: u64,
    next_job: u64,
    iterations: VecDeque<IterationRecord>,
    jobs: VecDeque<JobRecord>,
    /// What the time from the begin on consisted of.
    pub groups: Groups,
}

impl Extract {
    /// Begins the extract of an incident that began at `begin`, and copies what there is.
    pub(crate) fn open(page: &Page, scale: Scale, begin: Ticks, until: Option<Ticks>) -> Extract {
        let mut extract = Extract {
            begin,
            from: Ticks(begin.0.saturating_sub(scale.ticks(BEFORE_NS))),
            scale,
            before: VecDeque::new(),
            first: Vec::new(),
            last: VecDeque::new(),
            lost: 0,
            next: 0,
            next_iteration: 0,
            next_job: 0,
            iterations: VecDeque::new(),
            jobs: VecDeque::new(),
            groups: Groups::default(),
        };
        extract.copy(page, until, false);
        extract
    }

    /// Copies what has come since; what began after `until` is not the incident's.
    pub(crate) fn extend(&mut self, page: &Page, until: Option<Ticks>) {
        self.copy(page, until, true);
    }

    fn copy(&mut self, page: &Page, until: Option<Ticks>, has_copied: bool) {
        let is_in = |at: Ticks| until.is_none_or(|until| at < until);
        let mut fresh = page.records(self.next);
        if let Some(newest) = fresh.last() {
            // What the ring forgot between two looks.
            let gap = fresh[0].number.saturating_sub(self.next);
            self.lost = self.lost.saturating_add(if has_copied { gap } else { 0 });
            self.next = newest.number.saturating_add(1);
        }
        fresh.retain(|record| record.end >= self.from && is_in(record.start));
        let own = fresh.partition_point(|record| record.start < self.begin);
        self.groups.add(&fresh[own..], self.scale);
        for (index, record) in fresh.into_iter().enumerate() {
            let part = match index < own {
                true => &mut self.before,
                false if self.first.len() < PART_MAX => {
                    self.first.push(record);
                    continue;
                }
                false => &mut self.last,
            };
            self.lost = self.lost.saturating_add(u64::from(keep_newest(part, record, PART_MAX)));
        }
        for iteration in page.iterations(self.next_iteration) {
            self.next_iteration = iteration.number.saturating_add(1);
            if iteration.end >= self.from && is_in(iteration.begin) {
                keep_newest(&mut self.iterations, iteration, RING_MAX);
            }
        }
        for job in page.jobs(self.next_job) {
            self.next_job = job.number.saturating_add(1);
            if job.ended >= self.from && is_in(job.started) {
                keep_newest(&mut self.jobs, job, RING_MAX);
            }
        }
    }

    /// Returns the jobs of the pool that ended within the incident.
    pub(crate) fn own_jobs(&self) -> impl Iterator<Item = &JobRecord> {
        self.jobs.iter().filter(|job| job.ended >= self.begin)
    }

    /// Writes the extract to an incident. `now` adds what still runs.
    pub(crate) fn fill(
        &self,
        incident: &mut incident::Incident,
        labels: &mut SiteLabels<'_>,
        now: &NowValues,
    ) {
        let all = self.before.iter().chain(&self.first).chain(&self.last);
        incident.records = all.map(|record| self.record(record, labels)).collect();
        incident.records.extend(self.running(now, labels));
        incident.records_lost = self.lost;
        let iteration = |iteration: &IterationRecord| incident::Iteration {
            number: iteration.number,
            start_ns: self.relative_ns(iteration.begin),
            busy_ns: self.ns(iteration.begin, iteration.end),
            events: iteration.events,
        };
        incident.iterations = self.iterations.iter().map(iteration).collect();
        let job = |job: &JobRecord| incident::Job {
            start_ns: self.relative_ns(job.started),
            run_ns: self.ns(job.started, job.ended),
            wait_ns: self.ns(job.submitted, job.started),
            kind: job.kind.name().to_owned(),
            site: labels.label(job.site),
            worker: job.worker,
            is_ok: job.is_ok,
        };
        incident.jobs = self.jobs.iter().map(job).collect();
    }

    fn record(&self, record: &Record, labels: &mut SiteLabels<'_>) -> incident::Record {
        let ready = Some(record.ready).filter(|ready| *ready != Ticks::NONE);
        incident::Record {
            start_ns: self.relative_ns(record.start),
            run_ns: self.ns(record.start, record.end),
            wait_ns: ready.map(|ready| self.ns(ready, record.start)),
            kind: record.kind.name().to_owned(),
            phase: record.phase.name().to_owned(),
            site: labels.label(record.site),
            parent: labels.known_label(record.parent),
            is_running: false,
        }
    }

    fn running(&self, now: &NowValues, labels: &mut SiteLabels<'_>) -> Option<incident::Record> {
        let running = now.running?;
        Some(incident::Record {
            start_ns: self.relative_ns(running.since),
            run_ns: now.running_ns,
            kind: running.kind?.name().to_owned(),
            phase: running.phase.name().to_owned(),
            site: labels.label(running.site),
            is_running: true,
            ..incident::Record::default()
        })
    }

    /// Returns a moment relative to the begin, in nanoseconds: negative before it.
    fn relative_ns(&self, at: Ticks) -> i64 {
        let ns = |from, to| i64::try_from(self.ns(from, to)).unwrap_or(i64::MAX);
        ns(self.begin, at) - ns(at, self.begin)
    }

    fn ns(&self, from: Ticks, to: Ticks) -> u64 {
        self.scale.duration_ns(to.since(from))
    }
}

/// Appends to a bounded list. Returns whether the oldest had to go.
fn keep_newest<T>(list: &mut VecDeque<T>, item: T, most: usize) -> bool {
    let is_full = list.len() >= most;
    if is_full {
        list.pop_front();
    }
    list.push_back(item);
    is_full
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Incident;
    use loopscope_probe::{Clock, Kind, Life, VirtualClock, Writer};

    const MS: u64 = 1_000_000;

    #[test]
    fn the_begin_of_a_flood_is_kept_and_its_middle_counted() {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("extract").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(std::panic::Location::caller(), Kind::Timer, "t");
        let run = |writer: &mut Writer, count: u64| {
            for _ in 0..count {
                writer.begin(Kind::Timer, site, Life::UNKNOWN);
                time.advance_ns(MS / 10);
                writer.end();
            }
        };
        writer.resume();
        writer.park();
        writer.unpark(1);
        run(&mut writer, 20);
        writer.park();
        time.advance_ns(20 * MS);
        writer.unpark(1);
        let (begin, clock) = (writer.last(), writer.clock().clone());
        run(&mut writer, 1_000);
        let mut extract = Extract::open(writer.page(), clock.scale(), begin, None);
        // More than the ring holds, so that the look comes too late for some.
        run(&mut writer, 6_000);
        extract.extend(writer.page(), None);
        writer.park();
        let end = writer.last();
        writer.unpark(1);
        run(&mut writer, 5);
        extract.extend(writer.page(), Some(end));
        let mut incident = Incident::default();
        extract.fill(&mut incident, &mut SiteLabels::of(writer.page()), &NowValues::IDLE);
        let starts: Vec<i64> = incident.records.iter().map(|record| record.start_ns).collect();
        assert_eq!(starts.len(), 20 + 2 * PART_MAX);
        assert_eq!(starts[0], -22 * MS as i64);
        assert_eq!((starts[20], starts[21]), (0, MS as i64 / 10));
        assert_eq!(*starts.last().unwrap(), 699_900_000, "the five after the end are not the incident's");
        assert_eq!(incident.records_lost, 7_000 - 2 * PART_MAX as u64);
        assert!(incident.records[0].site.starts_with("t ("));
        let stalled = incident.iterations.last().unwrap();
        assert_eq!((stalled.start_ns, stalled.busy_ns), (0, 700 * MS));
    }
}
