//! The black box: from a page alone, the incident in whose middle its process ended.
//!
//! A process that was killed while its loop was blocked leaves no agent to tell, but its page still says what ran, since
//! when, in which spans, and what ran before. What only an agent knows (stacks, processor time) is missing, and the
//! incident says so.

use crate::compute::starvation::{Verdict, judge};
use crate::diagnose::words;
use crate::duration::show_ns;
use crate::incident::{
    Culprit, Group, Incident, IncidentKind, Iteration, Job, PoolState, Record as Told, Severity, Span,
};
use loopscope_probe::jobs::JobRecord;
use loopscope_probe::record::Record;
use loopscope_probe::{Clock, Kind, Page, SiteId, Ticks, Vitals};
use std::collections::HashMap;

/// Callbacks, iterations and jobs that end in the second before the begin are told.
const BEFORE_NS: u64 = 1_000_000_000;

/// At most so many callbacks, the last ones.
const RECORDS_MAX: usize = 512;

/// At most so many groups, the longest in sum.
const GROUPS_MAX: usize = 16;

/// Returns what the loop was in the middle of at `at`, the last moment that is known of it, on `clock`, the page's own.
///
/// The duration is that until `at`: the least that it was. It is 0 where the loop was in its poll. The id is
/// `PID-LOOP`: an agent numbers its incidents, this one has none to number it.
pub fn reconstruct(page: &Page, clock: &Clock, at: Ticks) -> Incident {
    let (facts, vitals) = (page.facts(), page.vitals_at(clock, at));
    let now = vitals.now;
    let is_busy = now.busy_ns > 0;
    let begin = if is_busy { vitals.busy_since } else { at };
    let records = page.records(0);
    let verdict = judge(begin, now.busy_ns, &now, &records, clock.scale());
    let unexpected_ns = now.unexpected_ns();
    let is_critical = unexpected_ns > page.control().critical_ns();
    let mut incident = Incident {
        id: format!("{}-{}", facts.pid, facts.name),
        pid: facts.pid,
        process: facts.process,
        r#loop: facts.name,
        runtime: facts.runtime,
        begin_unix_ns: facts.created_unix_ns.saturating_add(clock.duration_ns(page.created(), begin)),
        duration_ns: now.busy_ns,
        expected_ns: now.expected_ns,
        is_over: false,
        threshold_ns: page.control().warning_ns(),
        severity: if is_critical { Severity::Critical } else { Severity::Warning },
        kind: if verdict.runs > 1 { IncidentKind::Starvation } else { IncidentKind::Stall },
        cause: verdict.cause.name().to_owned(),
        phase: now.running.map_or(String::new(), |running| running.phase.name().to_owned()),
        pool: vitals.pool.map(|pool| PoolState {
            threads: pool.threads,
            running: pool.running,
            queued: pool.queued,
            oldest_wait_ns: pool.oldest_wait_ns,
        }),
        notes: vec![
            "reconstructed from the page of the ended process: there are no stacks, and it lasted at least this long"
                .to_owned(),
        ],
        ..Incident::default()
    };
    if is_busy {
        let places = Places { page };
        incident.culprit = places.culprit(&verdict);
        incident.groups = groups(&places, &records, &vitals, clock);
        incident.summary = summary(&verdict, now.busy_ns, &incident.culprit);
        incident.spans = spans(page);
    }
    extract(&mut incident, page, clock, &records, begin, &vitals);
    incident
}

/// Returns what the loop of a process that lives, and has no agent, is in the middle of; as [`reconstruct`] otherwise.
pub fn under_way(page: &Page, clock: &Clock, now: Ticks) -> Incident {
    let note = "read from the page, now: the process has no agent that knows more";
    Incident { notes: vec![note.to_owned()], ..reconstruct(page, clock, now) }
}

/// Returns the last moment at which the loop of an ended process is known to have lived: its last stamp, or the last tick
/// of its agent, which went on while the loop was blocked. At most `now`, on `clock`, the page's own.
pub fn last_moment(page: &Page, clock: &Clock, now: Ticks) -> Ticks {
    let running = page.now_values(now, clock).running.map_or(Ticks::NONE, |running| running.since);
    let recorded = page.records(0).last().map_or(Ticks::NONE, |record| record.end);
    let agent_ns = page.control().tick_unix_ns().saturating_sub(page.facts().created_unix_ns);
    let ticked = Ticks(page.created().0.saturating_add(clock.scale().ticks(agent_ns)));
    running.max(recorded).max(ticked).max(page.created()).min(now)
}

/// The page's sites, by name and place.
struct Places<'a> {
    page: &'a Page,
}

