//! The incidents of one loop: opened when a stall or a saturated pool is found, looked at while they last, closed.

use crate::compute::budget::Budget;
use crate::compute::class::Evidence;
use crate::compute::figures::between;
use crate::compute::starvation::Verdict;
use crate::incident::{Incident, IncidentKind, Severity};
use crate::model::history::{Counters, History};
use crate::watch::case::{Announced, At, Case};
use crate::watch::desk::Desk;
use crate::watch::meter::{Gap, Meter};
use crate::watch::pool::PoolTurn;
use crate::watch::pool_case::PoolCase;
use crate::watch::report::{self, Report};
use crate::watch::sight::{Found, Sight};
use crate::watch::stall::{End, Turn};
use loopscope_probe::{NowValues, Page, Vitals};

/// What one loop's incidents came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaseCounts {
    /// By [`IncidentKind`].
    pub incidents: [u64; IncidentKind::COUNT],
    /// Incidents that were not reported, because the budget of the minute was used up.
    pub suppressed: u64,
    /// Captures by result: ok, failed, rate limited.
    pub captures: [u64; 3],
}

impl CaseCounts {
    /// Adds another loop's.
    pub(crate) fn add(&mut self, other: &CaseCounts) {
        self.suppressed += other.suppressed;
        let (own, others) = (&mut self.incidents, &other.incidents);
        for (into, from) in own.iter_mut().chain(&mut self.captures).zip(others.iter().chain(&other.captures))
        {
            *into += from;
        }
    }
}

/// Follows one loop.
pub(crate) struct LoopCases {
    sight: Box<dyn Sight>,
    meter: Meter,
    history: History,
    budget: Budget,
    stall: Option<Case>,
    pool: Option<PoolCase>,
    counts: CaseCounts,
}

impl LoopCases {
    pub(crate) fn new(sight: Box<dyn Sight>, reports_per_minute: u32) -> Self {
        LoopCases {
            sight,
            meter: Meter::default(),
            history: History::default(),
            budget: Budget::new(reports_per_minute),
            stall: None,
            pool: None,
            counts: CaseCounts::default(),
        }
    }

    /// Returns what was counted so far.
    pub(crate) fn counts(&self) -> CaseCounts {
        CaseCounts { suppressed: self.budget.refused_total(), ..self.counts.clone() }
    }

    /// Returns the stall under way where it is critical: its age in nanoseconds and what it is, in words.
    pub(crate) fn critical(&self) -> Option<(u64, String)> {
        let incident = &self.stall.as_ref()?.incident;
        (incident.severity == Severity::Critical).then(|| (incident.duration_ns, report::blame(incident)))
    }

    /// Takes one look: `turns` and `pool_turns` are what the watches found in it.
    pub(crate) fn look(
        &mut self,
        at: &At<'_>,
        gap: Gap,
        turns: Vec<Turn>,
        pool_turns: Vec<PoolTurn>,
        desk: &mut Desk,
    ) {
        let reading = self.sight.reading(at.now_ns);
        self.meter.look(at.vitals.busy_since, reading, gap);
        if self.history.is_due(at.vitals.active_ns.saturating_add(at.vitals.idle_ns)) {
            self.history.push(counters(at.page, at.vitals));
        }
        for turn in turns {
            match turn {
                Turn::Began(verdict) => self.open_stall(at, &verdict, desk),
                Turn::Lasts(times, verdict) => self.stall_lasts(at, times, &verdict, desk),
                Turn::Ended(end) => self.close_stall(at, end, desk),
                Turn::Missed(end, verdict) => self.missed(at, end, &verdict, desk),
            }
        }
        if let Some(case) = &mut self.stall {
            case.extract.extend(at.page, None);
            case.grow(at);
        }
        for turn in pool_turns {
            self.pool_turn(at, turn, desk);
        }
        self.speak(at.now_ns, desk);
        if let Some(count) = self.budget.end_minute(at.now_ns) {
            desk.said.push(Report::suppressed(at.label, count));
        }
    }

    /// Puts what is under way on the shelf as it is now.
    pub(crate) fn refresh(&mut self, page: &Page, desk: &mut Desk) {
        for case in self.stall.iter_mut().chain(self.pool.as_mut().map(|pool| &mut pool.case)) {
            case.publish(page, desk, false);
        }
    }

    /// The loop or the agent ends: says what was not said yet. What is open stays so on disk.
    pub(crate) fn farewell(&mut self, label: &str, desk: &mut Desk) {
        self.speak(u64::MAX, desk);
        if let Some(count) = self.budget.give_up() {
            desk.said.push(Report::suppressed(label, count));
        }
    }

    fn speak(&mut self, now_ns: u64, desk: &mut Desk) {
        for case in self.stall.iter_mut().chain(self.pool.as_mut().map(|pool| &mut pool.case)) {
            case.speak(now_ns, desk);
        }
    }

    fn open_stall(&mut self, at: &At<'_>, verdict: &Verdict, desk: &mut Desk) {
        let now = at.vitals.now;
        let mut case = Case::open(at, desk, at.vitals.busy_since, now.busy_ns, None);
        case.judge(at, verdict, &now);
        case.grow(at);
        self.add_before(at, now.busy_ns, now.stretch_callbacks, &mut case.incident);
        self.examine(at, &mut case);
        self.counts.incidents[case.incident.kind as usize] += 1;
        case.announced = self.admission(at);
        case.publish(at.page, desk, true);
        self.stall = Some(case);
    }

