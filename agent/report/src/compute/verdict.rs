//! The verdict over a busy period that is too long: what keeps the loop from polling.
//!
//! One run that took more than half of the busy period is to blame by itself: the loop is *blocked* by a callback.
//! Otherwise many runs share the busy period, and the group of them that took most of the time *starves* the loop: a
//! microtask or tick queue that refills itself, a batch of immediates or timers, or I/O that does not end. A run that stands
//! for many, a batch or a drain told as a whole, is never one long callback: it starves the loop by its kind.

use loopscope_probe::description::{Culprit, Description};
use loopscope_probe::raw::clock::Scale;
use loopscope_probe::raw::now::Running;
use loopscope_probe::raw::record::CallbackRecord;
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

    /// Tells whether this is the label value of a queue of jobs that is drained.
    pub fn is_queue(name: &str) -> bool {
        [Cause::Microtask, Cause::NextTick].iter().any(|queue| queue.name() == name)
    }

    /// Returns what a runtime calls many runs of this cause.
    pub(crate) fn words(self, runtime: &Description) -> &str {
        runtime.culprit_words(self.culprit())
    }

    /// Tells whether a runtime says that it has what this is a flood of.
    pub(crate) fn is_of(self, runtime: &Description) -> bool {
        runtime.names_culprit(self.culprit())
            || runtime.named_kinds().any(|kind| Cause::of_kind(kind) == self)
    }

    fn culprit(self) -> Culprit {
        match self {
            Cause::Microtask => Culprit::Microtask,
            Cause::NextTick => Culprit::NextTick,
            Cause::Immediate => Culprit::Immediate,
            Cause::Timer => Culprit::Timer,
            Cause::Io => Culprit::Io,
            Cause::Callback => Culprit::Callback,
        }
    }

    /// Returns what many runs of this kind starve a loop by.
    pub(crate) fn of_kind(kind: Kind) -> Cause {
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
    /// What ran the longest in sum, or the one run that took most of the busy period.
    pub kind: Option<Kind>,
    pub site: SiteId,
    /// Many runs share the busy period; else one took most of it, or none was seen.
    pub is_flood: bool,
    /// How many runs of that cause the busy period has, about; 1 for a single long one, `None` for many of an unknown number.
    pub runs: Option<u64>,
    /// How long they took together, about, in nanoseconds: at most the busy period.
    pub total_ns: u64,
    /// The longest that was told as one, in nanoseconds; a batch is told as one.
    pub longest_ns: u64,
    /// What `runs` and `total_ns` were estimated from, where the recorder has forgotten a part of the busy period; `None`
    /// where it has all of it, and they were counted.
    pub sample: Option<VerdictSample>,
}

/// The last part of a busy period, which is all that the recorder still has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictSample {
    /// Callbacks and drained jobs of the busy period, whatever they were.
    pub all: u64,
    /// How many of them, the last ones, the recorder has.
    pub known: u64,
    /// How many runs of the verdict's cause are among the known; `None` where nobody knows.
    pub runs: Option<u64>,
    /// How long these took together, in nanoseconds.
    pub total_ns: u64,
}

/// No run is to blame: what took the time is known to nobody.
const NOTHING_RAN: Verdict = Verdict {
    cause: Cause::Callback,
    kind: None,
    site: SiteId::NONE,
    is_flood: false,
    runs: Some(0),
    total_ns: 0,
    longest_ns: 0,
    sample: None,
};

#[derive(Clone, Copy, Debug)]
struct Run {
    kind: Kind,
    site: SiteId,
    ns: u64,
    /// How many runs it stands for; `None` where it stands for many and nobody knows the number.
    count: Option<u64>,
}

impl Run {
    /// Returns how many runs a record or a running frame stands for: one, a known number, or an unknown one.
    fn count(many: Option<u64>) -> Option<u64> {
        match many {
            None => Some(1),
            Some(0) => None,
            Some(number) => Some(number),
        }
    }
}

