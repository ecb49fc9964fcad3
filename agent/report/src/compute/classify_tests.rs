//! What a stall's time went to, from plain figures.

use super::FoundState::{Asleep, OnProcessor, Ready};
use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

#[test]
fn the_table_of_classes() {
    let base = Evidence { age_ns: 100 * MS, watched_ns: 80 * MS, ..Evidence::default() };
    let traced = Evidence { is_traced: true, ..base };
    for (evidence, class) in [
        (Evidence { cpu_ns: 79 * MS, ..base }, Class::Computing),
        (Evidence { cpu_ns: 40 * MS, runqueue_ns: 40 * MS, ..base }, Class::Computing),
        (Evidence { cpu_ns: 30 * MS, runqueue_ns: 50 * MS, ..base }, Class::StarvedOfCpu),
        (Evidence { cpu_ns: 30 * MS, runqueue_ns: 25 * MS, ..base }, Class::Computing),
        (Evidence { cpu_ns: MS, found: Some(Asleep), ..base }, Class::Waiting),
        (Evidence { cpu_ns: MS, was_asleep: true, ..base }, Class::Waiting),
        (Evidence { cpu_ns: MS, found: Some(Asleep), is_traced: true, ..base }, Class::Waiting),
        (Evidence { cpu_ns: MS, found: Some(Asleep), is_paused: true, ..base }, Class::Debugger),
        (Evidence { watched_ns: 0, found: Some(Asleep), is_paused: true, ..base }, Class::Debugger),
        (Evidence { cpu_ns: 50 * MS, found: Some(Asleep), is_paused: true, ..base }, Class::Computing),
        (Evidence { runqueue_ns: 50 * MS, was_asleep: true, is_paused: true, ..base }, Class::StarvedOfCpu),
        // Nobody saw it asleep.
        (Evidence { cpu_ns: MS, ..base }, Class::Unknown),
        (Evidence { cpu_ns: 79 * MS, steal_ratio: 0.6, ..base }, Class::StarvedOfCpu),
        (Evidence { cpu_ns: MS, steal_ratio: 0.6, ..base }, Class::Unknown),
        (Evidence { cpu_ns: MS, steal_ratio: 0.6, found: Some(Asleep), ..base }, Class::Waiting),
        (
            Evidence { cpu_ns: 14 * MS, steal_ratio: 0.3, found: Some(OnProcessor), ..base },
            Class::StarvedOfCpu,
        ),
        (Evidence { cpu_ns: 14 * MS, steal_ratio: 0.3, found: Some(Asleep), ..base }, Class::Waiting),
        (Evidence { cpu_ns: 14 * MS, found: Some(OnProcessor), ..base }, Class::Unknown),
        (Evidence { cpu_ns: 79 * MS, suspended_ns: 50 * MS, ..base }, Class::Suspended),
        (Evidence { standstill_ns: 50 * MS, ..base }, Class::Stopped),
        (Evidence { standstill_ns: 49 * MS, found: Some(Asleep), ..base }, Class::Waiting),
        (Evidence { standstill_ns: 49 * MS, ..base }, Class::Unknown),
        (Evidence { standstill_ns: 90 * MS, ..traced }, Class::Debugger),
        (Evidence { is_stopped: true, ..base }, Class::Stopped),
        (Evidence { is_stopped: true, ..traced }, Class::Debugger),
        (Evidence { watched_ns: 0, ..base }, Class::Unknown),
        (Evidence { watched_ns: 0, found: Some(Asleep), ..base }, Class::Waiting),
        (Evidence { watched_ns: 0, found: Some(OnProcessor), ..base }, Class::Computing),
    ] {
        assert_eq!(classify(&evidence), class, "{evidence:?}");
    }
}

#[test]
fn the_table_of_standstills() {
    let stopped = Interval { length_ns: 5_000 * MS, late_ns: 4_900 * MS, ..Interval::default() };
    for (interval, still_ms) in [
        (stopped, 4_900),
        // The timer's usual lateness.
        (Interval { length_ns: 149 * MS, late_ns: 49 * MS, ..stopped }, 0),
        // The agent waited for a processor.
        (Interval { agent_runqueue_ns: 4_900 * MS, ..stopped }, 0),
        // The loop ran meanwhile: the agent alone was held up.
        (Interval { loop_ran_ns: 4_950 * MS, ..stopped }, 0),
        (Interval { loop_ran_ns: 100 * MS, ..stopped }, 4_900),
        (Interval { agent_runqueue_ns: 1_000 * MS, ..stopped }, 3_900),
    ] {
        assert_eq!(standstill_ns(&interval), still_ms * MS, "{interval:?}");
    }
}

