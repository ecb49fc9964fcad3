//! The agent's own thread, `loopscope-agent`: watches all loops of the process, and asks for captures of their stacks.
//!
//! ```text
//!   tick: pages -> vitals -> watch -> log thread      every 25 ms while a loop is busy
//!   sleep: sleep flag + eventfd, heartbeat every 5 s         while all loops are idle
//!   request: copies of values, for `loopscope-http`    between two ticks
//! ```
//!
//! It shares no lock with a loop, and none that is held while something is encoded. A panic in a tick is caught, counted,
//! logged once, and that tick skipped.

use crate::AgentError;
use crate::eventfd::RequestWaker;
use crate::handle::{Handle, NoAnswer, Request, Status};
use crate::settings::Settings;
use crate::sleep::{Sleeper, Waiting};
use crate::state::{self, AgentState, Pace};
use crate::watch::log::LogSender;
use crate::workers::Workers;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::file_limit::without_signals;
use loopscope_probe::raw::proc::own_sched_path;
use loopscope_probe::{Clock, Ticks};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often an idle agent says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// When to tick again after a tick that panicked.
const AFTER_PANIC: Duration = Duration::from_millis(25);

/// Reaches the thread.
pub(crate) type AgentHandle = Handle<AgentLoop>;

impl AgentHandle {
    /// Looks at every loop on the agent's thread, and returns what `read` makes of that there.
    ///
    /// # Errors
    /// As [`Handle::ask`].
    pub(crate) fn ask_after_look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut AgentState) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.ask(move |agent| {
            agent.look();
            read(&mut agent.state)
        })
    }
}

/// What the thread begins with.
pub(crate) struct Start {
    pub settings: Settings,
    /// What pages tell other processes to call; `None` where nobody answers.
    pub address: Option<AgentAddress>,
    /// The socket file beside the pages; `None` where there is none.
    pub socket: Option<AgentAddress>,
    pub log: LogSender,
}

/// The running thread. Dropping it ends the thread, and returns when it has ended.
#[derive(Debug)]
pub(crate) struct AgentThread {
    pub handle: AgentHandle,
    thread: Option<JoinHandle<()>>,
}

impl AgentThread {
    /// Starts it. Returns when it has looked at the loops once.
    ///
    /// # Errors
    /// The system refuses a thread or an eventfd.
    pub(crate) fn start(start: Start) -> Result<AgentThread, AgentError> {
        let waker = RequestWaker::new().map_err(|error| AgentError::System("an eventfd", error))?;
        let waker = Arc::new(waker);
        let (handle, requests) = Handle::new(waker.clone());
        let status = handle.status.clone();
        let (ready, is_ready) = sync_channel(1);
        let thread = Builder::new().name("loopscope-agent".to_owned());
        // Those that it starts inherit it.
        let thread = without_signals(|| thread.spawn(move || run(start, requests, waker, status, &ready)))
            .map_err(|error| AgentError::System("a thread", error))?;
        let ended = || AgentError::System("a thread", io::Error::other("it ended at once"));
        is_ready.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(AgentThread { handle, thread: Some(thread) })
    }

