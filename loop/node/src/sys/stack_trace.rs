//! JavaScript's own stack, line by line: asked of V8 by an interrupt, which its code looks for in loops and calls.
//!
//! While native code runs, the interrupt waits: the answer says in which busy period it was given, and who asked decides.
//!
//! What only JavaScript knows is asked of a function of our own, within the interrupt of a stall, as Node's own inspector does:
//! - `ticks`: which function waits in the queue of process.nextTick. V8 inlines a short one into Node's own, where no stack has it.
//! - `context`: the name that the program's `AsyncLocalStorage` has for what runs.

use super::code_events;
use super::collecting::{self, Collecting, monotonic_ns};
use super::current;
use super::event::Running;
use super::function_place;
use super::heap_layout;
use super::napi::{Environment, Reference, Value};
use super::sampler::{self, ThreadUse};
use super::symbols::{self, Missing, functions};
use crate::code_map::{ANONYMOUS, CodeMap, JsFrame};
use libc::{c_int, c_void};
use loopscope_probe::Ticks;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
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

functions! {
    /// Whether a script is a text that the program has compiled.
    EvalCalls {
        is_eval = c"_ZNK2v810StackFrame6IsEvalEv": fn(*mut c_void) -> bool;
    }
}

functions! {
    /// Where a script says that its source map is.
    MappingCalls {
        url = c"_ZNK2v810StackFrame25GetScriptSourceMappingURLEv": fn(*mut c_void) -> Value;
    }
}

/// Frames that are asked for.
const FRAMES: c_int = 64;
/// `kDetailed` of V8's options.
const DETAILED: c_int = 0x7f;
/// An interrupt that comes so soon after a capture, in nanoseconds of its thread's processor time, may be in the code that ran then.
/// 0.1 to 5.4 ms passed in 110 stalls at a load of 8, half of them below 0.7; by the clock up to 178 ms.
const AT_ONCE_NS: u64 = 10_000_000;
/// Where JavaScript runs when it is asked, it answers within this processor time of its thread, in nanoseconds: it looks for
/// interrupts in loops and calls. What takes longer comes after native code, and after what had called that.
const RUNS_ON_NS: u64 = 300_000;
/// How often it is looked whether what is asked for is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Scripts whose source maps are kept in mind, the longest address of one, and of all: many are in the address itself.
const MAPPINGS: usize = 4096;
const MAPPING_BYTES: usize = 8 << 20;
const MAPPINGS_BYTES: usize = 16 << 20;

fn calls() -> Result<&'static StackCalls, Missing> {
    static CALLS: OnceLock<Result<StackCalls, Missing>> = OnceLock::new();
    CALLS.get_or_init(StackCalls::find).as_ref().map_err(Clone::clone)
}

/// When a stack was captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub(crate) at_ns: u64,
    /// What the thread had used then; `None` where it slept.
    pub(crate) thread: Option<ThreadUse>,
}

/// What V8 answered, and in which busy period.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) frames: Vec<JsFrame>,
    /// The same stack as V8's walk has it, without inlined functions: an address of each, innermost first.
    pub(crate) addresses: Vec<u64>,
    pub(crate) busy_since: Ticks,
    /// When: `CLOCK_MONOTONIC`, nanoseconds.
    pub(crate) at_ns: u64,
    /// What the thread had used then.
    pub(crate) thread: ThreadUse,
    /// Processor time that the thread has used since it was asked, nanoseconds; the most there is where the kernel does not tell.
    pub(crate) used_ns: u64,
}

impl Answer {
    /// Tells whether JavaScript ran when it was asked.
    pub(crate) fn did_run(&self) -> bool {
        self.used_ns < RUNS_ON_NS
    }

