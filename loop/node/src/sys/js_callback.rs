//! Functions of JavaScript's that are called when a thread of ours has something to tell: each on its own thread, in a turn of
//! its loop.
//!
//! A thread of Node's that listens has one function and a queue of texts. The function is called without arguments, fetches
//! what is in the queue, and keeps no loop alive.

use super::napi::{ARGUMENTS, Environment, Info, Napi, Value};
use libc::{c_int, c_void};
use loopscope_probe::raw::thread::current_tid;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `napi_ok`, and `napi_closing`: the environment of the function ends.
const OK: c_int = 0;
const CLOSING: c_int = 16;
/// `napi_tsfn_nonblocking`: who calls does not wait.
const NONBLOCKING: c_int = 0;
/// `napi_tsfn_release`: what is queued is called still.
const RELEASE: c_int = 0;
/// Calls that may be queued. One call fetches all texts; a second one may be queued while the first fetches.
const CALLS_MAX: usize = 4;
/// Texts that are kept for a thread that does not fetch them; the newest stay.
const TEXTS_MAX: usize = 64;

/// A function that any thread can have called; released when dropped.
#[derive(Debug)]
struct JsCallback {
    raw: *mut c_void,
    napi: &'static Napi,
}

// SAFETY: Node's functions for it, of which only these are called, are for any thread.
unsafe impl Send for JsCallback {}

impl JsCallback {
    /// Takes a function of this environment, with the number of its listener; `None` where Node refuses.
    fn new(environment: &Environment, function: Value, number: usize) -> Option<JsCallback> {
        let name = environment.new_text("loopscope");
        let (mut raw, none, napi) = (null_mut(), null_mut(), environment.napi);
        let create = napi.create_threadsafe;
        let (env, out, data) = (environment.raw, &raw mut raw, number as *mut c_void);
        // SAFETY: the values are of this environment, in the scope of this call; Node writes one pointer. It calls `on_gone`, which
        // lives as long as the process, with the number.
        let code =
            unsafe { create(env, function, none, name, CALLS_MAX, 1, data, Some(on_gone), none, none, out) };
        if code != OK || raw.is_null() {
            return None;
        }
        // SAFETY: it was made just now, in this environment and on its thread.
        unsafe { (napi.unref_threadsafe)(environment.raw, raw) };
        Some(JsCallback { raw, napi })
    }

    /// Has the function called soon, and waits for nothing. False where its environment ends: it must be forgotten then.
    fn call(&self) -> bool {
        // SAFETY: Node keeps it until the one thread that it counts lets go of it: by the destructor, or by this answer.
        let code = unsafe { (self.napi.call_threadsafe)(self.raw, null_mut(), NONBLOCKING) };
        code != CLOSING
    }
}

impl Drop for JsCallback {
    fn drop(&mut self) {
        // SAFETY: as in `call`; nobody uses it after this.
        unsafe { (self.napi.release_threadsafe)(self.raw, RELEASE) };
    }
}

/// One thread that listens.
#[derive(Debug)]
struct Listener {
    tid: u32,
    /// They are counted as they come.
    number: usize,
    callback: JsCallback,
    texts: VecDeque<String>,
}

static LISTENERS: Mutex<Vec<Listener>> = Mutex::new(Vec::new());

fn listeners() -> MutexGuard<'static, Vec<Listener>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a text, made only where a thread listens, into the queue of each, and has their functions called. On any thread.
pub(crate) fn tell_all(text: impl FnOnce() -> String) {
    let mut listeners = listeners();
    if listeners.is_empty() {
        return;
    }
    let text = text();
    for mut listener in std::mem::take(&mut *listeners) {
        listener.texts.push_back(text.clone());
        if listener.texts.len() > TEXTS_MAX {
            listener.texts.pop_front();
        }
        match listener.callback.call() {
            true => listeners.push(listener),
            // Node has let go of it by itself.
            false => std::mem::forget(listener.callback),
        }
    }
}

/// Returns the oldest text that the thread has not fetched.
pub(crate) fn next_text(tid: u32) -> Option<String> {
    listeners().iter_mut().find(|listener| listener.tid == tid)?.texts.pop_front()
}

/// Lets the thread listen no more. On that thread, before its environment ends.
pub(crate) fn unlisten(tid: u32) {
    listeners().retain(|listener| listener.tid != tid);
}

/// Node lets go of the function of the listener with this number, because its environment ends, or it was released: nobody may call
/// it after this. Where it has a listener still, that is forgotten with it.
unsafe extern "C" fn on_gone(_environment: *mut c_void, number: *mut c_void, _hint: *mut c_void) {
    let _ = catch_unwind(|| forget(number as usize));
}

fn forget(number: usize) {
    let mut listeners = listeners();
    while let Some(at) = listeners.iter().position(|listener| listener.number == number) {
        // It is not released: Node counts nobody any more.
        std::mem::forget(listeners.swap_remove(at).callback);
    }
}

/// Gives `exports` the function `listen(callback)`. It returns whether `callback` will be called.
pub(super) fn add(environment: &Environment, exports: Value) {
    environment.add_function(exports, c"listen", on_listen, 0);
}

unsafe extern "C" fn on_listen(environment: *mut c_void, info: Info) -> Value {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let environment = Environment::new(environment).ok()?;
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let function = first_argument(&environment, info);
        let callback = function.and_then(|function| JsCallback::new(&environment, function, number));
        let is_listening = callback.is_some();
        if let Some(callback) = callback {
            let tid = current_tid();
            unlisten(tid);
            listeners().push(Listener { tid, number, callback, texts: VecDeque::new() });
        }
        Some(environment.new_text(&is_listening.to_string()))
    }));
    answer.ok().flatten().unwrap_or(null_mut())
}

fn first_argument(environment: &Environment, info: Info) -> Option<Value> {
    let (mut number, mut values) = (ARGUMENTS, [null_mut(); ARGUMENTS]);
    let (raw, count, none) = (environment.raw, &raw mut number, null_mut());
    // SAFETY: Node writes at most `ARGUMENTS` values, and their number; the rest is not wanted.
    let code = unsafe { (environment.napi.call)(raw, info, count, values.as_mut_ptr(), none, null_mut()) };
    (code == OK).then_some(values[0])
}
