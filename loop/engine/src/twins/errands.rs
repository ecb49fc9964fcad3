//! Errands: what futures ask of the loop, done right after the poll that asked.
//!
//! The queue is shared by the loop and every [`Local`](crate::Local) of it. What is asked while a future is polled runs
//! when that poll returns, inside the same microtask and billed to it; what is asked elsewhere, as by dropping a
//! connection in a callback, runs in the drain that follows.

use crate::callback::{Once, Site};
use crate::cx::Cx;
use crate::key::Key;
use crate::task;
use loopscope_probe::{Kind, Life};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;

/// The errands of one loop.
pub(crate) struct Errands<S: 'static> {
    queue: RefCell<VecDeque<Errand<S>>>,
    loop_id: u64,
    /// `false` once the loop is gone: what is asked then is dropped.
    is_open: Cell<bool>,
    /// A future is being polled, and the queue will be looked at when that ends.
    is_polling: Cell<bool>,
    /// A microtask will look at the queue.
    is_noted: Cell<bool>,
}

struct Errand<S: 'static> {
    at: &'static Location<'static>,
    run: Once<S>,
}

impl<S: 'static> Errands<S> {
    pub(crate) fn new(loop_id: u64) -> Rc<Self> {
        let [is_open, is_polling, is_noted] = [true, false, false].map(Cell::new);
        Rc::new(Errands { queue: RefCell::default(), loop_id, is_open, is_polling, is_noted })
    }

    pub(crate) fn loop_id(&self) -> u64 {
        self.loop_id
    }

    pub(crate) fn push(&self, at: &'static Location<'static>, run: Once<S>) {
        if !self.is_open.get() {
            return;
        }
        self.queue.borrow_mut().push_back(Errand { at, run });
        if !self.is_polling.get() {
            self.note();
        }
    }

    /// Has a microtask look at the queue.
    fn note(&self) {
        if !self.is_noted.replace(true) {
            task::note_woken(self.loop_id, Key::NOBODY);
        }
    }

    /// A poll begins.
    #[inline]
    pub(crate) fn poll_begins(&self) {
        self.is_polling.set(true);
    }

    /// A poll has ended; where it panicked, errands may be left.
    #[inline]
    pub(crate) fn poll_ended(&self) {
        self.is_polling.set(false);
        if !self.queue.borrow().is_empty() {
            self.note();
        }
    }

    fn next(&self) -> Option<Errand<S>> {
        self.queue.borrow_mut().pop_front()
    }

    /// The loop goes away: what is queued is dropped, and so is what is asked from now on.
    pub(crate) fn close(&self) {
        self.is_open.set(false);
        // Outside the borrow: what an errand holds may ask for another when it is dropped.
        let left = self.queue.take();
        drop(left);
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Does what the present poll asked for.
    #[inline]
    pub(crate) fn run_errands(&mut self) {
        while let Some(errand) = self.core.queues.errands.next() {
            (errand.run)(self);
        }
    }

    /// Does what was asked for outside polls; each as a callback of its own, because it may panic.
    pub(crate) fn run_noted_errands(&mut self) {
        self.core.queues.errands.is_noted.set(false);
        while self.goes_on()
            && let Some(Errand { at, run }) = self.core.queues.errands.next()
        {
            let site: Site = self.core.site(at, Kind::Microtask);
            self.enter(Kind::Microtask, site, Life::UNKNOWN, run);
        }
        self.core.queues.errands.poll_ended();
    }
}