    fn stall_lasts(&mut self, at: &At<'_>, times: u64, verdict: &Verdict, desk: &mut Desk) {
        let Some(mut case) = self.stall.take() else { return };
        case.extract.extend(at.page, None);
        case.grow(at);
        case.judge(at, verdict, &at.vitals.now);
        self.examine(at, &mut case);
        // A long one that found the budget used up is told when a new minute has begun.
        if case.announced == Announced::Refused && self.budget.ask(at.now_ns) {
            case.announced = Announced::Waits { until_ns: at.now_ns };
        } else {
            case.say_lasts(times, desk);
        }
        case.publish(at.page, desk, true);
        self.stall = Some(case);
    }

    fn close_stall(&mut self, at: &At<'_>, end: End, desk: &mut Desk) {
        let Some(mut case) = self.stall.take() else { return };
        case.extract.extend(at.page, Some(end.end));
        case.close(at, end.ns);
        // The thread's times are those of the last look within: what came after the end is not the stall's.
        let last = Evidence {
            standstill_ns: self.meter.gap_standstill_ns,
            suspended_ns: self.meter.gap_suspended_ns,
            ..Evidence::default()
        };
        case.class_at_end(&last);
        case.publish(at.page, desk, true);
        case.speak(at.now_ns, desk);
    }

    fn missed(&mut self, at: &At<'_>, end: End, verdict: &Verdict, desk: &mut Desk) {
        let mut case = Case::open(at, desk, end.begin, end.ns, Some(end.end));
        case.incident.was_missed = true;
        case.judge(at, verdict, &NowValues::IDLE);
        case.incident.spans.clear();
        case.class(&Evidence {
            age_ns: end.ns,
            standstill_ns: self.meter.gap_standstill_ns.min(end.ns),
            suspended_ns: self.meter.gap_suspended_ns.min(end.ns),
            ..Evidence::default()
        });
        self.counts.incidents[case.incident.kind as usize] += 1;
        case.announced = self.admission(at);
        case.close(at, end.ns);
        case.publish(at.page, desk, true);
        case.speak(at.now_ns, desk);
    }

    fn pool_turn(&mut self, at: &At<'_>, turn: PoolTurn, desk: &mut Desk) {
        match (turn, self.pool.take()) {
            (PoolTurn::Began { age_ns }, _) => {
                let mut open = PoolCase::open(at, desk, age_ns, counters(at.page, at.vitals));
                self.add_before(at, age_ns, 0, &mut open.case.incident);
                self.counts.incidents[IncidentKind::Pool as usize] += 1;
                open.case.announced = self.admission(at);
                open.case.publish(at.page, desk, true);
                self.pool = Some(open);
            }
            (PoolTurn::Lasts { times, age_ns }, Some(mut open)) => {
                open.update(at, age_ns);
                open.case.say_lasts(times, desk);
                open.case.publish(at.page, desk, true);
                self.pool = Some(open);
            }
            (PoolTurn::Ended { age_ns }, Some(mut open)) => {
                open.close(at, age_ns, &counters(at.page, at.vitals));
                open.case.publish(at.page, desk, true);
                open.case.speak(at.now_ns, desk);
            }
            (_, None) => {}
        }
    }

    fn admission(&mut self, at: &At<'_>) -> Announced {
        if self.budget.ask(at.now_ns) {
            return Announced::Waits { until_ns: at.now_ns };
        }
        self.budget.refuse();
        Announced::Refused
    }

    /// Looks what the thread is doing, and classes the stall.
    fn examine(&mut self, at: &At<'_>, case: &mut Case) {
        let found = self.sight.look();
        case.found(&found);
        case.class(&self.evidence(at, &found));
    }

    fn evidence(&self, at: &At<'_>, found: &Found) -> Evidence {
        let age_ns = at.vitals.now.busy_ns;
        let (watched_ns, cpu_ns, runqueue_ns) = self.meter.used(at.now_ns.saturating_sub(age_ns));
        Evidence {
            age_ns,
            watched_ns,
            cpu_ns,
            runqueue_ns,
            suspended_ns: self.meter.suspended_ns.min(age_ns),
            standstill_ns: self.meter.standstill_ns.min(age_ns),
            is_stopped: found.is_stopped,
            is_traced: found.is_traced,
            steal_ratio: at.steal_ratio,
            is_asleep: found.is_asleep,
        }
    }

    /// Adds the figures of the ten seconds before an incident that is `age_ns` old.
    fn add_before(&self, at: &At<'_>, age_ns: u64, callbacks: u64, incident: &mut Incident) {
        let mut present = counters(at.page, at.vitals);
        present.active_ns = present.active_ns.saturating_sub(age_ns);
        present.callbacks = present.callbacks.saturating_sub(callbacks);
        if let Some(beginning) = self.history.beginning(present.total_ns()) {
            incident.before = between(beginning, &present);
        }
    }
}

fn counters(page: &Page, vitals: &Vitals) -> Counters {
    Counters {
        active_ns: vitals.active_ns,
        idle_ns: vitals.idle_ns,
        iterations: page.iterations_recorded(),
        callbacks: vitals.records,
        stalls: vitals.stalls_ended,
        lag: page.lag(),
    }
}

#[cfg(test)]
#[path = "cases_tests.rs"]
mod tests;
