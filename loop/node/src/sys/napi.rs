//! The part of Node's C interface for addons that is used here: strings, functions, the loop, and the end.

use super::symbols::{self, Missing, functions};
use libc::{c_char, c_int, c_void};
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::OnceLock;

/// A JavaScript value, as Node hands it around.
pub(super) type Value = *mut c_void;
/// What a function was called with, as Node hands it around.
pub(super) type Info = *mut c_void;
/// A function that JavaScript calls.
pub(super) type Callback = unsafe extern "C" fn(*mut c_void, Info) -> Value;
/// What Node calls when it lets go of something: the environment, what we gave with it, and nothing.
pub(super) type Finalize = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void);
/// What Node calls when an environment ends: its hook, and what we gave with it.
pub(super) type Cleanup = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// How many arguments a function of ours may get.
pub(super) const ARGUMENTS: usize = 8;
/// Longest text that is taken from JavaScript, in bytes; what is longer is cut off.
const TEXT_BYTES: usize = 4096;
/// `napi_ok`.
const OK: c_int = 0;
/// `napi_function` of `napi_valuetype`.
const FUNCTION: c_int = 7;

/// `napi_uint32_array` of `napi_typedarray_type`.
const UINT32_ARRAY: c_int = 6;

/// What a function of ours was called with.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) texts: [String; ARGUMENTS],
    pub(super) values: [Value; ARGUMENTS],
    /// What the function was made with.
    pub(super) data: usize,
}

functions! {
    /// Functions of Node's interface, all of its version 8 or earlier.
    Napi {
        uv_loop = c"napi_get_uv_event_loop": fn(*mut c_void, *mut *mut c_void) -> c_int;
        create_function = c"napi_create_function":
            fn(*mut c_void, *const c_char, usize, Callback, *mut c_void, *mut Value) -> c_int;
        set_property = c"napi_set_named_property": fn(*mut c_void, Value, *const c_char, Value) -> c_int;
        create_text = c"napi_create_string_utf8": fn(*mut c_void, *const c_char, usize, *mut Value) -> c_int;
        text_of = c"napi_get_value_string_utf8":
            fn(*mut c_void, Value, *mut c_char, usize, *mut usize) -> c_int;
        call = c"napi_get_cb_info":
            fn(*mut c_void, Info, *mut usize, *mut Value, *mut Value, *mut *mut c_void) -> c_int;
        create_threadsafe = c"napi_create_threadsafe_function":
            fn(*mut c_void, Value, Value, Value, usize, usize, *mut c_void, Option<Finalize>, *mut c_void, *mut c_void,
                *mut *mut c_void) -> c_int;
        call_threadsafe = c"napi_call_threadsafe_function": fn(*mut c_void, *mut c_void, c_int) -> c_int;
        release_threadsafe = c"napi_release_threadsafe_function": fn(*mut c_void, c_int) -> c_int;
        unref_threadsafe = c"napi_unref_threadsafe_function": fn(*mut c_void, *mut c_void) -> c_int;
        open_scope = c"napi_open_handle_scope": fn(*mut c_void, *mut *mut c_void) -> c_int;
        close_scope = c"napi_close_handle_scope": fn(*mut c_void, *mut c_void) -> c_int;
        add_cleanup = c"napi_add_async_cleanup_hook":
            fn(*mut c_void, Cleanup, *mut c_void, *mut *mut c_void) -> c_int;
        remove_cleanup = c"napi_remove_async_cleanup_hook": fn(*mut c_void) -> c_int;
        kind_of = c"napi_typeof": fn(*mut c_void, Value, *mut c_int) -> c_int;
        refer = c"napi_create_reference": fn(*mut c_void, Value, u32, *mut *mut c_void) -> c_int;
        referred = c"napi_get_reference_value": fn(*mut c_void, *mut c_void, *mut Value) -> c_int;
        typed_array = c"napi_get_typedarray_info":
            fn(*mut c_void, Value, *mut c_int, *mut usize, *mut *mut c_void, *mut Value, *mut usize) -> c_int;
        undefined = c"napi_get_undefined": fn(*mut c_void, *mut Value) -> c_int;
        call_function =
            c"napi_call_function": fn(*mut c_void, Value, Value, usize, *const Value, *mut Value) -> c_int;
        clear_exception = c"napi_get_and_clear_last_exception": fn(*mut c_void, *mut Value) -> c_int;
    }
}

