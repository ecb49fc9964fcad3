//! How other threads wake the loop: two counters, and one write to the operating system only while the loop sleeps.
//!
//! ```text
//! another thread: queue it, count it, is the loop asleep? then wake it
//! the loop:       say asleep, is anything counted? then do not wait
//! ```
//! Both sides write first and read the other's word second, with a fence between, so at least one of them sees the
//! other. It is the probe's own [`loopscope_probe::raw::sleep_flag`], whose model checks every interleaving of the two sides.
//!
//! It is shared by the loop, its pool's threads and every [`RemoteHandle`](crate::RemoteHandle): the waker
//! inside lives until the last of them is gone, because closing it with a wake under way would lose that wake.

use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::raw::sleep_flag::SleepFlag;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The counters and the waker of one loop.
#[derive(Debug)]
pub(crate) struct LoopWaker {
    /// `None` in virtual time, where the loop never sleeps.
    waker: Option<mio::Waker>,
    /// Whether the loop sleeps; its fences order it against the two counters.
    sleep: SleepFlag,
    /// Closures posted and not taken. Added to by any thread, taken from by the loop's. Relaxed: the queue's mutex
    /// orders what is counted, and `sleep` the counting against falling asleep.
    posted: AtomicUsize,
    /// Pool jobs finished and not taken, likewise.
    finished: AtomicUsize,
    /// Wake handles that were woken and have not run, likewise without a queue.
    woken: AtomicUsize,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Posted,
    Finished,
    Woken,
}

impl LoopWaker {
    pub(crate) fn new(waker: Option<mio::Waker>) -> Self {
        // Asleep from the start: a program that polls the loop's descriptor itself must see a post before it first runs.
        let [posted, finished, woken] = [0, 0, 0].map(AtomicUsize::new);
        let waker = LoopWaker { waker, sleep: SleepFlag::new(), posted, finished, woken };
        waker.fall_asleep();
        waker
    }

    #[inline]
    fn counter(&self, news: News) -> &AtomicUsize {
        match news {
            News::Posted => &self.posted,
            News::Finished => &self.finished,
            News::Woken => &self.woken,
        }
    }

    /// Counts one more. Under the mutex of the queue that it was put in, so that count and queue agree.
    #[inline]
    pub(crate) fn count(&self, news: News) {
        self.counter(news).fetch_add(1, Relaxed);
    }

    /// Counts `count` as taken. Under the mutex of their queue.
    #[inline]
    pub(crate) fn taken(&self, news: News, count: usize) {
        self.counter(news).fetch_sub(count, Relaxed);
    }

    /// Wakes the loop if it sleeps. After [`LoopWaker::count`], best after the mutex was released.
    pub(crate) fn wake(&self) {
        if self.sleep.must_wake(Barrier::Fence)
            && let Some(waker) = &self.waker
        {
            // Fails only where the descriptor is gone, and then nobody sleeps on it.
            let _ = waker.wake();
        }
    }

    /// Says that the loop is about to sleep. Returns whether it may.
    #[inline]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.sleep.about_to_sleep(Barrier::Fence);
        !self.has_any()
    }

    /// Says that the loop is awake: what comes now will be seen without a wake.
    #[inline]
    pub(crate) fn wake_up(&self) {
        self.sleep.stay_awake();
    }

    #[inline]
    pub(crate) fn has(&self, news: News) -> bool {
        self.counter(news).load(Relaxed) > 0
    }

    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.has(News::Posted) || self.has(News::Finished) || self.has(News::Woken)
    }

    #[inline]
    pub(crate) fn has_posted(&self) -> bool {
        self.has(News::Posted)
    }

    /// Returns how many closures are posted and not taken.
    #[inline]
    pub(crate) fn posted(&self) -> usize {
        self.posted.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_with_news_may_not_sleep() {
        let waker = LoopWaker::new(None);
        assert!(waker.fall_asleep());
        waker.count(News::Finished);
        assert!(!waker.fall_asleep());
        waker.taken(News::Finished, 1);
        waker.count(News::Posted);
        assert!(!waker.fall_asleep() && waker.has_posted());
        waker.taken(News::Posted, 1);
        assert!(waker.fall_asleep());
    }
}
