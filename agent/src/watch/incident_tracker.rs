//! The incidents of one loop: opened when a stall or a saturated pool is found, looked at while they last, closed.

use crate::capture::{NoCapture, Prepared};
use crate::watch::active_incident::ActivePoolIncident;
use crate::watch::active_incident::{ActiveIncident, Announced, At};
use crate::watch::capture_budget::CaptureBudget;
use crate::watch::incident_queue::IncidentQueue;
use crate::watch::log_report::LogReport;
use crate::watch::pool::PoolTurn;
use crate::watch::stack_symbolizer::{Named, Work};
use crate::watch::stall_accounting::{Gap, StallAccounting, StallEnd};
use crate::watch::thread_state::{Found, ThreadObserver};
use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::{NowValues, Page, Ticks};
use loopscope_report::compute::classify::{Evidence, FoundState, Used};
use loopscope_report::compute::figures::between;
use loopscope_report::compute::log_budget::LogBudget;
use loopscope_report::compute::stall::{End, StallEvent};
use loopscope_report::compute::verdict::Verdict;
use loopscope_report::incident::{Incident, IncidentCounts, IncidentKind, Severity};
use loopscope_report::incident_builder::{IncidentBuilder, Observation};
use loopscope_report::model::exemplar::Exemplar;
use loopscope_report::model::history::{Counters, History};
use loopscope_report::model::waits::Waits;
use loopscope_stacks::CaptureError;
use std::collections::VecDeque;

/// The line about a new incident waits so long for the names of its stack, in nanoseconds.
const NAMES_WITHIN_NS: u64 = 150_000_000;

/// A thread that has not delivered its stack within this, in nanoseconds, is not waited for.
const DELIVERY_NS: u64 = 100_000_000;

/// A stack is looked for after this many nanoseconds, for so long; it takes some 100 us.
const SOON_NS: u64 = 250_000;
const SOON_FOR_NS: u64 = 2_000_000;

/// A stack that could not be taken, because the thread changes between running and sleeping, is tried for again so often.
const TRIES: u32 = 100;

/// Names are looked for this often while a line waits for them, and when nothing waits, in nanoseconds.
const NAMES_NS: u64 = 2_000_000;
const LATE_NAMES_NS: u64 = 20_000_000;

/// Incidents that are over and wait for names; more are given up.
const CLOSING_MAX: usize = 16;

/// Places of the results in the counts of captures.
const OK: usize = 0;
const FAILED: usize = 1;
const RATE_LIMITED: usize = 2;

/// Why there is no stack.
const ENDED: &str = "the stall ended before the capture";
const UNSTEADY: &str = "the thread switches between running and sleeping too often to be captured";
const TAKEN: &str = "another capture of the loop was in progress all the time";

/// Follows one loop.
pub(crate) struct IncidentTracker {
    sight: Box<dyn ThreadObserver>,
    meter: StallAccounting,
    history: History,
    budget: LogBudget,
    captures: CaptureBudget,
    stall: Option<ActiveIncident>,
    pool: Option<ActivePoolIncident>,
    /// Over, but not done: their stacks have no names yet.
    closing: VecDeque<ActiveIncident>,
    asked: Option<Asked>,
    /// Incidents that ended since somebody asked, each with its cause.
    ended: Vec<(String, Exemplar)>,
    counts: IncidentCounts,
}

/// A stack that is wanted.
#[derive(Clone, Copy, Debug)]
struct Asked {
    number: u64,
    begin: Ticks,
    age_ns: u64,
    at_ns: u64,
    step: Step,
    tries: u32,
}

/// How far a capture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// To be tried again at the next look.
    Again,
    /// Its second step comes after this look.
    Prepared,
    /// It will arrive, or has.
    Sent,
}

impl Asked {
    /// The stack will arrive, or has.
    fn sent(&mut self, now_ns: u64) {
        self.age_ns = self.age_ns.saturating_add(now_ns.saturating_sub(self.at_ns));
        (self.step, self.at_ns) = (Step::Sent, now_ns);
    }

