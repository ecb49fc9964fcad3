//! Every rule, made to fire and kept silent, from plain values.

use super::*;
use crate::compute::classify::Used;
use crate::compute::sites::SiteTotal;
use crate::compute::verdict::{Cause, VerdictSample};
use crate::diagnose::evidence::{
    Collections, CpuTime, Delayer, JobSite, PoolEvidence, PoolKind, Quota, SeenStall, StuckJob, Trend,
};
use crate::diagnose::{Certainty, Urgency, diagnose};
use crate::incident::{Class, Culprit, Frame, Incident, IncidentKind, StackCount};
use crate::model::waits::Waits;
use loopscope_probe::description::{self, Description, Fact, Term, Trouble};
use loopscope_probe::raw::histogram::{HistogramValues, slot};
use loopscope_probe::{HandleType, Kind, Ticks, WorkKind};
use std::sync::Arc;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// A loop that is well: ten seconds, a third of them busy, in short turns.
fn well() -> LoopEvidence {
    let mut evidence = LoopEvidence {
        name: "web".to_owned(),
        runtime: Arc::new(
            Description::new()
                .remedy(Trouble::Computing, "the thread pool (`cx.work`)")
                .remedy(Trouble::MicrotaskFlood, "queue the next step as an immediate")
                .remedy(Trouble::PoolSize, "`pool_threads({threads})` or UV_THREADPOOL_SIZE={threads}"),
        ),
        watched_ns: 10 * S,
        active_ns: 3 * S,
        callbacks: 30_000,
        iterations: 10_000,
        lag: Waits { lag: durations(10_000, MS), ..Waits::default() },
        warning_ns: 100 * MS,
        critical_ns: S,
        sites: vec![site("timer flush (src/x.rs:40)", 1_000, 2 * S, 5 * MS)],
        timer_lateness: durations(1_000, MS),
        accepted: 100,
        pool: Some(pool()),
        handles: vec![(HandleType::TcpStream, steady(100))],
        timers: steady(40),
        cpu: Some(CpuTime { run_ns: 3 * S, runqueue_ns: 20 * MS }),
        processors: 2,
        agent_late_ns: Some(26 * MS),
        stopped_ns: None,
        ..LoopEvidence::default()
    };
    // 10,000 polls that found two events each.
    evidence.poll_events.buckets[1] = 10_000;
    evidence.poll_events.sum = 20_000;
    evidence
}

fn durations(count: u64, ns: u64) -> HistogramValues {
    let mut values = HistogramValues::default();
    values.buckets[slot(ns)] = count;
    values.sum_ns = count * ns;
    values
}

fn site(label: &str, calls: u64, run_ns: u64, longest_ns: u64) -> SiteTotal {
    SiteTotal { label: label.to_owned(), kind: Some(Kind::Timer), calls, run_ns, longest_ns }
}

fn steady(count: u64) -> Trend {
    Trend { first: count, last: count, early_max: count + 5, late_min: count - 5 }
}

fn pool() -> PoolEvidence {
    PoolEvidence {
        threads: Some(4),
        saturated_ns: 5 * MS,
        running: Some(2),
        queued: Some(0),
        oldest_wait_ns: Some(0),
        kinds: vec![jobs(WorkKind::Fs, 1_000, MS, 2 * MS)],
        jobs: vec![JobSite {
            label: "read (src/x.rs:7)".into(),
            kind: WorkKind::Fs,
            count: 1_000,
            running: 0,
            run_ns: 2 * S,
        }],
        jobs_unseen: 0,
        stuck: Vec::new(),
    }
}

/// A job that has read from a pipe since three past two.
fn stuck_job() -> StuckJob {
    StuckJob {
        label: "read (src/x.rs:7)".to_owned(),
        kind: WorkKind::Fs,
        ns: 92 * S,
        since: Ticks(1),
        since_unix_ns: (86_400 * 20_000 + 14 * 3_600 + 3 * 60 + 10) * S,
        asleep_in: Some("pipe_read".to_owned()),
    }
}