impl Places<'_> {
    fn label(&self, id: SiteId) -> String {
        self.page.sites().read_one(id).map_or_else(|| "?".to_owned(), |site| site.label())
    }

    fn known_label(&self, id: SiteId) -> Option<String> {
        (id != SiteId::NONE).then(|| self.label(id))
    }

    fn culprit(&self, verdict: &Verdict) -> Culprit {
        let site = self.page.sites().read_one(verdict.site).filter(|_| verdict.kind.is_some());
        Culprit {
            kind: verdict.kind.map_or("main", kind_name).to_owned(),
            label: site.as_ref().map_or_else(|| "?".to_owned(), |site| site.label()),
            name: site.as_ref().map_or_else(String::new, |site| site.name.clone()),
            file: site.as_ref().map_or_else(String::new, |site| site.file.clone()),
            line: site.map_or(0, |site| site.line),
        }
    }
}

fn kind_name(kind: Kind) -> &'static str {
    kind.queue().map_or(kind.name(), |queue| queue.name())
}

fn summary(verdict: &Verdict, busy_ns: u64, culprit: &Culprit) -> String {
    match verdict.runs {
        0 => format!("code outside any callback for at least {}", show_ns(busy_ns)),
        1 => format!("1 callback of at least {}", show_ns(verdict.longest_ns)),
        runs => format!(
            "{} of {}: most are {} {}",
            words::count(runs, "callback"),
            show_ns(busy_ns / runs),
            culprit.kind,
            culprit.label
        ),
    }
}

/// Returns what the stretch consisted of, as far as the recorder still has it; the running callback included.
fn groups(places: &Places<'_>, records: &[Record], vitals: &Vitals, clock: &Clock) -> Vec<Group> {
    let mut by_site: HashMap<(SiteId, Kind, SiteId), Group> = HashMap::new();
    let mut add = |site: SiteId, kind: Kind, parent: SiteId, ns: u64| {
        let group = by_site.entry((site, kind, parent)).or_insert_with(|| Group {
            kind: kind_name(kind).to_owned(),
            label: places.label(site),
            parent: places.known_label(parent),
            ..Group::default()
        });
        group.count += 1;
        group.total_ns = group.total_ns.saturating_add(ns);
        group.longest_ns = group.longest_ns.max(ns);
    };
    for record in records.iter().filter(|record| record.start >= vitals.busy_since) {
        add(record.site, record.kind, record.parent, clock.duration_ns(record.start, record.end));
    }
    if let Some(running) = vitals.now.running
        && let Some(kind) = running.kind
    {
        add(running.site, kind, SiteId::NONE, vitals.now.running_ns);
    }
    let mut groups: Vec<Group> = by_site.into_values().collect();
    groups.sort_by(|a, b| b.total_ns.cmp(&a.total_ns).then_with(|| a.label.cmp(&b.label)));
    groups.truncate(GROUPS_MAX);
    groups
}

fn spans(page: &Page) -> Vec<Span> {
    let told = page.open_spans().into_iter().map(|span| {
        let site = page.sites().read_one(span.site);
        Span {
            name: site.as_ref().map_or_else(|| "?".to_owned(), |site| site.name.clone()),
            fields: span.fields,
            file: site.as_ref().map_or_else(String::new, |site| site.file.clone()),
            line: site.map_or(0, |site| site.line),
        }
    });
    told.collect()
}

/// Adds the last callbacks, iterations and jobs.
fn extract(
    incident: &mut Incident,
    page: &Page,
    clock: &Clock,
    records: &[Record],
    begin: Ticks,
    vitals: &Vitals,
) {
    let around = Around { places: Places { page }, clock, begin };
    let recent: Vec<&Record> = records.iter().filter(|record| around.is_recent(record.end)).collect();
    let told = &recent[recent.len().saturating_sub(RECORDS_MAX)..];
    incident.records_lost = (recent.len() - told.len()) as u64;
    incident.records = told.iter().map(|record| around.record(record)).collect();
    incident.records.extend(around.running(vitals));
    let iterations = page.iterations(0).into_iter().filter(|iteration| around.is_recent(iteration.end));
    incident.iterations = iterations
        .map(|iteration| Iteration {
            number: iteration.number,
            start_ns: around.relative(iteration.begin),
            busy_ns: clock.duration_ns(iteration.begin, iteration.end),
            events: iteration.events,
        })
        .collect();
    let jobs = page.jobs(0).into_iter().filter(|job| around.is_recent(job.ended));
    incident.jobs = jobs.map(|job| around.job(&job)).collect();
}

/// What happened around a moment, told relative to it.
struct Around<'a> {
    places: Places<'a>,
    clock: &'a Clock,
    begin: Ticks,
}

