//! One worker thread of a watched runtime, as the agent asks about it.
//!
//! A worker polls its driver every 61 polls without a hook, a thread ceases to be a worker without one
//! (`block_in_place` hands its work to another thread; `block_on` returns; a runtime is dropped), and one that was
//! only attached to tells nothing at all. The runtime's counters tell all of that to whoever looks.

use crate::activity::{Activity, Counters};
use crate::description::Tier;
use crate::epoll_wait::own_thread;
use crate::hidden_polls::{BusyPeriod, HiddenPolls};
use crate::runtime::{Member, WatchedRuntime};
use crate::worker_index::Candidates;
use loopscope_probe::observer::{Observer, Sighting};
use loopscope_probe::{Clock, Ticks};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The agent looks this often at a worker that was attached to and is busy, in nanoseconds: a busy period begins so
/// much late, and a stall is to be told within 10 ms. Most of a look's cost is to wake the agent.
const LOOK_NS: u64 = 9_500_000;
/// A worker of which is not known when it was busy, which one it is, or who runs it, is looked at this often, in nanoseconds.
const TURN_LOOK_NS: u64 = 10_000_000;
/// A worker with hooks rings when it wakes. A busy period that is so old at a look is looked at so soon again, in nanoseconds: the
/// nearer the looks, the better is known when its hidden polls were. A younger one will most likely be over by then; where it is
/// not, the agent looks when it has lasted for the threshold.
const LASTING_NS: u64 = 5_000_000;
const LASTING_LOOK_NS: u64 = 20_000_000;
/// What only a second look decides is looked at again so soon, in nanoseconds.
const SECOND_LOOK_NS: u64 = 1_000_000;
/// A worker that was awake this long ago may be so again soon. Later its runtime's page tells when to look
/// (`runtime_observer.rs`).
const RECENT_NS: u64 = 100_000_000;
/// One that has not moved for so long may be of a runtime that is gone.
const SUSPECT_NS: u64 = 20_000_000;
const SUSPECT_SHARED_NS: u64 = 2_000_000_000;

/// Shared by the thread, whose page it is about, and the agent.
// In this order: what each hook needs is on one line of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Worker {
    pub(crate) runtime: Arc<WatchedRuntime>,
    /// Its number in the runtime's metrics, once that is known.
    index: OnceLock<usize>,
    /// Odd while the thread is busy, and another number for each period: the thread publishes (release) what follows with it.
    period: AtomicU64,
    /// When the period began, in ticks, and the counters then.
    began: AtomicU64,
    base_busy_ns: AtomicU64,
    base_parks: AtomicU64,
    /// The thread does this work no more. Set by whoever finds out; not taken back.
    is_left: AtomicBool,
    /// A task of ours stays with it.
    is_asked: AtomicBool,
    pub(crate) tier: Tier,
    /// Its number in labels, which no other live worker of the runtime has.
    pub(crate) number: u32,
    /// Its thread, as the kernel counts them.
    thread: Option<u32>,
    /// When it last ran a task of ours, in ticks: then it was between two polls of the program's tasks.
    turned: AtomicU64,
    watched: Mutex<Watched>,
}

/// What only the agent's looks change.
#[derive(Debug)]
struct Watched {
    activity: Activity,
    clock: Clock,
    /// When it was last seen awake or moving.
    active_at: Ticks,
    /// The period in which the counters contradicted the thread.
    contradicted: u64,
    /// The counters at the last look.
    counters: Counters,
    /// Of a worker with hooks.
    hidden_polls: HiddenPolls,
    /// Of one whose number is not known.
    candidates: Candidates,
}

impl Worker {
    /// On its thread.
    fn new(runtime: Arc<WatchedRuntime>, tier: Tier, index: Option<usize>, number: u32) -> Worker {
        let clock = Clock::real();
        let counters = index.map(|index| runtime.counters(index)).unwrap_or_default();
        let now = clock.now();
        let activity = Activity::new(clock.scale(), now, counters);
        let (hidden_polls, candidates) = Default::default();
        let watched =
            Watched { activity, clock, active_at: now, contradicted: 0, counters, hidden_polls, candidates };
        Worker {
            runtime,
            tier,
            index: index.map(OnceLock::from).unwrap_or_default(),
            number,
            thread: own_thread(),
            is_left: AtomicBool::new(false),
            period: AtomicU64::new(0),
            began: AtomicU64::new(0),
            base_busy_ns: AtomicU64::new(0),
            base_parks: AtomicU64::new(0),
            turned: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
            watched: Mutex::new(watched),
        }
    }

