//! The pool's real threads: one mutex, one condition variable, two lanes; for one loop or for several.
//!
//! The threads are started by the first job and end when the last of those who use them is gone. What a loop has queued
//! when it is dropped is dropped unrun, and a job that runs is not waited for, because it may never end. The probe's
//! pool words of every loop are written under the same mutex, so they stay true while the loops themselves are blocked.
//!
//! Only one thread at a time is on its way out of sleep: the one that comes calls the next where more jobs wait than it
//! takes. So in a flood of short jobs, those who are awake do them, and a loop pays one call for many; before, each job
//! woke a thread of its own, and that took most of its time. Where there is work for all, all come, one after the other.

use crate::error::WorkError;
use crate::key::{Key, Slots};
use crate::lanes::{Lanes, is_slow};
use crate::loop_waker::{LoopWaker, News};
use crate::pool::{self, Finished, Job, Outcome, Pool, Run};
use loopscope_probe::JobRecord;
use loopscope_probe::raw::thread::current_tid;
use loopscope_probe::{Clock, PoolWriter, SiteId, Ticks, WorkKind};
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// As libuv: deep enough for any library a job calls, and only reserved until used.
const STACK_BYTES: usize = 8 << 20;

/// A pool of threads that several loops share: give it to [`Builder::pool`](crate::Builder::pool) of each. Cloning it
/// gives another name for the same pool.
///
/// Each loop's page shows the jobs of that loop; its number of threads is the whole pool's. The threads end once every
/// loop and every clone is gone.
///
/// ```
/// use loopscope_loop::{Loop, Mode, SharedPool};
///
/// let pool = SharedPool::new(Some(2));
/// let mut loops = [Loop::builder(0).pool(&pool).build()?, Loop::builder(0).pool(&pool).build()?];
/// for event_loop in &mut loops {
///     event_loop.main(|cx| cx.work(|| 6 * 7, |cx, answer| *cx.state = answer.unwrap_or(0)));
///     event_loop.run(Mode::Default)?;
///     assert_eq!(*event_loop.state(), 42);
/// }
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct SharedPool(Arc<PoolThreads>);

impl SharedPool {
    /// Makes a pool of so many threads, 1 to 1024. For `None` the environment variable `UV_THREADPOOL_SIZE` says, and
    /// without it four. No thread is started before the first job.
    pub fn new(threads: Option<usize>) -> SharedPool {
        SharedPool::with_size(pool::size(threads))
    }

    /// Returns how many threads it has once the first job was submitted.
    pub fn threads(&self) -> usize {
        self.0.wanted
    }

    pub(crate) fn with_size(wanted: usize) -> SharedPool {
        let state = ThreadsState {
            lanes: Lanes::new(wanted),
            clients: Slots::new(),
            client_keys: Vec::new(),
            threads: None,
            idle: 0,
            is_one_called: false,
            is_ending: false,
        };
        let shared = PoolShared { state: Mutex::new(state), has_job: Condvar::new() };
        SharedPool(Arc::new(PoolThreads { shared: Arc::new(shared), wanted }))
    }
}

/// The threads, as those see them who use them: they end with the last user.
struct PoolThreads {
    shared: Arc<PoolShared>,
    wanted: usize,
}

impl fmt::Debug for PoolThreads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PoolThreads").field("threads", &self.wanted).finish_non_exhaustive()
    }
}

impl Drop for PoolThreads {
    fn drop(&mut self) {
        self.shared.lock().is_ending = true;
        self.shared.has_job.notify_all();
    }
}

/// A loop's access to its pool.
pub(crate) struct Threads {
    workers: Arc<PoolThreads>,
    client: Key,
    /// What stamps its jobs, where its probe is on.
    clock: Option<Clock>,
}

/// What pool and threads share.
struct PoolShared {
    state: Mutex<ThreadsState>,
    has_job: Condvar,
}

struct ThreadsState {
    lanes: Lanes,
    clients: Slots<Client>,
    client_keys: Vec<Key>,
    /// How many were started; `None` before the first job.
    threads: Option<usize>,
    /// Threads that wait for a job.
    idle: usize,
    /// One of them was called and has not come yet.
    is_one_called: bool,
    is_ending: bool,
}

/// A loop that uses the pool.
struct Client {
    finished: VecDeque<Finished>,
    probe: Option<PoolWriter>,
    waker: Arc<LoopWaker>,
    /// When the jobs that wait were submitted, in each lane; only for the probe.
    waiting: [VecDeque<Ticks>; 2],
}

impl Client {
    fn queued(&mut self, kind: WorkKind, submitted: Ticks) {
        if self.probe.is_some() {
            self.waiting[usize::from(is_slow(kind))].push_back(submitted);
        }
    }

    /// Notes that a job waits no more. Returns when the one that waits longest now was submitted.
    fn left(&mut self, kind: WorkKind, submitted: Ticks) -> Option<Ticks> {
        let lane = &mut self.waiting[usize::from(is_slow(kind))];
        // The first, unless it was cancelled.
        if lane.front() == Some(&submitted) {
            lane.pop_front();
        } else if let Ok(index) = lane.binary_search_by_key(&submitted.0, |ticks| ticks.0) {
            lane.remove(index);
        }
        self.waiting.iter().filter_map(VecDeque::front).copied().min_by_key(|ticks| ticks.0)
    }
}

