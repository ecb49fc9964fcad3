//! Promises: results that the loop will deliver.

use crate::cx::Cx;
use crate::futures::loop_handle::LoopHandle;
use crate::key::Key;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A result that the loop will deliver. As in JavaScript it stands for something that has begun already, whether it is
/// awaited or not, and two that were made before the first is awaited go on side by side. Unlike there, dropping one
/// takes back what it stands for, where that can still be done; each method that returns one says how.
///
/// It is resolved by the loop that made it, on the loop's thread, at most once; never where that loop is dropped.
#[must_use = "dropping a promise cancels its operation"]
pub struct Promise<T: 'static, S: 'static = ()> {
    here: LoopHandle<S>,
    promised: Rc<Promised<T>>,
    at: &'static Location<'static>,
    undo: Undo,
}

/// What dropping a promise does to what it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Undo {
    /// It cannot be taken back.
    Nothing,
    /// Closes the key.
    Close,
    /// Cancels the pool job.
    Cancel,
}

/// What a promise shares with the callback that resolves it.
pub(crate) struct Promised<T> {
    value: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    /// What will resolve it.
    key: Cell<Option<Key>>,
    is_resolved: Cell<bool>,
    is_dropped: Cell<bool>,
}

impl<T> Promised<T> {
    pub(crate) fn new() -> Rc<Self> {
        let [is_resolved, is_dropped] = [false, false].map(Cell::new);
        let (value, waker, key) = (Cell::new(None), Cell::new(None), Cell::new(None));
        Rc::new(Promised { value, waker, key, is_resolved, is_dropped })
    }

    /// Delivers the result and wakes whoever awaits it. Where nobody does any more the result is dropped.
    pub(crate) fn resolve(&self, value: T) {
        if self.is_dropped.get() || self.is_resolved.replace(true) {
            return;
        }
        self.value.set(Some(value));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<T: 'static, S: 'static> Promise<T, S> {
    /// Makes a promise; `begin` runs right after the present poll, unless the promise was dropped by then, and returns
    /// what will resolve it.
    pub(crate) fn begin(
        here: &LoopHandle<S>,
        at: &'static Location<'static>,
        undo: Undo,
        begin: impl FnOnce(&mut Cx<'_, S>, Rc<Promised<T>>) -> Option<Key> + 'static,
    ) -> Self {
        let promised = Promised::new();
        let own = promised.clone();
        here.command(at, move |cx| {
            let is_wanted = !own.is_dropped.get() || matches!(undo, Undo::Nothing);
            if is_wanted {
                let key = begin(cx, own.clone());
                own.key.set(key);
            }
        });
        Promise { here: here.clone(), promised, at, undo }
    }

    /// Tells whether the result is there: awaiting it will not wait.
    pub fn is_resolved(&self) -> bool {
        self.promised.is_resolved.get()
    }
}

// Nothing in it is pinned: the result moves out of a cell.
impl<T: 'static, S: 'static> Unpin for Promise<T, S> {}

impl<T: 'static, S: 'static> Future for Promise<T, S> {
    type Output = T;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        if let Some(value) = self.promised.value.take() {
            return Poll::Ready(value);
        }
        assert!(!self.promised.is_resolved.get(), "a promise was polled again after it was ready");
        self.promised.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl<T: 'static, S: 'static> Drop for Promise<T, S> {
    fn drop(&mut self) {
        self.promised.is_dropped.set(true);
        drop(self.promised.value.take());
        if self.promised.is_resolved.get() {
            return;
        }
        // Without a key it has not begun, and will not.
        let Some(key) = self.promised.key.take() else { return };
        match self.undo {
            Undo::Nothing => {}
            Undo::Close => self.here.command(self.at, move |cx| {
                cx.close(key);
            }),
            Undo::Cancel => self.here.command(self.at, move |cx| {
                cx.cancel(key);
            }),
        }
    }
}

impl<T: 'static, S: 'static> fmt::Debug for Promise<T, S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_resolved = self.is_resolved();
        out.debug_struct("Promise").field("is_resolved", &is_resolved).field("at", &self.at).finish()
    }
}
