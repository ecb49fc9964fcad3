//! One incident while it is open: what is known of it, and what was said.

use crate::watch::desk::Desk;
use crate::watch::extract::Extract;
use crate::watch::namer::Named;
use crate::watch::places::Places;
use crate::watch::report::{Moment, Report};
use crate::watch::sight::Found;
use loopscope_probe::pool::PoolNow;
use loopscope_probe::{Clock, NowValues, Page, Ticks, Vitals};
use loopscope_report::compute::class::{Evidence, classify};
use loopscope_report::compute::figures::of_stretch;
use loopscope_report::compute::groups::{GroupSum, summary};
use loopscope_report::compute::starvation::{Cause, Verdict};
use loopscope_report::incident::{Group, Incident, IncidentKind, PoolState, Severity, Span, StackCount};

/// Groups told.
const GROUPS_TOLD: usize = 16;

/// Names that have not come this long after the end, in nanoseconds, will not come: debug information of some hundred
/// MiB takes seconds.
const NAMES_GIVEN_UP_NS: u64 = 30_000_000_000;

/// Different stacks kept of one incident, and ages of each.
const STACKS_MAX: usize = 16;
const AGES_MAX: usize = 16;

/// What a look at a loop knows.
pub(crate) struct At<'a> {
    pub label: &'a str,
    pub page: &'a Page,
    pub clock: &'a Clock,
    /// The loop's thread.
    pub tid: u32,
    pub vitals: &'a Vitals,
    /// Now: on the page's clock, on the agent's, and since 1970.
    pub taken: Ticks,
    pub now_ns: u64,
    pub unix_ns: u64,
    pub critical_ns: u64,
    pub warning_ns: u64,
    /// Share of the machine's busy time that the hypervisor gave to others.
    pub steal_ratio: f64,
}

/// Whether the begin was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// The budget of the minute was used up.
    Refused,
    /// It waits for the names of the stack until this moment on the agent's clock.
    Waits {
        until_ns: u64,
    },
    Said,
}

/// An open incident.
#[derive(Debug)]
pub(crate) struct Case {
    /// Number of the incident within the process.
    pub number: u64,
    pub incident: Incident,
    /// Begin of the busy stretch.
    pub begin: Ticks,
    pub extract: Extract,
    pub announced: Announced,
    /// Age at which it was found, in nanoseconds.
    found_ns: u64,
    has_said_end: bool,
    /// Actions have had it complete, with its end and all names.
    has_acted_on_end: bool,
    /// Captures whose names have not come.
    pub names_due: u32,
    /// When it was over, on the agent's clock.
    pub over_ns: Option<u64>,
    /// What ran at the last look.
    now: NowValues,
    /// What it was classed by.
    evidence: Evidence,
}

impl Case {
    /// Opens an incident that began at `begin` and is `age_ns` old.
    pub(crate) fn open(
        at: &At<'_>,
        desk: &mut Desk,
        begin: Ticks,
        age_ns: u64,
        until: Option<Ticks>,
    ) -> Case {
        let (facts, number) = (at.page.facts(), desk.next_number());
        let incident = Incident {
            // Of the process that watches: in a forked child the page tells its parent's pid until it is made anew.
            id: format!("{}-{number}", std::process::id()),
            pid: std::process::id(),
            process: facts.process,
            r#loop: at.label.to_owned(),
            runtime: facts.runtime,
            begin_unix_ns: at.unix_ns.saturating_sub(at.clock.ns_between(begin, at.taken)),
            duration_ns: age_ns,
            threshold_ns: at.warning_ns,
            pool: at.vitals.pool.as_ref().map(pool_state),
            ..Incident::default()
        };
        Case {
            number,
            incident,
            begin,
            extract: Extract::open(at.page, at.clock.scale(), begin, until),
            announced: Announced::Refused,
            found_ns: age_ns,
            has_said_end: false,
            has_acted_on_end: false,
            names_due: 0,
            over_ns: None,
            now: NowValues::IDLE,
            evidence: Evidence::default(),
        }
    }

