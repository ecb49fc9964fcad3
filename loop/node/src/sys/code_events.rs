//! V8's events of new and moved code, into the map of this thread's isolate.
//!
//! For flamegraphs, and where a stall's function is not known otherwise, V8 is asked for the code that there is. For that it goes
//! through all objects of the heap, on the loop's thread: 4 to 6 ms of processor time for 10 MB of small objects. So of a large heap only what was
//! followed is known. Where loopscope comes before the program, that is all but Node's own: new code is followed from the start
//! then, which takes 0.9 us for each function that is compiled, once, and collections no longer (Node 20 and 24, two processors).
//!
//! Events come on the loop's thread, and those of code that moves mostly on threads of V8's collector. None of them waits for a thread
//! of ours that reads the map: what comes meanwhile is kept, and goes into the map before it is read again.
//!
//! V8 has one such handler per isolate, and does not say whether there is another one, which ours replaces.

use super::symbols::{self, Missing, functions};
use super::v8::Isolate;
use crate::code_map::{Change, CodeMap, LateChanges};
use crate::log;
use libc::{c_char, c_int, c_void};
use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, TryLockError};

type OnEvent = Option<unsafe extern "C" fn(*const CodeEvent)>;

functions! {
    /// Who is told of code.
    CodeCalls {
        set_handler = c"_ZN2v87Isolate22SetJitCodeEventHandlerENS_19JitCodeEventOptionsEPFvPKNS_12JitCodeEventEE":
            fn(*mut c_void, c_int, OnEvent);
    }
}

/// `kJitCodeEventDefault`: new code is told.
const NEW: c_int = 0;
/// `kJitCodeEventEnumExisting`: what is there is told, too.
const EXISTING_TOO: c_int = 1;
/// Of a heap with more bytes in objects V8 is not asked for the code that is there: up to here it takes some 40 ms.
const HEAP_BYTES: u64 = 64 << 20;
const ADDED: c_int = 0;
const MOVED: c_int = 1;
const REMOVED: c_int = 2;
/// Longest name that is kept, in bytes.
const NAME_BYTES: usize = 512;

/// `v8::JitCodeEvent`, as far as it is read.
#[repr(C)]
pub(super) struct CodeEvent {
    what: c_int,
    code_type: c_int,
    start: *mut c_void,
    bytes: usize,
    script: *mut c_void,
    user_data: *mut c_void,
    wasm: *mut c_void,
    /// The name, or where code has moved to.
    name: *const c_char,
    name_bytes: usize,
    /// The kind of a place, in events of places.
    place: usize,
    isolate: *mut c_void,
}

/// The code of this thread's isolate.
#[derive(Debug)]
struct OwnCode {
    isolate: *mut c_void,
    map: Arc<Mutex<CodeMap>>,
    late: Arc<LateChanges>,
    /// V8 tells of it.
    is_followed: bool,
    /// The map is made.
    is_made: bool,
}

impl OwnCode {
    fn new(isolate: *mut c_void, map: Arc<Mutex<CodeMap>>) -> OwnCode {
        let late = lock(&map).late();
        OwnCode { isolate, map, late, is_followed: false, is_made: false }
    }

    /// Returns the map with all that was late, unless another thread has it.
    fn try_map(&mut self) -> Option<MutexGuard<'_, CodeMap>> {
        let mut map = match self.map.try_lock() {
            Ok(map) => map,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        map.catch_up();
        Some(map)
    }

    fn change(&mut self, change: Change<'_>) {
        if let Some(mut map) = self.try_map() {
            return change.apply(&mut map);
        }
        self.late.add(change.into_owned());
    }
}

/// The isolates whose code is followed, and where changes go of which another thread tells. Locked for as long as a loop begins or
/// ends, and by those threads.
static FOLLOWED: Mutex<Vec<(usize, Arc<LateChanges>)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the map of an isolate, with all that is known.
#[inline(never)]
pub(crate) fn lock_code(map: &Mutex<CodeMap>) -> MutexGuard<'_, CodeMap> {
    let mut map = lock(map);
    map.catch_up();
    map
}

/// A thread of V8's tells of code of this isolate.
#[cold]
fn change_elsewhere(isolate: usize, change: Change<'_>) {
    let followed = lock(&FOLLOWED);
    match followed.iter().find(|(of, _)| *of == isolate) {
        Some((_, late)) => late.add(change.into_owned()),
        // Nobody knows whose code it is.
        None => followed.iter().for_each(|(_, late)| late.lose()),
    }
}

