//! What a thread has: the page of the worker that it is, written by it alone.
//!
//! A page is made by the first hook, visit or wrapped poll on the thread (half a millisecond, once), and ends with
//! it. No code of the program runs while the thread's variable is borrowed.

use crate::description::{self, Tier, tasks};
use crate::hook_state::HookState;
use crate::runtime::{self, Member, WatchedRuntime};
use crate::worker::Worker;
use loopscope_probe::Site;
use loopscope_probe::{Kind, Phase, SiteId, TaskTimes, Ticks, Writer, spans};
use std::cell::RefCell;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A busy period is asked for hidden polls once it is this old, in nanoseconds, where a wrapped poll begins.
const TURN_NS: u64 = 2_000_000;

/// A call that took longer before there was a future is told by itself, in nanoseconds; a shorter one with the first poll, where that
/// comes next.
const CALL_NS: u64 = 10_000;

/// Runtimes that one thread runs by turns; the page of the one that is longest ago goes.
const LANES_MAX: usize = 4;

/// What is shown of a poll: where its future was wrapped, or a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) at: &'static Location<'static>,
    pub(crate) name: Option<&'static str>,
}

impl Label {
    /// Stands for it: of a name its own address, so that equal names at several places are those of the first.
    fn address(&self) -> usize {
        let location = std::ptr::from_ref(self.at) as usize;
        self.name.filter(|name| !name.is_empty()).map_or(location, |name| name.as_ptr() as usize)
    }

    fn site(&self, kind: Kind) -> Site {
        let name = self.name.unwrap_or(if kind == Kind::Span { "poll" } else { "" });
        let (file, line, column) = (self.at.file().to_owned(), self.at.line(), self.at.column());
        Site { kind, name: name.to_owned(), file, line, column }
    }
}

/// A label's site on the page where it was last needed: whoever is polled there again has it without a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The lane's identity; 0 is none.
    lane: u64,
    site: SiteId,
    /// When the call began that made the future, where its first poll is to tell of both; [`Ticks::NONE`] otherwise.
    call: Ticks,
}

impl Known {
    /// Nothing yet.
    pub(crate) const NOTHING: Known = Known { lane: 0, site: SiteId::NONE, call: Ticks::NONE };

    /// Tells whether the site was found on another page than that of `before`.
    #[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "for services"))]
    #[inline(always)]
    pub(crate) fn is_of_another_lane(&self, before: Known) -> bool {
        self.lane != before.lane
    }
}

/// One page of the calling thread.
// In this order: after the writer, which ends with a line of the cache, comes what hooks need.
#[repr(C, align(64))]
struct WorkerPage {
    writer: Writer,
    worker: Arc<Worker>,
    /// The hooks that were called for it last.
    hooks: Option<Arc<HookState>>,
    /// Up to when hidden polls were looked for.
    checked: Ticks,
    turn_ticks: u64,
    /// Number that no other lane of the process has.
    identity: u64,
    /// Wrapped polls inside each other.
    depth: u32,
    /// The worker's.
    tier: Tier,
    is_busy: bool,
    /// `None` while another lane is the thread's current one.
    spans: Option<spans::SpanGuard>,
    #[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "for services"))]
    call_ticks: u64,
}

impl WorkerPage {
    fn make(runtime: &Arc<WatchedRuntime>, tier: Tier) -> Option<Box<WorkerPage>> {
        let worker = Worker::enlist(runtime, tier)?;
        let name = &runtime.name;
        let builder = match tier {
            Tier::Root => Writer::builder(&format!("{name}/block_on")),
            _ => Writer::builder(&format!("{name}/{}", worker.number)).worker(name, worker.number),
        };
        let builder = builder
            .runtime("tokio")
            .describe(description::worker(tier, runtime.leaves()))
            .observer(worker.clone());
        let builder = if tier == Tier::Observed { builder.observed() } else { builder };
        let mut writer = builder.build();
        writer.phase(if tier == Tier::Observed { tasks() } else { Phase::POLL });
        let (scale, checked) = (writer.clock().scale(), writer.last());
        let mut lane = Box::new(WorkerPage {
            spans: None,
            writer,
            worker,
            hooks: None,
            tier,
            identity: 0,
            depth: 0,
            is_busy: false,
            checked,
            turn_ticks: scale.ticks(TURN_NS),
            call_ticks: scale.ticks(CALL_NS),
        });
        lane.install();
        lane.identity = spans::loop_identity();
        if tier != Tier::Root {
            lane.worker.runtime.has_page();
        }
        Some(lane)
    }