#[test]
fn the_reading_nearest_to_the_begin_counts() {
    let at = |ms: u64, cpu_ms: u64, ready_ms: u64| Reading {
        at_ns: ms * MS,
        cpu_ns: cpu_ms * MS,
        runqueue_ns: ready_ms * MS,
    };
    let last = at(200, 150, 20);
    for (before, within, expected) in [
        // Watched from its begin; what the thread did in the 5 ms before cannot exceed the stall.
        (Some(at(95, 48, 0)), Some(at(160, 112, 8)), (100, 100, 0)),
        (Some(at(95, 58, 19)), None, (100, 92, 1)),
        (Some(at(20, 30, 0)), Some(at(110, 90, 5)), (90, 60, 15)),
        (None, Some(last), (0, 0, 0)),
        (None, None, (0, 0, 0)),
    ] {
        let used = used_since(100 * MS, before, within, last);
        let told = (used.watched_ns / MS, used.cpu_ns / MS, used.runqueue_ns / MS);
        assert_eq!(told, expected);
    }
    assert_eq!(
        used_since(300 * MS, Some(at(95, 48, 0)), None, last),
        Used::default(),
        "read before it began"
    );
}

/// A stall at a threshold of 100 ms: its age, processor time, ready time and how it was found, all in ms.
fn stall(age: u64, cpu: u64, ready: u64, found: FoundState) -> Evidence {
    Evidence {
        age_ns: age * MS,
        threshold_ns: 100 * MS,
        watched_ns: age * MS,
        cpu_ns: cpu * MS,
        runqueue_ns: ready * MS,
        found: Some(found),
        was_asleep: found == Asleep,
        ..Evidence::default()
    }
}

#[test]
fn a_thread_that_is_ready_to_run_is_not_waiting() {
    for (evidence, class) in [
        // A quota of 10 ms in 100: the wait under way is in no account, the ended ones are.
        (stall(102, 10, 0, Ready), Class::StarvedOfCpu),
        (stall(206, 20, 90, Ready), Class::StarvedOfCpu),
        (stall(102, 0, 0, Ready), Class::StarvedOfCpu),
        // It may have slept or not.
        (stall(102, 7, 0, OnProcessor), Class::Unknown),
        (stall(102, 7, 90, OnProcessor), Class::StarvedOfCpu),
        (stall(102, 70, 0, Ready), Class::Computing),
        (stall(102, 1, 1, Asleep), Class::Waiting),
        // It was seen to sleep, and runs on.
        (Evidence { was_asleep: true, ..stall(206, 3, 0, OnProcessor) }, Class::Waiting),
        (Evidence { was_asleep: true, ..stall(206, 3, 0, Ready) }, Class::Waiting),
        // At its end the accounts are whole, and what is in none of them may have been stolen.
        (Evidence { is_over: true, ..stall(102, 7, 0, Ready) }, Class::Unknown),
        (Evidence { is_over: true, ..stall(300, 90, 36, OnProcessor) }, Class::Unknown),
        (Evidence { is_over: true, ..stall(300, 120, 6, OnProcessor) }, Class::Computing),
        (Evidence { is_over: true, ..stall(102, 7, 0, Asleep) }, Class::Waiting),
        (Evidence { is_over: true, ..stall(102, 7, 90, Ready) }, Class::StarvedOfCpu),
        (Evidence { is_over: true, steal_ratio: 0.3, ..stall(102, 7, 0, Ready) }, Class::StarvedOfCpu),
    ] {
        assert_eq!(classify(&evidence), class, "{evidence:?}");
    }
}

#[test]
fn own_processor_time_beyond_the_threshold_is_computing_whatever_it_was_starved_of() {
    for (evidence, class) in [
        (stall(1_200, 110, 1_080, Ready), Class::Computing),
        (stall(1_200, 110, 900, OnProcessor), Class::Computing),
        (stall(1_200, 90, 1_100, Ready), Class::StarvedOfCpu),
        // It slept for longer than it computed.
        (stall(1_200, 110, 10, Asleep), Class::Waiting),
        // Of the time on a virtual processor, the hypervisor took most.
        (Evidence { steal_ratio: 0.6, ..stall(200, 190, 0, OnProcessor) }, Class::StarvedOfCpu),
        (Evidence { steal_ratio: 0.6, ..stall(500, 490, 0, OnProcessor) }, Class::Computing),
    ] {
        assert_eq!(classify(&evidence), class, "{evidence:?}");
    }
}