/// Returns Node's functions.
///
/// # Errors
/// This program is no Node, or a very old one.
pub(super) fn napi() -> Result<&'static Napi, Missing> {
    static NAPI: OnceLock<Result<Napi, Missing>> = OnceLock::new();
    NAPI.get_or_init(Napi::find).as_ref().map_err(Clone::clone)
}

/// One environment of Node: the main thread's, or a worker's. On its own thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Environment {
    pub(super) raw: *mut c_void,
    pub(super) napi: &'static Napi,
}

impl Environment {
    /// # Errors
    /// This program is no Node.
    pub(super) fn new(raw: *mut c_void) -> Result<Environment, Missing> {
        Ok(Environment { raw, napi: napi()? })
    }

    /// Returns the libuv loop of the environment.
    pub(super) fn uv_loop(&self) -> Result<*mut c_void, Missing> {
        let mut found = null_mut();
        // SAFETY: Node gave the environment for the time of this call, and writes one pointer.
        let code = unsafe { (self.napi.uv_loop)(self.raw, &raw mut found) };
        match code == OK && !found.is_null() {
            true => Ok(found),
            false => Err(Missing("Node has no loop for this thread".to_owned())),
        }
    }

    /// Makes a JavaScript string; null where Node cannot.
    pub(super) fn new_text(&self, text: &str) -> Value {
        let mut value = null_mut();
        // SAFETY: Node reads so many bytes of the text, and writes one value.
        unsafe { (self.napi.create_text)(self.raw, text.as_ptr().cast(), text.len(), &raw mut value) };
        value
    }

    /// Returns the text of a JavaScript string; empty for anything else.
    pub(super) fn text(&self, value: Value) -> String {
        let (mut bytes, mut length) = ([0u8; TEXT_BYTES], 0usize);
        if value.is_null() {
            return String::new();
        }
        // SAFETY: Node writes at most `TEXT_BYTES` bytes, with a zero at their end, and their number.
        let code = unsafe {
            (self.napi.text_of)(self.raw, value, bytes.as_mut_ptr().cast(), TEXT_BYTES, &raw mut length)
        };
        let known = if code == OK { length.min(TEXT_BYTES) } else { 0 };
        String::from_utf8_lossy(&bytes[..known]).into_owned()
    }