    /// Adds the calling thread to its runtime, as [`WatchedRuntime::enlist`].
    pub(crate) fn enlist(runtime: &Arc<WatchedRuntime>, tier: Tier) -> Option<Arc<Worker>> {
        runtime.enlist(tier, |index, number| Arc::new(Worker::new(runtime.clone(), tier, index, number)))
    }

    /// The thread's side: looks again for which worker it is, where that is not known, and returns its number.
    #[cold]
    pub(crate) fn identify(&self) -> Option<usize> {
        let index = self.runtime.identify()?;
        // Only the thread itself says so.
        let _ = self.index.set(index);
        Some(index)
    }

    /// The thread's side: a busy period begins of the worker of this number, where that is known.
    #[inline]
    pub(crate) fn begin_period(&self, index: Option<usize>, now: Ticks) {
        // Whoever sees a word of this period sees that the one before has ended.
        fence(Ordering::Release);
        self.began.store(now.0, Ordering::Relaxed);
        if let Some(index) = index {
            let counters = self.runtime.counters(index);
            self.base_busy_ns.store(counters.busy_ns, Ordering::Relaxed);
            self.base_parks.store(counters.parks, Ordering::Relaxed);
        }
        // The thread alone changes it.
        self.period.store(self.period.load(Ordering::Relaxed) | 1, Ordering::Release);
    }

    /// The thread's side: it waits.
    #[inline]
    pub(crate) fn end_period(&self) {
        let period = self.period.load(Ordering::Relaxed);
        self.period.store((period | 1).wrapping_add(1), Ordering::Release);
    }

    /// The thread's side: for how long the worker had been busy in this period when it last polled its driver, in
    /// nanoseconds; `None` where it has not.
    pub(crate) fn turned_after_ns(&self) -> Option<u64> {
        let busy_ns = self.runtime.counters(self.index()?).busy_ns;
        Some(busy_ns.saturating_sub(self.base_busy_ns.load(Ordering::Relaxed))).filter(|ns| *ns > 0)
    }

    /// The thread's side: it runs a task of ours.
    pub(crate) fn turn(&self, now: Ticks) {
        self.turned.store(now.0, Ordering::Release);
    }

    /// A task of ours wants to stay with it. Returns whether no other one does.
    pub(crate) fn is_asked_by_one_more(&self) -> bool {
        !self.is_asked.swap(true, Ordering::Relaxed)
    }

    /// It stays no more.
    pub(crate) fn is_asked_no_more(&self) {
        self.is_asked.store(false, Ordering::Relaxed);
    }

    /// A worker that tells when it parks: looks for polls that it did not tell, and for its end.
    fn look_at_hooked(&self, index: usize, at: Ticks) -> Sighting {
        let Some((period, base_parks)) = self.period_now() else { return Sighting::nothing() };
        let Some(counters) = self.read_in_period(period.number, || self.runtime.counters(index)) else {
            return Sighting::nothing();
        };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // While this thread is in one busy period, its worker parked: another thread does that work now. Seen twice, because
        // the counter may be seen before the thread's own word is.
        if is_contradicted(base_parks, counters) {
            if std::mem::replace(&mut watched.contradicted, period.number) == period.number {
                self.leave();
                return Sighting::nothing().retired();
            }
            return Sighting::nothing().turn(at.0).again_within(SECOND_LOOK_NS);
        }
        watched.counters = counters;
        // Nobody says when it goes on: each look is taken for a poll.
        if !self.runtime.is_driven() {
            return Sighting::nothing().turn(at.0).again_within(TURN_LOOK_NS);
        }
        if counters.busy_ns == period.base_busy_ns {
            self.suspect(&watched, watched.clock.ns_between(period.began, at));
        }
        self.hidden_polls(&mut watched, at, period)
    }

    /// A worker that tells when it parks, and of which nobody knows which one it is: before Tokio 1.54, where another one was awake, or
    /// had not begun, at each of its hooks so far. Looks for polls of all that it may be.
    fn look_at_unknown(&self, at: Ticks) -> Sighting {
        let Some((period, _)) = self.period_now() else { return Sighting::nothing() };
        let sighting = Sighting::nothing().again_within(TURN_LOOK_NS);
        let Some(counters) = self.read_in_period(period.number, || self.runtime.all_counters()) else {
            return sighting;
        };
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let may_have_polled = watched.candidates.look(period.number, &counters);
        if may_have_polled { sighting.turn(at.0) } else { sighting }
    }

    /// Returns the busy period that the thread is in, and its worker's parks when it began; `None` while it waits, or between two.
    fn period_now(&self) -> Option<(BusyPeriod, u64)> {
        let number = self.period.load(Ordering::Acquire);
        if number & 1 == 0 {
            return None;
        }
        self.read_in_period(number, || {
            let began = Ticks(self.began.load(Ordering::Relaxed));
            let base_busy_ns = self.base_busy_ns.load(Ordering::Relaxed);
            (BusyPeriod { number, began, base_busy_ns }, self.base_parks.load(Ordering::Relaxed))
        })
    }