#[test]
fn a_debugger_that_holds_the_thread_now_and_then_is_told_as_one() {
    let traced = |evidence| Evidence { is_traced: true, ..evidence };
    for (evidence, class) in [
        (traced(stall(150, 20, 5, OnProcessor)), Class::Debugger),
        (traced(stall(150, 20, 5, Ready)), Class::Debugger),
        (Evidence { is_over: true, ..traced(stall(150, 20, 5, Ready)) }, Class::Debugger),
        (traced(stall(150, 1, 1, Asleep)), Class::Waiting),
        (traced(stall(150, 120, 1, OnProcessor)), Class::Computing),
        (traced(Evidence { found: None, is_stopped: true, ..stall(150, 20, 5, Ready) }), Class::Debugger),
    ] {
        assert_eq!(classify(&evidence), class, "{evidence:?}");
    }
}

/// What was seen of a thread: how it was found at the last look, and whether a look found it asleep.
const SEEN: [(Option<FoundState>, bool); 7] = [
    (None, false),
    (Some(OnProcessor), false),
    (Some(Ready), false),
    (Some(Asleep), true),
    (None, true),
    (Some(OnProcessor), true),
    (Some(Ready), true),
];

/// Where most of the time went: a processor, waiting for one, or neither. All of 90 ms, below the threshold.
const ACCOUNTS: [(u64, u64, u64); 3] = [(70, 10, 10), (10, 70, 10), (10, 10, 70)];

#[test]
fn what_was_seen_and_what_was_counted_allow_these_verdicts_and_forbid_all_others() {
    use Class::{Computing, StarvedOfCpu, Unknown, Waiting};
    // While it lasts and when it is over: by what was seen, in the order of the accounts.
    for ((found, was_asleep), lasting, over) in [
        (SEEN[0], [Computing, StarvedOfCpu, Unknown], [Computing, StarvedOfCpu, Unknown]),
        (SEEN[1], [Computing, StarvedOfCpu, Unknown], [Computing, StarvedOfCpu, Unknown]),
        // Its wait for a processor is not over.
        (SEEN[2], [Computing, StarvedOfCpu, StarvedOfCpu], [Computing, StarvedOfCpu, Unknown]),
        (SEEN[3], [Computing, StarvedOfCpu, Waiting], [Computing, StarvedOfCpu, Waiting]),
        (SEEN[4], [Computing, StarvedOfCpu, Waiting], [Computing, StarvedOfCpu, Waiting]),
        (SEEN[5], [Computing, StarvedOfCpu, Waiting], [Computing, StarvedOfCpu, Waiting]),
        (SEEN[6], [Computing, StarvedOfCpu, Waiting], [Computing, StarvedOfCpu, Waiting]),
    ] {
        for (is_over, expected) in [(false, lasting), (true, over)] {
            for ((cpu, ready, rest), class) in ACCOUNTS.into_iter().zip(expected) {
                let evidence = Evidence {
                    found,
                    was_asleep,
                    is_over,
                    ..stall(cpu + ready + rest, cpu, ready, OnProcessor)
                };
                assert_eq!(classify(&evidence), class, "{evidence:?}");
            }
        }
    }
}

fn used(watched_ms: u64, cpu_ms: u64, ready_ms: u64) -> Used {
    Used { watched_ns: watched_ms * MS, cpu_ns: cpu_ms * MS, runqueue_ns: ready_ms * MS }
}

