//! From the tree of paths on a page to named stacks.

use loopscope_probe::now::Running;
use loopscope_probe::paths::PathStat;
use loopscope_probe::{Kind, Phase, SiteId, Snapshot};
use std::collections::BTreeMap;

/// One frame: its text, and the phase it belongs to, which gives it its colour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    pub text: String,
    pub phase: Option<u8>,
}

/// Returns the own time of every stack of a page, in nanoseconds, what runs now included.
pub(crate) fn own_times(snapshot: &Snapshot) -> BTreeMap<Vec<Frame>, u64> {
    let mut stacks = BTreeMap::new();
    for (node, path) in snapshot.paths.iter().enumerate().filter(|(_, path)| path.self_ns > 0) {
        // Two nodes may have the same text: sites that differ only in their column.
        *stacks.entry(stack(snapshot, node)).or_default() += path.self_ns;
    }
    if let Some((stack, ns)) = in_flight(snapshot) {
        *stacks.entry(stack).or_default() += ns;
    }
    stacks
}

fn stack(snapshot: &Snapshot, node: usize) -> Vec<Frame> {
    let phase = phase_of(&snapshot.paths, node);
    let (mut frames, mut at) = (Vec::new(), node);
    while at != 0 {
        let path = &snapshot.paths[at];
        let text = phase_name(at).map_or_else(|| site_text(snapshot, path.site), str::to_owned);
        frames.push(Frame { text: clean(&text), phase });
        // A parent's number is below its child's, so this ends.
        at = usize::from(path.parent);
    }
    frames.push(loop_frame(snapshot));
    frames.reverse();
    frames
}

fn loop_frame(snapshot: &Snapshot) -> Frame {
    let name = if snapshot.facts.name.is_empty() { "unnamed" } else { &snapshot.facts.name };
    Frame { text: clean(name), phase: None }
}

/// Returns the phase that a node is below, `None` for the root and the shared node of a full tree.
fn phase_of(paths: &[PathStat], node: usize) -> Option<u8> {
    let mut at = node;
    while at > Phase::COUNT {
        at = usize::from(paths[at].parent);
    }
    at.checked_sub(1).map(|phase| phase as u8)
}

fn phase_name(node: usize) -> Option<&'static str> {
    Phase::from_index(node.checked_sub(1)?).map(Phase::name)
}

/// Returns a frame's text: spans by name, what the user named by that name, all else by kind and place.
fn site_text(snapshot: &Snapshot, site: SiteId) -> String {
    let Some(site) = snapshot.sites.get(site.index()) else { return "?".to_owned() };
    match site.kind {
        Kind::Span => site.name.clone(),
        kind if site.name.is_empty() => format!("{} {}", kind_text(kind), site.label()),
        Kind::Tick | Kind::Microtask => format!("{} {}", kind_text(site.kind), site.label()),
        _ => site.label(),
    }
}

fn kind_text(kind: Kind) -> &'static str {
    kind.queue().map_or(kind.name(), |queue| queue.name())
}

/// Frames are separated by semicolons and stacks by lines.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c == ';' || c.is_control() { ':' } else { c }).collect()
}

/// Returns the stack of what runs now and the time it has not been charged yet: a path's time is booked when it ends.
///
/// Spans charge the time before them when they are entered, so the time since the callback began may be partly
/// booked: no more than what the loop was active beyond all booked time can be missing.
fn in_flight(snapshot: &Snapshot) -> Option<(Vec<Frame>, u64)> {
    let running = snapshot.now.running?;
    running.kind?;
    let booked_ns = snapshot.paths.iter().fold(0, |sum: u64, path| sum.saturating_add(path.self_ns));
    let missing_ns = snapshot.active_ns.saturating_sub(booked_ns);
    Some((running_stack(snapshot, running), snapshot.now.running_ns.min(missing_ns)))
}

/// Returns the stack of the running callback: right below its phase. A drained job hangs below the callback it
/// follows, which the page does not tell; the newest path of its site in the phase is the best guess.
fn running_stack(snapshot: &Snapshot, running: Running) -> Vec<Frame> {
    let is_same = |(node, path): &(usize, &PathStat)| {
        path.site == running.site
            && *node > Phase::COUNT
            && phase_of(&snapshot.paths, *node) == Some(running.phase as u8)
    };
    let known = snapshot.paths.iter().enumerate().filter(|_| running.queue.is_some()).rfind(is_same);
    if let Some((node, _)) = known {
        return stack(snapshot, node);
    }
    let phase = Some(running.phase as u8);
    let texts = [running.phase.name().to_owned(), site_text(snapshot, running.site)];
    let inner = texts.into_iter().map(|text| Frame { text: clean(&text), phase });
    std::iter::once(loop_frame(snapshot)).chain(inner).collect()
}
