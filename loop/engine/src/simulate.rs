//! Virtual time: a clock, a poller and a pool that turn hours into microseconds and give the same order every time.
//!
//! The loop itself is the same; only what it waits on is simulated. Instead of sleeping, time jumps to the next timer
//! or the end of the next pool job. A job runs on the loop's own thread when a simulated thread would begin it, takes
//! no time by itself, and as long as it says with [`advance`]. Each poll takes one microsecond, so that a program that
//! never sleeps still gets to its timers. There are no sockets, but pairs of streams in memory
//! ([`Cx::memory_pair`](crate::Cx::memory_pair)).
//!
//! The order of what becomes ready at one moment is the one thing that a real system leaves open;
//! [`Builder::seed`](crate::Builder::seed) tries others, each the same in every run.

use crate::error::{WaitsForever, WorkError};
use crate::key::Key;
use crate::lanes::Lanes;
use crate::loop_waker::{LoopWaker, News};
use crate::poller::{Poller, Ready};
use crate::pool::{Finished, Job, Outcome, Pool};
use crate::threads::{self, Taken, Worker};
use loopscope_probe::JobRecord;
use loopscope_probe::{PoolWriter, Ticks, VirtualClock};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a poll takes, in nanoseconds.
const POLL_NS: u64 = 1_000;

/// Where virtual clocks start: not at 0, which stamps use for "not known".
const START_NS: u64 = 1_000_000_000;

