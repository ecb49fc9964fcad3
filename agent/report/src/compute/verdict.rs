//! The verdict over a busy stretch that is too long: what keeps the loop from polling.
//!
//! One run that took more than half of the stretch is to blame by itself: the loop is *blocked* by a callback.
//! Otherwise many runs share the stretch, and the group of them that took most of the time *starves* the loop: a
//! microtask or tick queue that refills itself, a batch of immediates or timers, or I/O that does not end.

use loopscope_probe::clock::Scale;
use loopscope_probe::now::Running;
use loopscope_probe::record::Record;
use loopscope_probe::{Kind, NowValues, SiteId, Ticks};

/// Why a loop does not poll. The label values of `cause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Cause {
    Microtask,
    NextTick,
    Immediate,
    Timer,
    Io,
    Callback,
}

impl Cause {
    /// How many there are.
    pub const COUNT: usize = 6;

    pub const ALL: [Cause; Cause::COUNT] =
        [Cause::Microtask, Cause::NextTick, Cause::Immediate, Cause::Timer, Cause::Io, Cause::Callback];

    /// Returns the label value.
    pub fn name(self) -> &'static str {
        ["microtask", "nexttick", "immediate", "timer", "io", "callback"][self as usize]
    }

    /// Returns what many runs of this kind starve a loop by.
    fn of_kind(kind: Kind) -> Cause {
        match kind {
            Kind::Microtask => Cause::Microtask,
            Kind::Tick => Cause::NextTick,
            Kind::Immediate => Cause::Immediate,
            Kind::Timer => Cause::Timer,
            Kind::IoRead | Kind::IoWrite | Kind::Accept | Kind::Connect => Cause::Io,
            Kind::Signal | Kind::Child | Kind::Async | Kind::WorkDone => Cause::Io,
            _ => Cause::Callback,
        }
    }
}

/// What keeps a loop from polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub cause: Cause,
    /// What ran the longest in sum, or the one run that took most of the stretch.
    pub kind: Option<Kind>,
    pub site: SiteId,
    /// How many runs of that cause the stretch has, about; 1 for a single long one.
    pub runs: u64,
    /// The longest of them, in nanoseconds.
    pub longest_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    kind: Kind,
    site: SiteId,
    ns: u64,
}

/// Judges a stretch that began at `since` and is `stretch_ns` old. `records` may be cut off at its older end (the
/// recorder keeps the last 4,096): a flood looks the same in its last part.
pub(crate) fn judge(
    since: Ticks,
    stretch_ns: u64,
    now: &NowValues,
    records: &[Record],
    scale: Scale,
) -> Verdict {
    let ended = records.iter().filter(|record| record.start >= since).map(|record| Run {
        kind: record.kind,
        site: record.site,
        ns: scale.duration_ns(record.end.since(record.start)),
    });
    let runs: Vec<Run> = ended.chain(now.running.and_then(|running| in_flight(running, now))).collect();
    let Some(longest) = runs.iter().max_by_key(|run| run.ns).copied() else {
        return Verdict {
            cause: Cause::Callback,
            kind: None,
            site: SiteId::NONE,
            runs: 0,
            longest_ns: stretch_ns,
        };
    };
    if longest.ns > stretch_ns / 2 {
        return Verdict {
            cause: Cause::Callback,
            kind: Some(longest.kind),
            site: longest.site,
            runs: 1,
            longest_ns: longest.ns,
        };
    }
    let verdict = judge_many(&runs);
    // The recorder may have forgotten the older part of the stretch; how many runs there were is known exactly.
    let forgotten = now.stretch_callbacks.saturating_sub(runs.len() as u64);
    let share = u128::from(forgotten) * u128::from(verdict.runs) / runs.len() as u128;
    Verdict { runs: verdict.runs.saturating_add(u64::try_from(share).unwrap_or(u64::MAX)), ..verdict }
}

fn in_flight(running: Running, now: &NowValues) -> Option<Run> {
    Some(Run { kind: running.kind?, site: running.site, ns: now.running_ns })
}