fn jobs(kind: WorkKind, count: u64, wait_ns: u64, run_ns: u64) -> PoolKind {
    PoolKind {
        kind,
        submitted: count,
        failed: 0,
        wait: durations(count, wait_ns),
        run: durations(count, run_ns),
    }
}

fn stall(cause: Cause, kind: Kind, runs: u64, ns: u64) -> SeenStall {
    SeenStall {
        ns,
        is_over: true,
        cause,
        kind: Some(kind),
        label: "flush (src/x.rs:40)".to_owned(),
        is_flood: runs > 1,
        runs: Some(runs),
        runs_ns: ns,
        sample: None,
        looks: 8,
        looks_asleep: 1,
        looks_stopped: 0,
        used: used(ns, ns / 10 * 9, 0),
        asleep_in: Some("futex_wait".to_owned()),
        inside: None,
    }
}

fn used(watched_ns: u64, cpu_ns: u64, runqueue_ns: u64) -> Used {
    Used { watched_ns, cpu_ns, runqueue_ns }
}

fn stalled(cause: Cause, kind: Kind, runs: u64) -> LoopEvidence {
    let stalls = vec![stall(cause, kind, runs, 300 * MS), stall(cause, kind, runs, 200 * MS)];
    LoopEvidence { stalls, blocked: [2, 0], blocked_ns: 500 * MS, ..well() }
}

fn blocked() -> LoopEvidence {
    stalled(Cause::Callback, Kind::Timer, 1)
}

fn incident(class: Class) -> Incident {
    let frame = Frame {
        function: "app::sum_amounts".to_owned(),
        file: Some("src/app.rs".to_owned()),
        line: Some(61),
        column: Some(9),
        ..Frame::default()
    };
    Incident {
        id: "4711-3".parse().unwrap(),
        pid: 4711,
        cause: "callback".to_owned(),
        class,
        duration_ns: 300 * MS,
        culprit: Culprit { label: "flush (src/x.rs:40)".to_owned(), ..Culprit::default() },
        stacks: vec![StackCount { count: 3, frames: vec![frame], guilty: Some(0), ..StackCount::default() }],
        ..Incident::default()
    }
}

fn with(mut evidence: LoopEvidence, change: impl FnOnce(&mut LoopEvidence)) -> LoopEvidence {
    change(&mut evidence);
    evidence
}

fn with_pool(change: impl FnOnce(&mut PoolEvidence)) -> LoopEvidence {
    with(well(), |evidence| change(evidence.pool.as_mut().unwrap()))
}

/// Name of a rule, evidence on which it speaks, what it must say, and evidence close to it on which it is silent.
type Case = (&'static str, LoopEvidence, Vec<&'static str>, LoopEvidence);

fn cases() -> Vec<Case> {
    let blocks = [block_cases(), blocking_call_cases()].concat();
    [blocks, flood_cases(), task_cases(), load_cases(), pool_cases(), quiet_cases()].concat()
}

fn block_cases() -> Vec<Case> {
    let asleep =
        || with(blocked(), |evidence| evidence.cpu = Some(CpuTime { run_ns: 50 * MS, runqueue_ns: 0 }));
    vec![
        (
            "blocked",
            with(blocked(), |evidence| evidence.incidents = vec![incident(Class::Computing)]),
            vec![
                "blocked by timer flush (src/x.rs:40)",
                "2 stalls",
                "300 ms",
                "app::sum_amounts at src/app.rs:61:9, in 3 of 3 stacks",
                "`cx.work`",
                "100 ms",
            ],
            with(blocked(), |evidence| evidence.incidents = vec![incident(Class::StarvedOfCpu)]),
        ),
        (
            "waiting",
            with(blocked(), |evidence| {
                for stall in &mut evidence.stalls {
                    (stall.looks_asleep, stall.used.cpu_ns) = (8, MS);
                    stall.asleep_in = Some("read(fd 3 -> pipe:[81])".into());
                }
            }),
            vec!["is blocked in a system call by timer flush", "asleep in read(fd 3 -> pipe:[81])"],
            asleep(),
        ),
        (
            "stalls_unseen",
            with(well(), |evidence| {
                (evidence.blocked, evidence.blocked_ns) = ([3, 1], 2 * S);
                evidence.sites[0].longest_ns = 1_500 * MS;
            }),
            vec!["3 stalls too short to be examined", "flush", "1.5 s"],
            blocked(),
        ),
    ]
}

