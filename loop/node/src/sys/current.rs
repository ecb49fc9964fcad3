//! The watcher of this thread: found by whatever Node calls, and safe from what goes wrong in us.
//!
//! A pointer in a variable without destructor, because V8 and libuv call a hundred thousand times a second, also on
//! threads that have no loop. What owns the watcher is another variable, whose destructor clears the pointer first.
//!
//! A thread's variables of a library that was loaded later are found by a call, some nanoseconds each time. So what every
//! event needs is one variable, and that of the main thread is found by comparing a register. It is one line of the cache, as
//! between two events the program's own work drives out of the nearest one whatever is not its own.

use super::event::{EntryWatcher, Event, TraceEvent, Watcher};
use super::symbols::Missing;
use super::{js_callback, napi};
use crate::log;
use libc::c_void;
use loopscope_probe::raw::thread::current_tid;
use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What every event on this thread needs.
struct LoopState {
    /// JavaScript is entered, and this thread's watcher knows.
    is_entered: Cell<bool>,
    /// The watcher is called at this moment.
    is_in_use: Cell<bool>,
    /// Who is told of entries, which is of [`WATCHER`]'s type; nobody where there is none.
    entries_told: Cell<Option<NonNull<()>>>,
    /// Who is told of other events; nobody where there is none.
    told: Cell<Option<Pointer>>,
    /// This thread's watcher, also while it is told nothing, and its type.
    own: Cell<Option<(Pointer, TypeId)>>,
}

/// Where a watcher is.
type Pointer = NonNull<dyn Watcher>;

impl LoopState {
    const fn new() -> LoopState {
        let (is_entered, is_in_use) = (Cell::new(false), Cell::new(false));
        let entries_told = Cell::new(None);
        LoopState { is_entered, is_in_use, entries_told, told: Cell::new(None), own: Cell::new(None) }
    }

    fn set_told(&self, told: Option<(Pointer, TypeId)>) {
        self.told.set(told.map(|(watcher, _)| watcher));
        let is_type = |of: &(Pointer, TypeId)| WATCHER.get() == Some(&of.1);
        self.entries_told.set(told.filter(is_type).map(|(watcher, _)| watcher.cast()));
    }
}

/// The type of watchers that are told of entries: one in a process, so that their functions are called without looking for them.
static WATCHER: OnceLock<TypeId> = OnceLock::new();

/// Makes it the type of watchers that are told of entries.
///
/// # Errors
/// Another one is: nothing of this one may be hooked.
pub(super) fn must_be_told_of_entries<W: EntryWatcher>() -> Result<(), Missing> {
    match *WATCHER.get_or_init(TypeId::of::<W>) == TypeId::of::<W>() {
        true => Ok(()),
        false => Err(Missing("another type of watcher is told of entries".to_owned())),
    }
}

thread_local! {
    /// Of a thread that is not the main one.
    static STATE: LoopState = const { LoopState::new() };
    static OWNER: Owner = const { Owner(Cell::new(None)) };
    /// Handles of ours that are in this thread's loop, running or stopped: whoever started them may be gone.
    static HANDLES: RefCell<Vec<OpenHandle>> = const { RefCell::new(Vec::new()) };
    /// How many of this thread's are being closed.
    static CLOSING: Cell<usize> = const { Cell::new(0) };
    /// Node's hook for the end of this environment.
    static HOOK: Cell<*mut c_void> = const { Cell::new(null_mut()) };
    /// What else ends with this thread's watcher.
    static FORGET: Cell<Option<Forget>> = const { Cell::new(None) };
}

/// A handle of ours in this thread's loop, and how it is closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenHandle {
    pub(super) handle: *mut c_void,
    /// `uv_close`.
    pub(super) close: unsafe extern "C" fn(*mut c_void, unsafe extern "C" fn(*mut c_void)),
    /// Calls [`handle_closed`].
    pub(super) on_closed: unsafe extern "C" fn(*mut c_void),
}

/// What knows an isolate beside its watcher, and has to forget it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forget {
    /// Nobody asks the isolate of this thread any more; also called inside of a callback of V8's.
    pub(super) isolate: fn(u32),
    /// V8 tells of the code of this thread's isolate no more.
    pub(super) code: fn(),
}

/// The main thread's state, and how it is known.
#[repr(C, align(64))]
struct MainState {
    /// The thread pointer of the main thread, once it has a watcher; 0 before. Written by that thread, and another one never has the
    /// same value, so that nothing need be ordered.
    thread: AtomicUsize,
    state: LoopState,
}

// SAFETY: `with_state` uses the state on the one thread whose pointer `note_main_thread` has stored.
unsafe impl Sync for MainState {}

static MAIN: MainState = MainState { thread: AtomicUsize::new(0), state: LoopState::new() };

/// This thread's watcher, made by `Box::into_raw`.
struct Owner(Cell<Option<Pointer>>);

impl Owner {
    fn take(&self) -> Option<Box<dyn Watcher>> {
        let watcher = self.0.take()?;
        // SAFETY: `set` made it of a box, and whoever takes it out of here is the only one. Nobody else has the pointer any more, or
        // uses it: the callers have cleared the thread's state, and do not come here while the watcher is in use.
        Some(unsafe { Box::from_raw(watcher.as_ptr()) })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        clear();
        drop(self.take());
    }
}

