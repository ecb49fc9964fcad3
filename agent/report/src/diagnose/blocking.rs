//! Rules about what keeps a loop from polling: one long callback, a blocking call, a flood of short ones.

use crate::compute::classify::Used;
use crate::compute::verdict::{Cause, VerdictSample};
use crate::diagnose::evidence::{LoopEvidence, SeenStall};
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::diagnose::group_class::{GroupClass, GroupEvidence, is_code, judge, used_words};
use crate::diagnose::machine::is_starved;
use crate::duration::show_ns;
use crate::incident::{Class, Frame, Incident, IncidentKind};
use crate::words::{
    count, count_of, elsewhere, elsewhere_to_wait, kind_and_place, percent, rate, share, thousands,
};
use loopscope_probe::description::{Description, Term, Trouble};

/// What helps against a queue that refills itself, where the runtime has no remedy of its own.
const QUEUE_REMEDY: &str = "the loop does not poll until this queue is empty: schedule the next step so that the \
loop polls in between, and bound the chain";

/// At most so many sites are told of one kind of trouble; further ones are a line of the last.
const SITES_TOLD: usize = 3;

/// Stalls of one site by one cause.
struct StallGroup<'a> {
    cause: Cause,
    /// One long run, rather than many.
    is_single: bool,
    /// Nobody knows whether it was one or many: it was told as a whole, and captures did not find out.
    is_unknown_number: bool,
    /// `timer parse_invoices (src/x.rs:40)`.
    culprit: String,
    stalls: Vec<&'a SeenStall>,
    incidents: Vec<&'a Incident>,
}

/// Returns the stalls by whom to blame, the longest in sum first.
fn groups(evidence: &LoopEvidence) -> Vec<StallGroup<'_>> {
    let mut groups: Vec<StallGroup<'_>> = Vec::new();
    for stall in &evidence.stalls {
        let culprit = culprit(stall, &evidence.runtime);
        let captured = if stall.runs.is_none() { single_by_captures(stall, evidence) } else { None };
        let (cause, is_single) = match captured {
            Some(true) => (Cause::Callback, true),
            _ => (stall.cause, !stall.is_flood),
        };
        let is_same = |group: &&mut StallGroup<'_>| {
            (group.cause, group.is_single, &group.culprit) == (cause, is_single, &culprit)
        };
        match groups.iter_mut().find(is_same) {
            Some(group) => {
                group.is_unknown_number &= stall.runs.is_none();
                group.stalls.push(stall);
            }
            None => {
                let is_about = |incident: &&Incident| {
                    incident.culprit.label == stall.label && incident.cause == cause.name()
                };
                let incidents = evidence.incidents.iter().filter(is_about).collect();
                groups.push(StallGroup {
                    cause,
                    is_single,
                    is_unknown_number: stall.runs.is_none() && captured.is_none(),
                    culprit,
                    stalls: vec![stall],
                    incidents,
                });
            }
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.total_ns()));
    groups
}

/// Tells whether captures found one long job in what was told as a whole, or different ones; `None` where they do not say, or
/// not the same of all its incidents.
fn single_by_captures(stall: &SeenStall, evidence: &LoopEvidence) -> Option<bool> {
    let told = evidence.incidents.iter().filter(|incident| incident.culprit.label == stall.label);
    let mut told = told.filter_map(|incident| match (incident.kind, incident.jobs_captured) {
        (IncidentKind::Stall, Some(_)) => Some(true),
        (_, Some(2..)) => Some(false),
        _ => None,
    });
    let first = told.next()?;
    told.all(|other| other == first).then_some(first)
}

/// Returns who is to blame: kind and place.
fn culprit(stall: &SeenStall, runtime: &Description) -> String {
    match stall.kind {
        None => runtime.noun(Term::Between).one,
        Some(kind) => kind_and_place(runtime, kind, &stall.label, stall.is_flood),
    }
}

