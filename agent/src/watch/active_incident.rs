//! One incident while it is open: what is known of it, and what was said.

use crate::watch::incident_queue::IncidentQueue;
use crate::watch::incident_stacks;
use crate::watch::log_report::{LogReport, Moment};
use crate::watch::stack_symbolizer::Named;
use crate::watch::thread_state::Found;
use crate::watch::thread_wait::ThreadWait;
use loopscope_probe::Page;
use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_report::compute::classify::{Evidence, FoundState, Used, classify};
use loopscope_report::compute::figures::between;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Severity;
use loopscope_report::incident_builder::{IncidentBuilder, Observation};
use loopscope_report::model::history::Counters;
use loopscope_report::short_names::short_names;

/// Names that have not come this long after the end, in nanoseconds, will not come: debug information of some hundred
/// MiB takes seconds.
const NAMES_GIVEN_UP_NS: u64 = 30_000_000_000;

/// What a look at a loop knows.
pub(crate) struct At<'a> {
    pub seen: Observation<'a>,
    /// The loop's thread.
    pub tid: u32,
    /// Now, on the agent's clock.
    pub now_ns: u64,
    /// Share of the machine's busy time that the hypervisor gave to others.
    pub steal_ratio: f64,
    /// For how long the CPU quota of the process's cgroup had held it back, in nanoseconds: at the reading before the
    /// loop was found in trouble, and now.
    pub throttled_ns: (u64, u64),
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
pub(crate) struct ActiveIncident {
    /// Number of the incident within the process.
    pub number: u64,
    pub builder: IncidentBuilder,
    pub announced: Announced,
    /// Its age in nanoseconds when it was last classed, and how bad it was then: what a line about its begin tells,
    /// so that all of its figures are of one moment, also where it waited for the names of a stack.
    classed: (u64, Severity),
    /// That it still lasts is to be said: how many times the threshold, and until when that waits for the names of the stack.
    lasts: Option<(u64, u64)>,
    has_said_end: bool,
    /// Actions have had it complete, with its end and all names.
    has_acted_on_end: bool,
    /// Captures whose names have not come.
    pub names_due: u32,
    /// When it was over, on the agent's clock.
    pub over_ns: Option<u64>,
    /// What it was classed by.
    evidence: Evidence,
    thread_wait: ThreadWait,
    jobs: CapturedJobs,
    /// For how long a quota had held the process back before it.
    throttled_before_ns: Option<u64>,
}

impl ActiveIncident {
    /// Opens the incident that `build` makes, given its id; it was found when it was `age_ns` old.
    pub(crate) fn open(
        queue: &mut IncidentQueue,
        age_ns: u64,
        build: impl FnOnce(IncidentId) -> IncidentBuilder,
    ) -> ActiveIncident {
        let number = queue.next_number();
        let builder = build(IncidentId::new(ProcessId::this_process(), number));
        ActiveIncident {
            number,
            classed: (age_ns, builder.incident.severity),
            builder,
            announced: Announced::Refused,
            lasts: None,
            has_said_end: false,
            has_acted_on_end: false,
            names_due: 0,
            over_ns: None,
            evidence: Evidence::default(),
            thread_wait: ThreadWait::default(),
            jobs: CapturedJobs::default(),
            throttled_before_ns: None,
        }
    }

    /// Takes over how the thread was found.
    pub(crate) fn found(&mut self, found: &Found) {
        self.evidence.was_asleep |= found.state == Some(FoundState::Asleep);
        self.traced(found);
        if found.state == Some(FoundState::Asleep) && !self.evidence.is_elsewhere {
            // The first one: a later look may fall on the moment at which the stall ends, and find the wait after it.
            self.builder.incident.waiting_in =
                self.builder.incident.waiting_in.take().or(found.waiting_in.clone());
        }
        self.thread_wait.found(found);
        self.update_thread_wait();
    }

    fn update_thread_wait(&mut self) {
        self.builder.set_thread_wait(self.thread_wait.lasts(), self.thread_wait.asleep_in());
    }

    /// Takes over for how long a quota held the process back: no longer than the thread was ready and did not run.
    pub(crate) fn throttled(&mut self, (before_ns, now_ns): (u64, u64)) {
        let before_ns = *self.throttled_before_ns.get_or_insert(before_ns);
        let incident = &mut self.builder.incident;
        incident.throttled_ns = now_ns.saturating_sub(before_ns).min(incident.runqueue_ns);
    }

    /// Takes over who traces the thread: what a debugger held is not looked at before it lets go.
    pub(crate) fn traced(&mut self, found: &Found) {
        self.evidence.is_traced |= found.tracer.is_some();
        if let Some(tracer) = &found.tracer {
            let note = format!("a debugger or tracer was attached to the thread: {tracer}");
            if !self.builder.incident.notes.contains(&note) {
                self.builder.incident.notes.push(note);
            }
        }
    }

