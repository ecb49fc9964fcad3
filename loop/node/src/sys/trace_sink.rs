//! Node's own trace events, without a trace: the virtual table of its controller is replaced by a copy with two functions of ours.
//!
//! Node marks its callbacks for traces all the time, behind one byte for each category that says who listens. We listen: our bit
//! is set in three of these bytes, and events of them come here, natively, with the names that C++ gave. A trace of the user's
//! gets what it asked for; when it ends, Node clears the bytes, and [`TraceSink::arm`] sets our bit again.

use super::current;
use super::event::{EntryWatcher, Event, TraceEvent};
use super::symbols::{self, Missing, functions};
use super::trace_name::TraceName;
use libc::{c_char, c_void};
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

type AddEvent = unsafe extern "C" fn(
    *mut c_void,
    c_char,
    *const u8,
    *const c_char,
    *const c_char,
    u64,
    u64,
    i32,
    *const *const c_char,
    *const u8,
    *const u64,
    *mut c_void,
    u32,
) -> u64;
type EndEvent = unsafe extern "C" fn(*mut c_void, *const u8, *const c_char, u64);
type CategoryOf = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut u8;

functions! {
    /// Node's controller of traces, and what its virtual table must hold.
    Tracing {
        controller = c"_ZN4node7tracing16TraceEventHelper20GetTracingControllerEv": fn() -> *mut c_void;
        add = c"_ZN2v88platform7tracing17TracingController13AddTraceEventEcPKhPKcS6_mmiPS6_S4_PKmPSt10unique_ptrINS_24ConvertableToTraceFormatESt14default_deleteISB_EEj":
            fn(*mut c_void, c_char, *const u8, *const c_char, *const c_char, u64, u64, i32, *const *const c_char, *const u8, *const u64, *mut c_void, u32) -> u64;
        end = c"_ZN2v88platform7tracing17TracingController24UpdateTraceEventDurationEPKhPKcm":
            fn(*mut c_void, *const u8, *const c_char, u64);
    }
}

/// Words of the virtual table: two before the address that objects hold, and more than any version has behind it.
const TABLE_WORDS: usize = 14;
const BEFORE: usize = 2;
/// Places in it, counted from the address that objects hold.
const CATEGORY_SLOT: usize = 2;
const ADD_SLOT: usize = 3;
const END_SLOT: usize = 5;
/// `kEnabledForEventCallback` of V8's category bytes: a bit of its own, which traces do not use.
const OURS: u8 = 4;
/// `kEnabledForRecording`: a trace wants it.
const RECORDED: u8 = 1;
/// `TRACE_EVENT_FLAG_COPY`: the name is not constant, so it came from JavaScript.
const COPIED: u32 = 1;
/// Categories with the names of drains, of callbacks and resources, and of Node's timers and immediates.
const CATEGORIES: [&CStr; 3] = [c"v8.execute", c"node,node.async_hooks", c"node,node.environment"];
/// The last of them: two events, each with an end, in every turn of the loop, also where no immediate runs.
const TURNS: usize = 2;

/// Categories that are listened to, in the order of [`CATEGORIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listened(pub(crate) [bool; CATEGORIES.len()]);

impl Listened {
    /// All of them.
    pub(crate) const ALL: Listened = Listened([true; CATEGORIES.len()]);
}

/// The sink: one in a process, for ever. Threads without an adapter pass through it.
#[derive(Debug)]
pub(crate) struct TraceSink {
    /// Addresses of the categories' bytes.
    categories: [usize; CATEGORIES.len()],
    add: AddEvent,
    end: EndEvent,
    /// Where the controller has the address of its virtual table, Node's own table, and ours.
    slot: usize,
    nodes_table: usize,
    our_table: usize,
}

/// Loops that listen. Changed by each on its own thread; a loop that arms the sink meanwhile does so again at its next turn.
static USERS: AtomicUsize = AtomicUsize::new(0);

static SINK: OnceLock<Result<TraceSink, Missing>> = OnceLock::new();