#[path = "blocking_calls_tests.rs"]
mod blocking_calls_tests;
#[path = "tasks_tests.rs"]
mod tasks_tests;
use blocking_calls_tests::blocking_call_cases;
use tasks_tests::task_cases;

fn load_cases() -> Vec<Case> {
    vec![
        (
            "overload",
            with(well(), |evidence| evidence.active_ns = 9_900 * MS),
            vec!["busy for 99 %", "an iteration takes", "20 % of its time: timer flush", "more loops"],
            with(blocked(), |evidence| evidence.active_ns = 9_900 * MS),
        ),
        (
            "starved_of_cpu",
            with(well(), |evidence| evidence.cpu = Some(CpuTime { run_ns: 2 * S, runqueue_ns: 2 * S })),
            vec!["had to wait for a CPU", "not scheduled for 2.0 s of 10 s: 50 %", "2 CPUs", "nice value"],
            with(well(), |evidence| evidence.cpu = Some(CpuTime { run_ns: 100 * MS, runqueue_ns: 90 * MS })),
        ),
        (
            "timers_late",
            with(well(), |evidence| {
                evidence.timer_lateness = durations(100, 60 * MS);
                evidence.delayers =
                    vec![Delayer { label: "parse (src/y.rs:7)".into(), timers: 90, ns: 5 * S }];
            }),
            vec!["start late because of parse (src/y.rs:7)", "90 late timers", "p95 6", "100 timers (10/s)"],
            with(well(), |evidence| evidence.timer_lateness = durations(100, 15 * MS)),
        ),
        (
            "panics",
            with(well(), |evidence| evidence.errors = vec![(Kind::IoRead, 12)]),
            vec!["12 callbacks of loop web failed", "io_read"],
            well(),
        ),
        (
            "accept_storm",
            with(well(), |evidence| evidence.accepted = 9_000),
            vec!["accepts 900/s connections", "30 %"],
            with(well(), |evidence| (evidence.accepted, evidence.callbacks) = (9_000, 300_000)),
        ),
        (
            "many_events",
            with(well(), |evidence| evidence.poll_events.sum = 1_000_000),
            vec!["100 events from each poll"],
            with(well(), |evidence| evidence.poll_events.sum = 600_000),
        ),
    ]
}

fn flood_cases() -> Vec<Case> {
    let flood = |cause, kind| stalled(cause, kind, 3_000);
    vec![
        (
            "microtask_flood",
            flood(Cause::Microtask, Kind::Microtask),
            vec![
                "starved by microtasks from microtask flush",
                "the longest, of 300 ms, was 3,000 runs, 300 ms together (100 % of it, 100 µs on average)",
                "queue the next step as an immediate",
            ],
            stalled(Cause::Callback, Kind::Microtask, 1),
        ),
        (
            "nexttick_flood",
            flood(Cause::NextTick, Kind::Tick),
            vec!["nextTick jobs from nexttick flush", "the loop does not poll until this queue is empty"],
            flood(Cause::Microtask, Kind::Microtask),
        ),
        (
            "immediate_flood",
            flood(Cause::Immediate, Kind::Immediate),
            vec!["a batch of immediates from immediate flush"],
            stalled(Cause::Callback, Kind::Immediate, 1),
        ),
        (
            "many_callbacks",
            flood(Cause::Io, Kind::IoRead),
            vec!["many short callbacks from io_read flush", "there are too many"],
            flood(Cause::Immediate, Kind::Immediate),
        ),
    ]
}