    fn install(&mut self) {
        self.spans = Some(self.writer.install_spans());
    }

    fn is_of(&self, runtime: &Arc<WatchedRuntime>) -> bool {
        Arc::ptr_eq(&self.worker.runtime, runtime) && !self.worker.is_left()
    }

    /// [`WorkerPage::park_now`] where it is called seldom.
    #[inline(never)]
    fn park(&mut self) {
        self.park_now();
    }

    #[inline(always)]
    fn park_now(&mut self) {
        if std::mem::take(&mut self.is_busy) {
            self.writer.phase(Phase::POLL);
            self.writer.iteration();
            self.writer.settle();
            let now = self.writer.clock().now();
            if now.since(self.writer.period_since()) > self.turn_ticks {
                self.has_turned(now);
            }
            self.writer.park_at(now);
            self.worker.end_period();
        }
    }

    /// Returns whether the worker polled its driver since its busy period began, and tells the page when it last did:
    /// also where no agent looked meanwhile, or one that had no processor, those polls are no stall together.
    #[cold]
    fn has_turned(&mut self, now: Ticks) -> bool {
        let Some(after_ns) = self.worker.turned_after_ns() else { return false };
        let turned = self.writer.period_since().0.saturating_add(self.writer.clock().scale().ticks(after_ns));
        self.writer.polled_at(Ticks(turned).min(now));
        true
    }

    /// [`WorkerPage::unpark_now`] where it is called seldom: of a worker with hooks.
    #[inline(never)]
    fn unpark(&mut self) {
        self.unpark_now();
    }

    #[inline(always)]
    fn unpark_now(&mut self) {
        // A second time without a park between them is a hook that ran without one.
        if !self.is_busy {
            let index = self.worker.index().or_else(|| self.worker.identify());
            self.begin_period(index, self.writer.clock().now());
        }
    }

    /// [`WorkerPage::begin_period`] where it is called seldom.
    #[inline(never)]
    fn unpark_at(&mut self, now: Ticks) {
        self.begin_period(self.worker.index(), now);
    }

    #[inline(always)]
    fn begin_period(&mut self, index: Option<usize>, now: Ticks) {
        self.is_busy = true;
        self.checked = now;
        self.writer.unpark_untold_in(now, tasks());
        self.worker.begin_period(index, now);
    }

    /// Does what tells the page late that the worker polled, or `block_on` will: the spans around the wrapped poll that begins,
    /// or has ended, are open still.
    #[inline(always)]
    fn in_outer_spans(&mut self, act: impl FnOnce(&mut WorkerPage)) {
        let outer = self.writer.outer_spans();
        act(self);
        self.writer.keep_outer_spans(outer);
    }

    /// A wrapped poll begins that is in no other; its task has waited so long to run, where that is known.
    #[inline(always)]
    fn begin(&mut self, label: &Label, known: &mut Known, waited: Option<Duration>) {
        if known.lane != self.identity {
            let site = self.writer.addressed_site(label.address(), Kind::Task, || label.site(Kind::Task));
            *known = Known { lane: self.identity, site, call: Ticks::NONE };
        }
        let read = self.writer.clock().now();
        // Nothing was told since the call, which was just now: both are one. Later it may be another task that ran since, or a
        // park, of which nobody was told.
        let now = match std::mem::replace(&mut known.call, Ticks::NONE) {
            call if call == self.writer.last() && read.since(call) < 2 * self.call_ticks => call,
            _ => read,
        };
        if self.tier != Tier::Observed && !self.is_busy {
            self.in_outer_spans(|lane| lane.unpark_at(now));
        } else if now.since(self.checked) > self.turn_ticks {
            self.in_outer_spans(|lane| lane.look_for_turn(now));
        }
        let life = waited.map_or(TaskTimes::UNKNOWN, |waited| {
            let ticks = self.writer.clock().scale().ticks(waited.as_nanos() as u64);
            TaskTimes::ready_at(Ticks(now.0.saturating_sub(ticks)))
        });
        self.writer.begin_at(now, Kind::Task, known.site, life);
    }

