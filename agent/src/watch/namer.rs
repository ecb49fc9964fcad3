//! Unwinds and names captured stacks, on a thread of its own: the agent's never waits for debug information.
//!
//! Names from the symbol tables come at once; those with file, line and inlined calls when the debug information is
//! loaded, which takes up to 100 ms the first time. It takes tens of MiB, so it is dropped when nothing was captured for
//! a while; what was named stays known by its fingerprint.

use crate::watch::frames::{FrameSources, Sources};
use loopscope_report::compute::guilty::guilty;
use loopscope_report::incident::Frame;
use loopscope_stacks::{Detail, NativeFrame, RawStack, Sample, Symbolizer, Unwinder};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// Stacks that may wait to be named.
const WAITING_MAX: usize = 16;

/// Stacks whose names are remembered.
const KNOWN_MAX: usize = 256;

/// The debug information is dropped after so long without a capture.
const KEPT: Duration = Duration::from_secs(60);

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
    pub sample: Box<Sample>,
}

/// A stack with names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub number: u64,
    pub age_ns: u64,
    pub fingerprint: String,
    pub frames: Vec<Frame>,
    pub guilty: Option<usize>,
    pub note: Option<String>,
    /// No better names will follow.
    pub is_final: bool,
}

/// The agent's end of the thread.
#[derive(Debug)]
pub(crate) struct Namer {
    work: SyncSender<Work>,
    named: Receiver<Named>,
}

impl Namer {
    /// Starts the thread.
    pub(crate) fn start(sources: FrameSources) -> std::io::Result<Namer> {
        let (work, waiting) = sync_channel(WAITING_MAX);
        let (say, named) = channel();
        std::thread::Builder::new().name("loopscope-stacks".to_owned()).spawn(move || {
            loopscope_stacks::block_signal();
            IncidentQueue::new(sources).serve(&waiting, &say);
        })?;
        Ok(Namer { work, named })
    }

    /// Hands over a stack; never blocks. Returns false where too many wait.
    pub(crate) fn name(&self, work: Work) -> bool {
        self.work.try_send(work).is_ok()
    }

    /// Returns what has been named since.
    pub(crate) fn named(&self) -> Vec<Named> {
        self.named.try_iter().collect()
    }
}

/// The thread's own things.
struct IncidentQueue {
    sources: Sources,
    unwinder: Unwinder,
    symbols: Symbolizer,
    lines: Option<Symbolizer>,
    known: HashMap<u64, Vec<Frame>>,
}

impl IncidentQueue {
    fn new(sources: FrameSources) -> Self {
        IncidentQueue {
            sources: Sources::new(sources),
            unwinder: Unwinder::new(),
            symbols: Symbolizer::new(Detail::Symbols),
            lines: None,
            known: HashMap::new(),
        }
    }

    fn serve(&mut self, waiting: &Receiver<Work>, say: &Sender<Named>) {
        loop {
            match waiting.recv_timeout(KEPT) {
                Ok(work) => {
                    let (number, age_ns) = (work.number, work.age_ns);
                    // Damaged debug information must not end the thread.
                    let outcome = catch_unwind(AssertUnwindSafe(|| self.name(work, say)));
                    if outcome.is_err() {
                        let note =
                            Some("naming the stack failed: the debug information is damaged".to_owned());
                        let _ = say.send(Named { number, age_ns, note, is_final: true, ..Named::default() });
                        self.lines = None;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.lines = None,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Names one stack, once or twice. Nobody may listen any more.
    fn name(&mut self, work: Work, say: &Sender<Named>) {
        let told = self.sources.frames(&work.runtime, &work.loop_name, work.tid);
        let (front, trouble) = match told {
            Ok(frames) => (frames, None),
            Err(trouble) => (Vec::new(), Some(trouble)),
        };
        let stack = self.unwinder.unwind(&work.sample);
        let fingerprint = stack.fingerprint(self.unwinder.modules());
        let named = |native: &[Frame], is_final| {
            let frames: Vec<Frame> = front.iter().chain(native).cloned().collect();
            Named {
                number: work.number,
                age_ns: work.age_ns,
                fingerprint: format!("{:016x}", fingerprint ^ hash_of(&front)),
                guilty: guilty(&frames),
                frames,
                note: note(&stack, &work.sample, trouble.clone()),
                is_final,
            }
        };
        if let Some(known) = self.known.get(&fingerprint) {
            let _ = say.send(named(known, true));
            return;
        }
        let modules = self.unwinder.modules();
        let quick = plain(self.symbols.name(&stack, modules));
        let _ = say.send(named(&quick, false));
        let lines = self.lines.get_or_insert_with(|| Symbolizer::new(Detail::Lines));
        let full = plain(lines.name(&stack, modules));
        let _ = say.send(named(&full, true));
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(fingerprint, full);
    }
}

fn plain(frames: Vec<NativeFrame>) -> Vec<Frame> {
    let plain = |frame: NativeFrame| Frame {
        function: frame.function,
        file: frame.file,
        line: frame.line,
        module: frame.module.map(|module| module.to_string()),
        is_inlined: frame.is_inlined,
        runtime: None,
    };
    frames.into_iter().map(plain).collect()
}

fn hash_of(frames: &[Frame]) -> u64 {
    if frames.is_empty() {
        return 0;
    }
    // The same in every process: its keys are fixed.
    let mut hasher = DefaultHasher::new();
    frames.hash(&mut hasher);
    hasher.finish()
}

/// What to know about a stack.
fn note(stack: &RawStack, sample: &Sample, trouble: Option<String>) -> Option<String> {
    let notes = [
        sample.is_off_stack.then(|| "the thread was on another stack, so only its leaf is known".to_owned()),
        (stack.is_cut || sample.is_cut).then(|| "cut off at its root".to_owned()),
        stack
            .is_guessed
            .then(|| "guessed in part: unwind tables or the frame pointer are missing".to_owned()),
        trouble,
    ];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_stacks::{Capturer, Target};

    #[inline(never)]
    fn known_by_name() -> Box<Sample> {
        let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
        Box::new(capturer.capture(Duration::from_secs(30)).unwrap())
    }

    #[test]
    fn a_stack_is_named_twice_the_first_time_and_once_after() {
        loopscope_stacks::prepare();
        let sample = known_by_name();
        let namer = Namer::start(FrameSources::new()).unwrap();
        let work = |number| Work {
            number,
            age_ns: 7,
            loop_name: "main".into(),
            runtime: "mio".into(),
            tid: 0,
            sample: sample.clone(),
        };
        assert!(namer.name(work(1)) && namer.name(work(2)));
        let named: Vec<Named> =
            (0..3).map(|_| namer.named.recv_timeout(Duration::from_secs(120)).unwrap()).collect();
        assert_eq!(
            named.iter().map(|one| (one.number, one.is_final)).collect::<Vec<_>>(),
            [(1, false), (1, true), (2, true)]
        );
        for one in &named {
            assert!(one.frames.iter().any(|frame| frame.function.contains("known_by_name")), "{one:?}");
            assert_eq!((&one.fingerprint, one.age_ns), (&named[0].fingerprint, 7));
        }
        assert!(
            named[1]
                .frames
                .iter()
                .any(|frame| frame.file.as_ref().is_some_and(|file| file.ends_with("namer.rs")))
        );
    }
}
