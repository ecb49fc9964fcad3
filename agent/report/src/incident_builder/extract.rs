//! The recorder's extract of one incident: copied at every look, because the ring forgets, and bounded.
//!
//! ```text
//!   1 s before | begin                                         end
//!   [ last 512 ][ first 512 ] . . . counted, not kept . . . [ last 512 ]
//! ```

use crate::compute::groups::Groups;
use crate::incident;
use crate::incident_builder::job_sums::JobSums;
use crate::incident_builder::site_labels::SiteLabels;
use crate::words::known_phase;
use loopscope_probe::JobRecord;
use loopscope_probe::description::{Description, Fact};
use loopscope_probe::raw::clock::Scale;
use loopscope_probe::raw::pool::JobNow;
use loopscope_probe::raw::record::CallbackRecord;
use loopscope_probe::raw::record::IterationRecord;
use loopscope_probe::{Kind, NowValues, Page, Phase, Ticks};
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
    before: VecDeque<CallbackRecord>,
    first: Vec<CallbackRecord>,
    last: VecDeque<CallbackRecord>,
    lost: u64,
    /// Number of the record to copy next; of iterations and jobs likewise.
    next: u64,
    next_iteration: u64,
    next_job: u64,
    iterations: VecDeque<IterationRecord>,
    jobs: VecDeque<JobRecord>,
    /// What the time from the begin on consisted of.
    pub groups: Groups,
    /// It is known how many callbacks of that time were overwritten before they were copied.
    is_counted: bool,
    /// Numbers of the first record of that time and of the one behind the last, where they are known.
    numbers: Option<(u64, u64)>,
    /// Jobs of the pool that ended in that time.
    pub jobs_of_it: JobSums,
}

