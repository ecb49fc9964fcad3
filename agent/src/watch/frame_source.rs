//! Frames that another runtime supplies: asked on threads of their own, with a limit, because they may wait for the
//! very loop that is blocked. What comes later is not lost: it joins the stack that it was asked for.
//!
//! Loops are independent of each other: each is asked as soon as its stack was taken, whatever the others do, because what a
//! loop says later is of code that ran later. A loop that has not answered is not asked again.

use crate::address_source::of_runtime;
use loopscope_probe::{Clock, Ticks};
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Frame;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Supplies the frames of a runtime that native stacks cannot tell: JavaScript functions, suspended tasks.
pub trait FrameSource: Send + Sync {
    /// Returns what the loop executed at this moment, leaf first. They are put in front of the native frames of the same
    /// moment. None where the source knows nothing of it: frames of another moment would name code that did not block.
    ///
    /// Called on a thread of the agent's, some 100 us after the moment or later, usually while the loop is still stalled.
    /// The incident is told without what takes longer than 100 ms; where it comes at last, it joins the incident, also one
    /// that is over. Until then the source is not asked about this loop again, but about others, on other threads: up to 16. What is
    /// known before that is told by [`Moment::tell_early`].
    fn frames_of(&self, moment: &Moment) -> Vec<Frame>;

    /// Returns a number of the job that ran at this moment, where the page tells many as one (`Writer::begin_many`): moments of
    /// one busy period with the same number are of the same job, and those with others of others. `None` where that is not
    /// known. Called on the agent's thread: it returns at once.
    fn job_of(&self, moment: &Moment) -> Option<u64> {
        let _ = moment;
        None
    }
}

/// The moment at which a native stack was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moment {
    /// The loop, as its metrics call it.
    pub loop_name: String,
    /// The kernel's id of its thread.
    pub tid: u32,
    /// Begin of the busy period that ran, on the page's clock. A loop that has another one by now has gone on.
    pub busy_since: Ticks,
    /// When the stack was taken: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
    /// What the process's sampler (`loopscope_stacks::set_sampler`) found on the thread at that instant. `None` where it was
    /// not called: there is none, or the thread slept and was read from outside. A thread that slept was in a native
    /// call. What its runtime says of it later, also in the same busy period, may be what it ran after that call.
    pub foreign: Option<Vec<u64>>,
    /// The native stack itself, as it was copied then.
    pub stack: StackCopy,
    pub(crate) early: EarlyFrames,
}

impl Moment {
    /// Tells what is known already: the incident is told with it where the rest takes longer than 30 ms. What
    /// [`FrameSource::frames_of`] returns replaces it, also where that is nothing. From now on the source may be asked about this loop
    /// again.
    pub fn tell_early(&self, frames: Vec<Frame>) {
        let mut early = self.early.lock();
        early.frames = frames;
        early.under_way = None;
    }
}

/// What was told of a moment before the answer.
#[derive(Clone, Default)]
pub(crate) struct EarlyFrames(Arc<Mutex<Early>>);

#[derive(Default)]
struct Early {
    frames: Vec<Frame>,
    /// The question about this loop.
    under_way: Option<UnderWay>,
}

impl EarlyFrames {
    fn lock(&self) -> MutexGuard<'_, Early> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EarlyFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EarlyFrames")
    }
}

/// Moments are the same whatever was told of them.
impl PartialEq for EarlyFrames {
    fn eq(&self, _other: &EarlyFrames) -> bool {
        true
    }
}

impl Eq for EarlyFrames {}

/// A copy of the inner part of a thread's stack.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackCopy {
    /// The stack pointer: the address of the first byte.
    pub sp: u64,
    /// The bytes from there on, at most 128 KiB; none where the thread stood on another stack.
    pub bytes: Arc<[u8]>,
    calls: Arc<StackCalls>,
}

/// Where the calls of a stack are set once it is unwound.
#[derive(Debug, Default)]
pub(crate) struct StackCalls {
    /// `None` where they were not found.
    calls: OnceLock<Option<Vec<StackCall>>>,
    setting: Mutex<()>,
    set: Condvar,
}

impl StackCalls {
    /// Sets them; they do not change any more. `None` where they were not found.
    pub(crate) fn set(&self, calls: Option<Vec<StackCall>>) {
        let setting = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.calls.set(calls);
        drop(setting);
        self.set.notify_all();
    }

    fn wait(&self, within: Duration) {
        let setting = self.setting.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.set.wait_timeout_while(setting, within, |()| self.calls.get().is_none());
    }
}