thread_local! {
    static CODE: RefCell<Option<OwnCode>> = const { RefCell::new(None) };
}

/// Sets the map of this thread's isolate.
pub(super) fn set_code(isolate: *mut c_void, map: Arc<Mutex<CodeMap>>) {
    CODE.set(Some(OwnCode::new(isolate, map)));
}

/// Calls `f` with the code of this thread's isolate, where it has one.
fn with_code<R>(f: impl FnOnce(&mut OwnCode) -> R) -> Option<R> {
    CODE.try_with(|code| code.try_borrow_mut().ok()?.as_mut().map(f)).ok()?
}

/// Has what was late in the map, unless another thread has it still.
pub(super) fn catch_up() {
    with_code(|code| drop(code.try_map()));
}

/// Makes the map of this thread's code, unless it is made: V8 tells of what there is, too, where the heap is small. Returns whether it
/// did.
pub(super) fn follow() -> bool {
    let make = |code: &mut OwnCode| (!std::mem::replace(&mut code.is_made, true)).then_some(code.is_followed);
    let Some(is_followed) = with_code(make).flatten() else { return false };
    let heap = Isolate::current().and_then(|isolate| isolate.heap());
    let is_small = heap.as_ref().is_ok_and(|heap| heap.used <= HEAP_BYTES);
    if is_small {
        tell(EXISTING_TOO);
    } else {
        TOO_LARGE.store(heap.map_or(0, |heap| heap.used), Ordering::Relaxed);
        if !is_followed {
            tell(NEW);
        }
    }
    with_code(|code| code.change(Change::Made));
    is_small
}

/// Has V8 tell of this thread's new code: before there is any of the program's.
pub(super) fn follow_new() {
    tell(NEW);
}

fn tell(options: c_int) {
    let follow = |code: &mut OwnCode| {
        if !std::mem::replace(&mut code.is_followed, true) {
            lock(&FOLLOWED).push((code.isolate as usize, code.late.clone()));
        }
        code.isolate
    };
    if let (Ok(calls), Some(isolate)) = (CodeCalls::find(), with_code(follow)) {
        // SAFETY: the isolate is this thread's; the function lives as long as the process.
        unsafe { (calls.set_handler)(isolate, options, Some(on_event)) };
    }
}

/// Bytes of the heap that was too large; 0 where none was. Said by a thread of ours: a loop waits for no line.
static TOO_LARGE: AtomicU64 = AtomicU64::new(0);

/// Says once in a process what is not known, where that is so. On the thread that asks.
pub(super) fn say_what_is_missing() {
    static ONCE: Once = Once::new();
    let used = TOO_LARGE.load(Ordering::Relaxed);
    if used > 0 {
        ONCE.call_once(|| log::off("some names of functions that wait for native code", &too_large(used)));
    }
}

fn too_large(used: u64) -> String {
    format!(
        "for code that it compiled before it was followed, V8 would go through the heap of {} MiB while the loop waits; newer code is \
         known",
        used >> 20
    )
}

/// Has V8 tell no more of this thread's code, where it does.
pub(super) fn unfollow() {
    let own = CODE.try_with(|code| code.try_borrow_mut().ok()?.take()).ok().flatten();
    if let (Some(OwnCode { isolate, is_followed: true, .. }), Ok(calls)) = (own, CodeCalls::find()) {
        // SAFETY: the isolate is this thread's, and alive until its environment's end is over.
        unsafe { (calls.set_handler)(isolate, NEW, None) };
        lock(&FOLLOWED).retain(|(of, _)| *of != isolate as usize);
    }
}

unsafe extern "C" fn on_event(event: *const CodeEvent) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: V8 gives an event for the time of this call.
        let event = unsafe { &*event };
        let start = event.start as usize;
        let change = match event.what {
            ADDED => Change::Added { start, bytes: event.bytes, name: name_of(event) },
            MOVED => Change::Moved { from: start, to: event.name as usize },
            REMOVED => Change::Removed(start),
            _ => return,
        };
        // A thread of the collector has none.
        let is_own = CODE.try_with(|code| code.try_borrow().is_ok_and(|code| code.is_some()));
        if is_own.unwrap_or(false) {
            with_code(|code| code.change(change));
        } else {
            change_elsewhere(event.isolate as usize, change);
        }
    }));
    drop(told);
}

