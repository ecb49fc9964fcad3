//! Lag as readers see it: true while a poll lasts, and never less than it was.

use super::*;
use crate::shared_u64::AgentOwned;
use crate::{VirtualClock, Writer};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};

const SECOND_NS: u64 = 1_000 * MS_NS;

fn world() -> (VirtualClock, Writer, Clock) {
    let time = VirtualClock::starting_at(7 * MS_NS + 1);
    let writer = Writer::builder("lag").clock(Clock::simulated(time.clone())).build();
    let clock = writer.clock().clone();
    (time, writer, clock)
}

#[test]
fn a_block_after_a_long_idle_time_is_seen_in_full_by_who_looks_for_twelve_seconds() {
    let (time, mut writer, clock) = world();
    writer.resume();
    writer.park();
    time.advance_ns(95 * SECOND_NS);
    let earlier = writer.page().snapshot(&clock).lag;
    time.advance_ns(10 * SECOND_NS);
    writer.unpark(1);
    time.advance_ns(2 * SECOND_NS);
    writer.park();
    time.advance_ns(52 * MS_NS);
    let lag = writer.page().snapshot(&clock).lag.since(&earlier);
    assert_eq!(lag.count(), 12_052);
    let p95_ns = lag.quantile_ns(0.95).unwrap();
    assert!((1_400 * MS_NS..1_420 * MS_NS).contains(&p95_ns), "{p95_ns}");
}

#[test]
fn a_loop_that_never_ran_counts_a_thousand_a_second() {
    let (time, writer, clock) = world();
    for second in 0..5 {
        let lag = writer.page().snapshot(&clock).lag;
        assert_eq!((lag.count(), lag.buckets[0], lag.sum_ns), (second * 1_000, second * 1_000, 0));
        time.advance_ns(SECOND_NS);
    }
}

#[test]
fn nobody_waits_on_a_page_that_has_ended_or_whose_waits_are_told_one_by_one() {
    let (time, writer, clock) = world();
    time.advance_ns(3 * SECOND_NS);
    let memory = writer.track.page.memory.clone();
    drop(writer);
    let ended = memory.page().lag_at(&clock, clock.now());
    assert_eq!(ended.count(), 3_000, "the poll in which it ended is counted");
    time.advance_ns(SECOND_NS);
    assert_eq!(memory.page().lag_at(&clock, clock.now()), ended);

    let clock = Clock::simulated(time.clone());
    let mut whole = Writer::builder("whole").clock(clock.clone()).build_threadless();
    let silent = Writer::builder("silent").observed().clock(clock.clone()).build();
    time.advance_ns(SECOND_NS);
    whole.probe_waited(30 * MS_NS, MS_NS * 100);
    assert_eq!(whole.page().lag_at(&clock, clock.now()).count(), 1);
    assert_eq!(silent.page().lag_at(&clock, clock.now()).count(), 0);
}

#[test]
fn a_loop_that_only_polls_without_telling_is_not_one_long_wait() {
    let (time, mut writer, clock) = world();
    let pen = WriteToken::<AgentOwned>::mint();
    writer.resume();
    // Ten minutes, and a look each second that finds that it has polled.
    const SECONDS: u64 = if cfg!(miri) { 5 } else { 600 };
    for _ in 0..SECONDS {
        time.advance_ns(SECOND_NS);
        writer.page().control.set_turned(&pen, clock.now());
    }
    let seen = writer.page().lag_at(&clock, clock.now());
    assert_eq!((seen.count(), seen.buckets[0]), (SECONDS * 1_000, SECONDS * 1_000), "while it lasts");
    time.advance_ns(200 * MS_NS);
    writer.park();
    let counted = writer.page().lag_at(&clock, clock.now());
    assert!(counted.count().abs_diff(SECONDS * 1_000 + 200) <= 1, "{}", counted.count());
    assert_eq!(counted.buckets[0], SECONDS * 1_000);
    let longest = counted.quantile_ns(1.0).unwrap();
    assert!(longest <= 220 * MS_NS, "{longest}");
}

#[test]
fn what_a_retired_thread_s_page_says_stays() {
    let (time, mut writer, clock) = world();
    let pen = WriteToken::<AgentOwned>::mint();
    writer.resume();
    writer.park();
    time.advance_ns(2 * SECOND_NS);
    let seen = writer.page().lag_at(&clock, clock.now());
    writer.page().control.set_retired(&pen, clock.now());
    time.advance_ns(60 * SECOND_NS);
    assert_eq!(writer.page().lag_at(&clock, clock.now()), seen);
}

