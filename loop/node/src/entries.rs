//! From what libuv, V8 and Node's trace tell to what the page is told: the state of one loop between its polls.
//!
//! Nothing here is called by C, or calls it: events come in, the verbs of the page's writer go out, and what has to be asked is
//! asked of a [`Runtime`]. So it is tested against sequences of events that real Node has told.
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
//! **Batches**: all timers that are due are one entry, and so are all immediates. V8's drains between them cut them into parts.

use crate::names::{Class, NameId, Named, Names, Resources};
use crate::recording::Recording;
pub use crate::sys::{Event, TraceEvent, TraceName};
use loopscope_probe::site::Site;
use loopscope_probe::writer::Inside;
use loopscope_probe::{Clock, ExpectedBlock, Kind, Life, Phase, Queue, SiteId, Ticks, Writer};

/// Scopes within each other that are kept apart; deeper ones are counted only.
const SCOPES: usize = 64;

/// What is asked while events are told.
pub trait Runtime {
    /// For how long all polls have waited, in nanoseconds.
    fn idle_ns(&mut self) -> u64;
    /// How many events all polls have returned; `None` where it is not counted.
    fn events(&mut self) -> Option<u64>;
    /// The resource that JavaScript is entered for.
    fn async_id(&mut self) -> Option<u64>;
}

/// What runs, as the page was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    None,
    Callback,
    Tick,
}

/// A scope in which Node calls callbacks.
#[derive(Clone, Copy, Debug)]
struct Scope {
    name: NameId,
    /// The resource that is called; 0 for none.
    id: u64,
    entries: u32,
}

/// What an entry within a scope is.
enum Part {
    Callback,
    /// Node's own use of an object.
    Node,
    Ticks,
}

/// The poll in which the loop is, until it is known that it has returned.
#[derive(Clone, Copy, Debug)]
struct Parked {
    at: Ticks,
    idle_ns: u64,
}

/// A drain of microtasks that runs, and what it interrupted.
#[derive(Debug)]
enum Drain {
    None,
    /// After a callback.
    After,
    /// Inside a callback, which goes on.
    Inside(Inside),
    /// Between two ticks.
    InTicks,
}