    /// Returns why it is given up; `None` where it is tried again.
    fn failure(&self, why: &NoCapture) -> Option<String> {
        match why {
            NoCapture::NotNow | NoCapture::Busy if self.tries < TRIES => None,
            NoCapture::NotNow => Some(UNSTEADY.to_owned()),
            NoCapture::Busy => Some(TAKEN.to_owned()),
            NoCapture::Ended => Some(ENDED.to_owned()),
            NoCapture::Failed(error) => Some(error.to_string()),
        }
    }
}

impl IncidentTracker {
    /// Logs and captures so many incidents of the loop.
    pub(crate) fn new(
        sight: Box<dyn ThreadObserver>,
        reports_per_minute: u32,
        captures_per_second: u32,
    ) -> Self {
        IncidentTracker {
            sight,
            meter: StallAccounting::default(),
            history: History::default(),
            budget: LogBudget::new(reports_per_minute),
            captures: CaptureBudget::new(captures_per_second),
            stall: None,
            pool: None,
            closing: VecDeque::new(),
            asked: None,
            ended: Vec::new(),
            counts: IncidentCounts::default(),
        }
    }

    /// Returns for how long the loop's thread was ready to run and had no processor, in nanoseconds since it began;
    /// `None` where that is not told.
    pub(crate) fn run_delay_ns(&mut self) -> Option<u64> {
        self.sight.reading(0).map(|reading| reading.runqueue_ns)
    }

    /// Returns what was counted so far.
    pub(crate) fn counts(&self) -> IncidentCounts {
        IncidentCounts { suppressed: self.budget.refused_total(), ..self.counts.clone() }
    }

    /// Returns the incident of the stall under way, where that is critical.
    pub(crate) fn critical(&self) -> Option<&Incident> {
        let incident = &self.stall.as_ref()?.builder.incident;
        (incident.severity == Severity::Critical).then_some(incident)
    }

    /// Takes one look: `turns` and `pool_turns` are what the watches found in it.
    pub(crate) fn look(
        &mut self,
        at: &At<'_>,
        gap: Gap,
        turns: Vec<StallEvent>,
        pool_turns: Vec<PoolTurn>,
        queue: &mut IncidentQueue,
    ) {
        let reading = self.sight.reading(at.now_ns);
        self.meter.look(at.seen.vitals.busy_since, reading, gap);
        if self.history.is_due(at.seen.vitals.active_ns.saturating_add(at.seen.vitals.idle_ns)) {
            self.history.push(counters(&at.seen));
        }
        self.collect(at, queue);
        for turn in turns {
            match turn {
                StallEvent::Began(verdict) => self.open_stall(at, &verdict, queue),
                StallEvent::Lasts(times, verdict) => self.stall_lasts(at, times, &verdict, queue),
                StallEvent::Ended(end) => self.close_stall(at, end, queue),
                StallEvent::Missed(end, verdict) => self.missed(at, end, &verdict, queue),
            }
        }
        if let Some(case) = &mut self.stall {
            case.builder.extend(at.seen.page, None);
            case.builder.grow(&at.seen);
        }
        for turn in pool_turns {
            self.pool_turn(at, turn, queue);
        }
        if let Some(pool) = &mut self.pool {
            pool.update(at, at.seen.clock.duration_ns(pool.case.builder.begin(), at.seen.taken));
        }
        self.speak(at.now_ns, queue);
        self.closing.retain(|case| !case.is_done(at.now_ns));
        if let Some(count) = self.budget.end_minute(at.now_ns) {
            queue.said.push(LogReport::suppressed(at.seen.label, count));
        }
    }

    /// Takes the incidents that ended since the last call, each with its cause.
    pub(crate) fn take_ended(&mut self) -> Vec<(String, Exemplar)> {
        std::mem::take(&mut self.ended)
    }

    /// Returns how soon a look is wanted because a stack or its names are on their way, in nanoseconds.
    pub(crate) fn wanted_ns(&self, now_ns: u64) -> Option<u64> {
        let all = || self.stall.iter().chain(&self.closing);
        if let Some(asked) = &self.asked {
            let is_fresh = now_ns.saturating_sub(asked.at_ns) < SOON_FOR_NS;
            return Some(if is_fresh { SOON_NS } else { NAMES_NS });
        }
        if all().any(|case| matches!(case.announced, Announced::Waits { .. })) {
            return Some(NAMES_NS);
        }
        all().any(|case| case.names_due > 0).then_some(LATE_NAMES_NS)
    }

