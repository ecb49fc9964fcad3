//! V8's own walk of its stack, in the handler of a capture: at the instant of the native stack, also inside native code.

use super::symbols::{self, Missing, functions};
use libc::c_void;
use loopscope_probe::raw::thread::current_tid;
use loopscope_stacks::{SAMPLER_WORDS, SamplerRegisters};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

type Walk = unsafe extern "C" fn(*mut c_void, *const [u64; 5], *mut u64, usize, *mut [usize; 8]);

functions! {
    /// V8's walk: reads the stack from the registers of the interrupted thread, without lock or allocation.
    WalkCalls {
        walk = c"_ZN2v87Isolate14GetStackSampleERKNS_13RegisterStateEPPvmPNS_10SampleInfoE":
            fn(*mut c_void, *const [u64; 5], *mut u64, usize, *mut [usize; 8]);
    }
}

functions! {
    /// Where V8's own functions are in the program's file.
    BuiltinCalls {
        range = c"_ZN2v87Isolate20GetEmbeddedCodeRangeEPPKvPm": fn(*mut c_void, *mut *const c_void, *mut usize);
    }
}

/// Words before the addresses: V8's state, the [`ThreadUse`] then, which job ran, the frame pointer, the place of the next
/// instruction, and where a function without a frame would return to.
const WORDS_BEFORE: usize = 8;

/// What a thread has used of the system so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadUse {
    /// Processor time, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// How often it has given up the processor to wait for something.
    pub(crate) waits: u64,
}

impl ThreadUse {
    /// Returns that of this thread. In a signal handler, too: it is one system call.
    pub(super) fn now() -> ThreadUse {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: it only writes the structure.
        unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
        // SAFETY: all zeros are a value of it.
        let usage = unsafe { usage.assume_init() };
        let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
        ThreadUse { cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime), waits: usage.ru_nvcsw as u64 }
    }
}

/// Takes apart what [`sample`] wrote: the thread's use then, and the addresses of V8's frames, innermost first. Nothing where it
/// wrote nothing.
pub(crate) fn parts(words: Option<&[u64]>) -> (Option<ThreadUse>, &[u64]) {
    match words {
        Some([_state, cpu_ns, waits, _finished, _id, _frame, _ip, _caller, addresses @ ..]) => {
            (Some(ThreadUse { cpu_ns: *cpu_ns, waits: *waits }), addresses)
        }
        _ => (None, &[]),
    }
}

/// Returns how many microtasks had ended when [`sample`] wrote this, and the id of what ran then, as far as they are known.
pub(crate) fn jobs(words: Option<&[u64]>) -> (Option<u64>, Option<u64>) {
    match words {
        Some([_, _, _, finished, id, ..]) => (finished.checked_sub(1), id.checked_sub(1)),
        _ => (None, None),
    }
}

/// Returns the frame pointer of the thread when [`sample`] wrote this.
pub(crate) fn frame(words: Option<&[u64]>) -> Option<u64> {
    words?.get(WORDS_BEFORE - 3).copied()
}

/// Returns the place of the thread's next instruction when [`sample`] wrote this. V8's walk begins elsewhere where that is of a function
/// whose frame is being made, or in C++.
pub(crate) fn place(words: Option<&[u64]>) -> Option<u64> {
    words?.get(WORDS_BEFORE - 2).copied()
}

/// Returns where what ran when [`sample`] wrote this would return to, if it has no frame: just behind the call. Where it has one, that is any
/// word, which may be left from an earlier call; 0 where C++ ran.
pub(crate) fn caller(words: Option<&[u64]>) -> Option<u64> {
    words?.get(WORDS_BEFORE - 1).copied()
}

/// Tells whether the thread of this isolate was in code of JavaScript's, or of V8's own functions that work for it, when [`sample`] wrote
/// this: not in C++, or the system, however they were called.
pub(crate) fn was_in_javascript(isolate: usize, words: Option<&[u64]>) -> bool {
    is_javascript(words, || builtins(isolate))
}

