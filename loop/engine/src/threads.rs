//! The pool's real threads: one mutex, one condition variable, one queue.
//!
//! The threads are started by the first job and end when the loop is dropped: what is queued then is dropped unrun, and
//! a job that runs is not waited for, because it may never end. The probe's pool words are written under the same
//! mutex, so they stay true while the loop itself is blocked.

use crate::bell::{Bell, News};
use crate::error::WorkError;
use crate::key::Key;
use crate::pool::{Finished, Job, Outcome, Pool};
use loopscope_probe::jobs::JobRecord;
use loopscope_probe::{PoolWriter, Ticks, WorkKind};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// As libuv: deep enough for any library a job calls, and only reserved until used.
const STACK_BYTES: usize = 8 << 20;

/// A pool of threads.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    wanted: usize,
    has_started: bool,
}

struct Shared {
    state: Mutex<State>,
    has_job: Condvar,
    bell: Arc<Bell>,
}

struct State {
    queue: VecDeque<(Job, Ticks)>,
    finished: VecDeque<Finished>,
    probe: Option<PoolWriter>,
    threads: usize,
    idle: usize,
    is_ending: bool,
}

impl State {
    fn oldest(&self) -> Option<Ticks> {
        self.queue.front().map(|(_, submitted)| *submitted)
    }
}

impl Threads {
    pub(crate) fn new(wanted: usize, bell: Arc<Bell>, probe: Option<PoolWriter>) -> Self {
        let (queue, finished) = (VecDeque::new(), VecDeque::new());
        let state = State { queue, finished, probe, threads: 0, idle: 0, is_ending: false };
        let shared = Shared { state: Mutex::new(state), has_job: Condvar::new(), bell };
        Threads { shared: Arc::new(shared), wanted, has_started: false }
    }

    /// Starts the threads; fewer where the system refuses some.
    fn start(&mut self) {
        self.has_started = true;
        let start_one = |number: &usize| {
            let (shared, number) = (self.shared.clone(), *number);
            let builder = std::thread::Builder::new().name(format!("loop-pool-{number}"));
            builder.stack_size(STACK_BYTES).spawn(move || shared.work(number as u32)).is_ok()
        };
        let started = (0..self.wanted).take_while(start_one).count();
        let mut state = self.shared.lock();
        state.threads = started;
        if let Some(probe) = &mut state.probe {
            probe.threads(started);
        }
    }
}

impl Pool for Threads {
    fn submit(&mut self, job: Job) {
        if !self.has_started {
            self.start();
        }
        let mut state = self.shared.lock();
        let stamp = state.probe.as_mut().map_or(Ticks::NONE, |probe| probe.submitted(job.kind));
        if state.threads == 0 {
            let oldest = state.oldest();
            if let Some(probe) = &mut state.probe {
                probe.cancelled(job.kind, oldest);
            }
            self.shared.finish(&mut state, job.key, Err(WorkError::NoThread), (stamp, stamp));
            return;
        }
        state.queue.push_back((job, stamp));
        let has_idle = state.idle > 0;
        drop(state);
        if has_idle {
            self.shared.has_job.notify_one();
        }
    }

    /// Searches the queue from its front: cancelling is rare, and a link in every job would not be free.
    fn cancel(&mut self, key: Key) -> bool {
        let mut state = self.shared.lock();
        let Some(index) = state.queue.iter().position(|(job, _)| job.key == key) else { return false };
        let Some((job, submitted)) = state.queue.remove(index) else { return false };
        let oldest = state.oldest();
        let finished = state.probe.as_mut().map_or(Ticks::NONE, |probe| {
            probe.cancelled(job.kind, oldest);
            probe.clock().now()
        });
        self.shared.finish(&mut state, key, Err(WorkError::Cancelled), (submitted, finished));
        // The job is dropped without the mutex: its destructor is the program's.
        drop(state);
        true
    }

    fn take_finished(&mut self, into: &mut VecDeque<Finished>) {
        let mut state = self.shared.lock();
        self.shared.bell.taken(News::Finished, state.finished.len());
        into.append(&mut state.finished);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_ending = true;
        let (queue, finished) = (std::mem::take(&mut state.queue), std::mem::take(&mut state.finished));
        drop(state);
        self.shared.has_job.notify_all();
        drop((queue, finished));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the program's runs under the mutex, so no panic can have left it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, state: &mut State, key: Key, outcome: Outcome, (submitted, finished): (Ticks, Ticks)) {
        state.finished.push_back(Finished { key, outcome, submitted, finished });
        self.bell.count(News::Finished);
    }

    /// What each thread does: takes a job, runs it, hands its result back.
    fn work(&self, worker: u32) {
        let mut state = self.lock();
        loop {
            if state.is_ending {
                return;
            }
            let Some((job, submitted)) = state.queue.pop_front() else {
                state.idle += 1;
                state = self.has_job.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            };
            let (key, kind, site) = (job.key, job.kind, job.site);
            let oldest = state.oldest();
            let started = start_stamp(&mut state, job.kind, submitted, oldest);
            drop(state);
            let outcome = run(job.run);
            state = self.lock();
            if state.is_ending {
                drop(state);
                return;
            }
            let done = JobRecord {
                number: 0,
                kind,
                site,
                worker,
                submitted,
                started,
                ended: Ticks::NONE,
                is_ok: outcome.is_ok(),
            };
            let finished = state.probe.as_mut().map_or(Ticks::NONE, |probe| end(probe, done));
            self.finish(&mut state, key, outcome, (submitted, finished));
            drop(state);
            self.bell.ring();
            state = self.lock();
        }
    }
}

fn start_stamp(state: &mut State, kind: WorkKind, submitted: Ticks, oldest: Option<Ticks>) -> Ticks {
    state.probe.as_mut().map_or(Ticks::NONE, |probe| probe.started(kind, submitted, oldest))
}

/// Books and records a job that has just ended. Returns when that was.
pub(crate) fn end(probe: &mut PoolWriter, job: JobRecord) -> Ticks {
    let ended = probe.finished(job.kind, job.started, job.is_ok);
    probe.record(&JobRecord { ended, ..job });
    ended
}

/// Runs a job; a panic becomes a result.
pub(crate) fn run(job: crate::pool::Run) -> Outcome {
    catch_unwind(AssertUnwindSafe(job)).map_err(|payload| {
        // A payload whose destructor panics must not take the thread with it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        WorkError::Panicked
    })
}
