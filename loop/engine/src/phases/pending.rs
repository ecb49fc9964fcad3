//! Callbacks deferred to the pending phase: results that were known when the program asked.
//!
//! A program must never be called back from inside the call that asked: a connect that fails at once, for example, is
//! reported here. The phase runs at the head of an iteration and again right after the poll, at most eight rounds then.
//!
//! # Source
//! `uv__run_pending` and `uv_run` in `src/unix/core.c` of libuv 1.46.

use crate::cx::Cx;
use loopscope_probe::Phase;

/// Rounds after the poll; what is deferred by the last one waits for the next iteration.
const ROUNDS_AFTER_POLL: usize = 8;

impl<S: 'static> Cx<'_, S> {
    /// Runs what is deferred now, but not what these callbacks defer.
    #[inline]
    pub(crate) fn run_pending(&mut self) {
        if !self.core.pending.is_empty() {
            self.run_deferred();
        }
    }

    #[inline(never)]
    fn run_deferred(&mut self) {
        let mut left = self.core.pending.len();
        self.core.continue_phase(Phase::PENDING);
        while left > 0
            && self.goes_on()
            && let Some(deferred) = self.core.pending.pop_front()
        {
            left -= 1;
            self.enter(deferred.kind, deferred.site, deferred.life, deferred.run);
            self.drain();
        }
    }

    #[inline]
    pub(crate) fn run_pending_after_poll(&mut self) {
        for _ in 0..ROUNDS_AFTER_POLL {
            if self.core.pending.is_empty() || !self.goes_on() {
                break;
            }
            self.run_pending();
        }
    }
}
