//! What the workers of a runtime share, as the agent asks about it: a timer that should come shows how long timers
//! and I/O wait, and a job that should run shows how long the blocking pool's jobs do.
//!
//! Both are sent while the runtime does something, and never while a worker seems stuck: a task that is spawned from
//! outside wakes a worker, which would hide what is to be told. While all is parked nothing is sent, and where that
//! can be (`parked_runtime.rs`), nobody looks either.

use crate::activity::{Counters, is_unseen};
use crate::asks::{self, Asks};
use crate::hidden_polls::HiddenPolls;
use crate::own_tasks::{bear_witness, send_canary, send_to_each, send_witness, visit_workers};
use crate::parked_runtime::Quiet;
use crate::pool;
use crate::runtime::WatchedRuntime;
use crate::still_worker::{CALM_LOOK_NS, RunDelay, STUCK_NS, StillWorker, TOLD_LOOK_NS};
use crate::timers::TimerSearch;
use crate::unstable;
use crate::worker_page;
use loopscope_probe::observer::{Asleep, Observed, Observer, Sighting};
use loopscope_probe::{Clock, Ticks};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// A timer is due this long after it was set.
const BEAT: Duration = Duration::from_millis(10);
/// Tokio's timers come at whole milliseconds: so late is not late, in nanoseconds.
const TIMER_NS: u64 = 1_000_000;
/// The next one is set this long after the last, in nanoseconds.
const BEAT_EVERY_NS: u64 = 30_000_000;
/// A timer that is this late is what the runtime is busy with, in nanoseconds.
const LATE_NS: u64 = 3_000_000;
/// A job is sent to the blocking pool so often while others wait there, in nanoseconds; see [`pool::EVERY_NS`].
const CANARY_QUEUED_NS: u64 = 30_000_000;
/// How often to look while something is on its way, or was done lately, in nanoseconds: where since when a worker is stuck is known
/// from looks alone.
const LOOK_NS: u64 = 10_000_000;
/// Of so many workers it is read at each look how long they had no processor: some 3 us each, and to look more often is a wake-up.
const FEW_WORKERS: usize = 8;
/// The agent may be asked to look for a worker by so much earlier, in nanoseconds: both are done in one look then.
const EARLY_NS: u64 = 3_000_000;
/// So often where it is not known what wakes workers that do not ring, in nanoseconds.
const IDLE_LOOK_NS: u64 = 25_000_000;
/// So often where a worker is about to wake, or none runs because nobody runs the runtime, in nanoseconds.
const DUE_LOOK_NS: u64 = 5_000_000;
const RESTING_LOOK_NS: u64 = 1_000_000_000;
const RECENT_NS: u64 = 50_000_000;
/// A runtime that is quiet, and of which something is not known that a task of ours can find out, is sent one after
/// so long, in nanoseconds, then after four times as long, and so on.
const FIRST_SETTLE_NS: u64 = 50_000_000;
const LAST_SETTLE_NS: u64 = 10_000_000_000;
/// Workers of a busy runtime that have no page are visited after so long, in nanoseconds, then after twice as long,
/// and so on.
const FIRST_VISIT_NS: u64 = 10_000_000;
const LAST_VISIT_NS: u64 = 320_000_000;

/// Asked by the agent about the page of what the workers share.
#[derive(Debug)]
pub(crate) struct RuntimeObserver {
    runtime: Weak<WatchedRuntime>,
    beat: Arc<Beat>,
    looks: Mutex<Looks>,
}

/// The timer that was set. Set by the looks, and ended by its task.
#[derive(Debug, Default)]
struct Beat {
    /// When it is due, in ticks; 0 while none is set.
    due: AtomicU64,
    /// It was overdue while nobody may have run the runtime: how late it came says nothing.
    may_be_left: AtomicBool,
}