fn pool_cases() -> Vec<Case> {
    let behind = || {
        with_pool(|pool| {
            pool.saturated_ns = 6 * S;
            pool.kinds =
                vec![jobs(WorkKind::Fs, 900, 400 * MS, MS), jobs(WorkKind::User, 30, 300 * MS, 1_200 * MS)];
        })
    };
    vec![
        (
            "pool_saturated",
            with_pool(|pool| {
                (pool.saturated_ns, pool.queued, pool.oldest_wait_ns) = (6 * S, Some(16), Some(420 * MS));
                pool.kinds = vec![jobs(WorkKind::User, 200, 400 * MS, 300 * MS)];
            }),
            vec![
                "jobs wait 420 ms (p95) for one of 4 threads",
                "60 % of the time",
                "16 jobs",
                "user: 20/s",
                "UV_THREADPOOL_SIZE=6",
                "there are 2",
            ],
            behind(),
        ),
        (
            "pool_stuck",
            with_pool(|pool| {
                (pool.saturated_ns, pool.queued, pool.oldest_wait_ns) = (10 * S, Some(16), Some(92 * S));
                pool.stuck = vec![stuck_job(); 4];
            }),
            vec![
                "4 of 4 pool threads are stuck in a job of loop web, for 92 s",
                "4 fs jobs from read (src/x.rs:7) for 92 s, since 14:03:10 UTC, asleep in pipe_read",
                "16 jobs",
                "add a timeout",
            ],
            behind(),
        ),
        (
            "pool_behind_slow_jobs",
            behind(),
            vec!["fs jobs of loop web wait", "behind slow user jobs", "threads of their own"],
            with_pool(|pool| {
                pool.kinds = vec![jobs(WorkKind::Fs, 900, MS, MS), jobs(WorkKind::User, 30, MS, 1_200 * MS)];
            }),
        ),
    ]
}

fn collections(count: u64) -> Vec<Collections> {
    vec![Collections { kind: "minor".into(), count, total_ns: count * 100 * MS, longest_ns: 150 * MS }]
}

fn quiet_cases() -> Vec<Case> {
    let grown =
        |first, last| Trend { first, last, early_max: (first + last) / 2, late_min: (first + last) / 2 };
    vec![
        (
            "handles_growing",
            with(well(), |evidence| evidence.handles = vec![(HandleType::TcpStream, grown(100, 160))]),
            vec!["tcp_stream: 100 -> 160 in 10 s, 6.0/s"],
            with(well(), |evidence| {
                let came_back = Trend { early_max: 170, ..grown(100, 160) };
                evidence.handles =
                    vec![(HandleType::TcpStream, came_back), (HandleType::Udp, grown(1_000, 1_060))];
            }),
        ),
        (
            "timers_growing",
            with(well(), |evidence| evidence.timers = grown(40, 900)),
            vec!["pile up", "40 -> 900"],
            with(well(), |evidence| evidence.timers = grown(40, 80)),
        ),
        (
            "collecting",
            with(well(), |evidence| evidence.collections = collections(40)),
            vec!["spends 40 % of its time in garbage collection", "minor: 40 collections, 4.0 s together"],
            with(well(), |evidence| evidence.collections = collections(4)),
        ),
        (
            "stood_still",
            with(well(), |evidence| evidence.incidents = vec![incident(Class::Suspended)]),
            vec!["the machine was suspended", "not blocked by its code", "300 ms"],
            with(well(), |evidence| evidence.incidents = vec![incident(Class::Computing)]),
        ),
        (
            "agent_late",
            with(well(), |evidence| evidence.agent_late_ns = Some(2 * S)),
            vec!["did not check loop web for 2.0 s"],
            with(well(), |evidence| evidence.agent_late_ns = None),
        ),
        (
            "expected_blocks",
            with(well(), |evidence| evidence.expected = vec![("migration (src/m.rs:3)".into(), 3 * S)]),
            vec!["as announced", "migration (src/m.rs:3): 3.0 s"],
            well(),
        ),
        (
            "sites_overflow",
            with(well(), |evidence| evidence.sites_overflow = 88),
            vec!["88 registrations found the table of 512 full"],
            well(),
        ),
    ]
}