    /// Returns what `read` reads, where the busy period of this number has not ended meanwhile.
    fn read_in_period<T>(&self, number: u64, read: impl FnOnce() -> T) -> Option<T> {
        let found = read();
        fence(Ordering::Acquire);
        (self.period.load(Ordering::Relaxed) == number).then_some(found)
    }

    fn hidden_polls(&self, watched: &mut Watched, at: Ticks, period: BusyPeriod) -> Sighting {
        let scale = watched.clock.scale();
        let busy_ns = watched.counters.busy_ns;
        let last = watched.hidden_polls.look(scale, at, period, busy_ns);
        let sighting = match scale.ns(at.since(period.began)) {
            _ if last.is_some_and(|last| last.is_vague) => Sighting::nothing().again_within(SECOND_LOOK_NS),
            LASTING_NS.. => Sighting::nothing().again_within(LASTING_LOOK_NS),
            _ => Sighting::nothing(),
        };
        let number = busy_ns.saturating_sub(period.base_busy_ns);
        last.map_or(sighting, |last| sighting.turn_at(number, last.at))
    }

    /// A worker that tells nothing: its counters tell when it was busy.
    fn look_at_silent(&self, index: usize, at: Ticks) -> Sighting {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let (counters, was_awake) = (self.runtime.counters(index), watched.activity.is_awake());
        let is_driven = self.runtime.is_driven();
        watched.counters = counters;
        let before = watched.activity.look(at, counters, is_driven, self.turned_at());
        let moved_at = before.parked_since.max(before.busy_since);
        if moved_at > watched.active_at {
            watched.active_at = moved_at;
        }
        let quiet_ns = watched.clock.ns_between(watched.active_at, at);
        if watched.activity.is_awake() && quiet_ns > SUSPECT_NS {
            self.suspect(&watched, quiet_ns);
        }
        let is_recent = watched.activity.is_awake() || quiet_ns < RECENT_NS;
        let sighting = Sighting::nothing().observed(before).again_within(if is_recent { LOOK_NS } else { 0 });
        // What was taken for a busy period of a thread that had left was none.
        let was_none = watched.activity.ended_unseen() || was_awake && !is_driven;
        if was_none { sighting.turn(at.0) } else { sighting }
    }

    /// It seems stuck, for so long: whether its runtime is there at all is asked now and then. Of several workers another one
    /// would wake for that, and poll the driver in its place, so that is left for long.
    fn suspect(&self, watched: &Watched, still_ns: u64) {
        if !self.runtime.is_shared() || still_ns > SUSPECT_SHARED_NS {
            self.runtime.check_alive(&watched.clock);
        }
    }
}

/// Tells whether a worker parked while a thread is in one busy period, which began with so many parks: another thread does its work now.
fn is_contradicted(base_parks: u64, counters: Counters) -> bool {
    counters.parks != base_parks && base_parks.is_multiple_of(2)
}

impl Member for Worker {
    fn tier(&self) -> Tier {
        self.tier
    }

    #[inline]
    fn index(&self) -> Option<usize> {
        self.index.get().copied()
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn thread(&self) -> Option<u32> {
        self.thread
    }

    fn busy_period(&self, counters: Counters) -> Option<BusyPeriod> {
        let (period, base_parks) = self.period_now()?;
        (!is_contradicted(base_parks, counters)).then_some(period)
    }

    fn turned_at(&self) -> Ticks {
        Ticks(self.turned.load(Ordering::Acquire))
    }

    #[inline]
    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Relaxed)
    }

    fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}

impl Observer for Worker {
    fn look(&self, at: Ticks) -> Sighting {
        if self.is_left() || self.runtime.is_ended() {
            return Sighting::nothing().retired();
        }
        match (self.tier, self.index()) {
            (Tier::Hooked, Some(index)) => self.look_at_hooked(index, at),
            (Tier::Observed, Some(index)) => self.look_at_silent(index, at),
            (Tier::Hooked, None) => self.look_at_unknown(at),
            (Tier::Observed | Tier::Root, _) => Sighting::nothing(),
        }
    }

    fn found_outside(&self) {
        let Some(index) = self.index() else { return };
        let last = self.watched.lock().unwrap_or_else(PoisonError::into_inner).counters;
        // One that has moved since the look was in the runtime again.
        if self.runtime.counters(index) == last {
            self.runtime.found_outside(last);
        }
    }
}