/// Judges a busy period that began at `since` and is `busy_ns` old. `records` may be cut off at its older end (the
/// recorder keeps the last 4,096): a flood looks the same in its last part. Of what began before `since`, as where the loop
/// polled inside without telling, the part after it counts.
pub(crate) fn judge(
    since: Ticks,
    busy_ns: u64,
    now: &NowValues,
    records: &[CallbackRecord],
    scale: Scale,
) -> Verdict {
    let own = records.iter().filter(|record| record.end > since || record.start >= since);
    let ended = own.map(|record| Run {
        kind: record.kind,
        site: record.site,
        ns: scale.duration_ns(record.end.since(record.start.max(since))),
        count: Run::count(record.many),
    });
    let mut runs: Vec<Run> = ended.collect();
    let ended_count = runs.len() as u64;
    runs.extend(now.running.and_then(|running| in_flight(running, now, busy_ns)));
    let Some(longest) = runs.iter().max_by_key(|run| run.ns).copied() else {
        return Verdict { longest_ns: busy_ns, ..NOTHING_RAN };
    };
    let Run { kind, site, ns, count } = longest;
    let is_most = ns > busy_ns / 2;
    if is_most && count == Some(1) {
        let (cause, kind, runs) = (Cause::Callback, Some(kind), Some(1));
        let (total_ns, longest_ns) = (ns, ns);
        return Verdict { cause, kind, site, is_flood: false, runs, total_ns, longest_ns, sample: None };
    }
    let flood = match is_most {
        true => verdict_on(Cause::of_kind(kind), &runs),
        false => judge_many(&runs),
    };
    // The recorder may have forgotten the older part of the busy period; how many runs there were is known exactly.
    // Where it still has what ended before the busy period, it has forgotten nothing of it.
    let has_all = records.iter().any(|record| record.end <= since && record.start < since);
    let forgotten = if has_all { 0 } else { now.busy_callbacks.saturating_sub(ended_count) };
    let verdict = estimated(flood, runs.len() as u64, forgotten, busy_ns);
    match verdict.runs {
        // Nothing but one short run, which is over: the time went by outside of it.
        Some(1) if !is_most && forgotten == 0 && runs.len() == 1 && ended_count == 1 => {
            Verdict { longest_ns: busy_ns, ..NOTHING_RAN }
        }
        // One that is not most of the busy period is no flood either; it is all there is to blame.
        Some(1) => Verdict { cause: Cause::Callback, is_flood: false, ..verdict },
        _ => verdict,
    }
}

/// Returns the verdict on a busy period of which `forgotten` runs are not known, from that on those that are: as if they had
/// been alike.
fn estimated(flood: Verdict, known: u64, forgotten: u64, busy_ns: u64) -> Verdict {
    if forgotten == 0 {
        return flood;
    }
    let more = |seen: u64| {
        let share = u128::from(forgotten) * u128::from(seen) / u128::from(known);
        seen.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
    };
    let Verdict { runs, total_ns, .. } = flood;
    let sample = VerdictSample { all: known.saturating_add(forgotten), known, runs, total_ns };
    let (runs, total_ns) = (runs.map(more), more(total_ns).min(busy_ns));
    Verdict { runs, total_ns, sample: Some(sample), ..flood }
}

/// Returns what runs, of which no more belongs to the busy period than the busy period is long.
fn in_flight(running: Running, now: &NowValues, busy_ns: u64) -> Option<Run> {
    let (site, count) = (running.site, (!running.is_many).then_some(1));
    Some(Run { kind: running.kind?, site, ns: now.running_ns.min(busy_ns), count })
}

/// Names the cause that took most of the time, and within it the site that did.
fn judge_many(runs: &[Run]) -> Verdict {
    let total_ns = |cause: Cause| -> u64 {
        let own = runs.iter().filter(|run| Cause::of_kind(run.kind) == cause);
        own.fold(0, |sum: u64, run| sum.saturating_add(run.ns))
    };
    let has_run = |cause: &Cause| runs.iter().any(|run| Cause::of_kind(run.kind) == *cause);
    let causes = Cause::ALL.into_iter().filter(has_run);
    let cause = causes.max_by_key(|cause| total_ns(*cause)).unwrap_or(Cause::Callback);
    verdict_on(cause, runs)
}