thread_local! {
    static CURRENT: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
    /// What the job that runs now has taken so far; `None` outside a job.
    static JOB_NS: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Lets virtual time pass: inside a callback of a loop in virtual time, as if it had computed that long; inside a pool
/// job of such a loop, as if the job took that much longer.
///
/// Returns `false`, and does nothing, anywhere else: a program that runs in either time then really waits.
///
/// ```
/// use loopscope_loop::{Loop, Mode, simulate};
/// use std::time::Duration;
///
/// let mut event_loop = Loop::builder(()).virtual_time().build()?;
/// event_loop.main(|cx| {
///     cx.immediate(|_| {
///         simulate::advance(Duration::from_secs(5)); // as if it had computed for so long
///     });
/// });
/// event_loop.run(Mode::Default)?;
/// assert!(event_loop.main(|cx| cx.now()) >= Duration::from_secs(5));
/// # std::io::Result::Ok(())
/// ```
pub fn advance(duration: Duration) -> bool {
    let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if let Some(taken) = JOB_NS.get() {
        JOB_NS.set(Some(taken.saturating_add(ns)));
        return true;
    }
    let world = CURRENT.try_with(|current| current.borrow().clone());
    match world.ok().flatten() {
        Some(world) => world.advance(ns),
        None => return false,
    }
    true
}

/// Makes a world the thread's current one, and returns the one before. Where the thread ends there is none any more: time
/// is then the loop's own only, and [`advance`] does nothing.
fn replace_current(world: Option<Rc<World>>) -> Option<Rc<World>> {
    CURRENT.try_with(|current| current.replace(world)).ok().flatten()
}

/// The simulated surroundings of one loop.
pub(crate) struct World {
    clock: VirtualClock,
    workers: RefCell<Workers>,
    waker: Arc<LoopWaker>,
    /// Ends of pairs that became ready, in that order.
    ready: RefCell<Vec<Ready>>,
    /// What chooses another order; `None` keeps it.
    seed: Cell<Option<u64>>,
}

/// The simulated threads.
struct Workers {
    wanted: usize,
    idle: usize,
    has_started: bool,
    lanes: Lanes,
    /// What happens next, in the order of time; few enough to search.
    events: Vec<(u64, Event)>,
    finished: VecDeque<Finished>,
    probe: Option<PoolWriter>,
}

enum Event {
    /// A thread looks for a job.
    Take,
    End(Running),
}

struct Running {
    key: Key,
    job: JobRecord,
    outcome: Outcome,
}

impl World {
    pub(crate) fn new(threads: usize, waker: Arc<LoopWaker>, seed: Option<u64>) -> Rc<World> {
        let (lanes, finished, events) = (Lanes::new(threads), VecDeque::new(), Vec::new());
        let (wanted, idle, has_started, probe) = (threads, threads, false, None);
        let workers = Workers { wanted, idle, has_started, lanes, events, finished, probe };
        let (clock, workers) = (VirtualClock::starting_at(START_NS), RefCell::new(workers));
        Rc::new(World { clock, workers, waker, ready: RefCell::default(), seed: Cell::new(seed) })
    }

    pub(crate) fn clock(&self) -> VirtualClock {
        self.clock.clone()
    }

    pub(crate) fn set_probe(&self, probe: Option<PoolWriter>) {
        self.workers.borrow_mut().probe = probe;
    }

    /// Has the next poll report this.
    pub(crate) fn report(&self, ready: Ready) {
        self.ready.borrow_mut().push(ready);
    }

    /// Hands over what became ready, in the order that the seed chooses.
    fn take_ready(&self, into: &mut Vec<Ready>) {
        into.append(&mut self.ready.borrow_mut());
        let Some(mut state) = self.seed.get() else { return };
        // Fisher and Yates.
        for last in (1..into.len()).rev() {
            let other = split_mix(&mut state) % (last as u64 + 1);
            into.swap(last, other as usize);
        }
        self.seed.set(Some(state));
    }

    /// Makes this the world of the thread until the result is dropped.
    pub(crate) fn install(self: &Rc<Self>) -> Installed {
        Installed { world: replace_current(Some(self.clone())), job_ns: JOB_NS.replace(None) }
    }

    /// Lets `ns` pass, with everything that the simulated threads do meanwhile.
    fn advance(&self, ns: u64) {
        self.advance_to(self.clock.now_ns().saturating_add(ns));
    }

    fn advance_to(&self, end_ns: u64) {
        loop {
            // A statement of its own, so that nothing is borrowed while the event happens.
            let next = self.workers.borrow_mut().next_until(end_ns);
            let Some((at_ns, event)) = next else { break };
            self.clock.advance_to_ns(at_ns);
            self.happen(event);
        }
        self.clock.advance_to_ns(end_ns);
    }

    fn happen(&self, event: Event) {
        match event {
            Event::Take => self.take_job(),
            Event::End(running) => self.end_job(running),
        }
    }

    fn take_job(&self) {
        let mut workers = self.workers.borrow_mut();
        let Some((job, submitted)) = workers.lanes.take() else {
            workers.idle += 1;
            return;
        };
        let (oldest, worker) = (workers.lanes.oldest(), workers.free_worker());
        // Virtual workers have no threads.
        let worker_of = Worker { number: worker, tid: 0 };
        let taken = Taken { kind: job.kind, site: job.site, worker: worker_of, submitted, oldest };
        let started = workers.probe.as_mut().map_or(Ticks::NONE, |probe| threads::begin(probe, &taken));
        // The job is the program's: nothing may be borrowed while it runs.
        drop(workers);
        let before = JOB_NS.replace(Some(0));
        let outcome = threads::run(job.run);
        let taken_ns = JOB_NS.replace(before).unwrap_or(0);
        let mut workers = self.workers.borrow_mut();
        let record = JobRecord {
            number: 0,
            kind: job.kind,
            site: job.site,
            worker,
            submitted,
            started,
            ended: Ticks::NONE,
            is_ok: outcome.is_ok(),
        };
        let running = Running { key: job.key, job: record, outcome };
        let end_ns = self.clock.now_ns().saturating_add(taken_ns);
        workers.events.push((end_ns, Event::End(running)));
    }

    fn end_job(&self, running: Running) {
        let mut workers = self.workers.borrow_mut();
        let Running { key, mut job, outcome } = running;
        workers.lanes.ended(job.kind);
        if let Some(probe) = &mut workers.probe {
            job.ended = probe.clock().now();
            threads::end(probe, &job);
        }
        let finished = job.ended;
        workers.finished.push_back(Finished { key, outcome, submitted: job.submitted, finished });
        self.waker.count(News::Finished);
        let now_ns = self.clock.now_ns();
        workers.events.push((now_ns, Event::Take));
    }
}

impl Workers {
    /// Returns the lowest number of a thread that runs no job.
    fn free_worker(&self) -> u32 {
        let is_busy = |number: u32| {
            let runs = |event: &Event| matches!(event, Event::End(running) if running.job.worker == number);
            self.events.iter().any(|(_, event)| runs(event))
        };
        (0..).find(|number| !is_busy(*number)).unwrap_or(0)
    }

    fn next_ns(&self) -> Option<u64> {
        self.events.iter().map(|(at_ns, _)| *at_ns).min()
    }

    /// Takes the first event that happens no later than `end_ns`; of two at one moment, the one that was made first.
    fn next_until(&mut self, end_ns: u64) -> Option<(u64, Event)> {
        let first_ns = self.next_ns().filter(|at_ns| *at_ns <= end_ns)?;
        let index = self.events.iter().position(|(at_ns, _)| *at_ns == first_ns)?;
        Some(self.events.remove(index))
    }
}

/// Returns the next number of a sequence that looks random. Vigna's SplitMix64.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Keeps a world installed.
pub(crate) struct Installed {
    world: Option<Rc<World>>,
    job_ns: Option<u64>,
}

impl Drop for Installed {
    fn drop(&mut self) {
        drop(replace_current(self.world.take()));
        JOB_NS.set(self.job_ns);
    }
}

/// Jumps instead of waiting.
pub(crate) struct SimulatedPoller(pub(crate) Rc<World>);

impl Poller for SimulatedPoller {
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let world = &self.0;
        // An end that no clock can show is none.
        let end_ns = timeout.and_then(|timeout| {
            let timeout_ns = u64::try_from(timeout.as_nanos()).ok()?;
            world.clock.now_ns().checked_add(timeout_ns)
        });
        world.advance(POLL_NS);
        loop {
            let has_news = world.waker.has_any() || !world.ready.borrow().is_empty();
            if has_news || end_ns.is_some_and(|end_ns| end_ns <= world.clock.now_ns()) {
                world.take_ready(ready);
                return Ok(());
            }
            let event_ns = world.workers.borrow().next_ns();
            let Some(next_ns) = event_ns.into_iter().chain(end_ns).min() else {
                return Err(io::Error::new(io::ErrorKind::Deadlock, WaitsForever));
            };
            world.advance_to(next_ns);
        }
    }

    fn registry(&self) -> Option<&mio::Registry> {
        None
    }
}

