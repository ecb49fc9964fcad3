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
/// What Node calls when an environment ends: its hook, and what we gave with it.
pub(super) type Cleanup = unsafe extern "C" fn(*mut c_void, *mut c_void);

/// How many arguments a function of ours may get.
pub(super) const ARGUMENTS: usize = 6;
/// Longest text that is taken from JavaScript, in bytes; what is longer is cut off.
const TEXT_BYTES: usize = 4096;
/// `napi_ok`.
const OK: c_int = 0;

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
            fn(*mut c_void, Value, Value, Value, usize, usize, *mut c_void, *mut c_void, *mut c_void, *mut c_void,
                *mut *mut c_void) -> c_int;
        call_threadsafe = c"napi_call_threadsafe_function": fn(*mut c_void, *mut c_void, c_int) -> c_int;
        release_threadsafe = c"napi_release_threadsafe_function": fn(*mut c_void, c_int) -> c_int;
        unref_threadsafe = c"napi_unref_threadsafe_function": fn(*mut c_void, *mut c_void) -> c_int;
        open_scope = c"napi_open_handle_scope": fn(*mut c_void, *mut *mut c_void) -> c_int;
        close_scope = c"napi_close_handle_scope": fn(*mut c_void, *mut c_void) -> c_int;
        add_cleanup = c"napi_add_async_cleanup_hook":
            fn(*mut c_void, Cleanup, *mut c_void, *mut *mut c_void) -> c_int;
        remove_cleanup = c"napi_remove_async_cleanup_hook": fn(*mut c_void) -> c_int;
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
            false => Err(Missing("Node tells no loop for this thread".to_owned())),
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

    /// Returns the texts that a function of ours was called with, and its `data`.
    pub(super) fn call(&self, info: Info) -> ([String; ARGUMENTS], usize) {
        let (mut number, mut values, mut data) = (ARGUMENTS, [null_mut(); ARGUMENTS], null_mut());
        // SAFETY: Node writes at most `ARGUMENTS` values, those that are not there as `undefined`, and the data.
        let code = unsafe {
            (self.napi.call)(self.raw, info, &raw mut number, values.as_mut_ptr(), null_mut(), &raw mut data)
        };
        match code {
            OK => (values.map(|value| self.text(value)), data as usize),
            _ => (Default::default(), usize::MAX),
        }
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

/// Tells Node that what was to be done at the end of an environment is done.
pub(super) fn cleaned_up(hook: *mut c_void) {
    if let Some(napi) = napi().ok().filter(|_| !hook.is_null()) {
        // SAFETY: Node gave this hook, and it is removed once.
        unsafe { (napi.remove_cleanup)(hook) };
    }
}