    /// Takes over what a verdict says, and what the stretch consisted of until now.
    pub(crate) fn judge(&mut self, at: &At<'_>, verdict: &Verdict, now: &NowValues) {
        let mut places = Places::of(at.page);
        let incident = &mut self.incident;
        let is_one = verdict.cause == Cause::Callback && verdict.runs <= 1;
        incident.kind = if is_one { IncidentKind::Stall } else { IncidentKind::Starvation };
        incident.cause = verdict.cause.name().to_owned();
        incident.culprit = places.culprit(verdict.kind, verdict.site);
        if let Some(running) = now.running {
            incident.phase = running.phase.name().to_owned();
        }
        let sums = self.extract.groups.sums(now);
        incident.summary = summary(&sums, incident.duration_ns, |site| places.label(site));
        incident.groups = sums.iter().take(GROUPS_TOLD).map(|sum| group(sum, &mut places)).collect();
        let spans = at.page.open_spans();
        if !spans.is_empty() {
            let span = |open: &loopscope_probe::open::OpenSpan| {
                let site = places.site(open.site);
                Span {
                    name: site.as_ref().map(|site| site.name.clone()).unwrap_or_default(),
                    fields: open.fields.clone(),
                    line: site.as_ref().map_or(0, |site| site.line),
                    file: site.map(|site| site.file).unwrap_or_default(),
                }
            };
            incident.spans = spans.iter().map(span).collect();
        }
        self.now = *now;
    }

    /// Takes over the age of a stall under way.
    pub(crate) fn grow(&mut self, at: &At<'_>) {
        let now = at.vitals.now;
        (self.incident.duration_ns, self.incident.expected_ns) = (now.busy_ns, now.expected_ns);
        self.worsen(at, now.unexpected_ns());
        self.now = now;
    }

    /// Raises the severity where the age asks for it.
    pub(crate) fn worsen(&mut self, at: &At<'_>, age_ns: u64) {
        if age_ns > at.critical_ns {
            self.incident.severity = Severity::Critical;
        }
    }

    /// Takes over how the thread was found.
    pub(crate) fn found(&mut self, found: &Found) {
        if found.is_asleep == Some(true) {
            // The first one: a later look may fall on the moment at which the stall ends, and find the wait after it.
            self.incident.waiting_in = self.incident.waiting_in.take().or(found.waiting_in.clone());
        }
    }

    /// Takes over what the thread used, and classes the incident.
    pub(crate) fn class(&mut self, evidence: &Evidence) {
        let incident = &mut self.incident;
        (incident.watched_ns, incident.cpu_ns) = (evidence.watched_ns, evidence.cpu_ns);
        incident.runqueue_ns = evidence.runqueue_ns;
        incident.class = classify(evidence);
        self.evidence = *evidence;
        for (ns, words) in [
            (evidence.standstill_ns, "the process stood still for"),
            (evidence.suspended_ns, "the machine was suspended for"),
        ] {
            if ns > 0 {
                incident.notes.retain(|note| !note.starts_with(words));
                incident.notes.push(format!("{words} {}", loopscope_report::duration::show_ns(ns)));
            }
        }
    }

    /// Classes it once more when it is over, after a last gap that nobody watched for so long.
    pub(crate) fn class_at_end(&mut self, last: &Evidence) {
        let age_ns = self.incident.duration_ns;
        let evidence = Evidence {
            age_ns,
            standstill_ns: (self.evidence.standstill_ns + last.standstill_ns).min(age_ns),
            suspended_ns: (self.evidence.suspended_ns + last.suspended_ns).min(age_ns),
            is_stopped: false,
            ..self.evidence
        };
        self.class(&evidence);
    }

    /// Closes it: it lasted for `ns`.
    pub(crate) fn close(&mut self, at: &At<'_>, ns: u64) {
        self.incident.duration_ns = ns;
        self.incident.is_over = true;
        self.over_ns = Some(at.now_ns);
        self.now = NowValues::IDLE;
        if self.incident.kind != IncidentKind::Pool {
            let sums = self.extract.groups.sums(&NowValues::IDLE);
            self.incident.during = of_stretch(ns, sums.iter().map(|sum| sum.count).sum());
            let mut places = Places::of(at.page);
            self.incident.summary = summary(&sums, ns, |site| places.label(site));
            self.incident.groups = sums.iter().take(GROUPS_TOLD).map(|sum| group(sum, &mut places)).collect();
        }
        let unexpected_ns = ns.saturating_sub(self.incident.expected_ns);
        self.worsen(at, unexpected_ns);
    }

    /// A capture brought nothing.
    pub(crate) fn capture_failed(&mut self, why: String) {
        if !self.incident.captures_failed.contains(&why) {
            self.incident.captures_failed.push(why);
        }
    }

