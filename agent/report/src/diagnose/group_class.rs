//! What the time of a site's stalls went to, and how sure that is: by the figures of those very stalls, and by how many of
//! them, and of the agent's incidents, agree. Where the two contradict each other, nothing is said.

use crate::compute::classify::{Evidence, FoundState, Used, classify};
use crate::diagnose::evidence::SeenStall;
use crate::diagnose::finding::Certainty;
use crate::incident::{Class, Incident};
use crate::words::{percent, share};

/// So many looks at one stall are as good as a second stall.
const LOOKS_MANY: u64 = 4;

/// A class that less than this share of the group's own time supports is contradicted by it.
const SUPPORT_LEAST: f64 = 0.2;

/// A share of the group's own time from which on it supports its class by itself, and one of all votes that leaves no doubt.
const SUPPORT_STRONG: f64 = 0.5;
const AGREEMENT_CLEAR: f64 = 0.8;

/// From this share on it is said that nobody knows what part of the time went to.
const OPEN_TOLD: f64 = 0.1;

/// The judgement over a group of stalls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct GroupClass {
    pub class: Class,
    pub certainty: Certainty,
    /// What the thread used within these stalls; `None` where nobody measured that.
    pub used: Option<Used>,
}

/// What is known of a group.
pub(crate) struct GroupEvidence<'a> {
    pub stalls: &'a [&'a SeenStall],
    pub incidents: &'a [&'a Incident],
    /// Stall threshold, in nanoseconds.
    pub warning_ns: u64,
    /// What the thread used in all of the loop's busy time, where the group is most of that.
    pub whole: Option<Used>,
}

/// A class and what speaks for it: how many stalls or incidents, and their time.
#[derive(Clone, Copy, Debug)]
struct Vote {
    class: Class,
    count: u64,
    ns: u64,
}

impl SeenStall {
    /// Returns what its time went to; [`Class::Unknown`] where it was not looked at.
    pub(crate) fn class(&self, warning_ns: u64) -> Class {
        if self.looks == 0 {
            return Class::Unknown;
        }
        let Used { watched_ns, cpu_ns, runqueue_ns } = self.used;
        // A thread that computes is asleep now and then, for a lock or a page.
        let was_asleep = self.looks_asleep * 2 > self.looks;
        let found = match (was_asleep, watched_ns) {
            (true, _) => FoundState::Asleep,
            // Nobody tells whether it had a processor.
            (false, 0) => FoundState::OnProcessor,
            // Nor, where the accounts are not of its end, whether a wait for one is in them yet.
            (false, _) => FoundState::Ready,
        };
        classify(&Evidence {
            age_ns: self.ns,
            threshold_ns: warning_ns,
            watched_ns,
            cpu_ns,
            runqueue_ns,
            is_stopped: self.looks_stopped * 2 > self.looks,
            found: Some(found),
            was_asleep,
            ..Evidence::default()
        })
    }
}

/// Judges a group; `None` where its evidence contradicts itself, so that nobody is to be accused.
pub(crate) fn judge(group: &GroupEvidence<'_>) -> Option<GroupClass> {
    let seen = votes(group.stalls.iter().map(|stall| (stall.class(group.warning_ns), stall.ns)));
    let told = votes(group.incidents.iter().map(|incident| (incident.class, incident.duration_ns)));
    let own = own_figures(group);
    let used = own.or(group.whole);
    let class = match (lead(&seen), lead(&told)) {
        (Some(seen), Some(told)) if seen != told && !is_code(seen) && !is_code(told) => told,
        // Two ways to blame the code: it is to blame, and how is open.
        (Some(seen), Some(told)) if seen != told && is_code(seen) && is_code(told) => {
            return Some(GroupClass { class: Class::Unknown, certainty: Certainty::Possible, used: own });
        }
        (Some(seen), Some(told)) if seen != told => return None,
        (Some(class), _) | (None, Some(class)) => class,
        (None, None) => used.map_or(Class::Unknown, class_of_whole),
    };
    let support = used.map(|used| support(used, class));
    if support.is_some_and(|support| support < SUPPORT_LEAST) && !is_beyond(group, class) {
        return None;
    }
    let of_class = |votes: &[Vote]| votes.iter().find(|vote| vote.class == class).copied();
    let (agreeing, all) = ([of_class(&seen), of_class(&told)], seen.iter().chain(&told));
    let sum = |ns: u64, vote: &Vote| ns.saturating_add(vote.ns);
    let agreement = share(agreeing.iter().flatten().fold(0, sum), all.fold(0, sum));
    let count = agreeing.iter().flatten().map(|vote| vote.count).max().unwrap_or(0);
    let is_clear = agreement >= AGREEMENT_CLEAR && is_looked_at(group, count);
    // The loop's figures are those of others, too.
    let is_supported = own.is_some() && support.is_some_and(|support| support >= SUPPORT_STRONG);
    let certainty = match (is_supported || is_beyond(group, class), is_clear) {
        (true, true) => Certainty::Certain,
        (true, false) | (false, true) => Certainty::Likely,
        _ if group.whole.is_some() && support.is_some_and(|support| support >= SUPPORT_STRONG) => {
            Certainty::Likely
        }
        _ => Certainty::Possible,
    };
    Some(GroupClass { class, certainty, used: own })
}