fn is_javascript(words: Option<&[u64]>, builtins: impl FnOnce() -> Option<Range<u64>>) -> bool {
    let Some(ip) = place(words) else { return false };
    !symbols::is_in_file(ip) || builtins().is_some_and(|range| range.contains(&ip))
}

/// Returns where V8's own functions are in the program's file; `None` where V8 has another interface.
fn builtins(isolate: usize) -> Option<Range<u64>> {
    static CALLS: OnceLock<Option<BuiltinCalls>> = OnceLock::new();
    let calls = CALLS.get_or_init(|| BuiltinCalls::find().ok()).as_ref()?;
    let (mut begin, mut bytes) = (null(), 0);
    // SAFETY: V8 writes two words, from what its file has, whichever isolate is asked and whether or not it is alive.
    unsafe { (calls.range)(isolate as *mut c_void, &raw mut begin, &raw mut bytes) };
    let begin = begin as u64;
    Some(begin..begin.saturating_add(bytes as u64))
}

/// Threads that are known in the handler. Loops beyond have native stacks only.
const THREADS: usize = 256;
/// Stack that V8's walk may need, in bytes.
const STACK_BYTES: usize = 32 << 10;
/// Where V8 puts the number of frames and its state into `v8::SampleInfo`.
const INFO_FRAMES: usize = 0;
const INFO_STATE: usize = 4;

/// Whose isolate runs on which thread. A thread's own entry is written by it alone, and read by its handler.
static ISOLATES: [(AtomicU32, AtomicPtr<c_void>); THREADS] =
    [const { (AtomicU32::new(0), AtomicPtr::new(null_mut())) }; THREADS];
/// Where these threads have the words that tell which job runs; null where that is not known.
static JOBS: [JobWords; THREADS] = [const { JobWords::none() }; THREADS];

/// Where a thread has how many microtasks have ended, and the id of what runs.
struct JobWords {
    finished: AtomicPtr<i64>,
    id: AtomicPtr<f64>,
}

impl JobWords {
    const fn none() -> JobWords {
        JobWords { finished: AtomicPtr::new(null_mut()), id: AtomicPtr::new(null_mut()) }
    }

    /// Returns each plus one; 0 where it is not known.
    fn read(&self) -> [u64; 2] {
        let (finished, id) = (self.finished.load(Ordering::Acquire), self.id.load(Ordering::Acquire));
        // SAFETY: `set_finished` is given a place that this thread's V8 keeps for as long as the thread is listed, and this runs on
        // the thread, in a handler: nobody else writes it meanwhile.
        let finished = (!finished.is_null()).then(|| unsafe { finished.read_volatile() });
        // SAFETY: the same of `set_id` and Node.
        let id = (!id.is_null()).then(|| unsafe { id.read_volatile() });
        [finished.map_or(0, |finished| finished as u64 + 1), id.map_or(0, |id| id as i64 as u64 + 1)]
    }
}

/// Notes where this thread has how many microtasks have ended, where it is listed.
///
/// # Safety
/// It can be read there for as long as the thread is listed.
pub(super) unsafe fn set_finished(place: *const i64) {
    if let Some(jobs) = own_place().map(|at| &JOBS[at]) {
        jobs.finished.store(place.cast_mut(), Ordering::Release);
    }
}

/// Notes where this thread has the id of what runs, where it is listed.
///
/// # Safety
/// As [`set_finished`].
pub(super) unsafe fn set_id(place: *const f64) {
    if let Some(jobs) = own_place().map(|at| &JOBS[at]) {
        jobs.id.store(place.cast_mut(), Ordering::Release);
    }
}

/// Returns where this thread is listed. In a signal handler, too.
fn own_place() -> Option<usize> {
    place_of(current_tid())
}

fn place_of(tid: u32) -> Option<usize> {
    ISOLATES.iter().position(|(thread, _)| thread.load(Ordering::Relaxed) == tid)
}
/// V8's walk; 0 until it was found.
static WALK: AtomicUsize = AtomicUsize::new(0);

