//! A parked worker whose thread waits for a time, and what proves that the thread does this worker's work: arithmetic on values.

use crate::epoll_wait::TimedWait;

/// A worker that is parked, as far as its counter says, and a thread that did its work and waits for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedPark {
    /// The worker's number in the metrics.
    pub index: usize,
    pub thread: u32,
    /// The worker's counter of parks and unparks.
    pub parks: u64,
    pub place: TimedWait,
}

impl TimedPark {
    /// Tells whether it is one of this runtime, as far as one is known by a task that ran on the worker `index` after it was
    /// seen; `None` where it was another worker.
    pub(crate) fn is_proven_by(&self, index: usize, thread: u32, parks: u64) -> Option<bool> {
        (index == self.index).then(|| thread == self.thread && parks == self.parks + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_worker_on_the_same_thread_at_its_next_unpark_is_a_proof() {
        let seen = TimedPark { index: 1, thread: 7, parks: 9, place: TimedWait::Epoll(5) };
        for ((index, thread, parks), is_proven) in [
            ((1, 7, 10), Some(true)),
            // Another thread does its work: this one waits for something of its own.
            ((1, 8, 10), Some(false)),
            // It was awake meanwhile, and may have handed the worker over and taken it back.
            ((1, 7, 12), Some(false)),
            ((0, 7, 10), None),
        ] {
            assert_eq!(seen.is_proven_by(index, thread, parks), is_proven, "{index} {thread} {parks}");
        }
    }
}