#[test]
fn every_rule_speaks_when_it_should_and_is_silent_when_it_should() {
    let cases = cases();
    for rule in RULES {
        let of_rule = |(name, ..): &&(&str, _, _, _)| *name == rule.name;
        let (_, fires, words, silent) = cases.iter().find(of_rule).unwrap_or_else(|| panic!("{}", rule.name));
        let findings = rule.apply(fires);
        assert_eq!(findings.len(), 1, "{}: {findings:#?}", rule.name);
        let finding = &findings[0];
        assert_eq!(finding.rule, rule.name);
        let text = format!("{}\n{}\n{}", finding.headline, finding.evidence.join("\n"), finding.remedy);
        for part in words {
            assert!(text.contains(part), "{}: `{part}` is not in\n{text}", rule.name);
        }
        assert!(!finding.evidence.is_empty() && !finding.remedy.is_empty(), "{text}");
        assert_eq!(rule.apply(silent), [], "{}", rule.name);
        assert_eq!(rule.apply(&well()), [], "{}", rule.name);
    }
    assert_eq!(cases.len(), RULES.len(), "a case without a rule");
}

#[test]
fn a_loop_that_is_well_and_one_that_never_ran_have_no_finding() {
    let idle = LoopEvidence { name: "idle".into(), watched_ns: 10 * S, ..LoopEvidence::default() };
    assert!(idle.is_idle() && !well().is_idle());
    assert_eq!(diagnose(&[well(), idle]), []);
}

#[test]
fn the_most_urgent_and_surest_come_first() {
    let late = with(well(), |evidence| evidence.agent_late_ns = Some(2 * S));
    let near = with(well(), |evidence| evidence.active_ns = 9_200 * MS);
    let still = with(blocked(), |evidence| evidence.stalls[1].is_over = false);
    let told: Vec<_> = diagnose(&[late, near, blocked(), still])
        .into_iter()
        .map(|finding| (finding.rule, finding.urgency, finding.certainty))
        .collect();
    assert_eq!(
        told,
        [
            ("blocked", Urgency::Critical, Certainty::Certain),
            ("blocked", Urgency::Warning, Certainty::Certain),
            ("overload", Urgency::Warning, Certainty::Likely),
            ("agent_late", Urgency::Notice, Certainty::Certain),
        ]
    );
}

#[test]
fn a_stall_that_was_seen_makes_another_one_neither_critical_nor_longer() {
    let unseen = |site_ns: u64, agent: Option<u64>| {
        let evidence = with(well(), |evidence| {
            evidence.stalls = vec![stall(Cause::Callback, Kind::Timer, 1, 3 * S)];
            (evidence.blocked, evidence.blocked_ns) = ([2, 1], 3_200 * MS);
            (evidence.sites[0].longest_ns, evidence.agent_late_ns) = (site_ns, agent);
        });
        let mut findings = diagnose(&[evidence]);
        findings.retain(|finding| finding.rule == "stalls_unseen");
        let finding = findings.remove(0);
        (finding.urgency, finding.evidence.join("\n").contains("the longest"), finding.remedy)
    };
    let (urgency, is_suspected, remedy) = unseen(3 * S, None);
    assert_eq!((urgency, is_suspected), (Urgency::Warning, false));
    assert!(remedy.contains("run an agent"), "{remedy}");
    let (_, is_suspected, remedy) = unseen(180 * MS, Some(26 * MS));
    assert!(is_suspected && !remedy.contains("run an agent"), "{remedy}");
}

#[test]
fn a_thread_that_nobody_saw_asleep_is_not_told_to_wait() {
    let unseen = with(blocked(), |evidence| {
        evidence.active_ns = 700 * MS;
        for stall in &mut evidence.stalls {
            (stall.looks, stall.looks_asleep, stall.used) = (0, 0, Used::default());
        }
        evidence.cpu = Some(CpuTime { run_ns: 150 * MS, runqueue_ns: MS });
    });
    let findings = diagnose(&[unseen]);
    assert_eq!((findings[0].rule, findings[0].certainty), ("blocked", Certainty::Likely));
    let told = "on CPU for 21 % of its busy time; 78 % of it is not accounted for";
    assert!(findings[0].evidence.iter().any(|line| line.contains(told)), "{findings:#?}");
}

