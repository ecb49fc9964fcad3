//! The loop's polls: where one begins, and when it has returned, which nobody tells at that moment.

use super::{Entries, Frame, Runtime};
use loopscope_probe::{Phase, Ticks};

/// A wait in which the two clocks part by less than 1 us, in nanoseconds: they differ by less than 0.1 percent.
const SHORT_NS: u64 = 1_000_000;

const NS_PER_MS: u64 = 1_000_000;
/// By how much libuv's time may part from its time of waiting, in milliseconds: each is rounded.
const CUT_MS: u64 = 2;

impl<R: Runtime> Entries<R> {
    pub(super) fn poll_begins(&mut self) {
        if self.is_in_entry || self.frame != Frame::None {
            self.abandon();
        }
        self.scopes.forget();
        self.writer.drained();
        self.start.polls(self.writer.last());
        if let Some(before) = self.events
            && let Some(now) = self.ask(|runtime| runtime.events())
        {
            self.events = Some(now);
            if self.has_polled {
                self.writer.poll_events(now.saturating_sub(before) as usize);
            }
        }
        self.has_polled = true;
        self.time_ms = self.runtime.time_ms();
        (self.phase, self.told, self.resource) = (Phase::POLL, Phase::POLL, 0);
        self.writer.phase(Phase::POLL);
        self.writer.iteration();
        self.writer.settle();
        let at = self.writer.clock().now();
        self.writer.park_at(at);
        self.parked = at;
    }

    /// Says that the poll has returned, as long ago as its time of waiting tells.
    #[inline]
    pub(super) fn poll_has_returned(&mut self, now: Option<Ticks>) {
        if self.parked != Ticks::NONE {
            self.poll_returned(now);
        }
    }

    #[inline(never)]
    fn poll_returned(&mut self, now: Option<Ticks>) {
        let parked = std::mem::take(&mut self.parked);
        // It grows in polls only, so at the begin of this one it was what it was at the return of the one before.
        let idle_ns = self.ask(|runtime| Some(runtime.idle_ns())).unwrap_or(0);
        let waited_ns = idle_ns.wrapping_sub(std::mem::replace(&mut self.idle_ns, idle_ns));
        let passed_ms = self.runtime.time_ms().wrapping_sub(self.time_ms);
        let is_cut = passed_ms > waited_ns / NS_PER_MS + CUT_MS;
        let clock = self.writer.clock();
        // A conversion is a division of 128 bits, and most polls of a busy loop do not wait.
        let waited = if waited_ns == 0 { 0 } else { clock.scale().ticks(waited_ns) };
        let returned = Ticks(parked.0.saturating_add(waited));
        // libuv's clock is another one: not in the future, where the two can be told apart.
        let limit = match now {
            None if waited_ns < SHORT_NS && !is_cut => returned,
            None => clock.now(),
            Some(now) => now,
        };
        let returned = if is_cut { self.after_cut_wait(returned) } else { returned };
        self.writer.unpark_untold(returned.min(limit));
        self.start.poll_has_returned(&mut self.writer);
    }

    /// Returns when a poll returned whose time of waiting may not be all: a signal cuts a wait in two, and libuv
    /// counts the second part alone. It reads its time after both. Too early by 1 ms at most.
    #[cold]
    fn after_cut_wait(&mut self, returned: Ticks) -> Ticks {
        let Some(age_ns) = self.runtime.time_age_ns() else { return returned };
        let clock = self.writer.clock();
        returned.max(Ticks(clock.now().0.saturating_sub(clock.scale().ticks(age_ns))))
    }
}