    /// The call that makes a future ends.
    #[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "for services"))]
    #[inline(always)]
    fn end_call(&mut self, known: &mut Known) {
        let (begun, now) = (self.writer.last(), self.writer.clock().now());
        if now.since(begun) < self.call_ticks && self.tier != Tier::Root && self.writer.end_untold() {
            known.call = begun;
        } else {
            self.writer.end_at(now);
            self.has_ended();
        }
    }

    #[inline(always)]
    fn end(&mut self) {
        self.writer.end();
        self.has_ended();
    }

    #[inline(always)]
    fn has_ended(&mut self) {
        if self.tier == Tier::Root {
            self.in_outer_spans(WorkerPage::park);
        }
    }

    /// Whether the worker polled its driver since its busy period began: then that was over, and another began.
    #[cold]
    fn look_for_turn(&mut self, now: Ticks) {
        self.checked = now;
        if self.tier == Tier::Observed {
            self.writer.settle_observed();
        } else if self.has_turned(now) {
            self.begin_anew(now);
        }
    }

    /// The worker is between two polls now: a busy period is over, and another begins.
    fn begin_anew(&mut self, now: Ticks) {
        self.writer.settle();
        self.writer.iteration();
        self.writer.park_at(now);
        self.worker.end_period();
        self.unpark_at(now);
    }

    /// A task of ours runs: so no other one is stuck.
    #[cold]
    fn turn(&mut self) {
        let now = self.writer.clock().now();
        self.worker.turn(now);
        if self.tier == Tier::Hooked
            && self.is_busy
            && now.since(self.writer.period_since()) > self.turn_ticks
        {
            self.begin_anew(now);
        }
    }
}

impl Drop for WorkerPage {
    fn drop(&mut self) {
        // It belongs to the writer.
        self.spans = None;
        self.worker.leave();
    }
}

/// The lanes of a thread: the one of the runtime that it runs now, and those of others.
struct WorkerPages {
    current: Option<Box<WorkerPage>>,
    #[expect(clippy::vec_box, reason = "a page is large, and goes from one to the other")]
    others: Vec<Box<WorkerPage>>,
    /// [`runtime::added`] when no runtime of this thread was found watched.
    looked_at: u64,
    /// The runtime of which it was a worker until `block_in_place` gave its work to another thread.
    left: Weak<WatchedRuntime>,
}

thread_local! {
    static LANES: RefCell<WorkerPages> = const {
        RefCell::new(WorkerPages { current: None, others: Vec::new(), looked_at: 0, left: Weak::new() })
    };
}

/// Calls `act` with the thread's lanes; not at the end of the thread, and not within itself.
#[inline(always)]
fn with_lanes<R>(act: impl FnOnce(&mut WorkerPages) -> R) -> Option<R> {
    LANES.try_with(|lanes| lanes.try_borrow_mut().ok().map(|mut lanes| act(&mut lanes))).ok()?
}

impl WorkerPages {
    /// Makes the lane of this runtime the current one, and makes it where there is none.
    #[cold]
    fn switch_to(&mut self, runtime: &Arc<WatchedRuntime>, tier: Tier) {
        if let Some(mut lane) = self.current.take() {
            lane.spans = None;
            if lane.depth == 0 {
                lane.park();
            }
            self.others.push(lane);
        }
        // Those whose work another thread does by now end here.
        self.others
            .retain(|lane| !lane.worker.is_left() && !lane.worker.runtime.is_ended() || lane.depth > 0);
        if self.others.len() >= LANES_MAX {
            self.others.remove(0);
        }
        let known = self.others.iter().position(|lane| lane.is_of(runtime) && lane.tier == tier);
        self.current = match known {
            Some(known) => {
                let mut lane = self.others.remove(known);
                lane.install();
                Some(lane)
            }
            None => WorkerPage::make(runtime, tier),
        };
    }

    /// Makes the lane of the runtime of these hooks the current one. Returns false where there is none, or it is another's to tell.
    #[cold]
    fn switch_to_hooked(&mut self, hooks: &Arc<HookState>, runtime: Option<Arc<WatchedRuntime>>) -> bool {
        // Who was attached to first is watched by its counters: what the thread told would come twice.
        let Some(runtime) = runtime.filter(|runtime| runtime.is_hooked) else { return false };
        let is_it = |lane: &WorkerPage| lane.tier == Tier::Hooked && lane.is_of(&runtime);
        if !self.current.as_deref().is_some_and(is_it) {
            self.switch_to(&runtime, Tier::Hooked);
            self.left = Weak::new();
        }
        let Some(lane) = &mut self.current else { return false };
        lane.hooks = Some(hooks.clone());
        true
    }