/// The state of one loop, and the writer of its page.
#[derive(Debug)]
pub struct Entries<R> {
    writer: Writer,
    runtime: R,
    has_traces: bool,
    names: Names,
    resources: Resources,
    sites: Sites,
    /// Where libuv is.
    phase: Phase,
    /// Where the page says that it is.
    told: Phase,
    parked: Option<Parked>,
    events: Option<u64>,
    is_in_entry: bool,
    frame: Frame,
    drain: Drain,
    scopes: Vec<Scope>,
    /// Scopes that found no room.
    deeper: u32,
    /// The kind of the entry that runs.
    kind: Kind,
    has_polled: bool,
    unnamed: u64,
    expected: Option<ExpectedBlock>,
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Sites {
    main: SiteId,
    ticks: SiteId,
    microtasks: SiteId,
    timers: SiteId,
    immediates: SiteId,
    closing: SiteId,
    /// Node makes or changes an object, for nobody's callback.
    node: SiteId,
    unnamed: SiteId,
}

impl Sites {
    fn new(writer: &mut Writer) -> Sites {
        let mut site = |kind, name: &str| {
            let (file, line, column) = (String::new(), 0, 0);
            writer.foreign_site(Site { kind, name: name.to_owned(), file, line, column })
        };
        Sites {
            main: site(Kind::Other, "main script"),
            ticks: site(Kind::Tick, "nextTick queue"),
            microtasks: site(Kind::Microtask, "microtask queue"),
            timers: site(Kind::Timer, "timers"),
            immediates: site(Kind::Immediate, "immediates"),
            closing: site(Kind::Close, "closing"),
            node: site(Kind::Other, "Node itself"),
            unnamed: site(Kind::Other, "unnamed"),
        }
    }
}

impl<R: Runtime> Entries<R> {
    /// Begins within the main script: an entry runs, and nobody is to be warned of it before the first poll.
    ///
    /// `has_traces` is false where Node's trace events do not come.
    pub fn begin(mut writer: Writer, mut runtime: R, has_traces: bool, recording: Option<Recording>) -> Self {
        let sites = Sites::new(&mut writer);
        let mut recording = recording;
        let events = runtime.events();
        if let Some(recording) = &mut recording {
            recording.answer(events);
        }
        writer.resume();
        let expected = writer.expect_block(sites.main);
        writer.begin(Kind::Other, sites.main, Life::UNKNOWN);
        Entries {
            writer,
            runtime,
            has_traces,
            names: Names::new(),
            resources: Resources::default(),
            sites,
            phase: Phase::MAIN,
            told: Phase::MAIN,
            parked: None,
            events,
            is_in_entry: true,
            frame: Frame::Callback,
            drain: Drain::None,
            scopes: Vec::with_capacity(SCOPES),
            deeper: 0,
            kind: Kind::Other,
            has_polled: false,
            unnamed: 0,
            expected: Some(expected),
            recording,
        }
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

    /// Returns what was recorded, and records no more.
    pub fn take_recording(&mut self) -> Option<Recording> {
        self.recording.take()
    }

    /// Takes an event. A few dozen nanoseconds; no allocation but for names and resources that are new.
    #[inline]
    pub fn tell(&mut self, event: Event) {
        if self.recording.is_some() && self.is_news(event) {
            self.record(event);
        }
        match event {
            Event::PollBegins => self.poll_begins(),
            Event::CheckBegins => {
                if self.parked.is_some() {
                    self.poll_has_returned(self.writer.clock().now());
                }
                if !self.is_in_entry {
                    self.forget_scopes();
                }
                self.phase = Phase::CHECK;
            }
            Event::CheckEnds => self.phase = Phase::CLOSE,
            Event::EntryBegins => self.entry_begins(),
            Event::EntryEnds => self.entry_ends(),
            Event::Trace(event) => self.trace(event),
            Event::TraceEnds(name) => self.trace_ends(name),
        }
    }

    #[cold]
    fn record(&mut self, event: Event) {
        if let Some(recording) = &mut self.recording {
            recording.event(self.writer.clock(), event);
        }
    }

    /// Tells whether an event is more than an entry within another, or a trace that means nothing here.
    fn is_news(&mut self, event: Event) -> bool {
        match event {
            Event::EntryBegins => !self.is_in_entry,
            Event::Trace(TraceEvent { name, .. }) | Event::TraceEnds(name) => {
                let named = self.names.resolve(&mut self.writer, name);
                named.is_some_and(|(_, named)| named.class != Class::Ignored)
            }
            _ => true,
        }
    }

    fn poll_begins(&mut self) {
        if self.is_in_entry || self.frame != Frame::None {
            self.abandon();
        }
        self.forget_scopes();
        self.writer.drained();
        self.expected = None;
        if let Some(before) = self.events
            && let Some(now) = self.ask(|runtime| runtime.events())
        {
            self.events = Some(now);
            if self.has_polled {
                self.writer.poll_events(now.saturating_sub(before) as usize);
            }
        }
        self.has_polled = true;
        self.phase = Phase::POLL;
        self.told = Phase::POLL;
        self.writer.phase(Phase::POLL);
        self.writer.iteration();
        let idle_ns = self.ask(|runtime| Some(runtime.idle_ns())).unwrap_or(0);
        self.writer.settle();
        let at = self.writer.clock().now();
        self.writer.park_at(at);
        self.parked = Some(Parked { at, idle_ns });
    }

    /// The loop turns inside an entry, as some addons have it do: what ran is over for the page.
    #[cold]
    fn abandon(&mut self) {
        self.writer.end();
        if !matches!(std::mem::replace(&mut self.drain, Drain::None), Drain::None) {
            self.writer.drain_end(Queue::Microtask, 0);
        } else if self.frame == Frame::Tick {
            self.writer.drain_end(Queue::NextTick, 0);
        }
        self.frame = Frame::None;
        self.is_in_entry = false;
        self.forget_scopes();
    }

    /// libuv is between two callbacks, so no scope is open: the end of one is not told where a trace of the program's own ends
    /// inside of it.
    fn forget_scopes(&mut self) {
        self.scopes.clear();
        self.deeper = 0;
    }

    /// Says that the poll has returned, as long ago as its time of waiting tells.
    #[inline]
    fn poll_has_returned(&mut self, now: Ticks) {
        if let Some(parked) = self.parked.take() {
            let waited =
                self.ask(|runtime| Some(runtime.idle_ns())).unwrap_or(0).wrapping_sub(parked.idle_ns);
            let waited = self.writer.clock().scale().ticks(waited);
            // libuv's clock is another one: not in the future.
            let returned = Ticks(parked.at.0.saturating_add(waited)).min(now);
            self.writer.unpark_untold(returned);
        }
    }

    /// Asks the runtime, and records its answer.
    #[inline]
    fn ask(&mut self, question: impl FnOnce(&mut R) -> Option<u64>) -> Option<u64> {
        let answer = question(&mut self.runtime);
        if let Some(recording) = &mut self.recording {
            recording.answer(answer);
        }
        answer
    }

    fn entry_begins(&mut self) {
        // What C++ enters in the middle of V8's own drain is a part of that.
        if self.is_in_entry || !matches!(self.drain, Drain::None) {
            return;
        }
        self.is_in_entry = true;
        let now = self.writer.clock().now();
        self.poll_has_returned(now);
        self.enter_phase();
        let Some(scope) = self.scopes.last_mut() else {
            // What the entry before it left behind was drained meanwhile.
            self.writer.drained();
            let (kind, site) = self.without_scope();
            return self.callback_begins(now, kind, site);
        };
        scope.entries += 1;
        let scope = *scope;
        let Some(Named { class, kind, site, .. }) = self.names.get(scope.name) else {
            return self.callback_begins(now, Kind::Other, self.sites.unnamed);
        };
        match self.part(scope, class) {
            Part::Callback => {
                let kind = if self.told == Phase::CLOSE { Kind::Close } else { kind };
                match class {
                    Class::Timers | Class::Immediates => self.batch_begins(kind, site),
                    _ => self.callback_begins(now, kind, site),
                }
            }
            // The page is told of nothing: what lies between a callback and its drains is Node's.
            Part::Node => {}
            Part::Ticks => self.ticks_begin(),
        }
    }

    /// Tells which part of a scope an entry is. The callback comes first, and the queue of ticks last, when Node has left the
    /// resource. Timers have one between: Node converts the number that their function returns.
    fn part(&mut self, scope: Scope, class: Class) -> Part {
        match (scope.entries, class) {
            (1, _) => Part::Callback,
            (2, Class::Timers) => Part::Node,
            _ if scope.id == 0 => Part::Ticks,
            _ if self.ask(|runtime| runtime.async_id()) == Some(scope.id) => Part::Callback,
            _ => Part::Ticks,
        }
    }

    /// Returns what an entry outside any scope is for: what its resource says. Without Node's traces its phase is all that is
    /// known.
    fn without_scope(&mut self) -> (Kind, SiteId) {
        if self.told == Phase::MAIN {
            return (Kind::Other, self.sites.main);
        }
        if self.has_traces {
            let id = self.ask(|runtime| runtime.async_id());
            if id == Some(0) {
                return (Kind::Other, self.sites.node);
            }
            let name = id.and_then(|id| self.resources.provider(id));
            if let Some(named) = name.and_then(|name| self.names.get(name)) {
                return (named.kind, named.site);
            }
        }
        match self.told {
            Phase::TIMERS => (Kind::Timer, self.sites.timers),
            Phase::CHECK => (Kind::Immediate, self.sites.immediates),
            Phase::CLOSE if !self.has_traces => (Kind::Close, self.sites.closing),
            _ => {
                self.unnamed += 1;
                (Kind::Other, self.sites.unnamed)
            }
        }
    }

    /// A callback begins now. What lies between it and the one before is reading from sockets, and is not its time.
    fn callback_begins(&mut self, now: Ticks, kind: Kind, site: SiteId) {
        (self.frame, self.kind) = (Frame::Callback, kind);
        self.writer.begin_at(now, kind, site, Life::UNKNOWN);
    }

    /// All timers that are due, or all immediates, are one entry.
    fn batch_begins(&mut self, kind: Kind, site: SiteId) {
        (self.frame, self.kind) = (Frame::Callback, kind);
        self.writer.begin_many(kind, site);
    }

    /// A second entry in a scope: Node runs the nextTick queue, and does not say how many jobs it has.
    fn ticks_begin(&mut self) {
        self.writer.drain_begin(Queue::NextTick, 0);
        self.writer.begin_many(Kind::Tick, self.sites.ticks);
        self.frame = Frame::Tick;
    }

    fn ticks_end(&mut self) {
        self.writer.end_many(0);
        self.writer.drain_end(Queue::NextTick, 0);
    }

    fn entry_ends(&mut self) {
        if !std::mem::take(&mut self.is_in_entry) {
            return;
        }
        if !matches!(self.drain, Drain::None) {
            // V8 was told to end in the middle of it.
            return self.abandon();
        }
        match std::mem::replace(&mut self.frame, Frame::None) {
            Frame::Callback => {
                self.writer.end();
            }
            Frame::Tick => self.ticks_end(),
            Frame::None => {
                self.writer.end();
            }
        }
    }

    /// Tells the phase that the loop is in, where the page has another.
    #[inline]
    fn enter_phase(&mut self) {
        let scope = self.scopes.last().and_then(|scope| self.names.get(scope.name));
        let phase = match (scope, self.phase) {
            (Some(Named { class: Class::Timers, .. }), _) => Phase::TIMERS,
            // Requests end here; what closes are handles.
            (Some(Named { kind: Kind::IoWrite | Kind::Connect, .. }), Phase::CLOSE) => Phase::PENDING,
            (_, phase) => phase,
        };
        if phase != self.told {
            self.told = phase;
            // What lies before is libuv's and Node's own.
            self.writer.end();
            self.writer.phase(phase);
        }
    }

    fn trace(&mut self, TraceEvent { phase, name, id, value }: TraceEvent) {
        let Some((name, named)) = self.names.resolve(&mut self.writer, name) else { return };
        match (named.class, phase) {
            (Class::Ignored, _) => {}
            (Class::Resource, b'b') => self.resources.born(id, name),
            (Class::Resource, b'e') => self.resources.died(id),
            (Class::Resource, _) => {}
            (Class::Microtasks, b'B') => self.microtasks_begin(),
            (Class::Microtasks, b'E') => self.microtasks_end(value & u64::from(u32::MAX)),
            (Class::Microtasks, _) => {}
            (Class::Callback, b'b') => self.scope_begins(name, id),
            (_, b'b' | b'B' | b'X') => self.scope_begins(name, 0),
            (_, b'e' | b'E') => self.scope_ends(),
            _ => {}
        }
    }

    fn trace_ends(&mut self, name: TraceName) {
        let Some((_, named)) = self.names.resolve(&mut self.writer, name) else { return };
        if matches!(named.class, Class::Callback | Class::Timers | Class::Immediates) {
            self.scope_ends();
        }
        if named.class == Class::Timers && self.phase == Phase::CLOSE {
            self.phase = Phase::PENDING;
        }
    }

    fn scope_begins(&mut self, name: NameId, id: u64) {
        if self.scopes.is_empty() && !self.is_in_entry {
            self.writer.drained();
        }
        match self.scopes.len() < SCOPES {
            true => self.scopes.push(Scope { name, id, entries: 0 }),
            false => self.deeper += 1,
        }
    }

    fn scope_ends(&mut self) {
        match self.deeper {
            0 => drop(self.scopes.pop()),
            _ => self.deeper -= 1,
        }
        if self.scopes.is_empty() && !self.is_in_entry {
            self.writer.drained();
        }
    }

    fn microtasks_begin(&mut self) {
        if !matches!(self.drain, Drain::None) {
            return;
        }
        if self.parked.is_some() {
            self.poll_has_returned(self.writer.clock().now());
        }
        self.drain = match self.frame {
            Frame::Callback => Drain::Inside(self.writer.drain_inside_begin(Queue::Microtask, 0)),
            Frame::Tick => {
                self.ticks_end();
                self.writer.drain_begin(Queue::Microtask, 0);
                Drain::InTicks
            }
            Frame::None => {
                self.enter_phase();
                // What lies between the callback and here is Node's.
                self.writer.end();
                self.writer.drain_begin(Queue::Microtask, 0);
                Drain::After
            }
        };
        self.writer.begin_many(Kind::Microtask, self.sites.microtasks);
    }

    fn microtasks_end(&mut self, count: u64) {
        let drain = std::mem::replace(&mut self.drain, Drain::None);
        if matches!(drain, Drain::None) {
            return;
        }
        self.writer.end_many(count);
        match drain {
            Drain::Inside(inside) => self.writer.drain_inside_end(Queue::Microtask, count, inside),
            Drain::InTicks => {
                self.writer.drain_end(Queue::Microtask, count);
                self.ticks_begin();
            }
            Drain::After | Drain::None => self.writer.drain_end(Queue::Microtask, count),
        }
    }

    /// Gives the entry that runs another site, from now on: the program has named it.
    pub fn label(&mut self, name: &str) {
        if self.frame != Frame::Callback || !matches!(self.drain, Drain::None) {
            return;
        }
        let kind = self.kind;
        let (name, file, line, column) = (name.to_owned(), String::new(), 0, 0);
        let site = self.writer.foreign_site(Site { kind, name, file, line, column });
        self.writer.end();
        self.writer.drained();
        self.writer.begin(kind, site, Life::UNKNOWN);
    }

    /// An exception was caught by nobody.
    pub fn threw(&mut self) {
        self.writer.panicked();
    }

    /// Nothing is told for a while. Called within an entry.
    pub fn pause(&mut self) {
        self.abandon();
        self.writer.drained();
        self.writer.suspend();
    }

    /// Events come again. Called within an entry, which counts from here.
    pub fn resume(&mut self) {
        self.writer.resume();
        (self.parked, self.is_in_entry, self.has_polled) = (None, true, false);
        (self.phase, self.told) = (Phase::MAIN, Phase::MAIN);
        let now = self.writer.last();
        self.callback_begins(now, Kind::Other, self.sites.main);
    }

    /// Ends the loop's life on the page. Returns its writer.
    pub fn end(mut self) -> Writer {
        self.abandon();
        self.writer.drained();
        self.expected = None;
        self.writer.suspend();
        self.writer
    }
}
