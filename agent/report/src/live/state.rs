//! What a loop does at one moment, in fields and in words.

use crate::compute::verdict::{Cause, Verdict};
use crate::live::seen::Seen;
use crate::live::view::{PlaceView, QueueView, RunningView, StateKind, StateView, VerdictView};
use loopscope_probe::now::Running;
use loopscope_probe::{Kind, Queue, SiteId, Snapshot};

/// Returns the state.
pub(super) fn state_view(seen: &Seen) -> StateView {
    let (snapshot, now) = (&seen.snapshot, &seen.snapshot.now);
    let is_stalled = now.unexpected_ns() > snapshot.warning_ns;
    let kind = match now.busy_ns {
        _ if seen.has_ended => StateKind::Ended,
        0 => StateKind::Idle,
        _ if is_stalled => StateKind::Stalled,
        _ if now.expected.is_some() => StateKind::ExpectedBlock,
        _ => StateKind::Running,
    };
    let queue = now.running.and_then(|running| running.queue).map_or("", Queue::name);
    StateView {
        kind,
        is_critical: kind == StateKind::Stalled && now.unexpected_ns() > snapshot.critical_ns,
        busy_ns: now.busy_ns,
        expected_ns: now.expected_ns,
        parked_ns: now.parked_ns,
        stretch_callbacks: now.stretch_callbacks,
        running: now.running.map(|running| running_view(&running, snapshot)),
        spans: seen.spans.clone(),
        expected: now.expected.and_then(|id| Some(snapshot.site(id)?.label())),
        drain: now.drain.map(|(drain_ns, jobs)| QueueView { queue, drain_ns, jobs }),
        verdict: seen.verdict.as_ref().map(|verdict| verdict_view(verdict, snapshot)),
    }
}

fn running_view(running: &Running, snapshot: &Snapshot) -> RunningView {
    let place = running.kind.and_then(|_| place(snapshot, running.site));
    let phase = snapshot.facts.description.phase_label(running.phase);
    let words = match running.kind {
        Some(kind) => kind_and_place(kind, place.as_ref()),
        None => format!("phase {phase}"),
    };
    RunningView {
        phase: phase.to_owned(),
        kind: running.kind.map(Kind::display_name),
        site: place,
        running_ns: snapshot.now.running_ns,
        words,
    }
}

fn verdict_view(verdict: &Verdict, snapshot: &Snapshot) -> VerdictView {
    let place = verdict.kind.and_then(|_| place(snapshot, verdict.site));
    let one = match verdict.kind {
        Some(kind) => kind_and_place(kind, place.as_ref()),
        None => "code outside any callback".to_owned(),
    };
    let is_many = verdict.cause != Cause::Callback || verdict.runs > 1;
    VerdictView {
        cause: verdict.cause.name(),
        kind: verdict.kind.map(Kind::display_name),
        site: place,
        runs: verdict.runs,
        longest_ns: verdict.longest_ns,
        words: if is_many { format!("{} x {one}", verdict.runs) } else { one },
    }
}

fn kind_and_place(kind: Kind, place: Option<&PlaceView>) -> String {
    format!("{} {}", kind.display_name(), place.map_or("?", |place| &place.label))
}

fn place(snapshot: &Snapshot, id: SiteId) -> Option<PlaceView> {
    let site = snapshot.site(id)?;
    Some(PlaceView { name: site.name.clone(), file: site.file.clone(), line: site.line, label: site.label() })
}
