//! The loop as its owner sees it: build it, give it a main script, run it.

use crate::callback::{Halt, Origin, Site};
use crate::core::Core;
use crate::cx::Cx;
use crate::operations::remote_handle::RemoteHandle;
use crate::phases::run::Mode;
use crate::queues::woken::Woken;
use crate::simulate;
use loopscope_probe::{Kind, Page, Phase, TaskTimes};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// An event loop with a state of the user's own. It stays on the thread that built it.
///
/// ```
/// use loopscope_loop::{Loop, Mode};
///
/// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
/// event_loop.main(|cx| {
///     cx.immediate(|cx| cx.state.push("immediate"));
///     cx.microtask(|cx| cx.state.push("microtask"));
///     cx.next_tick(|cx| cx.state.push("tick"));
///     cx.state.push("main");
/// });
/// event_loop.run(Mode::Default)?;
/// assert_eq!(event_loop.into_state(), ["main", "tick", "microtask", "immediate"]);
/// # std::io::Result::Ok(())
/// ```
pub struct Loop<S: 'static = ()> {
    state: S,
    core: Teardown<S>,
    /// The last to go: what the others drop may wake futures.
    _wakes: Wakes,
}

/// Closes the mailbox when the loop goes, so that those who post learn of it.
struct Teardown<S: 'static>(Box<Core<S>>);

impl<S: 'static> Drop for Teardown<S> {
    fn drop(&mut self) {
        self.0.mailbox.close();
        self.0.queues.commands.close();
    }
}