impl ThreadsState {
    /// Records a step of a job of this loop; nothing where its probe is off or the loop is gone.
    fn record<T>(&mut self, client: Key, step: impl FnOnce(&mut PoolWriter) -> T) -> Option<T> {
        self.clients.get_mut(client)?.probe.as_mut().map(step)
    }

    /// Notes that a job waits no more, as [`Client::left`].
    fn left(&mut self, client: Key, kind: WorkKind, submitted: Ticks) -> Option<Ticks> {
        self.clients.get_mut(client)?.left(kind, submitted)
    }

    /// Hands a job's result to its loop; gives it back where the loop is gone.
    fn finish(&mut self, client: Key, finished: Finished) -> Result<Arc<LoopWaker>, Finished> {
        let Some(client) = self.clients.get_mut(client) else { return Err(finished) };
        client.finished.push_back(finished);
        client.waker.count(News::Finished);
        Ok(client.waker.clone())
    }

    /// Tells a loop's page how many threads there are.
    fn show_threads(&mut self, client: Key) {
        let threads = self.threads.unwrap_or(0);
        if let Some(probe) = self.clients.get_mut(client).and_then(|client| client.probe.as_mut()) {
            probe.threads(threads);
        }
    }
}

impl Threads {
    pub(crate) fn new(pool: &SharedPool, waker: Arc<LoopWaker>, probe: Option<PoolWriter>) -> Self {
        let (workers, clock) = (pool.0.clone(), probe.as_ref().map(|probe| probe.clock().clone()));
        let mut state = workers.shared.lock();
        let client = state.clients.insert(Client {
            finished: VecDeque::new(),
            probe,
            waker,
            waiting: Default::default(),
        });
        state.client_keys.push(client);
        if state.threads.is_some() {
            state.show_threads(client);
        }
        drop(state);
        Threads { workers, client, clock }
    }
}

impl Pool for Threads {
    fn submit(&mut self, mut job: Job) {
        job.client = self.client;
        let stamp = now(&self.clock);
        let shared = &self.workers.shared;
        let mut state = shared.lock();
        if state.threads.is_none() {
            shared.start(&mut state, self.workers.wanted);
        }
        state.record(self.client, |probe| probe.submitted(job.kind, stamp));
        if state.threads == Some(0) {
            state.record(self.client, |probe| probe.cancelled(job.kind, None));
            let outcome = Err(WorkError::NoThread);
            let refused = Finished { key: job.key, outcome, submitted: stamp, finished: stamp };
            // The loop is awake, it submits; and the job is dropped without the mutex.
            let _ = state.finish(self.client, refused);
            drop(state);
            return;
        }
        if let Some(client) = state.clients.get_mut(self.client) {
            client.queued(job.kind, stamp);
        }
        state.lanes.push(job, stamp);
        let calls_one = state.calls_one();
        drop(state);
        if calls_one {
            shared.has_job.notify_one();
        }
    }

    fn cancel(&mut self, key: Key) -> bool {
        let mut state = self.workers.shared.lock();
        let Some((job, submitted)) = state.lanes.cancel(self.client, key) else { return false };
        let oldest = state.left(self.client, job.kind, submitted);
        state.record(self.client, |probe| probe.cancelled(job.kind, oldest));
        let finished = now(&self.clock);
        let cancelled = Finished { key, outcome: Err(WorkError::Cancelled), submitted, finished };
        let _ = state.finish(self.client, cancelled);
        // The job is dropped without the mutex: its destructor is the program's.
        drop(state);
        true
    }

    fn take_finished(&mut self, into: &mut VecDeque<Finished>) {
        let mut state = self.workers.shared.lock();
        if let Some(client) = state.clients.get_mut(self.client) {
            client.waker.taken(News::Finished, client.finished.len());
            into.append(&mut client.finished);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut state = self.workers.shared.lock();
        let own = self.client;
        state.client_keys.retain(|key| *key != own);
        let (queued, client) = (state.lanes.remove_client(own), state.clients.remove(own));
        drop(state);
        drop((queued, client));
    }
}

impl PoolShared {
    fn lock(&self) -> MutexGuard<'_, ThreadsState> {
        // Nothing of the program's runs under the mutex, so no panic can have left it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads; fewer where the system refuses some.
    fn start(self: &Arc<Self>, state: &mut ThreadsState, wanted: usize) {
        let start_one = |number: &usize| {
            let (shared, number) = (self.clone(), *number);
            let builder = std::thread::Builder::new().name(format!("loop-pool-{number}"));
            builder.stack_size(STACK_BYTES).spawn(move || shared.work(number as u32)).is_ok()
        };
        state.threads = Some((0..wanted).take_while(start_one).count());
        for client in state.client_keys.clone() {
            state.show_threads(client);
        }
    }