#[test]
fn at_the_end_of_a_stall_its_times_are_read_once_more() {
    let reading = |at_ms: u64, cpu_ms: u64, ready_ms: u64| Reading {
        at_ns: at_ms * MS,
        cpu_ns: cpu_ms * MS,
        runqueue_ns: ready_ms * MS,
    };
    let within = reading(1_102, 500, 40);
    let end = EndReading { within, after: within, end_ns: 1_110 * MS, has_rested: true, was_ready: false };
    for (until, end, expected) in [
        // Starved: ten of 102 ms on CPU; the wait that went on at the look has ended.
        (
            used(102, 10, 0),
            EndReading { after: reading(1_115, 503, 137), was_ready: true, ..end },
            used(110, 13, 97),
        ),
        // It waited on in what ran next: of that, this stall has at most what it has no other account of.
        (
            used(102, 0, 0),
            EndReading { after: reading(1_900, 503, 700), was_ready: true, has_rested: false, ..end },
            used(110, 0, 110),
        ),
        // Asleep until the end; a little work after it was woken.
        (used(102, 1, 0), EndReading { after: reading(1_115, 502, 40), ..end }, used(110, 3, 0)),
        // Other callbacks ran for 90 ms since: the tail was as what was before.
        (
            used(102, 102, 0),
            EndReading { after: reading(1_200, 598, 40), has_rested: false, ..end },
            used(110, 110, 0),
        ),
        (
            used(102, 0, 0),
            EndReading { after: reading(1_200, 590, 40), has_rested: false, ..end },
            used(110, 0, 0),
        ),
        // More than can be those others' was its own.
        (
            used(102, 0, 0),
            EndReading { after: reading(1_112, 507, 40), has_rested: false, ..end },
            used(110, 5, 0),
        ),
        (
            used(102, 0, 0),
            EndReading { after: reading(1_112, 500, 45), has_rested: false, ..end },
            used(110, 0, 3),
        ),
        // The kernel's account is coarser than the loop's clock: the tail is no longer than from the look to the end.
        (used(102, 102, 0), EndReading { after: reading(1_115, 512, 40), ..end }, used(110, 110, 0)),
        (used(102, 0, 102), EndReading { after: reading(1_115, 500, 52), ..end }, used(110, 0, 110)),
        // Two clocks that differ: an end after the reading that found it over, or before the one within.
        (used(102, 102, 0), EndReading { after: reading(1_105, 503, 40), ..end }, used(105, 105, 0)),
        (used(102, 10, 0), EndReading { end_ns: 1_095 * MS, ..end }, used(102, 10, 0)),
        // Read right at the end: nothing is added.
        (used(102, 50, 10), EndReading { end_ns: 1_102 * MS, ..end }, used(102, 50, 10)),
    ] {
        assert_eq!(used_at_end(until, &end), expected, "{end:?}");
    }
}

proptest! {
    /// Whatever the accounts say: a thread that was never found asleep is not "waiting", and one that used the CPU
    /// beyond the threshold and was not found asleep either is "computing".
    #[test]
    fn nobody_waits_who_was_not_seen_asleep(
        seen in prop::sample::select(&SEEN[..]), cpu in 0..900_u64, ready in 0..900_u64, rest in 0..900_u64,
        is_over: bool, is_traced: bool,
    ) {
        let (found, was_asleep) = seen;
        let evidence = Evidence {
            found, was_asleep, is_over, is_traced, ..stall(cpu + ready + rest, cpu, ready, OnProcessor)
        };
        let class = classify(&evidence);
        prop_assert!(class != Class::Waiting || was_asleep, "{evidence:?}");
        prop_assert!(class == Class::Computing || was_asleep || cpu <= 100, "{evidence:?}: {class:?}");
        prop_assert!(class != Class::Computing || cpu > 100 || cpu >= rest, "{evidence:?}");
    }

    /// Parts never add up to more than the whole.
    #[test]
    fn times_are_at_most_what_was_watched(
        begin in 0..2_000_u64, steps in prop::collection::vec((0..300_u64, 0..400_u64, 0..400_u64), 4),
        end in 0..2_000_u64, has_rested: bool, was_ready: bool,
    ) {
        let mut now = Reading { at_ns: 0, cpu_ns: 0, runqueue_ns: 0 };
        let readings: Vec<Reading> = steps
            .iter()
            .map(|(at, cpu, ready)| {
                now = Reading {
                    at_ns: now.at_ns + at,
                    cpu_ns: now.cpu_ns + cpu,
                    runqueue_ns: now.runqueue_ns + ready,
                };
                now
            })
            .collect();
        let until = used_since(begin.min(readings[2].at_ns), Some(readings[0]), Some(readings[1]), readings[2]);
        let end_ns = end.clamp(readings[2].at_ns, readings[3].at_ns);
        let last =
            EndReading { within: readings[2], after: readings[3], end_ns, has_rested, was_ready };
        for used in [until, used_at_end(until, &last)] {
            prop_assert!(used.cpu_ns + used.runqueue_ns <= used.watched_ns, "{used:?}");
        }
        prop_assert!(used_at_end(until, &last).watched_ns <= until.watched_ns + end_ns - readings[2].at_ns);
    }
}
