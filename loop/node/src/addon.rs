//! What JavaScript can call: begin and end watching, name what runs, count what was thrown.

use crate::ablation::Ablation;
use crate::adapter::{Adapter, Parts};
use crate::agent_start::Starting;
use crate::description::{Knowledge, description};
use crate::pool::waits::PoolWaits;
use crate::pool::{PROGRAM, PoolObserver, symbols};
use crate::settings::Options;
use crate::sys::{self, Caller, Isolate, Missing, Named, TraceSink, next_text};
use crate::{frames, log, settings, snapshot, stalls};
use loopscope_agent::Agent;
use loopscope_probe::Writer;
use loopscope_probe::raw::environment::trusted_variable;
use loopscope_probe::raw::file_limit::without_signals;
use loopscope_probe::raw::{barrier, switch};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The functions, by name.
pub(crate) const FUNCTIONS: &[Named] = &[
    (c"start", start),
    (c"stop", stop),
    (c"exit", exit),
    (c"url", url),
    (c"label", label),
    (c"module", module),
    (c"named", named),
    (c"hooks", hooks),
    (c"threw", threw),
    (c"counts", counts),
    (c"pause", pause),
    (c"snapshot", snapshot),
    (c"expect", expect),
    (c"expected", expected),
    (c"stall", stall),
    (c"unlisten", unlisten),
];

/// Where to write down what a loop was told: a directory, for a file of each thread's number.
const RECORD: &str = "LOOPSCOPE_NODE_RECORD";

/// Which argument of `start` is the function that answers questions.
const HELPER: usize = 5;

/// What pages call this runtime.
const RUNTIME: &str = "node";

/// The process's agent, from the first loop that was watched to the end of the main thread's.
static AGENT: Mutex<AgentState> = Mutex::new(AgentState::None);

/// How long the loop's thread waits at the end for an agent that begins, so that it leaves no socket file: mostly some ms.
const END_WITHIN: Duration = Duration::from_millis(500);

enum AgentState {
    None,
    Starting(Starting<Agent>),
    Running(Agent),
    /// One that nobody wants any more ends beside the program.
    Ending(JoinHandle<()>),
}

/// `start(name, process, thread, heapLimit, isMain, helper, versions, options)`: begins to watch the loop of this thread, and
/// starts the agent in the main thread's.
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
    let [name, process, thread, heap_limit, is_main, _helper, versions, options, ..] = arguments else {
        return Err(Missing("`start` was called without its arguments".to_owned()));
    };
    let (uv_loop, isolate) = (caller.uv_loop()?, caller.isolate()?);
    let is_main = is_main == "true";
    let trace = trace_sink();
    // Without its entries nothing is known of a loop but when it polls, which tells of stalls that were not.
    isolate.can_hook_entries()?;
    caller.end_with_environment()?;
    say_what_else_is_missing(&isolate);
    let is_probed = is_main && !symbols::are_possible(Path::new(PROGRAM));
    let known = Knowledge {
        entries: true,
        traces: trace.is_some(),
        events: uv_loop.events().is_some(),
        pool: is_main,
        pool_waits: is_probed,
        is_worker: !is_main,
    };
    let observer = Arc::new(PoolObserver::default());
    let addon = sys::own_name().unwrap_or_else(|| "loopscope.node".to_owned());
    let mut builder = Writer::builder(name)
        .runtime(RUNTIME)
        .backend("epoll")
        .describe(&description(known, &addon))
        .process(process)
        .thread(thread);
    if is_main {
        builder = builder.observer(observer.clone());
    }
    let mut writer = builder.build();
    let pool_waits = if is_main { begin_pool(&mut writer, observer, is_probed) } else { None };
    let heap_limit = heap_limit.parse().unwrap_or(0);
    let record_to = record_file(caller);
    let options = Options::read(options, process);
    let is_attached = options.is_attached;
    let versions = if is_main { versions_of(versions) } else { Vec::new() };
    let parts = Parts {
        uv_loop,
        isolate,
        writer,
        trace,
        heap_limit,
        versions,
        record_to,
        is_attached,
        pool_waits,
        is_main,
    };
    if let Err(why) = caller.tell_stacks(&isolate, HELPER, options.is_preloaded) {
        log::off("JavaScript on stacks", &why.to_string());
    }
    caller.keep(Box::new(Adapter::start(parts)));
    if is_main {
        start_agent(options);
    }
    Ok(())
}

