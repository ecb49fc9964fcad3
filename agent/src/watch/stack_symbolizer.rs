//! Unwinds and names captured stacks, on a thread of its own: the agent's never waits for debug information.
//!
//! Names from the symbol tables come at once; those with file, line and inlined calls when the debug information is
//! loaded, which takes up to 100 ms the first time. Both are read from one copy of each file, which takes up to tens
//! of MiB, so it is dropped when nothing was captured for a while; what was named stays known by its fingerprint.
//! Lines of a runtime's own modules, of which nobody needs any, are not loaded.
//!
//! Frames of another runtime are asked for as soon as a stack is handed over, whatever is named meanwhile, and waited for a
//! moment only; where they come later, the stack is named once more, in place of the one without them. Where they name the guilty function, nobody waits for the native ones: the symbols of a program of
//! 100 MB take as many ms to read the first time.

use crate::address_source::{AddressCall, AddressSources, AddressStack};
use crate::watch::frame_source::{
    Answer, FrameSources, Moment, NoFrames, Question, Sources, StackCall, StackCalls, StackCopy, WITHIN,
};
use loopscope_probe::Ticks;
use loopscope_probe::description::{Description, FrameRule, Trouble};
use loopscope_report::compute::guilty::guilty;
use loopscope_report::incident::{Frame, FrameOwner};
use loopscope_report::model::frame_owner::FrameText;
use loopscope_stacks::{Detail, Module, NativeFrame, RawStack, Sample, Symbolizer, Unwinder};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Stacks that may wait to be named: two of each loop that is asked about at the same time. One takes 128 KiB.
const WAITING_MAX: usize = 32;

/// Bytes of stacks whose names are remembered, about: some 100 stacks.
const KNOWN_BYTES: usize = 1 << 20;

/// Symbols and debug information are dropped after so long without a capture: the captures of one stall come sooner
/// one after the other, and reading them again takes some 10 ms of this thread.
const KEPT: Duration = Duration::from_secs(10);

/// A stack to be named.
#[derive(Debug)]
pub(crate) struct Work {
    /// Number of its incident.
    pub number: u64,
    /// How old the incident was, in nanoseconds.
    pub age_ns: u64,
    pub loop_name: String,
    pub runtime: String,
    pub tid: u32,
    /// Begin of the busy period that it was taken in, on the page's clock.
    pub busy_since: Ticks,
    /// What the runtime says of itself, so of whose frames are.
    pub description: Arc<Description>,
    /// Which job ran, where its runtime's source says so; asked for with the names.
    pub job: Option<u64>,
    pub sample: Box<Sample>,
}

impl Work {
    fn moment(&self) -> Moment {
        Moment {
            loop_name: self.loop_name.clone(),
            tid: self.tid,
            busy_since: self.busy_since,
            at_ns: self.sample.at_ns,
            foreign: self.sample.foreign.clone(),
            stack: StackCopy::new(self.sample.registers.sp, self.sample.stack.as_slice()),
            ..Moment::default()
        }
    }
}

/// A stack with names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub number: u64,
    pub age_ns: u64,
    /// Empty while the native frames have no names: the whole stack takes its place.
    pub fingerprint: String,
    pub frames: Vec<Frame>,
    pub guilty: Option<usize>,
    pub note: Option<String>,
    /// No better names will follow, save frames of another runtime that come late.
    pub is_final: bool,
    /// The fingerprint of the stack that it takes the place of, because frames of another runtime came late.
    pub replaces: Option<String>,
    /// The thread was outside its runtime, which has a word for that.
    pub is_outside: bool,
    /// It slept in a function by which its runtime waits for another thread.
    pub is_thread_wait: bool,
    /// It slept in a function by which a debugger pauses the program.
    pub is_debugger_pause: bool,
    /// The function of the runtime's in which it does something else, after it has given the loop's work to another thread.
    pub handed_over_in: Option<String>,
    /// Which job ran: see [`FrameSource::job_of`](crate::FrameSource::job_of).
    pub job: Option<u64>,
}

