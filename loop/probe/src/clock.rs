//! The clock that stamps everything on the page: the processor's counter, the monotonic clock, or a virtual one.
//!
//! A stamp is a [`Ticks`]: a plain count whose unit only its clock knows. The loop's thread stores and subtracts ticks;
//! conversion to nanoseconds is one multiplication and a shift. One read costs about 10 ns with the counter on a
//! virtual machine and 25 ns with the monotonic clock.

use crate::cycle_counter;
use crate::limits::DURATION_NS_MAX;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment on a page's clock. Comparable only with ticks of the same clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// No moment at all: the zero that an unwritten page holds.
    pub const NONE: Ticks = Ticks(0);

    /// Returns the ticks from `earlier` to `self`, or 0 where `earlier` is later: counters of two cores may differ
    /// by a few ticks.
    #[inline(always)]
    pub fn since(self, earlier: Ticks) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How many nanoseconds a tick is: `ns = ticks * multiplier / 2^32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    multiplier: u64,
}

impl Scale {
    /// One tick is one nanosecond.
    pub const NANOSECONDS: Scale = Scale { multiplier: 1 << 32 };

    /// Returns the scale of a counter that advanced by `ticks` in `ns` nanoseconds, or `None` where either is 0 or
    /// the ratio cannot be expressed.
    pub fn from_ratio(ticks: u64, ns: u64) -> Option<Scale> {
        let multiplier = (u128::from(ns) << 32).checked_div(u128::from(ticks))?;
        u64::try_from(multiplier).ok().and_then(Scale::from_multiplier)
    }

    /// Returns the scale with this multiplier, or `None` for 0 (as read from a page that may be damaged).
    pub fn from_multiplier(multiplier: u64) -> Option<Scale> {
        (multiplier != 0).then_some(Scale { multiplier })
    }

    /// Returns the multiplier: nanoseconds per 2^32 ticks.
    pub fn multiplier(self) -> u64 {
        self.multiplier
    }

    /// Converts a number of ticks to nanoseconds, modulo 2^64 (584 years): a check would cost more than the product.
    #[inline(always)]
    pub fn ns(self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.multiplier)) >> 32) as u64
    }

    /// Converts ticks to nanoseconds, at most [`DURATION_NS_MAX`]: for ticks and a scale that were read from a page. A
    /// little more work than [`Scale::ns`], which is for the writer.
    #[inline]
    pub fn duration_ns(self, ticks: u64) -> u64 {
        let wide = (u128::from(ticks) * u128::from(self.multiplier)) >> 32;
        wide.min(u128::from(DURATION_NS_MAX)) as u64
    }

    /// As [`Scale::duration_ns`], for a sum of what several threads took, which may be longer than any duration: at most
    /// `u64::MAX`.
    #[inline]
    pub fn sum_ns(self, ticks: u64) -> u64 {
        let wide = (u128::from(ticks) * u128::from(self.multiplier)) >> 32;
        wide.min(u128::from(u64::MAX)) as u64
    }

    /// Converts nanoseconds to ticks, saturating at `u64::MAX`.
    pub fn ticks(self, ns: u64) -> u64 {
        let wide = (u128::from(ns) << 32) / u128::from(self.multiplier);
        u64::try_from(wide).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until told to move; clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Returns a clock at `ns` nanoseconds.
    pub fn starting_at(ns: u64) -> Self {
        VirtualClock(Arc::new(AtomicU64::new(ns)))
    }

    /// Returns the time in nanoseconds.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves the time forward by `ns` nanoseconds.
    pub fn advance_ns(&self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }

    /// Moves the time forward to `ns`; a time in the past is ignored.
    pub fn advance_to_ns(&self, ns: u64) {
        self.0.fetch_max(ns, Ordering::Relaxed);
    }
}

/// Where ticks come from. The numbers are written to the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum ClockSource {
    /// The processor's own counter: TSC on x86-64, the generic timer on aarch64. The same for every process.
    Counter = 1,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    Monotonic = 2,
    /// A [`VirtualClock`] in nanoseconds.
    Virtual = 3,
}

impl ClockSource {
    /// Returns the source with this number.
    pub fn from_index(index: u64) -> Option<ClockSource> {
        [ClockSource::Counter, ClockSource::Monotonic, ClockSource::Virtual]
            .into_iter()
            .find(|source| *source as u64 == index)
    }
}

/// A clock for stamps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    reading: Reading,
    scale: Scale,
}

#[derive(Clone, Debug)]
enum Reading {
    Counter,
    Monotonic,
    Virtual(VirtualClock),
}

impl Clock {
    /// Returns the best real clock of this machine, calibrated once per process.
    ///
    /// The counter is used where it runs at one rate in all power states and the kernel trusts it; else the monotonic
    /// clock. The first call takes some 0.2 ms where the counter's rate must be measured; its error is then below
    /// 20 parts in a million. It is measured once and not refined: with another rate, what a loop has counted could go back.
    pub fn real() -> Clock {
        static CALIBRATED: OnceLock<Option<Scale>> = OnceLock::new();
        match CALIBRATED.get_or_init(calibrate) {
            Some(scale) => Clock { reading: Reading::Counter, scale: *scale },
            None => Clock::monotonic(),
        }
    }

    /// Returns the monotonic clock, which [`Clock::real`] falls back to.
    pub fn monotonic() -> Clock {
        Clock { reading: Reading::Monotonic, scale: Scale::NANOSECONDS }
    }

    /// Returns a clock that shows the time of `clock`.
    pub fn simulated(clock: VirtualClock) -> Clock {
        Clock { reading: Reading::Virtual(clock), scale: Scale::NANOSECONDS }
    }

    /// Returns a clock for reading ages off a page that another process wrote, or `None` where its source cannot be
    /// read from here (a virtual clock, or a counter this machine does not trust).
    pub fn for_page(source: ClockSource, scale: Scale) -> Option<Clock> {
        match source {
            ClockSource::Counter => {
                cycle_counter::is_reliable().then_some(Clock { reading: Reading::Counter, scale })
            }
            ClockSource::Monotonic => Some(Clock::monotonic()),
            ClockSource::Virtual => None,
        }
    }

    /// Returns the clock of a page of this process, whose writer found that it can be relied on; `None` for a virtual one.
    pub(crate) fn of_own_page(source: ClockSource, scale: Scale) -> Option<Clock> {
        match source {
            ClockSource::Counter => Some(Clock { reading: Reading::Counter, scale }),
            ClockSource::Monotonic => Some(Clock::monotonic()),
            ClockSource::Virtual => None,
        }
    }

    /// Returns the present moment.
    #[inline(always)]
    pub fn now(&self) -> Ticks {
        match &self.reading {
            Reading::Counter => Ticks(cycle_counter::read()),
            _ => self.now_without_counter(),
        }
    }

    // Apart: where the counter is read, nothing is kept at hand for a call.
    #[cold]
    #[inline(never)]
    fn now_without_counter(&self) -> Ticks {
        match &self.reading {
            Reading::Virtual(clock) => Ticks(clock.now_ns()),
            _ => Ticks(monotonic_ns()),
        }
    }

    /// Returns what a tick is worth.
    #[inline(always)]
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Returns where this clock's ticks come from.
    pub fn source(&self) -> ClockSource {
        match self.reading {
            Reading::Counter => ClockSource::Counter,
            Reading::Monotonic => ClockSource::Monotonic,
            Reading::Virtual(_) => ClockSource::Virtual,
        }
    }

    /// Returns the nanoseconds from `earlier` to `later`, two moments that were read from a page: 0 where they are the other
    /// way round, at most [`DURATION_NS_MAX`].
    #[inline]
    pub fn duration_ns(&self, earlier: Ticks, later: Ticks) -> u64 {
        self.scale.duration_ns(later.since(earlier))
    }

    /// Returns the nanoseconds from `earlier` to `later`, 0 where they are the other way round. For moments of this
    /// process's own; those of a page may be any, see [`Clock::duration_ns`].
    #[inline(always)]
    pub fn ns_between(&self, earlier: Ticks, later: Ticks) -> u64 {
        self.scale.ns(later.since(earlier))
    }
}

/// Returns `CLOCK_MONOTONIC` in nanoseconds where the system has it; elsewhere nanoseconds since the first call.
#[cfg(unix)]
fn monotonic_ns() -> u64 {
    crate::cycle_counter::monotonic_ns()
}

/// Returns nanoseconds since the first call.
#[cfg(not(unix))]
fn monotonic_ns() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the wall clock as nanoseconds since 1970, 0 for a clock set before that.
pub fn unix_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

/// How long the counter is compared with the monotonic clock, on the thread of the process's first loop. A pair of
/// readings is exact to a nanosecond, because the system's clock is computed from the same counter. The rate was then
/// wrong by 3 parts in a million in the median and by 6 at most, in 120 processes on a virtual machine; a longer
/// comparison costs every start.
const CALIBRATION: Duration = Duration::from_micros(150);

/// Finds the counter's rate, or `None` where it must not be used.
fn calibrate() -> Option<Scale> {
    if !cycle_counter::is_reliable() {
        return None;
    }
    if let Some(hz) = cycle_counter::known_hz() {
        return Scale::from_ratio(hz, 1_000_000_000);
    }
    let (ticks_first, at_first) = paired_reading();
    while at_first.elapsed() < CALIBRATION {
        std::hint::spin_loop();
    }
    let (ticks_last, at_last) = paired_reading();
    let elapsed_ns = u64::try_from(at_last.duration_since(at_first).as_nanos()).ok()?;
    Scale::from_ratio(ticks_last.checked_sub(ticks_first)?, elapsed_ns)
}

/// Reads counter and monotonic clock as one: the tightest of a few brackets, so that an interrupt between the two
/// reads does not spoil the pair.
fn paired_reading() -> (u64, Instant) {
    let bracket = || {
        let before = cycle_counter::read();
        let at = Instant::now();
        let after = cycle_counter::read();
        (after.saturating_sub(before), before / 2 + after / 2, at)
    };
    let tightest = (0..16).map(|_| bracket()).min_by_key(|(width, ..)| *width);
    let (_, ticks, at) = tightest.expect("sixteen brackets were taken");
    (ticks, at)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_real_clock_agrees_with_the_monotonic_clock_to_a_part_in_a_thousand() {
        let clock = Clock::real();
        // Two brackets with some 30 ms between them; the wait is on the clock under test itself.
        let (ticks_first, at_first) = (clock.now(), Instant::now());
        while at_first.elapsed() < Duration::from_millis(30) {
            std::hint::spin_loop();
        }
        let (ticks_last, at_last) = (clock.now(), Instant::now());
        let measured_ns = clock.ns_between(ticks_first, ticks_last) as f64;
        let expected_ns = at_last.duration_since(at_first).as_nanos() as f64;
        // A pre-emption between the two reads of a pair moves it by milliseconds; a wrong rate is far more than this.
        assert!((measured_ns / expected_ns - 1.0).abs() < 0.5, "{measured_ns} against {expected_ns}");
    }

    #[test]
    fn scale_converts_there_and_back() {
        let scale = Scale::from_ratio(2_596_000_000, 1_000_000_000).unwrap();
        for ns in [0, 1, 59, 1_000, 1_000_000_007, 3_600_000_000_000] {
            let back = scale.ns(scale.ticks(ns));
            assert!(back.abs_diff(ns) <= 2 + ns / 1_000_000_000, "{ns} came back as {back}");
        }
        assert_eq!(Scale::NANOSECONDS.ns(u64::MAX), u64::MAX);
        assert_eq!(Scale::from_ratio(1, 2).unwrap().ns(u64::MAX), u64::MAX - 1);
        assert_eq!(Scale::from_ratio(0, 5), None);
        for (ticks, multiplier) in [(u64::MAX, 1 << 32), (u64::MAX, u64::MAX), (1 << 61, 1 << 32)] {
            let scale = Scale::from_multiplier(multiplier).unwrap();
            assert_eq!(scale.duration_ns(ticks), DURATION_NS_MAX);
            assert!(scale.sum_ns(ticks) > DURATION_NS_MAX);
        }
        assert_eq!(Scale::from_multiplier(u64::MAX).unwrap().sum_ns(u64::MAX), u64::MAX);
        assert_eq!(scale.sum_ns(2_596_000_000), scale.ns(2_596_000_000));
        assert_eq!(scale.duration_ns(2_596_000_000), scale.ns(2_596_000_000));
        assert_eq!(Scale::from_multiplier(0), None);
    }

    #[test]
    fn a_counter_that_runs_backwards_gives_no_time() {
        assert_eq!(Ticks(5).since(Ticks(9)), 0);
        assert_eq!(Clock::monotonic().ns_between(Ticks(9), Ticks(5)), 0);
    }

    #[test]
    fn a_virtual_clock_moves_only_when_told() {
        let time = VirtualClock::starting_at(7);
        let clock = Clock::simulated(time.clone());
        assert_eq!(clock.now(), Ticks(7));
        time.advance_ns(3);
        time.advance_to_ns(4);
        assert_eq!(clock.now(), Ticks(10));
        assert_eq!(clock.ns_between(Ticks(7), clock.now()), 3);
    }
}
