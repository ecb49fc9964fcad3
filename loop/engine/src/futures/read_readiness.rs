//! Who waits for the next thing from a key, and whether the loop looks for it.
//!
//! A stream reads, and a listener accepts, only while somebody awaits that: otherwise bytes and connections wait in the
//! kernel, which slows the other side down. The gate is open while somebody waits; what comes in shuts it, and whoever
//! goes on waiting opens it again.

use crate::futures::loop_handle::LoopHandle;
use crate::key::Key;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Waker};

/// A gate of one key.
#[derive(Debug, Default)]
pub(crate) struct ReadReadiness {
    /// The loop was asked to look, and nothing came yet.
    is_open: Cell<bool>,
    /// Futures that have not got what they wait for.
    waiting: Cell<usize>,
    /// Somebody waits who asks by polling, and cannot be seen to give up: the gate is open until something comes.
    pub(crate) is_polled: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
    /// The key was closed, or given to somebody else: nothing will come.
    pub(crate) is_gone: Cell<bool>,
}

impl ReadReadiness {
    /// Has this future woken by what comes next.
    pub(crate) fn note(&self, context: &Context<'_>) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
    }

    /// Opens the gate; `true` where it was shut.
    pub(crate) fn open(&self) -> bool {
        !self.is_open.replace(true)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Something came: shuts the gate and wakes everybody.
    pub(crate) fn arrived(&self) {
        self.is_open.set(false);
        self.is_polled.set(false);
        // Outside the borrow: a waker runs foreign code.
        let wakers = self.wakers.take();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing will come any more.
    pub(crate) fn gone(&self) {
        self.is_gone.set(true);
        self.arrived();
    }
}

/// One future that waits at a gate; its drop shuts the gate behind the last.
pub(crate) struct WaitingReader<'g, S: 'static> {
    gate: &'g Rc<ReadReadiness>,
    here: &'g LoopHandle<S>,
    key: Key,
    at: &'static Location<'static>,
}

impl<'g, S: 'static> WaitingReader<'g, S> {
    pub(crate) fn new(
        gate: &'g Rc<ReadReadiness>,
        here: &'g LoopHandle<S>,
        key: Key,
        at: &'static Location<'static>,
    ) -> Self {
        gate.waiting.set(gate.waiting.get() + 1);
        WaitingReader { gate, here, key, at }
    }
}

impl<S: 'static> Drop for WaitingReader<'_, S> {
    fn drop(&mut self) {
        let gate = self.gate;
        gate.waiting.set(gate.waiting.get() - 1);
        if gate.waiting.get() == 0 && !gate.is_polled.get() && gate.is_open.replace(false) {
            let (gate, key) = (gate.clone(), self.key);
            self.here.command(self.at, move |cx| {
                if !gate.is_open() && !gate.is_gone.get() {
                    cx.pause(key);
                }
            });
        }
    }
}
