//! Past incidents as a profile: the time of stalls, by the stacks that were captured in them.

use crate::incident::{self, Incident, IncidentKind, StackCount};
use crate::profiles::callbacks::loop_frame;
use crate::profiles::frame::{Code, Module, ProfileFrame};
use crate::profiles::kind::Of;
use crate::profiles::profile::Profile;
use crate::words::{RuntimeWords, count};
use std::sync::Arc;

impl Profile {
    /// Returns the time of stalls and starvations, each incident's duration shared out among its stacks by how often
    /// they were found; among kinds and sites of callbacks where it has none. Saturated pools block no loop and are
    /// left out.
    pub fn of_incidents(incidents: &[Incident]) -> Profile {
        let mut profile = Profile::new(Of::Stalls);
        for incident in incidents.iter().filter(|incident| incident.kind != IncidentKind::Pool) {
            if profile.process.is_empty() {
                profile.process.clone_from(&incident.process);
                profile.pid = incident.pid;
            }
            let captures = incident.stacks.iter().fold(0, |sum: u64, stack| sum.saturating_add(stack.count));
            match captures {
                0 => add_groups(&mut profile, incident),
                captures => {
                    for stack in &incident.stacks {
                        let ns = share(incident.duration_ns, stack.count, captures);
                        profile.add(frames(incident, stack), ns, stack.count);
                    }
                }
            }
        }
        let suppressed =
            incidents.iter().fold(0, |sum: u64, incident| sum.saturating_add(incident.captures_suppressed));
        if suppressed > 0 {
            profile.notes.push(format!("{} suppressed by the rate limit", count(suppressed, "capture")));
        }
        profile
    }
}

/// Returns `part` of `whole`, in proportion to `ns`.
fn share(ns: u64, part: u64, whole: u64) -> u64 {
    (u128::from(ns) * u128::from(part) / u128::from(whole.max(1))) as u64
}

