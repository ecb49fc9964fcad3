//! From what libuv, V8 and Node's trace tell to what the page is told: the state of one loop between its polls.
//!
//! Nothing here is called by C, or calls it: events come in, the verbs of the page's writer go out, and what has to
//! be asked is asked of a [`Runtime`]. So it is tested against sequences of events that real Node has told.
//!
//! ```text
//!   PollBegins          the loop is about to wait                    iteration, park
//!     (the poll returns untold: with the first entry, or CheckBegins)    unpark, as long ago as libuv's clock of waiting says
//!   Trace b TCPWRAP_CALLBACK     the scope of a MakeCallback
//!     EntryBegins .. EntryEnds   its callback                        begin .. end
//!     Trace B/E RunMicrotasks    V8's drain                          drain_begin, begin_many .. end_many(count), drain_end
//!     EntryBegins .. EntryEnds   a second one: the nextTick queue    drain_begin .. drain_end
//!   Trace e TCPWRAP_CALLBACK                                         drained
//!   CheckBegins, CheckEnds       what runs now is of the next phase
//! ```
//!
//! **Phases** are told when the first entry of one begins: Node has no work of its own between them. Timers are told by their
//! scope, because libuv has no mark between them and the closing callbacks before. Pending operations come after timers, or
//! are known by being requests, which never close; those that libuv runs right after a poll count as that poll's.
//!
//! **Batches**: all timers that are due are one entry, and so are all immediates. V8's checkpoints part them: see `batches`.

mod batches;
mod drains;
mod exceptions;
mod immediates;
mod labels;
mod outside;
mod polls;
mod runtime;
mod scopes;
mod sites;
mod startup;
mod traces;

use batches::Batch;
use drains::Drain;
pub use runtime::Runtime;
use scopes::{Entered, Scope, Scopes};
use sites::Sites;
use startup::Start;

use crate::checkpoint_hook::CheckpointHook;
use crate::names::{Class, Named, Names, Resources};
use crate::recording::Recording;
pub use crate::sys::{Event, TraceEvent, TraceName};
use loopscope_probe::{Clock, Kind, Phase, Queue, SiteId, TaskTimes, Ticks, Writer};
use std::mem::offset_of;

/// What runs, as the page was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    None,
    Callback,
    Tick,
}

/// What an entry within a scope is.
enum Part {
    Callback,
    /// Node's own use of an object.
    Node,
    Ticks,
}

/// The state of one loop, and the writer of its page.
// In this order: what every entry needs is on as few lines of the cache as may be, which the program's own work has driven out of
// the nearest one.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Entries<R> {
    is_in_entry: bool,
    /// The entry that runs is outside of any scope, and for no resource, and it is not known yet whether it is one of ticks: see
    /// `outside`. How it is told meanwhile may be wrong.
    is_nobodys: bool,
    /// Node runs immediates of its own, and tells so.
    is_in_natives: bool,
    /// Drains that the program has begun, within each other, inside of what runs.
    inner_drains: u16,
    frame: Frame,
    /// Where libuv is.
    phase: Phase,
    /// Where the page says that it is.
    told: Phase,
    /// The kind of the entry that runs.
    kind: Kind,
    has_traces: bool,
    /// V8 tells of its checkpoints.
    has_checkpoints: bool,
    /// The members of the batch were parted, and the checkpoint that did so is not told yet.
    is_parted: bool,
    /// What runs as a round of ticks is one: it is known that a tick ran in it.
    is_round_sure: bool,
    /// See [`Entries::needs_checkpoints`].
    needs_checkpoints: bool,
    /// The batch that runs is left by an exception, as far as is known.
    is_thrown: bool,
    /// Turns for which it is listened to what Node tells of its own immediates: it has had some.
    natives_turns: u16,
    has_polled: bool,
    /// Whether V8's checkpoints are hooked: the adapter's, which follows it at the begin and the end of each entry.
    pub(crate) checkpoint_hook: CheckpointHook,
    recording: Option<Box<Recording>>,
    drain: Drain,
    /// The resource that the entry before was for, where that was one of the poll's and outside of any scope; 0 for none, and once
    /// a scope is closed, or something else begins. See [`Entries::goes_on`]. `UNKNOWN` where a drain came before, or it has no name.
    resource: u64,
    /// Since when the loop is in its poll, until it is known that it has returned; none then. The last word of the first line.
    parked: Ticks,
    /// Its own first line, which every entry needs, comes next.
    writer: Writer,
    /// The batch that runs; none where what runs is no batch.
    batch: Option<Batch>,
    /// Where V8's checkpoint has ended the round of ticks that is told as what runs; none before it has. See `drains`.
    round_ended: Ticks,
    /// What the begin of an entry needs of them is on one line, with the following.
    scopes: Scopes,
    /// What the entry for [`Entries::resource`] was.
    resource_entry: (Kind, SiteId),
    names: Names,
    runtime: R,
    start: Start,
    sites: Sites,
    resources: Resources,
    /// What the name of the scope of immediates stands for.
    immediates: Named,
    events: Option<u64>,
    /// Time that all polls have waited, as of the last return.
    idle_ns: u64,
    /// libuv's own time as the loop's poll began.
    time_ms: u64,
    unnamed: u64,
    /// Jobs that were made for the pool.
    pool_jobs: u64,
}