impl Around<'_> {
    fn relative(&self, moment: Ticks) -> i64 {
        let (after, before) =
            (self.clock.duration_ns(self.begin, moment), self.clock.duration_ns(moment, self.begin));
        i64::try_from(after).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
    }

    fn is_recent(&self, end: Ticks) -> bool {
        self.clock.duration_ns(end, self.begin) <= BEFORE_NS
    }

    fn record(&self, record: &Record) -> Told {
        let is_ready_known = record.ready != Ticks::NONE;
        Told {
            start_ns: self.relative(record.start),
            run_ns: self.clock.duration_ns(record.start, record.end),
            wait_ns: is_ready_known.then(|| self.clock.duration_ns(record.ready, record.start)),
            kind: kind_name(record.kind).to_owned(),
            phase: record.phase.name().to_owned(),
            site: self.places.label(record.site),
            parent: self.places.known_label(record.parent),
            is_running: false,
        }
    }

    fn running(&self, vitals: &Vitals) -> Option<Told> {
        let running = vitals.now.running?;
        Some(Told {
            start_ns: self.relative(running.since),
            run_ns: vitals.now.running_ns,
            wait_ns: None,
            kind: kind_name(running.kind?).to_owned(),
            phase: running.phase.name().to_owned(),
            site: self.places.label(running.site),
            parent: None,
            is_running: true,
        })
    }

    fn job(&self, job: &JobRecord) -> Job {
        Job {
            start_ns: self.relative(job.started),
            run_ns: self.clock.duration_ns(job.started, job.ended),
            wait_ns: self.clock.duration_ns(job.submitted, job.started),
            kind: job.kind.name().to_owned(),
            site: self.places.label(job.site),
            worker: job.worker,
            is_ok: job.is_ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Life, Phase, Queue, VirtualClock, Writer, spans as probe_spans};
    use std::panic::Location;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_page_tells_what_its_loop_was_in_the_middle_of() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let (read, flush) = (
            writer.named_site(Location::caller(), Kind::IoRead, "read"),
            writer.named_site(Location::caller(), Kind::Timer, "flush"),
        );
        let _spans = writer.install_spans();
        writer.resume();
        writer.phase(Phase::Poll);
        writer.begin(Kind::IoRead, read, Life::UNKNOWN);
        time.advance_ns(2 * MS);
        writer.end();
        writer.park();
        time.advance_ns(10 * MS);
        writer.unpark(1);
        writer.phase(Phase::Timers);
        writer.begin(Kind::Timer, flush, Life::UNKNOWN);
        let _span = probe_spans::enter(probe_spans::site("query", "db.rs", 3).unwrap(), "id=7").unwrap();
        time.advance_ns(2_000 * MS);
        let clock = writer.clock().clone();
        let incident = reconstruct(writer.page(), &clock, clock.now());
        assert_eq!((incident.id.as_str(), incident.is_over), (&*format!("{}-web", incident.pid), false));
        assert_eq!((incident.duration_ns, incident.severity), (2_000 * MS, Severity::Critical));
        assert_eq!(
            (incident.kind, incident.cause.as_str(), incident.phase.as_str()),
            (IncidentKind::Stall, "callback", "timers")
        );
        assert_eq!((incident.culprit.name.as_str(), incident.culprit.kind.as_str()), ("flush", "timer"));
        assert_eq!(incident.summary, "1 callback of at least 2.0 s");
        assert_eq!((incident.spans[0].name.as_str(), incident.spans[0].fields.as_str()), ("query", "id=7"));
        let told: Vec<_> = incident
            .records
            .iter()
            .map(|record| (record.start_ns, record.run_ns, record.is_running))
            .collect();
        assert_eq!(told, [(-12 * MS as i64, 2 * MS, false), (0, 2_000 * MS, true)]);
        assert_eq!((incident.iterations.len(), incident.groups.len()), (1, 1));
    }

    #[test]
    fn a_flood_is_told_as_one_and_an_idle_loop_as_idle() {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(Location::caller(), Kind::Microtask, "again");
        writer.resume();
        writer.drain_begin(Queue::Microtask, 1);
        for _ in 0..900 {
            writer.begin(Kind::Microtask, site, Life::UNKNOWN);
            time.advance_ns(MS);
            writer.end();
        }
        let clock = writer.clock().clone();
        let flood = reconstruct(writer.page(), &clock, clock.now());
        assert_eq!((flood.kind, flood.groups[0].count), (IncidentKind::Starvation, 900));
        assert!(
            flood.summary.starts_with("900 callbacks of 1.0 ms: most are microtask again ("),
            "{}",
            flood.summary
        );
        assert_eq!((flood.records.len(), flood.records_lost), (RECORDS_MAX, 900 - RECORDS_MAX as u64));
        writer.drain_end(Queue::Microtask, 900);
        writer.park();
        time.advance_ns(5 * MS);
        let idle = reconstruct(writer.page(), &clock, clock.now());
        assert_eq!((idle.duration_ns, idle.culprit.label.as_str(), idle.groups.len()), (0, "", 0));
        assert_eq!(idle.records.len(), RECORDS_MAX);
    }
}
