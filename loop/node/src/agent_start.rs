//! A start on a thread of its own, which who asked for it may give up at any time, and need not wait for.
//!
//! What takes long and leaves nothing behind comes first: a start that is given up before its second part makes nothing. One that
//! is given up after that is undone on its own thread, when it is there.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Debug)]
enum Progress<T> {
    /// Nothing was made yet.
    Prepares,
    Begins,
    /// It has ended: with nothing where it failed.
    Started(Option<T>),
    /// Nobody wants it any more.
    GivenUp,
}

#[derive(Debug)]
struct Shared<T> {
    progress: Mutex<Progress<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn progress(&self) -> MutexGuard<'_, Progress<T>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, prepare: impl FnOnce(), start: impl FnOnce() -> Option<T>) {
        prepare();
        {
            let mut progress = self.progress();
            if matches!(*progress, Progress::GivenUp) {
                return;
            }
            *progress = Progress::Begins;
        }
        // Not locked: this may take long.
        let started = catch_unwind(AssertUnwindSafe(start)).ok().flatten();
        let mut progress = self.progress();
        let unwanted = match *progress {
            Progress::GivenUp => started,
            _ => {
                *progress = Progress::Started(started);
                None
            }
        };
        drop(progress);
        self.changed.notify_all();
        drop(unwanted);
    }
}

/// Something that starts.
#[derive(Debug)]
pub(crate) struct Starting<T> {
    shared: Arc<Shared<T>>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Starting<T> {
    /// Begins to start it, on a thread of this name, after `prepare`.
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn spawn(
        name: &str,
        prepare: impl FnOnce() + Send + 'static,
        start: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> io::Result<Starting<T>> {
        let shared = Arc::new(Shared { progress: Mutex::new(Progress::Prepares), changed: Condvar::new() });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        Ok(Starting { shared, thread: thread.spawn(move || own.run(prepare, start))? })
    }

    /// Takes what was started, or nothing where that failed. `None` while it starts.
    pub(crate) fn take_started(&self) -> Option<Option<T>> {
        match &mut *self.shared.progress() {
            Progress::Started(started) => Some(started.take()),
            _ => None,
        }
    }

    /// Undoes the start. One that begins is waited for, so long at most. Returns its thread, which may not have ended then.
    pub(crate) fn give_up(self, within: Duration) -> JoinHandle<()> {
        let progress = self.shared.progress();
        let begins = |progress: &mut Progress<T>| matches!(progress, Progress::Begins);
        let waited = self.shared.changed.wait_timeout_while(progress, within, begins);
        let (mut progress, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *progress, Progress::GivenUp);
        drop(progress);
        drop(before);
        self.thread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A limit only to fail.
    const LONG: Duration = Duration::from_secs(120);

    /// Says when it is dropped, and on which thread.
    struct Told(Sender<std::thread::ThreadId>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    /// A start that goes on when it is told to: one word for its first part, one for the second.
    fn start() -> (Starting<Told>, Sender<()>, Receiver<()>, Receiver<std::thread::ThreadId>) {
        let ((go, goes), (begins, has_begun), (tell, told)) = (channel(), channel(), channel());
        let goes = Arc::new(Mutex::new(goes));
        let again = goes.clone();
        let prepare = move || goes.lock().unwrap().recv().unwrap();
        let second = move || {
            begins.send(()).unwrap();
            again.lock().unwrap().recv().unwrap();
            Some(Told(tell))
        };
        (Starting::spawn("start", prepare, second).unwrap(), go, has_begun, told)
    }

    #[test]
    fn one_that_is_given_up_before_it_makes_anything_makes_nothing_and_is_not_waited_for() {
        let (starting, go, has_begun, told) = start();
        let thread = starting.give_up(LONG);
        go.send(()).unwrap();
        thread.join().unwrap();
        assert!(has_begun.recv().is_err() && told.recv().is_err());
    }

    #[test]
    fn one_that_takes_too_long_is_undone_on_its_own_thread_when_it_is_there() {
        let (starting, go, has_begun, told) = start();
        go.send(()).unwrap();
        has_begun.recv().unwrap();
        assert!(starting.take_started().is_none());
        let thread = starting.give_up(Duration::ZERO);
        assert!(told.try_recv().is_err(), "it is not there yet");
        go.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), thread.thread().id());
        thread.join().unwrap();
    }

    #[test]
    fn one_that_begins_is_waited_for_and_undone() {
        let (starting, go, has_begun, told) = start();
        go.send(()).unwrap();
        has_begun.recv().unwrap();
        go.send(()).unwrap();
        starting.give_up(LONG).join().unwrap();
        assert_eq!(told.recv().unwrap(), std::thread::current().id());
    }

    #[test]
    fn what_was_started_is_taken_once_and_one_that_panics_has_failed() {
        let starting = Starting::spawn("start", || (), || Some(7)).unwrap();
        let started = loop {
            if let Some(started) = starting.take_started() {
                break started;
            }
            std::thread::yield_now();
        };
        assert_eq!(started, Some(7));
        let failing = Starting::<u32>::spawn("start", || (), || panic!("on purpose")).unwrap();
        failing.give_up(LONG).join().unwrap();
    }
}