// The end of an entry needs the first line and the writer's, whatever the entry is; its begin needs scopes, too.
const _: () = {
    assert!(offset_of!(Entries<()>, writer) == 64);
    assert!((offset_of!(Entries<()>, scopes) + scopes::HOT) & 63 == 0);
    assert!(offset_of!(Entries<()>, runtime) - offset_of!(Entries<()>, scopes) - scopes::HOT <= 56);
};

impl<R: Runtime> Entries<R> {
    /// Begins within the main script: an entry runs, and nobody is to be warned of it before the first poll.
    ///
    /// `has_traces` is false where Node's trace events do not come.
    pub fn begin(mut writer: Writer, mut runtime: R, has_traces: bool, recording: Option<Recording>) -> Self {
        let sites = Sites::new(&mut writer);
        let mut recording = recording;
        let events = runtime.events();
        let idle_ns = runtime.idle_ns();
        if let Some(recording) = &mut recording {
            recording.answer(events);
            recording.answer(Some(idle_ns));
        }
        writer.resume();
        let start = Start::begin(&mut writer, sites.main);
        writer.begin(Kind::Other, sites.main, TaskTimes::UNKNOWN);
        let mut names = Names::new();
        let immediates = names.make(&mut writer, TraceName::constant(c"CheckImmediate"));
        Entries {
            writer,
            runtime,
            has_traces,
            names,
            resources: Resources::default(),
            sites,
            phase: Phase::MAIN,
            told: Phase::MAIN,
            parked: Ticks::NONE,
            events,
            idle_ns,
            time_ms: 0,
            is_in_entry: true,
            frame: Frame::Callback,
            drain: Drain::None,
            inner_drains: 0,
            scopes: Scopes::new(immediates),
            immediates,
            kind: Kind::Other,
            resource: 0,
            resource_entry: (Kind::Other, SiteId::NONE),
            has_polled: false,
            is_nobodys: false,
            unnamed: 0,
            pool_jobs: 0,
            start,
            batch: None,
            has_checkpoints: false,
            checkpoint_hook: CheckpointHook::default(),
            is_parted: false,
            is_round_sure: false,
            needs_checkpoints: false,
            round_ended: Ticks::NONE,
            is_thrown: false,
            natives_turns: 0,
            is_in_natives: false,
            recording: recording.map(Box::new),
        }
    }

    /// Says that the loop has turned before, and that what runs is not its main script: nobody announced it.
    pub fn attached(&mut self) {
        self.start.is_over();
        self.label("running at attach");
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        self.writer.clock()
    }

    /// Returns the page's writer.
    pub fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Returns when the busy period that runs began; none while the loop waits.
    pub fn busy_since(&self) -> Ticks {
        self.writer.page().busy_since()
    }

    /// Returns how many entries had no name, and how many resources are kept in mind and were not.
    pub fn counts(&self) -> (u64, (u64, u64)) {
        (self.unnamed, self.resources.counts())
    }

