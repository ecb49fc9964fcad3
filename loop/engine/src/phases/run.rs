//! One iteration, in the order of Node's loop.
//!
//! ```text
//!  alive? -> timers, once before the first iteration of a default run
//!   +--> pending -> idle -> prepare -> poll -> pending -> check -> close -> timers -> alive and not stopped? --+
//!   +-----------------------------------------------------------------------------------------------------------+
//! ```
//!
//! # Source
//! `uv_run` in `src/unix/core.c` of libuv 1.46 and `SpinEventLoop` of Node v20.

use crate::cx::Cx;
use crate::queues::hooks::Hook;
use loopscope_probe::{Kind, Phase, TaskTimes};
use std::io;

/// How long to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Until nothing keeps the loop alive, also not after the before-exit callbacks; or until it is stopped.
    Default,
    /// One iteration, which may wait.
    Once,
    /// One iteration that does not wait.
    NoWait,
}

impl<S: 'static> Cx<'_, S> {
    /// Runs the loop, and in the default mode revives it as long as before-exit callbacks give it something to do.
    pub(crate) fn run(&mut self, mode: Mode) -> io::Result<bool> {
        self.drain();
        loop {
            let outcome = self.turn(mode);
            let was_stopped = std::mem::take(&mut self.core.is_stopping);
            let is_alive = outcome?;
            if is_alive || was_stopped || mode != Mode::Default || !self.goes_on() {
                return Ok(is_alive);
            }
            self.run_before_exit();
            if !self.core.is_alive() || !self.goes_on() {
                return Ok(self.core.is_alive());
            }
        }
    }

    /// `uv_run`.
    fn turn(&mut self, mode: Mode) -> io::Result<bool> {
        let mut is_alive = self.core.is_alive();
        // The program may have waited elsewhere since the last run.
        self.core.clock.refresh();
        if is_alive && mode == Mode::Default && !self.core.is_stopping {
            self.run_timers();
            self.run_idle();
        }
        while is_alive && !self.core.is_stopping && self.goes_on() {
            self.iterate(mode)?;
            is_alive = self.core.is_alive();
            if mode != Mode::Default {
                break;
            }
        }
        Ok(is_alive)
    }

    fn iterate(&mut self, mode: Mode) -> io::Result<()> {
        let may_sleep_once = self.core.pending.is_empty() && !self.core.hooks.has_idle();
        self.run_pending();
        self.run_hooks(Hook::Idle);
        self.run_hooks(Hook::Prepare);
        if !self.goes_on() {
            // What a panic stopped must not wait.
            return Ok(());
        }
        let may_wait = match mode {
            Mode::Default => true,
            Mode::Once => may_sleep_once,
            Mode::NoWait => false,
        };
        self.run_poll(may_wait)?;
        self.run_pending_after_poll();
        self.run_check();
        self.run_closing();
        self.core.refresh_clock();
        self.run_timers();
        self.run_idle();
        Ok(())
    }

    /// Runs the callbacks that wait for the loop to run dry, as one event: a single drain follows.
    fn run_before_exit(&mut self) {
        self.core.enter_phase(Phase::MAIN);
        let mut left = self.core.before_exit.len();
        while left > 0
            && self.goes_on()
            && let Some((site, run)) = self.core.before_exit.pop_front()
        {
            left -= 1;
            self.enter(Kind::Other, site, TaskTimes::UNKNOWN, run);
        }
        self.drain();
    }
}
