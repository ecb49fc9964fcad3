//! The loop's own time: cached, in whole milliseconds for timers, counted from the loop's making.
//!
//! Node's timers count from a cached time that is refreshed where libuv refreshes it, at the start of every timer too,
//! and truncated to milliseconds; both are part of the order in which timers fire. Programs start timers by the
//! million, so a refresh must be cheap: it is one read of the processor's counter, and as long as the millisecond has
//! not ended, one comparison. The counter is trusted for half a millisecond only, then the time is set by the monotonic
//! clock, which is what the kernel's time-outs are measured on: the counter's rate is known to some parts in a million,
//! and while the machine sleeps it runs on or begins anew.
//!
//! It is the clock of the probe's stamps, too: [`LoopClock::ticks_at`] maps moments of this time to stamps.

use loopscope_probe::{Clock, Ticks};
use std::time::{Duration, Instant};

/// Nanoseconds in a millisecond.
pub(crate) const MS_NS: u64 = 1_000_000;

/// Returns how long it is from `now_ns` to the start of millisecond `at_ms`.
pub(crate) fn until(at_ms: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(at_ms.saturating_mul(MS_NS).saturating_sub(now_ns))
}

/// The cached time of a loop. It never goes back.
pub(crate) struct LoopClock {
    clock: Clock,
    /// When the loop was made, by the monotonic clock; `None` in virtual time, where `clock` itself is exact.
    made: Option<Instant>,
    /// A moment on both clocks.
    anchor: Ticks,
    anchor_ns: u64,
    /// How long the counter is trusted alone: half a millisecond, in which it goes wrong by less than what a look at the
    /// monotonic clock takes. For ever in virtual time.
    anchor_lasts: u64,
    /// The last reading of the counter.
    now: Ticks,
    /// The cached time: of that reading, or later where time would have gone back.
    now_ns: u64,
    now_ms: u64,
    /// When the cached millisecond ends; never too late.
    ms_ends: Ticks,
    /// Ticks of 2^32 ns.
    ticks_per_wide: u64,
}

impl LoopClock {
    /// Begins at zero, in real time.
    pub(crate) fn real() -> Self {
        LoopClock::starting_now(Clock::real(), Some(Instant::now()))
    }

    /// Begins at zero, and shows what `clock` shows.
    pub(crate) fn of(clock: Clock) -> Self {
        LoopClock::starting_now(clock, None)
    }

    fn starting_now(clock: Clock, made: Option<Instant>) -> Self {
        let (now, ticks_per_wide) = (clock.now(), clock.scale().ticks(1 << 32));
        let anchor_lasts = made.map_or(u64::MAX, |_| clock.scale().ticks(MS_NS / 2));
        let (anchor, ms_ends) = (now, now);
        let mut clock = LoopClock {
            clock,
            made,
            anchor,
            anchor_ns: 0,
            anchor_lasts,
            now,
            now_ns: 0,
            now_ms: 0,
            ms_ends,
            ticks_per_wide,
        };
        clock.enter_ms();
        clock
    }

    /// Reads the counter; returns the time in whole milliseconds.
    #[inline]
    pub(crate) fn refresh(&mut self) -> u64 {
        self.refresh_at(self.clock.now())
    }

    /// [Refreshes](LoopClock::refresh) the time by a reading of the counter that was taken just before.
    #[inline]
    pub(crate) fn refresh_at(&mut self, reading: Ticks) -> u64 {
        self.now = reading;
        // A reading before the anchor, of a counter that began anew or of another processor's, counts as an old anchor.
        let age = reading.0.wrapping_sub(self.anchor.0);
        if age >= self.anchor_lasts {
            self.drop_anchor();
        } else {
            self.now_ns = self.now_ns.max(self.anchor_ns.saturating_add(self.clock.scale().ns(age)));
            if reading >= self.ms_ends {
                self.enter_ms();
            }
        }
        self.now_ms
    }

    /// Sets the time by the monotonic clock.
    #[inline(never)]
    fn drop_anchor(&mut self) {
        let Some(made) = self.made else { return };
        // The counter last: a thread that is stopped in between is late then, and no timer early.
        self.anchor_ns = nanoseconds(made.elapsed());
        self.anchor = self.clock.now();
        self.now = self.anchor;
        self.now_ns = self.now_ns.max(self.anchor_ns);
        self.enter_ms();
    }

    /// Notes in which millisecond the cached time lies, and when that ends.
    fn enter_ms(&mut self) {
        self.now_ms = self.now_ns / MS_NS;
        self.ms_ends = self.ticks_at(self.now_ms + 1);
    }

