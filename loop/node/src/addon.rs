//! What JavaScript can call: begin and end watching, name what runs, count what was thrown.

use crate::adapter::{Adapter, Parts};
use crate::description::{Knowledge, description};
use crate::pool::PoolObserver;
use crate::sys::{Caller, Isolate, Missing, Named, TraceSink};
use crate::{frames, log};
use loopscope_agent::Agent;
use loopscope_probe::{Writer, switch};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The functions, by name.
pub(crate) const FUNCTIONS: &[Named] = &[
    (c"start", start),
    (c"stop", stop),
    (c"exit", exit),
    (c"url", url),
    (c"label", label),
    (c"threw", threw),
    (c"counts", counts),
    (c"pause", pause),
];

/// Where to write down what a loop was told: a directory, for a file of each thread's number.
const RECORD: &str = "LOOPSCOPE_NODE_RECORD";

/// What pages call this runtime.
const RUNTIME: &str = "node";

/// The process's agent, from the first loop that was watched to the end of the main thread's.
static AGENT: Mutex<AgentState> = Mutex::new(AgentState::None);

enum AgentState {
    None,
    Starting(JoinHandle<Option<Agent>>),
    Running(Agent),
}

impl AgentState {
    /// Waits for one that starts.
    fn started(self) -> Option<Agent> {
        match self {
            AgentState::None => None,
            AgentState::Starting(starting) => starting.join().ok().flatten(),
            AgentState::Running(agent) => Some(agent),
        }
    }
}

/// `start(name, process, thread, heapLimit, isMain)`: begins to watch the loop of this thread, and starts the agent in the main
/// thread's.
fn start(caller: &Caller, arguments: &[String]) -> String {
    if !switch::is_off()
        && !caller.is_watched()
        && let Err(missing) = watch(caller, arguments)
    {
        log::off("watching this loop", &missing.to_string());
    }
    String::new()
}

fn watch(caller: &Caller, arguments: &[String]) -> Result<(), Missing> {
    let [name, process, thread, heap_limit, is_main, ..] = arguments else {
        return Err(Missing("`start` was called without its arguments".to_owned()));
    };
    let (uv_loop, isolate) = (caller.uv_loop()?, caller.isolate()?);
    let is_main = is_main == "true";
    let trace = match TraceSink::install() {
        Ok(sink) => Some(sink),
        Err(why) => {
            log::off("names of entries, drains and timers apart from other entries", &why.to_string());
            None
        }
    };
    // Without its entries nothing is known of a loop but when it polls, which tells of stalls that were not.
    isolate.can_hook_entries()?;
    say_what_else_is_missing(&isolate);
    let known = Knowledge {
        entries: true,
        traces: trace.is_some(),
        events: uv_loop.events().is_some(),
        pool: is_main,
    };
    let observer = Arc::new(PoolObserver::default());
    let mut builder = Writer::builder(name)
        .runtime(RUNTIME)
        .backend("epoll")
        .describe(&description(known))
        .process(process)
        .thread(thread);
    if is_main {
        builder = builder.observer(observer.clone());
    }
    let mut writer = builder.build();
    if is_main && let Some(pool) = writer.take_pool() {
        observer.begin(pool);
    }
    let heap_limit = heap_limit.parse().unwrap_or(0);
    let record_to = std::env::var_os(RECORD)
        .map(|directory| PathBuf::from(directory).join(format!("{}.events", caller.tid())));
    let parts = Parts { uv_loop, isolate, writer, trace, heap_limit, record_to };
    if let Err(why) = caller.tell_stacks(&isolate) {
        log::off("JavaScript on stacks", &why.to_string());
    }
    caller.keep(Box::new(Adapter::start(parts)));
    if is_main {
        start_agent();
    }
    Ok(())
}

fn say_what_else_is_missing(isolate: &Isolate) {
    if !isolate.has_async_ids() {
        log::off("names of entries that Node does not trace", "this Node does not tell what it runs for");
    }
}

/// Starts the agent on a thread of its own: its start waits for the kernel, some 20 ms, which the main thread need not do.
fn start_agent() {
    let mut agent = lock_agent();
    if !matches!(*agent, AgentState::None) {
        return;
    }
    log::install();
    let thread = std::thread::Builder::new().name("loopscope-start".to_owned());
    match thread.spawn(new_agent) {
        Ok(starting) => *agent = AgentState::Starting(starting),
        Err(error) => log::off("the agent", &error.to_string()),
    }
}

fn new_agent() -> Option<Agent> {
    loopscope_stacks::block_signal();
    let builder =
        Agent::builder().frame_source(RUNTIME, frames::source()).address_source(RUNTIME, frames::source());
    builder.start().map_err(|error| log::off("the agent", &error.to_string())).ok()
}

fn lock_agent() -> MutexGuard<'static, AgentState> {
    AGENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `url()`: where the agent answers; empty until it does, and where it does not.
fn url(_caller: &Caller, _arguments: &[String]) -> String {
    let mut agent = lock_agent();
    if matches!(&*agent, AgentState::Starting(starting) if starting.is_finished()) {
        *agent = match std::mem::replace(&mut *agent, AgentState::None).started() {
            Some(started) => AgentState::Running(started),
            None => AgentState::None,
        };
    }
    match &*agent {
        AgentState::Running(agent) => agent.url().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn stop_agent(is_exit: bool) {
    match std::mem::replace(&mut *lock_agent(), AgentState::None) {
        // It ends with the process.
        AgentState::Starting(starting) if is_exit && !starting.is_finished() => {}
        // Dropping it ends its threads.
        state => drop(state.started()),
    }
}

/// `stop(isMain)`: ends the watching of this loop, which goes on.
fn stop(caller: &Caller, arguments: &[String]) -> String {
    caller.end();
    if arguments.first().is_some_and(|is_main| is_main == "true") {
        stop_agent(false);
    }
    String::new()
}

/// `exit(isMain)`: the process or worker ends.
fn exit(caller: &Caller, arguments: &[String]) -> String {
    caller.end_at_exit();
    if arguments.first().is_some_and(|is_main| is_main == "true") {
        stop_agent(true);
    }
    String::new()
}

/// `label(name)`: names what runs, in metrics and incidents.
fn label(caller: &Caller, arguments: &[String]) -> String {
    if let Some(name) = arguments.first().filter(|name| !name.is_empty()) {
        caller.with_watcher(|watcher| watcher.label(name));
    }
    String::new()
}

/// `threw()`: an exception was caught by nobody.
fn threw(caller: &Caller, _arguments: &[String]) -> String {
    caller.with_watcher(|watcher| watcher.threw());
    String::new()
}

/// `pause(isPaused)`: takes everything off this loop's thread, or puts it back. For measuring what it costs.
fn pause(caller: &Caller, arguments: &[String]) -> String {
    let is_paused = arguments.first().is_some_and(|is_paused| is_paused == "true");
    caller.with_watcher(|watcher| watcher.set_paused(is_paused));
    String::new()
}

/// `counts()`: for tests and reports, how much has no name, in JSON.
fn counts(caller: &Caller, _arguments: &[String]) -> String {
    let counted = caller.with_watcher(|watcher| watcher.counts());
    let text = counted.map(|(unnamed, (living, left_out))| {
        format!("{{\"unnamed\":{unnamed},\"resources\":{living},\"resources_left_out\":{left_out}}}")
    });
    text.unwrap_or_else(|| "null".to_owned())
}