impl PartialEq for StackCalls {
    fn eq(&self, other: &StackCalls) -> bool {
        self.calls == other.calls
    }
}

impl Eq for StackCalls {}

/// A call on a [copy](StackCopy) of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackCall {
    /// Where the thread was in it: of the innermost call exactly, of the others where it goes on, just behind the next call.
    pub address: u64,
    /// The frame pointer in it: the address of its frame, where its code keeps one. 0 where it is not known.
    pub frame: u64,
}

impl StackCopy {
    /// Returns a copy, as it is made for a source.
    pub fn new(sp: u64, bytes: impl Into<Arc<[u8]>>) -> StackCopy {
        StackCopy { sp, bytes: bytes.into(), calls: Arc::default() }
    }

    /// Returns the calls that were under way, innermost first, by the unwind tables and by frame pointers where there are none, as in
    /// code that a runtime has compiled. `None` where that did not lead to the first call of the thread, where a frame had to be searched for, or where it is not done yet: it is
    /// done within some ms, so that it is there when a loop answers that was asleep.
    pub fn calls(&self) -> Option<&[StackCall]> {
        self.calls.calls.get()?.as_deref()
    }

    /// Waits until it is known which calls were under way, or that they are not found: for so long at most.
    pub fn wait_for_calls(&self, within: Duration) {
        self.calls.wait(within);
    }

    /// As [`StackCopy::new`], with these calls.
    pub fn with_calls(self, calls: &[(u64, u64)]) -> StackCopy {
        let calls = calls.iter().map(|&(address, frame)| StackCall { address, frame }).collect();
        self.calls.set(Some(calls));
        self
    }

    /// Returns where its calls are set.
    pub(crate) fn where_calls_are_set(&self) -> Arc<StackCalls> {
        self.calls.clone()
    }
}

impl fmt::Debug for StackCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:#x}", self.bytes.len(), self.sp)
    }
}

/// Sources by runtime.
pub(crate) type FrameSources = HashMap<String, Arc<dyn FrameSource>>;

/// What a source says: `None` where it panicked.
pub(crate) type Answer = Option<Vec<Frame>>;

/// Takes an answer that came too late to be waited for, with the number of its question. On a thread of the sources.
pub(crate) type TakeLate = Arc<dyn Fn(u64, Answer) + Send + Sync>;

/// How long a source is waited for.
pub(crate) const WITHIN: Duration = Duration::from_millis(100);
/// How long where it has told something early.
const EARLY_WITHIN: Duration = Duration::from_millis(30);

/// Loops that are asked about at the same time.
const ASKED_MAX: usize = 16;

/// Threads that ask, or wait to hand over an answer while names are read.
const THREADS_MAX: usize = 2 * ASKED_MAX;

/// Why there are no frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoFrames {
    /// They may come late, as the answer to the question of this number.
    NotYet(u64, String),
    /// The same, and these were told until then.
    Early(u64, Vec<Frame>),
    /// They will not come.
    None(String),
}

/// Asks the sources.
pub(crate) struct Sources {
    known: FrameSources,
    within: Duration,
    take_late: TakeLate,
    asked: Arc<Mutex<AskedLoops>>,
    /// One for each thread, also of those whose answer nobody has taken yet.
    threads: Arc<()>,
    questions: u64,
}

/// Threads of loops that are asked about.
type AskedLoops = Vec<u32>;

/// A question to a source, to be waited for.
pub(crate) struct Question {
    number: u64,
    runtime: String,
    within: Duration,
    clock: Clock,
    asked_at: Ticks,
    early: EarlyFrames,
    /// Without room: what is sent has been received, so that nothing is lost where the asker stops waiting.
    answered: Receiver<Answer>,
}

impl Sources {
    /// `take_late` gets what comes after `within`.
    pub(crate) fn new(known: FrameSources, within: Duration, take_late: TakeLate) -> Self {
        Sources { known, within, take_late, asked: Arc::default(), threads: Arc::new(()), questions: 0 }
    }

    /// Asks the runtime's source, on a thread of its own, and does not wait. `None` where it has none.
    ///
    /// # Errors
    /// Says why it was not asked.
    pub(crate) fn ask(&mut self, runtime: &str, moment: &Moment) -> Option<Result<Question, NoFrames>> {
        let source = self.known.get(runtime)?.clone();
        let under_way = UnderWay::begin(&self.asked, moment.tid);
        let asked = under_way.and_then(|under_way| self.start(source, runtime, moment, under_way));
        Some(asked.map_err(|why| {
            NoFrames::None(format!("the frames of runtime {runtime} were not requested: {why}"))
        }))
    }

