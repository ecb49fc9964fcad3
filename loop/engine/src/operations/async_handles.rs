//! Wake handles: a callback that any thread may ask for, many times, at the cost of one atomic operation.
//!
//! However often a handle is woken before its callback runs, it runs once. So there is nothing to queue and nothing to
//! allocate: what is to be told goes through the program's own channel or atomics. In the poll phase the handles are
//! looked at once, in the order they were made, after the completions of pool jobs and before posted closures; one that
//! is woken by a callback of an earlier one still runs, one woken by its own or a later one waits for the next poll.
//!
//! # Source
//! `uv_async_send` and `uv__async_io` in `src/unix/async.c` of libuv 1.46.

use crate::callback::{Many, Origin};
use crate::core::What;
use crate::cx::Cx;
use crate::handles::async_handle::{AsyncHandle, AsyncHandleState, Flag};
use crate::key::Key;
use crate::loop_waker::News;
use loopscope_probe::{Kind, TaskTimes};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

impl<S: 'static> Cx<'_, S> {
    /// Makes a handle whose callback other threads, signal-safe code excepted, can ask for. It keeps the loop alive
    /// until it is closed or unreferenced.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(0).build()?;
    /// let wake = event_loop.main(|cx| {
    ///     let (_, wake) = cx.wake_handle(|cx| {
    ///         *cx.state += 1;
    ///         cx.stop();
    ///     });
    ///     wake
    /// });
    /// std::thread::spawn(move || (0..1000).for_each(|_| wake.wake()));
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(*event_loop.state(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn wake_handle(&mut self, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> (Key, AsyncHandle) {
        self.wake_handle_at(Origin::of(&run), Box::new(run))
    }

    fn wake_handle_at(&mut self, origin: Origin, run: Many<S>) -> (Key, AsyncHandle) {
        let core = &mut *self.core;
        let site = core.site(origin, Kind::Async);
        let (is_pending, merged) = (AtomicBool::new(false), AtomicU64::new(0));
        let flag = Arc::new(Flag { is_pending, merged, waker: core.waker.clone() });
        let handle = AsyncHandleState::<S> { flag: flag.clone(), run: Some(run) };
        let key = core.insert(site, What::Wake(Box::new(handle)));
        core.referenced += 1;
        core.wakes.retain(|key| core.slots.get(*key).is_some());
        core.wakes.push(key);
        (key, AsyncHandle(flag))
    }

    /// Runs the callbacks of the handles that were woken.
    #[inline]
    pub(crate) fn run_wakes(&mut self) {
        if self.core.waker.has(News::Woken) {
            self.run_woken();
        }
    }

    #[inline(never)]
    fn run_woken(&mut self) {
        // Handles that are made meanwhile wait for the next poll.
        let mut wakes = std::mem::take(&mut self.core.wakes);
        for key in &wakes {
            if !self.goes_on() {
                break;
            }
            self.run_wake(*key);
        }
        wakes.append(&mut self.core.wakes);
        self.core.wakes = wakes;
    }

    fn run_wake(&mut self, key: Key) {
        let ready = self.core.stamp();
        let Some(entry) = self.core.slots.get_mut(key) else { return };
        let site = entry.site;
        let What::Wake(handle) = &mut entry.what else { return };
        if !handle.flag.is_pending.swap(false, Ordering::AcqRel) {
            return;
        }
        handle.flag.waker.taken(News::Woken, 1);
        let merged = handle.flag.merged.swap(0, Ordering::Relaxed);
        let Some(mut run) = handle.run.take() else { return };
        if let Some(probe) = &mut self.core.probe {
            probe.coalesced(merged);
        }
        self.enter(Kind::Async, site, TaskTimes::ready_at(ready), &mut run);
        match self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            Some(What::Wake(handle)) => handle.run = Some(run),
            _ => self.discard(Kind::Async, site, run),
        }
        self.drain();
    }
}