    /// A stack has been named. Returns false where it is not one of this loop's incidents.
    pub(crate) fn named(&mut self, named: &Named, page: &Page, queue: &mut IncidentQueue) -> bool {
        let mut all = self.stall.iter_mut().chain(&mut self.closing);
        let Some(case) = all.find(|case| case.number == named.number) else { return false };
        case.named(named);
        if !case.builder.incident.stacks.is_empty() {
            self.captures.captured(&case.builder.incident);
        }
        case.publish(page, queue, named.is_final);
        true
    }

    /// Tells whether there is an incident that a look may change.
    pub(crate) fn follows_something(&self) -> bool {
        self.stall.is_some() || self.pool.is_some() || !self.closing.is_empty() || self.asked.is_some()
    }

    /// Tells whether the incident of this number is the stall under way of a loop that is busy since `busy_since`.
    pub(crate) fn lasts(&self, number: u64, busy_since: Ticks) -> bool {
        self.stall.as_ref().is_some_and(|case| case.number == number && case.builder.begin() == busy_since)
    }

    /// Puts what is under way in the store as it is now.
    pub(crate) fn refresh(&mut self, page: &Page, queue: &mut IncidentQueue) {
        for case in self.stall.iter_mut().chain(self.pool.as_mut().map(|pool| &mut pool.case)) {
            case.publish(page, queue, false);
        }
    }

    /// The loop or the agent ends: says what was not said yet. What is open stays so on disk.
    pub(crate) fn farewell(&mut self, label: &str, queue: &mut IncidentQueue) {
        self.capture_failed(None, ENDED.to_owned());
        self.speak(u64::MAX, queue);
        if let Some(count) = self.budget.give_up() {
            queue.said.push(LogReport::suppressed(label, count));
        }
    }

    fn speak(&mut self, now_ns: u64, queue: &mut IncidentQueue) {
        let open = self.stall.iter_mut().chain(self.pool.as_mut().map(|pool| &mut pool.case));
        for case in self.closing.iter_mut().chain(open) {
            case.speak(now_ns, queue);
        }
    }

    /// Asks for the thread's stack, where there is budget for one.
    fn capture(&mut self, at: &At<'_>, case: &mut ActiveIncident) {
        let incident = &mut case.builder.incident;
        incident.stacks_in = self.captures.last_of(incident).filter(|number| *number != case.number);
        // A thread that stands still with its process has nothing to tell.
        if !incident.class.may_be_code() {
            return;
        }
        if !self.captures.ask(incident, at.now_ns) {
            incident.captures_suppressed += 1;
            self.counts.captures[RATE_LIMITED] += 1;
            return;
        }
        match self.asked {
            Some(Asked { step: Step::Sent, .. }) => {
                self.counts.captures[FAILED] += 1;
                return case.capture_failed(CaptureError::InFlight.to_string());
            }
            // It is still tried for.
            Some(asked) if asked.number == case.number => return,
            Some(_) => self.capture_failed(None, ENDED.to_owned()),
            None => {}
        }
        let (number, begin, age_ns) = (case.number, case.builder.begin(), at.seen.vitals.now.busy_ns);
        let asked = Asked { number, begin, age_ns, at_ns: at.now_ns, step: Step::Again, tries: 0 };
        case.names_due += 1;
        self.asked = Some(asked);
        self.prepare(at.now_ns, Some(case));
    }

    /// The first step of the capture that is wanted. `case` is the incident that it is for, where it is in nobody's hands.
    fn prepare(&mut self, now_ns: u64, case: Option<&mut ActiveIncident>) {
        let outcome = self.sight.prepare();
        let Some(asked) = &mut self.asked else { return };
        asked.tries += 1;
        let failure = match outcome {
            Ok(Prepared::Arrived) => return asked.sent(now_ns),
            Ok(Prepared::Wanted) => return asked.step = Step::Prepared,
            Err(why) => match asked.failure(&why) {
                None => return asked.step = Step::Again,
                Some(failure) => failure,
            },
        };
        self.capture_failed(case, failure);
    }