/// Returns what tells this thread from all others that live; 0 where that is not known.
#[inline(always)]
fn thread_pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the first word that FS points to is its own address, by the ABI of threads on Linux.
    unsafe {
        std::arch::asm!("mov {}, qword ptr fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly))
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the register is readable, and has no side effect.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, preserves_flags, nomem))
    };
    pointer
}

/// Calls `f` with this thread's variable.
#[inline(always)]
fn with_state<R>(f: impl FnOnce(&LoopState) -> R) -> R {
    let is_main = thread_pointer() == MAIN.thread.load(Ordering::Relaxed);
    let state = if is_main { &raw const MAIN.state } else { state_of_other_thread() };
    // SAFETY: a static, or this thread's variable, which has no destructor and is there for as long as the thread, that is here.
    f(unsafe { &*state })
}

/// Finds the variable of a thread that is not the main one.
// Apart, so that what is done with a state is there once, and nothing is kept at hand for this call.
#[cold]
#[inline(never)]
fn state_of_other_thread() -> *const LoopState {
    STATE.with(std::ptr::from_ref)
}

/// Makes the main thread's variable found without a call.
fn note_main_thread() {
    if current_tid() == std::process::id() {
        MAIN.thread.store(thread_pointer(), Ordering::Relaxed);
    }
}

/// Has [`on_environment_end`] called at the end of this thread's environment, by `add`, unless it is already. Returns whether it is:
/// before that nothing that outlives this call may know the environment, or its isolate.
pub(super) fn end_with_environment(forget: Forget, add: impl FnOnce() -> *mut c_void) -> bool {
    FORGET.set(Some(forget));
    if HOOK.get().is_null() {
        HOOK.set(add());
    }
    !HOOK.get().is_null()
}

/// Makes it this thread's watcher.
pub(super) fn set<W: Watcher + 'static>(watcher: Box<W>) {
    note_main_thread();
    let _ = OWNER.try_with(|owner| {
        let watcher: Pointer = NonNull::from(Box::leak(watcher));
        with_state(|state| {
            let own = Some((watcher, TypeId::of::<W>()));
            state.set_told(own);
            state.own.set(own);
        });
        let before = owner.take();
        owner.0.set(Some(watcher));
        drop(before);
    });
}

/// Tells whether this thread has one.
pub(super) fn is_set() -> bool {
    with_state(|state| state.own.get().is_some())
}

/// This thread has none any more.
fn clear() {
    with_state(|state| {
        state.set_told(None);
        state.own.set(None);
    });
}

/// Tells this thread's watcher nothing, or events again.
pub(super) fn mute(is_muted: bool) {
    with_state(|state| state.set_told(state.own.get().filter(|_| !is_muted)));
}

/// Calls `f` with the watcher at this address; `None` where there is none, or it is in use: something of ours led back to us.
/// A panic does not leave this function: the thread's loop is not told any more from then on.
#[inline(always)]
fn with_watcher<W: Watcher + ?Sized, R>(
    state: &LoopState,
    watcher: Option<NonNull<W>>,
    f: impl FnOnce(&mut W) -> R,
) -> Option<R> {
    let mut watcher = watcher?;
    if state.is_in_use.replace(true) {
        return None;
    }
    let called = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: `set` stored the address of what `OWNER` of this thread has; whoever takes that out clears the state's pointers
        // first, and not while the watcher is in use (`take`, `Owner::drop`). It is in use here only, and of its own type
        // (`tell_in`).
        f(unsafe { watcher.as_mut() })
    }));
    state.is_in_use.set(false);
    match called {
        Ok(result) => Some(result),
        Err(panic) => {
            give_up_after(panic);
            None
        }
    }
}

/// A panic has come from this thread's watcher.
// Apart, so that nothing is kept at hand for it where none comes.
#[cold]
#[inline(never)]
fn give_up_after(panic: Box<dyn Any + Send>) {
    give_up();
    drop(panic);
}

/// Calls `f` with this thread's watcher where it is told of events.
#[inline]
pub(super) fn with<R>(f: impl FnOnce(&mut dyn Watcher) -> R) -> Option<R> {
    with_state(|state| with_watcher(state, state.told.get(), |watcher| f(watcher)))
}

/// [`with`], also where it is told nothing.
pub(super) fn with_own<R>(f: impl FnOnce(&mut dyn Watcher) -> R) -> Option<R> {
    let own = |state: &LoopState| state.own.get().map(|(watcher, _)| watcher);
    with_state(|state| with_watcher(state, own(state), |watcher| f(watcher)))
}

/// Tells this thread's watcher of an event.
#[inline]
pub(super) fn tell(event: Event) {
    with_state(|state| {
        let is_entered = with_watcher(state, state.told.get(), |watcher| watcher.tell(event));
        state.is_entered.set(is_entered.unwrap_or(false));
    });
}

