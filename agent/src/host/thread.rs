//! The host's thread: looks at the pages, and answers between two looks.

use crate::AgentError;
use crate::export::format::Format;
use crate::host::forward::Forwards;
use crate::host::service::HostService;
use crate::host::state::HostState;
use crate::process;
use crate::watch::log::Log;
use crate::web::doorway::Doorway;
use crate::web::entrance::Entrance;
use crate::web::live::Live;
use crate::web::server;
use loopscope_probe::{Clock, Ticks};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// What the thread begins with.
pub(crate) struct Start {
    pub state: HostState,
    pub entrance: Entrance,
    pub log: Log,
    pub stop: oneshot::Receiver<()>,
}

/// Runs until it is told to stop. Says over `ready` whether it could begin.
pub(crate) fn run(start: Start, ready: &SyncSender<Result<(), AgentError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // The starting thread waits for this message.
            let _ = ready.send(Err(AgentError::System("an epoll instance", error)));
            return;
        }
    };
    runtime.block_on(async {
        let Start { state, entrance: Entrance { listener, guard }, log, stop } = start;
        let doorway = match Doorway::new(listener) {
            Ok(doorway) => doorway,
            Err(error) => {
                let _ = ready.send(Err(AgentError::System("a listening socket", error)));
                return;
            }
        };
        let clock = Clock::monotonic();
        let shared = Arc::new(Shared {
            started: clock.now(),
            clock,
            state: Mutex::new(state),
            log: Mutex::new(log),
            cpu: process::thread_cpu_path(),
        });
        // The first look is taken before anybody can ask.
        let pace = shared.look();
        let (forwards, shares) = (Forwards::default(), shared.clone());
        let service = HostService { guard: guard.clone(), forwards, live: Live::default(), shared: shares };
        tokio::spawn(server::serve(doorway, guard, Arc::new(service)));
        tokio::spawn(watch(shared, pace));
        let _ = ready.send(Ok(()));
        // Both a message and a dropped sender mean the end.
        let _ = stop.await;
    });
}

async fn watch(shared: Arc<Shared>, mut pace: Duration) {
    loop {
        let planned = Ticks(shared.clock.now().0 + pace.as_nanos() as u64);
        tokio::time::sleep(pace).await;
        shared.state().note_lateness(shared.clock.now().since(planned));
        pace = shared.look();
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

    /// Takes one look, and survives what goes wrong in it.
    fn look(&self) -> Duration {
        let look = catch_unwind(AssertUnwindSafe(|| self.state().look(self.clock.now())));
        let Ok((pace, notes)) = look else {
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
            agent.cpu_ns = self.cpu.as_deref().and_then(process::thread_cpu_ns).unwrap_or(0);
            agent.reports_dropped = self.log().dropped();
            agent.process = process::read();
        });
        state.note_scrape(format, self.clock.now().since(begun), &page);
        page.body
    }

    /// Returns how long this has run and how long ago the last look was, in nanoseconds.
    pub(crate) fn ages(&self) -> (u64, u64) {
        let now = self.clock.now();
        (now.since(self.started), now.since(self.state().last_look()))
    }

    /// Tells the program's log.
    pub(crate) fn warn(&self, note: String) {
        self.log().warn(note);
    }

    /// Counts a panic.
    pub(crate) fn count_panic(&self) {
        if self.state().count_panic() == 1 {
            let message = "a look or an answer panicked; further panics are only counted (loopscope_agent_panics_total)";
            self.log().warn(message.to_owned());
        }
    }
}
