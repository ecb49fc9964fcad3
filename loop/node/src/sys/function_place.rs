//! Where a function of JavaScript is, as V8 says itself: on the thread of its isolate, within a scope for handles.

use super::heap_layout;
use super::napi::{Environment, Value};
use super::symbols::{self, Missing, functions};
use crate::code_map::JsFrame;
use libc::{c_int, c_void};

functions! {
    /// Where a function is. The origin is a structure that is returned in room of the caller's.
    FunctionCalls {
        name = c"_ZNK2v88Function7GetNameEv": fn(*mut c_void) -> Value;
        line = c"_ZNK2v88Function19GetScriptLineNumberEv": fn(*mut c_void) -> c_int;
        column = c"_ZNK2v88Function21GetScriptColumnNumberEv": fn(*mut c_void) -> c_int;
        origin = c"_ZNK2v88Function15GetScriptOriginEv": fn(*mut Origin, *mut c_void) -> *mut Origin;
    }
}

/// `v8::ScriptOrigin`, with room to grow: the isolate in V8 10 and 11, and then the name of the script.
type Origin = [usize; 32];

/// Checks, once in a process, where V8 has what in its heap, by a function of this thread's isolate.
pub(super) fn check_heap(isolate: *mut c_void, environment: &Environment, function: Value) {
    let told = || of(isolate as usize, environment, function);
    heap_layout::check(function, told);
}

/// Returns what V8 says of a function; `None` where that is nothing.
pub(super) fn of(isolate: usize, environment: &Environment, function: Value) -> Option<JsFrame> {
    let calls = FunctionCalls::find().ok()?;
    // SAFETY: a handle of a function, in a scope that is open.
    let name = environment.text(unsafe { (calls.name)(function) });
    // SAFETY: as above.
    let line = unsafe { (calls.line)(function) };
    // SAFETY: as above.
    let column = unsafe { (calls.column)(function) };
    let mut origin: Origin = [0; 32];
    // SAFETY: as above; V8 writes a structure that is smaller than this room in every version.
    unsafe { (calls.origin)(&raw mut origin, function) };
    let at = usize::from(origin[0] == isolate);
    let script = environment.text(origin[at] as Value);
    let is_known = !script.is_empty() && line >= 0 && column >= 0;
    let (line, column) = (line as u32 + 1, column as u32 + 1);
    is_known.then_some(JsFrame { function: name, script, line, column, is_start: true })
}