/// What the thread does.
enum Task {
    /// A stack, and what was asked of its runtime's source; `None` where that has none.
    Name(Work, Arc<StackCalls>, Option<Result<Question, NoFrames>>),
    /// Frames that came late, as the answer to this question.
    Late(u64, Answer),
}

/// The agent's end of the thread.
pub(crate) struct StackSymbolizer {
    /// The thread ends when it goes. Whoever else sends holds it weakly.
    tasks: Arc<SyncSender<Task>>,
    named: Receiver<Named>,
    sources: Sources,
}

impl fmt::Debug for StackSymbolizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackSymbolizer").finish_non_exhaustive()
    }
}

impl StackSymbolizer {
    /// Starts the thread.
    pub(crate) fn start(
        sources: FrameSources,
        addresses: AddressSources,
    ) -> std::io::Result<StackSymbolizer> {
        StackSymbolizer::start_within(sources, addresses, WITHIN)
    }

    /// The same, of a thread that waits so long for the frames of another runtime.
    fn start_within(
        sources: FrameSources,
        addresses: AddressSources,
        within: Duration,
    ) -> std::io::Result<StackSymbolizer> {
        let (tasks, waiting) = sync_channel(WAITING_MAX);
        let tasks = Arc::new(tasks);
        let (say, named) = channel();
        let own: Weak<SyncSender<Task>> = Arc::downgrade(&tasks);
        let take_late = Arc::new(move |number, answer| {
            // Where the agent has ended nobody waits for it.
            if let Some(tasks) = own.upgrade() {
                let _ = tasks.send(Task::Late(number, answer));
            }
        });
        std::thread::Builder::new().name("loopscope-stacks".to_owned()).spawn(move || {
            loopscope_stacks::block_signal();
            IncidentQueue::new(addresses).serve(&waiting, &say);
        })?;
        Ok(StackSymbolizer { tasks, named, sources: Sources::new(sources, within, take_late) })
    }

    /// Hands over a stack, and asks its runtime's source; never blocks. Returns false where too many wait.
    pub(crate) fn name(&mut self, mut work: Work) -> bool {
        let moment = work.moment();
        work.job = self.sources.job_of(&work.runtime, &moment);
        let asked = self.sources.ask(&work.runtime, &moment);
        self.tasks.try_send(Task::Name(work, moment.stack.where_calls_are_set(), asked)).is_ok()
    }

    /// Returns what has been named since.
    pub(crate) fn named(&self) -> Vec<Named> {
        self.named.try_iter().collect()
    }
}

/// The thread's own things.
struct IncidentQueue {
    addresses: AddressSources,
    unwinder: Unwinder,
    symbols: Option<Symbolizer>,
    known: KnownStacks,
    /// Stacks whose frames of another runtime have not come, or not all, and those that have, by the question. Each question has one answer, and few are asked
    /// at the same time.
    late: HashMap<u64, (NativeStack, Vec<Frame>)>,
}

/// The native frames of each call, by the fingerprint of the stack.
#[derive(Default)]
struct KnownStacks {
    stacks: HashMap<u64, Vec<Vec<Frame>>>,
    bytes: usize,
}

impl KnownStacks {
    fn get(&self, fingerprint: u64) -> Option<Vec<Vec<Frame>>> {
        self.stacks.get(&fingerprint).cloned()
    }

    /// Keeps one. Where there is no more room, all others are forgotten.
    fn keep(&mut self, fingerprint: u64, calls: Vec<Vec<Frame>>) {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let frame = |frame: &Frame| {
            size_of::<Frame>() + frame.function.len() + text(&frame.file) + text(&frame.module)
        };
        let bytes: usize = calls.iter().flatten().map(frame).sum();
        if self.bytes + bytes > KNOWN_BYTES {
            *self = KnownStacks::default();
        }
        self.bytes += bytes;
        self.stacks.insert(fingerprint, calls);
    }
}

