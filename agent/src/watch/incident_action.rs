//! Acts on incidents: a command or a function of the program, on a thread of its own, bounded in number and time.

use crate::watch::command_process::{CommandProcess, memory_file};
use loopscope_report::incident::Incident;
use loopscope_report::metrics::loop_metrics::Outcomes;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Incidents that may wait for an action.
const WAITING_MAX: usize = 64;

/// A command that takes longer is killed, with all that it started.
const LIMIT: Duration = Duration::from_secs(10);

/// How often a command is asked whether it has ended.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// What to do about an incident. Done twice for each that is logged: when it is found, and when it is over
/// ([`Incident::is_over`]); never on a loop's thread.
#[derive(Clone)]
#[non_exhaustive]
pub enum Action {
    /// Runs a program, which gets the incident as one line of JSON on its standard input. It is killed after 10 s.
    Command {
        /// The program, looked up in `PATH`.
        program: String,
        /// Its arguments.
        args: Vec<String>,
    },
    /// Calls a function, on a thread that does only this and has all signals blocked, which threads that it starts inherit.
    Call(Arc<dyn Fn(&Incident) + Send + Sync>),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Command { program, args } => write!(f, "Command({program} {args:?})"),
            Action::Call(_) => f.write_str("Call"),
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
    notes: Mutex<Vec<String>>,
}

/// The agent's end of the thread.
#[derive(Debug)]
pub(crate) struct Actor {
    waiting: SyncSender<Arc<Incident>>,
    counts: Arc<Counts>,
    dropped: u64,
}

impl Actor {
    /// Starts the thread.
    pub(crate) fn start(actions: Vec<Action>) -> std::io::Result<Actor> {
        Actor::start_with(actions, LIMIT)
    }

    fn start_with(actions: Vec<Action>, limit: Duration) -> std::io::Result<Actor> {
        let (waiting, incidents) = sync_channel(WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let own = counts.clone();
        std::thread::Builder::new().name("loopscope-action".to_owned()).spawn(move || {
            loopscope_stacks::block_signal();
            serve(&incidents, &actions, limit, &own);
        })?;
        Ok(Actor { waiting, counts, dropped: 0 })
    }

    /// Hands over an incident; never blocks.
    pub(crate) fn act(&mut self, incident: Arc<Incident>) {
        self.dropped += u64::from(self.waiting.try_send(incident).is_err());
    }

    /// Returns what the actions came to.
    pub(crate) fn outcomes(&self) -> Outcomes {
        let Counts { ok, failed, .. } = &*self.counts;
        Outcomes { ok: ok.load(Relaxed), failed: failed.load(Relaxed), dropped: self.dropped }
    }

    /// Takes what there is to say.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut *self.counts.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(incidents: &Receiver<Arc<Incident>>, actions: &[Action], limit: Duration, counts: &Counts) {
    for incident in incidents {
        for action in actions {
            let outcome = match action {
                Action::Call(call) => catch_unwind(AssertUnwindSafe(|| call(&incident)))
                    .map_err(|_| "the action on incidents panicked".to_owned()),
                Action::Command { program, args } => {
                    let json = incident.to_json();
                    let run = run_command(program, args, &json, limit);
                    run.map_err(|why| format!("command {program}, for incident {}: {why}", incident.id))
                }
            };
            match outcome {
                Ok(()) => counts.ok.fetch_add(1, Relaxed),
                Err(note) => {
                    counts.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                    counts.failed.fetch_add(1, Relaxed)
                }
            };
        }
    }
}

/// Runs a command to its end, or to the limit.
fn run_command(program: &str, args: &[String], json: &[u8], limit: Duration) -> Result<(), String> {
    let input = memory_file(&[json, b"\n"].concat());
    let input = input.map_err(|error| format!("the incident cannot be handed to it: {error}"))?;
    let command = CommandProcess::start(program, args, &input);
    let command = command.map_err(|error| format!("it cannot be started: {error}"))?;
    match wait(&command, limit) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("it failed: {status}")),
        Ok(None) => {
            command.kill();
            Err(format!("killed after {} s", limit.as_secs()))
        }
        // A program that waits for every child has taken it: its number may be another process's by now.
        Err(error) => Err(format!("it cannot be waited for: {error}")),
    }
}

/// Waits for the end of a command; `None` where it takes longer than `limit`.
fn wait(command: &CommandProcess, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = command.try_wait()? {
            return Ok(Some(status));
        }
        let Some(left) = limit.checked_sub(begin.elapsed()) else { return Ok(None) };
        std::thread::sleep(ASKED_EVERY.min(left));
    }
}

#[cfg(test)]
#[path = "incident_action_tests.rs"]
mod tests;