/// Says how the thread spent `what`: `its thread was on CPU for 93 % of these stalls`.
pub(crate) fn used_words(used: Used, class: Class, what: &str) -> String {
    let (how, part) = match class {
        Class::Waiting => ("asleep", support(used, class)),
        _ => ("on CPU", support(used, Class::Computing)),
    };
    let open = support(used, Class::Waiting);
    let open = match class {
        Class::Unknown if open >= OPEN_TOLD => {
            format!("; {} of it is not accounted for", percent(open))
        }
        _ => String::new(),
    };
    format!("its thread was {how} for {} of {what}{open}", percent(part))
}

/// Tells whether the program's own code is to blame for such a stall.
pub(crate) fn is_code(class: Class) -> bool {
    matches!(class, Class::Computing | Class::Waiting | Class::Unknown)
}

/// Whether enough agree: several, or one that was looked at often.
fn is_looked_at(group: &GroupEvidence<'_>, count: u64) -> bool {
    count >= 2 || group.stalls.iter().any(|stall| stall.looks >= LOOKS_MANY)
}

/// Whether it computed beyond the threshold within each stall that says so: however long it was starved beside that.
fn is_beyond(group: &GroupEvidence<'_>, class: Class) -> bool {
    let is_own = |stall: &&&SeenStall| stall.class(group.warning_ns) == Class::Computing;
    class == Class::Computing
        && group.stalls.iter().any(|stall| is_own(&stall))
        && group.stalls.iter().filter(is_own).all(|stall| stall.used.cpu_ns > group.warning_ns)
}

/// Returns the share of the time that went to what the class says, 0 to 1.
fn support(used: Used, class: Class) -> f64 {
    let asleep_ns = used.watched_ns.saturating_sub(used.cpu_ns.saturating_add(used.runqueue_ns));
    match class {
        Class::Computing => share(used.cpu_ns, used.watched_ns),
        Class::Waiting => share(asleep_ns, used.watched_ns),
        // A wait for a processor may be in no account.
        Class::StarvedOfCpu => share(used.watched_ns.saturating_sub(used.cpu_ns), used.watched_ns),
        Class::Stopped | Class::Suspended | Class::Debugger | Class::Unknown => 1.0,
    }
}

/// Judges by the accounts alone: nobody saw the thread, so what is in none of them may be a sleep, or stolen.
fn class_of_whole(used: Used) -> Class {
    let of = [Class::StarvedOfCpu, Class::Unknown, Class::Computing];
    let most = |class: &Class| match class {
        Class::StarvedOfCpu => used.runqueue_ns,
        Class::Computing => used.cpu_ns,
        _ => used.watched_ns.saturating_sub(used.cpu_ns.saturating_add(used.runqueue_ns)),
    };
    of.into_iter().max_by_key(most).unwrap_or(Class::Unknown)
}

/// Returns what the thread used within the group's stalls, as far as that was watched: seen from outside, else by the agent.
fn own_figures(group: &GroupEvidence<'_>) -> Option<Used> {
    let of_incident = |incident: &&Incident| Used {
        watched_ns: incident.watched_ns,
        cpu_ns: incident.cpu_ns,
        runqueue_ns: incident.runqueue_ns,
    };
    let seen = sum(group.stalls.iter().map(|stall| stall.used));
    let told = sum(group.incidents.iter().map(of_incident));
    [seen, told].into_iter().find(|used| used.watched_ns > 0)
}

fn sum(all: impl Iterator<Item = Used>) -> Used {
    all.fold(Used::default(), |sum, used| Used {
        watched_ns: sum.watched_ns.saturating_add(used.watched_ns),
        cpu_ns: sum.cpu_ns.saturating_add(used.cpu_ns),
        runqueue_ns: sum.runqueue_ns.saturating_add(used.runqueue_ns),
    })
}

/// Counts the known classes, with their time.
fn votes(all: impl Iterator<Item = (Class, u64)>) -> Vec<Vote> {
    let mut votes: Vec<Vote> = Vec::new();
    for (class, ns) in all.filter(|(class, _)| *class != Class::Unknown) {
        match votes.iter_mut().find(|vote| vote.class == class) {
            Some(vote) => (vote.count, vote.ns) = (vote.count + 1, vote.ns.saturating_add(ns)),
            None => votes.push(Vote { class, count: 1, ns }),
        }
    }
    votes
}

/// Returns the class that most of the time speaks for.
fn lead(votes: &[Vote]) -> Option<Class> {
    votes.iter().max_by_key(|vote| vote.ns).map(|vote| vote.class)
}