    /// Asks the runtime's source which job ran.
    pub(crate) fn job_of(&self, runtime: &str, moment: &Moment) -> Option<u64> {
        self.known.get(runtime)?.job_of(moment)
    }

    fn start(
        &mut self,
        source: Arc<dyn FrameSource>,
        runtime: &str,
        moment: &Moment,
        under_way: UnderWay,
    ) -> Result<Question, String> {
        if Arc::strong_count(&self.threads) > THREADS_MAX {
            return Err("too many answers have not been taken yet".to_owned());
        }
        let counted = self.threads.clone();
        self.questions += 1;
        let (number, take_late) = (self.questions, self.take_late.clone());
        let (answer, answered) = sync_channel(0);
        let (of, moment) = (runtime.to_owned(), moment.clone());
        let early = moment.early.clone();
        early.lock().under_way = Some(under_way);
        let work = move || {
            loopscope_stacks::block_signal();
            answer_with(&*source, &of, &moment, &answer)
                .unwrap_or_else(|SendError(told)| take_late(number, told));
            drop(counted);
        };
        let thread = std::thread::Builder::new().name("loopscope-frames".to_owned());
        thread.spawn(work).map_err(|error| format!("cannot start a thread: {error}"))?;
        let (runtime, within, clock) = (runtime.to_owned(), self.within, Clock::monotonic());
        let asked_at = clock.now();
        Ok(Question { number, runtime, within, clock, asked_at, early, answered })
    }
}

impl Question {
    /// Waits for the frames, up to the limit from when they were asked for; for less long where some were told early.
    ///
    /// # Errors
    /// Says why there are none: it takes too long, or the source panicked.
    pub(crate) fn wait(self) -> Result<Vec<Frame>, NoFrames> {
        let runtime = &self.runtime;
        for within in [EARLY_WITHIN.min(self.within), self.within] {
            let passed = Duration::from_nanos(self.clock.ns_between(self.asked_at, self.clock.now()));
            match self.answered.recv_timeout(within.saturating_sub(passed)) {
                Ok(Some(frames)) => return Ok(frames),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(NoFrames::None(format!("the frame source of runtime {runtime} panicked")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let early = self.early();
            if !early.is_empty() {
                return Err(NoFrames::Early(self.number, early));
            }
        }
        let within = show_ns(self.within.as_nanos() as u64);
        let why = format!("the frames of runtime {runtime} did not arrive within {within}");
        Err(NoFrames::NotYet(self.number, why))
    }

    /// Takes what was told early.
    fn early(&self) -> Vec<Frame> {
        let early = std::mem::take(&mut self.early.lock().frames);
        early.into_iter().map(|frame| of_runtime(frame, &self.runtime)).collect()
    }
}

/// A loop that is asked about, until this is dropped.
struct UnderWay {
    asked: Arc<Mutex<AskedLoops>>,
    tid: u32,
}

impl UnderWay {
    /// # Errors
    /// Says what stands against it.
    fn begin(asked: &Arc<Mutex<AskedLoops>>, tid: u32) -> Result<UnderWay, String> {
        let mut loops = asked.lock().unwrap_or_else(PoisonError::into_inner);
        if loops.contains(&tid) {
            return Err("those of an earlier stack are still pending".to_owned());
        }
        if loops.len() >= ASKED_MAX {
            return Err(format!("those of {ASKED_MAX} other loops are still pending"));
        }
        loops.push(tid);
        Ok(UnderWay { asked: asked.clone(), tid })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut loops = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|tid| *tid != self.tid);
    }
}

/// Asks, and hands over what was told.
///
/// # Errors
/// Nobody waits for it any more.
fn answer_with(
    source: &dyn FrameSource,
    runtime: &str,
    moment: &Moment,
    answer: &SyncSender<Answer>,
) -> Result<(), SendError<Answer>> {
    // The host's code: its faults are not the agent's.
    let found = catch_unwind(AssertUnwindSafe(|| source.frames_of(moment))).ok();
    moment.early.lock().under_way = None;
    answer.send(found.map(|frames| frames.into_iter().map(|frame| of_runtime(frame, runtime)).collect()))
}

#[cfg(test)]
#[path = "frame_source_tests.rs"]
mod tests;