/// Names the cause that took most of the time, and within it the site that did.
fn judge_many(runs: &[Run]) -> Verdict {
    let total_ns = |cause: Cause| -> u64 {
        let own = runs.iter().filter(|run| Cause::of_kind(run.kind) == cause);
        own.fold(0, |sum: u64, run| sum.saturating_add(run.ns))
    };
    let cause = Cause::ALL.into_iter().max_by_key(|cause| total_ns(*cause)).unwrap_or(Cause::Callback);
    let mut sites: std::collections::HashMap<(SiteId, Kind), u64> = std::collections::HashMap::new();
    let (mut count, mut longest_ns) = (0, 0);
    for run in runs.iter().filter(|run| Cause::of_kind(run.kind) == cause) {
        let site_ns = sites.entry((run.site, run.kind)).or_default();
        *site_ns = site_ns.saturating_add(run.ns);
        count += 1;
        longest_ns = longest_ns.max(run.ns);
    }
    // Of equals the lowest number, so that the same stretch is always judged alike.
    let heaviest = sites.into_iter().max_by_key(|((site, _), ns)| (*ns, std::cmp::Reverse(*site)));
    let (site, kind) = heaviest.map_or((SiteId::NONE, None), |((site, kind), _)| (site, Some(kind)));
    Verdict { cause, kind, site, runs: count, longest_ns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Phase, kind::Queue};

    const MS: u64 = 1_000_000;

    fn record(kind: Kind, site: u16, start: u64, ns: u64) -> Record {
        Record {
            number: 0,
            kind,
            site: SiteId(site),
            parent: SiteId::NONE,
            phase: Phase::POLL,
            many: None,
            ready: Ticks::NONE,
            start: Ticks(start),
            end: Ticks(start + ns),
        }
    }

    fn running(kind: Kind, site: u16, ns: u64) -> NowValues {
        let queue: Option<Queue> = kind.queue();
        let running = Running {
            phase: Phase::POLL,
            kind: Some(kind),
            site: SiteId(site),
            queue,
            is_many: false,
            since: Ticks(1),
        };
        NowValues { running: Some(running), running_ns: ns, ..NowValues::IDLE }
    }

    fn verdict_of(now: &NowValues, records: &[Record], stretch_ns: u64) -> Verdict {
        judge(Ticks(100), stretch_ns, now, records, Scale::NANOSECONDS)
    }

    #[test]
    fn one_run_of_more_than_half_the_stretch_blocks() {
        for kind in [Kind::Timer, Kind::IoRead, Kind::Microtask, Kind::Other] {
            let verdict = verdict_of(&running(kind, 4, 130 * MS), &[], 200 * MS);
            assert_eq!((verdict.cause, verdict.kind, verdict.site), (Cause::Callback, Some(kind), SiteId(4)));
        }
        // It may also be over, with something short running after it.
        let records = [record(Kind::Timer, 9, 200, 150 * MS)];
        let verdict = verdict_of(&running(Kind::Immediate, 4, 3 * MS), &records, 200 * MS);
        assert_eq!((verdict.kind, verdict.site, verdict.runs), (Some(Kind::Timer), SiteId(9), 1));
    }

    #[test]
    fn many_runs_starve_by_their_kind() {
        for (kind, cause) in [
            (Kind::Microtask, Cause::Microtask),
            (Kind::Tick, Cause::NextTick),
            (Kind::Immediate, Cause::Immediate),
            (Kind::Timer, Cause::Timer),
            (Kind::Accept, Cause::Io),
            (Kind::WorkDone, Cause::Io),
            (Kind::Check, Cause::Callback),
        ] {
            let mut records: Vec<Record> = (0..50).map(|at| record(kind, 3, 200 + at, 2 * MS)).collect();
            records.push(record(kind, 5, 900, MS));
            records.push(record(Kind::Close, 6, 950, 9 * MS));
            let verdict = verdict_of(&NowValues::IDLE, &records, 110 * MS);
            assert_eq!(
                (verdict.cause, verdict.kind, verdict.site),
                (cause, Some(kind), SiteId(3)),
                "{kind:?}"
            );
            assert_eq!(verdict.runs, if cause == Cause::Callback { 52 } else { 51 });
        }
    }

    #[test]
    fn runs_that_the_recorder_forgot_are_counted() {
        let records: Vec<Record> = (0..4_000).map(|at| record(Kind::Tick, 3, 200 + at, MS / 20)).collect();
        let now = NowValues { stretch_callbacks: 40_000, ..NowValues::IDLE };
        assert_eq!(verdict_of(&now, &records, 2_000 * MS).runs, 40_000);
    }

    #[test]
    fn runs_before_the_stretch_are_innocent() {
        let records = [record(Kind::Timer, 1, 99, 500 * MS), record(Kind::IoRead, 2, 100, 90 * MS)];
        assert_eq!(verdict_of(&NowValues::IDLE, &records, 120 * MS).site, SiteId(2));
    }

    #[test]
    fn a_stretch_without_callbacks_has_no_site() {
        let verdict = verdict_of(&NowValues::IDLE, &[], 300 * MS);
        assert_eq!((verdict.cause, verdict.kind, verdict.site), (Cause::Callback, None, SiteId::NONE));
    }
}