impl TraceSink {
    /// Puts our functions into the controller, once in a process, and begins to listen.
    ///
    /// # Errors
    /// Node's controller is not what it is taken for; nothing was changed.
    pub(crate) fn install<W: EntryWatcher>() -> Result<&'static TraceSink, Missing> {
        current::must_be_told_of_entries::<W>()?;
        let sink = SINK.get_or_init(prepare::<W>).as_ref().map_err(Clone::clone)?;
        USERS.fetch_add(1, Ordering::AcqRel);
        if !sink.change_table(sink.nodes_table, sink.our_table) {
            USERS.fetch_sub(1, Ordering::Relaxed);
            return Err(Missing("the trace controller has another virtual table".to_owned()));
        }
        sink.arm(Listened::ALL);
        Ok(sink)
    }

    /// Sets our bit where it is not set: at the start, and after a trace of the user's has ended.
    #[inline]
    pub(crate) fn arm(&self, Listened(listened): Listened) {
        for (address, is_listened) in self.categories.into_iter().zip(listened) {
            if is_listened {
                arm(category(address));
            }
        }
    }

    /// [`TraceSink::arm`] where the check phase begins. Returns whether nothing of Node's turns is told until
    /// [`TraceSink::check_ends`]: what runs then is known without. Not where several loops listen, each of which is somewhere
    /// else.
    ///
    /// Only on the main thread, where Node changes these bytes, too: so that a store will do, which costs less.
    #[inline]
    pub(crate) fn check_begins(&self, Listened(mut listened): Listened) -> bool {
        let is_alone = USERS.load(Ordering::Relaxed) == 1;
        if is_alone {
            let turns = category(self.categories[TURNS]);
            turns.store(turns.load(Ordering::Relaxed) & !OURS, Ordering::Relaxed);
            listened[TURNS] = false;
        }
        self.arm(Listened(listened));
        is_alone
    }

    /// The check phase ends: timers may come. As [`TraceSink::check_begins`].
    #[inline]
    pub(crate) fn check_ends(&self, Listened(listened): Listened) {
        let turns = category(self.categories[TURNS]);
        let flags = turns.load(Ordering::Relaxed);
        if listened[TURNS] && flags & OURS == 0 {
            turns.store(flags | OURS, Ordering::Relaxed);
        }
    }

    /// One of those that installed it listens no more; with the last, Node has nobody to tell, and its own table again.
    pub(crate) fn release(&self) {
        if USERS.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.disarm();
            self.change_table(self.our_table, self.nodes_table);
            if USERS.load(Ordering::Acquire) > 0 {
                // Another thread has begun to listen meanwhile. Its loop sets our bits at its next turn.
                self.change_table(self.nodes_table, self.our_table);
            }
        }
    }

    /// Gives the controller the one table in place of the other. Returns whether it has it now.
    fn change_table(&self, from: usize, to: usize) -> bool {
        // SAFETY: the word is aligned and lives as long as the process; everybody else only reads it.
        let slot = unsafe { AtomicUsize::from_ptr(self.slot as *mut usize) };
        let before = slot.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        before.map_or_else(|table| table == to, |_| true)
    }

    /// Ceases to listen.
    pub(crate) fn disarm(&self) {
        for address in self.categories {
            category(address).fetch_and(!OURS, Ordering::Relaxed);
        }
    }
}

#[inline]
fn arm(byte: &AtomicU8) {
    if byte.load(Ordering::Relaxed) & OURS == 0 {
        byte.fetch_or(OURS, Ordering::Relaxed);
    }
}

fn category(address: usize) -> &'static AtomicU8 {
    // SAFETY: the controller keeps the bytes of its categories for ever, and everybody changes them as atomics.
    unsafe { AtomicU8::from_ptr(address as *mut u8) }
}

/// Reads a word of a virtual table.
fn table_word(table: *const usize, index: usize) -> usize {
    let word = table.wrapping_add(index);
    // SAFETY: the table of a controller has at least this many entries: its class has had nine virtual functions since V8 6.
    unsafe { word.read() }
}

/// Finds the controller, and makes a table of ours for it. Nothing is changed.
fn prepare<W: EntryWatcher>() -> Result<TraceSink, Missing> {
    let tracing = Tracing::find()?;
    // SAFETY: it returns a pointer that Node keeps for as long as the process.
    let controller = unsafe { (tracing.controller)() };
    if controller.is_null() {
        return Err(Missing("Node has no trace controller".to_owned()));
    }
    let slot = controller.cast::<usize>();
    // SAFETY: an object with virtual functions begins with the address of its table.
    let table = unsafe { slot.read() } as *const usize;
    let holds = |index, function: usize| table_word(table, index) == function;
    if !holds(ADD_SLOT, tracing.add as usize) || !holds(END_SLOT, tracing.end as usize) {
        return Err(Missing("the trace controller has another virtual table".to_owned()));
    }
    // SAFETY: the table is as it is taken for, so this entry is `GetCategoryGroupEnabled`.
    let category_of = unsafe { std::mem::transmute::<usize, CategoryOf>(table_word(table, CATEGORY_SLOT)) };
    let categories = CATEGORIES.map(|name| {
        // SAFETY: a call of a virtual function on its object, with a constant text.
        (unsafe { category_of(controller, name.as_ptr()) }) as usize
    });
    if categories.contains(&0) {
        return Err(Missing("the trace controller does not know its categories".to_owned()));
    }
    let begin = table.wrapping_sub(BEFORE);
    let mut copy: Vec<usize> = (0..TABLE_WORDS).map(|index| table_word(begin, index)).collect();
    copy[BEFORE + ADD_SLOT] = on_event::<W> as AddEvent as usize;
    copy[BEFORE + END_SLOT] = on_event_end as EndEvent as usize;
    let copy: &'static [usize] = copy.leak();
    let our_table = copy[BEFORE..].as_ptr() as usize;
    let (add, end, nodes_table) = (tracing.add, tracing.end, table as usize);
    Ok(TraceSink { categories, add, end, slot: slot as usize, nodes_table, our_table })
}

