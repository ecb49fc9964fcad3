//! Local futures: spawned on the loop, polled as microtasks, woken from anywhere.
//!
//! A future need not be `Send`. A wake on the loop's own thread notes the future's key in a list of this thread, which
//! the loop moves to its microtask queue in order; a wake from another thread travels through the post queue. Between
//! two wakes a future costs nothing, and it does not keep the loop alive: what it waits for does.

use crate::call::Site;
use crate::cx::Cx;
use crate::key::Key;
use crate::post::Mailbox;
use loopscope_probe::{HandleType, Kind, Life};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;

thread_local! {
    static WOKEN_COUNT: Cell<usize> = const { Cell::new(0) };
    static WOKEN: RefCell<Vec<(u64, Key)>> = const { RefCell::new(Vec::new()) };
}

/// Returns a number that no other loop of the process has.
pub(crate) fn new_loop_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Tells whether a future of some loop on this thread was woken.
#[inline]
pub(crate) fn has_woken() -> bool {
    WOKEN_COUNT.get() > 0
}

/// Hands over the futures of a loop that were woken, in order.
#[cold]
pub(crate) fn take_woken(loop_id: u64, mut hand_over: impl FnMut(Key)) {
    WOKEN.with_borrow_mut(|woken| {
        woken.retain(|(of, key)| {
            if *of == loop_id {
                hand_over(*key);
            }
            *of != loop_id
        });
        WOKEN_COUNT.set(woken.len());
    });
}

fn note_woken(loop_id: u64, key: Key) {
    // The list is gone only while the thread ends, and its loops with it.
    let _ = WOKEN.try_with(|woken| {
        let mut woken = woken.borrow_mut();
        woken.push((loop_id, key));
        WOKEN_COUNT.set(woken.len());
    });
}

/// A future's place in the loop.
pub(crate) struct TaskSlot {
    /// Missing while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
    is_queued: Arc<AtomicBool>,
    shared: Rc<Shared>,
    site: Site,
}

/// What a future's handle and its slot share.
#[derive(Debug, Default)]
struct Shared {
    is_cancelled: Cell<bool>,
    is_done: Cell<bool>,
}

/// A spawned future. Dropping this detaches it: the future goes on.
#[derive(Debug)]
pub struct Task {
    shared: Rc<Shared>,
    waker: Waker,
}

impl Task {
    /// Drops the future, at the next drain of the microtask queue. A future that is done stays done.
    pub fn cancel(self) {
        self.shared.is_cancelled.set(true);
        self.waker.wake_by_ref();
    }

    /// Tells whether the future has returned, panicked or been cancelled.
    pub fn is_done(&self) -> bool {
        self.shared.is_done.get()
    }
}

/// Wakes one future.
struct Signal<S: 'static> {
    thread: ThreadId,
    loop_id: u64,
    /// Set right after the slot was made.
    key: OnceLock<Key>,
    /// Whether a poll is queued already. Set by whoever wakes, cleared by the loop right before the poll: acquire and
    /// release make what the waker wrote visible to that poll.
    is_queued: Arc<AtomicBool>,
    mailbox: Weak<Mailbox<S>>,
    at: &'static Location<'static>,
}

impl<S: 'static> Wake for Signal<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(&key) = self.key.get() else { return };
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let loop_id = self.loop_id;
        if std::thread::current().id() == self.thread {
            note_woken(loop_id, key);
        } else if let Some(mailbox) = self.mailbox.upgrade() {
            // Where the loop is gone there is nothing to wake.
            let _ = mailbox.post(self.at, Box::new(move |_| note_woken(loop_id, key)));
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Starts a future on this loop. Its first poll is queued as a microtask, like every later one.
    #[track_caller]
    pub fn spawn_local(&mut self, future: impl Future<Output = ()> + 'static) -> Task {
        self.spawn_at(Location::caller(), Box::pin(future))
    }

    fn spawn_at(
        &mut self,
        at: &'static Location<'static>,
        future: Pin<Box<dyn Future<Output = ()>>>,
    ) -> Task {
        let site = self.core.site(at, Kind::Microtask);
        let is_queued = Arc::new(AtomicBool::new(false));
        let signal = Arc::new(Signal {
            thread: std::thread::current().id(),
            loop_id: self.core.queues.loop_id,
            key: OnceLock::new(),
            is_queued: is_queued.clone(),
            mailbox: Arc::downgrade(&self.core.mailbox),
            at,
        });
        let waker = Waker::from(signal.clone());
        let shared = Rc::<Shared>::default();
        let (slot_waker, slot_shared) = (waker.clone(), shared.clone());
        let slot = TaskSlot { future: Some(future), waker: slot_waker, is_queued, shared: slot_shared, site };
        let key = self.core.queues.tasks.insert(slot);
        signal.key.get_or_init(|| key);
        if let Some(probe) = &mut self.core.probe {
            probe.handles(HandleType::Task, 1);
        }
        waker.wake_by_ref();
        Task { shared, waker }
    }

    pub(crate) fn poll_task(&mut self, key: Key) {
        let Some(slot) = self.core.queues.tasks.get_mut(key) else { return };
        slot.is_queued.swap(false, Ordering::AcqRel);
        let (Some(mut future), waker, site) = (slot.future.take(), slot.waker.clone(), slot.site) else {
            return;
        };
        let is_cancelled = slot.shared.is_cancelled.get();
        let outcome = self.enter(Kind::Microtask, site, Life::UNKNOWN, |_| {
            if is_cancelled {
                drop(future);
                return None;
            }
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => Some(future),
                Poll::Ready(()) => None,
            }
        });
        match (outcome.flatten(), self.core.queues.tasks.get_mut(key)) {
            (Some(future), Some(slot)) => slot.future = Some(future),
            _ => self.end_task(key),
        }
    }

    fn end_task(&mut self, key: Key) {
        if let Some(slot) = self.core.queues.tasks.remove(key) {
            slot.shared.is_done.set(true);
            if let Some(probe) = &mut self.core.probe {
                probe.handles(HandleType::Task, -1);
            }
        }
    }
}
