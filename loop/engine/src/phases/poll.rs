//! The poll: the one place where the loop waits.
//!
//! How long it may wait is libuv's rule; the clock is refreshed before the rule is applied, so that a callback that
//! blocked does not lengthen the wait. Then come the completions of pool jobs, what other threads posted, and the
//! sockets that are ready.
//!
//! # Source
//! `uv_backend_timeout` in `src/unix/core.c` of libuv 1.46.

use crate::clock::until;
use crate::cx::Cx;
use crate::loop_waker::News;
use loopscope_probe::Phase;
use std::io;
use std::time::Duration;

impl<S: 'static> Cx<'_, S> {
    /// Waits where it may and dispatches.
    pub(crate) fn run_poll(&mut self, may_wait: bool) -> io::Result<()> {
        self.core.enter_phase(Phase::POLL);
        self.core.wait(may_wait)?;
        self.run_finished();
        self.run_wakes();
        self.run_posted();
        self.run_sockets();
        self.run_signals();
        Ok(())
    }
}

impl<S: 'static> crate::core::Core<S> {
    /// Returns how long a poll may wait at `now_ns`; `None` is without end.
    pub(crate) fn backend_timeout(&self, now_ns: u64) -> Option<Duration> {
        let must_turn = self.is_stopping
            || !self.has_active()
            || !self.pending.is_empty()
            || !self.closing.is_empty()
            || !self.posted.is_empty()
            || !self.finished.is_empty()
            || self.waker.has(News::Woken)
            || self.sockets.has_active()
            || self.immediates.referenced > 0
            || self.hooks.has_idle()
            || self.signals.has_due();
        if must_turn {
            return Some(Duration::ZERO);
        }
        let timeout = self.timers.alarm_ms().map(|at_ms| until(at_ms, now_ns));
        self.sockets.limit(self.idle.limit(timeout, now_ns), now_ns)
    }

    /// Refreshes the cached time after the callbacks of an iteration: by the stamp of the last one's end, where there
    /// is one.
    #[inline]
    pub(crate) fn refresh_clock(&mut self) {
        match &self.probe {
            Some(probe) => self.clock.refresh_at(probe.last()),
            None => self.clock.refresh(),
        };
    }

    /// Tells whether the poll may wait; then others wake the loop from now on. One that does not wait needs no waking:
    /// it looks for news right after.
    fn may_sleep(&self, timeout: Option<Duration>) -> bool {
        if timeout == Some(Duration::ZERO) {
            return false;
        }
        let may_sleep = self.waker.fall_asleep();
        if !may_sleep {
            self.waker.wake_up();
        }
        may_sleep
    }

    /// Polls. The clock's reading that tells how long is the stamp of the poll's begin, and the one after the poll that
    /// of its end.
    fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        self.iteration += 1;
        self.publish_immediates();
        self.publish_timers();
        if let Some(probe) = &mut self.probe {
            let (referenced, timers) =
                (self.referenced + self.immediates.referenced, self.timers.armed_count());
            let referenced = referenced + self.timers.referenced();
            probe.gauges(referenced as u64, self.requests as u64, timers as u64);
            probe.iteration();
            probe.settle();
        }
        // Where a single callback ran since the last poll, the stamp of its end will do, of which the clock often knows.
        match self.probe.as_ref().and_then(|probe| probe.only_callback_end()) {
            Some(end) if end <= self.clock.now() => {}
            Some(end) => _ = self.clock.refresh_at(end),
            None => _ = self.clock.refresh(),
        }
        if let Some(probe) = &mut self.probe {
            probe.park_at(self.clock.now());
        }
        let timeout = if may_wait { self.backend_timeout(self.clock.now_ns()) } else { Some(Duration::ZERO) };
        let timeout = if self.may_sleep(timeout) { timeout } else { Some(Duration::ZERO) };
        self.ready.clear();
        let outcome = self.poller.poll(timeout, &mut self.ready);
        self.waker.wake_up();
        self.clock.refresh();
        if let Some(probe) = &mut self.probe {
            probe.unpark_at(self.clock.now(), self.ready.len());
        }
        outcome
    }
}