/// What looks remember.
#[derive(Debug)]
struct Looks {
    clock: Clock,
    counters: Vec<Counters>,
    /// Room for those of the next look.
    next_counters: Vec<Counters>,
    /// Since when each worker has not moved.
    still: Vec<StillWorker>,
    /// What the kernel tells of their threads; `None` before it was asked.
    delays: Vec<Option<RunDelay>>,
    /// Their hidden polls, where they tell their busy periods.
    hidden_polls: Vec<HiddenPolls>,
    /// How soon to look again at workers that tell since when they are busy, in nanoseconds.
    told_look_ns: u64,
    /// When the worker moved last that the last look found to be stuck.
    stuck_moved_at: Option<Ticks>,
    /// When a worker last moved, and not for a task of ours.
    active_at: Ticks,
    own_tasks: [u64; 2],
    /// When a task was last sent to a quiet runtime to find something out, and how long to wait before the next.
    settled_at: Ticks,
    settle_ns: u64,
    /// When workers were last visited, and how long to wait before the next visit.
    visited_at: Ticks,
    visit_ns: u64,
    beat_at: Ticks,
    canary_at: Ticks,
    /// It was sent because the runtime had ceased to do something.
    was_last: bool,
    timers: TimerSearch,
    asks: Asks,
    seen: Observed,
    /// When the last look was.
    looked_at: Ticks,
    /// Until then nothing is to be done that the last look did not do.
    rests_until: Ticks,
    /// Since when a worker is busy that was found awake is known from looks alone.
    is_vague: bool,
}

/// Returns the watch on a runtime, as [`WatchedRuntime::of`], with a pulse.
pub(crate) fn watch(handle: &Handle, name: &str, is_hooked: bool) -> Arc<WatchedRuntime> {
    WatchedRuntime::of(handle, name, is_hooked, |runtime| Arc::new(RuntimeObserver::new(runtime)))
}

impl RuntimeObserver {
    fn new(runtime: Weak<WatchedRuntime>) -> RuntimeObserver {
        let clock = Clock::real();
        let now = clock.now();
        let looks = Looks {
            clock,
            counters: Vec::new(),
            next_counters: Vec::new(),
            still: Vec::new(),
            delays: Vec::new(),
            hidden_polls: Vec::new(),
            told_look_ns: TOLD_LOOK_NS,
            stuck_moved_at: None,
            active_at: now,
            own_tasks: [0; 2],
            settled_at: now,
            settle_ns: FIRST_SETTLE_NS,
            visited_at: now,
            visit_ns: FIRST_VISIT_NS,
            beat_at: Ticks(0),
            canary_at: Ticks(0),
            was_last: true,
            timers: TimerSearch::new(),
            asks: Asks::default(),
            seen: Observed { parked_since: now, ..Observed::default() },
            looked_at: now,
            rests_until: now,
            is_vague: true,
        };
        RuntimeObserver { runtime, beat: Arc::default(), looks: Mutex::new(looks) }
    }
}

impl Observer for RuntimeObserver {
    fn look(&self, at: Ticks) -> Sighting {
        // It is not there while it is being made.
        let Some(runtime) = self.runtime.upgrade() else { return Sighting::nothing() };
        if runtime.is_ended() {
            return Sighting::nothing().retired();
        }
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rest_ns) = looks.rest_ns(at) {
            return Sighting::nothing().observed(looks.seen).again_within(rest_ns);
        }
        if runtime.has_no_workers() || !runtime.is_driven() {
            runtime.check_alive(&Clock::real());
        }
        looks.note(&runtime, at);
        // Before tasks of ours are sent.
        runtime.publish_queues(unstable::numbers(&runtime.handle));
        looks.look_for_timers(&runtime, at);
        let is_recent = looks.is_within(RECENT_NS, looks.active_at, at);
        if is_recent {
            looks.set_beat(&runtime, &self.beat, at);
        }
        let canary_waits = runtime.with_pool(|pool| {
            pool.publish(at, unstable::pool(&runtime.handle).unwrap_or_default());
            pool.canary_since != Ticks::NONE
        });
        let is_asked = looks.send_canary(&runtime, is_recent, at) || canary_waits == Some(true);
        if is_recent && !runtime.is_hooked {
            looks.visit(&runtime, at);
        }
        looks.ask(&runtime, at);
        let due = self.beat.due.load(Ordering::Acquire);
        if looks.may_be_left(&runtime, due, at) {
            self.beat.may_be_left.store(true, Ordering::Relaxed);
        }
        let (before, looked_at) = (looks.seen, std::mem::replace(&mut looks.looked_at, at));
        let seen = looks.judge(&runtime, due, at);
        let is_due = due != 0 && !runtime.was_left();
        let is_pending = is_due || is_asked || is_recent || looks.asks.are_out();
        let has_ended = seen.parked_since != before.parked_since;
        let is_unseen = has_ended && is_unseen(looks.clock.scale(), before.busy_since, looked_at, at);
        let sighting = Sighting::nothing().observed(seen);
        let sighting = if is_unseen { sighting.turn(at.0) } else { sighting };
        match (is_pending, runtime.is_hooked) {
            (true, _) => {
                let again_ns = looks.look_ns(&runtime, due, at);
                looks.rests_until = Ticks(at.0 + looks.clock.scale().ticks(again_ns - EARLY_NS));
                sighting.again_within(again_ns)
            }
            (false, true) => sighting,
            (false, false) => looks.rest(&runtime, &self.beat, at, sighting),
        }
    }
}

