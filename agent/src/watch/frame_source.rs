//! Frames that another runtime supplies: asked on a thread of their own, with a limit, because they may wait for the
//! very loop that is blocked. What comes later is not lost: it joins the stack that it was asked for.

use crate::address_source::of_runtime;
use loopscope_probe::Ticks;
use loopscope_report::duration::show_ns;
use loopscope_report::incident::Frame;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, sync_channel};
use std::time::Duration;

/// Supplies the frames of a runtime that native stacks cannot tell: JavaScript functions, suspended tasks.
pub trait FrameSource: Send + Sync {
    /// Returns what the loop executed at this moment, leaf first. They are put in front of the native frames of the same
    /// moment. None where the source knows nothing of it: frames of another moment would name code that did not block.
    ///
    /// Called on a thread of the agent's, some 100 us after the moment or later, usually while the loop is still stalled.
    /// The incident is told without what takes longer than 100 ms; where it comes at last, it joins the incident, also one
    /// that is over. Until then the source is not asked again.
    fn frames_of(&self, moment: &Moment) -> Vec<Frame>;
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
    /// call, so what its runtime says of it a little later holds as long as `busy_since` does.
    pub foreign: Option<Vec<u64>>,
}

/// Sources by runtime.
pub(crate) type FrameSources = HashMap<String, Arc<dyn FrameSource>>;

/// What a source says: `None` where it panicked.
pub(crate) type Answer = Option<Vec<Frame>>;

/// Takes an answer that came too late to be waited for, on the thread of the sources.
pub(crate) type TakeLate = Arc<dyn Fn(Answer) + Send + Sync>;

/// How long a source is waited for.
pub(crate) const WITHIN: Duration = Duration::from_millis(100);

/// Why there are no frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoFrames {
    /// They may come late.
    NotYet(String),
    /// They will not come.
    None(String),
}

struct FrameRequest {
    source: Arc<dyn FrameSource>,
    runtime: String,
    moment: Moment,
    /// Without room: what is sent has been received, so that nothing is lost where the asker stops waiting.
    answer: SyncSender<Answer>,
}

/// Asks the sources.
pub(crate) struct Sources {
    known: FrameSources,
    within: Duration,
    take_late: TakeLate,
    asking: Option<SyncSender<FrameRequest>>,
    /// An answer is waited for by nobody: no source is asked before it has come.
    is_late: bool,
}

impl Sources {
    /// `take_late` gets what comes after `within`.
    pub(crate) fn new(known: FrameSources, within: Duration, take_late: TakeLate) -> Self {
        Sources { known, within, take_late, asking: None, is_late: false }
    }

    /// Returns the frames of the runtime's source, none where it has no source.
    ///
    /// # Errors
    /// Says why there are none: it takes too long, or panicked.
    pub(crate) fn frames(&mut self, runtime: &str, moment: &Moment) -> Result<Vec<Frame>, NoFrames> {
        let Some(source) = self.known.get(runtime).cloned() else { return Ok(Vec::new()) };
        if self.is_late {
            return Err(NoFrames::None(format!(
                "the frames of runtime {runtime} were not requested: those of an earlier stack are still pending"
            )));
        }
        let (answer, answered) = sync_channel(0);
        let question = FrameRequest { source, runtime: runtime.to_owned(), moment: moment.clone(), answer };
        self.ask(question).map_err(|error| {
            NoFrames::None(format!("cannot start the thread for frames of {runtime}: {error}"))
        })?;
        match answered.recv_timeout(self.within) {
            Ok(Some(frames)) => Ok(frames),
            Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                Err(NoFrames::None(format!("the frame source of runtime {runtime} panicked")))
            }
            Err(RecvTimeoutError::Timeout) => {
                self.is_late = true;
                let within = show_ns(self.within.as_nanos() as u64);
                Err(NoFrames::NotYet(format!(
                    "the frames of runtime {runtime} did not arrive within {within}"
                )))
            }
        }
    }

    /// The late answer has come: sources are asked again.
    pub(crate) fn late_has_come(&mut self) {
        self.is_late = false;
    }

    /// Hands a question to the thread, which is started with the first one.
    fn ask(&mut self, question: FrameRequest) -> std::io::Result<()> {
        let question = match &self.asking {
            Some(asking) => match asking.send(question) {
                Ok(()) => return Ok(()),
                Err(SendError(question)) => question,
            },
            None => question,
        };
        let (asking, questions) = sync_channel(1);
        start(questions, self.take_late.clone())?;
        // A thread that has just begun is there.
        let _ = asking.send(question);
        self.asking = Some(asking);
        Ok(())
    }
}

fn start(questions: Receiver<FrameRequest>, take_late: TakeLate) -> std::io::Result<()> {
    std::thread::Builder::new().name("loopscope-frames".to_owned()).spawn(move || {
        loopscope_stacks::block_signal();
        for FrameRequest { source, runtime, moment, answer } in questions {
            // The host's code: its faults are not the agent's.
            let found = catch_unwind(AssertUnwindSafe(|| source.frames_of(&moment))).ok();
            let told =
                found.map(|frames| frames.into_iter().map(|frame| of_runtime(frame, &runtime)).collect());
            if let Err(SendError(told)) = answer.send(told) {
                take_late(told);
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
#[path = "frame_source_tests.rs"]
mod tests;