    /// Tells whether it is of the code that ran when this was captured: its thread has run for so short a time since, and JavaScript
    /// ran when it was asked. Of one that slept then only the clock tells.
    pub(crate) fn is_at_once(&self, captured: &Captured) -> bool {
        let passed_ns = match captured.thread {
            Some(then) if self.thread.waits == then.waits => self.thread.cpu_ns.saturating_sub(then.cpu_ns),
            Some(_) => return false,
            None => self.at_ns.saturating_sub(captured.at_ns),
        };
        self.did_run() && passed_ns < AT_ONCE_NS
    }
}

/// One loop, for threads that ask about it.
#[derive(Debug)]
pub(crate) struct AskedLoop {
    tid: u32,
    isolate: usize,
    environment: usize,
    /// The code of the isolate.
    pub(crate) code: Arc<Mutex<CodeMap>>,
    /// Where scripts say that their source maps are, by script: of those that were on a stack.
    pub(crate) mappings: Mutex<HashMap<String, Arc<str>>>,
    helper: Option<Reference>,
    /// When objects of its heap were last moved.
    pub(crate) collecting: Arc<Collecting>,
    /// The busy period of which a stack was named without waiting for the loop.
    named: AtomicU64,
    /// When its thread last began and ended to answer: `CLOCK_MONOTONIC`, nanoseconds.
    answering: [AtomicU64; 2],
    answer: Mutex<Pending>,
    came: Condvar,
}

/// What a loop was asked: it answers after so many answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    answers_before: u64,
    /// Processor time of the loop's thread when it was asked, nanoseconds.
    cpu_ns: Option<u64>,
}

/// What one loop is asked, by whoever waits: one interrupt answers all of them.
#[derive(Debug, Default)]
struct Pending {
    is_asked: bool,
    /// When the stall was captured that is the reason: then more than the stack is asked for.
    stalled: Option<Captured>,
    /// The map of its code is wanted, too: what was sampled is to be named by it.
    is_map_wanted: bool,
    /// Processor time of the loop's thread when it was asked, nanoseconds.
    /// `None` where the kernel does not tell.
    asked_cpu_ns: Option<u64>,
    /// The last answer, and how many there were.
    answer: Answer,
    count: u64,
}

/// The loops whose isolates are alive: one is taken out before its isolate goes, and nobody asks an isolate of a loop that is
/// not here. Locked while an isolate is asked.
static LOOPS: Mutex<Vec<Arc<AskedLoop>>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the loop of this thread be asked. Where the program `is_to_come`, its code is followed from now on.
///
/// # Errors
/// V8 has another interface.
pub(super) fn add(
    tid: u32,
    isolate: *mut c_void,
    environment: Environment,
    helper: Option<Reference>,
    is_to_come: bool,
) -> Result<(), Missing> {
    calls()?;
    list(tid, isolate, environment.raw as usize, helper);
    if is_to_come {
        code_events::follow_new();
    }
    Ok(())
}

pub(super) fn list(tid: u32, isolate: *mut c_void, environment: usize, helper: Option<Reference>) {
    let code = Arc::new(Mutex::new(CodeMap::default()));
    code_events::set_code(isolate, code.clone());
    lock(&LOOPS).push(Arc::new(AskedLoop {
        tid,
        isolate: isolate as usize,
        environment,
        code,
        mappings: Mutex::default(),
        helper,
        collecting: collecting::own(),
        named: AtomicU64::new(0),
        answering: [const { AtomicU64::new(0) }; 2],
        answer: Mutex::default(),
        came: Condvar::new(),
    }));
}

/// The loop of this thread is asked no more.
pub(super) fn remove(tid: u32) {
    // The helper stays until the environment ends: an interrupt that was asked for may still come.
    lock(&LOOPS).retain(|known| known.tid != tid);
}

