//! What a loop does at one moment, in fields and in words.

use crate::compute::verdict::Verdict;
use crate::live::loop_sample::LoopSample;
use crate::live::view::{PlaceView, QueueView, RunningView, StateKind, StateView, VerdictView};
use crate::words::{kind_and_place, kind_many, kind_word, queue_label, thousands};
use loopscope_probe::description::{Description, Fact, Term};
use loopscope_probe::raw::now::Running;
use loopscope_probe::{SiteId, Snapshot};

/// Returns the state.
pub(super) fn state_view(seen: &LoopSample) -> StateView {
    let (snapshot, now) = (&seen.snapshot, &seen.snapshot.now);
    let runtime = &snapshot.facts.description;
    let is_stalled = now.unexpected_ns() > snapshot.warning_ns;
    let kind = match now.busy_ns {
        _ if seen.has_ended => StateKind::Ended,
        _ if seen.is_stopped => StateKind::Stopped,
        0 => StateKind::Idle,
        _ if is_stalled => StateKind::Stalled,
        _ if now.expected.is_some() => StateKind::ExpectedBlock,
        _ => StateKind::Running,
    };
    StateView {
        kind,
        is_critical: kind == StateKind::Stalled && now.unexpected_ns() > snapshot.critical_ns,
        busy_ns: now.busy_ns,
        expected_ns: now.expected_ns,
        parked_ns: now.parked_ns,
        busy_callbacks: now.busy_callbacks,
        running: now.running.map(|running| running_view(&running, snapshot)),
        spans: seen.spans.clone(),
        expected: now.expected.and_then(|id| Some(snapshot.site(id)?.label())),
        drain: now.drain.map(|drain| queue_view(drain, now.running, runtime)),
        verdict: seen.verdict.as_ref().map(|verdict| verdict_view(verdict, snapshot)),
    }
}

fn queue_view((drain_ns, jobs): (u64, u64), running: Option<Running>, runtime: &Description) -> QueueView {
    let queue = queue_label(runtime, running.and_then(|running| running.queue)).to_owned();
    let is_told = runtime.knows(Fact::DrainedJobs) && !running.is_some_and(|running| running.is_many);
    QueueView { queue, drain_ns, jobs: is_told.then_some(jobs) }
}

fn running_view(running: &Running, snapshot: &Snapshot) -> RunningView {
    let place = running.kind.and_then(|_| place(snapshot, running.site));
    let runtime = &snapshot.facts.description;
    let phase = runtime.knows(Fact::Phases).then(|| runtime.phase_label(running.phase));
    let words = match (running.kind, phase) {
        (Some(kind), _) => kind_and_place(runtime, kind, label(place.as_ref()), running.is_many),
        (None, Some(phase)) => format!("phase {phase}"),
        (None, None) => runtime.noun(Term::Between).one,
    };
    RunningView {
        phase: phase.unwrap_or_default().to_owned(),
        kind: running.kind.map(|kind| kind_word(runtime, kind).to_owned()),
        site: place,
        running_ns: snapshot.now.running_ns,
        words,
    }
}

fn verdict_view(verdict: &Verdict, snapshot: &Snapshot) -> VerdictView {
    let place = verdict.kind.and_then(|_| place(snapshot, verdict.site));
    let runtime = &snapshot.facts.description;
    let about = if verdict.sample.is_some() { "about " } else { "" };
    let words = match (verdict.kind, verdict.is_flood, verdict.runs) {
        (None, ..) => runtime.noun(Term::Between).one,
        (Some(kind), false, _) => kind_and_place(runtime, kind, label(place.as_ref()), false),
        (Some(kind), true, Some(runs)) if place.is_none() => {
            format!("{about}{} {}", thousands(runs), kind_many(runtime, kind, runs))
        }
        (Some(kind), true, None) if place.is_none() => format!("many {}", kind_many(runtime, kind, u64::MAX)),
        (Some(kind), true, runs) => {
            let times = runs.map_or("many".to_owned(), |runs| format!("{about}{}", thousands(runs)));
            format!("{times} x {}", kind_and_place(runtime, kind, label(place.as_ref()), true))
        }
    };
    VerdictView {
        cause: verdict.cause.name(),
        kind: verdict.kind.map(|kind| kind_word(runtime, kind).to_owned()),
        site: place,
        runs: verdict.runs,
        is_estimated: verdict.sample.is_some(),
        longest_ns: verdict.longest_ns,
        words,
    }
}

fn label(place: Option<&PlaceView>) -> &str {
    place.map_or("?", |place| &place.label)
}

fn place(snapshot: &Snapshot, id: SiteId) -> Option<PlaceView> {
    let site = snapshot.site(id)?;
    Some(PlaceView { name: site.name.clone(), file: site.file.clone(), line: site.line, label: site.label() })
}
