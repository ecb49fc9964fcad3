//! What the tasks of the host's thread share.

use crate::log::Log;
use crate::state::HostState;
use loopscope_http::health::Health;
use loopscope_http::process;
use loopscope_probe::raw::proc::Sched;
use loopscope_probe::{Clock, Ticks};
use loopscope_report::metrics::format::MetricsFormat;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the thread's tasks share. All of them run on this one thread, so nobody waits for a mutex.
pub(crate) struct TaskContext {
    pub state: Mutex<HostState>,
    pub log: Mutex<Log>,
    pub clock: Clock,
    pub started: Ticks,
    /// Where the processor time of the thread can be read.
    pub cpu: Option<PathBuf>,
}

impl TaskContext {
    /// Returns the state. A panic under the mutex leaves numbers that are still numbers.
    pub(crate) fn state(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one look when its time has come. Returns how long the loops can be left alone.
    pub(crate) fn tick(&self) -> Duration {
        self.survive(HostState::tick)
    }

    /// Takes one look for somebody who asks.
    fn look(&self) {
        self.survive(HostState::look);
    }

    /// Takes a look, and survives what goes wrong in it.
    fn survive(&self, look: fn(&mut HostState, Ticks) -> (Duration, Vec<String>)) -> Duration {
        let seen = catch_unwind(AssertUnwindSafe(|| look(&mut self.state(), self.clock.now())));
        let Ok((pace, notes)) = seen else {
            self.count_panic();
            return Duration::from_secs(1);
        };
        notes.into_iter().for_each(|note| self.log().warn(note));
        pace
    }

    /// Writes the page of metrics.
    pub(crate) fn metrics(&self, format: MetricsFormat) -> Vec<u8> {
        let begun = self.clock.now();
        self.look();
        let mut state = self.state();
        let page = state.metrics(format, |agent| {
            agent.cpu_ns = self.cpu.as_deref().and_then(Sched::at).map_or(0, |sched| sched.run_ns);
            agent.reports_dropped = self.log().dropped();
            agent.process = process::read();
        });
        state.accounts.note_scrape(format, self.clock.now().since(begun), &page);
        page.body
    }

    /// Returns how this server is.
    pub(crate) fn health(&self) -> Health {
        let (now, state) = (self.clock.now(), self.state());
        Health {
            age_ns: now.since(self.started),
            tick_age_ns: now.since(state.last_tick()),
            loops: state.registry.entries().len(),
        }
    }

    /// Tells the program's log.
    pub(crate) fn warn(&self, note: String) {
        self.log().warn(note);
    }

    /// Counts a panic.
    pub(crate) fn count_panic(&self) {
        if self.state().accounts.count_panic() == 1 {
            let message = "a tick or request handler panicked; further panics are only counted \
                           (loopscope_agent_panics_total)";
            self.log().warn(message.to_owned());
        }
    }
}
