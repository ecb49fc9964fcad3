//! Local futures: spawned on the loop, polled as microtasks, woken from anywhere.
//!
//! A future need not be `Send`. A wake on the loop's own thread notes the future's key in the loop's list of
//! [`woken`](super::woken) futures, which are microtasks in that order; a wake from another thread travels through
//! the post queue. Between two wakes a future costs nothing, and it does not keep the loop alive: what it waits for
//! does.

use crate::callback::{Origin, Site, State};
use crate::key::Key;
use crate::queues::inbox::PostInbox;
use crate::queues::woken::Woken;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// A future's place in the loop.
pub(crate) struct TaskSlot<S: State> {
    /// Missing while it is polled.
    pub(crate) waiting: Option<(TaskFuture, Waker)>,
    pub(crate) signal: Arc<Signal<S>>,
    pub(crate) shared: Rc<TaskShared<dyn Any>>,
    pub(crate) site: Site,
}

pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What a future's handle and its slot share.
pub(crate) struct TaskShared<V: ?Sized> {
    pub(crate) is_cancelled: Cell<bool>,
    pub(crate) is_done: Cell<bool>,
    /// Who awaits the task.
    pub(crate) waiter: Cell<Option<Waker>>,
    /// What the future returned, until somebody takes it.
    value: V,
}

/// A spawned future, and a future itself: it waits until that one is done, and gives what it returned; `None` where it
/// was cancelled or panicked. Dropping this detaches it: the future goes on, unless [`Task::cancel_on_drop`] was asked
/// for.
pub struct Task<T: 'static = ()> {
    shared: Rc<TaskShared<Cell<Option<T>>>>,
    waker: Waker,
    cancels_on_drop: bool,
}

impl<T: 'static> Task<T> {
    /// Drops the future, at the next drain of the microtask queue. A future that is done stays done.
    ///
    /// ```
    /// # use loopscope_loop::{Loop, Mode};
    /// # use std::time::Duration;
    /// let mut event_loop = Loop::builder(()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let task = cx.spawn_async(|here| async move { here.sleep(Duration::from_secs(60)).await });
    ///     cx.after(Duration::from_secs(1), |_| task.cancel());
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert!(event_loop.main(|cx| cx.now()) < Duration::from_secs(2));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cancel(self) {
        self.cancel_now();
    }

    fn cancel_now(&self) {
        self.shared.is_cancelled.set(true);
        self.waker.wake_by_ref();
    }

    /// Has the future cancelled where this is dropped before it is done: it then lives no longer than its owner.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     let task = cx.spawn_async(|here| async move { here.sleep(Duration::from_secs(60)).await });
    ///     let task = task.cancel_on_drop();
    ///     cx.after(Duration::from_secs(1), |_| drop(task));
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert!(event_loop.main(|cx| cx.now()) < Duration::from_secs(2));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels_on_drop = true;
        self
    }

    /// Tells whether the future has returned, panicked or been cancelled.
    pub fn is_done(&self) -> bool {
        self.shared.is_done.get()
    }
}

impl<T: 'static> Future for Task<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.is_done() {
            return Poll::Ready(self.shared.value.take());
        }
        self.shared.waiter.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl<T: 'static> Drop for Task<T> {
    fn drop(&mut self) {
        if self.cancels_on_drop && !self.is_done() {
            self.cancel_now();
        }
    }
}

impl<T: 'static> fmt::Debug for Task<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Task").field("is_done", &self.is_done()).finish_non_exhaustive()
    }
}

/// Wakes one future.
pub(crate) struct Signal<S: State> {
    woken: Arc<Woken>,
    /// The packed key, 0 before its slot was made. Of the loop's thread alone, so relaxed.
    key: AtomicU64,
    /// Whether a poll is queued already. Of the loop's thread alone, so relaxed: a local wake costs no locked
    /// instruction.
    is_queued: AtomicBool,
    /// Whether a wake of another thread is on its way. Set by whoever wakes, cleared on the loop before the poll is
    /// queued: acquire and release make what the waker wrote visible to that poll.
    is_posted: AtomicBool,
    mailbox: Weak<PostInbox<S>>,
    pub(crate) origin: Origin,
}

impl<S: State> Wake for Signal<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.is_here() {
            self.queue_poll();
        } else if !self.is_posted.swap(true, Ordering::AcqRel)
            && let Some(mailbox) = self.mailbox.upgrade()
        {
            let signal = self.clone();
            // Where the loop is gone there is nothing to wake.
            let _ = mailbox.post(self.origin, Box::new(move |_| signal.arrived()));
        }
    }
}

impl<S: State> Signal<S> {
    /// Queues a poll, unless one is queued. On the loop's thread.
    fn queue_poll(&self) {
        let key = self.key.load(Ordering::Relaxed);
        if key != 0 && !self.is_queued.load(Ordering::Relaxed) {
            self.is_queued.store(true, Ordering::Relaxed);
            self.woken.push(Key::of_packed(key));
        }
    }

    /// Its future has a slot now. On the loop's thread.
    pub(crate) fn set_key(&self, key: Key) {
        self.key.store(key.packed(), Ordering::Relaxed);
    }

    /// The queued poll begins: a wake from now on queues another. On the loop's thread.
    #[inline]
    pub(crate) fn poll_begins(&self) {
        self.is_queued.store(false, Ordering::Relaxed);
    }

    /// A wake of another thread has come to the loop.
    fn arrived(&self) {
        self.is_posted.swap(false, Ordering::AcqRel);
        self.queue_poll();
    }
}

/// A future that is on its way to its slot.
pub(crate) struct Begun<S: State> {
    pub(crate) future: TaskFuture,
    pub(crate) signal: Arc<Signal<S>>,
    pub(crate) waker: Waker,
    pub(crate) shared: Rc<TaskShared<dyn Any>>,
}

/// Makes a future into a task, which starts with [`Cx::start_task`](crate::Cx::start_task).
pub(crate) fn begin<S: State, T: 'static>(
    woken: Arc<Woken>,
    mailbox: Weak<PostInbox<S>>,
    origin: Origin,
    future: impl Future<Output = T> + 'static,
) -> (Task<T>, Begun<S>) {
    let [is_queued, is_posted] = [false, false].map(AtomicBool::new);
    let signal = Arc::new(Signal { woken, key: AtomicU64::new(0), is_queued, is_posted, mailbox, origin });
    let waker = Waker::from(signal.clone());
    let (is_cancelled, is_done, waiter) = (Cell::new(false), Cell::new(false), Cell::new(None));
    let shared = Rc::new(TaskShared { is_cancelled, is_done, waiter, value: Cell::new(None) });
    let own = shared.clone();
    let future: TaskFuture = Box::pin(async move { own.value.set(Some(future.await)) });
    let begun = Begun { future, signal, waker: waker.clone(), shared: shared.clone() };
    (Task { shared, waker, cancels_on_drop: false }, begun)
}