/// Sums up the runs of one cause.
fn verdict_on(cause: Cause, runs: &[Run]) -> Verdict {
    let mut sites: std::collections::HashMap<(SiteId, Kind), u64> = std::collections::HashMap::new();
    let (mut count, mut total_ns, mut longest_ns) = (Some(0u64), 0u64, 0);
    for run in runs.iter().filter(|run| Cause::of_kind(run.kind) == cause) {
        let site_ns = sites.entry((run.site, run.kind)).or_default();
        *site_ns = site_ns.saturating_add(run.ns);
        count = count.zip(run.count).map(|(sum, number)| sum.saturating_add(number));
        total_ns = total_ns.saturating_add(run.ns);
        longest_ns = longest_ns.max(run.ns);
    }
    // Of equals the lowest number, so that the same busy period is always judged alike.
    let heaviest = sites.into_iter().max_by_key(|((site, _), ns)| (*ns, std::cmp::Reverse(*site)));
    let (site, kind) = heaviest.map_or((SiteId::NONE, None), |((site, kind), _)| (site, Some(kind)));
    Verdict { cause, kind, site, is_flood: true, runs: count, total_ns, longest_ns, sample: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Phase, Queue};

    const MS: u64 = 1_000_000;

    fn record(kind: Kind, site: u16, start: u64, ns: u64) -> CallbackRecord {
        CallbackRecord {
            number: 0,
            kind,
            site: SiteId::from(site),
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
            site: SiteId::from(site),
            queue,
            is_many: false,
            since: Ticks(1),
        };
        NowValues { running: Some(running), running_ns: ns, ..NowValues::IDLE }
    }

    fn verdict_of(now: &NowValues, records: &[CallbackRecord], busy_ns: u64) -> Verdict {
        judge(Ticks(100), busy_ns, now, records, Scale::NANOSECONDS)
    }

    #[test]
    fn one_run_of_more_than_half_the_busy_period_blocks() {
        for kind in [Kind::Timer, Kind::IoRead, Kind::Microtask, Kind::Other] {
            let verdict = verdict_of(&running(kind, 4, 130 * MS), &[], 200 * MS);
            assert_eq!(
                (verdict.cause, verdict.kind, verdict.site),
                (Cause::Callback, Some(kind), SiteId::from(4))
            );
        }
        // It may also be over, with something short running after it.
        let records = [record(Kind::Timer, 9, 200, 150 * MS)];
        let verdict = verdict_of(&running(Kind::Immediate, 4, 3 * MS), &records, 200 * MS);
        assert_eq!((verdict.kind, verdict.site, verdict.runs), (Some(Kind::Timer), SiteId::from(9), Some(1)));
    }

    /// The time went by before it began, after it had ended, or both.
    #[test]
    fn one_short_run_that_is_over_is_not_to_blame() {
        let short = [record(Kind::WorkDone, 9, 200, MS)];
        let verdict = verdict_of(&NowValues::IDLE, &short, 130 * MS);
        assert_eq!((verdict.kind, verdict.site, verdict.longest_ns), (None, SiteId::NONE, 130 * MS));
        // What runs may be what blocks; and of what the recorder has forgotten nobody knows.
        let verdict = verdict_of(&running(Kind::WorkDone, 9, MS), &[], 130 * MS);
        assert_eq!((verdict.kind, verdict.site), (Some(Kind::WorkDone), SiteId::from(9)));
        let forgotten = NowValues { busy_callbacks: 7, ..NowValues::IDLE };
        assert_eq!(verdict_of(&forgotten, &short, 130 * MS).site, SiteId::from(9));
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
            let mut records: Vec<CallbackRecord> =
                (0..50).map(|at| record(kind, 3, 200 + at, 2 * MS)).collect();
            records.push(record(kind, 5, 900, MS));
            records.push(record(Kind::Close, 6, 950, 9 * MS));
            let verdict = verdict_of(&NowValues::IDLE, &records, 110 * MS);
            assert_eq!(
                (verdict.cause, verdict.kind, verdict.site),
                (cause, Some(kind), SiteId::from(3)),
                "{kind:?}"
            );
            assert_eq!(verdict.runs, Some(if cause == Cause::Callback { 52 } else { 51 }));
            assert!(verdict.is_flood);
        }
    }

    #[test]
    fn runs_that_the_recorder_forgot_are_counted() {
        let records: Vec<CallbackRecord> =
            (0..4_000).map(|at| record(Kind::Tick, 3, 200 + at, MS / 20)).collect();
        let now = NowValues { busy_callbacks: 40_000, ..NowValues::IDLE };
        assert_eq!(verdict_of(&now, &records, 2_000 * MS).runs, Some(40_000));
        // The one that runs is no forgotten one.
        let now = NowValues { busy_callbacks: 40_000, ..running(Kind::Tick, 3, MS / 20) };
        assert_eq!(verdict_of(&now, &records, 2_000 * MS).runs, Some(40_001));
    }

    #[test]
    fn what_an_estimate_was_made_from_is_said_and_nothing_beside_what_was_counted() {
        let mut records = vec![record(Kind::Microtask, 3, 200, MS / 1_000); 3_000];
        records.extend(vec![record(Kind::Timer, 4, 200, MS / 2_000); 1_000]);
        let counted = NowValues { busy_callbacks: 4_000, ..NowValues::IDLE };
        let verdict = verdict_of(&counted, &records, 300 * MS);
        assert_eq!((verdict.runs, verdict.total_ns, verdict.sample), (Some(3_000), 3 * MS, None));
        let forgotten = NowValues { busy_callbacks: 40_000, ..NowValues::IDLE };
        let verdict = verdict_of(&forgotten, &records, 300 * MS);
        assert_eq!((verdict.runs, verdict.total_ns), (Some(30_000), 30 * MS));
        let sample = VerdictSample { all: 40_000, known: 4_000, runs: Some(3_000), total_ns: 3 * MS };
        assert_eq!(verdict.sample, Some(sample));
        // The forgotten ones were shorter: all of them together took no longer than the busy period.
        assert_eq!(verdict_of(&forgotten, &records, 20 * MS).total_ns, 20 * MS);
    }

    /// In a flood of runs that are shorter than the clock can tell, what was caught may have run for no time.
    #[test]
    fn what_ran_for_no_time_is_to_blame_rather_than_what_did_not_run() {
        let now = NowValues { busy_callbacks: 40_000, ..running(Kind::Microtask, 3, 0) };
        let verdict = verdict_of(&now, &[], 100 * MS);
        let found = (verdict.cause, verdict.kind, verdict.site, verdict.runs);
        assert_eq!(found, (Cause::Microtask, Some(Kind::Microtask), SiteId::from(3), Some(40_001)));
    }

    #[test]
    fn runs_before_the_busy_period_are_innocent() {
        let since = 600 * MS;
        let records = [record(Kind::Timer, 1, 100 * MS, 500 * MS), record(Kind::IoRead, 2, since, 90 * MS)];
        let verdict = judge(Ticks(since), 120 * MS, &NowValues::IDLE, &records, Scale::NANOSECONDS);
        assert_eq!((verdict.site, verdict.runs), (SiteId::from(2), Some(1)));
    }

    #[test]
    fn a_busy_period_without_callbacks_has_no_site() {
        let verdict = verdict_of(&NowValues::IDLE, &[], 300 * MS);
        assert_eq!((verdict.cause, verdict.kind, verdict.site), (Cause::Callback, None, SiteId::NONE));
    }

    fn many(kind: Kind, number: u64, ns: u64) -> CallbackRecord {
        CallbackRecord { many: Some(number), ..record(kind, 3, 200, ns) }
    }

    const FLOODS: [(Kind, Cause); 6] = [
        (Kind::Microtask, Cause::Microtask),
        (Kind::Tick, Cause::NextTick),
        (Kind::Immediate, Cause::Immediate),
        (Kind::Timer, Cause::Timer),
        (Kind::IoRead, Cause::Io),
        (Kind::Task, Cause::Callback),
    ];

    #[test]
    fn a_run_that_stands_for_many_is_a_flood_of_its_kind_with_their_number() {
        for (kind, cause) in FLOODS {
            for (number, runs) in [(1_648_453, Some(1_648_453)), (2, Some(2)), (0, None)] {
                let verdict = verdict_of(&NowValues::IDLE, &[many(kind, number, 190 * MS)], 200 * MS);
                assert_eq!((verdict.cause, verdict.is_flood, verdict.runs), (cause, true, runs), "{kind:?}");
                assert_eq!((verdict.kind, verdict.site), (Some(kind), SiteId::from(3)));
            }
            let mut now = running(kind, 4, 190 * MS);
            now.running = now.running.map(|running| Running { is_many: true, ..running });
            let verdict = verdict_of(&now, &[], 200 * MS);
            assert_eq!((verdict.cause, verdict.is_flood, verdict.runs), (cause, true, None), "{kind:?}");
            assert_eq!(verdict.site, SiteId::from(4));
        }
    }

    #[test]
    fn a_batch_of_one_is_one_long_callback() {
        for (kind, _) in FLOODS {
            let verdict = verdict_of(&NowValues::IDLE, &[many(kind, 1, 190 * MS)], 200 * MS);
            assert_eq!((verdict.cause, verdict.is_flood, verdict.runs), (Cause::Callback, false, Some(1)));
        }
    }

    #[test]
    fn a_batch_beside_one_long_callback_is_not_to_blame() {
        for (kind, _) in FLOODS {
            let records = [many(kind, 900, 40 * MS), record(Kind::IoRead, 7, 300, 150 * MS)];
            let verdict = verdict_of(&NowValues::IDLE, &records, 200 * MS);
            assert_eq!(
                (verdict.cause, verdict.is_flood, verdict.site),
                (Cause::Callback, false, SiteId::from(7))
            );
        }
    }

    #[test]
    fn drains_that_share_a_busy_period_are_counted_by_their_jobs() {
        let mut records = vec![many(Kind::Microtask, 50, 30 * MS); 4];
        records.push(record(Kind::Timer, 9, 300, 60 * MS));
        let verdict = verdict_of(&NowValues::IDLE, &records, 200 * MS);
        assert_eq!((verdict.cause, verdict.runs, verdict.total_ns), (Cause::Microtask, Some(200), 120 * MS));
        records.push(many(Kind::Microtask, 0, MS));
        assert_eq!(verdict_of(&NowValues::IDLE, &records, 200 * MS).runs, None, "of one, nobody knows");
    }

    #[test]
    fn what_began_before_a_hidden_poll_counts_from_there() {
        let since = 100 * MS;
        let judged = |records: &[CallbackRecord], now: &NowValues| {
            judge(Ticks(since), 150 * MS, now, records, Scale::NANOSECONDS)
        };
        // 150 ms of it are the busy period's, and the 5 ms after it are not to blame.
        let long = record(Kind::Task, 4, 20 * MS, 225 * MS);
        let verdict = judged(&[long, record(Kind::Timer, 5, 245 * MS, 5 * MS)], &NowValues::IDLE);
        assert_eq!((verdict.site, verdict.runs, verdict.total_ns), (SiteId::from(4), Some(1), 145 * MS));
        // What ended before is not, whatever its length, and hides none that was forgotten.
        let now = NowValues { busy_callbacks: 900, ..NowValues::IDLE };
        let mut records = vec![record(Kind::Task, 6, 0, since)];
        records.extend(vec![record(Kind::Task, 7, since, 5 * MS); 20]);
        let verdict = judged(&records, &now);
        assert_eq!((verdict.site, verdict.runs), (SiteId::from(7), Some(20)), "the 880 were before the poll");
        // What still runs has run longer than the busy period.
        let verdict = judged(&[], &running(Kind::Task, 8, 400 * MS));
        assert_eq!((verdict.site, verdict.total_ns), (SiteId::from(8), 150 * MS));
    }
}