    /// A wrapped poll ends that was begun on a lane which is not the current one any more.
    #[cold]
    fn leave_other(&mut self, identity: u64) -> bool {
        if let Some(lane) = self.others.iter_mut().find(|lane| lane.identity == identity) {
            lane.depth -= 1;
            if lane.depth == 0 {
                lane.end();
            }
        }
        false
    }

    /// Finds out whether the thread is in a watched runtime, for a wrapped poll.
    #[cold]
    fn find(&mut self) {
        let added = runtime::added();
        if added == self.looked_at {
            return;
        }
        match runtime::current() {
            None => self.looked_at = added,
            Some(runtime) => {
                // Tokio goes on to call it a worker, whose work another thread does by now.
                let has_left = std::ptr::eq(self.left.as_ptr(), Arc::as_ptr(&runtime));
                let is_worker = !has_left && crate::worker_index::current().is_some();
                let tier = match (is_worker, runtime.is_hooked) {
                    (true, true) => Tier::Hooked,
                    (true, false) => Tier::Observed,
                    (false, _) => Tier::Root,
                };
                self.switch_to(&runtime, tier);
                if self.current.is_none() {
                    self.looked_at = added;
                }
            }
        }
    }
}

/// The worker is about to wait: one of these hooks runs on the calling thread. `runtime` finds theirs where the thread's current lane is
/// another's.
#[inline(always)]
pub(crate) fn parks(hooks: &Arc<HookState>, runtime: impl FnOnce() -> Option<Arc<WatchedRuntime>>) {
    hook(hooks, runtime, WorkerPage::park_now);
}

/// The worker goes on; otherwise as [`parks`].
#[inline(always)]
pub(crate) fn unparks(hooks: &Arc<HookState>, runtime: impl FnOnce() -> Option<Arc<WatchedRuntime>>) {
    hook(hooks, runtime, WorkerPage::unpark_now);
}

#[inline(always)]
fn hook(
    hooks: &Arc<HookState>,
    runtime: impl FnOnce() -> Option<Arc<WatchedRuntime>>,
    act: impl FnOnce(&mut WorkerPage),
) {
    with_lanes(|lanes| {
        // Its page has the hooks: so they are the same ones where they are at the same address.
        let is_current = |lane: &WorkerPage| {
            let is_own = lane.hooks.as_ref().is_some_and(|known| Arc::ptr_eq(known, hooks));
            is_own && !lane.worker.is_left()
        };
        let is_it = lanes.current.as_deref().is_some_and(is_current);
        if (is_it || lanes.switch_to_hooked(hooks, runtime()))
            && let Some(lane) = &mut lanes.current
        {
            act(lane);
        }
    });
}

/// A task of ours runs on the calling thread: makes the page of a worker that has none.
pub(crate) fn visit(runtime: &Arc<WatchedRuntime>) {
    with_lanes(|lanes| {
        let is_worker = |lane: &WorkerPage| lane.is_of(runtime) && lane.tier != Tier::Root;
        if !lanes.current.as_deref().is_some_and(is_worker) && !runtime.is_ended() {
            lanes.switch_to(runtime, Tier::Observed);
            lanes.left = Weak::new();
        }
    });
}

/// A task of ours runs on the calling thread: notes that it was between two polls of others, where it has its page.
pub(crate) fn turn(runtime: &Arc<WatchedRuntime>) {
    with_lanes(|lanes| {
        let is_worker =
            |lane: &&mut Box<WorkerPage>| lane.is_of(runtime) && lane.tier != Tier::Root && lane.depth == 0;
        if let Some(lane) = lanes.current.as_mut().filter(is_worker) {
            lane.turn();
        }
    });
}

/// Returns the worker of this runtime that the calling thread is, where it has its page.
pub(crate) fn worker_of(runtime: &Arc<WatchedRuntime>) -> Option<Arc<Worker>> {
    with_lanes(|lanes| Some(lanes.current.as_ref().filter(|lane| lane.is_of(runtime))?.worker.clone()))?
}