/// A native stack with its names, to which frames of another runtime are added.
struct NativeStack {
    number: u64,
    age_ns: u64,
    fingerprint: u64,
    frames: Vec<Frame>,
    note: Vec<String>,
    /// It reaches from the leaf to the thread's start.
    is_whole: bool,
    description: Arc<Description>,
    job: Option<u64>,
}

impl NativeStack {
    /// Returns the whole, with the frames of another runtime in front.
    fn with_front(&self, front: &[Frame]) -> Named {
        let all = front.iter().chain(&self.frames).cloned();
        let frames: Vec<Frame> = all.map(|frame| frame.owned(self.description.frame_rules())).collect();
        let hands_over = |frame: &&Frame| {
            frame.owner == FrameOwner::Runtime && self.description.hands_over(&frame.function)
        };
        Named {
            number: self.number,
            age_ns: self.age_ns,
            job: self.job,
            handed_over_in: frames.iter().find(hands_over).map(|frame| frame.function.clone()),
            fingerprint: self.fingerprint_with(front),
            guilty: guilty(&frames),
            frames,
            note: (!self.note.is_empty()).then(|| self.note.join("; ")),
            is_final: false,
            replaces: None,
            is_outside: false,
            is_thread_wait: self.frames.iter().any(|frame| self.description.is_thread_wait(&frame.function)),
            is_debugger_pause: self
                .frames
                .iter()
                .any(|frame| self.description.is_debugger_pause(&frame.function)),
        }
    }

    /// Says that the thread may have left the loop, where its runtime has a remedy against that: none of its
    /// functions is on the stack, which is whole and has names and lines.
    fn outside(&self) -> Option<String> {
        let remedy = self.description.remedy_for(Trouble::Outside).filter(|_| self.is_whole)?;
        // A binary without symbols has the runtime's functions, and not their names.
        let may_be_of_runtime = |frame: &Frame| {
            let owned = frame.clone().owned(self.description.frame_rules());
            let module = owned.module.as_deref().unwrap_or_default();
            let is_nameless = owned.function.strip_prefix(module).is_some_and(|rest| rest.starts_with("+0x"));
            owned.owner == FrameOwner::Runtime || is_nameless && owned.owner != FrameOwner::System
        };
        let is_outside = !self.frames.iter().any(may_be_of_runtime);
        is_outside.then(|| {
            format!("no function of the runtime is on the stack, so the thread may have left it: {remedy}")
        })
    }

    fn fingerprint_with(&self, front: &[Frame]) -> String {
        format!("{:016x}", self.fingerprint ^ hash_of(front))
    }
}

impl IncidentQueue {
    fn new(addresses: AddressSources) -> Self {
        IncidentQueue {
            addresses,
            unwinder: Unwinder::new(),
            symbols: None,
            known: KnownStacks::default(),
            late: HashMap::new(),
        }
    }

