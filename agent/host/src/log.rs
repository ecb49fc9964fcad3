//! Hands warnings to the program's log, on a thread of its own: standard error may be a pipe that nobody reads.

use loopscope_probe::printable::printable;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// Warnings that may wait for a stuck log; more are dropped and counted.
const WAITING_MAX: usize = 64;

/// The sending side, on the server's thread.
#[derive(Debug)]
pub(crate) struct Log {
    lines: SyncSender<String>,
    dropped: u64,
}

impl Log {
    /// Starts the thread, which ends with this handle. It logs to the subscriber that is the calling thread's own, or else to
    /// the global one of each moment.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start() -> io::Result<Log> {
        let own = tracing::dispatcher::get_default(Dispatch::clone);
        let own = Some(own).filter(|dispatch| !dispatch.is::<NoSubscriber>());
        let (lines, waiting) = sync_channel::<String>(WAITING_MAX);
        let write = move || {
            waiting.into_iter().for_each(|line| tracing::warn!(target: "loopscope", "{}", printable(&line)));
        };
        Builder::new().name("loopscope-log".to_owned()).spawn(move || match own {
            Some(dispatch) => tracing::dispatcher::with_default(&dispatch, write),
            None => write(),
        })?;
        Ok(Log { lines, dropped: 0 })
    }

    /// Hands over one warning; never blocks.
    pub(crate) fn warn(&mut self, message: String) {
        self.dropped += u64::from(self.lines.try_send(message).is_err());
    }

    /// Returns how many warnings were dropped because the log was stuck.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}