thread_local! {
    /// The program has told a context that names what runs.
    static IS_NAMED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the helper of this thread has a name for what runs.
pub(super) fn set_named_by_context(is_named: bool) {
    IS_NAMED.set(is_named);
}

/// Returns the loop of a thread.
pub(crate) fn loop_of(tid: u32) -> Option<Arc<AskedLoop>> {
    lock(&LOOPS).iter().find(|known| known.tid == tid).cloned()
}

/// Returns all loops.
pub(crate) fn all_loops() -> Vec<Arc<AskedLoop>> {
    lock(&LOOPS).clone()
}

/// Waits for the first answer after so many, for so long at most, and no longer than until what is asked for `is_over`.
fn wait_for_answer(
    mut pending: MutexGuard<'_, Pending>,
    before: u64,
    came: &Condvar,
    within: Duration,
    is_over: impl Fn() -> bool,
) -> Option<Answer> {
    let deadline_ns = monotonic_ns().saturating_add(within.as_nanos() as u64);
    while pending.count == before {
        // The lock is held: what is over now was answered before, or will not be.
        let left = Duration::from_nanos(deadline_ns.saturating_sub(monotonic_ns()));
        if is_over() || left.is_zero() {
            return None;
        }
        let waited = came.wait_timeout(pending, left.min(LOOK_EVERY));
        (pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
    }
    Some(pending.answer.clone())
}

impl AskedLoop {
    fn environment(&self) -> Result<Environment, Missing> {
        Environment::new(self.environment as *mut c_void)
    }

    /// Asks for the stack, because of a stall that was captured then or of none, and waits for so long at most, and
    /// no longer than until what is asked for `is_over`: a loop that waits for events answers when it runs again, if ever.
    pub(crate) fn ask(
        self: &Arc<Self>,
        within: Duration,
        stalled: Option<Captured>,
        is_over: impl Fn() -> bool,
    ) -> Option<Answer> {
        let question = self.request(stalled)?;
        self.wait(question, within, is_over)
    }

    /// Tells whether no stack of this busy period was named yet, and that one is now.
    pub(crate) fn begins_to_name(&self, busy_since: Ticks) -> bool {
        self.named.swap(busy_since.0, Ordering::Relaxed) != busy_since.0
    }

    /// Tells whether its thread ran code of JavaScript's when this was sampled, and nothing that it had called in C++ or the system.
    pub(crate) fn was_in_javascript(&self, words: Option<&[u64]>) -> bool {
        sampler::was_in_javascript(self.isolate, words)
    }

    /// Tells whether its thread was answering at this moment: what has called that is not what blocks.
    pub(crate) fn was_answering_at(&self, at_ns: u64) -> bool {
        let [began, ended] = [0, 1].map(|index: usize| self.answering[index].load(Ordering::Acquire));
        began > 0 && began <= at_ns && (ended < began || at_ns <= ended)
    }

    /// Asks as [`AskedLoop::ask`], and does not wait. `None` where the loop has ended.
    pub(crate) fn request(self: &Arc<Self>, stalled: Option<Captured>) -> Option<Question> {
        let calls = calls().ok()?;
        let mut pending = lock(&self.answer);
        pending.stalled = stalled.or(pending.stalled);
        if !pending.is_asked {
            let loops = lock(&LOOPS);
            if !loops.iter().any(|known| Arc::ptr_eq(known, self)) {
                return None;
            }
            (pending.is_asked, pending.stalled) = (true, stalled);
            pending.is_map_wanted = false;
            pending.asked_cpu_ns = cpu_ns(self.tid);
            let data = Arc::into_raw(self.clone()) as *mut c_void;
            // SAFETY: the isolate is alive while its loop is in the list, which is locked; V8 takes such requests on any thread.
            unsafe { (calls.interrupt)(self.isolate as *mut c_void, on_interrupt, data) };
        }
        pending.is_map_wanted |= stalled.is_none() || heap_layout::layout().is_none();
        Some(Question { answers_before: pending.count, cpu_ns: pending.asked_cpu_ns })
    }

    /// Names are missing: whoever answers next makes the map of the code, too.
    pub(crate) fn want_map(self: &Arc<Self>) {
        self.request(None);
    }

    /// Tells whether JavaScript that ran when this was asked would have answered by now: its thread has run for long enough. Where the
    /// kernel does not tell that, nobody knows, and it is taken for so.
    pub(crate) fn would_have_answered(&self, question: Question) -> bool {
        let used_ns = cpu_ns(self.tid).zip(question.cpu_ns).map(|(now, then)| now.saturating_sub(then));
        used_ns.is_none_or(|used_ns| used_ns > 3 * RUNS_ON_NS)
    }

    /// Waits for the answer to a question, as [`AskedLoop::ask`].
    pub(crate) fn wait(
        &self,
        Question { answers_before, .. }: Question,
        within: Duration,
        is_over: impl Fn() -> bool,
    ) -> Option<Answer> {
        let answer = wait_for_answer(lock(&self.answer), answers_before, &self.came, within, is_over);
        code_events::say_what_is_missing();
        answer
    }

    /// Gives the answer to all who wait.
    fn give(&self, answer: Answer) {
        let mut pending = lock(&self.answer);
        let count = pending.count + 1;
        *pending = Pending { answer, count, ..Pending::default() };
        drop(pending);
        self.came.notify_all();
    }

    /// On the loop's thread, in an interrupt. Tells also whether the answer says all that is wanted, because JavaScript ran when
    /// the stall was captured, or names are known otherwise: else what was sampled then is to be named, by a map that has to be made
    /// first.
    fn look(&self) -> (Answer, bool) {
        let (at_ns, now_cpu_ns) = (monotonic_ns(), cpu_ns(self.tid));
        let (stalled, asked_cpu_ns, is_map_wanted) = {
            let pending = lock(&self.answer);
            (pending.stalled, pending.asked_cpu_ns, pending.is_map_wanted)
        };
        let used_ns = now_cpu_ns.zip(asked_cpu_ns).map_or(u64::MAX, |(now, asked)| now.saturating_sub(asked));
        let answer = Answer { at_ns, used_ns, thread: ThreadUse::now(), ..Answer::default() };
        let is_stalled = stalled.is_some();
        let is_at_once = stalled.is_some_and(|captured| answer.is_at_once(&captured));
        let told = current::with(|watcher| {
            if is_stalled {
                watcher.part_what_blocks();
            }
            (watcher.busy_since(), watcher.running())
        });
        let (busy_since, running) = told.unwrap_or((Ticks::NONE, Running::Other));
        let addresses = sampler::addresses(self.isolate as *mut c_void);
        let frames = match (self.environment(), calls()) {
            (Ok(environment), Ok(calls)) => environment.with_scope(|| {
                let mut frames = self.stack(&environment, calls);
                if is_stalled && running == Running::Ticks {
                    frames.splice(0..0, self.next_tick(&environment, &frames));
                }
                if is_stalled && (running == Running::Callback || is_at_once) {
                    self.name_by_context(&environment);
                }
                frames
            }),
            _ => Vec::new(),
        };
        (Answer { frames, addresses, busy_since, ..answer }, is_at_once || !is_map_wanted)
    }

    fn stack(&self, environment: &Environment, calls: &StackCalls) -> Vec<JsFrame> {
        let isolate = self.isolate as *mut c_void;
        // SAFETY: on the isolate's thread, within a scope for handles.
        let trace = unsafe { (calls.trace)(isolate, FRAMES, DETAILED) };
        if trace.is_null() {
            return Vec::new();
        }
        // SAFETY: the trace is a handle of this scope.
        let count = unsafe { (calls.count)(trace) };
        let eval = EvalCalls::find().ok();
        let one = |number: u32| {
            // SAFETY: there are so many frames in the trace.
            let frame = unsafe { (calls.frame)(trace, isolate, number) };
            // SAFETY: the frame is a handle of this scope.
            let location = unsafe { (calls.location)(frame) };
            // SAFETY: as above; a handle of V8 is what Node's interface calls a value.
            let mut script = environment.text(unsafe { (calls.script)(frame) });
            // SAFETY: the frame is a handle of this scope.
            if script.is_empty() && eval.is_some_and(|calls| unsafe { (calls.is_eval)(frame) }) {
                script = ANONYMOUS.to_owned();
            }
            // SAFETY: as above.
            let function = environment.text(unsafe { (calls.function)(frame) });
            self.note_mapping(environment, &script, frame);
            // Both count from 0; the line is the lower half.
            let (line, column) = (location as u32 + 1, (location >> 32) as u32 + 1);
            JsFrame { function, script, line, column, is_start: false }
        };
        (0..count.max(0) as u32).map(one).collect()
    }

    /// Keeps in mind where the script of a frame says that its source map is, the first time.
    fn note_mapping(&self, environment: &Environment, script: &str, frame: *mut c_void) {
        let mut mappings = lock(&self.mappings);
        if is_nodes(script)
            || script == ANONYMOUS
            || mappings.len() >= MAPPINGS
            || mappings.contains_key(script)
        {
            return;
        }
        let Ok(calls) = MappingCalls::find() else { return };
        // SAFETY: the frame is a handle of a scope that is open.
        let url = unsafe { (calls.url)(frame) };
        let kept: usize = mappings.values().map(|url| url.len()).sum();
        let limit = MAPPING_BYTES.min(MAPPINGS_BYTES.saturating_sub(kept));
        mappings.insert(script.to_owned(), environment.long_text(url, limit).into());
    }

    /// Returns the function that waits in the queue of ticks, where the stack has none of the program's, and only one waits.
    fn next_tick(&self, environment: &Environment, frames: &[JsFrame]) -> Option<JsFrame> {
        let helper = self.helper?;
        if frames.is_empty() || !frames.iter().all(|frame| is_nodes(&frame.script)) {
            return None;
        }
        let function = environment.call_kept(helper, "ticks");
        if !environment.is_function(function) {
            return None;
        }
        let told = function_place::of(self.isolate, environment, function);
        // A function that was bound is in no script.
        told.filter(|function| !is_nodes(&function.script))
    }

    /// Names what runs as the program's own context does.
    fn name_by_context(&self, environment: &Environment) {
        if !IS_NAMED.get() {
            return;
        }
        let name = self.helper.map(|helper| environment.text(environment.call_kept(helper, "context")));
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            current::with(|watcher| watcher.label(&name));
        }
    }
}

/// Tells whether a script is Node's own, or none.
fn is_nodes(script: &str) -> bool {
    script.is_empty() || script.starts_with("node:")
}

/// Returns the processor time of a thread of this process, in nanoseconds; `None` where it has ended, or the kernel does not tell.
fn cpu_ns(tid: u32) -> Option<u64> {
    // The kernel's number of that clock, by its `CPUCLOCK_SCHED` and `CPUCLOCK_PERTHREAD_MASK`.
    let clock = (!tid << 3 | 6) as libc::clockid_t;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it only writes the structure; a clock that is not there is an error.
    let is_told = unsafe { libc::clock_gettime(clock, &raw mut time) } == 0;
    is_told.then_some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

unsafe extern "C" fn on_interrupt(_isolate: *mut c_void, data: *mut c_void) {
    // SAFETY: `ask` made it of an `Arc`, for one call of this function.
    let asked = unsafe { Arc::from_raw(data.cast::<AskedLoop>()) };
    asked.answering[0].store(monotonic_ns(), Ordering::Release);
    let left = catch_unwind(AssertUnwindSafe(|| {
        code_events::catch_up();
        let (answer, is_all) = asked.look();
        // Making the map takes some ms, and is for those who have not all.
        if is_all {
            asked.give(answer);
            None
        } else {
            let begin_ns = monotonic_ns();
            if code_events::follow() {
                let ns = monotonic_ns() - begin_ns;
                current::with(|watcher| watcher.code_was_mapped(ns));
            }
            Some(answer)
        }
    }));
    if let Some(answer) = left.unwrap_or_else(|_| Some(Answer::default())) {
        asked.give(answer);
    }
    asked.answering[1].store(monotonic_ns(), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// A limit only to fail.
    const LONG: Duration = Duration::from_secs(120);

    #[test]
    fn an_answer_is_at_once_by_what_its_thread_has_used_since() {
        const MS: u64 = 1_000_000;
        let at = |at_ms: u64, cpu_ms: u64, waits| {
            let thread = ThreadUse { cpu_ns: cpu_ms * MS, waits };
            (
                Answer { at_ns: at_ms * MS, thread, ..Answer::default() },
                Captured { at_ns: at_ms * MS, thread: Some(thread) },
            )
        };
        let (_, captured) = at(1_000, 300, 7);
        for (at_ms, cpu_ms, waits, is_at_once) in [
            (1_003, 303, 7, true),
            (1_003, 301, 8, false),
            (1_400, 303, 7, true),
            (1_400, 320, 7, false),
            (1_400, 301, 8, false),
        ] {
            let (answer, _) = at(at_ms, cpu_ms, waits);
            assert_eq!(answer.is_at_once(&captured), is_at_once, "{at_ms} {cpu_ms} {waits}");
            let native = Answer { used_ns: RUNS_ON_NS, ..answer };
            assert!(!native.is_at_once(&captured), "native code ran when it was asked");
        }
        let slept = Captured { thread: None, ..captured };
        assert!(at(1_003, 303, 7).0.is_at_once(&slept) && !at(1_400, 303, 7).0.is_at_once(&slept));
    }

    #[test]
    fn a_stack_that_was_captured_while_the_loop_answered_is_known_as_that() {
        let asked = AskedLoop {
            tid: 0,
            isolate: 0,
            environment: 0,
            code: Arc::default(),
            mappings: Mutex::default(),
            helper: None,
            collecting: Arc::default(),
            named: AtomicU64::new(0),
            answering: [const { AtomicU64::new(0) }; 2],
            answer: Mutex::default(),
            came: Condvar::new(),
        };
        assert!(!asked.was_answering_at(50), "it was never asked");
        asked.answering[0].store(100, Ordering::Relaxed);
        assert!(!asked.was_answering_at(99) && asked.was_answering_at(100) && asked.was_answering_at(500));
        asked.answering[1].store(200, Ordering::Relaxed);
        assert!(asked.was_answering_at(200) && !asked.was_answering_at(201));
        asked.answering[0].store(300, Ordering::Relaxed);
        assert!(!asked.was_answering_at(250) && asked.was_answering_at(300) && asked.was_answering_at(900));
        assert!(
            asked.begins_to_name(Ticks(7))
                && !asked.begins_to_name(Ticks(7))
                && asked.begins_to_name(Ticks(9))
        );
    }

    #[test]
    fn an_answer_is_waited_for_while_the_loop_is_blocked_and_no_longer() {
        let (pending, came, looks) = (Mutex::new(Pending::default()), Condvar::new(), AtomicU32::new(0));
        let is_over = || looks.fetch_add(1, Ordering::Relaxed) == 2;
        assert!(wait_for_answer(lock(&pending), 0, &came, LONG, is_over).is_none());
        assert_eq!(looks.into_inner(), 3);
        // One that stands behind another's question is answered with it. Each looks once more while it holds the lock.
        std::thread::scope(|scope| {
            let waiters = [(); 2].map(|()| {
                let (waiting, begun) = std::sync::mpsc::channel();
                let (pending, came) = (&pending, &came);
                let is_over = move || waiting.send(()).is_err();
                (scope.spawn(move || wait_for_answer(lock(pending), 0, came, LONG, is_over)), begun)
            });
            waiters.iter().for_each(|(_, begun)| begun.recv().unwrap());
            let answer = Answer { at_ns: 7, ..Answer::default() };
            *lock(&pending) = Pending { answer, count: 1, ..Pending::default() };
            came.notify_all();
            for (waiter, _begun) in waiters {
                assert_eq!(waiter.join().unwrap().map(|answer| answer.at_ns), Some(7));
            }
        });
        assert!(wait_for_answer(lock(&pending), 1, &came, Duration::ZERO, || false).is_none());
    }
}