/// Calls `f` with the watcher that is told of entries, which returns whether JavaScript is entered.
///
/// # Safety
/// `W` [is told of entries](must_be_told_of_entries).
#[inline(always)]
unsafe fn tell_in<W: EntryWatcher>(state: &LoopState, f: impl FnOnce(&mut W) -> bool) {
    // The address is of a watcher of the type that is told of entries, of which there is one.
    let watcher = state.entries_told.get().map(NonNull::cast::<W>);
    state.is_entered.set(with_watcher(state, watcher, f).unwrap_or(false));
}

/// [`tell`] of the begin of an entry. Most are within another, and go no further than this.
///
/// # Safety
/// As [`tell_in`].
#[inline(always)]
pub(super) unsafe fn tell_entry<W: EntryWatcher>() {
    with_state(|state| {
        if !state.is_entered.get() {
            // SAFETY: the caller's.
            unsafe { tell_in(state, W::entry_begins) };
        }
    });
}

/// [`tell`] of the end of an entry.
///
/// # Safety
/// As [`tell_in`].
#[inline(always)]
pub(super) unsafe fn tell_entry_end<W: EntryWatcher>() {
    // SAFETY: the caller's.
    with_state(|state| unsafe { tell_in(state, W::entry_ends) });
}

/// [`tell`] of an event of Node's traces.
///
/// # Safety
/// As [`tell_in`].
#[inline(always)]
pub(super) unsafe fn tell_trace<W: EntryWatcher>(event: &TraceEvent) {
    // SAFETY: the caller's.
    with_state(
        #[inline(always)]
        |state| unsafe {
            tell_in(
                state,
                #[inline(always)]
                |watcher: &mut W| watcher.trace(event),
            )
        },
    );
}

/// [`tell`] of a checkpoint.
///
/// # Safety
/// As [`tell_in`].
#[inline(always)]
pub(super) unsafe fn tell_checkpoint<W: EntryWatcher>() {
    // SAFETY: the caller's.
    with_state(|state| unsafe { tell_in(state, W::checkpoint) });
}

/// Takes this thread's watcher away: nothing is told from now on. `None` where there is none, or it is in use.
pub(super) fn take() -> Option<Box<dyn Watcher>> {
    clear();
    let is_in_use = with_state(|state| state.is_in_use.get());
    if is_in_use { None } else { OWNER.try_with(Owner::take).ok()? }
}

#[cold]
fn give_up() {
    // V8's events of code are followed on: this may be inside of one of its callbacks.
    forget_isolate();
    // The page is closed with it. Our handles stay in the loop, and tell nobody, until `close_handles`.
    let dropped = catch_unwind(|| drop(take()));
    let how = if dropped.is_ok() { "closed" } else { "left as it is" };
    log::line(&format!("internal error of loopscope: this loop is no longer watched, and its page is {how}"));
}

/// These are in this thread's loop from now on.
pub(super) fn add_handles(handles: [OpenHandle; 3]) {
    let _ = HANDLES.try_with(|all| all.borrow_mut().extend(handles));
}

/// Has libuv close all handles of ours in this thread's loop, in the loop's next turn.
pub(super) fn close_handles() {
    let handles = HANDLES.try_with(RefCell::take).unwrap_or_default();
    CLOSING.set(CLOSING.get() + handles.len());
    for OpenHandle { handle, close, on_closed } in handles {
        // SAFETY: the handle was initialised in this thread's loop, which is there up to the end of its environment, and is closed
        // once: it is not in `HANDLES` any more. Its memory goes in `on_closed`.
        unsafe { close(handle, on_closed) };
    }
}

/// Tells whether a handle of ours is in this thread's loop, be it one that is being closed.
pub(super) fn are_handles_left() -> bool {
    CLOSING.get() > 0 || HANDLES.try_with(|handles| !handles.borrow().is_empty()).unwrap_or(false)
}

/// A handle of ours in this thread's loop is closed. Node need not tell the end any more where that was the last one: a watcher
/// that was set meanwhile has its own.
pub(super) fn handle_closed() {
    CLOSING.set(CLOSING.get().saturating_sub(1));
    remove_hook_without_handles();
}

fn remove_hook_without_handles() {
    if !are_handles_left() {
        napi::cleaned_up(HOOK.replace(null_mut()));
    }
}

/// Ends this thread's watcher, before its environment does. Node is told when libuv has let go of our handles.
pub(super) unsafe extern "C" fn on_environment_end(hook: *mut c_void, _data: *mut c_void) {
    HOOK.set(hook);
    end();
    close_handles();
    remove_hook_without_handles();
}

/// Nobody asks this thread's isolate any more.
fn forget_isolate() {
    if let Some(forget) = FORGET.get() {
        (forget.isolate)(current_tid());
    }
}

/// Ends this thread's watcher, where it has one still, and all that knows its isolate. Its handles stay in the loop, which may not
/// turn any more, until [`close_handles`], at the latest at the end of the environment.
pub(super) fn end() {
    js_callback::unlisten(current_tid());
    forget_isolate();
    if let Some(forget) = FORGET.get() {
        (forget.code)();
    }
    let _ = catch_unwind(AssertUnwindSafe(|| take().map(Watcher::end)));
}
