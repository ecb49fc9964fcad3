//! What Node, V8 and libuv tell of a loop, as values; and who is told.

use super::hook_counts::HookCounts;
use super::trace_name::TraceName;
use loopscope_probe::{Snapshot, Ticks};
use std::fmt;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// libuv is about to poll.
    PollBegins,
    /// The poll is over, and its callbacks, and those of immediates begin.
    CheckBegins,
    /// What runs outside of any scope, up to the end of the phase, is Node's batch of immediates: told after
    /// [`Event::CheckBegins`] where Node's trace of it is not listened to.
    Immediates,
    /// Immediates are over.
    CheckEnds,
    /// C++ enters JavaScript.
    EntryBegins,
    /// JavaScript has returned to C++.
    EntryEnds,
    /// V8 has run all microtasks, also where there were none.
    Checkpoint,
    /// Node tells an event of its traces.
    Trace(TraceEvent),
    /// The event of a trace that spans a time has ended.
    TraceEnds(TraceName),
}

/// An event of Node's traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// `b`, `e`, `B`, `E` or `X`, as the trace format has them.
    pub phase: u8,
    /// Its name.
    pub name: TraceName,
    /// The id of what it is about.
    pub id: u64,
    /// Its only argument; 0 where it has none or several.
    pub value: u64,
}

/// What V8 says of a heap, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapFigures {
    /// Objects.
    pub used: u64,
    /// What V8 took from the system for them.
    pub total: u64,
    /// Where V8 gives up.
    pub limit: u64,
    /// Structures of V8's own.
    pub malloced: u64,
    /// Memory that objects hold outside: buffers.
    pub external: u64,
}

/// What runs, for whoever interrupts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Running {
    /// A callback, and no drain inside of it.
    Callback,
    /// The queue of ticks.
    Ticks,
    /// Anything else.
    Other,
}

/// Who is told of a loop, on its thread.
pub(crate) trait Watcher: fmt::Debug {
    /// Something happened that [`EntryWatcher`] is not told. Returns whether JavaScript is entered: then entries within need not be
    /// told.
    fn tell(&mut self, event: Event) -> bool;
    /// A collection of garbage begins, of the kind that `v8::GCType` has a bit for.
    fn gc_begins(&mut self, kind: u32);
    /// A collection of garbage has ended.
    fn gc_ends(&mut self);
    /// The program names what runs. Returns whether that is a batch, of which only JavaScript can tell the next member.
    fn label(&mut self, name: &str) -> bool;
    /// The main script is a module, which may be evaluated after the first poll.
    fn main_is_module(&mut self);
    /// Returns what runs.
    fn running(&self) -> Running;
    /// What runs is found to block the loop: it is told by itself, where it is a part of something.
    fn part_what_blocks(&mut self);
    /// Where to read how many hooks of `async_hooks` are active.
    fn set_hook_counts(&mut self, counts: HookCounts);
    /// The map of V8's code was made, which took the loop's thread so many nanoseconds.
    fn code_was_mapped(&mut self, ns: u64);
    /// An exception was caught by nobody.
    fn threw(&mut self);
    /// Returns what was counted so far, in JSON.
    fn counts(&mut self) -> String;
    /// Takes everything off the loop's thread, or puts it back: what loopscope costs can be measured in one process so.
    /// `left_out` names what is not put back, separated by commas: what each part costs.
    fn set_paused(&mut self, is_paused: bool, left_out: &str);
    /// Copies the figures of this loop's page.
    fn snapshot(&mut self) -> Box<Snapshot>;
    /// What runs from here may block for this reason.
    fn expect(&mut self, reason: &str);
    /// What was announced last is over.
    fn expected(&mut self);
    /// Returns when the busy period that runs began.
    fn busy_since(&self) -> Ticks;
    /// Ends the watching. Handles in the loop stay.
    fn end(self: Box<Self>);
}

/// A watcher of entries. Each of these comes so often that it is called as what it is, in the function that V8 or Node calls. They
/// return the same as [`Watcher::tell`].
pub(crate) trait EntryWatcher: Watcher + 'static {
    /// [`Event::EntryBegins`].
    fn entry_begins(&mut self) -> bool;
    /// [`Event::EntryEnds`].
    fn entry_ends(&mut self) -> bool;
    /// [`Event::Trace`].
    fn trace(&mut self, event: &TraceEvent) -> bool;
    /// [`Event::Checkpoint`]; also one outside of entries, which parts nothing.
    fn checkpoint(&mut self) -> bool;
}
