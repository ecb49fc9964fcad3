//! The host's thread: looks at the pages, and answers between two looks.

use crate::access::Access;
use crate::forward::Forwards;
use crate::log::Log;
use crate::service::HostService;
use crate::state::HostState;
use loopscope_http::ServerError;
use loopscope_http::doorway::Doorway;
use loopscope_http::entrance::Entrance;
use loopscope_http::health::Health;
use loopscope_http::live::Live;
use loopscope_http::process;
use loopscope_http::server;
use loopscope_probe::proc::{Sched, own_sched_path};
use loopscope_probe::{Clock, Ticks};
use loopscope_report::metrics::format::Format;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the thread begins with.
pub(crate) struct Start {
    pub state: HostState,
    pub entrance: Entrance,
    pub access: Access,
    pub log: Log,
}

/// Starts the tasks of the thread; within its runtime. What is returned is for its end.
pub(crate) fn begin(start: Start) -> Result<impl FnOnce(), ServerError> {
    let Start { state, entrance: Entrance { listener, guard }, access, log } = start;
    let doorway = Doorway::new(listener).map_err(|error| ServerError::System("a listening socket", error))?;
    let clock = Clock::monotonic();
    let shared = Arc::new(Shared {
        started: clock.now(),
        clock,
        state: Mutex::new(state),
        log: Mutex::new(log),
        cpu: own_sched_path(),
    });
    // The first look is taken before anybody can ask.
    let pace = shared.tick();
    let (forwards, shares) = (Forwards::new(access), shared.clone());
    let service = HostService { guard: guard.clone(), forwards, live: Live::default(), shared: shares };
    tokio::spawn(server::serve(doorway, guard, Arc::new(service)));
    tokio::spawn(watch(shared, pace));
    Ok(|| ())
}

async fn watch(shared: Arc<Shared>, mut pace: Duration) {
    loop {
        let planned = Ticks(shared.clock.now().0 + pace.as_nanos() as u64);
        tokio::time::sleep(pace).await;
        shared.state().accounts.note_lateness(shared.clock.now().since(planned));
        pace = shared.tick();
    }
}

/// What the thread's tasks share. All of them run on this one thread, so nobody waits for a mutex.
pub(crate) struct Shared {
    state: Mutex<HostState>,
    log: Mutex<Log>,
    clock: Clock,
    started: Ticks,
    cpu: Option<PathBuf>,
}

impl Shared {
    /// Returns the state. A panic under the mutex leaves numbers that are still numbers.
    pub(crate) fn state(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one look when its time has come. Returns how long the loops can be left alone.
    fn tick(&self) -> Duration {
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
    pub(crate) fn metrics(&self, format: Format) -> Vec<u8> {
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
            loops: state.roster.entries().len(),
        }
    }

    /// Tells the program's log.
    pub(crate) fn warn(&self, note: String) {
        self.log().warn(note);
    }

    /// Counts a panic.
    pub(crate) fn count_panic(&self) {
        if self.state().accounts.count_panic() == 1 {
            let message = "a look or an answer panicked; further panics are only counted (loopscope_agent_panics_total)";
            self.log().warn(message.to_owned());
        }
    }
}
