//! Closing: timers and immediates are cleared at once, handles finish in the close phase, last closed first.
//!
//! From the moment of the call the key is stale and the callback never runs again. A handle that is closing keeps the
//! loop alive until the close phase, even where it was unreferenced.
//!
//! # Source
//! `uv_close` and `uv__run_closing_handles` in `src/unix/core.c` of libuv 1.46: a singly linked stack.

use crate::callback::{Once, Origin, Site};
use crate::core::{Entry, What};
use crate::cx::Cx;
use crate::key::Key;
use crate::queues::deferred::Closing;
use loopscope_probe::{Kind, Phase, TaskTimes};
use std::io;
use std::panic::Location;
use std::time::Duration;

impl<S: 'static> Cx<'_, S> {
    /// Closes what is behind the key: a timer or immediate is cleared, a hook or socket never calls back again. What is
    /// queued on a stream is dropped, also where the other side has ended and would still read it. Returns `false` for
    /// a stale key, and for a pool job, which can only be [cancelled](Cx::cancel).
    #[track_caller]
    pub fn close(&mut self, key: Key) -> bool {
        self.close_at(Location::caller().into(), key, None)
    }

    /// Like [`Cx::close`]; the callback runs in the close phase. Returns `false` without keeping it where there is
    /// nothing to close.
    ///
    /// ```
    /// use loopscope_loop::{Hook, Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let hook = cx.on(Hook::Idle, |_| {});
    ///     cx.close_with(hook, |cx| cx.state.push("closed"));
    ///     cx.state.push("closing");
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), ["closing", "closed"]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn close_with(&mut self, key: Key, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> bool {
        self.close_at(Origin::of(&run), key, Some(Box::new(run)))
    }

    /// Closes a TCP stream with a reset: what is queued is dropped, and the other side gets `ConnectionReset`. Node's
    /// `resetAndDestroy`. Returns `false` for what is not a TCP stream.
    #[track_caller]
    pub fn reset(&mut self, key: Key) -> bool {
        // Where the option fails the connection is broken already, and closing does all there is to do.
        let _ = self.set_linger(key, Some(Duration::ZERO));
        self.tcp_socket(key).is_ok() && self.close(key)
    }

    fn close_at(&mut self, origin: Origin, key: Key, run: Option<Once<S>>) -> bool {
        if self.core.immediates.clear(key).is_some() {
            if let Some(probe) = &mut self.core.probe {
                probe.cancelled(Kind::Immediate);
            }
            self.close_cleared(origin, run);
            return true;
        }
        if self.core.timers.clear(key) {
            if let Some(probe) = &mut self.core.probe {
                probe.cancelled(Kind::Timer);
            }
            self.close_cleared(origin, run);
            return true;
        }
        let Some(Entry { what, .. }) = self.core.slots.get(key) else { return false };
        if matches!(what, What::Work(_)) {
            return false;
        }
        let Some(Entry { site, is_ref, mut what }) = self.core.remove(key) else { return false };
        self.core.forget(&what, is_ref);
        let close_site = self.core.site(origin, Kind::Close);
        self.push_closing(Kind::Close, close_site, run);
        self.core.deregister(&mut what);
        if let What::Stream(mut stream) = what
            && let Some(connect) = stream.take_connect()
        {
            // Above the close callback on the stack, so before it.
            let failure = || io::Error::new(io::ErrorKind::ConnectionAborted, "closed while connecting");
            self.push_closing(Kind::Connect, site, Some(Box::new(move |cx| connect(cx, Err(failure())))));
        }
        true
    }

    /// What was cleared at once goes through the close phase only for its callback.
    fn close_cleared(&mut self, origin: Origin, run: Option<Once<S>>) {
        if run.is_some() {
            let site = self.core.site(origin, Kind::Close);
            self.push_closing(Kind::Close, site, run);
        }
    }

    fn push_closing(&mut self, kind: Kind, site: Site, run: Option<Once<S>>) {
        let ready = self.core.stamp();
        self.core.closing.push(Closing { kind, site, ready, run });
    }

    #[inline]
    pub(crate) fn run_closing(&mut self) {
        if !self.core.closing.is_empty() {
            self.run_close_callbacks();
        }
    }

    #[inline(never)]
    fn run_close_callbacks(&mut self) {
        self.core.enter_phase(Phase::CLOSE);
        let mut stack = std::mem::take(&mut self.core.closing);
        while self.goes_on()
            && let Some(Closing { kind, site, ready, run }) = stack.pop()
        {
            if let Some(run) = run {
                self.enter(kind, site, TaskTimes::ready_at(ready), run);
                self.drain();
            }
        }
        if !stack.is_empty() {
            // A panic stopped the phase: what is left runs next time, before what was closed meanwhile.
            std::mem::swap(&mut stack, &mut self.core.closing);
            stack.append(&mut self.core.closing);
            self.core.closing = stack;
        }
    }
}