impl Extract {
    /// Begins the extract of an incident that began at `begin`, and copies what there is. `first` is the number of its first
    /// record, where the page tells it.
    pub(crate) fn open(
        page: &Page,
        scale: Scale,
        begin: Ticks,
        until: Option<Ticks>,
        first: Option<u64>,
    ) -> Extract {
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
            is_counted: false,
            numbers: ended_numbers(page, begin).or(first.map(|first| (first, u64::MAX))),
            jobs_of_it: JobSums::default(),
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
        if let (Some(oldest), Some(newest)) = (fresh.first(), fresh.last()) {
            // What the ring forgot between two looks, of the incident's time: a look may come long after the end.
            let behind = until.map_or(u64::MAX, |until| first_record_from(page, until));
            let gap = oldest.number.min(behind).saturating_sub(self.next);
            self.lost = self.lost.saturating_add(if has_copied { gap } else { 0 });
            self.next = newest.number.saturating_add(1);
            let next = Some(oldest).filter(|next| next.end > self.begin && is_in(next.start));
            if self.is_counted {
                self.groups.pass_over(gap, next);
            } else if !has_copied && (oldest.number == 0 || oldest.end < self.begin) {
                // It has all since the begin, whatever the busy period had before that.
                self.is_counted = true;
                self.groups.pass_over(0, None);
            } else if let Some((first, behind)) = self.numbers.filter(|_| !has_copied) {
                self.is_counted = true;
                self.groups.pass_over(oldest.number.min(behind).saturating_sub(first), next);
            }
        }
        fresh.retain(|record| record.end >= self.from && is_in(record.start));
        // What began before a poll that was not told is the incident's from there on.
        let own = fresh.partition_point(|record| record.start < self.begin && record.end <= self.begin);
        self.groups.add(&fresh[own..], self.begin, self.scale);
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
            if has_copied {
                self.jobs_of_it.unseen += job.number.saturating_sub(self.next_job);
            }
            self.next_job = job.number.saturating_add(1);
            if job.ended >= self.begin && is_in(job.started) {
                self.jobs_of_it.add(job.kind, job.site, self.ns(job.started, job.ended));
            }
            if job.ended >= self.from && is_in(job.started) {
                keep_newest(&mut self.jobs, job, RING_MAX);
            }
        }
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
        let runtime = labels.runtime();
        let (knows_events, knows_wait) = (runtime.knows(Fact::PollEvents), runtime.knows(Fact::PoolWait));
        let iteration = |iteration: &IterationRecord| incident::Iteration {
            number: iteration.number,
            start_ns: self.relative_ns(iteration.begin),
            busy_ns: self.ns(iteration.begin, iteration.end),
            events: knows_events.then_some(iteration.events),
        };
        incident.iterations = self.iterations.iter().map(iteration).collect();
        let job = |job: &JobRecord| incident::Job {
            start_ns: self.relative_ns(job.started),
            run_ns: self.ns(job.started, job.ended),
            wait_ns: (knows_wait && job.submitted != Ticks::NONE)
                .then(|| self.ns(job.submitted, job.started)),
            kind: job.kind.name().to_owned(),
            site: labels.label(job.site),
            worker: job.worker,
            is_ok: job.is_ok,
            is_running: false,
        };
        incident.jobs = self.jobs.iter().map(job).collect();
    }

    /// Returns a job that still runs at `taken`.
    pub(crate) fn running_job(
        &self,
        job: &JobNow,
        taken: Ticks,
        labels: &mut SiteLabels<'_>,
    ) -> incident::Job {
        incident::Job {
            start_ns: self.relative_ns(job.since),
            run_ns: self.ns(job.since, taken),
            wait_ns: None,
            kind: job.kind.name().to_owned(),
            site: labels.label(job.site),
            worker: job.worker,
            is_ok: true,
            is_running: true,
        }
    }

    fn record(&self, record: &CallbackRecord, labels: &mut SiteLabels<'_>) -> incident::Record {
        let ready = Some(record.ready).filter(|ready| *ready != Ticks::NONE);
        incident::Record {
            start_ns: self.relative_ns(record.start),
            run_ns: self.ns(record.start, record.end),
            wait_ns: ready.map(|ready| self.ns(ready, record.start)),
            kind: labels.kind(record.kind),
            phase: phase(&labels.runtime(), record.phase),
            site: labels.label(record.site),
            parent: labels.known_label(record.parent),
            is_running: false,
            queue: queue(&labels.runtime(), record.kind),
            is_many: record.many.is_some(),
            many: record.many.filter(|number| *number > 0),
            is_pool_result: record.kind == Kind::WorkDone,
        }
    }

    fn running(&self, now: &NowValues, labels: &mut SiteLabels<'_>) -> Option<incident::Record> {
        let running = now.running?;
        Some(incident::Record {
            start_ns: self.relative_ns(running.since),
            run_ns: now.running_ns,
            kind: labels.kind(running.kind?),
            phase: phase(&labels.runtime(), running.phase),
            site: labels.label(running.site),
            is_running: true,
            queue: queue(&labels.runtime(), running.kind?),
            is_many: running.is_many,
            is_pool_result: running.kind == Some(Kind::WorkDone),
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

/// Returns the numbers of the first record of a busy period that is over, and of the one behind its last; `None`
/// where the page does not tell of it (any more).
fn ended_numbers(page: &Page, begin: Ticks) -> Option<(u64, u64)> {
    let iterations = page.iterations(0);
    let at = iterations.iter().position(|iteration| iteration.begin == begin)?;
    let behind = iterations.get(at + 1).map_or(u64::MAX, |next| next.first_record);
    Some((iterations[at].first_record, behind))
}

/// Returns the number of the first record of the first busy period that began at `at` or later and is over: at most what is
/// known of the records before `at`. `u64::MAX` where the page does not tell of such a one.
fn first_record_from(page: &Page, at: Ticks) -> u64 {
    let iterations = page.iterations(0);
    iterations.iter().find(|iteration| iteration.begin >= at).map_or(u64::MAX, |after| after.first_record)
}

/// Returns the label of a phase; nothing where the runtime does not tell of phases.
fn phase(runtime: &Description, phase: Phase) -> String {
    known_phase(runtime, phase).unwrap_or_default().to_owned()
}

fn queue(runtime: &Description, kind: Kind) -> Option<String> {
    kind.queue().map(|queue| runtime.queue_label(queue).to_owned())
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
    use loopscope_probe::{Clock, Kind, TaskTimes, VirtualClock, Writer};

    const MS: u64 = 1_000_000;

    #[test]
    fn the_begin_of_a_flood_is_kept_and_its_middle_counted() {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("extract").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(std::panic::Location::caller(), Kind::Timer, "t");
        let run = |writer: &mut Writer, count: u64| {
            for _ in 0..count {
                writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
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
        let mut extract = Extract::open(writer.page(), clock.scale(), begin, None, None);
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

    #[test]
    fn a_flood_that_is_over_is_counted_whole() {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("extract").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(std::panic::Location::caller(), Kind::Microtask, "m");
        let run = |writer: &mut Writer, count: u64| {
            for _ in 0..count {
                writer.begin(Kind::Microtask, site, TaskTimes::UNKNOWN);
                time.advance_ns(MS / 100);
                writer.end();
            }
        };
        writer.resume();
        run(&mut writer, 9);
        writer.park();
        writer.unpark(1);
        let (begin, clock, first) = (writer.last(), writer.clock().clone(), writer.page().recorder().count());
        run(&mut writer, 5_000);
        let mut extract = Extract::open(writer.page(), clock.scale(), begin, None, Some(first));
        run(&mut writer, 6_000);
        extract.extend(writer.page(), None);
        writer.park();
        let end = writer.last();
        writer.unpark(1);
        run(&mut writer, 700);
        extract.extend(writer.page(), Some(end));
        // One that was found only afterwards, of which the ring has a part.
        let missed = Extract::open(writer.page(), clock.scale(), begin, Some(end), None);
        for extract in [extract, missed] {
            let [sum] = extract.groups.sums(&NowValues::IDLE, 110 * MS)[..] else { panic!("one group") };
            assert_eq!((sum.count, sum.total_ns), (11_000, 110 * MS));
        }
    }

    /// An agent without a processor sees the end long after it.
    #[test]
    fn what_was_overwritten_after_the_end_is_not_of_it() {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("extract").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(std::panic::Location::caller(), Kind::Async, "post");
        let run = |writer: &mut Writer, count: u64| {
            for _ in 0..count {
                writer.begin(Kind::Async, site, TaskTimes::UNKNOWN);
                time.advance_ns(MS / 10);
                writer.end();
            }
        };
        writer.resume();
        writer.park();
        writer.unpark(1);
        let (begin, clock, first) = (writer.last(), writer.clock().clone(), writer.page().recorder().count());
        run(&mut writer, 700);
        let mut extract = Extract::open(writer.page(), clock.scale(), begin, None, Some(first));
        run(&mut writer, 500);
        writer.park();
        let end = writer.last();
        for _ in 0..10 {
            writer.unpark(1);
            run(&mut writer, 1_000);
            writer.park();
        }
        extract.extend(writer.page(), Some(end));
        let [sum] = extract.groups.sums(&NowValues::IDLE, 120 * MS)[..] else { panic!("one group") };
        assert_eq!((sum.seen, sum.count, sum.total_ns), (700, 1_200, 120 * MS));
        let mut incident = Incident::default();
        extract.fill(&mut incident, &mut SiteLabels::of(writer.page()), &NowValues::IDLE);
        assert_eq!((incident.records.len(), incident.records_lost), (700, 500));
    }

    #[test]
    fn what_began_before_a_hidden_poll_is_the_incidents_from_there_on() {
        let time = VirtualClock::starting_at(10_000 * MS);
        let mut writer = Writer::builder("extract").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(std::panic::Location::caller(), Kind::Task, "t");
        let run = |writer: &mut Writer, ms: u64| {
            writer.begin(Kind::Task, site, TaskTimes::UNKNOWN);
            time.advance_ns(ms * MS);
            writer.end();
        };
        writer.resume();
        run(&mut writer, 40);
        // The poll is 60 ms after its begin.
        let begin = Ticks(writer.last().0 + 60 * MS);
        run(&mut writer, 300);
        run(&mut writer, 5);
        let clock = writer.clock().clone();
        let extract = Extract::open(writer.page(), clock.scale(), begin, None, None);
        let now = NowValues { busy_callbacks: 900, busy_ns: 245 * MS, ..NowValues::IDLE };
        let [sum] = extract.groups.sums(&now, now.busy_ns)[..] else { panic!("one group") };
        assert_eq!((sum.count, sum.total_ns, sum.longest_ns), (2, 245 * MS, 240 * MS));
        let mut incident = Incident::default();
        extract.fill(&mut incident, &mut SiteLabels::of(writer.page()), &NowValues::IDLE);
        let told: Vec<_> = incident.records.iter().map(|record| (record.start_ns, record.run_ns)).collect();
        let ms = MS as i64;
        assert_eq!(told, [(-100 * ms, 40 * MS), (-60 * ms, 300 * MS), (240 * ms, 5 * MS)]);
    }
}