impl StallGroup<'_> {
    fn total_ns(&self) -> u64 {
        self.stalls.iter().fold(0, |sum, stall| sum.saturating_add(stall.ns))
    }

    fn longest(&self) -> &SeenStall {
        self.stalls.iter().max_by_key(|stall| stall.ns).expect("a group has at least one stall")
    }

    fn ongoing(&self) -> Option<&SeenStall> {
        self.stalls.iter().find(|stall| !stall.is_over).copied()
    }

    fn urgency(&self, evidence: &LoopEvidence) -> Urgency {
        let is_long = self.longest().ns > evidence.critical_ns;
        let is_often = share(self.total_ns(), evidence.watched_ns) >= 0.3;
        match is_long || is_often || self.ongoing().is_some() {
            true => Urgency::Critical,
            false => Urgency::Warning,
        }
    }

    /// Returns what the time went to; `None` where the evidence contradicts itself.
    fn class(&self, evidence: &LoopEvidence) -> Option<GroupClass> {
        let (stalls, incidents, warning_ns) = (&self.stalls, &self.incidents, evidence.warning_ns);
        judge(&GroupEvidence { stalls, incidents, warning_ns, whole: self.whole(evidence) })
    }

    /// Returns what the thread used in all of the loop's busy time; `None` where most of that is not these stalls.
    fn whole(&self, evidence: &LoopEvidence) -> Option<Used> {
        let is_most = self.total_ns() > evidence.active_ns / 2;
        evidence.cpu.filter(|_| is_most).map(|cpu| Used {
            watched_ns: evidence.active_ns,
            cpu_ns: cpu.run_ns,
            runqueue_ns: cpu.runqueue_ns,
        })
    }

    /// `5 stalls in 10 s, the longest 302 ms, 1.5 s together (threshold 100 ms)`.
    fn figures(&self, evidence: &LoopEvidence) -> String {
        let (longest_ns, watched) = (self.longest().ns, show_ns(evidence.watched_ns));
        let together = match self.stalls.len() {
            1 => String::new(),
            _ => format!(", the longest {}, together", show_ns(longest_ns)),
        };
        let of = if self.stalls.len() == 1 { " of" } else { "" };
        format!(
            "{}{of}{together} {} in {watched} (threshold {})",
            count(self.stalls.len() as u64, "stall"),
            show_ns(self.total_ns()),
            show_ns(evidence.warning_ns)
        )
    }

    /// Names the function that stacks of incidents show.
    fn guilty(&self) -> Option<String> {
        let stacks = || self.incidents.iter().flat_map(|incident| &incident.stacks);
        let all = stacks().fold(0, |sum: u64, stack| sum.saturating_add(stack.count));
        let guilty: Vec<(&Frame, u64)> =
            stacks().filter_map(|stack| Some((stack.guilty_frame()?, stack.count))).collect();
        let function_count = |frame: &Frame| -> u64 {
            let same = guilty.iter().filter(|(other, _)| other.function == frame.function);
            same.fold(0, |sum, (_, count)| sum.saturating_add(*count))
        };
        let (frame, _) = guilty.iter().max_by_key(|(frame, _)| function_count(frame))?;
        let ran = |other: &&Frame| other.function == frame.function && !other.is_function_start;
        // The line that ran, where a stack has it.
        let frame = self.incidents.iter().filter_map(|one| one.guilty_frame()).find(ran).unwrap_or(frame);
        let place = self.incidents.first().and_then(|incident| incident.place_of(frame));
        Some(format!(
            "guilty: {}, in {} of {}",
            frame.named_at(place.as_deref()),
            function_count(frame),
            count(all, "stack")
        ))
    }

    fn inside(&self) -> Option<String> {
        let inside = self.stalls.iter().rev().find_map(|stall| stall.inside.as_ref())?;
        Some(format!("inside span {inside}"))
    }

    /// The headline's end: still going on, or how it was.
    fn lasting(&self) -> String {
        self.ongoing().map_or(String::new(), |stall| format!(", for {} so far", show_ns(stall.ns)))
    }

    fn finding(&self, evidence: &LoopEvidence, certainty: Certainty, headline: String) -> Finding {
        let mut finding = Finding::new(&evidence.name, self.urgency(evidence), certainty, headline)
            .because(self.figures(evidence))
            .because_of(self.guilty())
            .because_of(self.inside());
        finding.incidents = self.incidents.iter().map(|incident| incident.id.to_string()).collect();
        finding
    }
}

