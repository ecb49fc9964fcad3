//! What happened of late: asked of agents on a thread of its own, because one of them may take its time.

use crate::error::Failure;
use crate::incidents::source::{Found, of_processes};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Time between two questions.
const EVERY: Duration = Duration::from_secs(2);

/// The newest so many are shown.
const SHOWN_MAX: usize = 200;

/// The lists that come from the thread; it ends with this.
#[derive(Debug)]
pub struct RecentIncidents {
    lists: Receiver<Vec<Found>>,
    _is_wanted: SyncSender<()>,
}

impl RecentIncidents {
    /// Begins to ask the processes that fit `target`.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(target: Option<String>) -> Result<RecentIncidents, Failure> {
        let ((send, lists), (is_wanted, end)) = (channel(), sync_channel(0));
        let ask = move || {
            loop {
                // A target that has left, or an agent that does not answer, has no incidents to tell.
                let mut found = of_processes(target.as_deref()).map(|catch| catch.found).unwrap_or_default();
                found.truncate(SHOWN_MAX);
                let found = found.iter().map(Found::printable).collect();
                let is_gone = send.send(found).is_err();
                if is_gone || end.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("incidents".to_owned())
            .spawn(ask)
            .map_err(|error| Failure::system("start a thread", error))?;
        Ok(RecentIncidents { lists, _is_wanted: is_wanted })
    }

    /// Returns the newest list, where one has come.
    pub fn newest(&self) -> Option<Vec<Found>> {
        self.lists.try_iter().last()
    }
}
