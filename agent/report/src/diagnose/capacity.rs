//! Rules about load: a loop that is busy all the time, too many events in a turn, connections that pour in, and what
//! the program announced or got wrong.

use crate::compute::sites::SiteTotal;
use crate::diagnose::evidence::LoopEvidence;
use crate::diagnose::finding::{Certainty, Finding, Urgency};
use crate::diagnose::machine::is_starved;
use crate::duration::show_ns;
use crate::model::waits::Waits;
use crate::words::{count, count_of, elsewhere, percent, rate, share};
use loopscope_probe::Kind;
use loopscope_probe::description::{Fact, Term};

/// Utilization from which on queueing makes everything slow, and from which on it never catches up.
const BUSY: f64 = 0.9;
const OVERLOADED: f64 = 0.98;

/// Events of a poll, on average, from which on each turn is a queue.
const EVENTS_MANY: u64 = 64;

/// Connections accepted a second from which on accepting is a load of its own.
const ACCEPTS_MANY: u64 = 500;

/// Lag at p99 from which on many events a turn hurt somebody, in nanoseconds.
const LAG_HURTS_NS: u64 = 50_000_000;

/// The loop has no time left, and no single callback is to blame. Of a runtime's worker it is no trouble: the others
/// take what it does not get to.
pub(crate) fn overload(evidence: &LoopEvidence) -> Vec<Finding> {
    match evidence.group.is_empty() {
        true => overload_of(evidence, &format!("{} is", evidence.named())),
        false => Vec::new(),
    }
}

/// The workers of a runtime have no time left, all of them together.
pub(super) fn overload_of_workers(workers: &[&LoopEvidence]) -> Vec<Finding> {
    let Some(first) = workers.iter().find(|worker| worker.knows(Fact::Time)) else { return Vec::new() };
    let sum = |of: fn(&LoopEvidence) -> u64| {
        workers.iter().fold(0, |sum: u64, worker| sum.saturating_add(of(worker)))
    };
    let mut sites: Vec<SiteTotal> = Vec::new();
    for site in workers.iter().flat_map(|worker| &worker.sites) {
        match sites.iter_mut().find(|known| (&known.label, known.kind) == (&site.label, site.kind)) {
            None => sites.push(site.clone()),
            Some(known) => {
                known.calls = known.calls.saturating_add(site.calls);
                known.run_ns = known.run_ns.saturating_add(site.run_ns);
            }
        }
    }
    sites.sort_by_key(|site| std::cmp::Reverse(site.run_ns));
    let mut lag = Waits::default();
    workers.iter().for_each(|worker| lag.merge(&worker.lag));
    let all = LoopEvidence {
        name: first.group.clone(),
        watched_ns: sum(|worker| worker.watched_ns),
        active_ns: sum(|worker| worker.active_ns),
        callbacks: sum(|worker| worker.callbacks),
        iterations: sum(|worker| worker.iterations),
        stalls: workers.iter().flat_map(|worker| worker.stalls.clone()).collect(),
        expected: workers.iter().flat_map(|worker| worker.expected.clone()).collect(),
        sites,
        lag,
        ..(*first).clone()
    };
    let who = match workers.len() {
        1 => format!("{} is", first.named()),
        number => format!("the {number} {} of {} are", first.runtime.noun(Term::Lane).many, first.group),
    };
    overload_of(&all, &who)
}

fn overload_of(evidence: &LoopEvidence, who_is: &str) -> Vec<Finding> {
    // What was announced is not load: it is told by itself.
    let announced_ns = evidence.expected.iter().fold(0, |sum: u64, (_, ns)| sum.saturating_add(*ns));
    let busy = share(evidence.active_ns.saturating_sub(announced_ns), evidence.watched_ns);
    // A thread that has no processor is busy with waiting for one.
    if busy < BUSY || evidence.stalls() > 0 || is_starved(evidence) {
        return Vec::new();
    }
    let urgency = if busy >= OVERLOADED { Urgency::Critical } else { Urgency::Warning };
    let headline = format!("{who_is} busy for {} of the time, near the limit", percent(busy));
    let is_known = evidence.knows(Fact::Iterations) && evidence.knows(Fact::Callbacks);
    let turn = evidence.active_ns.checked_div(evidence.iterations).filter(|_| is_known).map(|ns| {
        let callbacks = evidence.callbacks / evidence.iterations.max(1);
        let callbacks = count_of(callbacks, &evidence.runtime.callback());
        format!("an iteration takes {} for {callbacks}, without a stall", show_ns(ns))
    });
    let lanes = evidence.runtime.noun(Term::Lane).many;
    let finding = Finding::new(&evidence.name, urgency, Certainty::Likely, headline)
        .because_of(turn)
        .because_of(evidence.lag_words())
        .because_of(evidence.heaviest(3))
        .remedy(format!(
            "queueing delay rises steeply near saturation: make the heaviest site cheaper, move it to {}, or spread \
             the load over more {lanes}",
            elsewhere(&evidence.runtime)
        ));
    vec![finding]
}

