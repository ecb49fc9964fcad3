//! Builds the record of an incident from copies of a page: a stall, a starvation or a saturated pool.
//!
//! There is one builder, so that an incident reads alike whoever made it: the agent, which looks again and again while it
//! lasts and adds what only it knows (stacks, the thread's accounts, figures of before), and the black box, which has one
//! copy of the page.

mod extract;
mod job_sums;
mod pool;
mod site_labels;

use crate::compute::figures::of_busy_period;
use crate::compute::groups::{GroupSum, summary};
use crate::compute::verdict::{Cause, Verdict};
use crate::incident::{Group, Incident, IncidentKind, PoolState, Severity, Span};
use crate::incident_builder::extract::Extract;
use crate::incident_builder::site_labels::SiteLabels;
use crate::words::{RuntimeWords, thousands};
use loopscope_probe::description::{Description, Fact, Term, Trouble};
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::loop_id::LoopId;
use loopscope_probe::raw::open_spans::OpenSpan;
use loopscope_probe::raw::pool::JobNow;
use loopscope_probe::{Clock, NowValues, Page, Ticks, Vitals};
use std::sync::Arc;

/// Groups told.
const GROUPS_MAX: usize = 16;

/// One reading of a loop's page, and what its reader knows beside it.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Label of the loop, as in the metrics.
    pub label: &'a str,
    /// Its number among the loops of its process: see [`LoopId`].
    pub ordinal: u32,
    /// The page, or a copy of it.
    pub page: &'a Page,
    /// The page's own.
    pub clock: &'a Clock,
    /// What the page said at `taken`.
    pub vitals: &'a Vitals,
    /// The moment on `clock`.
    pub taken: Ticks,
    /// The same in nanoseconds since 1970.
    pub unix_ns: u64,
    /// Age at which a busy period is a stall, in nanoseconds.
    pub warning_ns: u64,
    /// Age at which it is critical, in nanoseconds.
    pub critical_ns: u64,
}

/// An incident being built.
#[derive(Debug)]
pub struct IncidentBuilder {
    /// What is known so far, without the extract of the recorder.
    pub incident: Incident,
    /// Begin of the busy period or of the saturation.
    begin: Ticks,
    extract: Extract,
    /// What ran at the last observation, and what the pool ran.
    now: NowValues,
    jobs_now: Vec<JobNow>,
    /// When that was.
    taken: Ticks,
    runtime: Arc<Description>,
    /// The thread sleeps until another one wakes it, as the program wants.
    is_thread_wait: bool,
    /// Captures have found one job running for longer than the threshold.
    has_long_job: bool,
}

impl IncidentBuilder {
    /// Opens an incident that began at `begin` and is `age_ns` old. What began after `until` is not its own. `id` has the
    /// process: in a forked child the page tells its parent's until it is made anew.
    pub fn open(
        seen: &Observation<'_>,
        id: IncidentId,
        begin: Ticks,
        age_ns: u64,
        until: Option<Ticks>,
    ) -> IncidentBuilder {
        let facts = seen.page.facts();
        let incident = Incident {
            id: id.short(),
            loop_id: LoopId::new(id.process(), seen.ordinal),
            pid: id.process().pid(),
            process: facts.process,
            r#loop: seen.label.to_owned(),
            worker: facts.worker.filter(|_| !facts.group.is_empty()),
            group: facts.group,
            runtime: facts.runtime,
            words: RuntimeWords::of(&facts.description),
            begin_unix_ns: seen.unix_ns.saturating_sub(seen.clock.duration_ns(begin, seen.taken)),
            duration_ns: age_ns,
            threshold_ns: seen.warning_ns,
            pool: seen.vitals.pool.as_ref().map(PoolState::from),
            ..Incident::default()
        };
        // The busy period that runs has its callbacks counted.
        let first = (begin == seen.vitals.busy_since)
            .then(|| seen.vitals.records.saturating_sub(seen.vitals.now.busy_callbacks));
        let extract = Extract::open(seen.page, seen.clock.scale(), begin, until, first);
        IncidentBuilder {
            incident,
            begin,
            extract,
            now: NowValues::IDLE,
            jobs_now: Vec::new(),
            taken: seen.taken,
            runtime: facts.description,
            is_thread_wait: false,
            has_long_job: false,
        }
    }

