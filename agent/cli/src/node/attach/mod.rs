//! `loopscope attach`: loads the addon into a program that runs, through the inspector that Node opens for SIGUSR1.
//!
//! ```text
//!   checks in /proc -> SIGUSR1 -> the port that it listens on now -> WebSocket -> Runtime.evaluate -> inspector.close()
//! ```
//!
//! V8 answers between two instructions of JavaScript, so an endless loop is no hindrance: its line is what is read
//! first. The inspector is closed from inside, within the session that asks for it: a loop that hangs would come to
//! no timer. Worker threads are asked by the scripts, from inside.

mod inspector;
mod lock;
mod signal_handler;
mod sockets;
mod target;

use crate::args::AttachArguments;
use crate::error::Failure;
use crate::node::addon::Preload;
use crate::output::{print, tell};
use crate::pages;
use crate::pages::Process;
use inspector::Inspector;
use lock::Lock;
use serde_json::json;
use std::time::{Duration, Instant};
use target::AttachTarget;

/// What has the program's scripts do: in them, because Node keeps `require` for the time of one evaluation only.
const SCRIPT: &str = "attach.cjs";

/// How long the pages of a program that was attached to may take: its agent starts on a thread of its own, and so do workers.
const PAGE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the inspector may take to close; it takes some 10 ms, and longer where native code runs.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Attaches, or detaches.
///
/// # Errors
/// The process is not there, is no Node, may not be touched, or does not answer; the message says which and what to do.
pub fn run(arguments: &AttachArguments) -> Result<(), Failure> {
    let begin = Instant::now();
    let pid = arguments.pid;
    let target = AttachTarget::open(pid)?;
    let watched = page_of(pid)?;
    match (arguments.detach, &watched) {
        (false, Some(process)) => {
            return print(&format!("Attached already. {}\n", where_to_look(process)));
        }
        (true, None) => {
            return Err(Failure::NotFound(format!("process {pid} is not watched: nothing to detach")));
        }
        _ => {}
    }
    let _lock = Lock::take(pid)?;
    let preload = Preload::find()?;
    target.check(&preload)?;
    let mut inspector = Inspector::open(&target)?;
    let done = match arguments.detach {
        false => attach(arguments, &mut inspector, &preload, &target),
        true => inspector.evaluate(&call(&preload, "detach", &json!({}))).map(|answer| workers_in(&answer)),
    };
    let (closed, is_open) = close(inspector, &preload, &target);
    if done.is_err() && is_open {
        tell(&closed);
    }
    let workers = done?;
    let lasted = begin.elapsed().as_millis();
    print(&match arguments.detach {
        true => format!(
            "Detached in {lasted} ms: nothing of loopscope runs in it any more; the addon's file stays mapped.\n{}{closed}",
            left_workers(pid, workers)? + &left_threads(pid)?
        ),
        false => {
            let look = look(&target, workers, arguments.listen.as_deref() != Some("off"))?;
            format!("{look}\nAttached in {lasted} ms. {closed}")
        }
    })
}

/// Says what runs, where something does, and loads the addon. Returns how many worker threads are asked to do so, too.
fn attach(
    arguments: &AttachArguments,
    inspector: &mut Inspector,
    preload: &Preload,
    target: &AttachTarget,
) -> Result<usize, Failure> {
    if let Some(frame) = inspector.what_runs()? {
        print(&format!("Running now: {frame}\n"))?;
    }
    let options = json!({
        "addon": preload.addon,
        "listen": arguments.listen,
        "warningMs": arguments.warning.map(|warning| warning.as_millis() as u64),
        "incidentsDir": arguments.incidents_dir.as_ref().map(|path| std::path::absolute(path).unwrap_or(path.clone())),
    });
    let answer = inspector.evaluate(&call(preload, "attach", &options))?;
    match answer["why"].as_str() {
        Some("") => Ok(workers_in(&answer)),
        Some(why) => Err(target.refused(why)),
        None => Err(target.refused(format!("it answers {answer}"))),
    }
}

/// Returns how many worker threads were asked, as the scripts tell it.
fn workers_in(answer: &serde_json::Value) -> usize {
    answer["workers"].as_u64().and_then(|workers| usize::try_from(workers).ok()).unwrap_or(0)
}

/// Returns the expression that calls a function of the script.
fn call(preload: &Preload, function: &str, options: &serde_json::Value) -> String {
    let script = json!(preload.scripts.join(SCRIPT));
    format!("require({script}).{function}({options})")
}