#[test]
fn a_stall_that_is_the_machines_fault_is_told_as_that_and_with_its_site() {
    let starved = with(blocked(), |evidence| {
        evidence.incidents = vec![incident(Class::StarvedOfCpu)];
        evidence.stalls.iter_mut().for_each(|stall| stall.used = used(stall.ns, 10 * MS, stall.ns - 20 * MS));
    });
    let findings = diagnose(&[starved]);
    assert_eq!((findings.len(), findings[0].rule), (1, "starved_of_cpu"), "{findings:#?}");
    let lines = findings[0].evidence.join("\n");
    assert!(lines.contains("1 incident waiting") && lines.contains("flush (src/x.rs:40)"), "{lines}");
    assert_eq!(findings[0].incidents, ["4711-3"]);
}

#[test]
fn of_many_guilty_sites_the_worst_three_are_told() {
    let mut evidence = blocked();
    evidence.stalls = (0..6)
        .map(|number| SeenStall {
            label: format!("job{number}"),
            ..stall(Cause::Callback, Kind::Timer, 1, (200 + number) * MS)
        })
        .collect();
    let findings = diagnose(&[evidence]);
    assert_eq!(findings.len(), 3, "{findings:#?}");
    assert!(findings[0].headline.contains("job5") && findings[2].headline.contains("job3"));
    assert_eq!(findings[2].evidence.last().unwrap(), "the same at 3 other sites");
}

/// All that a finding says.
fn text_of(finding: &Finding) -> String {
    format!("{}\n{}\n{}", finding.headline, finding.evidence.join("\n"), finding.remedy)
}

#[test]
fn a_stall_is_not_shared_out_among_runs_that_are_a_part_of_it() {
    let mut evidence = stalled(Cause::Io, Kind::IoRead, 2);
    evidence.stalls.truncate(1);
    (evidence.stalls[0].ns, evidence.stalls[0].runs_ns) = (8_800 * MS, 4 * MS);
    let text = text_of(&diagnose(&[evidence])[0]);
    assert!(
        text.contains("the longest, of 8.8 s, was 2 runs, 4.0 ms together (0.0 % of it, 2.0 ms on average)"),
        "{text}"
    );
    assert!(!text.contains("4.4 s"), "{text}");
}

#[test]
fn of_a_flood_that_the_recorder_forgot_for_the_most_part_only_what_is_known_has_a_length() {
    let mut evidence = stalled(Cause::Microtask, Kind::Microtask, 487_213);
    evidence.stalls.truncate(1);
    let told = |evidence: &LoopEvidence| text_of(&diagnose(std::slice::from_ref(evidence))[0]);
    let counted = told(&evidence);
    assert!(
        counted.contains("was 487,213 runs, 300 ms together (100 % of it, 615 ns on average)"),
        "{counted}"
    );
    // 243 ms are 4,096 times 500 ns, and 483,117 times nobody knows.
    evidence.stalls[0].runs_ns = 243_606_500;
    for (runs, words) in [
        (Some(4_000), "4,000 were such runs"),
        (Some(1), "1 was such a run"),
        (None, "an unknown number were such runs"),
    ] {
        let sample = VerdictSample { all: 487_213, known: 4_096, runs, total_ns: 2_000_000 };
        evidence.stalls[0].sample = Some(sample);
        let text = told(&evidence);
        let known = format!(
            "the longest, of 300 ms, had 487,213 callbacks; of the last 4,096, the only known ones, {words}, 2.0 ms together\n"
        );
        assert!(text.contains(&known), "{text}");
        assert!(!text.contains("244 ms") && !text.contains("on average"), "{text}");
    }
}

#[path = "rules_runtime_tests.rs"]
mod runtimes;
#[path = "true_causes_tests.rs"]
mod true_causes;
#[path = "unknown_number_tests.rs"]
mod unknown_number;
