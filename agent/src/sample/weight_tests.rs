//! Sampling of loops whose times are known, in virtual time.

use super::*;
use crate::sample::sample_times::SampleTimes;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// How a look finds a loop, and the name of what it is in, by the time since the loop began.
type Play = fn(u64) -> (LookState, &'static str);

/// Samples a loop for so long, and returns the time counted on this name.
fn sampled(of: Of, hz: u64, length_ns: u64, play: Play, name: &str) -> f64 {
    let begin_ns = 77 * S;
    let mut pace = SampleTimes::new(begin_ns, S / hz);
    let mut weights = Weights::new(play(0).0);
    let (mut counted_ns, mut now_ns) = (0, begin_ns);
    while now_ns < begin_ns + length_ns {
        let (found, what) = play(now_ns - begin_ns);
        let weight = weights.look(of, found);
        let is_wanted = of != Of::Cpu || found.busy_ns > 0;
        if weight.ns > 0 && is_wanted {
            weights.recorded(found.cpu_ns);
            counted_ns += if what == name { weight.ns } else { 0 };
        }
        now_ns = pace.next(now_ns);
    }
    counted_ns as f64
}

/// A callback that sleeps for 30 ms and computes for 5, ten times a second.
fn sleeper(now_ns: u64) -> (LookState, &'static str) {
    let (round, at_ns) = (now_ns / (100 * MS), now_ns % (100 * MS));
    let ran_ns = at_ns.clamp(30 * MS, 35 * MS) - 30 * MS;
    let found = LookState {
        now_ns,
        cpu_ns: round * 5 * MS + ran_ns,
        busy_ns: if at_ns < 35 * MS { at_ns.max(1) } else { 0 },
        is_stalled: (20 * MS..35 * MS).contains(&at_ns),
        is_asleep: at_ns < 30 * MS,
        ..LookState::default()
    };
    (found, if at_ns < 30 * MS { "sleep" } else { "compute" })
}

#[test]
fn all_of_a_wait_is_told_and_nothing_else() {
    for hz in [49, 99, 100, 997] {
        let told = |name| sampled(Of::Waits, hz, 120 * S, sleeper, name) / (120 * S) as f64;
        let (asleep, computing) = (told("sleep"), told("compute"));
        assert!((asleep - 0.3).abs() < 0.01, "{asleep} at {hz} Hz");
        assert_eq!(computing, 0.0, "{hz} Hz");
    }
}

#[test]
fn the_part_of_a_stall_beyond_its_threshold_is_told_whole() {
    for hz in [49, 99, 100, 997] {
        let told = |name| sampled(Of::Stalls, hz, 120 * S, sleeper, name) / (120 * S) as f64;
        let (asleep, computing) = (told("sleep"), told("compute"));
        assert!(
            (asleep - 0.1).abs() < 0.006 && (computing - 0.05).abs() < 0.006,
            "{asleep} {computing} {hz}"
        );
    }
}

/// A timer that works for 1 ms in every 10; something else does so for the rest.
fn beside_others(now_ns: u64) -> (LookState, &'static str) {
    let found = LookState { now_ns, cpu_ns: now_ns, busy_ns: now_ns.max(1), ..LookState::default() };
    (found, if now_ns % (10 * MS) < MS { "tick" } else { "rest" })
}

/// The same timer; something else works for 2 ms in every 7 beside it, and the loop waits otherwise.
fn beside_idling(now_ns: u64) -> (LookState, &'static str) {
    let part = |period: u64, length: u64, at: u64| at / period * length + (at % period).min(length);
    let tick = now_ns % (10 * MS) < MS;
    let rest = now_ns % (7 * MS) < 2 * MS;
    // Where both are due they share the processor, which the sum of their times leaves out.
    let cpu_ns = part(10 * MS, MS, now_ns) + part(7 * MS, 2 * MS, now_ns);
    let busy_ns = if tick || rest { 1 } else { 0 };
    (LookState { now_ns, cpu_ns, busy_ns, ..LookState::default() }, if tick { "tick" } else { "rest" })
}

#[test]
fn a_timer_that_keeps_step_with_the_sampler_is_told_as_what_it_is() {
    for hz in [49, 50, 99, 100, 200, 997, 1_000] {
        let part = sampled(Of::Cpu, hz, 120 * S, beside_others, "tick") / (120 * S) as f64;
        assert!((part - 0.1).abs() < 0.015, "{part} at {hz} Hz");
        let tick = sampled(Of::Cpu, hz, 120 * S, beside_idling, "tick");
        let share = tick / (tick + sampled(Of::Cpu, hz, 120 * S, beside_idling, "rest"));
        assert!((share - 0.27).abs() < 0.05, "{share} at {hz} Hz");
    }
}

#[test]
fn time_without_a_processor_is_a_wait_once_it_has_ended() {
    // 10 ms on CPU and 90 ms without, for ever; the account of the latter grows when it ends.
    fn throttled(now_ns: u64) -> (LookState, &'static str) {
        let (round, at_ns) = (now_ns / (100 * MS), now_ns % (100 * MS));
        let found = LookState {
            now_ns,
            cpu_ns: round * 10 * MS + at_ns.min(10 * MS),
            runqueue_ns: round * 90 * MS,
            busy_ns: now_ns.max(1),
            ..LookState::default()
        };
        (found, if at_ns < 10 * MS { "runs" } else { "ready" })
    }
    let told: f64 =
        ["runs", "ready"].map(|name| sampled(Of::Waits, 99, 60 * S, throttled, name)).iter().sum();
    assert!((told / (60 * S) as f64 - 0.9).abs() < 0.02, "{told}");
}

#[test]
fn a_thread_is_ready_where_its_clock_stands_still_and_it_does_not_sleep() {
    let first = LookState { now_ns: S, busy_ns: 50 * MS, ..LookState::default() };
    for (ran_ms, ready_ms, is_asleep, place) in [
        (10, 0, false, Place::Running),
        (3, 0, false, Place::Running),
        (0, 0, false, Place::Ready),
        (3, 7, false, Place::Ready),
        (0, 0, true, Place::Asleep),
    ] {
        let mut weights = Weights::new(first);
        let now = LookState {
            now_ns: S + 10 * MS,
            cpu_ns: ran_ms * MS,
            runqueue_ns: ready_ms * MS,
            busy_ns: 60 * MS,
            is_stalled: true,
            is_asleep,
        };
        let weight = weights.look(Of::Stalls, now);
        assert_eq!((weight.place, weight.ns), (place, 10 * MS), "{now:?}");
    }
}

#[test]
fn processor_time_is_that_since_the_last_sample_whatever_was_looked_at_between() {
    let at =
        |ms: u64| LookState { now_ns: ms * MS, cpu_ns: ms * MS, busy_ns: ms * MS, ..LookState::default() };
    let mut weights = Weights::new(at(10));
    // No stack could be taken at the first two looks: the third sample stands for their time, too.
    let told = [20, 30, 40].map(|ms| weights.look(Of::Cpu, at(ms)).ns);
    assert_eq!(told, [10 * MS, 20 * MS, 30 * MS]);
    weights.recorded(40 * MS);
    assert_eq!(weights.look(Of::Cpu, at(50)).ns, 10 * MS);
    assert_eq!(weights.unsampled_cpu_ns(), (40 * MS, 10 * MS));
}
