//! V8's events of new and moved code, into the map of this thread's isolate. Asked for at the first stall: telling of all the
//! code that there is takes V8 some ms.

use super::symbols::{self, Missing, functions};
use crate::code_map::CodeMap;
use libc::{c_char, c_int, c_void};
use std::borrow::Cow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

type OnEvent = Option<unsafe extern "C" fn(*const CodeEvent)>;

functions! {
    /// Who is told of code.
    CodeCalls {
        set_handler = c"_ZN2v87Isolate22SetJitCodeEventHandlerENS_19JitCodeEventOptionsEPFvPKNS_12JitCodeEventEE":
            fn(*mut c_void, c_int, OnEvent);
    }
}

/// `kJitCodeEventEnumExisting`: what is there is told, too.
const EXISTING_TOO: c_int = 1;
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
}

thread_local! {
    static CODE: RefCell<Option<Arc<Mutex<CodeMap>>>> = const { RefCell::new(None) };
}

/// Sets the map of this thread's isolate.
pub(super) fn set_code(code: Arc<Mutex<CodeMap>>) {
    CODE.set(Some(code));
}

fn with_code(f: impl FnOnce(&mut CodeMap)) {
    let _ = CODE.try_with(|code| {
        if let Ok(code) = code.try_borrow()
            && let Some(code) = code.as_ref()
        {
            f(&mut code.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}

/// Has V8 tell of this thread's code, unless it does.
pub(super) fn follow(isolate: *mut c_void) {
    let mut was_followed = true;
    with_code(|code| was_followed = std::mem::replace(&mut code.is_followed, true));
    let Ok(calls) = CodeCalls::find() else { return };
    if !was_followed {
        // SAFETY: the isolate is this thread's; the function lives as long as the process.
        unsafe { (calls.set_handler)(isolate, EXISTING_TOO, Some(on_event)) };
    }
}

/// Has V8 tell no more.
pub(super) fn unfollow(isolate: *mut c_void) {
    let mut was_followed = false;
    with_code(|code| was_followed = std::mem::replace(&mut code.is_followed, false));
    if let (true, Ok(calls)) = (was_followed, CodeCalls::find()) {
        // SAFETY: the isolate is this thread's, and alive until its environment's end is over.
        unsafe { (calls.set_handler)(isolate, 0, None) };
    }
    let _ = CODE.try_with(|code| code.take());
}

unsafe extern "C" fn on_event(event: *const CodeEvent) {
    let told = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: V8 gives an event for the time of this call.
        let event = unsafe { &*event };
        let start = event.start as usize;
        match event.what {
            ADDED => {
                let name = name_of(event);
                with_code(|code| code.add(start, event.bytes, &name));
            }
            MOVED => with_code(|code| code.moved(start, event.name as usize)),
            REMOVED => with_code(|code| code.removed(start)),
            _ => {}
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