/// Every poll brings a queue.
pub(crate) fn many_events(evidence: &LoopEvidence) -> Vec<Finding> {
    let polls = evidence.poll_events.count();
    let mean = evidence.poll_events.sum.checked_div(polls).unwrap_or(0);
    if mean < EVENTS_MANY || polls < 10 {
        return Vec::new();
    }
    let headline = format!("{} gets {} from each poll", evidence.named(), count(mean, "event"));
    let finding = Finding::new(&evidence.name, lag_urgency(evidence), Certainty::Likely, headline)
        .because(format!("{} in {}", count(evidence.poll_events.sum, "event"), count(polls, "poll")))
        .because_of(evidence.lag_words())
        .because_of(evidence.heaviest(2))
        .remedy(format!(
            "the last event of a poll waits for all others: spread the sources over more {}, or batch them",
            evidence.runtime.noun(Term::Lane).many
        ));
    vec![finding]
}

/// Connections pour in.
pub(crate) fn accept_storm(evidence: &LoopEvidence) -> Vec<Finding> {
    let is_storm = evidence.accepted.saturating_mul(1_000_000_000)
        >= ACCEPTS_MANY.saturating_mul(evidence.watched_ns)
        && evidence.accepted.saturating_mul(5) >= evidence.callbacks;
    if !is_storm || evidence.accepted == 0 {
        return Vec::new();
    }
    let accepted = rate(evidence.accepted, evidence.watched_ns);
    let headline = format!("{} accepts {accepted} connections", evidence.named());
    let part = percent(evidence.accepted as f64 / evidence.callbacks.max(1) as f64);
    let finding = Finding::new(&evidence.name, lag_urgency(evidence), Certainty::Likely, headline)
        .because(format!(
            "{part} of all {} accept a connection",
            count_of(evidence.callbacks, &evidence.runtime.callback())
        ))
        .because_of(evidence.lag_words())
        .remedy("have clients reuse connections (keep-alive, connection pools), look for one that retries without \
                 back-off, or limit accepts per iteration");
    vec![finding]
}

fn lag_urgency(evidence: &LoopEvidence) -> Urgency {
    match evidence.lag.quantile_ns(0.99) {
        Some(ns) if ns >= LAG_HURTS_NS => Urgency::Warning,
        _ => Urgency::Notice,
    }
}

/// Callbacks or pool jobs panicked.
pub(crate) fn panics(evidence: &LoopEvidence) -> Vec<Finding> {
    let callbacks: u64 = evidence.errors.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let callbacks = if evidence.knows(Fact::Errors) { callbacks } else { 0 };
    let kinds = evidence.pool.iter().flat_map(|pool| &pool.kinds);
    let jobs = kinds.fold(0, |sum: u64, kind| sum.saturating_add(kind.failed));
    let jobs = if evidence.knows(Fact::PoolJobs) { jobs } else { 0 };
    let callback_words = |number| count_of(number, &evidence.runtime.callback());
    let who = match (callbacks, jobs) {
        (0, 0) => return Vec::new(),
        (callbacks, 0) => callback_words(callbacks),
        (0, jobs) => count(jobs, "pool job"),
        (callbacks, jobs) => format!("{} and {}", callback_words(callbacks), count(jobs, "pool job")),
    };
    let headline = format!("{who} of {} failed", evidence.named());
    let kind_words =
        |(kind, number): &(Kind, u64)| format!("{number} of kind {}", evidence.runtime.kind_label(*kind));
    let kinds = evidence.errors.iter().filter(|_| callbacks > 0).map(kind_words);
    let finding = Finding::new(&evidence.name, Urgency::Warning, Certainty::Certain, headline)
        .because_of(kinds)
        .remedy("see the panic or exception message on the program's stderr");
    vec![finding]
}

/// Blocks that the program announced.
pub(crate) fn expected_blocks(evidence: &LoopEvidence) -> Vec<Finding> {
    if evidence.expected.is_empty() {
        return Vec::new();
    }
    let headline = format!("{} was blocked as announced", evidence.named());
    let seen = evidence
        .expected
        .iter()
        .map(|(label, ns)| format!("expected block {label}: {} or more", show_ns(*ns)));
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because_of(seen)
        .remedy("none needed: it does not count as a stall, but events were delayed by it");
    vec![finding]
}

/// The page has no room for more sites.
pub(crate) fn sites_overflow(evidence: &LoopEvidence) -> Vec<Finding> {
    if evidence.sites_overflow == 0 {
        return Vec::new();
    }
    let callback = evidence.runtime.callback();
    let headline = format!("{} has more {} sites than fit on its page", evidence.named(), callback.one);
    let finding = Finding::new(&evidence.name, Urgency::Notice, Certainty::Certain, headline)
        .because(format!(
            "{} found the table of {} full, and are reported as `other`",
            count(evidence.sites_overflow, "registration"),
            loopscope_probe::raw::site::SITES
        ))
        .remedy(format!(
            "use constant names for {}: a name with a number or an id in it creates a new site each time",
            callback.many
        ));
    vec![finding]
}
