//! The watcher of this thread: found by whatever Node calls, and safe from what goes wrong in us.
//!
//! A pointer in a variable without destructor, because V8 and libuv call a hundred thousand times a second, also on
//! threads that have no loop. What owns the watcher is another variable, whose destructor clears the pointer first.

use super::event::{Event, LetGo, Watcher};
use super::{js_callback, napi};
use crate::log;
use libc::c_void;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null;

thread_local! {
    /// JavaScript is entered, and this thread's watcher knows.
    static IS_ENTERED: Cell<bool> = const { Cell::new(false) };
    static CURRENT: Cell<*const Shared> = const { Cell::new(null()) };
    static OWNER: Owner = const { Owner(RefCell::new(None)) };
    /// Handles of an watcher that has ended, while its loop may still turn.
    static LEFT: RefCell<Option<LetGo>> = const { RefCell::new(None) };
    /// Node's hook for the end of this environment.
    static HOOK: Cell<*mut c_void> = const { Cell::new(std::ptr::null_mut()) };
}

type Shared = RefCell<Box<dyn Watcher>>;

struct Owner(RefCell<Option<Box<Shared>>>);

impl Drop for Owner {
    fn drop(&mut self) {
        CURRENT.set(null());
    }
}

/// Makes it this thread's watcher. `hook` is told when it is closed.
pub(super) fn set(watcher: Box<dyn Watcher>, hook: *mut c_void) {
    HOOK.set(hook);
    let _ = OWNER.try_with(|owner| {
        let boxed = Box::new(RefCell::new(watcher));
        CURRENT.set(&raw const *boxed);
        *owner.0.borrow_mut() = Some(boxed);
    });
}

/// Tells whether this thread has one.
pub(super) fn is_set() -> bool {
    !CURRENT.get().is_null()
}

/// Calls `f` with this thread's watcher; `None` where there is none, or it is in use: something of ours led back to us.
/// A panic does not leave this function: the thread's loop is not told any more from then on.
#[inline]
pub(super) fn with<R>(f: impl FnOnce(&mut dyn Watcher) -> R) -> Option<R> {
    let current = CURRENT.get();
    if current.is_null() {
        return None;
    }
    // SAFETY: `set` stored the address of a box that `OWNER` of this thread holds; whoever takes the box out, or drops it,
    // clears the pointer first (`take`, `Owner::drop`).
    let current = unsafe { &*current };
    let mut watcher = current.try_borrow_mut().ok()?;
    match catch_unwind(AssertUnwindSafe(|| f(&mut **watcher))) {
        Ok(result) => Some(result),
        Err(_) => {
            drop(watcher);
            give_up();
            None
        }
    }
}

/// Tells this thread's watcher of an event.
#[inline]
pub(super) fn tell(event: Event) {
    let is_entered = with(|watcher| watcher.tell(event)).unwrap_or(false);
    IS_ENTERED.set(is_entered);
}

/// [`tell`] of the begin of an entry. Most are within another, and go no further than this.
#[inline]
pub(super) fn tell_entry() {
    if !IS_ENTERED.get() {
        tell(Event::EntryBegins);
    }
}

/// [`tell`] of a checkpoint: of those outside of entries nothing is to be told.
#[inline]
pub(super) fn tell_checkpoint() {
    if IS_ENTERED.get() {
        tell(Event::Checkpoint);
    }
}

/// Takes this thread's watcher away: nothing is told from now on.
pub(super) fn take() -> Option<Box<dyn Watcher>> {
    CURRENT.set(null());
    let boxed = OWNER.try_with(|owner| owner.0.try_borrow_mut().ok()?.take()).ok()??;
    Some(boxed.into_inner())
}

#[cold]
fn give_up() {
    // The page is closed with it. Our handles stay in the loop, and tell nobody.
    let dropped = catch_unwind(|| drop(take()));
    let how = if dropped.is_ok() { "closed" } else { "left as it is" };
    log::line(&format!("internal error of loopscope: this loop is no longer watched, and its page is {how}"));
}

/// All of our handles in this thread's loop are closed.
pub(super) fn handles_closed() {
    napi::cleaned_up(HOOK.replace(std::ptr::null_mut()));
}

/// Ends this thread's watcher, before its environment does. Node is told when libuv has let go of our handles.
pub(super) unsafe extern "C" fn on_environment_end(hook: *mut c_void, _data: *mut c_void) {
    HOOK.set(hook);
    end();
    match LEFT.take() {
        Some(let_go) => let_go(),
        None => handles_closed(),
    }
}

/// Ends this thread's watcher. Its handles stay in the loop, which may not turn any more, until [`let_go`] or the end of the
/// environment.
pub(super) fn end() {
    // SAFETY: gettid only returns the calling thread's id.
    js_callback::unlisten(unsafe { libc::gettid() } as u32);
    let ended = catch_unwind(AssertUnwindSafe(|| take().and_then(Watcher::end)));
    if let Some(let_go) = ended.ok().flatten() {
        LEFT.set(Some(let_go));
    }
}

/// Has libuv let go of the handles that [`end`] left.
pub(super) fn let_go() {
    if let Some(let_go) = LEFT.take() {
        let_go();
    }
}
