//! The lag histogram against the truth: many events that arrive at random moments, each of whose waits is computed from
//! the simulated history itself.
//!
//! The loop is played on a virtual clock, as a list of busy periods and polls. The page never sees the random events,
//! and the events never see the page: both describe the same history, and their quantiles must lie within one bucket.

use loopscope_probe::raw::histogram::slot;
use loopscope_probe::{Clock, Phase, VirtualClock, Writer};

const MS_NS: u64 = 1_000_000;

/// How long one pattern is played: the rarest quantile must rest on hundreds of the page's thousand arrivals a second.
const HISTORY_NS: u64 = 3_600_000 * MS_NS;
const EVENTS: usize = 200_000;

/// A plain generator, the same numbers on every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

/// The busy periods of a history: begin and end, in order, nanoseconds since its start.
type BusyPeriods = Vec<(u64, u64)>;

/// Plays a pattern: `next` is told the time and answers how long the loop polls and then how long it is busy.
fn history(mut next: impl FnMut(u64) -> (u64, u64)) -> BusyPeriods {
    let (mut now_ns, mut periods) = (0, Vec::new());
    while now_ns < HISTORY_NS {
        let (poll_ns, busy_ns) = next(now_ns);
        periods.push((now_ns + poll_ns, now_ns + poll_ns + busy_ns));
        now_ns += poll_ns + busy_ns;
    }
    periods
}

/// Lets a loop live through the history on a virtual clock, and returns its page's lag histogram.
fn lag_on_page(periods: &BusyPeriods) -> loopscope_probe::raw::histogram::HistogramValues {
    let time = VirtualClock::starting_at(MS_NS);
    let mut writer = Writer::builder("truth").clock(Clock::simulated(time.clone())).build();
    writer.resume();
    writer.phase(Phase::POLL);
    writer.park();
    for (begin_ns, end_ns) in periods {
        time.advance_to_ns(MS_NS + begin_ns);
        writer.unpark(1);
        time.advance_to_ns(MS_NS + end_ns);
        writer.iteration();
        writer.park();
    }
    writer.page().snapshot(writer.clock()).lag
}

/// Returns how long an event that arrives at `at_ns` waits until the loop polls.
fn wait_ns(periods: &BusyPeriods, at_ns: u64) -> u64 {
    let following = periods.partition_point(|(_, end_ns)| *end_ns <= at_ns);
    match periods.get(following) {
        Some((begin_ns, end_ns)) if *begin_ns <= at_ns => end_ns - at_ns,
        _ => 0,
    }
}

fn assert_lag_is_true(pattern: &str, periods: BusyPeriods) {
    let lag = lag_on_page(&periods);
    let (_, end_ns) = *periods.last().expect("a history has busy periods");
    assert!(lag.count().abs_diff(end_ns / MS_NS) <= 1, "{pattern}: {} arrivals in {end_ns} ns", lag.count());

    let mut random = Random(20);
    let mut waits: Vec<u64> = (0..EVENTS).map(|_| wait_ns(&periods, random.below(end_ns))).collect();
    waits.sort_unstable();
    for quantile in [0.5, 0.9, 0.99, 0.999] {
        let rank = ((EVENTS as f64 * quantile).ceil() as usize).clamp(1, EVENTS);
        let truth = slot(waits[rank - 1]);
        let told = slot(lag.quantile_ns(quantile).expect("the history is not empty"));
        assert!(
            told.abs_diff(truth) <= 1,
            "{pattern}: p{} is in bucket {told} on the page and in {truth} in truth ({} ns)",
            quantile * 100.0,
            waits[rank - 1]
        );
    }
    let (told, truth) =
        (lag.sum_ns as f64 / lag.count() as f64, waits.iter().sum::<u64>() as f64 / EVENTS as f64);
    assert!((told / truth - 1.0).abs() < 0.05, "{pattern}: mean {told} ns on the page, {truth} ns in truth");
}

#[test]
fn rare_long_blocks_are_told_truly() {
    let mut random = Random(1);
    let pattern = |_| match random.below(200) {
        0 => (random.below(20 * MS_NS), 300 * MS_NS + random.below(500 * MS_NS)),
        _ => (random.below(20 * MS_NS), 20_000 + random.below(80_000)),
    };
    assert_lag_is_true("rare long blocks", history(pattern));
}

#[test]
fn many_short_busy_periods_are_counted_truly() {
    let mut random = Random(2);
    let pattern = |_| (random.below(2 * MS_NS), 100_000 + random.below(3 * MS_NS));
    assert_lag_is_true("many short busy periods", history(pattern));
}

#[test]
fn work_right_after_every_millisecond_boundary_is_told_truly() {
    // In step with the millisecond: arrivals fixed to its boundaries would all fall on the same moment of the busy period.
    let pattern = |now_ns: u64| (now_ns.next_multiple_of(MS_NS) - now_ns + 1_000, 300_000);
    assert_lag_is_true("periodic work after each millisecond", history(pattern));
}

#[test]
fn a_random_mixture_is_told_truly() {
    let mut random = Random(4);
    // Spread evenly over the powers of two, from a microsecond up. Polls are the shorter ones: a loop that is busy half
    // of the time has its median on the cliff between waiting and not waiting, where no sample says much.
    let mut spread = move |octaves| 1_000 << random.below(octaves) | random.below(1_000);
    assert_lag_is_true("random mixture", history(|_| (spread(15), spread(17))));
}

#[test]
fn a_loop_that_hardly_polls_is_told_truly() {
    let mut random = Random(5);
    let pattern = |_| (1_000, 5 * MS_NS + random.below(40 * MS_NS));
    assert_lag_is_true("saturated", history(pattern));
}
