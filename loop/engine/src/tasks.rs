//! Running local futures, and what they ask of the loop.
//!
//! Each poll is one microtask. What a future asks for while it is polled is done when that poll returns, inside the same
//! microtask; what is asked elsewhere is done by a microtask of its own.

use crate::callback::Origin;
use crate::cx::Cx;
use crate::key::Key;
use crate::queues::commands::Command;
use crate::queues::tasks::{Begun, Task, TaskSlot, begin};
use loopscope_probe::{HandleType, Kind, TaskTimes};
use std::future::Future;
use std::sync::Arc;
use std::task::Context;

impl<S: 'static> Cx<'_, S> {
    /// Starts a future on this loop. Its first poll is queued as a microtask, like every later one.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::new()?;
    /// let task = event_loop.main(|cx| {
    ///     let six = cx.spawn_local(async { 6 });
    ///     cx.spawn_local(async { six.await.map(|six| six * 7) })
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert!(task.is_done());
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_local<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let mailbox = Arc::downgrade(&self.core.mailbox);
        let (task, begun) = begin(self.core.queues.woken.clone(), mailbox, Origin::of(&future), future);
        self.start_task(begun);
        task
    }

    pub(crate) fn start_task(&mut self, begun: Begun<S>) {
        let Begun { future, signal, waker, shared } = begun;
        let site = self.core.site(signal.origin, Kind::Microtask);
        let waiting = Some((future, waker.clone()));
        let slot = TaskSlot { waiting, signal: signal.clone(), shared, site };
        let key = self.core.queues.tasks.insert(slot);
        signal.set_key(key);
        if let Some(probe) = &mut self.core.probe {
            probe.handles(HandleType::Task, 1);
        }
        waker.wake_by_ref();
    }

    pub(crate) fn poll_task(&mut self, key: Key) {
        let Some(slot) = self.core.queues.tasks.get_mut(key) else { return self.run_noted_commands() };
        slot.signal.poll_begins();
        let (Some((mut future, waker)), site) = (slot.waiting.take(), slot.site) else { return };
        let is_cancelled = slot.shared.is_cancelled.get();
        self.core.queues.commands.poll_begins();
        let outcome = self.enter(Kind::Microtask, site, TaskTimes::UNKNOWN, |cx| {
            let is_pending =
                !is_cancelled && future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
            let left = is_pending.then_some((future, waker));
            cx.run_commands();
            left
        });
        match (outcome.flatten(), self.core.queues.tasks.get_mut(key)) {
            (Some(waiting), Some(slot)) => {
                slot.waiting = Some(waiting);
                self.core.queues.commands.poll_returned();
            }
            _ => {
                self.core.queues.commands.poll_ended();
                self.end_task(key);
            }
        }
    }

    fn end_task(&mut self, key: Key) {
        if let Some(slot) = self.core.queues.tasks.remove(key) {
            slot.shared.is_done.set(true);
            if let Some(waiter) = slot.shared.waiter.take() {
                waiter.wake();
            }
            if let Some(probe) = &mut self.core.probe {
                probe.handles(HandleType::Task, -1);
            }
        }
    }

    /// Does what the present poll asked for.
    #[inline]
    pub(crate) fn run_commands(&mut self) {
        while let Some(command) = self.core.queues.commands.next() {
            (command.run)(self);
        }
    }

    /// Does what was asked for outside polls; each as a callback of its own, because it may panic.
    pub(crate) fn run_noted_commands(&mut self) {
        self.core.queues.commands.is_noted.set(false);
        while self.goes_on()
            && let Some(Command { at, run }) = self.core.queues.commands.next()
        {
            let site = self.core.site(at, Kind::Microtask);
            self.enter(Kind::Microtask, site, TaskTimes::UNKNOWN, run);
        }
        self.core.queues.commands.poll_ended();
    }
}
