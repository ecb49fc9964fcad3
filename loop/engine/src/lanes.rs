//! Which job of a pool is next: one queue, and a slow lane beside it.
//!
//! Name resolution may wait for seconds. If it could take every thread, a file would not be read meanwhile. So its jobs
//! queue by themselves, run by at most half the threads, and are represented in the main queue by one marker, which
//! takes its turn like a job.
//!
//! ```text
//! main:  read  read  [slow]  read      a thread at [slow] takes the first of the slow lane and, where more wait there,
//! slow:  resolve resolve               puts the marker at the end; with half the threads busy so, only the latter
//! ```
//!
//! # Source
//! `worker` and `post` in `src/threadpool.c` of libuv 1.46.

use crate::key::Key;
use crate::pool::Job;
use loopscope_probe::{Ticks, WorkKind};
use std::collections::VecDeque;

/// A job and when it was submitted.
type WaitingJob = (Job, Ticks);

/// The two queues of one pool.
pub(crate) struct Lanes {
    main: VecDeque<Turn>,
    slow: VecDeque<WaitingJob>,
    slow_running: usize,
    slow_running_max: usize,
}

enum Turn {
    Job(WaitingJob),
    Marker,
}

/// Tells whether jobs of this kind queue in the slow lane.
pub(crate) fn is_slow(kind: WorkKind) -> bool {
    kind == WorkKind::Dns
}

impl Lanes {
    /// For a pool with this many threads.
    pub(crate) fn new(threads: usize) -> Self {
        let (main, slow) = (VecDeque::new(), VecDeque::new());
        Lanes { main, slow, slow_running: 0, slow_running_max: threads.div_ceil(2) }
    }

    pub(crate) fn push(&mut self, job: Job, submitted: Ticks) {
        if is_slow(job.kind) {
            if self.slow.is_empty() {
                self.main.push_back(Turn::Marker);
            }
            self.slow.push_back((job, submitted));
        } else {
            self.main.push_back(Turn::Job((job, submitted)));
        }
    }

    /// Takes the job that runs next; `None` where none may begin now. The end of each must be told with
    /// [`Lanes::ended`].
    pub(crate) fn take(&mut self) -> Option<WaitingJob> {
        let mut was_put_off = false;
        loop {
            match self.main.pop_front()? {
                Turn::Job(waiting) => {
                    if was_put_off {
                        self.main.push_back(Turn::Marker);
                    }
                    return Some(waiting);
                }
                Turn::Marker if self.slow_running < self.slow_running_max => {
                    // Where it was the last one and was cancelled, there is nothing behind the marker.
                    let Some(waiting) = self.slow.pop_front() else { continue };
                    self.slow_running += 1;
                    if !self.slow.is_empty() {
                        self.main.push_back(Turn::Marker);
                    }
                    return Some(waiting);
                }
                Turn::Marker if self.main.is_empty() => {
                    self.main.push_back(Turn::Marker);
                    return None;
                }
                Turn::Marker => was_put_off = true,
            }
        }
    }

    /// Tells whether a job waits that may begin now.
    pub(crate) fn has_next(&self) -> bool {
        let (turns, slow_may_begin) = (self.main.len(), self.slow_running < self.slow_running_max);
        // There is one marker at most.
        turns > 1 || turns == 1 && (slow_may_begin || self.slow.is_empty())
    }

    /// A job that was taken has ended.
    pub(crate) fn ended(&mut self, kind: WorkKind) {
        self.slow_running -= usize::from(is_slow(kind));
    }

    /// Takes a job out before it runs. Searches from the front: cancelling is rare, and a link in every job would not
    /// be free.
    pub(crate) fn cancel(&mut self, client: Key, key: Key) -> Option<WaitingJob> {
        let is_wanted = |job: &Job| job.client == client && job.key == key;
        if let Some(index) = self.slow.iter().position(|(job, _)| is_wanted(job)) {
            let cancelled = self.slow.remove(index);
            self.drop_idle_marker();
            return cancelled;
        }
        let index =
            self.main.iter().position(|turn| matches!(turn, Turn::Job((job, _)) if is_wanted(job)))?;
        match self.main.remove(index) {
            Some(Turn::Job(waiting)) => Some(waiting),
            _ => None,
        }
    }

    /// Takes out all jobs of one loop.
    pub(crate) fn remove_client(&mut self, client: Key) -> Vec<Job> {
        let (mut kept, mut gone) = (VecDeque::new(), Vec::new());
        for turn in self.main.drain(..) {
            match turn {
                Turn::Job((job, _)) if job.client == client => gone.push(job),
                turn => kept.push_back(turn),
            }
        }
        self.main = kept;
        let (own, others): (Vec<_>, Vec<_>) = self.slow.drain(..).partition(|(job, _)| job.client == client);
        self.slow = others.into();
        gone.extend(own.into_iter().map(|(job, _)| job));
        self.drop_idle_marker();
        gone
    }

    fn drop_idle_marker(&mut self) {
        if self.slow.is_empty() {
            self.main.retain(|turn| matches!(turn, Turn::Job(_)));
        }
    }

    /// Returns when the job that waits longest was submitted.
    pub(crate) fn oldest(&self) -> Option<Ticks> {
        // There is one marker at most, so this looks at two turns.
        let main = self.main.iter().find_map(|turn| match turn {
            Turn::Job((_, submitted)) => Some(*submitted),
            Turn::Marker => None,
        });
        let slow = self.slow.front().map(|(_, submitted)| *submitted);
        main.into_iter().chain(slow).min_by_key(|ticks| ticks.0)
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
