//! The host's thread: looks at the pages, and answers between two looks.

use crate::access::Access;
use crate::forward::Forwards;
use crate::log::Log;
use crate::service::HostService;
use crate::state::HostState;
use crate::task_context::TaskContext;
use loopscope_http::bind::BoundServer;
use loopscope_http::listener::Listener;
use loopscope_http::live::Live;
use loopscope_http::{ServerError, server};
use loopscope_probe::raw::proc::own_sched_path;
use loopscope_probe::{Clock, Ticks};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the thread begins with.
pub(crate) struct Start {
    pub state: HostState,
    pub entrance: BoundServer,
    pub access: Access,
    pub log: Log,
}

/// Starts the tasks of the thread; within its runtime. What is returned is for its end.
pub(crate) fn begin(start: Start) -> Result<impl FnOnce(), ServerError> {
    let Start { state, entrance: BoundServer { listener, auth, .. }, access, log } = start;
    let doorway =
        Listener::new(listener).map_err(|error| ServerError::System("a listening socket", error))?;
    let clock = Clock::monotonic();
    let shared = Arc::new(TaskContext {
        started: clock.now(),
        clock,
        state: Mutex::new(state),
        log: Mutex::new(log),
        cpu: own_sched_path(),
    });
    // The first look is taken before anybody can ask.
    let pace = shared.tick();
    let (forwards, shares) = (Forwards::new(access), shared.clone());
    let service = HostService { auth: auth.clone(), forwards, live: Live::default(), shared: shares };
    tokio::spawn(server::serve(doorway, auth, Arc::new(service)));
    tokio::spawn(watch(shared, pace));
    Ok(|| ())
}

async fn watch(shared: Arc<TaskContext>, mut pace: Duration) {
    loop {
        let planned = Ticks(shared.clock.now().0 + pace.as_nanos() as u64);
        tokio::time::sleep(pace).await;
        shared.state().accounts.note_lateness(shared.clock.now().since(planned));
        pace = shared.tick();
    }
}