    /// What each thread does: takes a job, runs it, hands its result back. The mutex is taken once a job: to hand over
    /// the last one's result and take the next.
    fn work(&self, number: u32) {
        let worker = Worker { number, tid: current_tid() };
        let mut state = self.lock();
        let mut handed: Option<Handed> = None;
        while !state.is_ending {
            let taken = state.take(worker);
            if taken.is_none() && handed.is_none() {
                state = self.wait(state);
                continue;
            }
            let calls_one = taken.is_some() && state.lanes.has_next() && state.calls_one();
            drop(state);
            if calls_one {
                self.has_job.notify_one();
            }
            handed.take().into_iter().for_each(tell);
            let ended = taken.map(|(started, job)| {
                let outcome = run(job);
                (now(&started.clock), started, outcome)
            });
            state = self.lock();
            handed = ended.map(|(ended, job, outcome)| state.hand_over(job, ended, outcome, worker.number));
        }
        drop(state);
        handed.into_iter().for_each(tell);
    }

    /// Waits for a job. Threads also wake up uncalled, and then look in the place of the one that was called.
    fn wait<'a>(&self, mut state: MutexGuard<'a, ThreadsState>) -> MutexGuard<'a, ThreadsState> {
        state.idle += 1;
        state = self.has_job.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.idle -= 1;
        state.is_one_called = false;
        state
    }
}

/// The waker of the loop that a result was handed to; the result where that loop is gone.
type Handed = Result<Arc<LoopWaker>, Finished>;

/// Wakes the loop that a result was handed to. Without the mutex: the result of a loop that is gone is dropped here, and
/// its destructor is the program's.
fn tell(handed: Handed) {
    match handed {
        Ok(waker) => waker.wake(),
        Err(unclaimed) => survive(|| drop(unclaimed)),
    }
}

/// A job that was taken: what is known of it besides what it does.
struct Started {
    client: Key,
    key: Key,
    kind: WorkKind,
    site: SiteId,
    submitted: Ticks,
    started: Ticks,
    /// What stamps its end, where the probe of its loop is on.
    clock: Option<Clock>,
}

impl ThreadsState {
    /// Tells whether a thread must be called for the jobs that wait, and notes that it is.
    fn calls_one(&mut self) -> bool {
        let calls = self.idle > 0 && !self.is_one_called;
        self.is_one_called |= calls;
        calls
    }

    /// Takes the next job, and records that.
    fn take(&mut self, worker: Worker) -> Option<(Started, Run)> {
        let (Job { client, key, kind, site, run }, submitted) = self.lanes.take()?;
        let oldest = self.left(client, kind, submitted);
        let job = Taken { kind, site, worker, submitted, oldest };
        let counted = self.record(client, |probe| (begin(probe, &job), Some(probe.clock().clone())));
        let (started, clock) = counted.unwrap_or((Ticks::NONE, None));
        Some((Started { client, key, kind, site, submitted, started, clock }, run))
    }

    /// Records the end of a job, and hands its result to its loop.
    fn hand_over(&mut self, job: Started, ended: Ticks, outcome: Outcome, worker: u32) -> Handed {
        let Started { client, key, kind, site, submitted, started, .. } = job;
        self.lanes.ended(kind);
        let is_ok = outcome.is_ok();
        let done = JobRecord { number: 0, kind, site, worker, submitted, started, ended, is_ok };
        self.record(client, |probe| end(probe, &done));
        self.finish(client, Finished { key, outcome, submitted, finished: ended })
    }
}

/// Returns the present moment; none where there is no clock because the probe is off.
fn now(clock: &Option<Clock>) -> Ticks {
    clock.as_ref().map_or(Ticks::NONE, Clock::now)
}

/// A job that a worker has taken from the queue, whose head is now `oldest`.
pub(crate) struct Taken {
    pub(crate) kind: WorkKind,
    pub(crate) site: SiteId,
    pub(crate) worker: Worker,
    pub(crate) submitted: Ticks,
    pub(crate) oldest: Option<Ticks>,
}

/// One thread of the pool: its number there, and the kernel's.
#[derive(Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) number: u32,
    pub(crate) tid: u32,
}

/// Records a job that begins to run. Returns when.
pub(crate) fn begin(probe: &mut PoolWriter, job: &Taken) -> Ticks {
    let started = probe.started(job.kind, job.submitted, job.oldest);
    probe.runs_on(job.worker.number, job.worker.tid, job.kind, job.site, started);
    started
}

/// Records a job that has ended.
pub(crate) fn end(probe: &mut PoolWriter, job: &JobRecord) {
    probe.rests(job.worker);
    probe.finished(job.kind, job.started, job.ended, job.is_ok);
    probe.record(job);
}

/// Runs a job; a panic becomes a result.
pub(crate) fn run(job: Run) -> Outcome {
    catch_unwind(AssertUnwindSafe(job)).map_err(|payload| {
        survive(|| drop(payload));
        WorkError::Panicked
    })
}

/// Runs a destructor of the program's, which must not take the thread with it. The panic was told by the program's hook.
fn survive(destructor: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(destructor)) {
        // It may have a destructor of the same kind.
        std::mem::forget(payload);
    }
}