/// Ends the noting of wakes.
struct Wakes(Arc<Woken>);

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<S: 'static> Loop<S> {
    pub(crate) fn assemble(state: S, core: Core<S>) -> Self {
        let wakes = Wakes(core.queues.woken.clone());
        Loop { state, core: Teardown(Box::new(core)), _wakes: wakes }
    }

    fn cx(&mut self) -> Cx<'_, S> {
        Cx { state: &mut self.state, core: &mut self.core.0 }
    }

    /// Runs `f` as the main script: right now, then the ticks and microtasks it queued.
    ///
    /// # Panics
    /// Where `f` panics, whatever the policy: there is no result to return. Where a drained job panics, under
    /// [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate).
    #[track_caller]
    pub fn main<R>(&mut self, f: impl FnOnce(&mut Cx<'_, S>) -> R) -> R {
        let origin = Origin::of(&f);
        let result = self.session(|cx| {
            cx.core.enter_phase(Phase::MAIN);
            let site = cx.core.site(origin, Kind::Other);
            let result = cx.enter_main(site, f);
            cx.drain();
            result
        });
        if let Some(Halt::Propagate(payload)) = self.take_propagated() {
            resume_unwind(payload);
        }
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Runs the loop. Returns whether something still keeps it alive: after [`Mode::Default`] only where it was
    /// stopped.
    ///
    /// # Errors
    /// - what the operating system says when a wait fails;
    /// - [`CallbackPanicked`](crate::CallbackPanicked) under [`PanicPolicy::Stop`](crate::PanicPolicy::Stop);
    /// - [`WaitsForever`](crate::WaitsForever) in virtual time.
    ///
    /// # Panics
    /// Where a callback panicked, under [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate).
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.every(Duration::from_secs(1), |cx| {
    ///         *cx.state += 1;
    ///         if *cx.state == 3 {
    ///             cx.stop();
    ///         }
    ///     });
    /// });
    /// assert!(event_loop.run(Mode::Default)?);
    /// # assert_eq!(*event_loop.state(), 3);
    /// // It was stopped; the interval still keeps it alive.
    /// assert!(event_loop.run(Mode::Once)?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn run(&mut self, mode: Mode) -> io::Result<bool> {
        if self.core.0.halt.is_some() {
            return self.halted();
        }
        let outcome = self.session(|cx| cx.run(mode));
        if self.core.0.halt.is_some() {
            self.core.0.is_stopping = false;
            return self.halted();
        }
        outcome
    }

    /// Turns what stopped the loop into what its caller gets.
    fn halted(&mut self) -> io::Result<bool> {
        match self.core.0.halt.take() {
            Some(Halt::Stop(panicked)) => Err(io::Error::other(panicked)),
            Some(Halt::Propagate(payload)) => resume_unwind(payload),
            None => Ok(self.core.0.is_alive()),
        }
    }

    fn take_propagated(&mut self) -> Option<Halt> {
        self.core.0.halt.take_if(|halt| matches!(halt, Halt::Propagate(_)))
    }

    /// Runs something on the loop, as a busy period of its probe.
    fn session<R>(&mut self, f: impl FnOnce(&mut Cx<'_, S>) -> R) -> R {
        let core = &mut self.core.0;
        let _world = core.world.as_ref().map(simulate::World::install);
        let _spans = core.probe.as_ref().map(|probe| probe.install_spans());
        core.waker.wake_up();
        if let Some(probe) = &mut core.probe {
            probe.resume();
        }
        let result = f(&mut self.cx());
        let core = &mut self.core.0;
        core.phase = Phase::MAIN;
        core.publish_immediates();
        core.publish_timers();
        if let Some(probe) = &mut core.probe {
            probe.suspend();
        }
        if !core.waker.fall_asleep() {
            // Whoever waits on the loop's descriptor outside must see what came while the loop was awake.
            core.waker.wake();
        }
        result
    }

    /// Returns a handle for posting to this loop from other threads.
    pub fn post_handle(&self) -> RemoteHandle<S> {
        RemoteHandle::new(self.core.0.mailbox.clone())
    }

    /// Returns the state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Returns the state.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Ends the loop and returns the state. What was queued is dropped unrun.
    pub fn into_state(self) -> S {
        self.state
    }

    /// Returns how long a poll may wait now; `None` is without end. For programs that wait on the loop's descriptor
    /// themselves and then [run](Loop::run) it in [`Mode::NoWait`]. Zero, too, where nothing keeps the loop alive.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).build()?;
    /// event_loop.main(|cx| cx.after(Duration::from_millis(2), |cx| *cx.state = 7));
    /// while event_loop.run(Mode::NoWait)? {
    ///     // Another loop waits here, for its own events and the loop's descriptor, and at most so long.
    ///     std::thread::sleep(event_loop.backend_timeout().unwrap_or_default());
    /// }
    /// assert_eq!(event_loop.into_state(), 7);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn backend_timeout(&self) -> Option<Duration> {
        let core = &self.core.0;
        match core.waker.has_any() || core.queues.woken.len() > 0 {
            true => Some(Duration::ZERO),
            false => core.backend_timeout(core.clock.peek_ns()),
        }
    }

    /// Returns the loop's page, where the probe is on: what an agent reads, for tests and programs of their own.
    pub fn page(&self) -> Option<&Page> {
        self.core.0.probe.as_ref().map(|probe| probe.page())
    }

    /// Returns the clock that stamps the page, where the probe is on.
    pub fn page_clock(&self) -> Option<&loopscope_probe::Clock> {
        self.core.0.probe.as_ref().map(|probe| probe.clock())
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Runs the main script: a panic is counted and handed to the caller.
    fn enter_main<R>(&mut self, site: Site, f: impl FnOnce(&mut Cx<'_, S>) -> R) -> std::thread::Result<R> {
        let mut payload = None;
        let result = self.enter(Kind::Other, site, TaskTimes::UNKNOWN, |cx| {
            catch_unwind(AssertUnwindSafe(|| f(cx))).map_err(|caught| payload = Some(caught)).ok()
        });
        match (result.flatten(), payload) {
            (Some(result), _) => Ok(result),
            (None, payload) => Err(payload.unwrap_or_else(|| Box::new("the main script panicked"))),
        }
    }
}

#[cfg(unix)]
impl<S: 'static> std::os::fd::AsRawFd for Loop<S> {
    /// Returns the poller's descriptor: readable when [`run`](Loop::run) has something to do. Borrowed: it is closed
    /// with the loop. (mio lends its descriptor only in this raw form.)
    ///
    /// # Panics
    /// In virtual time, where there is none.
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.core.0.poller.descriptor().expect("a loop in virtual time has no descriptor")
    }
}

impl<S: fmt::Debug> fmt::Debug for Loop<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.core.0;
        out.debug_struct("Loop")
            .field("state", &self.state)
            .field("phase", &core.phase)
            .field("iteration", &core.iteration)
            .finish_non_exhaustive()
    }
}