#[test]
fn a_poll_that_ends_while_the_page_is_read_is_not_missing() {
    for is_parked in [false, true] {
        let (time, mut writer, clock) = world();
        writer.resume();
        writer.park();
        time.advance_ns(SECOND_NS);
        let memory = writer.track.page.memory.clone();
        let taken = clock.now();
        let seen = memory.page().lag_at(&clock, taken);
        let (writer, is_first) = (RefCell::new(writer), Cell::new(true));
        // The first bucket is read before the end of the poll is counted, and the others after a busy period.
        let read = || {
            let before = memory.page().tallies.lag.read();
            if !is_first.replace(false) {
                return before;
            }
            let mut writer = writer.borrow_mut();
            writer.unpark(1);
            time.advance_ns(2 * SECOND_NS);
            writer.park();
            if !is_parked {
                writer.unpark(1);
            }
            let mut torn = memory.page().tallies.lag.read();
            torn.buckets[0] = before.buckets[0];
            torn
        };
        let lag = memory.page().lag_by(&clock, taken, read);
        assert!(lag.buckets[0] >= seen.buckets[0], "{is_parked}: {} of {}", lag.buckets[0], seen.buckets[0]);
        assert_eq!(lag.count(), 3_000, "{is_parked}");
    }
}

#[test]
fn a_busy_period_that_is_not_counted_yet_is_not_taken_for_a_poll() {
    let (time, mut writer, clock) = world();
    writer.resume();
    writer.park();
    time.advance_ns(SECOND_NS);
    writer.unpark(1);
    let counted = writer.page().tallies.lag.read();
    time.advance_ns(2 * SECOND_NS);
    writer.park();
    // As a reader finds it between the two stores of `park`: it polls, and what waited before is not counted.
    let lag = writer.page().lag_by(&clock, clock.now(), || counted.clone());
    assert_eq!(lag, counted);
}

/// What happens to a loop.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time passes, in nanoseconds.
    Wait(u64),
    Park,
    Unpark,
    /// An agent finds that the loop has polled without telling.
    Turn,
    /// A reader takes the time, and reads the page after the next step.
    Begin,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3 * MS_NS).prop_map(Step::Wait),
        2 => (0..2 * SECOND_NS).prop_map(Step::Wait),
        3 => Just(Step::Park),
        3 => Just(Step::Unpark),
        1 => Just(Step::Turn),
        2 => Just(Step::Begin),
    ];
    prop::collection::vec(step, 1..120)
}

/// What one reader has seen.
#[derive(Default)]
struct Reader {
    lag: HistogramValues,
}

impl Reader {
    fn read(&mut self, page: &Page, clock: &Clock, taken: Ticks) -> Result<(), TestCaseError> {
        let lag = page.lag_at(clock, taken);
        for (slot, (before, now)) in self.lag.buckets.iter().zip(&lag.buckets).enumerate() {
            prop_assert!(now >= before, "bucket {slot} fell from {before} to {now}");
        }
        prop_assert!(lag.count() >= self.lag.count() && lag.sum_ns >= self.lag.sum_ns);
        self.lag = lag;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // One thread, and whole histograms at every step: the interpreter takes many minutes for it, and has nothing to find.
    #[cfg_attr(miri, ignore)]
    #[test]
    fn no_bucket_and_no_count_ever_falls(steps in steps(), seed_ns in 0..5 * MS_NS) {
        let (time, mut writer, clock) = world();
        time.advance_ns(seed_ns);
        let pen = WriteToken::<AgentOwned>::mint();
        let (mut reader, mut taken, mut is_busy) = (Reader::default(), None, false);
        for step in steps {
            let late = std::mem::take(&mut taken);
            match step {
                Step::Wait(ns) => time.advance_ns(ns),
                Step::Park if is_busy => {
                    writer.park();
                    is_busy = false;
                }
                Step::Unpark if !is_busy => {
                    writer.unpark(1);
                    is_busy = true;
                }
                Step::Turn if is_busy => writer.page().control.set_turned(&pen, clock.now()),
                Step::Begin => taken = Some(clock.now()),
                Step::Park | Step::Unpark | Step::Turn => {}
            }
            if let Some(taken) = late {
                reader.read(writer.page(), &clock, taken)?;
            }
            reader.read(writer.page(), &clock, clock.now())?;
        }
        if is_busy {
            writer.park();
        }
        let lived_ms = clock.ns_between(writer.page().created(), clock.now()) / MS_NS;
        reader.read(writer.page(), &clock, clock.now())?;
        prop_assert!(reader.lag.count().abs_diff(lived_ms) <= 1, "{} of {lived_ms}", reader.lag.count());
        let memory = writer.track.page.memory.clone();
        drop(writer);
        reader.read(memory.page(), &clock, clock.now())?;
    }
}