    /// [`Environment::text`] of a text that may be longer, of up to `limit` bytes; empty for one that is not.
    pub(super) fn long_text(&self, value: Value, limit: usize) -> String {
        let mut length = 0usize;
        if value.is_null() {
            return String::new();
        }
        // SAFETY: without room Node writes the length only.
        let code = unsafe { (self.napi.text_of)(self.raw, value, null_mut(), 0, &raw mut length) };
        if code != OK || length > limit {
            return String::new();
        }
        let mut bytes = vec![0u8; length + 1];
        let room = bytes.as_mut_ptr().cast();
        // SAFETY: Node writes at most so many bytes, with a zero at their end.
        unsafe { (self.napi.text_of)(self.raw, value, room, bytes.len(), &raw mut length) };
        bytes.truncate(length);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Gives `object` a function of this name, which is called with `data`.
    pub(super) fn add_function(&self, object: Value, name: &CStr, callback: Callback, data: usize) {
        let mut function = null_mut();
        let (text, data) = (name.as_ptr(), data as *mut c_void);
        // SAFETY: the name lives as long as the call; the callback lives as long as the process, which never unloads us.
        let code = unsafe {
            (self.napi.create_function)(self.raw, text, name.count_bytes(), callback, data, &raw mut function)
        };
        if code == OK {
            // SAFETY: the object and the function are values of this environment, in the scope of this call.
            unsafe { (self.napi.set_property)(self.raw, object, text, function) };
        }
    }

    /// Returns what a function of ours was called with.
    pub(super) fn call(&self, info: Info) -> Option<Arguments> {
        let (mut number, mut values, mut data) = (ARGUMENTS, [null_mut(); ARGUMENTS], null_mut());
        // SAFETY: Node writes at most `ARGUMENTS` values, those that are not there as `undefined`, and the data.
        let code = unsafe {
            (self.napi.call)(self.raw, info, &raw mut number, values.as_mut_ptr(), null_mut(), &raw mut data)
        };
        let texts = values.map(|value| self.text(value));
        (code == OK).then_some(Arguments { texts, values, data: data as usize })
    }

    /// Keeps a function for later calls; `None` for anything else.
    pub(super) fn keep_function(&self, value: Value) -> Option<Reference> {
        if self.is_function(value) { self.keep_object(value) } else { None }
    }

    /// Keeps an object for as long as the environment lives.
    pub(super) fn keep_object(&self, value: Value) -> Option<Reference> {
        let mut reference = null_mut();
        // SAFETY: the value is of this environment, in the scope of this call; Node writes one pointer.
        let code = unsafe { (self.napi.refer)(self.raw, value, 1, &raw mut reference) };
        (code == OK).then_some(Reference(reference as usize))
    }

    /// Returns where an array has its counters, of which there are as many as that at least: unsigned numbers of four bytes.
    pub(super) fn counters(&self, value: Value, least: usize) -> Option<*const u32> {
        let (mut kind, mut length, mut data) = (0, 0usize, null_mut());
        let (mut buffer, mut offset) = (null_mut(), 0usize);
        let (kind_at, length_at, data_at) = (&raw mut kind, &raw mut length, &raw mut data);
        let (buffer_at, offset_at) = (&raw mut buffer, &raw mut offset);
        let read = self.napi.typed_array;
        // SAFETY: the value is of this environment, in the scope of this call; Node refuses what is no such array,
        // and writes one value into each place.
        let code = unsafe { read(self.raw, value, kind_at, length_at, data_at, buffer_at, offset_at) };
        let is_counters = code == OK && kind == UINT32_ARRAY && length >= least && !data.is_null();
        is_counters.then_some(data.cast::<u32>().cast_const())
    }

    /// Tells whether a value is a function.
    pub(super) fn is_function(&self, value: Value) -> bool {
        let mut kind = 0;
        // SAFETY: the value is of this environment and in scope, or null, which Node refuses; Node writes one number.
        let code = unsafe { (self.napi.kind_of)(self.raw, value, &raw mut kind) };
        code == OK && kind == FUNCTION
    }

    /// Calls a kept function with one text. Within a scope for values. Null where it threw, or may not run.
    pub(super) fn call_kept(&self, Reference(reference): Reference, text: &str) -> Value {
        let (mut function, mut this, mut result) = (null_mut(), null_mut(), null_mut());
        let argument = self.new_text(text);
        // SAFETY: the reference was made in this environment, and is not deleted while its loop is asked.
        unsafe { (self.napi.referred)(self.raw, reference as *mut c_void, &raw mut function) };
        // SAFETY: Node writes one value.
        unsafe { (self.napi.undefined)(self.raw, &raw mut this) };
        if function.is_null() || argument.is_null() || this.is_null() {
            return null_mut();
        }
        // SAFETY: all are values of this environment, in a scope of the caller's; there is one argument.
        let code = unsafe {
            (self.napi.call_function)(self.raw, this, function, 1, &raw const argument, &raw mut result)
        };
        if code == OK {
            return result;
        }
        let mut thrown = null_mut();
        // SAFETY: Node writes one value. What was thrown in our call is not for whoever runs here.
        unsafe { (self.napi.clear_exception)(self.raw, &raw mut thrown) };
        null_mut()
    }

    /// Has Node call `cleanup` when this environment ends, and wait until the hook is removed.
    pub(super) fn at_end(&self, cleanup: Cleanup) -> *mut c_void {
        let mut hook = null_mut();
        // SAFETY: the function lives as long as the process; it gets no data.
        unsafe { (self.napi.add_cleanup)(self.raw, cleanup, null_mut(), &raw mut hook) };
        hook
    }

    /// Calls `f` within a scope for the values that it makes.
    pub(super) fn with_scope<R>(&self, f: impl FnOnce() -> R) -> R {
        let mut scope = null_mut();
        // SAFETY: Node writes one pointer.
        unsafe { (self.napi.open_scope)(self.raw, &raw mut scope) };
        let result = f();
        if !scope.is_null() {
            // SAFETY: it is the scope that was opened last on this thread.
            unsafe { (self.napi.close_scope)(self.raw, scope) };
        }
        result
    }
}

/// A function of JavaScript's that is kept for later calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference(usize);

/// Tells Node that what was to be done at the end of an environment is done.
pub(super) fn cleaned_up(hook: *mut c_void) {
    if let Some(napi) = napi().ok().filter(|_| !hook.is_null()) {
        // SAFETY: Node gave this hook, and it is removed once.
        unsafe { (napi.remove_cleanup)(hook) };
    }
}
