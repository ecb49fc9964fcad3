//! Local futures: spawned on the loop, polled as microtasks, woken from anywhere.
//!
//! A future need not be `Send`. A wake on the loop's own thread notes the future's key in a list of this thread, which
//! the loop moves to its microtask queue in order; a wake from another thread travels through the post queue. Between
//! two wakes a future costs nothing, and it does not keep the loop alive: what it waits for does.

use crate::callback::{Origin, Site, State};
use crate::key::Key;
use crate::queues::mailbox::Mailbox;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
    static WOKEN_COUNT: Cell<usize> = const { Cell::new(0) };
    static WOKEN: RefCell<Vec<(u64, Key)>> = const { RefCell::new(Vec::new()) };
    /// The loops of this thread, by their numbers.
    static LOOPS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Returns a number that no other loop of the process has; wakes of its futures are noted until [`forget_loop`].
pub(crate) fn new_loop_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let loop_id = NEXT.fetch_add(1, Ordering::Relaxed);
    // Where the thread ends and the list is gone, nobody notes wakes: the loop's futures are polled once.
    let _ = LOOPS.try_with(|loops| loops.borrow_mut().push(loop_id));
    loop_id
}

/// A loop is gone, and nobody takes the wakes of its futures any more.
pub(crate) fn forget_loop(loop_id: u64) {
    // The lists are gone only while the thread ends.
    let _ = LOOPS.try_with(|loops| loops.borrow_mut().retain(|living| *living != loop_id));
    let _ = WOKEN.try_with(|woken| {
        let mut woken = woken.borrow_mut();
        woken.retain(|(of, _)| *of != loop_id);
        WOKEN_COUNT.set(woken.len());
    });
}

/// Returns a number that no other thread of the process ever has. Every wake asks for it, and a `ThreadId` would cost it
/// a reference count.
#[inline]
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if THREAD.get() == 0 {
        THREAD.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    THREAD.get()
}

/// Tells whether a future of some loop on this thread was woken.
#[inline]
pub(crate) fn has_woken() -> bool {
    WOKEN_COUNT.get() > 0
}

/// Tells whether a future of this loop was woken, or something was asked of it, since it last drained its queues.
pub(crate) fn has_woken_of(loop_id: u64) -> bool {
    let is_listed = |woken: &RefCell<Vec<(u64, Key)>>| woken.borrow().iter().any(|(of, _)| *of == loop_id);
    has_woken() && WOKEN.try_with(is_listed).unwrap_or(false)
}

/// Hands over the futures of a loop that were woken, in order.
#[inline]
pub(crate) fn take_woken(loop_id: u64, mut hand_over: impl FnMut(Key)) {
    let taken = WOKEN.try_with(|woken| {
        let mut woken = woken.borrow_mut();
        // Nearly always one future, and of the only loop on this thread.
        if let [(of, key)] = woken[..]
            && of == loop_id
        {
            hand_over(key);
            woken.clear();
        } else {
            take_some(&mut woken, loop_id, &mut hand_over);
        }
        woken.len()
    });
    // Where the thread ends and the list is gone, nothing is left in it: a loop that runs then must not wait for it.
    WOKEN_COUNT.set(taken.unwrap_or(0));
}

fn take_some(woken: &mut Vec<(u64, Key)>, loop_id: u64, hand_over: &mut dyn FnMut(Key)) {
    woken.retain(|(of, key)| {
        if *of == loop_id {
            hand_over(*key);
        }
        *of != loop_id
    });
}

pub(crate) fn note_woken(loop_id: u64, key: Key) {
    // The lists are gone only while the thread ends, and its loops with them.
    if !LOOPS.try_with(|loops| loops.borrow().contains(&loop_id)).unwrap_or(false) {
        return;
    }
    let _ = WOKEN.try_with(|woken| {
        let mut woken = woken.borrow_mut();
        woken.push((loop_id, key));
        WOKEN_COUNT.set(woken.len());
    });
}

/// A future's place in the loop.
pub(crate) struct TaskSlot<S: State> {
    /// Missing while it is polled.
    pub(crate) waiting: Option<(Running, Waker)>,
    pub(crate) signal: Arc<Signal<S>>,
    pub(crate) shared: Rc<Shared<dyn Any>>,
    pub(crate) site: Site,
}

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// What a future's handle and its slot share.
pub(crate) struct Shared<V: ?Sized> {
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
    shared: Rc<Shared<Cell<Option<T>>>>,
    waker: Waker,
    cancels_on_drop: bool,
}