    /// Gives up the thread without touching it: in a forked child it is the parent's, and even telling it would reach the
    /// parent through shared descriptors.
    pub(crate) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for AgentThread {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Runs the thread. Says over `ready` whether it could begin: the starting thread waits for that.
fn run(
    start: Start,
    requests: Receiver<Request<AgentLoop>>,
    waker: Arc<RequestWaker>,
    status: Arc<Status>,
    ready: &SyncSender<Result<(), AgentError>>,
) {
    let sleeper = match Sleeper::new(waker) {
        Ok(sleeper) => sleeper,
        Err(error) => {
            let _ = ready.send(Err(AgentError::System("an eventfd", error)));
            return;
        }
    };
    let workers = Workers::start(&start.settings);
    let mut agent = AgentLoop {
        state: AgentState::new(&start.settings, (start.address, start.socket), workers, sleeper.loops()),
        log: start.log,
        clock: Clock::monotonic(),
        requests,
        status,
        sooner: None,
    };
    if let Some(path) = own_sched_path() {
        let _ = agent.status.cpu.set(path);
    }
    let pace = agent.tick();
    let _ = ready.send(Ok(()));
    agent.run(&sleeper, pace);
    agent.shut_down();
}

/// Everything the thread has.
pub(crate) struct AgentLoop {
    pub state: AgentState,
    pub log: LogSender,
    clock: Clock,
    requests: Receiver<Request<AgentLoop>>,
    status: Arc<Status>,
    /// When the next look is due because of what looks for requests found since the last tick, on the monotonic clock.
    sooner: Option<Ticks>,
}

impl AgentLoop {
    /// Ticks as often as the loops need it, until the thread is to end.
    fn run(&mut self, sleeper: &Sleeper, mut pace: Pace) {
        while !self.is_stopped() {
            let now = self.clock.now();
            match pace {
                Pace::Again(delay) => {
                    let due = after(now, delay);
                    sleeper.wait_until(due, self);
                    self.state.accounts.note_lateness(self.clock.now().since(due));
                }
                Pace::Sleep(at_most) => {
                    let longest = at_most.map_or(HEARTBEAT, |at_most| at_most.min(HEARTBEAT));
                    sleeper.sleep_until(after(now, longest), self);
                }
            }
            if !self.is_stopped() {
                pace = self.tick();
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.status.is_stopped.load(Relaxed)
    }

    /// Looks at every loop because its time has come, and survives what goes wrong in it.
    fn tick(&mut self) -> Pace {
        let now = self.clock.now();
        self.sooner = None;
        let tick = catch_unwind(AssertUnwindSafe(|| {
            let seen = self.state.tick(now);
            self.tell(seen)
        }));
        // Not where the tick panicked: whoever looks no more is not healthy.
        self.status.last_tick_ns.store(self.state.last_tick().0, Relaxed);
        self.status.loops.store(self.state.loop_count() as u64, Relaxed);
        tick.unwrap_or_else(|_| {
            self.count_panic();
            Pace::Again(AFTER_PANIC)
        })
    }

    /// Looks at every loop for somebody who asks.
    fn look(&mut self) {
        let now = self.clock.now();
        let seen = self.state.look(now);
        if let Pace::Again(delay) = self.tell(seen) {
            let due = after(now, delay);
            self.sooner = Some(self.sooner.map_or(due, |sooner| sooner.min(due)));
        }
    }

    fn tell(&mut self, seen: state::Seen) -> Pace {
        for note in seen.notes {
            self.log.warn(note);
        }
        for report in seen.reports {
            self.log.report(report);
        }
        seen.pace
    }

    /// Counts a panic of this thread, and logs the first.
    pub(crate) fn count_panic(&mut self) {
        if self.state.accounts.count_panic() == 1 {
            let message = "the agent recovered from a panic; further panics are only counted (loopscope_agent_panics_total)";
            self.log.warn(message.to_owned());
        }
    }

    /// Closes what is open, and says what was not said yet.
    fn shut_down(&mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.look();
            self.state.farewell()
        }));
        ended.into_iter().flatten().for_each(|report| self.log.report(report));
    }
}

fn after(now: Ticks, delay: Duration) -> Ticks {
    Ticks(now.0.saturating_add(delay.as_nanos() as u64))
}

impl Waiting for AgentLoop {
    fn is_idle(&self) -> bool {
        self.state.is_idle()
    }

    fn wants_sooner(&self) -> Option<Ticks> {
        self.sooner
    }

    fn answer(&mut self) -> bool {
        while !self.is_stopped() {
            let Ok(request) = self.requests.try_recv() else { return true };
            if catch_unwind(AssertUnwindSafe(|| request(self))).is_err() {
                self.count_panic();
            }
        }
        false
    }
}