impl Looks {
    fn is_within(&self, ns: u64, since: Ticks, at: Ticks) -> bool {
        self.clock.ns_between(since, at) < ns
    }

    /// Returns for how long nothing is to be done yet, in nanoseconds; `None` where it is time to look.
    fn rest_ns(&self, at: Ticks) -> Option<u64> {
        let rest_ns = self.clock.ns_between(at, self.rests_until);
        (at < self.rests_until).then_some(rest_ns + EARLY_NS)
    }

    /// Returns when to look again, while something is on its way or was done lately, in nanoseconds. `due` is when the timer is due
    /// that was set, 0 without one.
    fn look_ns(&self, runtime: &WatchedRuntime, due: u64, at: Ticks) -> u64 {
        let is_complete = self.timers.is_settled() && (runtime.is_hooked || runtime.has_all_workers());
        // Whether a timer is overdue while its thread is outside must be noticed before it comes.
        let may_be_outside = due != 0 && runtime.may_be_left() && !runtime.is_announced();
        match runtime.is_shared() {
            _ if !is_complete || self.asks.are_out() => LOOK_NS,
            _ if may_be_outside => self.until_late_ns(due, at).unwrap_or(LOOK_NS),
            true if self.is_vague => LOOK_NS,
            true => self.told_look_ns,
            false => CALM_LOOK_NS,
        }
    }

    /// Returns after how long a timer that is due then is overdue; `None` where it is now.
    fn until_late_ns(&self, due: u64, at: Ticks) -> Option<u64> {
        let scale = self.clock.scale();
        let late = Ticks(due.saturating_add(scale.ticks(LATE_NS)));
        // A look just before would be one too many, and so would be one that another's took along.
        (at < late).then(|| scale.ns(late.since(at)) + EARLY_NS + TIMER_NS)
    }

    /// Notes whether a worker has moved since the last look.
    fn note(&mut self, runtime: &WatchedRuntime, at: Ticks) {
        let tasks = runtime.own_tasks();
        let is_own = tasks[0] != tasks[1] || tasks != self.own_tasks;
        self.own_tasks = tasks;
        let mut counters = std::mem::take(&mut self.next_counters);
        runtime.read_counters(&mut counters);
        self.still.resize(counters.len(), StillWorker::moved(at));
        self.hidden_polls.resize(counters.len(), HiddenPolls::default());
        let (mut has_moved, mut is_vague) = (false, false);
        for (index, now) in counters.iter().enumerate() {
            if self.counters.get(index) == Some(now) {
                self.hidden_polls[index].stays(at);
                continue;
            }
            let moved_at = self.moved_at(runtime, index, *now, at);
            has_moved = true;
            is_vague |= moved_at.is_none() && !now.is_parked();
            let before = self.delays.get(index).and_then(|delay| delay.as_ref()?.last_ns());
            self.still[index] = StillWorker::moved(moved_at.unwrap_or(at)).after(before);
        }
        self.next_counters = std::mem::replace(&mut self.counters, counters);
        self.is_vague = is_vague || !has_moved && self.is_vague;
        let goes_on = is_own && self.note_turns(runtime);
        if has_moved && !is_own || goes_on {
            (self.active_at, self.settled_at, self.settle_ns) = (at, at, FIRST_SETTLE_NS);
        }
    }

    /// Returns when a worker moved that a look found with these counters; `None` where nobody knows.
    fn moved_at(
        &mut self,
        runtime: &WatchedRuntime,
        index: usize,
        counters: Counters,
        at: Ticks,
    ) -> Option<Ticks> {
        let period = if runtime.is_hooked { runtime.busy_period(index, counters)? } else { return None };
        let polls = &mut self.hidden_polls[index];
        let moved_at = match polls.look(self.clock.scale(), at, period, counters.busy_ns) {
            None => period.began,
            Some(last) if last.is_vague => return None,
            Some(last) => last.at,
        };
        Some(moved_at.min(at))
    }