    /// Whether a capture waits for its second step.
    pub(crate) fn is_prepared(&self) -> bool {
        self.asked.is_some_and(|asked| asked.step == Step::Prepared)
    }

    /// The second step, after the barrier.
    pub(crate) fn send(&mut self, now_ns: u64, barrier: Barrier) {
        if !self.is_prepared() {
            return;
        }
        let outcome = self.sight.send(barrier);
        let Some(asked) = &mut self.asked else { return };
        let failure = match outcome {
            Ok(()) => return asked.sent(now_ns),
            Err(why) => match asked.failure(&why) {
                None => return asked.step = Step::Again,
                Some(failure) => failure,
            },
        };
        self.capture_failed(None, failure);
    }

    /// The capture that was wanted is given up.
    fn capture_failed(&mut self, case: Option<&mut ActiveIncident>, why: String) {
        let Some(asked) = self.asked.take() else { return };
        self.counts.captures[FAILED] += 1;
        let all = self.stall.iter_mut().chain(&mut self.closing);
        let Some(case) = all.chain(case).find(|case| case.number == asked.number) else { return };
        case.names_due = case.names_due.saturating_sub(1);
        case.capture_failed(why);
    }

    /// Takes the stack that was asked for, and hands it over to be named.
    fn collect(&mut self, at: &At<'_>, queue: &mut IncidentQueue) {
        if let Some(asked) = self.asked.filter(|asked| asked.step == Step::Again) {
            // A busy period that came after the stall is not the stall's.
            return match asked.begin == at.seen.vitals.busy_since {
                true => self.prepare(at.now_ns, None),
                false => self.capture_failed(None, ENDED.to_owned()),
            };
        }
        // One that nobody waits for any more is dropped.
        let (shot, Some(asked)) = (self.sight.take(), self.asked) else { return };
        let mut all = self.stall.iter_mut().chain(&mut self.closing);
        let case = all.find(|case| case.number == asked.number);
        let failure = match &shot {
            None if at.now_ns.saturating_sub(asked.at_ns) < DELIVERY_NS => return,
            None => Some(CaptureError::NotDelivered.to_string()),
            Some(shot) if shot.busy_since != Some(asked.begin) => Some(ENDED.to_owned()),
            Some(_) => None,
        };
        self.asked = None;
        self.counts.captures[if failure.is_some() { FAILED } else { OK }] += 1;
        let Some(case) = case else { return };
        match (failure, shot.and_then(|shot| shot.sample)) {
            (None, Some(sample)) => queue.work.push(Work {
                job: None,
                number: asked.number,
                age_ns: asked.age_ns,
                loop_name: at.seen.label.to_owned(),
                runtime: case.builder.incident.runtime.clone(),
                tid: at.tid,
                busy_since: asked.begin,
                description: at.seen.page.description(),
                sample,
            }),
            (Some(why), _) => {
                case.names_due = case.names_due.saturating_sub(1);
                case.capture_failed(why);
            }
            (None, None) => {}
        }
    }

    /// Remembers an incident that is over, until it is done with.
    fn put_aside(&mut self, mut case: ActiveIncident, at: &At<'_>, queue: &mut IncidentQueue) {
        let incident = &case.builder.incident;
        let (incident_id, value_ns) = (incident.id.to_string(), incident.duration_ns);
        self.ended
            .push((incident.cause.clone(), Exemplar { incident_id, value_ns, unix_ns: at.seen.unix_ns }));
        case.speak(at.now_ns, queue);
        if !case.is_done(at.now_ns) {
            self.closing.push_back(case);
            if self.closing.len() > CLOSING_MAX {
                self.closing.pop_front();
            }
        }
    }

    fn open_stall(&mut self, at: &At<'_>, verdict: &Verdict, queue: &mut IncidentQueue) {
        let now = at.seen.vitals.now;
        let mut case = ActiveIncident::open(queue, now.busy_ns, |process| {
            IncidentBuilder::open(&at.seen, process, at.seen.vitals.busy_since, now.busy_ns, None)
        });
        case.builder.judge(&at.seen, verdict, &now);
        case.builder.grow(&at.seen);
        self.add_before(at, now.busy_ns, now.busy_callbacks, &mut case.builder.incident);
        self.examine(at, &mut case);
        self.counts.incidents[case.builder.incident.kind as usize] += 1;
        case.announced = self.admission(at);
        self.capture(at, &mut case);
        case.publish(at.seen.page, queue, true);
        self.stall = Some(case);
    }