    /// Returns the last reading of the counter: a stamp of the probe.
    #[inline]
    pub(crate) fn now(&self) -> Ticks {
        self.now
    }

    /// Returns the cached time in nanoseconds.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Returns the cached time in whole milliseconds, truncated.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Looks at the time, and leaves the cached time as it is.
    pub(crate) fn peek_ns(&self) -> u64 {
        let age = self.clock.now().0.wrapping_sub(self.anchor.0);
        let now_ns = match self.made {
            Some(made) if age >= self.anchor_lasts => nanoseconds(made.elapsed()),
            _ => self.anchor_ns.saturating_add(self.clock.scale().ns(age)),
        };
        now_ns.max(self.now_ns)
    }

    /// Returns the stamp of the start of millisecond `at_ms`, rounded down. Exact to nanoseconds near the last anchor.
    #[inline]
    pub(crate) fn ticks_at(&self, at_ms: u64) -> Ticks {
        let at_ns = at_ms.saturating_mul(MS_NS);
        let ticks = |ns: u64| ((u128::from(ns) * u128::from(self.ticks_per_wide)) >> 32) as u64;
        let stamp = match at_ns.checked_sub(self.anchor_ns) {
            Some(later_ns) => self.anchor.0.saturating_add(ticks(later_ns)),
            None => self.anchor.0.saturating_sub(ticks(self.anchor_ns - at_ns)),
        };
        Ticks(stamp.max(1))
    }
}

/// Counts a duration's nanoseconds, for 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::VirtualClock;

    #[test]
    fn the_cached_millisecond_ends_when_it_is_over() {
        let time = VirtualClock::starting_at(5_000_000_123);
        let mut clock = LoopClock::of(Clock::simulated(time.clone()));
        for (step_ns, ms) in
            [(0, 0), (999_999, 0), (1, 1), (500_000, 1), (499_999, 1), (1, 2), (7_000_000, 9)]
        {
            time.advance_ns(step_ns);
            assert_eq!(clock.refresh(), ms);
            assert_eq!(clock.now_ns() / MS_NS, ms);
        }
        assert_eq!(clock.ticks_at(9), Ticks(5_009_000_123));
        assert_eq!(clock.ticks_at(0), Ticks(5_000_000_123));
        time.advance_ns(1_000_000);
        assert_eq!((clock.now_ms(), clock.peek_ns()), (9, 10_000_000), "looking changes nothing");
    }

    #[test]
    fn real_time_never_goes_back_and_agrees_with_the_monotonic_clock() {
        let (mut clock, started) = (LoopClock::real(), Instant::now());
        let mut last_ns = 0;
        while started.elapsed() < Duration::from_millis(5) {
            clock.refresh();
            assert!(clock.now_ns() >= last_ns);
            last_ns = clock.now_ns();
            assert!(clock.now_ms() == last_ns / MS_NS);
        }
        let elapsed_ns = nanoseconds(started.elapsed());
        clock.refresh();
        // The counter alone may be behind by what it goes wrong in half a millisecond.
        assert!(clock.now_ns() + 1_000 >= elapsed_ns, "the loop's clock was made first");
    }

    /// A loop's clock in real time whose counter is moved by hand.
    fn with_counter(time: &VirtualClock) -> LoopClock {
        LoopClock::starting_now(Clock::simulated(time.clone()), Some(Instant::now()))
    }

    #[test]
    fn a_counter_that_ran_on_while_the_machine_slept_moves_no_time() {
        let time = VirtualClock::starting_at(MS_NS);
        let mut clock = with_counter(&time);
        time.advance_ns(3_600_000 * MS_NS);
        clock.refresh();
        assert!(clock.now_ns() < 3_000_000 * MS_NS && clock.peek_ns() < 3_000_000 * MS_NS);
        let before_ns = clock.now_ns();
        time.advance_ns(300_000);
        clock.refresh();
        assert!(clock.now_ns() >= before_ns + 300_000, "and it goes on from there");
    }

    #[test]
    fn a_counter_that_begins_anew_stops_no_timer() {
        let (late, anew) = (VirtualClock::starting_at(1 << 50), VirtualClock::starting_at(5));
        let mut clock = with_counter(&late);
        clock.refresh();
        let before_ns = clock.now_ns();
        clock.clock = Clock::simulated(anew.clone());
        clock.refresh();
        assert!((before_ns..3_000_000 * MS_NS).contains(&clock.now_ns()));
        let before_ns = clock.now_ns();
        anew.advance_ns(400_000);
        clock.refresh();
        assert!(clock.now_ns() >= before_ns + 400_000);
        assert!(clock.ticks_at(clock.now_ms() + 1) <= Ticks(5 + 400_000 + MS_NS));
    }
}
