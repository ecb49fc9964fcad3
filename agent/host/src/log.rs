//! Hands warnings to the program's log, on a thread of its own: standard error may be a pipe that nobody reads.

use loopscope_probe::raw::printable::printable;
use std::borrow::Cow;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// Warnings that may wait for a stuck log; more are dropped and counted.
const WAITING_MAX: usize = 64;

/// Characters of a warning that are written: it may have the names of another user's process.
const TEXT_MAX: usize = 1_000;

/// How long an ending server waits for the log to take its last warnings.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// The sending side, on the server's thread. Dropping it ends the thread, once what was sent is written, or after a second.
#[derive(Debug)]
pub(crate) struct Log {
    lines: Option<SyncSender<String>>,
    finished: Receiver<()>,
    dropped: u64,
}

impl Log {
    /// Starts the thread. It logs to the subscriber that is the calling thread's own, or else to the global one of each
    /// moment.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start() -> io::Result<Log> {
        let own = tracing::dispatcher::get_default(Dispatch::clone);
        let own = Some(own).filter(|dispatch| !dispatch.is::<NoSubscriber>());
        let (lines, waiting) = sync_channel::<String>(WAITING_MAX);
        let (finish, finished) = sync_channel(1);
        let write = move || {
            waiting.into_iter().for_each(|line| tracing::warn!(target: "loopscope", "{}", shown(&line)));
            // Nobody may be waiting any more.
            let _ = finish.send(());
        };
        Builder::new().name("loopscope-log".to_owned()).spawn(move || match own {
            Some(dispatch) => tracing::dispatcher::with_default(&dispatch, write),
            None => write(),
        })?;
        Ok(Log { lines: Some(lines), finished, dropped: 0 })
    }

    /// Hands over one warning; never blocks.
    pub(crate) fn warn(&mut self, message: String) {
        let is_sent = self.lines.as_ref().is_some_and(|lines| lines.try_send(message).is_ok());
        self.dropped += u64::from(!is_sent);
    }

    /// Returns how many warnings were dropped because the log was stuck.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines = None;
        // A stuck log keeps its thread, which ends when it gets unstuck.
        let _ = self.finished.recv_timeout(SHUTDOWN);
    }
}

/// Returns a text as one line of a log may have it.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}...", printable(&text[..end]))),
        None => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// Keeps the messages, and takes its time for each.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<String>>>);

    impl Visit for &Slow {
        fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }

    impl Subscriber for Slow {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            std::thread::yield_now();
            event.record(&mut &*self);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn what_was_sent_is_written_before_the_log_is_gone_and_long_names_are_cut() {
        let slow = Slow::default();
        let mut log = tracing::subscriber::with_default(slow.clone(), Log::start).unwrap();
        (0..WAITING_MAX - 1).for_each(|number| log.warn(format!("warning {number}")));
        log.warn("x".repeat(5_000));
        drop(log);
        let written = slow.0.lock().unwrap();
        assert_eq!((written.len(), &*written[0]), (WAITING_MAX, "warning 0"));
        assert_eq!(written.last().unwrap().len(), TEXT_MAX + "...".len());
    }
}