/// Runs jobs in virtual time.
pub(crate) struct SimulatedPool(pub(crate) Rc<World>);

impl Pool for SimulatedPool {
    fn submit(&mut self, job: Job) {
        let now_ns = self.0.clock.now_ns();
        let mut workers = self.0.workers.borrow_mut();
        let (is_first, threads) = (!std::mem::replace(&mut workers.has_started, true), workers.wanted);
        let stamp = workers.probe.as_mut().map_or(Ticks::NONE, |probe| {
            if is_first {
                probe.threads(threads);
            }
            let stamp = probe.clock().now();
            probe.submitted(job.kind, stamp);
            stamp
        });
        workers.lanes.push(job, stamp);
        if workers.idle > 0 {
            workers.idle -= 1;
            workers.events.push((now_ns, Event::Take));
        }
    }

    fn cancel(&mut self, key: Key) -> bool {
        let mut workers = self.0.workers.borrow_mut();
        let Some((job, submitted)) = workers.lanes.cancel(Key::NOBODY, key) else { return false };
        let oldest = workers.lanes.oldest();
        let finished = workers.probe.as_mut().map_or(Ticks::NONE, |probe| {
            probe.cancelled(job.kind, oldest);
            probe.clock().now()
        });
        let outcome = Err(WorkError::Cancelled);
        workers.finished.push_back(Finished { key, outcome, submitted, finished });
        self.0.waker.count(News::Finished);
        drop(workers);
        true
    }

    fn take_finished(&mut self, into: &mut VecDeque<Finished>) {
        let mut workers = self.0.workers.borrow_mut();
        self.0.waker.taken(News::Finished, workers.finished.len());
        into.append(&mut workers.finished);
    }
}