/// The thread begins to run this runtime, of one worker: what blocks its first poll has a page, too.
pub(crate) fn run(runtime: &Arc<WatchedRuntime>) {
    let tier = if runtime.is_hooked { Tier::Hooked } else { Tier::Observed };
    with_lanes(|lanes| {
        if !lanes.current.as_ref().is_some_and(|lane| lane.is_of(runtime)) && !runtime.is_ended() {
            lanes.switch_to(runtime, tier);
        }
        if let Some(lane) =
            lanes.current.as_mut().filter(|lane| lane.is_of(runtime) && lane.tier == Tier::Hooked)
        {
            lane.unpark();
        }
    });
}

/// The thread has returned from running this runtime: until it does so again it is not busy.
pub(crate) fn rest(runtime: &Arc<WatchedRuntime>) {
    with_lanes(|lanes| {
        let all = lanes.current.iter_mut().chain(&mut lanes.others);
        all.filter(|lane| lane.is_of(runtime)).for_each(|lane| lane.park());
    });
}

/// The thread is no worker any more: its pages end.
pub(crate) fn end_thread() {
    let ended = with_lanes(|lanes| (lanes.current.take(), std::mem::take(&mut lanes.others)));
    let (current, others) = ended.unwrap_or_default();
    for lane in current.into_iter().chain(others) {
        let runtime = lane.worker.runtime.clone();
        drop(lane);
        runtime.worker_ended();
    }
}

/// A wrapped poll that was begun.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame {
    /// On a thread that is not watched.
    None,
    /// On the lane with this identity.
    Poll(u64),
    /// Inside another.
    Span(u64, Option<spans::Entered>),
}

/// A wrapped poll begins on the calling thread.
#[inline(always)]
pub(crate) fn enter(label: &Label, known: &mut Known) -> Frame {
    enter_after(label, known, None)
}

/// [`enter`], of a task that has waited so long to run.
#[inline(always)]
pub(crate) fn enter_after(label: &Label, known: &mut Known, waited: Option<Duration>) -> Frame {
    let begun = with_lanes(|lanes| {
        if lanes.current.is_none() {
            lanes.find();
        }
        let Some(lane) = &mut lanes.current else { return (0, false) };
        lane.depth += 1;
        if lane.depth == 1 {
            lane.begin(label, known, waited);
        }
        (lane.identity, lane.depth > 1)
    });
    match begun {
        Some((0, _)) | None => Frame::None,
        Some((identity, false)) => Frame::Poll(identity),
        Some((identity, true)) => {
            let site = spans::addressed_site(label.address(), || label.site(Kind::Span));
            Frame::Span(identity, site.and_then(|site| spans::enter(site, "")))
        }
    }
}

/// It ends.
#[inline(always)]
pub(crate) fn leave(frame: Frame) {
    leave_by(frame, WorkerPage::end);
}

/// What was entered was the call that makes a future, whose first poll goes on with what is `known`.
#[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "for services"))]
#[inline(always)]
pub(crate) fn leave_call(frame: Frame, known: &mut Known) {
    leave_by(frame, |lane| lane.end_call(known));
}

#[inline(always)]
fn leave_by(frame: Frame, end: impl FnOnce(&mut WorkerPage)) {
    let identity = match frame {
        Frame::None => return,
        Frame::Poll(identity) => identity,
        Frame::Span(identity, entered) => {
            entered.into_iter().for_each(spans::leave);
            identity
        }
    };
    let is_left = with_lanes(|lanes| {
        let lane = match &mut lanes.current {
            Some(lane) if lane.identity == identity => lane,
            _ => return lanes.leave_other(identity),
        };
        lane.depth -= 1;
        if lane.depth > 0 {
            return false;
        }
        end(lane);
        lane.worker.is_left()
    });
    if is_left == Some(true) {
        end_left(identity);
    }
}

/// `block_in_place` gave the worker to another thread: this one is none any more. Apart, because a page is large, and to return
/// it, or none, would cost each poll a copy.
#[cold]
fn end_left(identity: u64) {
    let is_it = |lane: &mut Box<WorkerPage>| lane.identity == identity;
    let gone = with_lanes(|lanes| {
        let gone = lanes.current.take_if(is_it);
        lanes.left = gone.as_ref().map(|lane| Arc::downgrade(&lane.worker.runtime)).unwrap_or_default();
        gone
    });
    drop(gone);
}