impl<T: 'static> Task<T> {
    /// Drops the future, at the next drain of the microtask queue. A future that is done stays done.
    pub fn cancel(self) {
        self.cancel_now();
    }

    fn cancel_now(&self) {
        self.shared.is_cancelled.set(true);
        self.waker.wake_by_ref();
    }

    /// Has the future cancelled where this is dropped before it is done: it then lives no longer than its owner.
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
    thread: u64,
    pub(crate) loop_id: u64,
    /// Set right after the slot was made.
    pub(crate) key: OnceLock<Key>,
    /// Whether a poll is queued already. Of the loop's thread alone, so relaxed: a local wake costs no locked
    /// instruction.
    pub(crate) is_queued: AtomicBool,
    /// Whether a wake of another thread is on its way. Set by whoever wakes, cleared on the loop before the poll is
    /// queued: acquire and release make what the waker wrote visible to that poll.
    is_posted: AtomicBool,
    mailbox: Weak<Mailbox<S>>,
    pub(crate) origin: Origin,
}

impl<S: State> Wake for Signal<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if this_thread() == self.thread {
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
        let Some(&key) = self.key.get() else { return };
        if !self.is_queued.load(Ordering::Relaxed) {
            self.is_queued.store(true, Ordering::Relaxed);
            note_woken(self.loop_id, key);
        }
    }

    /// A wake of another thread has come to the loop.
    fn arrived(&self) {
        self.is_posted.swap(false, Ordering::AcqRel);
        self.queue_poll();
    }
}

/// A future that is on its way to its slot.
pub(crate) struct Begun<S: State> {
    pub(crate) future: Running,
    pub(crate) signal: Arc<Signal<S>>,
    pub(crate) waker: Waker,
    pub(crate) shared: Rc<Shared<dyn Any>>,
}

/// Makes a future into a task, which starts with [`Cx::start_task`](crate::Cx::start_task).
pub(crate) fn begin<S: State, T: 'static>(
    loop_id: u64,
    mailbox: Weak<Mailbox<S>>,
    origin: Origin,
    future: impl Future<Output = T> + 'static,
) -> (Task<T>, Begun<S>) {
    let [is_queued, is_posted] = [false, false].map(AtomicBool::new);
    let (thread, key) = (this_thread(), OnceLock::new());
    let signal = Arc::new(Signal { thread, loop_id, key, is_queued, is_posted, mailbox, origin });
    let waker = Waker::from(signal.clone());
    let (is_cancelled, is_done, waiter) = (Cell::new(false), Cell::new(false), Cell::new(None));
    let shared = Rc::new(Shared { is_cancelled, is_done, waiter, value: Cell::new(None) });
    let own = shared.clone();
    let future: Running = Box::pin(async move { own.value.set(Some(future.await)) });
    let begun = Begun { future, signal, waker: waker.clone(), shared: shared.clone() };
    (Task { shared, waker, cancels_on_drop: false }, begun)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::Loop;
    use crate::phases::run::Mode;
    use std::future::poll_fn;

    #[test]
    fn wakes_of_a_loop_that_is_gone_leave_nothing_on_the_thread() {
        let woken: Rc<RefCell<Vec<Waker>>> = Rc::default();
        let mut event_loop = Loop::builder(()).virtual_time().build().unwrap();
        event_loop.main(|cx| {
            for _ in 0..3 {
                let woken = woken.clone();
                drop(cx.spawn_local(poll_fn(move |context| {
                    woken.borrow_mut().push(context.waker().clone());
                    Poll::<()>::Pending
                })));
            }
        });
        event_loop.run(Mode::Default).unwrap();
        assert_eq!(woken.borrow().len(), 3);
        woken.borrow()[0].wake_by_ref();
        assert!(has_woken());
        drop(event_loop);
        assert!(!has_woken(), "its wakes went with it");
        woken.borrow().iter().for_each(Waker::wake_by_ref);
        assert!(!has_woken(), "nobody is left to take them");
    }
}