/// Loop, phase, callback and spans of an incident.
fn layout(incident: &Incident) -> Vec<ProfileFrame> {
    // A runtime that has words of its own and tells of no phase has none.
    let phase = match incident.phase.as_str() {
        "" if incident.words == RuntimeWords::default() => Some("main"),
        "" => None,
        phase => Some(phase),
    };
    let culprit = &incident.culprit;
    let label = if culprit.name.is_empty() && !culprit.kind.is_empty() {
        format!("{} {}", culprit.kind, culprit.label)
    } else {
        culprit.label.clone()
    };
    let spans = incident.spans.iter().map(|span| ProfileFrame::placed(&span.name, &span.file, span.line));
    let site =
        ProfileFrame { column: culprit.column, ..ProfileFrame::placed(&label, &culprit.file, culprit.line) };
    let phase = phase.map(ProfileFrame::plain);
    [loop_frame(&incident.r#loop)].into_iter().chain(phase).chain([site]).chain(spans).collect()
}

fn frames(incident: &Incident, stack: &StackCount) -> Vec<ProfileFrame> {
    let mut frames = layout(incident);
    let plumbing = stack.plumbing(incident.culprit.kind != "main");
    frames.extend(stack.frames.iter().rev().skip(plumbing).map(code));
    frames.extend(incident.waiting_in.as_ref().map(|waiting| ProfileFrame::plain(&format!("[{waiting}]"))));
    frames
}

fn code(frame: &incident::Frame) -> ProfileFrame {
    let module = frame.module.as_ref().map(|path| Module { path: path.clone(), build_id: String::new() });
    // An incident keeps names and no addresses.
    let code = Code { module: module.map(Arc::new), offset: 0, is_inlined: frame.is_inlined };
    let file = frame.file.as_deref().unwrap_or("");
    let (line, column) = (frame.line.unwrap_or(0), frame.column.unwrap_or(0));
    ProfileFrame {
        code: Some(code),
        column,
        is_function_start: frame.is_function_start,
        ..ProfileFrame::placed(&frame.function, file, line)
    }
}

/// Without stacks, what ran is known by kind and site at least, and of the one to blame its spans.
fn add_groups(profile: &mut Profile, incident: &Incident) {
    let layout = layout(incident);
    let mut left_ns = incident.duration_ns;
    for group in &incident.groups {
        let ns = group.total_ns.min(left_ns);
        left_ns -= ns;
        let culprit = &incident.culprit;
        if group.parent.is_none() && (&group.kind, &group.label) == (&culprit.kind, &culprit.label) {
            profile.add(layout.clone(), ns, group.count.unwrap_or(1));
            continue;
        }
        let own = ProfileFrame::plain(&format!("{} {}", group.kind, group.label));
        let sites = group.parent.iter().map(|parent| ProfileFrame::plain(parent)).chain([own]);
        let above = layout.len() - 1 - incident.spans.len();
        profile.add(layout[..above].iter().cloned().chain(sites), ns, group.count.unwrap_or(1));
    }
    if left_ns > 0 {
        profile.add(layout, left_ns, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Culprit, FrameOwner, Group};

    fn stack(count: u64, functions: &[&str]) -> StackCount {
        let owner = |function: &str| match function.starts_with("turner::") {
            true => FrameOwner::Runtime,
            false => FrameOwner::Program,
        };
        let frame = |function: &&str| incident::Frame {
            function: (*function).to_owned(),
            owner: owner(function),
            ..Default::default()
        };
        StackCount { count, frames: functions.iter().map(frame).collect(), ..Default::default() }
    }

    fn incident(duration_ns: u64) -> Incident {
        Incident {
            r#loop: "web".to_owned(),
            phase: "timers".to_owned(),
            duration_ns,
            culprit: Culprit {
                kind: "timer".to_owned(),
                label: "flush (a.rs:1)".to_owned(),
                name: "flush".to_owned(),
                ..Culprit::default()
            },
            ..Incident::default()
        }
    }

    #[test]
    fn an_incidents_time_is_shared_out_among_its_stacks() {
        let mut one = incident(300_000_000);
        let root = ["turner::run", "app::main"];
        one.stacks = vec![
            stack(2, &["sum", "flush", root[0], root[1]]),
            stack(1, &["sort", "flush", root[0], root[1]]),
        ];
        one.captures_suppressed = 3;
        let profile = Profile::of_incidents(&[one]);
        let expected =
            "web;timers;flush (a.rs:1);flush;sort 100000\nweb;timers;flush (a.rs:1);flush;sum 200000\n";
        assert_eq!((profile.folded().as_str(), profile.total_count()), (expected, 3));
        assert_eq!(profile.notes, ["3 captures suppressed by the rate limit"]);
    }

    #[test]
    fn what_it_waited_in_is_the_innermost_frame() {
        let mut one = incident(1_000_000);
        one.stacks = vec![stack(1, &["read", "load"])];
        one.waiting_in = Some("read(fd 3 -> pipe:[81])".to_owned());
        let folded = Profile::of_incidents(&[one]).folded();
        assert_eq!(folded, "web;timers;flush (a.rs:1);load;read;[read(fd 3 -> pipe:[81])] 1000\n");
    }

    #[test]
    fn without_a_stack_the_callback_and_its_spans_are_drawn() {
        let mut one = incident(300_000_000);
        let group = |kind: &str, label: &str, total_ns| Group {
            kind: kind.to_owned(),
            label: label.to_owned(),
            count: Some(1),
            total_ns,
            ..Group::default()
        };
        one.groups =
            vec![group("timer", "flush (a.rs:1)", 290_000_000), group("io_read", "b.rs:2", 10_000_000)];
        let span = |name: &str| incident::Span { name: name.to_owned(), ..incident::Span::default() };
        one.spans = vec![span("query"), span("parse")];
        assert_eq!(
            Profile::of_incidents(&[one]).folded(),
            "web;timers;flush (a.rs:1);query;parse 290000\nweb;timers;io_read b.rs:2 10000\n"
        );
    }

    #[test]
    fn without_stacks_there_are_sites_and_pools_are_left_out() {
        let mut flood = incident(10_000_000);
        let group = Group {
            kind: "microtask".to_owned(),
            label: "a.rs:9".to_owned(),
            parent: Some("flush".to_owned()),
            count: Some(7),
            total_ns: 9_000_000,
            longest_ns: Some(2_000_000),
        };
        flood.groups = vec![group];
        let pool = Incident { kind: IncidentKind::Pool, ..incident(5_000_000) };
        let profile = Profile::of_incidents(&[flood, pool.clone()]);
        assert_eq!(
            profile.folded(),
            "web;timers;flush;microtask a.rs:9 9000\nweb;timers;flush (a.rs:1) 1000\n"
        );
        assert!(Profile::of_incidents(&[pool]).is_empty());
    }
}
