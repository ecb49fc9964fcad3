//! The runtimes of this process that are watched, and what is known of each.

use crate::activity::Counters;
use crate::description::{self, Leaves, Tier};
use crate::epoll_wait::{EpollWait, waits_for_condition};
use crate::hidden_polls::BusyPeriod;
use crate::parked_runtime::{Quiet, Witness, judge_pair};
use crate::pool::Pool;
use crate::queues::Queues;
use crate::timed_park::TimedPark;
use crate::worker_index;
use loopscope_probe::gauges::GaugeType;
use loopscope_probe::observer::Observer;
use loopscope_probe::raw::clock::Scale;
use loopscope_probe::raw::switch;
use loopscope_probe::{Clock, ThreadlessPage, Ticks, Writer};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Handle, Id, RuntimeFlavor, RuntimeMetrics};
use tokio::task::JoinHandle;

/// How often it is asked whether a runtime that seems stuck is there at all, in nanoseconds.
const ALIVE_EVERY_NS: u64 = 250_000_000;

/// Pages of threads that are no workers and poll wrapped futures: a page takes half a megabyte, and there may be
/// hundreds of them.
const ROOTS_MAX: usize = 8;

/// For how long a thread looks by the counters which worker it is, in nanoseconds: see [`worker_index::search`].
const SEARCH_NS: u64 = 100_000;

/// Tells whether nothing is watched: by `LOOPSCOPE=off`, or because the system is none that pages can be read on.
pub(crate) fn is_off() -> bool {
    !cfg!(target_os = "linux") || switch::is_off()
}

/// A thread of a runtime that has a page, as its runtime knows it.
pub(crate) trait Member: Send + Sync + std::fmt::Debug {
    /// How it tells what it does.
    fn tier(&self) -> Tier;
    /// Its number in the runtime's metrics, once that is known.
    fn index(&self) -> Option<usize>;
    /// Its number in labels, which no other live one of the runtime has.
    fn number(&self) -> u32;
    /// Its thread, as the kernel counts them.
    fn thread(&self) -> Option<u32>;
    /// Returns the busy period that its thread is in, where it tells, and does the work that these counters are of.
    fn busy_period(&self, counters: Counters) -> Option<BusyPeriod>;
    /// Returns when it last ran a task of ours; 0 where it has not.
    fn turned_at(&self) -> Ticks;
    /// Tells whether the thread does this work no more.
    fn is_left(&self) -> bool;
    /// Says so.
    fn leave(&self);
}

/// One watched runtime.
#[derive(Debug)]
pub(crate) struct WatchedRuntime {
    pub(crate) name: String,
    pub(crate) handle: Handle,
    /// Kept, because each one that is made counts the handle's owners up and down, on the workers.
    metrics: RuntimeMetrics,
    /// Whether its workers tell when they park, by hooks.
    pub(crate) is_hooked: bool,
    is_multi: bool,
    /// Its own page; `None` once it has ended.
    page: Mutex<Option<ThreadlessPage>>,
    pool: Mutex<Option<Pool>>,
    queues: Mutex<Option<Queues>>,
    workers: Mutex<Vec<Weak<dyn Member>>>,
    /// How many pages were made for workers, ever; and who waits for one.
    made: Mutex<usize>,
    has_made: Condvar,
    is_ended: AtomicBool,
    /// Who attached to it, and has not let go.
    watches: AtomicUsize,
    /// Who runs it and says so: see [`running`](crate::running).
    runs: AtomicUsize,
    /// The counters of its worker when it was known that nobody runs it: so while they stay. And whether that was said, or seen.
    rested: Mutex<Option<(Counters, Rest)>>,
    /// Somebody attached to it on its own thread, while it ran.
    is_inside: AtomicBool,
    /// When it was last asked whether it is there, in ticks, and by which task.
    asked_at: AtomicU64,
    asked: Mutex<Option<JoinHandle<()>>>,
    /// Tasks of ours that were sent to it, those of them that have ended, and those that have begun to run, or never will.
    tasks: [AtomicU64; 3],
    /// The last task of ours that ran where all else was parked.
    witness: Mutex<Option<Witness>>,
    /// A worker that was seen to wait, and whether a task of ours has proven since that it was one.
    timed_park: Mutex<Option<(TimedPark, Option<bool>)>>,
}

