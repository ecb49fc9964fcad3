//! Exact times inside callbacks: from the tree of paths on a page to named stacks.

use crate::profiles::frame::ProfileFrame;
use crate::profiles::kind::Of;
use crate::profiles::profile::Profile;
use crate::words::{kind_word, known_phase};
use loopscope_probe::Site;
use loopscope_probe::description::Description;
use loopscope_probe::raw::now::Running;
use loopscope_probe::raw::paths::PathStat;
use loopscope_probe::raw::snapshot::Facts;
use loopscope_probe::{Kind, Phase, Snapshot};
use std::collections::HashMap;

/// Own time in nanoseconds and calls, by stack.
type OwnTimes = HashMap<Vec<ProfileFrame>, (u64, u64)>;

impl Profile {
    /// Returns what ran between two sets of snapshots of the same process or processes. Loops are matched by who they
    /// are, not by their place; one that is only in `later` ran for all of its life, one that ended is left out.
    pub fn between(earlier: &[Snapshot], later: &[Snapshot]) -> Profile {
        let mut profile = Profile::new(Of::Callbacks);
        if let Some(snapshot) = later.first() {
            profile.process.clone_from(&snapshot.facts.process);
            profile.pid = snapshot.facts.pid;
        }
        for after in later {
            profile.know_phases(&after.facts.description);
            let before = earlier.iter().find(|before| identity(&before.facts) == identity(&after.facts));
            let before = before.map(own_times).unwrap_or_default();
            for (stack, (ns, calls)) in own_times(after) {
                let (ns_before, calls_before) = before.get(&stack).copied().unwrap_or_default();
                let ns = ns.saturating_sub(ns_before);
                if ns > 0 {
                    // A call that began before the period, or has not ended in it, is one, too.
                    profile.add(stack, ns, calls.saturating_sub(calls_before).max(1));
                }
            }
        }
        profile
    }
}

/// What stays the same about a loop.
fn identity(facts: &Facts) -> (&str, u32, u64, u64) {
    (&facts.name, facts.pid, facts.pid_start, facts.created_unix_ns)
}

/// Returns the own times of a page, what runs now included.
fn own_times(snapshot: &Snapshot) -> OwnTimes {
    let mut stacks = OwnTimes::new();
    let mut add = |stack, ns, calls| {
        // Two nodes may have the same text: sites that differ only in their column.
        let (sum_ns, sum_calls): &mut (u64, u64) = stacks.entry(stack).or_default();
        (*sum_ns, *sum_calls) = (sum_ns.saturating_add(ns), sum_calls.saturating_add(calls));
    };
    for (node, path) in snapshot.paths.iter().enumerate().filter(|(_, path)| path.self_ns > 0) {
        add(stack(snapshot, node), path.self_ns, path.calls);
    }
    if let Some((stack, ns)) = in_flight(snapshot) {
        add(stack, ns, 0);
    }
    stacks
}

fn stack(snapshot: &Snapshot, node: usize) -> Vec<ProfileFrame> {
    let (mut frames, mut at) = (Vec::new(), node);
    while at != 0 {
        let path = &snapshot.paths[at];
        frames.extend(match node_phase(at) {
            Some(phase) => known_phase(&snapshot.facts.description, phase).map(ProfileFrame::plain),
            None => Some(site_frame(snapshot.sites.get(path.site.index()), &snapshot.facts.description)),
        });
        // A parent's number is below its child's, so this ends.
        at = usize::from(path.parent);
    }
    frames.push(loop_frame(&snapshot.facts.name));
    frames.reverse();
    frames
}

/// Returns the frame of a loop.
pub fn loop_frame(name: &str) -> ProfileFrame {
    ProfileFrame::plain(if name.is_empty() { "unnamed" } else { name })
}

/// Returns the phase that a node is below, `None` for the root and the shared node of a full tree.
fn phase_of(paths: &[PathStat], node: usize) -> Option<Phase> {
    let mut at = node;
    while at > Phase::COUNT {
        at = usize::from(paths[at].parent);
    }
    Phase::from_index(at.checked_sub(1)?)
}

fn node_phase(node: usize) -> Option<Phase> {
    Phase::from_index(node.checked_sub(1)?)
}

/// Returns the frame of a callback, job or span: spans by name, what the user named by that name, all else by kind and
/// place in the words of `runtime`. What has no known place is called by its kind alone.
pub fn site_frame(site: Option<&Site>, runtime: &Description) -> ProfileFrame {
    let Some(site) = site else { return ProfileFrame::plain("?") };
    let text = match site.kind {
        Kind::Span => site.name.clone(),
        kind if site.name.is_empty() && site.file.is_empty() => kind_word(runtime, kind).to_owned(),
        kind if site.name.is_empty() => format!("{} {}", kind_word(runtime, kind), site.label()),
        kind @ (Kind::Tick | Kind::Microtask) => format!("{} {}", kind_word(runtime, kind), site.label()),
        _ => site.label(),
    };
    ProfileFrame { column: site.column, ..ProfileFrame::placed(&text, &site.file, site.line) }
}

/// Returns the stack of what runs now and the time it has not been charged yet: a path's time is counted when it ends.
///
/// Spans charge the time before them when they are entered, so the time since the callback began may be partly
/// counted: no more than what the loop was active beyond all counted time can be missing.
fn in_flight(snapshot: &Snapshot) -> Option<(Vec<ProfileFrame>, u64)> {
    let running = snapshot.now.running?;
    running.kind?;
    let counted_ns = snapshot.paths.iter().fold(0, |sum: u64, path| sum.saturating_add(path.self_ns));
    let missing_ns = snapshot.active_ns.saturating_sub(counted_ns);
    Some((running_stack(snapshot, running), snapshot.now.running_ns.min(missing_ns)))
}

/// Returns the stack of the running callback: right below its phase. A drained job hangs below the callback it
/// follows, which the page does not tell; the newest path of its site in the phase is the best guess.
fn running_stack(snapshot: &Snapshot, running: Running) -> Vec<ProfileFrame> {
    let is_same = |(node, path): &(usize, &PathStat)| {
        path.site == running.site
            && *node > Phase::COUNT
            && phase_of(&snapshot.paths, *node) == Some(running.phase)
    };
    let known = snapshot.paths.iter().enumerate().filter(|_| running.queue.is_some()).rfind(is_same);
    if let Some((node, _)) = known {
        return stack(snapshot, node);
    }
    let site = site_frame(snapshot.sites.get(running.site.index()), &snapshot.facts.description);
    let phase = known_phase(&snapshot.facts.description, running.phase).map(ProfileFrame::plain);
    [loop_frame(&snapshot.facts.name)].into_iter().chain(phase).chain([site]).collect()
}

#[cfg(test)]
#[path = "callbacks_tests.rs"]
mod tests;