/// Lets captures of this thread walk V8's stack.
///
/// # Errors
/// V8 has another interface.
pub(super) fn add(tid: u32, isolate: *mut c_void) -> Result<(), Missing> {
    let calls = WalkCalls::find()?;
    if WALK.swap(calls.walk as usize, Ordering::AcqRel) == 0 {
        // SAFETY: the function is async-signal-safe: it reads static tables, calls the kernel, and V8's walk, which V8 made for
        // handlers of signals. It writes within the room that it is given. On a thread whose alternate stack is smaller
        // than the walk needs it does nothing.
        unsafe { loopscope_stacks::set_sampler(Some(sample)) };
    }
    list(tid, isolate);
    Ok(())
}

/// Notes whose isolate runs on which thread.
pub(super) fn list(tid: u32, isolate: *mut c_void) {
    for (thread, known) in &ISOLATES {
        if thread.compare_exchange(0, tid, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            known.store(isolate, Ordering::Release);
            break;
        }
    }
}

/// Tells whether an isolate is noted for this thread.
#[cfg(test)]
pub(super) fn knows(tid: u32) -> bool {
    ISOLATES.iter().any(|(thread, _)| thread.load(Ordering::Relaxed) == tid)
}

/// Walks the stack of this thread from within a function that V8 has called, such as that of an interrupt: the addresses that
/// [`sample`] has after its first words, innermost first. Empty where V8 has another interface.
pub(super) fn addresses(isolate: *mut c_void) -> Vec<u64> {
    let walk = WALK.load(Ordering::Acquire);
    if walk == 0 {
        return Vec::new();
    }
    // SAFETY: only `add` stores here, and what it stores is such a function.
    let walk = unsafe { std::mem::transmute::<usize, Walk>(walk) };
    let (mut frames, mut info) = ([0u64; SAMPLER_WORDS - WORDS_BEFORE], [0usize; 8]);
    // V8 goes from where it was left, which is further out than this frame.
    let here = frames.as_ptr() as u64;
    let state = [addresses as *const () as u64, here, here, 0, 0];
    let (words, room) = (frames.as_mut_ptr(), frames.len());
    // SAFETY: as in `sample`; the isolate is this thread's.
    unsafe { walk(isolate, &raw const state, words, room, &raw mut info) };
    frames[..info[INFO_FRAMES].min(frames.len())].to_vec()
}

/// The isolate of this thread ends.
pub(super) fn remove(tid: u32) {
    for ((thread, isolate), jobs) in ISOLATES.iter().zip(&JOBS) {
        if thread.load(Ordering::Acquire) == tid {
            isolate.store(null_mut(), Ordering::Release);
            jobs.finished.store(null_mut(), Ordering::Release);
            jobs.id.store(null_mut(), Ordering::Release);
            thread.store(0, Ordering::Release);
        }
    }
}

/// Tells whether the thread stands on an alternate stack for signals that is too small.
fn is_stack_small() -> bool {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: it only writes the structure.
    let code = unsafe { libc::sigaltstack(std::ptr::null(), stack.as_mut_ptr()) };
    // SAFETY: all zeros are a value of it.
    let stack = unsafe { stack.assume_init() };
    code != 0 || stack.ss_flags & libc::SS_ONSTACK != 0 && stack.ss_size < STACK_BYTES
}