    fn stall_lasts(&mut self, at: &At<'_>, times: u64, verdict: &Verdict, queue: &mut IncidentQueue) {
        let Some(mut case) = self.stall.take() else { return };
        case.builder.extend(at.seen.page, None);
        case.builder.grow(&at.seen);
        case.builder.judge(&at.seen, verdict, &at.seen.vitals.now);
        self.examine(at, &mut case);
        // A long one that found the budget used up is told when a new minute has begun.
        if case.announced == Announced::Refused && self.budget.ask(at.now_ns) {
            case.announced = Announced::Waits { until_ns: at.now_ns + NAMES_WITHIN_NS };
        } else {
            case.lasts(times, at.now_ns + NAMES_WITHIN_NS);
        }
        self.capture(at, &mut case);
        case.publish(at.seen.page, queue, true);
        self.stall = Some(case);
    }

    fn close_stall(&mut self, at: &At<'_>, end: End, queue: &mut IncidentQueue) {
        let Some(mut case) = self.stall.take() else { return };
        case.builder.extend(at.seen.page, Some(end.end));
        case.builder.close(&at.seen, end.ns);
        case.closed(at.now_ns);
        case.traced(&self.sight.look());
        let used = self.meter.used_at_end(end_of(at, &end, case.was_ready()));
        let last = Evidence {
            standstill_ns: self.meter.gap_standstill_ns,
            suspended_ns: self.meter.gap_suspended_ns,
            ..Evidence::default()
        };
        case.class_at_end(used, &last);
        case.publish(at.seen.page, queue, true);
        self.put_aside(case, at, queue);
    }

    fn missed(&mut self, at: &At<'_>, end: End, verdict: &Verdict, queue: &mut IncidentQueue) {
        let mut case = ActiveIncident::open(queue, end.ns, |process| {
            IncidentBuilder::open(&at.seen, process, end.begin, end.ns, Some(end.end))
        });
        case.builder.incident.was_missed = true;
        case.builder.judge(&at.seen, verdict, &NowValues::IDLE);
        case.builder.incident.spans.clear();
        case.traced(&self.sight.look());
        let used = self.meter.used_unseen(end_of(at, &end, false));
        let Used { watched_ns, cpu_ns, runqueue_ns } = used.unwrap_or_default();
        case.class(&Evidence {
            age_ns: end.ns,
            threshold_ns: at.seen.warning_ns,
            watched_ns,
            cpu_ns,
            runqueue_ns,
            is_over: true,
            standstill_ns: self.meter.gap_standstill_ns.min(end.ns),
            suspended_ns: self.meter.gap_suspended_ns.min(end.ns),
            ..Evidence::default()
        });
        self.counts.incidents[case.builder.incident.kind as usize] += 1;
        case.announced = self.admission(at);
        case.builder.incident.stacks_in = self.captures.last_of(&case.builder.incident);
        case.builder.close(&at.seen, end.ns);
        case.closed(at.now_ns);
        case.publish(at.seen.page, queue, true);
        self.put_aside(case, at, queue);
    }

    fn pool_turn(&mut self, at: &At<'_>, turn: PoolTurn, queue: &mut IncidentQueue) {
        match (turn, self.pool.take()) {
            (PoolTurn::Began { age_ns }, _) => {
                let mut open = ActivePoolIncident::open(at, queue, age_ns, counters(&at.seen));
                self.add_before(at, age_ns, 0, &mut open.case.builder.incident);
                self.counts.incidents[IncidentKind::Pool as usize] += 1;
                open.waits_in(self.longest_job_waits_in(at));
                open.case.announced = self.admission(at);
                open.case.publish(at.seen.page, queue, true);
                self.pool = Some(open);
            }
            (PoolTurn::Lasts { times, age_ns }, Some(mut open)) => {
                open.update(at, age_ns);
                open.waits_in(self.longest_job_waits_in(at));
                open.case.lasts(times, at.now_ns);
                open.case.publish(at.seen.page, queue, true);
                self.pool = Some(open);
            }
            (PoolTurn::Ended { age_ns }, Some(mut open)) => {
                open.close(at, age_ns, &counters(&at.seen));
                open.case.publish(at.seen.page, queue, true);
                open.case.speak(at.now_ns, queue);
            }
            (_, None) => {}
        }
    }