/// Tells the first few groups; the last of them says how many more there are.
fn told(
    groups: Vec<(StallGroup<'_>, GroupClass)>,
    tell: impl Fn(&(StallGroup<'_>, GroupClass)) -> Finding,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = groups.iter().take(SITES_TOLD).map(&tell).collect();
    if let (Some(last), Some(more @ 1..)) = (findings.last_mut(), groups.len().checked_sub(SITES_TOLD)) {
        last.evidence.push(format!("the same at {}", count(more as u64, "other site")));
    }
    findings
}

/// Returns the groups of stalls that are wanted, each with what its time went to.
fn judged(
    evidence: &LoopEvidence,
    is_wanted: impl Fn(&StallGroup<'_>, Class) -> bool,
) -> Vec<(StallGroup<'_>, GroupClass)> {
    let judged = groups(evidence).into_iter().filter_map(|group| {
        let class = group.class(evidence)?;
        Some((group, class))
    });
    judged.filter(|(group, class)| is_wanted(group, class.class)).collect()
}

/// One callback computes for too long.
pub(crate) fn blocked(evidence: &LoopEvidence) -> Vec<Finding> {
    let is_wanted =
        |group: &StallGroup<'_>, class| group.is_single && matches!(class, Class::Computing | Class::Unknown);
    told(judged(evidence, is_wanted), |(group, class)| {
        let headline = format!("{} is blocked by {}{}", evidence.named(), group.culprit, group.lasting());
        let of_loop = group.whole(evidence).filter(|_| class.used.is_none() && class.class == Class::Unknown);
        let of_loop = of_loop.map(|used| used_words(used, class.class, "its busy time"));
        group
            .finding(evidence, class.certainty, headline)
            .because_of(class.used.map(|used| used_words(used, class.class, "these stalls")).or(of_loop))
            .because_of(evidence.lag_words())
            .remedy(format!(
                "move this work to {}, or split it into parts shorter than {}",
                elsewhere(&evidence.runtime),
                show_ns(evidence.warning_ns)
            ))
    })
}

/// One callback sleeps in the kernel.
pub(crate) fn waiting(evidence: &LoopEvidence) -> Vec<Finding> {
    let is_wanted = |group: &StallGroup<'_>, class| group.is_single && class == Class::Waiting;
    told(judged(evidence, is_wanted), |(group, class)| {
        let waited = group.incidents.iter().filter(|incident| incident.class == Class::Waiting);
        let calls = waited.filter_map(|incident| incident.waiting_in.clone());
        let seen = group.stalls.iter().filter_map(|stall| stall.asleep_in.clone());
        let call = calls.chain(seen).next();
        let headline = format!(
            "{} is blocked in a system call by {}{}",
            evidence.named(),
            group.culprit,
            group.lasting()
        );
        let of_loop = evidence.cpu.filter(|_| class.used.is_none()).map(|cpu| {
            let off_ns = evidence.active_ns.saturating_sub(cpu.run_ns.saturating_add(cpu.runqueue_ns));
            format!("its thread slept for {} of its busy time", percent(share(off_ns, evidence.active_ns)))
        });
        group
            .finding(evidence, class.certainty, headline)
            .because_of(call.map(|call| format!("asleep in {call}")))
            .because_of(class.used.map(|used| used_words(used, class.class, "these stalls")).or(of_loop))
            .because_of(evidence.lag_words())
            .remedy(format!(
                "use a non-blocking call instead, or move it to {}",
                elsewhere_to_wait(&evidence.runtime)
            ))
    })
}

fn flood(evidence: &LoopEvidence, causes: &[Cause], trouble: Trouble, otherwise: &str) -> Vec<Finding> {
    // Runs that had no processor, or stood still, are not too many.
    let is_wanted =
        |group: &StallGroup<'_>, class| !group.is_single && causes.contains(&group.cause) && is_code(class);
    let runtime = &evidence.runtime;
    told(judged(evidence, is_wanted), |(group, class)| {
        let what = group.cause.words(runtime);
        // Of what has no place, the kind is all that is known.
        let from = match group.longest().label.as_str() {
            "?" => String::new(),
            _ => format!(" from {}", group.culprit),
        };
        let many = if Cause::is_queue(group.cause.name()) { "jobs" } else { &runtime.callback().many };
        let against_many = runtime.remedy_for(trouble).unwrap_or(otherwise);
        let (headline, remedy) = match group.is_unknown_number {
            // What is told as a whole, without a number, may have been one long job.
            true => (
                format!("is blocked by {} (one or many {many})", group.culprit),
                format!(
                    "if one of them is long, split it or move it to {}; if they are many: {against_many}",
                    elsewhere(runtime)
                ),
            ),
            false => (format!("is starved by {what}{from}"), against_many.to_owned()),
        };
        let headline = format!("{} {headline}{}", evidence.named(), group.lasting());
        group
            .finding(evidence, class.certainty, headline)
            .because(runs_words(group.longest(), runtime))
            .because_of(evidence.lag_words())
            .remedy(remedy)
    })
}

/// Says how many runs a stall had, and how long they took: not the stall by their number, because there may be more
/// in it than they, and no length of each, because nobody measured that. Of one whose older part the recorder has
/// forgotten, it says what is known of the rest.
fn runs_words(stall: &SeenStall, runtime: &Description) -> String {
    let (length, part) = (show_ns(stall.ns), percent(share(stall.runs_ns, stall.ns)));
    if let Some(VerdictSample { all, known, runs, total_ns }) = stall.sample {
        let (all, known, together) =
            (count_of(all, &runtime.callback()), thousands(known), show_ns(total_ns));
        let runs = match runs {
            None => "an unknown number were such runs".to_owned(),
            Some(1) => "1 was such a run".to_owned(),
            Some(runs) => format!("{} were such runs", thousands(runs)),
        };
        return format!(
            "the longest, of {length}, had {all}; of the last {known}, the only known ones, {runs}, {together} together"
        );
    }
    match stall.runs {
        None => format!("the longest, of {length}, was an unknown number of runs, {part} of it"),
        Some(runs) => {
            let (together, mean) = (show_ns(stall.runs_ns), show_ns(stall.runs_ns / runs.max(1)));
            let runs = count(runs, "run");
            format!(
                "the longest, of {length}, was {runs}, {together} together ({part} of it, {mean} on average)"
            )
        }
    }
}

/// The microtask queue refills itself.
pub(crate) fn microtask_flood(evidence: &LoopEvidence) -> Vec<Finding> {
    flood(evidence, &[Cause::Microtask], Trouble::MicrotaskFlood, QUEUE_REMEDY)
}

/// The queue that is drained before the microtasks refills itself.
pub(crate) fn nexttick_flood(evidence: &LoopEvidence) -> Vec<Finding> {
    flood(evidence, &[Cause::NextTick], Trouble::NextTickFlood, QUEUE_REMEDY)
}

/// One turn has too many immediates.
pub(crate) fn immediate_flood(evidence: &LoopEvidence) -> Vec<Finding> {
    let otherwise = "all of an iteration run before the next poll: queue fewer at once";
    flood(evidence, &[Cause::Immediate], Trouble::ImmediateFlood, otherwise)
}

/// Many short callbacks share the busy period.
pub(crate) fn many_callbacks(evidence: &LoopEvidence) -> Vec<Finding> {
    let otherwise = "each is short, but there are too many: process fewer at once (batches, back-pressure)";
    flood(evidence, &[Cause::Io, Cause::Timer, Cause::Callback], Trouble::ManyCallbacks, otherwise)
}

/// The page counted stalls, and none was seen.
pub(crate) fn stalls_unseen(evidence: &LoopEvidence) -> Vec<Finding> {
    // What the agent knows to be nobody's code has a rule of its own.
    let innocent = evidence.incidents.iter().filter(|incident| !is_code(incident.class)).count();
    let unseen = evidence.blocked[0].saturating_sub(evidence.stalls.len().max(innocent) as u64);
    if unseen == 0 {
        return Vec::new();
    }
    let seen_ns = evidence.stalls.iter().fold(0, |sum: u64, stall| sum.saturating_add(stall.ns));
    let unseen_ns = evidence.blocked_ns.saturating_sub(seen_ns);
    // What took longer was none of them: it was seen, or is over for longer than was watched.
    let may_be = |ns: u64| ns > evidence.warning_ns && ns <= unseen_ns;
    let suspect = evidence.sites.iter().filter(|site| may_be(site.longest_ns));
    let suspect = suspect.max_by_key(|site| site.longest_ns);
    let headline = format!("{} had {} too short to be examined", evidence.named(), count(unseen, "stall"));
    let noun = evidence.runtime.callback().one;
    let suspected = suspect.map(|site| {
        format!("the longest {noun} of the last minute: {}, {}", site.label, show_ns(site.longest_ns))
    });
    let seen_critical = evidence.stalls.iter().filter(|stall| stall.ns > evidence.critical_ns).count() as u64;
    let is_critical = evidence.blocked[1] > seen_critical;
    let urgency = if is_critical { Urgency::Critical } else { Urgency::Warning };
    let remedy = match evidence.agent_late_ns {
        Some(_) => "look at what its agent has recorded of each (`incidents`), or watch again",
        None => "run an agent in the process, which captures a stack of each; or watch again",
    };
    let finding = Finding::new(&evidence.name, urgency, Certainty::Likely, headline)
        .because(format!(
            "{} in {}, {} in total (threshold {})",
            count(evidence.blocked[0], "stall"),
            show_ns(evidence.watched_ns),
            show_ns(evidence.blocked_ns),
            show_ns(evidence.warning_ns)
        ))
        .because_of(suspected)
        .remedy(remedy);
    vec![finding]
}

/// Timers start late.
pub(crate) fn timers_late(evidence: &LoopEvidence) -> Vec<Finding> {
    let late = &evidence.timer_lateness;
    let Some(p95_ns) = late.quantile_ns(0.95).filter(|ns| *ns > crate::diagnose::evidence_collector::LATE_NS)
    else {
        return Vec::new();
    };
    // What had no processor meanwhile only happened to be there.
    let delayers = if is_starved(evidence) { &[][..] } else { &evidence.delayers };
    let because = delayers.first().map_or(String::new(), |delayer| format!(" because of {}", delayer.label));
    let headline = format!("timers of {} start late{because}", evidence.named());
    let certainty = if delayers.is_empty() { Certainty::Possible } else { Certainty::Likely };
    let ran = delayers.iter().take(2).map(|delayer| {
        format!(
            "{} waited for {}, {} in total",
            count(delayer.timers, "late timer"),
            delayer.label,
            show_ns(delayer.ns)
        )
    });
    let p50 = show_ns(late.quantile_ns(0.5).unwrap_or(0));
    let finding = Finding::new(&evidence.name, Urgency::Warning, certainty, headline)
        .because(format!(
            "lateness p50 {p50}, p95 {} of {} ({})",
            show_ns(p95_ns),
            count(late.count(), "timer"),
            rate(late.count(), evidence.watched_ns)
        ))
        .because_of(ran)
        .remedy("shorten what runs before them, or spread timers that are due at the same time");
    vec![finding]
}