    /// Returns when it began.
    pub fn begin(&self) -> Ticks {
        self.begin
    }

    /// Takes over what a verdict says of a stall, and what the busy period consisted of until now.
    pub fn judge(&mut self, seen: &Observation<'_>, verdict: &Verdict, now: &NowValues) {
        let mut labels = SiteLabels::of(seen.page);
        let incident = &mut self.incident;
        incident.kind = if verdict.is_flood { IncidentKind::Starvation } else { IncidentKind::Stall };
        incident.cause = verdict.cause.name().to_owned();
        incident.flood.clear();
        if verdict.is_flood {
            verdict.cause.words(&self.runtime).clone_into(&mut incident.flood);
        }
        incident.culprit = labels.culprit(verdict.kind, verdict.site);
        if let Some(running) = now.running.filter(|_| self.runtime.knows(Fact::Phases)) {
            self.runtime.phase_label(running.phase).clone_into(&mut incident.phase);
        }
        tell_groups(incident, &self.extract, &mut labels, now);
        self.judge_unknown_number();
        let spans = seen.page.open_spans();
        if !spans.is_empty() {
            self.incident.spans = spans.into_iter().map(|open| span(open, &labels)).collect();
        }
        self.now = *now;
    }

    /// Tells whether the runtime has said in which functions its thread waits for another one.
    pub fn knows_thread_waits(&self) -> bool {
        self.runtime.knows_thread_waits()
    }

    /// Says whether the thread sleeps until another one wakes it, as the program wants, and else in which `call` it sleeps. What
    /// sleeps so is starved by nothing, and however long that lasts, it is not critical.
    pub fn set_thread_wait(&mut self, is_thread_wait: bool, call: Option<&str>) {
        self.is_thread_wait = is_thread_wait;
        let name = self.runtime.noun(Term::ThreadWait).one;
        let incident = &mut self.incident;
        if is_thread_wait {
            (incident.kind, incident.waiting_in) = (IncidentKind::Stall, Some(name));
            let remedy = self.runtime.remedy_for(Trouble::ThreadWait).unwrap_or_default();
            if !remedy.is_empty() && !incident.notes.iter().any(|note| note == remedy) {
                incident.notes.push(remedy.to_owned());
            }
        } else if incident.waiting_in.as_ref() == Some(&name) {
            incident.waiting_in = call.map(str::to_owned);
        }
    }

    /// Says what captures have found running in a drain or batch whose number of jobs the page does not tell: so many different
    /// jobs, of which one was there for `longest_ns`.
    pub fn set_jobs(&mut self, different: u64, longest_ns: u64) {
        self.incident.jobs_captured = Some(different);
        self.has_long_job = longest_ns > self.incident.threshold_ns;
        self.judge_unknown_number();
    }

    /// Of how many jobs a drain or batch is, the page may not tell. One that is a stall by itself is not one of many.
    fn judge_unknown_number(&mut self) {
        let incident = &mut self.incident;
        let is_flood = incident.kind == IncidentKind::Starvation;
        if self.has_long_job && is_flood && incident.is_of_unknown_number() {
            (incident.kind, incident.cause) = (IncidentKind::Stall, Cause::Callback.name().to_owned());
            incident.flood.clear();
        }
    }

    /// Takes over the age of a stall under way.
    pub fn grow(&mut self, seen: &Observation<'_>) {
        let now = seen.vitals.now;
        (self.incident.duration_ns, self.incident.expected_ns) = (now.busy_ns, now.expected_ns);
        self.update_severity(seen, now.unexpected_ns());
        self.now = now;
    }

    /// Copies what the recorder has got since; what began after `until` is not the incident's.
    pub fn extend(&mut self, page: &Page, until: Option<Ticks>) {
        self.extract.extend(page, until);
    }