fn name_of(event: &CodeEvent) -> Cow<'_, str> {
    if event.name.is_null() {
        return "".into();
    }
    let bytes = event.name_bytes.min(NAME_BYTES);
    // SAFETY: V8 gives so many bytes of a name with an event of new code.
    let name = unsafe { std::slice::from_raw_parts(event.name.cast::<u8>(), bytes) };
    String::from_utf8_lossy(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(start: usize, name: &'static str) -> Change<'static> {
        Change::Added { start, bytes: 64, name: name.into() }
    }

    fn name(map: &CodeMap, address: usize) -> Option<String> {
        map.function(address).map(|frame| frame.function)
    }

    #[test]
    fn code_that_comes_while_the_map_is_read_is_waited_for_by_nobody_and_comes_with_the_next() {
        let map = Arc::new(Mutex::new(CodeMap::default()));
        let mut code = OwnCode::new(std::ptr::null_mut(), map.clone());
        code.change(added(0x1000, "JS:~one /a.js:1:1"));
        let reading = map.lock().unwrap();
        // Whoever waited here would wait for ever.
        code.change(Change::Made);
        code.change(added(0x2000, "JS:~two /a.js:2:1"));
        code.change(Change::Moved { from: 0x1000, to: 0x3000 });
        assert_eq!((name(&reading, 0x1000).as_deref(), name(&reading, 0x2000)), (Some("one"), None));
        drop(reading);
        code.change(Change::Removed(0x2000));
        let map = map.lock().unwrap();
        assert_eq!((name(&map, 0x1000), name(&map, 0x2000)), (None, None));
        assert_eq!((name(&map, 0x3000).as_deref(), map.is_followed), (Some("one"), true));
    }

    #[test]
    fn where_changes_are_lost_nothing_is_known_of_what_was_before() {
        let map = Arc::new(Mutex::new(CodeMap::default()));
        let mut code = OwnCode::new(std::ptr::null_mut(), map.clone());
        code.change(added(0x1000, "JS:~one /a.js:1:1"));
        let reading = map.lock().unwrap();
        code.change(Change::Made);
        for _ in 0..=1 << 16 {
            code.change(Change::Moved { from: 0x1000, to: 0x1000 });
        }
        drop(reading);
        code.change(added(0x2000, "JS:~two /a.js:2:1"));
        let map = map.lock().unwrap();
        assert_eq!((name(&map, 0x1000), name(&map, 0x2000).as_deref()), (None, Some("two")));
        assert!(map.is_followed, "it goes on");
    }

    #[test]
    fn what_a_thread_of_the_collector_tells_is_known_before_the_map_is_read() {
        let (one, other) =
            (Arc::new(Mutex::new(CodeMap::default())), Arc::new(Mutex::new(CodeMap::default())));
        let mut codes = [(0x10, &one), (0x20, &other)].map(|(isolate, map)| {
            let code = OwnCode::new(std::ptr::without_provenance_mut(isolate), map.clone());
            lock(&FOLLOWED).push((isolate, code.late.clone()));
            code
        });
        codes.iter_mut().for_each(|code| code.change(added(0x1000, "JS:~old /a.js:1:1")));
        let moved = |from, to| Change::Moved { from, to };
        std::thread::scope(|scope| scope.spawn(|| change_elsewhere(0x10, moved(0x1000, 0x2000))).join())
            .unwrap();
        // Where it was is other code by the time that the loop goes on.
        codes[0].change(added(0x1000, "JS:~new /a.js:2:1"));
        let name = |map: &Mutex<CodeMap>, address| name(&lock_code(map), address);
        assert_eq!(
            (name(&one, 0x1000).as_deref(), name(&one, 0x2000).as_deref()),
            (Some("new"), Some("old"))
        );
        change_elsewhere(0x10, moved(0x2000, 0x3000));
        assert_eq!((name(&one, 0x2000), name(&one, 0x3000).as_deref()), (None, Some("old")));
        assert_eq!(name(&other, 0x1000).as_deref(), Some("old"), "it is another isolate's");
        // Of an isolate that is not known: it may be either.
        change_elsewhere(0x30, moved(0x1000, 0x2000));
        assert_eq!((name(&one, 0x1000), name(&other, 0x1000)), (None, None));
        lock(&FOLLOWED).retain(|(isolate, _)| ![0x10, 0x20].contains(isolate));
    }
}