    fn serve(&mut self, waiting: &Receiver<Task>, say: &Sender<Named>) {
        loop {
            match waiting.recv_timeout(KEPT) {
                Ok(Task::Name(work, calls, asked)) => {
                    let (number, age_ns) = (work.number, work.age_ns);
                    // Damaged debug information must not end the thread.
                    let outcome = catch_unwind(AssertUnwindSafe(|| self.name(work, &calls, asked, say)));
                    if outcome.is_err() {
                        let note = Some("symbolizing the stack failed: damaged debug information".to_owned());
                        let _ = say.send(Named { number, age_ns, note, is_final: true, ..Named::default() });
                        self.symbols = None;
                    }
                }
                Ok(Task::Late(number, answer)) => self.join_late(number, answer, say),
                Err(RecvTimeoutError::Timeout) => self.symbols = None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Unwinds a stack, and sets its calls for who was asked, and needs them when the loop answers.
    fn unwound(&mut self, work: &Work, calls: &StackCalls) -> RawStack {
        let stack = self.unwinder.unwind(&work.sample);
        // What was found by trying may have frames of earlier calls in it.
        let is_known = stack.is_complete && !stack.is_searched;
        calls.set(is_known.then(|| calls_of(&stack)));
        stack
    }

    /// Names one stack, once or twice. Nobody may listen any more.
    fn name(
        &mut self,
        work: Work,
        calls: &StackCalls,
        asked: Option<Result<Question, NoFrames>>,
        say: &Sender<Named>,
    ) {
        let stack = self.unwound(&work, calls);
        let (front, missing) = answered(asked);
        if let Some(early) = early(&work, &front) {
            let _ = say.send(early);
        }
        let fingerprint = stack.fingerprint(self.unwinder.modules());
        let modules = self.unwinder.modules();
        let known = self.known.get(fingerprint);
        let quick = known.clone().unwrap_or_else(|| {
            let symbols = self.symbols.get_or_insert_with(|| Symbolizer::new(Detail::Lines));
            plain(&symbols.name_each_as(&stack, modules, |_| Detail::Symbols))
        });
        let foreign = self.foreign_names(&work, &stack, &quick);
        let mut note = notes(&stack, &work.sample);
        note.extend(foreign.as_ref().err().cloned());
        let foreign = foreign.unwrap_or_default();
        let mut native = NativeStack {
            number: work.number,
            age_ns: work.age_ns,
            fingerprint: fingerprint ^ hash_of(&foreign.iter().flatten().collect::<Vec<_>>()),
            frames: with_foreign(&quick, &foreign),
            note,
            is_whole: !(work.sample.is_off_stack || work.sample.is_cut || stack.is_cut),
            description: work.description,
            job: work.job,
        };
        let told = |native: &NativeStack, is_final, is_outside| {
            let mut named = Named { is_final, is_outside, ..native.with_front(&front) };
            if let Some(NoFrames::NotYet(_, why) | NoFrames::None(why)) = &missing {
                named.note = Some(named.note.map_or(why.clone(), |note| format!("{note}; {why}")));
            }
            let _ = say.send(named);
        };
        if known.is_none() {
            told(&native, false, false);
            let symbols = self.symbols.get_or_insert_with(|| Symbolizer::new(Detail::Lines));
            let wanted = |module: &Module| detail_of(native.description.frame_rules(), module);
            let full = plain(&symbols.name_each_as(&stack, self.unwinder.modules(), wanted));
            native.frames = with_foreign(&full, &foreign);
            self.known.keep(fingerprint, full);
        }
        let outside = native.outside();
        let is_outside = outside.is_some();
        native.note.extend(outside);
        told(&native, true, is_outside);
        if let Some(NoFrames::NotYet(number, _) | NoFrames::Early(number, _)) = missing {
            self.late.insert(number, (native, front));
        }
    }

    /// Returns the frames that the runtime's own source has for calls of the stack; empty where it has none.
    fn foreign_names(
        &self,
        work: &Work,
        stack: &RawStack,
        native: &[Vec<Frame>],
    ) -> Result<Vec<Option<Frame>>, String> {
        if !self.addresses.has(&work.runtime) {
            return Ok(Vec::new());
        }
        let calls = stack.addresses.iter().zip(native).map(|(address, frames)| {
            let outer = frames.last().filter(|frame| frame.module.is_some());
            AddressCall { address: *address, function: outer.map(|frame| frame.function.as_str()) }
        });
        let asked = AddressStack { calls: calls.collect(), foreign: work.sample.foreign.as_deref() };
        Ok(self.addresses.names(&work.runtime, &[asked])?.pop().unwrap_or_default())
    }

    /// Frames of another runtime came when their stack had been told without them.
    fn join_late(&mut self, number: u64, answer: Answer, say: &Sender<Named>) {
        let front = answer.unwrap_or_default();
        // Where naming it failed, or too many waited, there is no stack to join.
        let Some((native, before)) = self.late.remove(&number).filter(|(_, before)| *before != front) else {
            return;
        };
        let replaces = Some(native.fingerprint_with(&before));
        let _ = say.send(Named { is_final: true, replaces, ..native.with_front(&front) });
    }
}

/// Waits for the frames of a question. Returns those that there are, and why not all of them.
fn answered(asked: Option<Result<Question, NoFrames>>) -> (Vec<Frame>, Option<NoFrames>) {
    match asked.map(|asked| asked.and_then(Question::wait)) {
        None => (Vec::new(), None),
        Some(Ok(frames)) => (frames, None),
        Some(Err(NoFrames::Early(number, frames))) => (frames.clone(), Some(NoFrames::Early(number, frames))),
        Some(Err(missing)) => (Vec::new(), Some(missing)),
    }
}

/// Returns the calls of a stack as sources are told them.
fn calls_of(stack: &RawStack) -> Vec<StackCall> {
    let frames = stack.addresses.iter().zip(&stack.frame_pointers);
    frames.map(|(&address, &frame)| StackCall { address, frame }).collect()
}

/// Returns the frames of another runtime by themselves, where they name the guilty function and its line: native frames are
/// behind them, and change nothing about that.
fn early(work: &Work, front: &[Frame]) -> Option<Named> {
    let owned = front.iter().map(|frame| frame.clone().owned(work.description.frame_rules()));
    let frames: Vec<Frame> = owned.collect();
    let guilty = guilty(&frames).filter(|at| frames[*at].line.is_some())?;
    let (number, age_ns) = (work.number, work.age_ns);
    Some(Named { number, age_ns, frames, guilty: Some(guilty), ..Named::default() })
}

/// Returns how much is wanted of a module: lines of none that is a runtime's own, ours, or the system's, whose debug
/// information may be installed and is large.
pub(crate) fn detail_of(rules: &[FrameRule], module: &Module) -> Detail {
    let text = FrameText { module: Some(&module.name), ..FrameText::default() };
    match FrameOwner::of(&text, rules) {
        FrameOwner::Runtime | FrameOwner::Loopscope | FrameOwner::System => Detail::Symbols,
        _ => Detail::Lines,
    }
}

/// Returns the frames of all calls, those of another runtime in place of the native ones.
fn with_foreign(native: &[Vec<Frame>], foreign: &[Option<Frame>]) -> Vec<Frame> {
    let foreign = foreign.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let frames = native.iter().zip(foreign).flat_map(|(native, foreign)| match foreign {
        Some(frame) => std::slice::from_ref(frame),
        None => native.as_slice(),
    });
    frames.cloned().collect()
}

fn plain(calls: &[Arc<[NativeFrame]>]) -> Vec<Vec<Frame>> {
    let plain = |frame: &NativeFrame| Frame {
        function: frame.function.clone(),
        file: frame.file.clone(),
        line: frame.line,
        column: frame.column,
        module: frame.module.as_ref().map(|module| module.to_string()),
        is_inlined: frame.is_inlined,
        ..Frame::default()
    };
    calls.iter().map(|call| call.iter().map(plain).collect()).collect()
}

fn hash_of<T: Hash>(frames: &[T]) -> u64 {
    if frames.is_empty() {
        return 0;
    }
    // The same in every process: its keys are fixed.
    let mut hasher = DefaultHasher::new();
    frames.hash(&mut hasher);
    hasher.finish()
}

/// What to know about a native stack.
fn notes(stack: &RawStack, sample: &Sample) -> Vec<String> {
    let notes = [
        (sample.is_off_stack, "the thread was on another stack: only the innermost frame is known"),
        (stack.is_cut || sample.is_cut, "truncated at the root"),
        (stack.is_guessed, "partly guessed: unwind tables or the frame pointer are missing"),
    ];
    notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note.to_owned()).collect()
}

#[cfg(test)]
#[path = "stack_symbolizer_tests.rs"]
mod tests;
