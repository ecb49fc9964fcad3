//! The demo's loops on threads of their own: starting them, and ending them in order.

use super::load::{self, Load, Outcome};
use super::routes::route;
use super::service::{self, Service};
use super::trouble;
use crate::args::Trouble;
use crate::error::Failure;
use loopscope_loop::{Loop, Mode, RemoteHandle};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

const SERVICE_PORT: u16 = 8080;

/// How many ports are tried where the first one is not the user's own choice.
const PORTS_TRIED: u16 = 64;

/// A loop that runs on a thread of its own; `R` is what it leaves behind. Stopped when dropped: a process that ends without
/// waiting for a loop leaves its page, so no early return of the command may do that.
pub struct LoopThread<S: 'static, R> {
    post: RemoteHandle<S>,
    /// Missing once it was waited for.
    thread: Option<JoinHandle<io::Result<R>>>,
}

/// The service's loop.
pub struct RunningService {
    pub address: SocketAddr,
    served: Arc<AtomicU64>,
    thread: LoopThread<Service, ()>,
}

/// The load's loop.
pub type RunningLoad = LoopThread<Load, Outcome>;

impl<S: 'static, R> LoopThread<S, R> {
    /// Stops the loop after its present callback, and waits for it.
    ///
    /// # Errors
    /// The loop failed.
    pub fn finish(mut self) -> Result<R, Failure> {
        match self.stop() {
            Some(Ok(result)) => result.map_err(|error| Failure::system("run the demo's loop", error)),
            _ => Err(Failure::system("run the demo's loop", "its thread panicked")),
        }
    }

    fn stop(&mut self) -> Option<std::thread::Result<io::Result<R>>> {
        let thread = self.thread.take()?;
        // A loop that is gone has been finished by its own end.
        let _ = self.post.post(|cx| cx.stop());
        Some(thread.join())
    }
}

impl<S: 'static, R> Drop for LoopThread<S, R> {
    fn drop(&mut self) {
        // The command fails for another reason already, or has the result.
        drop(self.stop());
    }
}

impl RunningService {
    /// Returns how many requests were answered so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Tells whether the loop has ended, which it should not do by itself.
    pub fn has_ended(&self) -> bool {
        self.thread.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops it.
    ///
    /// # Errors
    /// Its loop failed.
    pub fn finish(self) -> Result<(), Failure> {
        self.thread.finish()
    }
}

/// Starts the service, and returns when it listens.
///
/// # Errors
/// It cannot listen on `asked`, or on any of the ports tried where nothing was asked for.
pub fn start_service(asked: Option<SocketAddr>, trouble: Trouble) -> Result<RunningService, Failure> {
    let served = Arc::new(AtomicU64::new(0));
    let address = asked.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, SERVICE_PORT)));
    let ports = if asked.is_some() { 1 } else { PORTS_TRIED };
    let state = Service::new(served.clone(), route);
    let (started, starts) = channel();
    let run = move || {
        let mut service = Loop::builder(state).name(service::LOOP_NAME).build()?;
        let listening = service.main(|cx| {
            let address = service::listen(cx, address, ports)?;
            trouble::arm(cx, trouble);
            Ok(address)
        });
        let is_listening = listening.is_ok();
        report(&started, listening.map(|address| (address, service.post_handle())));
        if is_listening {
            service.run(Mode::Default)?;
        }
        Ok(())
    };
    let thread = spawn(service::LOOP_NAME, run)?;
    match starts.recv() {
        Ok(Ok((address, post))) => {
            Ok(RunningService { address, served, thread: LoopThread { post, thread: Some(thread) } })
        }
        Ok(Err(error)) => {
            // Its loop is gone when its thread is.
            let _ = thread.join();
            Err(Failure::Listen { address, error })
        }
        Err(_) => Err(why_not(thread)),
    }
}

/// Starts to send `rate` requests a second to `address`.
///
/// # Errors
/// The machine has no room for a thread or a loop.
pub fn start_load(address: SocketAddr, rate: u32) -> Result<RunningLoad, Failure> {
    let (started, starts) = channel();
    let run = move || {
        let state = Load::new(address, rate);
        let mut load = Loop::builder(state).name(load::LOOP_NAME).pool_threads(1).build()?;
        load.main(load::start);
        report(&started, Ok(load.post_handle()));
        load.run(Mode::Default)?;
        Ok(load.state().result)
    };
    let thread = spawn(load::LOOP_NAME, run)?;
    match starts.recv() {
        Ok(Ok(post)) => Ok(LoopThread { post, thread: Some(thread) }),
        Ok(Err(error)) => {
            let _ = thread.join();
            Err(Failure::system("start the demo's load", error))
        }
        Err(_) => Err(why_not(thread)),
    }
}

fn spawn<R: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> io::Result<R> + Send + 'static,
) -> Result<JoinHandle<io::Result<R>>, Failure> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    spawned.map_err(|error| Failure::system("start a thread", error))
}

fn report<T>(to: &Sender<io::Result<T>>, result: io::Result<T>) {
    // The receiver waits for exactly this message.
    let _ = to.send(result);
}

/// Says why a thread ended before it reported.
fn why_not<R>(thread: JoinHandle<io::Result<R>>) -> Failure {
    match thread.join() {
        Ok(Err(error)) => Failure::system("make an event loop", error),
        _ => Failure::system("make an event loop", "its thread ended at once"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::registry;
    use std::net::TcpListener;

    fn is_there(name: &str) -> bool {
        registry::pages().iter().any(|page| page.page().loop_name() == name)
    }

    #[test]
    fn no_loop_is_left_when_a_start_has_failed_or_a_command_returns_early() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..24 {
            assert!(start_service(Some(taken.local_addr().unwrap()), Trouble::None).is_err());
            assert!(!is_there(service::LOOP_NAME), "its thread still has it");
        }
        let any = "127.0.0.1:0".parse().unwrap();
        let running = start_service(Some(any), Trouble::None).unwrap();
        let load = start_load(running.address, 1).unwrap();
        assert!(is_there(service::LOOP_NAME) && is_there(load::LOOP_NAME));
        drop((load, running));
        assert!(!is_there(service::LOOP_NAME) && !is_there(load::LOOP_NAME));
    }
}
