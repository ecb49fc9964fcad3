//! What JavaScript can call: begin and end watching, name what runs, count what was thrown.

use crate::adapter::{Adapter, Parts};
use crate::description::{Knowledge, description};
use crate::pool::PoolObserver;
use crate::sys::{Caller, Isolate, Missing, Named, TraceSink};
use crate::{frames, log, settings};
use loopscope_agent::Agent;
use loopscope_probe::{Writer, switch};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The functions, by name.
pub(crate) const FUNCTIONS: &[Named] = &[
    (c"start", start),
    (c"stop", stop),
    (c"exit", exit),
    (c"label", label),
    (c"threw", threw),
    (c"counts", counts),
    (c"pause", pause),
];

/// Where to write down what a loop was told: a directory, for a file of each loop's name.
const RECORD: &str = "LOOPSCOPE_NODE_RECORD";

/// What pages call this runtime.
const RUNTIME: &str = "node";

/// The process's agent, from the first loop that was watched to the end of the main thread's.
static AGENT: Mutex<Option<Agent>> = Mutex::new(None);

/// `start(name, process, thread, heapLimit, isMain)`: begins to watch the loop of this thread, and starts the agent in the main
/// thread's. Returns where the agent answers.
fn start(caller: &Caller, arguments: &[String]) -> String {
    if switch::is_off() || caller.is_watched() {
        return String::new();
    }
    match watch(caller, arguments) {
        Ok(()) => agent_url(),
        Err(missing) => {
            log::off("watching this loop", &missing.to_string());
            String::new()
        }
    }
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
        .map(|directory| PathBuf::from(directory).join(format!("{name}-{}.events", caller.tid())));
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

fn start_agent() {
    let mut agent = AGENT.lock().unwrap_or_else(PoisonError::into_inner);
    if agent.is_some() {
        return;
    }
    log::install();
    let (builder, unknown) = settings::apply(Agent::builder(), |name| std::env::var(name).ok());
    let builder = builder.frame_source(RUNTIME, frames::source()).address_source(RUNTIME, frames::source());
    unknown.iter().for_each(|text| log::line(text));
    match builder.start() {
        Ok(started) => *agent = Some(started),
        Err(error) => log::off("the agent", &error.to_string()),
    }
}

fn agent_url() -> String {
    let agent = AGENT.lock().unwrap_or_else(PoisonError::into_inner);
    agent.as_ref().and_then(Agent::url).unwrap_or_default().to_owned()
}

fn stop_agent() {
    let agent = AGENT.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Ends its threads.
    drop(agent);
}

/// `stop(isMain)`: ends the watching of this loop, which goes on.
fn stop(caller: &Caller, arguments: &[String]) -> String {
    caller.end();
    if arguments.first().is_some_and(|is_main| is_main == "true") {
        stop_agent();
    }
    String::new()
}

/// `exit(isMain)`: the process or worker ends.
fn exit(caller: &Caller, arguments: &[String]) -> String {
    caller.end_at_exit();
    if arguments.first().is_some_and(|is_main| is_main == "true") {
        stop_agent();
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