/// Begins to listen to Node's trace events; `None` with a line that says why where that cannot be.
fn trace_sink() -> Option<&'static TraceSink> {
    let installed = TraceSink::install::<Adapter>();
    installed.map_err(|why| log::off("names of callbacks, drains and timers", &why.to_string())).ok()
}

/// Returns where this loop's events are written, where that is wanted.
fn record_file(caller: &Caller) -> Option<PathBuf> {
    let directory = trusted_variable(RECORD)?;
    Some(PathBuf::from(directory).join(format!("{}.events", caller.tid())))
}

/// Reads names and versions of what Node is made of.
fn versions_of(text: &str) -> Vec<String> {
    text.split(',').filter(|version| !version.is_empty()).map(str::to_owned).collect()
}

/// Begins to look at the pool, which the page of this loop has. Returns what sends jobs of ours, where these are to
/// tell of it.
fn begin_pool(writer: &mut Writer, observer: Arc<PoolObserver>, is_probed: bool) -> Option<PoolWaits> {
    let pool = writer.take_pool()?;
    if !is_probed {
        observer.begin(pool);
        return None;
    }
    observer.begin_with_probes(pool);
    PoolWaits::begin(observer, writer.clock().scale())
}

fn say_what_else_is_missing(isolate: &Isolate) {
    if !isolate.has_async_ids() {
        log::off("names of callbacks that Node does not trace", "this version of Node does not report it");
    }
}

/// Starts the agent on a thread of its own: its start waits for the kernel, some 20 ms, which the main thread need not do.
fn start_agent(options: Options) {
    let mut agent = lock_agent();
    let before = match std::mem::replace(&mut *agent, AgentState::None) {
        AgentState::None => None,
        AgentState::Ending(ending) => Some(ending),
        running => {
            *agent = running;
            return;
        }
    };
    log::install();
    let prepare = move || {
        // There is one agent in a process.
        if let Some(before) = before {
            let _ = before.join();
        }
        // The kernel waits for every thread of the process.
        barrier::of_agent();
    };
    match without_signals(|| Starting::spawn("loopscope-start", prepare, move || new_agent(&options))) {
        Ok(starting) => *agent = AgentState::Starting(starting),
        Err(error) => log::off("the agent", &error.to_string()),
    }
}

fn new_agent(options: &Options) -> Option<Agent> {
    // What `start` was given; the agent reads the environment itself, which wins.
    let given = |name: &str| options.option(name);
    let (builder, unknown) = settings::apply(Agent::builder().on_incident(stalls::action()), given);
    // Of several processes with one address, as in a cluster, one has it, and the others are watched as well.
    let builder = builder.address_is_optional(true);
    let javascript = frames::source();
    let builder = builder.frame_source(RUNTIME, javascript.clone()).address_source(RUNTIME, javascript);
    unknown.iter().for_each(|text| log::line(text));
    let agent = builder.start().map_err(|error| log::off("the agent", &error.to_string())).ok()?;
    if options.is_announced {
        log::line(&settings::announcement(&options.process, std::process::id(), agent.url()));
    }
    Some(agent)
}

fn lock_agent() -> MutexGuard<'static, AgentState> {
    AGENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `url()`: where the agent answers; empty until it does, and where it does not.