    /// Takes over what the thread used, and classes the incident.
    pub(crate) fn class(&mut self, evidence: &Evidence) {
        let evidence = Evidence {
            was_asleep: evidence.was_asleep || self.evidence.was_asleep,
            is_traced: evidence.is_traced || self.evidence.is_traced,
            is_paused: self.evidence.is_paused,
            is_elsewhere: self.evidence.is_elsewhere,
            ..*evidence
        };
        let evidence = if evidence.is_elsewhere { evidence.of_nobody() } else { evidence };
        let incident = &mut self.builder.incident;
        incident.waiting_in = incident.waiting_in.take().filter(|_| !evidence.is_elsewhere);
        (incident.watched_ns, incident.cpu_ns) = (evidence.watched_ns, evidence.cpu_ns);
        incident.runqueue_ns = evidence.runqueue_ns;
        incident.class = classify(&evidence);
        self.classed = (evidence.age_ns, incident.severity);
        self.evidence = evidence;
        for (ns, words) in [
            (evidence.standstill_ns, "the process was stopped for"),
            (evidence.suspended_ns, "the machine was suspended for"),
        ] {
            if ns > 0 {
                incident.notes.retain(|note| !note.starts_with(words));
                incident.notes.push(format!("{words} {}", show_ns(ns)));
            }
        }
    }

    /// Tells whether its thread was ready to run and did not get on when it was last looked at.
    pub(crate) fn was_ready(&self) -> bool {
        self.evidence.found == Some(FoundState::Ready)
    }

    /// Classes it once more when it is over, by what its thread had `used` then, after a last gap that nobody watched for so
    /// long: the last word counts.
    pub(crate) fn class_at_end(&mut self, used: Option<Used>, last: &Evidence) {
        let age_ns = self.builder.incident.duration_ns;
        let is_over = used.is_some();
        let Evidence { watched_ns, cpu_ns, runqueue_ns, .. } = self.evidence;
        let Used { watched_ns, cpu_ns, runqueue_ns } =
            used.unwrap_or(Used { watched_ns, cpu_ns, runqueue_ns });
        let evidence = Evidence {
            age_ns,
            watched_ns,
            cpu_ns,
            runqueue_ns,
            is_over,
            standstill_ns: (self.evidence.standstill_ns + last.standstill_ns).min(age_ns),
            suspended_ns: (self.evidence.suspended_ns + last.suspended_ns).min(age_ns),
            is_stopped: false,
            ..self.evidence
        };
        self.class(&evidence);
    }

    /// Its incident is over since now.
    pub(crate) fn closed(&mut self, now_ns: u64) {
        self.over_ns = Some(now_ns);
    }

    /// A capture brought nothing.
    pub(crate) fn capture_failed(&mut self, why: String) {
        if !self.builder.incident.captures_failed.contains(&why) {
            self.builder.incident.captures_failed.push(why);
        }
    }

    /// Adds a stack, or better names for one.
    pub(crate) fn named(&mut self, named: &Named) {
        // What came late was told before.
        let is_due = named.is_final && named.replaces.is_none();
        self.names_due = self.names_due.saturating_sub(u32::from(is_due));
        if let Some(function) = &named.handed_over_in {
            return self.was_handed_over(function);
        }
        if let Some(job) = named.job {
            self.jobs.found(job, named.age_ns);
            self.builder.set_jobs(self.jobs.different, self.jobs.longest_ns);
        }
        incident_stacks::add(&mut self.builder.incident, named);
        self.thread_wait.named(named);
        self.update_thread_wait();
        if named.is_debugger_pause && !self.evidence.is_paused {
            self.evidence.is_paused = true;
            self.builder.incident.class = classify(&self.evidence);
        }
    }

    /// The thread that was looked at had given the loop's work to another one: what it does, and what it uses, is nothing of
    /// the loop's.
    fn was_handed_over(&mut self, function: &str) {
        let lane = &self.builder.incident.words.lane;
        let why = format!(
            "the thread has given this {lane} to another one, in {}: what that one does is not known",
            short_names(function)
        );
        self.capture_failed(why);
        self.evidence.is_elsewhere = true;
        let evidence = self.evidence;
        self.class(&evidence);
    }

    /// Puts its present state in the store, and on disk where asked for.
    pub(crate) fn publish(&mut self, page: &Page, queue: &mut IncidentQueue, is_for_disk: bool) {
        queue.keep(self.builder.whole(page), is_for_disk);
    }

