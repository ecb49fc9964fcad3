//! Where a function of JavaScript is, as V8 says itself: on the thread of its isolate, within a scope for handles.

use super::heap_layout;
use super::napi::{Environment, Value};
use super::symbols::{self, Missing, functions};
use crate::code_map::{ANONYMOUS, JsFrame};
use libc::{c_int, c_void};
use std::mem::MaybeUninit;

functions! {
    /// Where a function is.
    FunctionCalls {
        name = c"_ZNK2v88Function7GetNameEv": fn(*mut c_void) -> Value;
        line = c"_ZNK2v88Function19GetScriptLineNumberEv": fn(*mut c_void) -> c_int;
        column = c"_ZNK2v88Function21GetScriptColumnNumberEv": fn(*mut c_void) -> c_int;
        origin = c"_ZNK2v88Function15GetScriptOriginEv": fn(*mut c_void) -> Origin;
    }
}

/// `v8::ScriptOrigin`, with room to grow: the isolate in V8 10 and 11, and then the name of the script. It is larger than what fits into
/// registers, so every processor's C interface has it returned in memory of the caller's; where the caller says that memory is
/// differs, so it must be declared as what is returned.
#[repr(C)]
pub(super) struct Origin([MaybeUninit<usize>; 32]);

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
    // SAFETY: as above; V8 writes a structure that is smaller than this one in every version.
    let Origin([first, second, ..]) = unsafe { (calls.origin)(function) };
    // SAFETY: both are within what V8 writes: an isolate and a name, or a name and the line and column of the script.
    let [first, second] = [first, second].map(|word| unsafe { word.assume_init() });
    let script = environment.text(if first == isolate { second } else { first } as Value);
    let script = if script.is_empty() { ANONYMOUS.to_owned() } else { script };
    // V8's own, and one that was bound, are on no line.
    let is_known = line >= 0 && column >= 0;
    let (line, column) = (line as u32 + 1, column as u32 + 1);
    is_known.then_some(JsFrame { function: name, script, line, column, is_start: true })
}
