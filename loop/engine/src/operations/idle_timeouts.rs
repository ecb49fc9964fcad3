//! Time-outs of streams on which nothing moves.
//!
//! A server has one for every connection, and every read and write puts it off; so putting off must cost nothing. It
//! is one store: the stream remembers when bytes last moved, on the loop's cached clock. The deadline that was computed
//! from an earlier moment stays in the queue; when it comes, the stream is asked, and where it moved since, its
//! deadline is computed anew. No timer is touched, no clock is read and no system call is made in between.

use crate::callback::Origin;
use crate::clock::MS_NS;
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::handles::idle_timeout::{Deadline, Idle, NEVER};
use crate::key::Key;
use loopscope_probe::{Kind, Phase, TaskTimes};
use std::time::Duration;

impl<S: 'static> Cx<'_, S> {
    /// Runs a callback when nothing was read from the stream and nothing handed to the kernel for it for this long,
    /// from now on; once, and again only after something moved. A duration below a millisecond is one millisecond.
    /// Replaces an earlier one. On a stream that is connecting it is the time-out of the connect.
    ///
    /// Reads and writes put it off at no cost. It is measured on the loop's cached clock ([`Cx::now`]) and does not
    /// keep the loop alive; a stream that reads does.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, StreamEvent};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (client, server) = cx.memory_pair()?;
    ///     cx.on_stream(server, |_, _, _: StreamEvent<'_>| {});
    ///     cx.on_idle(server, Duration::from_secs(30), |cx, key| {
    ///         *cx.state = cx.now().as_secs();
    ///         cx.close(key);
    ///     });
    ///     cx.after(Duration::from_secs(10), move |cx| drop(cx.write(client, b"still here")));
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 40);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn on_idle(
        &mut self,
        key: Key,
        after: Duration,
        run: impl FnMut(&mut Cx<'_, S>, Key) + 'static,
    ) -> bool {
        let origin = Origin::of(&run);
        if self.stream(key).is_none() {
            return false;
        }
        self.clear_idle(key);
        let site = self.core.site(origin, Kind::Timer);
        // One that is over at once, and put off by its own callback, would keep the loop in its timers phase.
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(NEVER).max(MS_NS);
        let now_ns = self.core.clock.now_ns();
        let Some(stream) = self.stream(key) else { return false };
        stream.moved_ns = now_ns;
        stream.idle = Some(Box::new(Idle { after_ns, queued_ns: NEVER, site, run: Some(Box::new(run)) }));
        self.core.queue_idle(key);
        true
    }

    /// Takes back [`Cx::on_idle`]. Returns `false` where there was none.
    pub fn clear_idle(&mut self, key: Key) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        stream.is_told_idle = false;
        let Some(idle) = stream.idle.take() else { return false };
        self.core.forget_idle(&idle);
        true
    }

    /// Puts a stream's time-out off, as bytes that move do: for progress that is not in bytes of this stream. One store.
    /// Returns `false` for a stale key and for what is not a stream.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// # use std::time::Duration;
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let (_client, server) = cx.memory_pair()?;
    ///     cx.on_stream(server, |_, _, _| {});
    ///     cx.on_idle(server, Duration::from_secs(30), |cx, key| {
    ///         *cx.state = cx.now().as_secs();
    ///         cx.close(key);
    ///     });
    ///     // Something else goes on with the request of this stream.
    ///     cx.after(Duration::from_secs(20), move |cx| _ = cx.touch(server));
    ///     std::io::Result::Ok(())
    /// })?;
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 50);
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn touch(&mut self, key: Key) -> bool {
        let now_ns = self.core.clock.now_ns();
        let Some(stream) = self.stream(key) else { return false };
        stream.moved_ns = now_ns;
        if stream.is_told_idle {
            self.core.busy_again(key);
        }
        true
    }

    /// Runs the time-outs that are due, as part of the timers phase.
    #[inline]
    pub(crate) fn run_idle(&mut self) {
        if self.core.idle.is_due(self.core.clock.now_ns()) {
            self.run_due_idle();
        }
    }

    fn run_due_idle(&mut self) {
        let now_ns = self.core.clock.now_ns();
        while self.goes_on()
            && self.core.idle.is_due(now_ns)
            && let Some(deadline) = self.core.idle.heap.pop()
        {
            if self.core.is_idle_until(deadline, now_ns) {
                self.core.continue_phase(Phase::TIMERS);
                self.tell_idle(deadline.key);
            }
        }
    }

    fn tell_idle(&mut self, key: Key) {
        let ready = self.core.stamp();
        let Some(stream) = self.stream(key) else { return };
        stream.is_told_idle = true;
        let Some(idle) = &mut stream.idle else { return };
        let (Some(mut run), site) = (idle.run.take(), idle.site) else { return };
        self.enter(Kind::Timer, site, TaskTimes::ready_at(ready), |cx| run(cx, key));
        match self.stream(key).and_then(|stream| stream.idle.as_mut()) {
            // One that it set meanwhile stays.
            Some(idle) => _ = idle.run.get_or_insert(run),
            None => self.discard(Kind::Timer, site, run),
        }
        self.drain();
    }
}

impl<S: 'static> Core<S> {
    /// Puts a stream's deadline in the queue, counted from when bytes last moved.
    fn queue_idle(&mut self, key: Key) {
        let Some(What::Stream(stream)) = self.slots.get_mut(key).map(|entry| &mut entry.what) else { return };
        let Some(idle) = &mut stream.idle else { return };
        let at_ns = stream.moved_ns.saturating_add(idle.after_ns);
        idle.queued_ns = at_ns;
        if at_ns != NEVER {
            self.idle.heap.push(Deadline { at_ns, key });
        }
    }

    /// Bytes moved on a stream whose time-out had run.
    #[cold]
    pub(crate) fn busy_again(&mut self, key: Key) {
        if let Some(What::Stream(stream)) = self.slots.get_mut(key).map(|entry| &mut entry.what) {
            stream.is_told_idle = false;
        }
        self.queue_idle(key);
    }

    /// Tells whether nothing has moved until this deadline, and queues a later one where something has.
    fn is_idle_until(&mut self, deadline: Deadline, now_ns: u64) -> bool {
        let entry = self.slots.get_mut(deadline.key);
        let Some(What::Stream(stream)) = entry.map(|entry| &mut entry.what) else {
            self.idle.dead = self.idle.dead.saturating_sub(1);
            return false;
        };
        let Some(idle) = stream.idle.as_mut().filter(|idle| idle.queued_ns == deadline.at_ns) else {
            self.idle.dead = self.idle.dead.saturating_sub(1);
            return false;
        };
        idle.queued_ns = NEVER;
        if stream.moved_ns.saturating_add(idle.after_ns) > now_ns {
            self.queue_idle(deadline.key);
            return false;
        }
        true
    }
}
