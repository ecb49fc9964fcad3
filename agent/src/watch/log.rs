//! Hands reports to the program's log, on a thread of its own.
//!
//! A subscriber may take locks that the blocked loop holds: standard output is the usual one. The agent must go on
//! answering then, so it never calls the subscriber itself. Reports past the few that fit are dropped and counted.

use crate::watch::log_report::{Level, LogReport};
use loopscope_probe::raw::file_limit::without_signals;
use loopscope_probe::raw::printable::printable;
use std::borrow::Cow;
use std::io::{self, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// Reports that may wait for a stuck log.
const WAITING_MAX: usize = 64;

/// Characters of a text that are written. Names of functions have no bound, and a line of a log should be read.
const TEXT_MAX: usize = 1_000;

/// How long an ending agent waits for the log to take its last reports.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// What goes to the log.
#[derive(Debug)]
enum Line {
    LogReport(LogReport),
    Warning(String),
    /// What is in force.
    Start(String),
    /// The same, where the environment asked for something: its answer.
    Answer(String),
}

/// The log's thread. Dropping it ends the thread, once all [`LogSender`]s are gone and what they sent is written, or after a
/// second.
#[derive(Debug)]
pub(crate) struct Log {
    sender: Option<LogSender>,
    /// The mutex makes an agent that is shared between threads possible.
    finished: Mutex<Receiver<()>>,
}

/// Sends to the log, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct LogSender {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// Starts the thread. It logs to the subscriber that is the calling thread's own, or else to the global one of
    /// each moment. `prints_first_stall`: to standard error, where there is neither a subscriber nor a logger.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start(prints_first_stall: bool) -> io::Result<Log> {
        let own = tracing::dispatcher::get_default(Dispatch::clone);
        let own = Some(own).filter(|dispatch| !dispatch.is::<NoSubscriber>());
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let (finish, finished) = sync_channel(1);
        let thread = thread::Builder::new().name("loopscope-log".to_owned());
        let write = move || {
            match own {
                Some(dispatch) => tracing::dispatcher::with_default(&dispatch, || write_all(waiting, None)),
                None => write_all(waiting, prints_first_stall.then_some(Unheard)),
            }
            // Nobody may be waiting any more.
            let _ = finish.send(());
        };
        without_signals(|| thread.spawn(write))?;
        Ok(Log { sender: Some(LogSender { lines, dropped: Arc::default() }), finished: Mutex::new(finished) })
    }

    /// Returns a sender.
    pub(crate) fn sender(&self) -> LogSender {
        self.sender.clone().expect("it is there until the log is dropped")
    }
}

impl LogSender {
    /// Hands over one report; never blocks.
    pub(crate) fn report(&self, report: LogReport) {
        self.send(Line::LogReport(report));
    }

    /// Hands over a warning about the agent itself; never blocks.
    pub(crate) fn warn(&self, message: String) {
        self.send(Line::Warning(message));
    }

    /// Hands over what is in force; never blocks. Its target is `loopscope::start`, so that it can be left out by itself, and
    /// `loopscope` where the environment asked for something (`is_answer`): who set a variable is to see what became of it.
    pub(crate) fn start_line(&self, message: String, is_answer: bool) {
        self.send(if is_answer { Line::Answer(message) } else { Line::Start(message) });
    }

    /// Returns how many lines of all senders were dropped because the log was stuck.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    fn send(&self, line: Line) {
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sender = None;
        // A stuck log keeps its thread, which ends when it gets unstuck.
        let finished = self.finished.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _: Result<(), RecvTimeoutError> = finished.recv_timeout(SHUTDOWN);
    }
}

fn write_all(waiting: Receiver<Line>, unheard: Option<Unheard>) {
    for line in waiting {
        match line {
            Line::LogReport(report) => {
                write(&report);
                if let Some(unheard) = &unheard {
                    unheard.tell(&report);
                }
            }
            Line::Start(message) => tracing::info!(target: "loopscope::start", "{}", shown(&message)),
            Line::Answer(message) => tracing::info!(target: "loopscope", "{}", shown(&message)),
            Line::Warning(message) => tracing::warn!(target: "loopscope", "{}", shown(&message)),
        }
    }
}

/// Tells the first stall of a program that would see none, because nobody takes what is logged: on standard error,
/// once in a process.
#[derive(Debug, Default)]
struct Unheard;

/// Whether that was told. Relaxed: it guards nothing but itself.
static HAS_TOLD: AtomicBool = AtomicBool::new(false);

/// How to see more, or nothing.
const HOW_TO_LISTEN: &str = "only the first stall is printed: install a tracing subscriber or a logger to see all, \
or set LOOPSCOPE_STDERR=off to see none";

impl Unheard {
    fn tell(&self, report: &LogReport) {
        if !is_worth_telling(report, is_heard()) || HAS_TOLD.swap(true, Relaxed) {
            return;
        }
        let text = format!("loopscope: {} ({HOW_TO_LISTEN})\n", shown(&report.message));
        // Where standard error is closed, nobody reads it.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Tells whether a report is for standard error: one of trouble that nobody hears of otherwise, and not that a stall is over or
/// that the process was stopped.
fn is_worth_telling(report: &LogReport, is_heard: bool) -> bool {
    report.level != Level::Info && !is_heard
}

/// Tells whether anybody takes what is logged: a subscriber of this moment, or a logger, to which `tracing` hands everything
/// until a subscriber was set.
fn is_heard() -> bool {
    let has_subscriber = tracing::dispatcher::get_default(|dispatch| !dispatch.is::<NoSubscriber>());
    has_subscriber || log::max_level() != log::LevelFilter::Off
}

/// Returns a text as one line of a log may have it: names are those of the program, and may hold anything.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}...", printable(&text[..end]))),
        None => printable(text),
    }
}

fn write(report: &LogReport) {
    let LogReport { subject, cause, site, incident, message, .. } = report;
    let [subject, cause, site, incident, message] =
        [subject, cause, site, incident, message].map(|text| shown(text));
    let (subject, cause, site, incident) = (&*subject, &*cause, &*site, &*incident);
    let age_ms = report.age_ns as f64 / 1e6;
    match report.level {
        Level::Info => {
            tracing::info!(target: "loopscope", r#loop = subject, cause, site, age_ms, incident, "{message}");
        }
        Level::Warn => {
            tracing::warn!(target: "loopscope", r#loop = subject, cause, site, age_ms, incident, "{message}");
        }
        Level::Error => {
            tracing::error!(target: "loopscope", r#loop = subject, cause, site, age_ms, incident, "{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trouble_that_nobody_hears_of_goes_to_standard_error() {
        for (level, is_heard, is_told) in [
            (Level::Info, false, false),
            (Level::Warn, false, true),
            (Level::Error, false, true),
            (Level::Warn, true, false),
        ] {
            let report = LogReport { level, ..LogReport::suppressed("web", 2) };
            assert_eq!(is_worth_telling(&report, is_heard), is_told, "{level:?} {is_heard}");
        }
    }
}