    /// Returns what the job that has run the longest is asleep in: it may never end.
    fn longest_job_waits_in(&mut self, at: &At<'_>) -> Option<String> {
        let longest = at.seen.page.jobs_now().into_iter().min_by_key(|job| job.since)?;
        self.sight.asleep_in(longest.tid?)
    }

    fn admission(&mut self, at: &At<'_>) -> Announced {
        if self.budget.ask(at.now_ns) {
            return Announced::Waits { until_ns: at.now_ns + NAMES_WITHIN_NS };
        }
        self.budget.refuse();
        Announced::Refused
    }

    /// Looks what the thread is doing, and classes the stall.
    fn examine(&mut self, at: &At<'_>, case: &mut ActiveIncident) {
        let mut found = self.sight.look();
        // The stall may have ended meanwhile: what the thread does then, such as to sleep in its poll, is not the stall's.
        if at.seen.page.busy_since() != at.seen.vitals.busy_since {
            (found.state, found.waiting_in) = (None, None);
        }
        case.found(&found);
        case.class(&self.evidence(at, &found));
        case.throttled(at.throttled_ns);
    }

    fn evidence(&self, at: &At<'_>, found: &Found) -> Evidence {
        let age_ns = at.seen.vitals.now.busy_ns;
        let Used { watched_ns, cpu_ns, runqueue_ns } = self.meter.used(at.now_ns.saturating_sub(age_ns));
        Evidence {
            age_ns,
            threshold_ns: at.seen.warning_ns,
            watched_ns,
            cpu_ns,
            runqueue_ns,
            suspended_ns: self.meter.suspended_ns.min(age_ns),
            standstill_ns: self.meter.standstill_ns.min(age_ns),
            is_stopped: found.is_stopped,
            is_traced: found.tracer.is_some(),
            // Stacks tell that, which come later.
            is_paused: false,
            is_elsewhere: false,
            steal_ratio: at.steal_ratio,
            found: found.state,
            was_asleep: found.state == Some(FoundState::Asleep),
            is_over: false,
        }
    }

    /// Adds the figures of the ten seconds before an incident that is `age_ns` old.
    fn add_before(&self, at: &At<'_>, age_ns: u64, callbacks: u64, incident: &mut Incident) {
        let mut present = counters(&at.seen);
        present.active_ns = present.active_ns.saturating_sub(age_ns);
        present.callbacks = present.callbacks.saturating_sub(callbacks);
        if let Some(beginning) = self.history.beginning(present.total_ns()) {
            incident.before = between(beginning, &present).known(&at.seen.page.description());
        }
    }
}

/// Returns the end of a stall on the agent's clock.
fn end_of(at: &At<'_>, end: &End, was_ready: bool) -> StallEnd {
    let vitals = at.seen.vitals;
    let end_ns = at.now_ns.saturating_sub(at.seen.clock.duration_ns(end.end, at.seen.taken));
    let has_rested = vitals.now.busy_ns == 0 && vitals.parked_since <= end.end;
    StallEnd { begin_ns: end_ns.saturating_sub(end.ns), end_ns, has_rested, was_ready }
}

fn counters(seen: &Observation<'_>) -> Counters {
    let (page, vitals) = (seen.page, seen.vitals);
    Counters {
        active_ns: vitals.active_ns,
        idle_ns: vitals.idle_ns,
        iterations: page.iterations_recorded(),
        callbacks: vitals.records,
        stalls: vitals.stalls_ended,
        waits: Waits::at(page, seen.clock, seen.taken),
    }
}

#[cfg(test)]
#[path = "incident_tracker_tests.rs"]
mod tests;