    /// Notes the workers that are awake as they were at the last look, and have run a task of ours since: they were not stuck. Returns
    /// whether there are any, which then have enough to do by themselves.
    fn note_turns(&mut self, runtime: &WatchedRuntime) -> bool {
        let is_same = |index: usize| {
            let same = self.counters.get(index).filter(|now| self.next_counters.get(index) == Some(now));
            same.is_some_and(|now| !now.is_parked())
        };
        let turns = runtime.turns().into_iter().filter(|(index, _)| is_same(*index));
        let later: Vec<_> = turns.filter(|(index, at)| *at > self.still[*index].moved_at()).collect();
        for (index, at) in &later {
            self.still[*index] = StillWorker::moved(*at);
        }
        !later.is_empty()
    }

    /// Asks workers that have not moved for a while whether they are stuck, where no other one would wake for that.
    fn ask(&self, runtime: &Arc<WatchedRuntime>, at: Ticks) {
        let is_still = |worker: &StillWorker| !self.is_within(asks::STILL_NS, worker.moved_at(), at);
        let can_ask = runtime.is_multi() && !self.counters.iter().any(Counters::is_parked);
        if can_ask && self.still.iter().any(is_still) {
            self.asks.send(runtime);
        }
    }

    /// Has the workers visited that have no page; the more rarely, the longer one is not met, as visits cost the others a
    /// few milliseconds, and not while each of them is blocked.
    fn visit(&mut self, runtime: &Arc<WatchedRuntime>, at: Ticks) {
        if runtime.has_all_workers() {
            self.visit_ns = FIRST_VISIT_NS;
        } else if !self.is_within(self.visit_ns, self.visited_at, at) && self.can_meet(runtime) {
            (self.visited_at, self.visit_ns) = (at, (self.visit_ns * 2).min(LAST_VISIT_NS));
            visit_workers(runtime);
        }
    }

    /// Tells whether a worker without a page can run a task of ours.
    fn can_meet(&self, runtime: &WatchedRuntime) -> bool {
        let met = runtime.indexes();
        let mut counters = self.counters.iter().zip(&self.still).enumerate();
        counters.any(|(index, (now, still))| {
            !met.contains(&index) && still.can_be_met(now.parks, self.visited_at)
        })
    }

    /// Nothing is on its way in a runtime whose workers do not ring: says when to look again, and what wakes the
    /// agent before.
    fn rest(
        &mut self,
        runtime: &Arc<WatchedRuntime>,
        beat: &Arc<Beat>,
        at: Ticks,
        sighting: Sighting,
    ) -> Sighting {
        // Nobody has run it yet: a task of ours waits there, and its page rings when it is made.
        let is_new = runtime.has_no_workers() && self.counters.iter().all(|counters| counters.parks == 0);
        // Who has left it unannounced comes back unannounced.
        if runtime.was_left() {
            return sighting.again_within(IDLE_LOOK_NS);
        }
        if is_new || !runtime.is_driven() {
            return sighting.asleep(Asleep { descriptor: None, within_ns: RESTING_LOOK_NS });
        }
        let quiet = runtime.quiet(self.clock.scale(), at, &self.counters);
        let is_whole = runtime.has_all_workers();
        // Not while one may be stuck.
        let is_known = is_whole && matches!(quiet, Quiet::Known(_));
        if self.are_all_parked() && !is_known && !self.is_within(self.settle_ns, self.settled_at, at) {
            (self.settled_at, self.settle_ns) = (at, (self.settle_ns * 4).min(LAST_SETTLE_NS));
            if !is_whole {
                visit_workers(runtime);
            } else if !self.set_beat(runtime, beat, at) {
                send_witness(runtime);
            }
            return sighting.again_within(LOOK_NS);
        }
        match quiet {
            Quiet::Known(asleep) => {
                let settle_ns = if is_whole { asleep.within_ns } else { self.settle_ns };
                sighting.asleep(Asleep { within_ns: asleep.within_ns.min(settle_ns), ..asleep })
            }
            Quiet::Due => sighting.again_within(DUE_LOOK_NS),
            Quiet::Unknown => sighting.again_within(IDLE_LOOK_NS),
        }
    }

