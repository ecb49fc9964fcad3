//! `loopscope attach`: loads the addon into a program that runs, through the inspector that Node opens for SIGUSR1.
//!
//! ```text
//!   checks in /proc -> SIGUSR1 -> the port that it listens on now -> WebSocket -> Runtime.evaluate -> inspector.close()
//! ```
//!
//! V8 answers between two instructions of JavaScript, so an endless loop is no hindrance: its line is what is read first. The
//! inspector is closed from inside, within the session that asks for it: a loop that hangs would come to no timer.

mod elf;
mod inspector;
mod signal_handler;
mod sockets;
mod target;

use crate::args::AttachArguments;
use crate::error::Failure;
use crate::node::addon::Preload;
use crate::output::print;
use crate::pages;
use crate::pages::Process;
use inspector::Inspector;
use loopscope_probe::directory::{make_private, runtime_directory};
use serde_json::json;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use target::Target;

/// What has the program's scripts do: in them, because Node keeps `require` for the time of one evaluation only.
const SCRIPT: &str = "attach.cjs";

/// How long the page of a program that was attached to may take: its agent starts on a thread of its own.
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
    let target = Target::open(pid)?;
    let watched = page_of(pid)?;
    match (arguments.detach, &watched) {
        (false, Some(process)) => {
            return print(&format!("Watched already. {}\n", where_to_look(process)));
        }
        (true, None) => {
            return Err(Failure::NotFound(format!(
                "process {pid} is not watched, so nothing is to be detached"
            )));
        }
        _ => {}
    }
    let _lock = Lock::take(pid)?;
    let preload = Preload::find()?;
    target.check(&preload)?;
    let mut inspector = Inspector::open(&target)?;
    let done = match arguments.detach {
        false => attach(arguments, &mut inspector, &preload),
        true => inspector.evaluate(&call(&preload, "detach", &json!({}))).map(drop),
    };
    let closed = close(inspector, &preload, &target);
    done?;
    let lasted = begin.elapsed().as_millis();
    print(&match arguments.detach {
        true => format!(
            "Detached in {lasted} ms: nothing of loopscope runs there; the addon's file stays in its memory.\n{closed}"
        ),
        false => format!("{}\nAttached in {lasted} ms. {closed}", look(pid)?),
    })
}

/// Says what runs, where something does, and loads the addon.
fn attach(arguments: &AttachArguments, inspector: &mut Inspector, preload: &Preload) -> Result<(), Failure> {
    if let Some(frame) = inspector.what_runs()? {
        print(&format!("Running now: {frame}\n"))?;
    }
    let options = json!({
        "addon": preload.addon,
        "listen": arguments.listen,
        "warningMs": arguments.warning.map(|warning| warning.as_millis() as u64),
        "incidentsDir": arguments.incidents_dir.as_ref().map(|path| std::path::absolute(path).unwrap_or(path.clone())),
    });
    let why = inspector.evaluate(&call(preload, "attach", &options))?;
    match why.as_str() {
        Some("") => Ok(()),
        Some(why) => Err(Failure::system("attach", why)),
        None => Err(Failure::system("attach", format!("the program answers {why}"))),
    }
}

/// Returns the expression that calls a function of the script.
fn call(preload: &Preload, function: &str, options: &serde_json::Value) -> String {
    let script = json!(preload.scripts.join(SCRIPT));
    format!("require({script}).{function}({options})")
}

/// Has the inspector closed. Returns a line about it.
fn close(mut inspector: Inspector, preload: &Preload, target: &Target) -> String {
    let port = inspector.port();
    inspector.ask(&call(preload, "closeInspector", &json!({})));
    let begin = Instant::now();
    while begin.elapsed() < CLOSE_PATIENCE && target.is_alive() {
        if !sockets::listening(target.pid()).contains(&port) {
            return "Its inspector is closed again.\n".to_owned();
        }
        std::thread::sleep(LOOK);
    }
    match target.is_alive() {
        true => format!(
            "Its inspector on port {port} is open still: it closes when its main thread comes back to JavaScript.\n"
        ),
        false => String::new(),
    }
}

/// Returns the process as its pages tell it; `None` where it has none.
fn page_of(pid: u32) -> Result<Option<Process>, Failure> {
    let is_it = |process: &Process| process.owner.pid == pid && process.is_alive && !process.loops.is_empty();
    Ok(pages::processes()?.into_iter().find(is_it))
}

/// Waits for the address on the page.
fn look(pid: u32) -> Result<String, Failure> {
    let begin = Instant::now();
    loop {
        let found = page_of(pid)?;
        let has_address = found.as_ref().is_some_and(|process| process.address().is_some());
        if let Some(process) = found.filter(|_| has_address || begin.elapsed() > PAGE_PATIENCE) {
            return Ok(where_to_look(&process));
        }
        if begin.elapsed() > PAGE_PATIENCE {
            return Ok(format!("Process {pid} is watched, and has no page: its agent alone answers."));
        }
        std::thread::sleep(LOOK);
    }
}

fn where_to_look(process: &Process) -> String {
    let (pid, name) = (process.owner.pid, process.name());
    let commands = format!("loopscope top {pid}, loopscope incidents {pid}");
    match process.address() {
        Some(address) => format!("{name}, pid {pid}: {}/ in a browser, or {commands}", address.local()),
        None => format!("{name}, pid {pid}: {commands}"),
    }
}

/// Only one command at a time attaches to a process.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(pid: u32) -> Result<Lock, Failure> {
        let wanted = format!("attach to process {pid}");
        let directory = runtime_directory();
        make_private(&directory)
            .map_err(|why| Failure::system(&wanted, format!("{} {why}", directory.display())))?;
        let path = directory.join(format!("attach-{pid}.lock"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| Failure::system(&wanted, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { path, _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::system(&wanted, "another command is attaching to it or detaching from it now"))
            }
            Err(TryLockError::Error(error)) => Err(Failure::system(&wanted, error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