/// How it is known that nobody runs a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Its thread said that it returned.
    Said,
    /// Its thread was found outside.
    Seen,
}

/// A task of ours, until it is dropped.
#[derive(Debug)]
pub(crate) struct OwnTask {
    runtime: Arc<WatchedRuntime>,
    has_begun: bool,
}

impl OwnTask {
    /// It runs from now on.
    pub(crate) fn begin(&mut self) -> &Arc<WatchedRuntime> {
        self.leave_queue();
        &self.runtime
    }

    fn leave_queue(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.runtime.tasks[2].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OwnTask {
    fn drop(&mut self) {
        self.leave_queue();
        self.runtime.tasks[1].fetch_add(1, Ordering::Release);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static RUNTIMES: Mutex<Option<HashMap<Id, Arc<WatchedRuntime>>>> = Mutex::new(None);
/// Grows with each runtime that is watched: whoever found none watched looks again then.
static ADDED: AtomicU64 = AtomicU64::new(0);

/// Returns a number that changes with each runtime that is watched; 0 while there was none.
pub(crate) fn added() -> u64 {
    ADDED.load(Ordering::Acquire)
}

/// Returns the runtime whose context the calling thread is in, where it is watched.
pub(crate) fn current() -> Option<Arc<WatchedRuntime>> {
    known(&Handle::try_current().ok()?)
}

/// Returns the watch on this runtime.
pub(crate) fn known(handle: &Handle) -> Option<Arc<WatchedRuntime>> {
    locked(&RUNTIMES).as_ref()?.get(&handle.id()).cloned()
}

impl WatchedRuntime {
    /// Returns the watch on a runtime, and makes it where there is none. The first to come gives the name. `observer`
    /// is what the agent asks about the runtime's own page.
    pub(crate) fn of(
        handle: &Handle,
        name: &str,
        is_hooked: bool,
        observer: impl FnOnce(Weak<WatchedRuntime>) -> Arc<dyn Observer>,
    ) -> Arc<WatchedRuntime> {
        let mut runtimes = locked(&RUNTIMES);
        let known = runtimes.get_or_insert_default();
        if let Some(runtime) = known.get(&handle.id()).filter(|runtime| !runtime.is_ended()) {
            return runtime.clone();
        }
        let runtime = WatchedRuntime::make(handle, name, is_hooked, observer);
        known.insert(handle.id(), runtime.clone());
        ADDED.fetch_add(1, Ordering::Release);
        runtime
    }

    fn make(
        handle: &Handle,
        name: &str,
        is_hooked: bool,
        observer: impl FnOnce(Weak<WatchedRuntime>) -> Arc<dyn Observer>,
    ) -> Arc<WatchedRuntime> {
        let is_multi = handle.runtime_flavor() != RuntimeFlavor::CurrentThread;
        Arc::new_cyclic(|runtime: &Weak<WatchedRuntime>| {
            let builder =
                Writer::builder(&format!("{name}/shared")).runtime("tokio").describe(description::shared());
            let mut page = builder.thread("").observer(observer(runtime.clone())).build_threadless();
            let pool = page.take_pool().map(Pool::new);
            let queues = page.take_gauges().map(Queues::new);
            WatchedRuntime {
                name: name.to_owned(),
                handle: handle.clone(),
                metrics: handle.metrics(),
                is_hooked,
                is_multi,
                page: Mutex::new(Some(page)),
                pool: Mutex::new(pool),
                queues: Mutex::new(queues),
                workers: Mutex::default(),
                made: Mutex::default(),
                has_made: Condvar::new(),
                is_ended: AtomicBool::new(false),
                watches: AtomicUsize::new(0),
                runs: AtomicUsize::new(0),
                rested: Mutex::default(),
                is_inside: AtomicBool::new(false),
                asked_at: AtomicU64::new(0),
                asked: Mutex::default(),
                tasks: Default::default(),
                witness: Mutex::default(),
                timed_park: Mutex::default(),
            }
        })
    }

    /// Tells whether several workers share the runtime's timers and I/O.
    pub(crate) fn is_multi(&self) -> bool {
        self.is_multi
    }

    /// Tells whether it has several workers, one of which may keep the others' timers and I/O waiting.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_multi && self.worker_count() > 1
    }

    pub(crate) fn worker_count(&self) -> usize {
        self.metrics.num_workers()
    }

    /// Begins a task of ours: what the runtime does for it is not what it does by itself.
    pub(crate) fn begin_task(self: &Arc<Self>) -> OwnTask {
        self.tasks[0].fetch_add(1, Ordering::Relaxed);
        OwnTask { runtime: self.clone(), has_begun: false }
    }

    /// Returns how many tasks of ours were begun, and how many of them have ended.
    pub(crate) fn own_tasks(&self) -> [u64; 2] {
        let ended = self.tasks[1].load(Ordering::Acquire);
        [self.tasks[0].load(Ordering::Relaxed), ended]
    }

    /// A task of ours that runs on the worker `index`, on this thread, notes what it sees: see [`crate::parked_runtime`].
    pub(crate) fn bear_witness(&self, index: usize, thread: u32, at: Ticks) {
        *locked(&self.witness) = Some(Witness { index, thread, at, counters: self.all_counters() });
    }

    /// A task of ours runs on the worker `index`, on this thread.
    pub(crate) fn runs_on(&self, index: usize, thread: u32) {
        if let Some((park, is_proven @ None)) = &mut *locked(&self.timed_park) {
            *is_proven = park.is_proven_by(index, thread, self.counters(index).parks);
        }
    }

    /// The next task of ours on this worker is to prove that it was one.
    pub(crate) fn expect_timed_park(&self, park: TimedPark) {
        *locked(&self.timed_park) = Some((park, None));
    }

    /// Returns what was last expected, and whether it was proven.
    pub(crate) fn take_timed_park(&self) -> Option<(TimedPark, Option<bool>)> {
        locked(&self.timed_park).take()
    }

    /// Returns the workers whose threads are known: their numbers in the metrics, and the threads.
    pub(crate) fn threads(&self) -> Vec<(usize, u32)> {
        let live = Self::live(&mut locked(&self.workers));
        live.iter().filter_map(|worker| Some((worker.index()?, worker.thread()?))).collect()
    }

    /// Returns the workers that have pages and whose numbers in the metrics are known.
    pub(crate) fn indexes(&self) -> Vec<usize> {
        Self::live_of(&locked(&self.workers)).filter_map(|worker| worker.index()).collect()
    }

    /// Judges what is known of a runtime that does nothing, by its counters of now.
    pub(crate) fn quiet(&self, scale: Scale, at: Ticks, counters: &[Counters]) -> Quiet {
        let witness = locked(&self.witness).clone();
        let judge =
            |witness: Witness| witness.judge(scale, at, counters, EpollWait::of_thread(witness.thread));
        match witness.map_or(Quiet::Unknown, judge) {
            Quiet::Unknown => self.quiet_pair(counters).unwrap_or(Quiet::Unknown),
            known => known,
        }
    }

    /// The same of two workers that are parked and have pages.
    fn quiet_pair(&self, counters: &[Counters]) -> Option<Quiet> {
        let [(_, first), (_, second)] = self.threads()[..] else { return None };
        let all_sleep = counters.iter().all(Counters::is_parked);
        if counters.len() != 2 || !all_sleep {
            return None;
        }
        let waits = [first, second].map(|thread| (EpollWait::of_thread(thread), waits_for_condition(thread)));
        (self.all_counters() == counters).then(|| judge_pair(waits))
    }

    /// Reads the counters of all workers.
    pub(crate) fn all_counters(&self) -> Vec<Counters> {
        let mut counters = Vec::new();
        self.read_counters(&mut counters);
        counters
    }

    /// [`WatchedRuntime::all_counters`], in place of what there was.
    pub(crate) fn read_counters(&self, counters: &mut Vec<Counters>) {
        counters.clear();
        counters.extend((0..self.worker_count()).map(|index| self.counters(index)));
    }

    /// Returns the busy period of a worker, where its thread tells; see [`Member`].
    pub(crate) fn busy_period(&self, index: usize, counters: Counters) -> Option<BusyPeriod> {
        let workers = locked(&self.workers);
        Self::live_of(&workers).find(|worker| worker.index() == Some(index))?.busy_period(counters)
    }

    /// Returns when workers last ran tasks of ours, by their numbers in the metrics.
    pub(crate) fn turns(&self) -> Vec<(usize, Ticks)> {
        let workers = locked(&self.workers);
        Self::live_of(&workers).filter_map(|worker| Some((worker.index()?, worker.turned_at()))).collect()
    }

    /// Reads the counters of one worker.
    #[inline]
    pub(crate) fn counters(&self, index: usize) -> Counters {
        let busy = self.metrics.worker_total_busy_duration(index);
        Counters { parks: self.metrics.worker_park_unpark_count(index), busy_ns: busy.as_nanos() as u64 }
    }

    /// Calls `act` with the runtime's own page, while it has one.
    pub(crate) fn with_page<R>(&self, act: impl FnOnce(&mut ThreadlessPage) -> R) -> Option<R> {
        locked(&self.page).as_mut().map(act)
    }

    /// Returns the workers that have pages and still work.
    fn live_of(workers: &[Weak<dyn Member>]) -> impl Iterator<Item = Arc<dyn Member>> {
        workers.iter().filter_map(Weak::upgrade).filter(|worker| !worker.is_left())
    }

    /// The same, and forgets the others.
    fn live(workers: &mut Vec<Weak<dyn Member>>) -> Vec<Arc<dyn Member>> {
        let live: Vec<Arc<dyn Member>> = Self::live_of(workers).collect();
        *workers = live.iter().map(Arc::downgrade).collect();
        live
    }

    /// Tells whether each worker has a page.
    pub(crate) fn has_all_workers(&self) -> bool {
        let workers = locked(&self.workers);
        Self::live_of(&workers).filter(|worker| worker.index().is_some()).count() >= self.worker_count()
    }

    /// A worker has its page.
    pub(crate) fn has_page(&self) {
        *locked(&self.made) += 1;
        self.has_made.notify_all();
    }

    /// Waits until each worker has a page, so that the first thing that blocks one has a stack; at most for a moment,
    /// as a worker may be busy. Not on a thread that runs tasks, which others may wait for, and not where nobody runs
    /// the runtime yet.
    pub(crate) fn wait_for_pages(&self) {
        /// Workers that start need one or two milliseconds.
        const AT_MOST: Duration = Duration::from_millis(10);
        if !self.is_multi || worker_index::current().is_some() || tokio::task::try_id().is_some() {
            return;
        }
        let count = self.worker_count();
        let _ = self.has_made.wait_timeout_while(locked(&self.made), AT_MOST, |made| *made < count);
    }

    /// Adds the calling thread, as a worker or, with [`Tier::Root`], as another thread; `make` takes its number in
    /// the metrics and in labels. `None` where it is to have no page: which worker it is cannot be told yet, or there
    /// are enough of its kind.
    pub(crate) fn enlist<M: Member + 'static>(
        &self,
        tier: Tier,
        make: impl FnOnce(Option<usize>, u32) -> Arc<M>,
    ) -> Option<Arc<M>> {
        let index = if tier == Tier::Root { None } else { self.find_index() };
        let mut workers = locked(&self.workers);
        let live = Self::live(&mut workers);
        let roots = live.iter().filter(|worker| worker.tier() == Tier::Root).count();
        if tier == Tier::Observed && index.is_none() || tier == Tier::Root && roots >= ROOTS_MAX {
            return None;
        }
        self.take_over(&live, index);
        let is_free = |number: &u32| live.iter().all(|worker| worker.number() != *number);
        let own = index.map(|index| index as u32).filter(is_free);
        let first = if index.is_some() { self.worker_count() as u32 } else { 0 };
        let number = own.or_else(|| (first..).find(is_free))?;
        let worker = make(index, number);
        let member: Arc<dyn Member> = worker.clone();
        workers.push(Arc::downgrade(&member));
        Some(worker)
    }

    /// Looks again for which worker the calling thread is, where that is not known.
    pub(crate) fn identify(&self) -> Option<usize> {
        let index = self.find_index()?;
        let live = Self::live(&mut locked(&self.workers));
        self.take_over(&live, Some(index));
        Some(index)
    }

    /// Whoever did this worker's work does it no more: `block_in_place` handed it to this thread.
    fn take_over(&self, live: &[Arc<dyn Member>], index: Option<usize>) {
        live.iter()
            .filter(|worker| index.is_some() && worker.index() == index)
            .for_each(|worker| worker.leave());
    }

    fn find_index(&self) -> Option<usize> {
        if !self.is_multi {
            return Some(0);
        }
        worker_index::current().or_else(|| {
            let taken: Vec<usize> =
                Self::live(&mut locked(&self.workers)).iter().filter_map(|worker| worker.index()).collect();
            let clock = Clock::real();
            let end = clock.now().0.saturating_add(clock.scale().ticks(SEARCH_NS));
            let may_go_on = || clock.now().0 < end;
            let counters = |index| self.counters(index);
            worker_index::search(self.worker_count(), counters, |index| taken.contains(&index), may_go_on)
        })
    }

    /// Calls `act` with what is known of the pool, while the runtime is watched.
    pub(crate) fn with_pool<R>(&self, act: impl FnOnce(&mut Pool) -> R) -> Option<R> {
        locked(&self.pool).as_mut().map(act)
    }

    /// Writes the numbers of its tasks and queues to its page, and `more`: see [`Queues::publish`].
    pub(crate) fn publish_queues(&self, more: Vec<(&'static str, GaugeType, u64)>) {
        if let Some(queues) = locked(&self.queues).as_mut() {
            let [sent, ended] = self.own_tasks();
            let waiting = sent.saturating_sub(self.tasks[2].load(Ordering::Relaxed));
            queues.publish(&self.metrics, [sent.saturating_sub(ended), waiting], more);
        }
    }

    /// Returns the workers that have pages, by their number in the metrics.
    pub(crate) fn met(&self) -> Vec<usize> {
        Self::live(&mut locked(&self.workers)).iter().filter_map(|worker| worker.index()).collect()
    }

    /// Tells whether somebody runs it, as far as is known: also somebody who does not say so, once it has moved.
    pub(crate) fn is_driven(&self) -> bool {
        self.is_announced() || self.rest().is_none()
    }

    /// Returns how it is known that nobody runs it; `None` where that is not known.
    fn rest(&self) -> Option<Rest> {
        let (counters, rest) = (*locked(&self.rested))?;
        (self.counters(0) == counters).then_some(rest)
    }

    /// Tells whether its thread has left it and has not said so.
    pub(crate) fn was_left(&self) -> bool {
        !self.is_announced() && self.rest() == Some(Rest::Seen)
    }

    /// Tells whether somebody runs it and has said so.
    pub(crate) fn is_announced(&self) -> bool {
        self.runs.load(Ordering::Relaxed) > 0
    }

    /// Its thread was found outside, when its worker had these counters.
    pub(crate) fn found_outside(&self, counters: Counters) {
        if self.may_be_left() && !self.is_announced() {
            *locked(&self.rested) = Some((counters, Rest::Seen));
        }
    }

    /// Somebody runs it from now on. Returns whether nobody else does.
    pub(crate) fn begin_run(&self) -> bool {
        self.runs.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// And no more.
    pub(crate) fn end_run(&self) {
        if self.runs.fetch_sub(1, Ordering::Relaxed) == 1 {
            *locked(&self.rested) = Some((self.counters(0), Rest::Said));
        }
    }

    /// Says that it is attached to from inside: the watch ends with the run, as in `#[tokio::main]`.
    pub(crate) fn set_inside(&self) {
        self.is_inside.store(true, Ordering::Relaxed);
    }

    /// Tells whether the thread of its worker may do something else while it is watched, and nobody is told.
    pub(crate) fn may_be_left(&self) -> bool {
        !self.is_multi && !self.is_inside.load(Ordering::Relaxed)
    }

    /// Returns what the thread of its worker may do beside, of which nobody is told.
    pub(crate) fn leaves(&self) -> Leaves {
        match (self.is_multi, self.may_be_left()) {
            (true, _) => Leaves::InPlace,
            (false, true) => Leaves::BlockOn,
            (false, false) => Leaves::Never,
        }
    }

    /// Tells whether it was dropped, or is to be watched no more.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Relaxed)
    }

    /// Somebody attached to it.
    pub(crate) fn hold(&self) {
        self.watches.fetch_add(1, Ordering::Relaxed);
    }

    /// And lets go: with the last one the watch ends.
    pub(crate) fn let_go(&self) {
        if self.watches.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.end();
        }
    }

    /// Ends the watch.
    fn end(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
        if let Some(runtimes) = locked(&RUNTIMES).as_mut()
            && runtimes.get(&self.handle.id()).is_some_and(|known| std::ptr::eq(&**known, self))
        {
            runtimes.remove(&self.handle.id());
        }
        // After them the page: their words are part of it.
        let (pool, queues) = (locked(&self.pool).take(), locked(&self.queues).take());
        let page = locked(&self.page).take();
        drop((pool, queues, page));
    }

    /// Ends the watch where the runtime was dropped. Asks it by a task, which is refused then; now and then, and
    /// never by two at once: nobody may run them for long.
    pub(crate) fn check_alive(self: &Arc<Self>, clock: &Clock) {
        let (now, asked) = (clock.now(), self.asked_at.load(Ordering::Relaxed));
        if now.0.saturating_sub(asked) >= clock.scale().ticks(ALIVE_EVERY_NS) {
            self.asked_at.store(now.0, Ordering::Relaxed);
            self.check_alive_now();
        }
    }

    fn check_alive_now(self: &Arc<Self>) {
        let mut asked = locked(&self.asked);
        let task = asked.get_or_insert_with(|| {
            let task = self.begin_task();
            self.handle.spawn(async move { drop(task) })
        });
        let answer = match Pin::new(task).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => return,
            Poll::Ready(answer) => answer,
        };
        *asked = None;
        drop(asked);
        if answer.is_err_and(|refused| refused.is_cancelled()) {
            self.end();
        }
    }

    /// Tells whether no worker has a page.
    pub(crate) fn has_no_workers(&self) -> bool {
        let workers = locked(&self.workers);
        Self::live_of(&workers).next().is_none()
    }

    /// A thread has ceased to be a worker: with the last one the runtime may have ended.
    pub(crate) fn worker_ended(self: &Arc<Self>) {
        if self.has_no_workers() {
            self.check_alive_now();
        }
    }
}