    /// Finds out whether the runtime has timers, where that is not known.
    fn look_for_timers(&mut self, runtime: &Arc<WatchedRuntime>, at: Ticks) {
        let [begun, ended] = self.own_tasks;
        if begun == ended && self.timers.look(runtime, self.clock.scale(), at) {
            send_to_each(runtime);
        }
    }

    /// Sets a timer, unless one was set shortly before. Returns false where the runtime has none, as far as is known.
    fn set_beat(&mut self, runtime: &Arc<WatchedRuntime>, beat: &Arc<Beat>, at: Ticks) -> bool {
        if !self.timers.has_found() {
            return false;
        }
        let is_early = self.is_within(BEAT_EVERY_NS - EARLY_NS, self.beat_at, at);
        if is_early || beat.due.load(Ordering::Acquire) != 0 {
            return true;
        }
        self.beat_at = at;
        let clock = self.clock.clone();
        let due_at = clock.now().0 + clock.scale().ticks(BEAT.as_nanos() as u64);
        beat.may_be_left.store(false, Ordering::Relaxed);
        beat.due.store(due_at, Ordering::Release);
        let (mut task, of) = (runtime.begin_task(), TimerGuard(beat.clone()));
        runtime.handle.spawn(async move {
            let (end, runtime) = (of, task.begin());
            worker_page::turn(runtime);
            // Until now the task has waited for a worker: no timer was late.
            let due_at = clock.now().0 + clock.scale().ticks(BEAT.as_nanos() as u64);
            end.0.due.store(due_at, Ordering::Release);
            tokio::time::sleep(BEAT).await;
            let late_ns = clock.ns_between(Ticks(due_at), clock.now());
            if !end.0.may_be_left.load(Ordering::Relaxed) {
                runtime.with_page(|page| page.probe_waited(late_ns.saturating_sub(TIMER_NS), BEAT_EVERY_NS));
            }
            match runtime.is_hooked {
                true => worker_page::turn(runtime),
                false => bear_witness(runtime, &clock),
            }
        });
        true
    }

    /// Tells whether a timer that was due then is overdue while the thread of the runtime may be outside.
    fn may_be_left(&self, runtime: &WatchedRuntime, due: u64, at: Ticks) -> bool {
        let scale = self.clock.scale();
        let is_overdue = due != 0 && at.0 > due + scale.ticks(LATE_NS);
        let is_unknown = runtime.may_be_left() && !runtime.is_announced();
        is_overdue
            && is_unknown
            && self.still.first().is_some_and(|worker| worker.may_be_out(scale, Ticks(due), at))
    }

    /// Sends a job to the pool where it is time for one: while the runtime does something, and once more when it ceases to, because
    /// the jobs that it waits for may wait themselves. Returns whether one was sent.
    fn send_canary(&mut self, runtime: &Arc<WatchedRuntime>, is_recent: bool, at: Ticks) -> bool {
        let every_ns = match runtime.with_pool(|pool| (pool.canary_since == Ticks::NONE, pool.has_queue())) {
            Some((true, true)) => CANARY_QUEUED_NS,
            Some((true, false)) => pool::EVERY_NS,
            _ => return false,
        };
        let is_time = match is_recent {
            true => !self.is_within(every_ns, self.canary_at, at),
            // What the runtime did in the moment of the last one was not told from what that made it do.
            false => self.are_all_parked() && (!self.was_last || self.active_at > self.canary_at),
        };
        if is_time {
            (self.canary_at, self.was_last) = (at, !is_recent);
            send_canary(runtime);
        }
        is_time
    }

    fn are_all_parked(&self) -> bool {
        self.counters.iter().all(Counters::is_parked)
    }

    /// Tells whether a worker runs tasks.
    fn is_awake(&self, index: usize) -> bool {
        let parks = self.counters.get(index).map_or(0, |counters| counters.parks);
        // 0 is also what a thread has that does not run yet.
        parks > 0 && parks.is_multiple_of(2)
    }