unsafe extern "C" fn sample(registers: *const SamplerRegisters, words: *mut u64, room: usize) -> usize {
    let Some(at) = own_place() else { return 0 };
    let isolate = ISOLATES[at].1.load(Ordering::Acquire);
    let walk = WALK.load(Ordering::Acquire);
    if isolate.is_null() || walk == 0 || room <= WORDS_BEFORE || is_stack_small() {
        return 0;
    }
    // SAFETY: only `add` stores here, and what it stores is such a function.
    let walk = unsafe { std::mem::transmute::<usize, Walk>(walk) };
    // SAFETY: the caller gives registers for the time of this call.
    let SamplerRegisters { ip, sp, fp, lr } = unsafe { *registers };
    let (state, mut info) = ([ip, sp, fp, lr, 0], [0usize; 8]);
    let frames = words.wrapping_add(WORDS_BEFORE);
    let room = room - WORDS_BEFORE;
    // SAFETY: the isolate is this thread's and alive; V8 writes at most so many words, and a structure smaller than ours.
    unsafe { walk(isolate, &raw const state, frames, room, &raw mut info) };
    // SAFETY: V8 has written so many addresses there.
    let is_in_walk = info[INFO_FRAMES] > 0 && room > 0 && unsafe { frames.read() } == ip;
    let caller = match () {
        () if !is_in_walk => 0,
        // SAFETY: V8's own code runs, on the stack of which it has just walked frames, and keeps the last word of it mapped.
        () if cfg!(target_arch = "x86_64") => unsafe { (sp as *const u64).read_unaligned() },
        () => lr,
    };
    let ThreadUse { cpu_ns, waits } = ThreadUse::now();
    let [finished, id] = JOBS[at].read();
    let state = info[INFO_STATE] as u64 & u64::from(u32::MAX);
    let before: [u64; WORDS_BEFORE] = [state, cpu_ns, waits, finished, id, fp, ip, caller];
    // SAFETY: there is room for so many words, and more.
    unsafe { words.cast::<[u64; WORDS_BEFORE]>().write(before) };
    WORDS_BEFORE + info[INFO_FRAMES].min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sample_says_is_taken_apart() {
        let at = ThreadUse { cpu_ns: 5, waits: 6 };
        assert_eq!(parts(Some(&[1, 5, 6, 7, 8, 9, 10, 11, 70, 80])), (Some(at), &[70, 80][..]));
        assert_eq!(parts(Some(&[1, 5, 6, 7, 8, 9, 10, 11])), (Some(at), &[][..]));
        assert_eq!(
            (frame(Some(&[1, 5, 6, 7, 8, 9, 10, 11])), frame(Some(&[1])), frame(None)),
            (Some(9), None, None)
        );
        assert_eq!((place(Some(&[1, 5, 6, 7, 8, 9, 10, 11])), place(None)), (Some(10), None));
        assert_eq!((caller(Some(&[1, 5, 6, 7, 8, 9, 10, 11])), caller(None)), (Some(11), None));
        assert_eq!((parts(Some(&[1])), parts(None)), ((None, &[][..]), (None, &[][..])));
    }

    #[test]
    fn code_of_a_file_that_is_not_v8s_is_not_javascript() {
        let malloc = libc::malloc as *const () as u64;
        let made = Box::new(0u64);
        let is_javascript = |ip: u64, builtins: Option<Range<u64>>| {
            is_javascript(Some(&[1, 5, 6, 7, 8, 9, ip, 11, 70]), || builtins)
        };
        assert!(!is_javascript(malloc, None) && !is_javascript(malloc, Some(malloc + 1..malloc + 9)));
        assert!(is_javascript(malloc, Some(malloc..malloc + 9)), "V8's own are in a file");
        assert!(is_javascript((&raw const *made).addr() as u64, None), "of no file");
        assert!(!super::is_javascript(Some(&[1, 5, 6]), || None) && !super::is_javascript(None, || None));
    }

    #[test]
    fn what_is_not_known_of_jobs_is_not_said() {
        let jobs = |finished, id| jobs(Some(&[1, 5, 6, finished, id, 9, 10, 11, 70]));
        assert_eq!((jobs(7, 1), jobs(0, 3)), ((Some(6), Some(0)), (None, Some(2))));
        assert_eq!((jobs(7, 0), super::jobs(None)), ((Some(6), None), (None, None)));
        assert_eq!(super::jobs(Some(&[1, 5])), (None, None));
    }
}