    /// Adds a stack, or better names for one.
    pub(crate) fn named(&mut self, named: &Named) {
        self.names_due = self.names_due.saturating_sub(u32::from(named.is_final));
        if named.frames.is_empty() {
            self.incident.notes.extend(named.note.clone());
            return;
        }
        let stacks = &mut self.incident.stacks;
        let at =
            stacks.iter().position(|stack| stack.fingerprint == named.fingerprint).unwrap_or_else(|| {
                let fingerprint = named.fingerprint.clone();
                stacks.push(StackCount { fingerprint, ..StackCount::default() });
                stacks.len() - 1
            });
        let stack = &mut stacks[at];
        if stack.ages_ns.last() != Some(&named.age_ns) {
            stack.count += 1;
            if stack.ages_ns.len() < AGES_MAX {
                stack.ages_ns.push(named.age_ns);
            }
        }
        if named.is_final || stack.frames.is_empty() {
            (stack.frames, stack.guilty) = (named.frames.clone(), named.guilty);
        }
        stack.note = named.note.clone();
        // The most frequent first; of equals the first that was found.
        stacks.sort_by_key(|stack| std::cmp::Reverse(stack.count));
        stacks.truncate(STACKS_MAX);
    }

    /// Puts its present state on the shelf, and on disk where asked for.
    pub(crate) fn publish(&mut self, page: &Page, desk: &mut Desk, is_for_disk: bool) {
        let mut incident = self.incident.clone();
        self.extract.fill(&mut incident, &mut Places::of(page), &self.now);
        desk.keep(incident, is_for_disk);
    }

    /// Says what is due: the begin once the names are there, then the end.
    pub(crate) fn speak(&mut self, now_ns: u64, desk: &mut Desk) {
        if let Announced::Waits { until_ns } = self.announced
            && (self.names_due == 0 || now_ns >= until_ns)
        {
            let moment = if self.incident.was_missed { Moment::Missed } else { Moment::Begin };
            self.say(moment, self.found_ns, desk);
            if !self.incident.is_over {
                self.act(desk);
            }
            self.announced = Announced::Said;
            // One that was found too late has only one line.
            self.has_said_end = self.incident.was_missed;
        }
        if self.announced == Announced::Said && self.incident.is_over && !self.has_said_end {
            self.has_said_end = true;
            self.say(Moment::End, self.incident.duration_ns, desk);
        }
        // The line does not wait for names; who acts on the record wants it complete.
        let is_complete = self.names_due == 0 || self.are_names_given_up(now_ns);
        if self.has_said_end && is_complete && !self.has_acted_on_end {
            self.has_acted_on_end = true;
            self.act(desk);
        }
    }

    /// Tells whether nothing more will come of it: it is over, and said, and all its stacks have names.
    /// Names that do not come are not waited for for ever.
    pub(crate) fn is_done(&self, now_ns: u64) -> bool {
        let is_silent = match self.announced {
            Announced::Waits { .. } => false,
            Announced::Refused => true,
            Announced::Said => self.has_acted_on_end,
        };
        self.incident.is_over && is_silent && (self.names_due == 0 || self.are_names_given_up(now_ns))
    }

    fn are_names_given_up(&self, now_ns: u64) -> bool {
        self.over_ns.is_some_and(|over_ns| now_ns.saturating_sub(over_ns) > NAMES_GIVEN_UP_NS)
    }

    /// Says that it still lasts, where its begin was said.
    pub(crate) fn say_lasts(&self, times: u64, desk: &mut Desk) {
        if self.announced == Announced::Said {
            desk.said.push(Report::new(Moment::Lasts(times), &self.incident, self.incident.duration_ns));
        }
    }

    fn say(&self, moment: Moment, age_ns: u64, desk: &mut Desk) {
        desk.said.push(Report::new(moment, &self.incident, age_ns));
    }

    fn act(&self, desk: &mut Desk) {
        if let Some(told) = desk.shelf.find(&self.incident.id) {
            desk.acts.push(told);
        }
    }
}

fn group(sum: &GroupSum, places: &mut Places<'_>) -> Group {
    Group {
        kind: sum.kind.name().to_owned(),
        label: places.label(sum.site),
        parent: places.known_label(sum.parent),
        count: sum.count,
        total_ns: sum.total_ns,
        longest_ns: sum.longest_ns,
    }
}

pub(crate) fn pool_state(pool: &PoolNow) -> PoolState {
    PoolState {
        threads: pool.threads,
        running: pool.running,
        queued: pool.queued,
        oldest_wait_ns: pool.oldest_wait_ns,
    }
}
