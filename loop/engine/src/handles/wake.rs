//! Wake handles: a callback that any thread may ask for, many times, at the cost of one atomic operation.
//!
//! However often a handle is woken before its callback runs, it runs once. So there is nothing to queue and nothing to
//! allocate: what is to be told goes through the program's own channel or atomics. In the poll phase the handles are
//! looked at once, in the order they were made, after the completions of pool jobs and before posted closures; one that
//! is woken by a callback of an earlier one still runs, one woken by its own or a later one waits for the next poll.
//!
//! # Source
//! `uv_async_send` and `uv__async_io` in `src/unix/async.c` of libuv 1.46.

use crate::bell::{Bell, News};
use crate::callback::Many;
use crate::core::What;
use crate::cx::Cx;
use crate::key::Key;
use loopscope_probe::{Kind, Life};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Wakes a loop from any thread. Clone it freely; get one from [`Cx::wake_handle`].
#[derive(Clone, Debug)]
pub struct Wake(Arc<Flag>);

/// What a handle and those who wake it share.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Set by whoever wakes, cleared by the loop right before the callback: acquire and release make what the waker
    /// wrote visible to it. Stays set once the handle is closed.
    is_pending: AtomicBool,
    /// Wakes that found it pending. Relaxed: a count for the probe.
    merged: AtomicU64,
    bell: Arc<Bell>,
}

impl Wake {
    /// Has the callback run in the loop's next poll phase, and wakes the loop if it sleeps. Does nothing where that is
    /// to happen already, and where the handle is closed or the loop gone.
    pub fn wake(&self) {
        let flag = &self.0;
        if flag.is_pending.swap(true, Ordering::AcqRel) {
            flag.merged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        flag.bell.count(News::Woken);
        flag.bell.ring();
    }
}

/// The loop's half of a wake handle.
pub(crate) struct WakeHandle<S: 'static> {
    flag: Arc<Flag>,
    /// Missing while it runs.
    run: Option<Many<S>>,
}

impl<S: 'static> Drop for WakeHandle<S> {
    /// Closed: a wake under way is taken back, and later ones find it pending for ever.
    fn drop(&mut self) {
        if self.flag.is_pending.swap(true, Ordering::AcqRel) {
            self.flag.bell.taken(News::Woken, 1);
        }
    }
}

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
    pub fn wake_handle(&mut self, run: impl FnMut(&mut Cx<'_, S>) + 'static) -> (Key, Wake) {
        self.wake_handle_at(Location::caller(), Box::new(run))
    }

    fn wake_handle_at(&mut self, at: &'static Location<'static>, run: Many<S>) -> (Key, Wake) {
        let core = &mut *self.core;
        let site = core.site(at, Kind::Async);
        let (is_pending, merged) = (AtomicBool::new(false), AtomicU64::new(0));
        let flag = Arc::new(Flag { is_pending, merged, bell: core.bell.clone() });
        let handle = WakeHandle::<S> { flag: flag.clone(), run: Some(run) };
        let key = core.insert(site, What::Wake(Box::new(handle)));
        core.referenced += 1;
        core.wakes.retain(|key| core.slots.get(*key).is_some());
        core.wakes.push(key);
        (key, Wake(flag))
    }

    /// Runs the callbacks of the handles that were woken.
    #[inline]
    pub(crate) fn run_wakes(&mut self) {
        if self.core.bell.has(News::Woken) {
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
        handle.flag.bell.taken(News::Woken, 1);
        let merged = handle.flag.merged.swap(0, Ordering::Relaxed);
        let Some(mut run) = handle.run.take() else { return };
        if let Some(probe) = &mut self.core.probe {
            probe.coalesced(merged);
        }
        self.enter(Kind::Async, site, Life::ready_at(ready), &mut run);
        match self.core.slots.get_mut(key).map(|entry| &mut entry.what) {
            Some(What::Wake(handle)) => handle.run = Some(run),
            _ => self.discard(Kind::Async, site, run),
        }
        self.drain();
    }
}