/// Has the inspector closed. Returns a line about it, and whether it is open still.
fn close(mut inspector: Inspector, preload: &Preload, target: &AttachTarget) -> (String, bool) {
    let (pid, port) = (target.pid(), inspector.port());
    let listeners = sockets::listeners(pid, port);
    let is_open = || match listeners.is_empty() {
        true => sockets::listening(pid).contains(&port),
        false => sockets::has_any(pid, &listeners),
    };
    inspector.ask(&call(preload, "closeInspector", &json!({})));
    let begin = Instant::now();
    while begin.elapsed() < CLOSE_PATIENCE && target.is_alive() {
        if !is_open() {
            return ("Its inspector is closed.\n".to_owned(), false);
        }
        inspector.warn_while_open();
        std::thread::sleep(LOOK);
    }
    let is_alive = target.is_alive();
    let line = match is_alive {
        true => format!(
            "Its inspector on port {port} is still open: it closes when the main thread returns to JavaScript. Until then every \
             user who can connect to that port can run code as the user of the process.\n"
        ),
        false => String::new(),
    };
    (line, is_alive)
}

/// Returns the process as its pages tell it; `None` where it has none.
fn page_of(pid: u32) -> Result<Option<Process>, Failure> {
    let is_it = |process: &Process| process.owner.pid == pid && process.is_alive && !process.loops.is_empty();
    Ok(pages::processes()?.into_iter().find(is_it))
}

/// Waits for the address on the page, where there will be one, and for the pages of the workers that were asked.
fn look(target: &AttachTarget, workers: usize, listens: bool) -> Result<String, Failure> {
    let (pid, begin) = (target.pid(), Instant::now());
    loop {
        let found = page_of(pid)?;
        let is_whole =
            |process: &Process| (!listens || process.address().is_some()) && process.loops.len() > workers;
        let is_late = begin.elapsed() > PAGE_PATIENCE;
        match found.filter(|process| is_late || is_whole(process)) {
            Some(process) => return Ok(where_to_look(&process) + &about_workers(&process, workers)),
            None if !target.is_alive() => return Err(target.failed("it ended")),
            None if is_late => {
                return Ok(format!("Process {pid} is watched, but has no page: use its agent."));
            }
            None => std::thread::sleep(LOOK),
        }
    }
}

/// Says how many of the workers that were asked are watched; empty where there are none.
fn about_workers(process: &Process, asked: usize) -> String {
    let watched = process.loops.len().saturating_sub(1).min(asked);
    match asked {
        0 => String::new(),
        _ if watched == asked => format!("\nIts {} watched, too.", worker_threads(asked)),
        _ => format!(
            "\n{watched} of its {asked} worker threads are watched; the others will be when they return to JavaScript."
        ),
    }
}

fn worker_threads(count: usize) -> String {
    if count == 1 { "worker thread is".to_owned() } else { format!("{count} worker threads are") }
}

/// Waits until the workers that were asked are not watched any more. Says how many still are; empty where none is.
fn left_workers(pid: u32, asked: usize) -> Result<String, Failure> {
    let begin = Instant::now();
    while let Some(process) = page_of(pid)?.filter(|_| asked > 0) {
        if begin.elapsed() > PAGE_PATIENCE {
            let left = process.loops.len();
            return Ok(format!(
                "{left} of its worker threads {} still watched, until JavaScript runs there again.\n",
                if left == 1 { "is" } else { "are" }
            ));
        }
        std::thread::sleep(LOOK);
    }
    Ok(String::new())
}

/// Waits until the agent's threads have ended, where no loop is watched any more: one may be in the middle of reading symbols. Says
/// how many have not; empty where none is left.
fn left_threads(pid: u32) -> Result<String, Failure> {
    if page_of(pid)?.is_some() {
        return Ok(String::new());
    }
    let begin = Instant::now();
    loop {
        let left = threads_of_agent(pid);
        if left == 0 {
            return Ok(String::new());
        }
        if begin.elapsed() > PAGE_PATIENCE {
            let threads = if left == 1 { "thread is" } else { "threads are" };
            return Ok(format!("{left} of loopscope's {threads} still ending.\n"));
        }
        std::thread::sleep(LOOK);
    }
}

/// Counts the threads of the process that have the names of the agent's.
fn threads_of_agent(pid: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.filter(|name| name.starts_with("loopscope-")).count()
}

fn where_to_look(process: &Process) -> String {
    let (pid, name) = (process.owner.pid, process.name());
    let commands = format!("loopscope top {pid}, loopscope incidents {pid}");
    match process.address() {
        Some(address) => format!("{name}, pid {pid}: {}/ in a browser, or {commands}", address.local()),
        None => format!("{name}, pid {pid}: {commands}"),
    }
}