    /// Closes it: it lasted for `ns`.
    pub fn close(&mut self, seen: &Observation<'_>, ns: u64) {
        self.incident.duration_ns = ns;
        self.incident.is_over = true;
        self.now = NowValues::IDLE;
        self.jobs_now.clear();
        if self.incident.kind != IncidentKind::Pool {
            let mut labels = SiteLabels::of(seen.page);
            let callbacks = tell_groups(&mut self.incident, &self.extract, &mut labels, &NowValues::IDLE);
            self.judge_flood_at_end();
            self.incident.during = of_busy_period(ns, callbacks).known(&self.runtime);
        }
        self.update_severity(seen, ns.saturating_sub(self.incident.expected_ns));
    }

    /// Returns the incident as it is known now, with the extract. `page` names the sites. What a stall under way consists of is of
    /// the same moment as its age.
    pub fn whole(&self, page: &Page) -> Incident {
        let mut incident = self.incident.clone();
        let mut labels = SiteLabels::of(page);
        if !incident.is_over && incident.kind != IncidentKind::Pool {
            tell_groups(&mut incident, &self.extract, &mut labels, &self.now);
        }
        self.extract.fill(&mut incident, &mut labels, &self.now);
        incident
            .jobs
            .extend(self.jobs_now.iter().map(|job| self.extract.running_job(job, self.taken, &mut labels)));
        incident
    }

    /// What stands for many jobs tells their number when it is over. Was it one that took most of the time, then that blocked the
    /// loop, and nothing starved it.
    fn judge_flood_at_end(&mut self) {
        let incident = &mut self.incident;
        let is_most = |group: &Group| group.count == Some(1) && group.total_ns > incident.duration_ns / 2;
        let is_known = incident.kind == IncidentKind::Starvation && incident.unobserved == 0;
        if is_known && incident.groups.iter().any(is_most) {
            (incident.kind, incident.cause) = (IncidentKind::Stall, Cause::Callback.name().to_owned());
            incident.flood.clear();
        }
    }

    /// Raises the severity as the stall gets older.
    fn update_severity(&mut self, seen: &Observation<'_>, age_ns: u64) {
        if self.is_thread_wait {
            return;
        }
        self.incident.severity = self.incident.severity.max(Severity::of_stall(age_ns, seen.critical_ns));
    }
}

/// Tells what the busy period consisted of, in words and in groups. Returns how many callbacks that were.
fn tell_groups(
    incident: &mut Incident,
    extract: &Extract,
    labels: &mut SiteLabels<'_>,
    now: &NowValues,
) -> u64 {
    let sums = extract.groups.sums(now, incident.duration_ns);
    let runtime = &labels.runtime();
    incident.summary = summary(&sums, incident.duration_ns, runtime, |site| labels.label(site));
    let unseen = extract.groups.unseen(now);
    incident.unobserved = unseen;
    if sums.is_empty() && unseen > 0 {
        let noun = runtime.callback().of(unseen).to_owned();
        incident.summary = format!("{} {noun}, none of them observed", thousands(unseen));
    }
    incident.groups = sums.iter().take(GROUPS_MAX).map(|sum| group(sum, labels)).collect();
    sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.count)).max(unseen)
}

fn group(sum: &GroupSum, labels: &mut SiteLabels<'_>) -> Group {
    Group {
        kind: labels.kind(sum.kind),
        label: labels.label(sum.site),
        parent: labels.known_label(sum.parent),
        count: sum.is_counted.then_some(sum.count),
        total_ns: sum.total_ns,
        longest_ns: (sum.longest_ns > 0).then_some(sum.longest_ns),
    }
}

fn span(open: OpenSpan, labels: &SiteLabels<'_>) -> Span {
    let fields = open.fields;
    match labels.site(open.site) {
        Some(site) => Span { name: site.name, fields, file: site.file, line: site.line },
        None => Span { name: "?".to_owned(), fields, ..Span::default() },
    }
}