    /// Asks how long the threads of workers that run tasks and have not moved have waited for processors; of few workers also those of
    /// the others, where the workers tell since when they are busy, so that the next look knows it from before they moved.
    fn ask_delays(&mut self, runtime: &WatchedRuntime, at: Ticks) {
        let are_few = runtime.is_hooked && self.still.len() <= FEW_WORKERS;
        self.told_look_ns = if are_few { CALM_LOOK_NS } else { TOLD_LOOK_NS };
        let stays: Vec<bool> = (0..self.still.len())
            .map(|index| self.is_awake(index) && self.still[index].moved_at() < at)
            .collect();
        if !are_few && !stays.contains(&true) {
            return;
        }
        let warning_ns = runtime.with_page(|page| page.page().control().warning_ns()).unwrap_or(u64::MAX);
        let (threads, scale) = (runtime.threads(), self.clock.scale());
        for (index, stays) in stays.into_iter().enumerate().filter(|(_, stays)| are_few || *stays) {
            let thread = threads.iter().find(|(of, _)| *of == index).map(|(_, thread)| *thread);
            let delay_ns = thread.and_then(|thread| self.delay_of(index, thread).read_ns());
            if stays {
                self.still[index].stays(scale, at, delay_ns, warning_ns);
            }
            let look_ns = match (delay_ns, self.is_awake(index)) {
                // Of what comes next a late look would lose all.
                (None, _) => TOLD_LOOK_NS,
                (_, true) => self.still[index].look_ns(scale, at, warning_ns),
                (_, false) => StillWorker::moved(at).look_ns(scale, at, warning_ns),
            };
            self.told_look_ns = self.told_look_ns.min(look_ns);
        }
    }

    fn delay_of(&mut self, index: usize, thread: u32) -> &mut RunDelay {
        if self.delays.len() <= index {
            self.delays.resize_with(index + 1, || None);
        }
        let delay = &mut self.delays[index];
        if !delay.as_ref().is_some_and(|delay| delay.is_of(thread)) {
            *delay = None;
        }
        delay.get_or_insert_with(|| RunDelay::of(thread))
    }

    /// Returns the worker that has been stuck for longest, of those that are `looked_for`.
    fn stuck(&self, at: Ticks, looked_for: impl Fn(usize) -> bool) -> Option<StillWorker> {
        let is_stuck = |(index, worker): &(usize, &StillWorker)| {
            let is_within = self.is_within(STUCK_NS, worker.stuck_since(), at);
            self.is_awake(*index) && looked_for(*index) && !is_within
        };
        let stuck = self.still.iter().enumerate().filter(is_stuck).map(|(_, worker)| *worker);
        stuck.min_by_key(StillWorker::stuck_since)
    }

    /// Says when the runtime was busy: while a worker is stuck and a timer is overdue, which means that nobody polls
    /// the driver, or while one is stuck that has no page. A timer that is late where all workers come back had to
    /// wait for other tasks: that is lag, and nobody is blocked. Of a runtime with one worker, the worker's own page
    /// tells all of it.
    fn judge(&mut self, runtime: &WatchedRuntime, due: u64, at: Ticks) -> Observed {
        let late = self.clock.scale().ticks(LATE_NS);
        let is_shared = runtime.is_shared();
        if is_shared {
            self.ask_delays(runtime, at);
        }
        let is_overdue = due != 0 && at.0 > due + late;
        let overdue =
            || self.stuck(at, |_| is_overdue).map(|worker| (worker, worker.stuck_since().max(Ticks(due))));
        let unmet = || {
            let met = if runtime.is_hooked { return None } else { runtime.met() };
            self.stuck(at, |index| !met.contains(&index)).map(|worker| (worker, worker.stuck_since()))
        };
        let stuck = if is_shared { overdue().or_else(unmet) } else { None };
        let busy_since = stuck.map_or(Ticks::NONE, |(_, since)| since);
        // One that had no processor for a while has been stuck for less long than it seemed: that ends nothing.
        let moved_at = stuck.map(|(worker, _)| worker.moved_at());
        let is_same = std::mem::replace(&mut self.stuck_moved_at, moved_at) == moved_at && moved_at.is_some();
        if busy_since != self.seen.busy_since && !is_same {
            self.seen.parked_since = at;
        }
        self.seen.busy_since = busy_since;
        self.seen
    }
}

/// The timer came, or its task was dropped.
struct TimerGuard(Arc<Beat>);

impl Drop for TimerGuard {
    fn drop(&mut self) {
        self.0.due.store(0, Ordering::Release);
    }
}
