//! Frames that another runtime supplies: asked on a thread of their own, with a limit, because they may wait for the
//! very loop that is blocked.

use loopscope_report::duration::show_ns;
use loopscope_report::incident::Frame;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Supplies the frames of a runtime that native stacks cannot tell: JavaScript functions, suspended tasks.
pub trait FrameSource: Send + Sync {
    /// Returns what the loop called `loop_name`, on the thread `tid`, executes now, leaf first. They are put in front
    /// of the native frames.
    ///
    /// Called on a thread of the agent's, while the loop is stalled. What takes longer than 100 ms is not waited for.
    fn frames(&self, loop_name: &str, tid: u32) -> Vec<Frame>;
}

/// Sources by runtime.
pub(crate) type FrameSources = HashMap<String, Arc<dyn FrameSource>>;

/// How long a source is waited for.
const WITHIN: Duration = Duration::from_millis(100);

struct Question {
    source: Arc<dyn FrameSource>,
    loop_name: String,
    tid: u32,
    answer: SyncSender<Vec<Frame>>,
}

/// Asks the sources.
pub(crate) struct Sources {
    known: FrameSources,
    within: Duration,
    asking: Option<SyncSender<Question>>,
    /// An answer that was too slow: its source is not asked again before it has come.
    late: Option<Receiver<Vec<Frame>>>,
}

impl Sources {
    pub(crate) fn new(known: FrameSources) -> Self {
        Sources { known, within: WITHIN, asking: None, late: None }
    }

    /// Returns the frames of the runtime's source, none where it has no source.
    ///
    /// # Errors
    /// Says why there are none: it took too long, or panicked.
    pub(crate) fn frames(&mut self, runtime: &str, loop_name: &str, tid: u32) -> Result<Vec<Frame>, String> {
        let Some(source) = self.known.get(runtime).cloned() else { return Ok(Vec::new()) };
        if let Some(late) = self.late.take()
            && late.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty)
        {
            self.late = Some(late);
            return Err(format!("the frames of runtime {runtime} are still being waited for"));
        }
        let (answer, answered) = sync_channel(1);
        let question = Question { source, loop_name: loop_name.to_owned(), tid, answer };
        if self.asking.as_ref().is_none_or(|asking| asking.send(question).is_err()) {
            let (asking, questions) = sync_channel(1);
            start(questions).map_err(|error| format!("no thread for the frames of {runtime}: {error}"))?;
            self.asking = Some(asking);
            // The question went away with the thread that was not there.
            return self.frames(runtime, loop_name, tid);
        }
        match answered.recv_timeout(self.within) {
            Ok(mut frames) => {
                for frame in &mut frames {
                    frame.runtime.get_or_insert_with(|| runtime.to_owned());
                }
                Ok(frames)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.late = Some(answered);
                Err(format!(
                    "the frames of runtime {runtime} did not come within {}",
                    show_ns(self.within.as_nanos() as u64)
                ))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(format!("the source of the frames of runtime {runtime} panicked"))
            }
        }
    }
}

fn start(questions: Receiver<Question>) -> std::io::Result<()> {
    std::thread::Builder::new().name("loopscope-frames".to_owned()).spawn(move || {
        loopscope_stacks::block_signal();
        for Question { source, loop_name, tid, answer } in questions {
            // The host's code: its faults are not the agent's. A dropped `answer` tells.
            if let Ok(frames) = catch_unwind(AssertUnwindSafe(|| source.frames(&loop_name, tid))) {
                let _ = answer.send(frames);
            }
        }
    })?;
    Ok(())
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
