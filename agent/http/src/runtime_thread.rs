//! A thread with asynchronous tasks of its own, which stops when its handle is dropped.

use crate::error::ServerError;
use loopscope_probe::raw::file_limit::without_signals;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// The handle. Dropping it stops the thread, and returns when it has ended.
#[derive(Debug)]
pub struct RuntimeThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RuntimeThread {
    /// Starts a thread of this name. There, within its runtime, `begin` spawns the tasks; what it returns is called last,
    /// when the thread has been told to stop. Returns when `begin` has.
    ///
    /// # Errors
    /// The system refuses a thread or an epoll instance, or `begin` fails.
    pub fn start<B, L>(name: &str, begin: B) -> Result<RuntimeThread, ServerError>
    where
        B: FnOnce() -> Result<L, ServerError> + Send + 'static,
        L: FnOnce(),
    {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = sync_channel(1);
        let thread = std::thread::Builder::new().name(name.to_owned());
        // Those that it starts inherit it.
        let thread = without_signals(|| thread.spawn(move || run(begin, &ready, stopped)))
            .map_err(|error| ServerError::System("a thread", error))?;
        let background = RuntimeThread { stop: Some(stop), thread: Some(thread) };
        let ended = || ServerError::System("a thread", io::Error::other("it ended at once"));
        is_ready.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(background)
    }

    /// Gives up the handle without touching the thread: in a forked child it is the parent's, and even telling it would
    /// reach the parent through shared descriptors.
    pub fn forget(mut self) {
        std::mem::forget((self.stop.take(), self.thread.take()));
    }
}

impl Drop for RuntimeThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Runs the thread. Says over `ready` whether it could begin: the starting thread waits for that.
fn run<B, L>(begin: B, ready: &SyncSender<Result<(), ServerError>>, stopped: oneshot::Receiver<()>)
where
    B: FnOnce() -> Result<L, ServerError>,
    L: FnOnce(),
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(ServerError::System("an epoll instance", error)));
            return;
        }
    };
    // Spawned tasks and not a `LocalSet`: waking one of those writes to the runtime's eventfd, at every tick.
    runtime.block_on(async {
        match begin() {
            Ok(last) => {
                let _ = ready.send(Ok(()));
                // Both a message and a dropped sender mean the end.
                let _ = stopped.await;
                last();
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    #[test]
    fn tasks_run_until_the_handle_is_dropped_and_the_end_is_waited_for() {
        let ends = Arc::new(AtomicU32::new(0));
        let (count, (send, receive)) = (ends.clone(), sync_channel(1));
        let background = RuntimeThread::start("test", move || {
            tokio::spawn(async move { send.send(std::thread::current().name().map(str::to_owned)) });
            Ok(move || {
                count.fetch_add(1, SeqCst);
            })
        });
        assert_eq!(receive.recv().unwrap().as_deref(), Some("test"));
        assert_eq!(ends.load(SeqCst), 0);
        drop(background.unwrap());
        assert_eq!(ends.load(SeqCst), 1);
    }

    #[test]
    fn what_cannot_begin_is_told_and_leaves_no_thread() {
        let refused = RuntimeThread::start("test", || -> Result<fn(), ServerError> {
            Err(ServerError::System("a test", io::Error::other("no")))
        });
        assert!(matches!(refused, Err(ServerError::System("a test", _))));
        let ended = RuntimeThread::start("test", || -> Result<fn(), ServerError> { panic!("on purpose") });
        assert!(matches!(ended, Err(ServerError::System("a thread", _))));
    }
}
