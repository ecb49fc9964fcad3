//! Which futures of a loop were woken on its own thread, in order: written by wakers, read by the loop between two jobs.
//!
//! A waker may be sent anywhere, so what it writes to must be shareable; but only on the loop's thread does it write here
//! (a wake from elsewhere is posted). So nothing is locked: all words are atomic and relaxed, which costs what a plain word
//! does. The first [`RING`] keys lie in a ring, and what does not fit in a queue behind a mutex that nobody contends for.

use crate::key::Key;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places in the ring; a power of two. A loop seldom has more futures to poll at once, and 128 words are 1 KiB.
const RING: usize = 128;

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// Returns a number that no other thread of the process ever has. Every wake asks for it, and a `ThreadId` would cost it
/// a reference count.
#[inline]
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if THREAD.get() == 0 {
        THREAD.set(NEXT.fetch_add(1, Relaxed));
    }
    THREAD.get()
}

/// The woken futures of one loop.
#[derive(Debug)]
pub(crate) struct Woken {
    /// The loop's thread: the only one that may call anything but [`Woken::is_here`].
    thread: u64,
    /// `false` once the loop is gone, and nobody takes what is noted any more.
    is_open: AtomicBool,
    count: AtomicUsize,
    /// Where the first key lies in the ring.
    first: AtomicUsize,
    ring: [AtomicU64; RING],
    /// The keys behind those in the ring.
    rest: Mutex<VecDeque<u64>>,
}

impl Woken {
    /// Makes the list of a loop of this thread.
    pub(crate) fn new() -> Arc<Woken> {
        let (is_open, rest) = (AtomicBool::new(true), Mutex::new(VecDeque::new()));
        let [count, first] = [0, 0].map(AtomicUsize::new);
        let ring = std::array::from_fn(|_| AtomicU64::new(0));
        Arc::new(Woken { thread: this_thread(), is_open, count, first, ring, rest })
    }

    /// Tells whether this is the loop's thread.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        this_thread() == self.thread
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Notes that the future with this key was woken.
    #[inline]
    pub(crate) fn push(&self, key: Key) {
        if !self.is_open.load(Relaxed) {
            return;
        }
        let count = self.len();
        if count < RING {
            self.place(count).store(key.packed(), Relaxed);
        } else {
            self.rest().push_back(key.packed());
        }
        self.count.store(count + 1, Relaxed);
    }

    /// Takes the future that was woken first.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Key> {
        let count = self.len();
        if count == 0 {
            return None;
        }
        let key = self.place(0).load(Relaxed);
        self.first.store(self.first.load(Relaxed).wrapping_add(1), Relaxed);
        self.count.store(count - 1, Relaxed);
        if count > RING {
            self.refill();
        }
        Some(Key::of_packed(key))
    }

    /// The loop is gone: what was noted is dropped, and nothing more is noted.
    pub(crate) fn close(&self) {
        self.is_open.store(false, Relaxed);
        self.count.store(0, Relaxed);
        self.rest().clear();
    }

    /// Returns the place of the key with so many before it.
    #[inline]
    fn place(&self, before: usize) -> &AtomicU64 {
        &self.ring[self.first.load(Relaxed).wrapping_add(before) % RING]
    }

    #[cold]
    fn refill(&self) {
        if let Some(key) = self.rest().pop_front() {
            self.place(RING - 1).store(key, Relaxed);
        }
    }

    #[cold]
    fn rest(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::of_packed(number as u64)
    }

    #[test]
    fn keys_come_in_order_however_many_there_are() {
        let woken = Woken::new();
        let (mut pushed, mut popped) = (0, 0);
        for burst in [1, RING, RING + 1, 3, 5 * RING, 2] {
            for _ in 0..burst {
                woken.push(key(pushed));
                pushed += 1;
            }
            // Leaves some each time, so that the ring begins anywhere.
            while woken.len() > burst / 3 {
                assert_eq!(woken.pop(), Some(key(popped)));
                popped += 1;
            }
        }
        while let Some(next) = woken.pop() {
            assert_eq!(next, key(popped));
            popped += 1;
        }
        assert_eq!((popped, woken.len()), (pushed, 0));
    }

    #[test]
    fn wakes_of_a_loop_that_is_gone_are_not_kept() {
        let woken = Woken::new();
        (0..2 * RING).for_each(|number| woken.push(key(number)));
        woken.close();
        assert_eq!((woken.len(), woken.pop()), (0, None));
        (0..2 * RING).for_each(|number| woken.push(key(number)));
        assert_eq!((woken.len(), woken.pop()), (0, None));
        assert!(woken.rest().is_empty());
    }

    #[test]
    fn a_loop_s_thread_knows_itself() {
        let woken = Woken::new();
        assert!(woken.is_here());
        std::thread::spawn(move || assert!(!woken.is_here())).join().unwrap();
    }
}
