//! The loop's own time: cached, in whole milliseconds for timers, counted from the loop's making.
//!
//! Node's timers count from a cached time that is refreshed where libuv refreshes it, and truncated to milliseconds;
//! both are part of the order in which timers fire. Stamps for the probe are another clock ([`loopscope_probe::Clock`]);
//! [`LoopClock::ticks_at`] maps moments of this one to it.

use loopscope_probe::{Clock, Ticks};
use std::time::{Duration, Instant};

/// Nanoseconds in a millisecond.
pub(crate) const MS_NS: u64 = 1_000_000;

/// Where the loop's time comes from.
pub(crate) trait TimeSource {
    /// Returns nanoseconds since the source was made. Never goes back.
    fn now_ns(&self) -> u64;
}

/// The monotonic clock.
pub(crate) struct RealTime(Instant);

impl RealTime {
    pub(crate) fn starting_now() -> Self {
        RealTime(Instant::now())
    }
}

impl TimeSource for RealTime {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Returns how long it is from `now_ns` to the start of millisecond `at_ms`.
pub(crate) fn until(at_ms: u64, now_ns: u64) -> Duration {
    Duration::from_nanos(at_ms.saturating_mul(MS_NS).saturating_sub(now_ns))
}

/// The cached time of a loop.
pub(crate) struct LoopClock {
    source: Box<dyn TimeSource>,
    now_ns: u64,
    /// A moment on both clocks, for mapping due times to stamps.
    anchor: (u64, Ticks),
}

impl LoopClock {
    pub(crate) fn new(source: Box<dyn TimeSource>) -> Self {
        let now_ns = source.now_ns();
        LoopClock { source, now_ns, anchor: (now_ns, Ticks::NONE) }
    }

    /// Reads the source anew; returns the time in whole milliseconds.
    pub(crate) fn refresh(&mut self) -> u64 {
        self.now_ns = self.source.now_ns();
        self.now_ms()
    }

    /// Returns the cached time in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Returns the cached time in whole milliseconds, truncated.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ns / MS_NS
    }

    /// Reads the source, and leaves the cached time as it is.
    pub(crate) fn peek_ns(&self) -> u64 {
        self.source.now_ns()
    }

    /// Notes that the cached time and the present moment of `clock` are the same.
    pub(crate) fn anchor(&mut self, clock: &Clock) {
        self.anchor = (self.now_ns, clock.now());
    }

    /// Returns the stamp of the start of millisecond `at_ms`, which lies before the last anchor.
    pub(crate) fn ticks_at(&self, at_ms: u64, clock: &Clock) -> Ticks {
        let (anchor_ns, anchor) = self.anchor;
        let ago_ns = anchor_ns.saturating_sub(at_ms.saturating_mul(MS_NS));
        Ticks(anchor.0.saturating_sub(clock.scale().ticks(ago_ns)).max(1))
    }
}