    /// Returns how many of the runtime's answers are read in memory by now: see [`Runtime::read_in_place`].
    pub fn read_in_place(&self) -> usize {
        self.runtime.read_in_place()
    }

    /// Returns how many jobs were made for the pool, about: some resources of its kind are none.
    pub fn pool_jobs(&self) -> u64 {
        self.pool_jobs
    }

    /// Returns what was recorded, and records no more.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take().map(|recording| *recording)
    }

    /// Tells whether JavaScript is entered, and the page was told.
    #[inline]
    pub fn is_in_entry(&self) -> bool {
        self.is_in_entry
    }

    /// Takes an event. A few dozen nanoseconds; no allocation but for names and resources that are new.
    // Where it is known which event it is, as for most callers, nothing is left of the distinction.
    #[inline(always)]
    pub fn tell(&mut self, event: Event) {
        if self.recording.is_some() {
            self.record(event);
        }
        match event {
            Event::PollBegins => self.poll_begins(),
            Event::CheckBegins => {
                self.poll_has_returned(None);
                if !self.is_in_entry {
                    self.scopes.forget();
                }
                (self.phase, self.resource, self.is_in_natives) = (Phase::CHECK, 0, false);
            }
            Event::Immediates => self.check_scope_begins(),
            Event::CheckEnds => self.check_ends(),
            Event::EntryBegins => self.entry_begins(),
            Event::EntryEnds => self.entry_ends(),
            Event::Checkpoint => self.checkpoint(),
            Event::Trace(event) => self.trace(event),
            Event::TraceEnds(name) => self.trace_ends(name),
        }
    }

    #[cold]
    #[inline(never)]
    fn record(&mut self, event: Event) {
        if self.is_news(event)
            && let Some(recording) = &mut self.recording
        {
            recording.event(self.writer.clock(), event);
        }
    }

    /// Tells whether an event is more than an entry within another, or a trace that means nothing here.
    fn is_news(&mut self, event: Event) -> bool {
        match event {
            Event::EntryBegins => !self.is_in_entry,
            Event::Checkpoint => self.is_in_entry,
            Event::Trace(TraceEvent { name, .. }) | Event::TraceEnds(name) => {
                let named = self.names.resolve(&mut self.writer, name);
                named.is_some_and(|(_, named)| named.class != Class::Ignored)
            }
            _ => true,
        }
    }

    /// What comes is in the scope of Node's immediates, which Node does not tell.
    fn check_scope_begins(&mut self) {
        if !self.is_in_entry {
            self.scopes.begin_untold(self.immediates);
        }
    }

    fn check_ends(&mut self) {
        if self.scopes.has_untold() && !self.is_in_entry {
            self.scopes.forget();
            self.writer.drained();
        }
        self.phase = Phase::CLOSE;
    }

    /// The loop turns inside an entry, as some addons have it do: what ran is over for the page.
    #[cold]
    #[inline(never)]
    fn abandon(&mut self) {
        (self.inner_drains, self.is_nobodys, self.is_in_natives) = (0, false, false);
        self.needs_checkpoints = false;
        match std::mem::take(&mut self.round_ended) {
            Ticks::NONE => self.writer.end(),
            at => self.writer.end_at(at),
        };
        if !matches!(std::mem::replace(&mut self.drain, Drain::None), Drain::None) {
            self.writer.drain_end(Queue::Microtask, 0);
        } else if self.frame == Frame::Tick {
            self.writer.drain_end(Queue::NextTick, 0);
        }
        self.frame = Frame::None;
        self.is_in_entry = false;
        self.scopes.forget();
        self.resource = 0;
    }

    /// Asks the runtime, and records its answer.
    #[inline]
    fn ask(&mut self, question: impl FnOnce(&mut R) -> Option<u64>) -> Option<u64> {
        let answer = question(&mut self.runtime);
        if self.recording.is_some() {
            self.record_answer(answer);
        }
        answer
    }

    #[cold]
    #[inline(never)]
    fn record_answer(&mut self, answer: Option<u64>) {
        if let Some(recording) = &mut self.recording {
            recording.answer(answer);
        }
    }

    // As the following that come so often, a part of what the adapter does about it: it is called there only.
    #[inline(always)]
    fn entry_begins(&mut self) {
        // What C++ enters in the middle of V8's own drain is a part of that.
        if self.is_in_entry || !matches!(self.drain, Drain::None) {
            return;
        }
        (self.is_in_entry, self.is_nobodys, self.inner_drains) = (true, false, 0);
        self.needs_checkpoints = false;
        if self.is_in_natives || self.scopes.has_untold() {
            return self.begins_in_check();
        }
        match self.scopes.count() {
            Entered::Outside => self.begins_outside(),
            Entered::First(id) => self.begins_first(id),
            Entered::Again(number) => self.begins_again(number),
        }
    }

    /// An entry outside of any scope begins.
    fn begins_outside(&mut self) {
        // Where the entry may go on with the one before, it is asked for whom it is before the clock is read.
        if self.resource == 0 {
            let now = self.enter_at();
            let id = self.resource_of_entry();
            return self.begins_without_scope(now, id);
        }
        let id = self.resource_of_entry();
        self.begins_after_another(id);
    }

    /// An entry outside of any scope begins, for this resource, and one came before it.
    fn begins_after_another(&mut self, id: Option<u64>) {
        if self.goes_on(id) {
            self.writer.drained();
            let (kind, site) = self.resource_entry;
            return self.callback_begins(self.writer.last(), kind, site);
        }
        let now = self.enter_at();
        self.begins_without_scope(now, id);
    }

    /// Reads the clock as an entry begins, and tells what it ends: the poll, and the phase before.
    #[inline]
    pub(super) fn enter_at(&mut self) -> Ticks {
        let now = self.writer.clock().now();
        self.poll_has_returned(Some(now));
        self.enter_phase(now);
        now
    }

    /// The first entry within the innermost scope, which is for this resource, begins: its callback.
    pub(super) fn begins_first(&mut self, id: u64) {
        let now = if self.goes_on(Some(id)) { self.writer.last() } else { self.enter_at() };
        if let Some(&Scope { named, .. }) = self.scopes.last() {
            self.begins_in_scope(named, Some(now));
        }
    }

    /// A callback within the innermost scope, which is of this name, begins, at this moment or now.
    fn begins_in_scope(&mut self, Named { class, kind, site, .. }: Named, at: Option<Ticks>) {
        let kind = if self.told == Phase::CLOSE { Kind::Close } else { kind };
        match class {
            Class::Timers | Class::Immediates => self.batch_begins(kind, site),
            _ => {
                let now = at.unwrap_or_else(|| self.writer.clock().now());
                self.callback_begins(now, kind, site);
            }
        }
    }

    /// A later entry within the innermost scope begins. There nothing is polled and the phase stays, so the clock need not be read for
    /// ticks, which begin where the callback ended.
    pub(super) fn begins_again(&mut self, number: u32) {
        let Some(&Scope { named, id, has_no_list, .. }) = self.scopes.last() else { return };
        match self.part(number, id, named.class, has_no_list) {
            Part::Callback => self.begins_in_scope(named, None),
            // The page is told of nothing: what lies between a callback and its drains is Node's.
            Part::Node => {}
            Part::Ticks if named.class == Class::Immediates && !has_no_list => {
                self.ticks_begin_after_immediates()
            }
            Part::Ticks => self.ticks_begin(),
        }
    }

    /// Tells which part of a scope a later entry is. The callback comes first, and the queue of ticks last, when Node has left the
    /// resource. Between the two Node shortens a list where JavaScript ran for several resources, as it does for timers and
    /// immediates: the same on all versions. A callback that does so itself (`runInAsyncScope`) has that told as ticks.
    fn part(&mut self, number: u32, id: u64, class: Class, has_no_list: bool) -> Part {
        match (number, class) {
            (2, Class::Timers | Class::Immediates) if !has_no_list => Part::Node,
            _ if id == 0 => Part::Ticks,
            _ if self.ask(|runtime| runtime.async_id()) == Some(id) => Part::Callback,
            _ => Part::Ticks,
        }
    }

    /// A callback begins now. What lies between it and the one before is reading from sockets, and is not its time.
    fn callback_begins(&mut self, now: Ticks, kind: Kind, site: SiteId) {
        (self.frame, self.kind, self.batch) = (Frame::Callback, kind, None);
        self.start.entry(kind);
        self.writer.begin_at(now, kind, site, TaskTimes::UNKNOWN);
    }

    #[inline(always)]
    fn entry_ends(&mut self) {
        if !std::mem::take(&mut self.is_in_entry) {
            return;
        }
        let is_parted = std::mem::take(&mut self.needs_checkpoints);
        if !matches!(self.drain, Drain::None) {
            // V8 was told to end in the middle of it.
            return self.abandon();
        }
        match std::mem::replace(&mut self.frame, Frame::None) {
            Frame::Callback if !is_parted => {
                self.writer.end();
            }
            Frame::Callback => self.parted_entry_ends(),
            Frame::Tick => self.ticks_are_over(),
            Frame::None => self.untold_entry_ends(),
        }
    }

    /// An entry ends that is a batch, or may have been one of ticks.
    #[inline(never)]
    fn parted_entry_ends(&mut self) {
        let Some(batch) = self.batch.take() else {
            self.writer.end();
            return;
        };
        self.batch_part_ends(batch);
        if std::mem::take(&mut self.is_thrown) {
            self.batch_goes_on();
        }
    }

    /// An entry ends of which nothing is told.
    #[inline(never)]
    fn untold_entry_ends(&mut self) {
        match self.has_untold_natives() {
            true => self.untold_ends(),
            false => self.writer.end(),
        };
    }

    /// Tells the phase that the loop is in, where the page has another.
    #[inline]
    fn enter_phase(&mut self, now: Ticks) {
        let scope = self.scopes.last().map(|scope| scope.named);
        let phase = match (scope, self.phase) {
            (Some(Named { class: Class::Timers, .. }), _) => Phase::TIMERS,
            // Requests end here; what closes are handles.
            (Some(Named { kind: Kind::IoWrite | Kind::Connect, .. }), Phase::CLOSE) => Phase::PENDING,
            (_, phase) => phase,
        };
        if phase != self.told {
            self.tell_phase(now, phase);
        }
    }

    #[inline(never)]
    fn tell_phase(&mut self, now: Ticks, phase: Phase) {
        self.told = phase;
        // What lies before is libuv's and Node's own.
        self.writer.phase_at(now, phase);
    }

    /// The main script is a module: what comes after the first poll may belong to the start, too.
    pub fn main_is_module(&mut self) {
        self.start.is_of_module();
    }

    /// Tells whether a queue of ticks is drained now, outside of V8's own drains.
    pub fn is_in_ticks(&self) -> bool {
        self.frame == Frame::Tick && matches!(self.drain, Drain::None)
    }

    /// Tells whether a callback runs, and no queue is drained inside of it.
    pub fn is_in_callback(&self) -> bool {
        self.frame == Frame::Callback && matches!(self.drain, Drain::None)
    }

    /// Nothing is told for a while. Called within an entry.
    pub fn pause(&mut self) {
        self.cease();
    }

    /// The page is told that the loop does not run. A loop that ends in its poll, or that is paused, was told so already: its busy
    /// period is not to end twice, and what came after it is no part of it.
    fn cease(&mut self) {
        self.abandon();
        self.writer.drained();
        if self.busy_since() != Ticks::NONE {
            self.writer.suspend();
        }
    }

    /// Events come again. Called within an entry, which counts from here.
    pub fn resume(&mut self) {
        self.writer.resume();
        (self.parked, self.is_in_entry, self.has_polled) = (Ticks::NONE, true, false);
        self.idle_ns = self.runtime.idle_ns();
        (self.phase, self.told) = (Phase::MAIN, Phase::MAIN);
        let now = self.writer.last();
        self.callback_begins(now, Kind::Other, self.sites.main);
    }

    /// Ends the loop's life on the page. Returns its writer.
    pub fn end(mut self) -> Writer {
        self.start.is_over();
        self.cease();
        self.writer
    }
}