/// The sink, once it is there.
fn installed() -> Option<&'static TraceSink> {
    SINK.get()?.as_ref().ok()
}

fn flags_of(category: *const u8) -> u8 {
    // SAFETY: whoever adds an event gives the byte of its category, which the controller keeps for ever.
    unsafe { AtomicU8::from_ptr(category.cast_mut()) }.load(Ordering::Relaxed)
}

unsafe extern "C" fn on_event<W: EntryWatcher>(
    this: *mut c_void,
    phase: c_char,
    category: *const u8,
    name: *const c_char,
    scope: *const c_char,
    id: u64,
    bind_id: u64,
    arguments: i32,
    names: *const *const c_char,
    types: *const u8,
    values: *const u64,
    convertables: *mut c_void,
    flags: u32,
) -> u64 {
    if flags_of(category) & RECORDED != 0 {
        // SAFETY: handed on as it came.
        return unsafe {
            on_recorded_event::<W>(
                this,
                phase,
                category,
                name,
                scope,
                id,
                bind_id,
                arguments,
                names,
                types,
                values,
                convertables,
                flags,
            )
        };
    }
    if flags_of(category) & OURS != 0 && flags & COPIED == 0 {
        let value = match arguments {
            // SAFETY: the caller gives as many values as it says.
            1 => unsafe { values.read() },
            _ => 0,
        };
        // SAFETY: a name that is not to be copied is constant, and lives as long as the program, as V8's tracing demands.
        let name = unsafe { TraceName::of_event(name) };
        let event = TraceEvent { phase: phase as u8, name, id, value };
        // SAFETY: installed only where such watchers are told of entries.
        unsafe { current::tell_trace::<W>(&event) };
    }
    0
}

/// [`on_event`] where a trace of the program's wants it, too.
// Apart, so that nothing of what is handed on is kept at hand where nothing is.
#[cold]
#[inline(never)]
unsafe extern "C" fn on_recorded_event<W: EntryWatcher>(
    this: *mut c_void,
    phase: c_char,
    category: *const u8,
    name: *const c_char,
    scope: *const c_char,
    id: u64,
    bind_id: u64,
    arguments: i32,
    names: *const *const c_char,
    types: *const u8,
    values: *const u64,
    convertables: *mut c_void,
    flags: u32,
) -> u64 {
    let ours = flags_of(category) & !RECORDED;
    // SAFETY: as it came, but that nothing is recorded.
    unsafe {
        on_event::<W>(
            this,
            phase,
            &raw const ours,
            name,
            scope,
            id,
            bind_id,
            arguments,
            names,
            types,
            values,
            convertables,
            flags,
        )
    };
    match installed() {
        // SAFETY: handed on as it came, to the function that stood here.
        Some(sink) => unsafe {
            (sink.add)(
                this,
                phase,
                category,
                name,
                scope,
                id,
                bind_id,
                arguments,
                names,
                types,
                values,
                convertables,
                flags,
            )
        },
        None => 0,
    }
}

unsafe extern "C" fn on_event_end(this: *mut c_void, category: *const u8, name: *const c_char, handle: u64) {
    let wanted = flags_of(category);
    if wanted & OURS != 0 {
        // SAFETY: only the macros of C++ end an event in this way, with the constant name that they began it with.
        let name = unsafe { TraceName::of_event(name) };
        current::tell(Event::TraceEnds(name));
    }
    match installed() {
        // SAFETY: handed on as it came, to the function that stood here.
        Some(sink) if wanted & RECORDED != 0 => unsafe { (sink.end)(this, category, name, handle) },
        _ => {}
    }
}