    /// Says what is due: the begin once the names are there, then the end.
    pub(crate) fn speak(&mut self, now_ns: u64, queue: &mut IncidentQueue) {
        if let Announced::Waits { until_ns } = self.announced
            && (self.names_due == 0 || self.are_names_enough() || now_ns >= until_ns)
        {
            let moment = if self.builder.incident.was_missed { Moment::Missed } else { Moment::Begin };
            self.say(moment, self.classed, queue);
            if !self.builder.incident.is_over {
                self.act(queue);
            }
            self.announced = Announced::Said;
            // One that was found too late has only one line.
            self.has_said_end = self.builder.incident.was_missed;
        }
        self.say_lasts(now_ns, queue);
        if self.announced == Announced::Said && self.builder.incident.is_over && !self.has_said_end {
            self.has_said_end = true;
            self.say(Moment::End, self.as_of_now(), queue);
        }
        // The line does not wait for names; who acts on the record wants it complete.
        let is_complete = self.names_due == 0 || self.are_names_given_up(now_ns);
        if self.has_said_end && is_complete && !self.has_acted_on_end {
            self.has_acted_on_end = true;
            self.act(queue);
        }
    }

    /// Tells whether the guilty function and its line are known, and better names would say the same: those of the runtime's
    /// functions may say that the thread waits for another one.
    fn are_names_enough(&self) -> bool {
        if self.may_be_thread_wait() {
            return false;
        }
        let stacks = &self.builder.incident.stacks;
        stacks.iter().filter_map(|stack| stack.guilty_frame()).any(|frame| frame.line.is_some())
    }

    /// Tells whether nothing more will come of it: it is over, and said, and all its stacks have names.
    /// Names that do not come are not waited for for ever.
    pub(crate) fn is_done(&self, now_ns: u64) -> bool {
        let is_silent = match self.announced {
            Announced::Waits { .. } => false,
            Announced::Refused => true,
            Announced::Said => self.has_acted_on_end,
        };
        self.builder.incident.is_over && is_silent && (self.names_due == 0 || self.are_names_given_up(now_ns))
    }

    fn are_names_given_up(&self, now_ns: u64) -> bool {
        self.over_ns.is_some_and(|over_ns| now_ns.saturating_sub(over_ns) > NAMES_GIVEN_UP_NS)
    }

    /// Its stack may show that the thread waits for another one.
    fn may_be_thread_wait(&self) -> bool {
        self.builder.knows_thread_waits() && self.thread_wait.asleep_in().is_some()
    }

    /// It still lasts, which is said where its begin was, by this moment on the agent's clock.
    pub(crate) fn lasts(&mut self, times: u64, until_ns: u64) {
        self.lasts = (self.announced == Announced::Said).then_some((times, until_ns));
    }

    /// Says that it still lasts. Of a wait for another thread that is no news.
    fn say_lasts(&mut self, now_ns: u64, queue: &mut IncidentQueue) {
        let Some((times, until_ns)) = self.lasts else { return };
        if self.may_be_thread_wait() && self.names_due > 0 && now_ns < until_ns {
            return;
        }
        self.lasts = None;
        if !self.builder.incident.is_over && !self.thread_wait.lasts() {
            self.say(Moment::Lasts(times), self.as_of_now(), queue);
        }
    }

    /// Returns its age and severity.
    fn as_of_now(&self) -> (u64, Severity) {
        (self.builder.incident.duration_ns, self.builder.incident.severity)
    }

    fn say(&self, moment: Moment, as_of: (u64, Severity), queue: &mut IncidentQueue) {
        queue.said.push(LogReport::new(moment, &self.builder.incident, as_of));
    }

    fn act(&self, queue: &mut IncidentQueue) {
        if let Some(told) = queue.store.find(self.builder.incident.identity()) {
            queue.acts.push(told);
        }
    }
}

/// The jobs that captures of an incident found running, one after another.
#[derive(Debug, Default)]
struct CapturedJobs {
    /// The last one, and how old the incident was when it was found first.
    last: Option<(u64, u64)>,
    different: u64,
    /// For how long one was there at least, in nanoseconds.
    longest_ns: u64,
}

impl CapturedJobs {
    /// This job ran when the incident was so old. The same capture may be told again, with better names.
    fn found(&mut self, job: u64, age_ns: u64) {
        match self.last {
            Some((last, since_ns)) if last == job => {
                self.longest_ns = self.longest_ns.max(age_ns.saturating_sub(since_ns));
            }
            _ => {
                self.last = Some((job, age_ns));
                self.different += 1;
            }
        }
    }
}

// The incident of a saturated pool while it is open, and the loop meanwhile.

/// A saturated pool, and the loop's counters when it was found.
#[derive(Debug)]
pub(crate) struct ActivePoolIncident {
    pub case: ActiveIncident,
    counters: Counters,
}

impl ActivePoolIncident {
    /// Opens the incident of a pool that has been saturated for `age_ns`.
    pub(crate) fn open(
        at: &At<'_>,
        queue: &mut IncidentQueue,
        age_ns: u64,
        counters: Counters,
    ) -> ActivePoolIncident {
        let build = |process| IncidentBuilder::open_pool(&at.seen, process, age_ns);
        ActivePoolIncident { case: ActiveIncident::open(queue, age_ns, build), counters }
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
