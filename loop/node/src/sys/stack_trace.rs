//! JavaScript's own stack, line by line: asked of V8 by an interrupt, which its code looks for in loops and calls.
//!
//! While native code runs, the interrupt waits: the answer says in which busy period it was given, and who asked decides.

use super::code_events;
use super::current;
use super::napi::Environment;
use super::symbols::{self, Missing, functions};
use crate::code_map::{CodeMap, JsFrame};
use libc::{c_int, c_void};
use loopscope_probe::Ticks;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

type Interrupt = unsafe extern "C" fn(*mut c_void, *mut c_void);

functions! {
    /// Asking V8 for the stack.
    StackCalls {
        interrupt = c"_ZN2v87Isolate16RequestInterruptEPFvPS0_PvES2_": fn(*mut c_void, Interrupt, *mut c_void);
        trace = c"_ZN2v810StackTrace17CurrentStackTraceEPNS_7IsolateEiNS0_17StackTraceOptionsE":
            fn(*mut c_void, c_int, c_int) -> *mut c_void;
        count = c"_ZNK2v810StackTrace13GetFrameCountEv": fn(*mut c_void) -> c_int;
        frame = c"_ZNK2v810StackTrace8GetFrameEPNS_7IsolateEj":
            fn(*mut c_void, *mut c_void, u32) -> *mut c_void;
        location = c"_ZNK2v810StackFrame11GetLocationEv": fn(*mut c_void) -> u64;
        script = c"_ZNK2v810StackFrame13GetScriptNameEv": fn(*mut c_void) -> *mut c_void;
        function = c"_ZNK2v810StackFrame15GetFunctionNameEv": fn(*mut c_void) -> *mut c_void;
    }
}

/// Frames that are asked for.
const FRAMES: c_int = 64;
/// `kDetailed` of V8's options.
const DETAILED: c_int = 0x7f;

fn calls() -> Result<&'static StackCalls, Missing> {
    static CALLS: OnceLock<Result<StackCalls, Missing>> = OnceLock::new();
    CALLS.get_or_init(StackCalls::find).as_ref().map_err(Clone::clone)
}

/// What V8 answered, and in which busy period.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) frames: Vec<JsFrame>,
    pub(crate) busy_since: Ticks,
    /// When: `CLOCK_MONOTONIC`, nanoseconds.
    pub(crate) at_ns: u64,
}

/// One loop, for threads that ask about it.
#[derive(Debug)]
pub(crate) struct AskedLoop {
    tid: u32,
    isolate: usize,
    environment: usize,
    /// The code of the isolate.
    pub(crate) code: Arc<Mutex<CodeMap>>,
    answer: Mutex<Pending>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    is_asked: bool,
    answer: Option<Answer>,
}

/// The loops whose isolates are alive: one is taken out before its isolate goes, and nobody asks an isolate of a loop that is
/// not here. Locked while an isolate is asked.
static LOOPS: Mutex<Vec<Arc<AskedLoop>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the loop of this thread be asked.
///
/// # Errors
/// V8 has another interface.
pub(super) fn add(tid: u32, isolate: *mut c_void, environment: Environment) -> Result<(), Missing> {
    calls()?;
    let code = Arc::new(Mutex::new(CodeMap::default()));
    code_events::set_code(code.clone());
    lock(&LOOPS).push(Arc::new(AskedLoop {
        tid,
        isolate: isolate as usize,
        environment: environment.raw as usize,
        code,
        answer: Mutex::default(),
        came: Condvar::new(),
    }));
    Ok(())
}

/// The loop of this thread ends.
pub(super) fn remove(tid: u32, isolate: *mut c_void) {
    lock(&LOOPS).retain(|known| known.tid != tid);
    code_events::unfollow(isolate);
}

/// Returns the loop of a thread.
pub(crate) fn loop_of(tid: u32) -> Option<Arc<AskedLoop>> {
    lock(&LOOPS).iter().find(|known| known.tid == tid).cloned()
}

/// Returns all loops.
pub(crate) fn all_loops() -> Vec<Arc<AskedLoop>> {
    lock(&LOOPS).clone()
}

impl AskedLoop {
    /// Asks for the stack, and waits for so long at most.
    pub(crate) fn ask(self: &Arc<Self>, within: Duration) -> Option<Answer> {
        let calls = calls().ok()?;
        let mut pending = lock(&self.answer);
        pending.answer = None;
        if !pending.is_asked {
            let loops = lock(&LOOPS);
            if !loops.iter().any(|known| Arc::ptr_eq(known, self)) {
                return None;
            }
            pending.is_asked = true;
            let data = Arc::into_raw(self.clone()) as *mut c_void;
            // SAFETY: the isolate is alive while its loop is in the list, which is locked; V8 takes such requests on any thread.
            unsafe { (calls.interrupt)(self.isolate as *mut c_void, on_interrupt, data) };
        }
        let waited = self.came.wait_timeout_while(pending, within, |pending| pending.answer.is_none());
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        pending.answer.take()
    }

    /// On the loop's thread, in an interrupt.
    fn look(&self) -> Answer {
        let busy_since = current::with(|watcher| watcher.busy_since()).unwrap_or(Ticks::NONE);
        let at_ns = monotonic_ns();
        let environment = Environment::new(self.environment as *mut c_void);
        let frames = match (environment, calls()) {
            (Ok(environment), Ok(calls)) => {
                environment.with_scope(|| stack(&environment, calls, self.isolate as *mut c_void))
            }
            _ => Vec::new(),
        };
        Answer { frames, busy_since, at_ns }
    }
}

fn stack(environment: &Environment, calls: &StackCalls, isolate: *mut c_void) -> Vec<JsFrame> {
    // SAFETY: on the isolate's thread, within a scope for handles.
    let trace = unsafe { (calls.trace)(isolate, FRAMES, DETAILED) };
    if trace.is_null() {
        return Vec::new();
    }
    // SAFETY: the trace is a handle of this scope.
    let count = unsafe { (calls.count)(trace) };
    let one = |number: u32| {
        // SAFETY: there are so many frames in the trace.
        let frame = unsafe { (calls.frame)(trace, isolate, number) };
        // SAFETY: the frame is a handle of this scope.
        let location = unsafe { (calls.location)(frame) };
        // SAFETY: as above; a handle of V8 is what Node's interface calls a value.
        let script = environment.text(unsafe { (calls.script)(frame) });
        // SAFETY: as above.
        let function = environment.text(unsafe { (calls.function)(frame) });
        // Both count from 0; the line is the lower half.
        JsFrame { function, script, line: location as u32 + 1, column: (location >> 32) as u32 + 1 }
    };
    (0..count.max(0) as u32).map(one).collect()
}

fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it only writes the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

unsafe extern "C" fn on_interrupt(isolate: *mut c_void, data: *mut c_void) {
    // SAFETY: `ask` made it of an `Arc`, for one call of this function.
    let asked = unsafe { Arc::from_raw(data.cast::<AskedLoop>()) };
    let answer = catch_unwind(AssertUnwindSafe(|| {
        code_events::follow(isolate);
        asked.look()
    }));
    let mut pending = lock(&asked.answer);
    *pending = Pending { is_asked: false, answer: Some(answer.unwrap_or_default()) };
    drop(pending);
    asked.came.notify_all();
}