fn url(_caller: &Caller, _arguments: &[String]) -> String {
    let mut agent = lock_agent();
    if let AgentState::Starting(starting) = &*agent
        && let Some(started) = starting.take_started()
    {
        *agent = started.map_or(AgentState::None, AgentState::Running);
    }
    match &*agent {
        AgentState::Running(agent) => agent.url().unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn stop_agent() {
    let before = std::mem::replace(&mut *lock_agent(), AgentState::None);
    // Not locked: other threads ask for its address.
    let after = match before {
        AgentState::Starting(starting) => AgentState::Ending(starting.give_up(END_WITHIN)),
        // Dropping it ends its threads.
        AgentState::None | AgentState::Running(_) => AgentState::None,
        ending @ AgentState::Ending(_) => ending,
    };
    *lock_agent() = after;
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

/// `label(name)`: names what runs, in metrics and incidents. Returns `batch` where that is one.
fn label(caller: &Caller, arguments: &[String]) -> String {
    let name = arguments.first().filter(|name| !name.is_empty());
    let is_batch = name.and_then(|name| caller.with_watcher(|watcher| watcher.label(name)));
    if is_batch.unwrap_or(false) { "batch".to_owned() } else { String::new() }
}

/// `module()`: the main script is a module.
fn module(caller: &Caller, _arguments: &[String]) -> String {
    caller.with_watcher(|watcher| watcher.main_is_module());
    String::new()
}

/// `named(isNamed)`: the function that answers questions has a name for what runs.
fn named(caller: &Caller, arguments: &[String]) -> String {
    caller.set_named_by_context(arguments.first().is_some_and(|is_named| is_named == "true"));
    String::new()
}

/// `hooks(counters)`: where Node counts the hooks of `async_hooks`.
fn hooks(caller: &Caller, _arguments: &[String]) -> String {
    if let Some(counts) = caller.hook_counts() {
        caller.with_watcher(|watcher| watcher.set_hook_counts(counts));
    }
    String::new()
}

/// `threw()`: an exception was caught by nobody.
fn threw(caller: &Caller, _arguments: &[String]) -> String {
    caller.with_watcher(|watcher| watcher.threw());
    String::new()
}

/// `pause(isPaused, leftOut)`: takes everything off this loop's thread, or puts it back but for what is named: see [`Ablation`].
/// For measuring what it costs.
fn pause(caller: &Caller, arguments: &[String]) -> String {
    let is_paused = arguments.first().is_some_and(|is_paused| is_paused == "true");
    let left_out = arguments.get(1).map_or("", String::as_str);
    caller.mute(false);
    caller.with_watcher(|watcher| watcher.set_paused(is_paused, left_out));
    // What comes while it is paused is of other threads' asking.
    caller.mute(is_paused || Ablation::parse(left_out).telling);
    String::new()
}

/// `counts()`: what was counted so far, in JSON; `null` where nothing is watched.
fn counts(caller: &Caller, _arguments: &[String]) -> String {
    caller.with_watcher(|watcher| watcher.counts()).unwrap_or_else(|| "null".to_owned())
}

/// `snapshot()`: what this loop did since its start, in JSON.
fn snapshot(caller: &Caller, _arguments: &[String]) -> String {
    let taken = caller.with_watcher(|watcher| watcher.snapshot());
    taken.map(|snapshot| snapshot::json(&snapshot)).unwrap_or_default()
}

/// `expect(reason)`: what runs from here to `expected()` may block.
fn expect(caller: &Caller, arguments: &[String]) -> String {
    let reason = arguments.first().map_or("", String::as_str);
    caller.with_watcher(|watcher| watcher.expect(reason));
    String::new()
}

/// `expected()`: what was announced last is over.
fn expected(caller: &Caller, _arguments: &[String]) -> String {
    caller.with_watcher(|watcher| watcher.expected());
    String::new()
}

/// `stall()`: the next stall that this thread was not told, in JSON; empty where it was told all. See `listen` in `sys`.
fn stall(caller: &Caller, _arguments: &[String]) -> String {
    next_text(caller.tid()).unwrap_or_default()
}

/// `unlisten()`: this thread wants to be told no more stalls.
fn unlisten(caller: &Caller, _arguments: &[String]) -> String {
    sys::unlisten(caller.tid());
    String::new()
}
