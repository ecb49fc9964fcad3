//! Commands: what futures ask of the loop, done right after the poll that asked.
//!
//! The queue is shared by the loop and every [`LoopHandle`](crate::LoopHandle) of it. What is asked while a future is
//! polled runs when that poll returns, inside the same microtask and billed to it; what is asked elsewhere, as by
//! dropping a connection in a callback, runs in the drain that follows.

use crate::callback::{Once, State};
use crate::key::Key;
use crate::queues::woken::Woken;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

/// The commands of one loop.
pub(crate) struct Commands<S: State> {
    pub(crate) queue: RefCell<VecDeque<Command<S>>>,
    woken: Arc<Woken>,
    /// `false` once the loop is gone: what is asked then is dropped.
    is_open: Cell<bool>,
    /// A future is being polled, and the queue will be looked at when that ends.
    is_polling: Cell<bool>,
    /// A microtask will look at the queue.
    pub(crate) is_noted: Cell<bool>,
}

pub(crate) struct Command<S: State> {
    pub(crate) at: &'static Location<'static>,
    pub(crate) run: Once<S>,
}

impl<S: State> Commands<S> {
    pub(crate) fn new(woken: Arc<Woken>) -> Rc<Self> {
        let [is_open, is_polling, is_noted] = [true, false, false].map(Cell::new);
        Rc::new(Commands { queue: RefCell::default(), woken, is_open, is_polling, is_noted })
    }

    /// Returns where the loop's futures note that they were woken.
    pub(crate) fn woken(&self) -> Arc<Woken> {
        self.woken.clone()
    }

    pub(crate) fn push(&self, at: &'static Location<'static>, run: Once<S>) {
        if !self.is_open.get() {
            return;
        }
        self.queue.borrow_mut().push_back(Command { at, run });
        if !self.is_polling.get() {
            self.note();
        }
    }

    /// Has a microtask look at the queue.
    fn note(&self) {
        if !self.is_noted.replace(true) {
            self.woken.push(Key::NOBODY);
        }
    }

    /// A poll begins.
    #[inline]
    pub(crate) fn poll_begins(&self) {
        self.is_polling.set(true);
    }

    /// A poll has returned, and what it asked for was done.
    #[inline]
    pub(crate) fn poll_returned(&self) {
        self.is_polling.set(false);
    }

    /// A poll has ended; where it panicked, or its future was dropped, commands may be left.
    #[inline]
    pub(crate) fn poll_ended(&self) {
        self.is_polling.set(false);
        if !self.queue.borrow().is_empty() {
            self.note();
        }
    }

    pub(crate) fn next(&self) -> Option<Command<S>> {
        self.queue.borrow_mut().pop_front()
    }

    /// The loop goes away: what is queued is dropped, and so is what is asked from now on.
    pub(crate) fn close(&self) {
        self.is_open.set(false);
        // Outside the borrow: what a command holds may ask for another when it is dropped.
        let left = self.queue.take();
        drop(left);
    }
}
