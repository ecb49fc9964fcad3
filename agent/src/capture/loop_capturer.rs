//! Captures of one loop's thread, in two steps.

use crate::capture::OFF;
use crate::capture::target::target;
use crate::capture::{Captures, captures};
use loopscope_probe::Ticks;
use loopscope_probe::raw::barrier::{Barrier, of_agent};
use loopscope_probe::raw::capture_gate::{GateError, Sent, Wanted};
use loopscope_probe::raw::registry::LocalPage;
use loopscope_stacks::thread::is_blocking;
use loopscope_stacks::{
    CaptureError, CaptureSupport, Capturer, Sample, SleepingError, ThreadProgress, readiness,
};

/// What the first step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// The thread slept, and its stack can be taken.
    Arrived,
    /// The thread runs: [`make_barrier`](crate::capture::make_barrier) and [`LoopCapturer::send`] come next.
    Wanted,
}

/// Why there is no stack.
#[derive(Debug)]
pub(crate) enum NoCapture {
    /// The thread changes between running and sleeping: a later try may do.
    NotNow,
    /// Another capture of it is under way, or its loop does not make the fences yet that it needs where the kernel refuses
    /// `membarrier`: a later try may do.
    Busy,
    /// The busy period is over.
    Ended,
    /// There will be none, for this reason.
    Failed(CaptureError),
}

/// Captures one loop's thread, one stack at a time.
pub(crate) struct LoopCapturer {
    page: LocalPage,
    /// Made when the first stack is asked for: its slot takes 128 KiB.
    capturer: Option<Capturer>,
    wanted: Option<WantedStack>,
    /// The last signal, as long as it may not have been handled.
    sent: Option<Sent>,
    /// A stack that was read.
    read: Option<Sample>,
    /// How the thread was found first of all since it last slept.
    found: Option<ThreadProgress>,
    steadiness: Steadiness,
    /// How often the stack that was asked for was looked for in vain.
    misses: u32,
}

/// After so many looks in vain it is asked whether the signal is still on its way.
const MISSES: u32 = 32;

/// A stack that is wanted and not asked for.
struct WantedStack {
    at_gate: Wanted,
    /// Begin of the busy period.
    busy_since: Ticks,
}

impl LoopCapturer {
    /// Of the thread that writes this page.
    pub(crate) fn of(page: LocalPage) -> LoopCapturer {
        let steadiness = Steadiness::default();
        let (capturer, wanted, sent, read, found) = (None, None, None, None, None);
        LoopCapturer { page, capturer, wanted, sent, read, found, steadiness, misses: 0 }
    }

    /// Returns the page.
    pub(crate) fn page(&self) -> &LocalPage {
        &self.page
    }

    fn attached(&mut self) -> Result<&mut Capturer, NoCapture> {
        if captures() == Captures::Off {
            return Err(NoCapture::Failed(CaptureError::Unavailable(OFF.to_owned())));
        }
        if self.page.thread().tid == 0 {
            let why = "the loop's thread is unknown".to_owned();
            return Err(NoCapture::Failed(CaptureError::Unavailable(why)));
        }
        match &mut self.capturer {
            Some(capturer) => Ok(capturer),
            none => {
                let capturer = Capturer::attach(target(&self.page)).map_err(NoCapture::Failed)?;
                Ok(none.insert(capturer))
            }
        }
    }

    /// The first step: reads the stack of a thread that sleeps in its busy period, or says at the gate that one is wanted.
    /// A stack that nobody took is dropped.
    ///
    /// # Errors
    /// See [`NoCapture`].
    pub(crate) fn prepare(&mut self) -> Result<Prepared, NoCapture> {
        (self.wanted, self.read) = (None, None);
        let busy_since = self.page.page().busy_since();
        let capturer = self.attached()?;
        if busy_since == Ticks::NONE {
            return Err(NoCapture::Ended);
        }
        let mut unreadable = None;
        match capturer.read_sleeping() {
            Ok(sample) => {
                self.read = Some(sample);
                return Ok(Prepared::Arrived);
            }
            Err(SleepingError::ThreadGone) => return Err(NoCapture::Failed(CaptureError::ThreadGone)),
            Err(SleepingError::NotAsleep | SleepingError::Woke) => {}
            Err(error) => unreadable = Some(error),
        }
        let progress = match (capturer.progress(), unreadable) {
            (Ok(Some(progress)), _) => progress,
            (Ok(None), None) => return Err(NoCapture::NotNow),
            (Err(error), _) | (Ok(None), Some(error)) => {
                return Err(NoCapture::Failed(CaptureError::Unreadable(error)));
            }
        };
        self.recall_lost();
        if self.found.is_none_or(|found| found.sleeps != progress.sleeps) {
            self.found = Some(progress);
        }
        self.steadiness.note(progress.sleeps, || self.page.page().polls_longer_than(AT_ONCE_NS));
        if of_agent() == Barrier::Fence && !self.page.gate().is_fenced() {
            self.page.gate().ask_for_fences();
        }
        match self.page.gate().want() {
            Ok(at_gate) => {
                self.wanted = Some(WantedStack { at_gate, busy_since });
                Ok(Prepared::Wanted)
            }
            Err(GateError::Closed) => Err(NoCapture::Ended),
            Err(GateError::Busy | GateError::NotFenced) => Err(NoCapture::Busy),
        }
    }

    /// The second step, after the barrier, which ordered `barrier`: sends the signal where the loop is in the same
    /// busy period and its thread runs. `needs_proof` wants to see that it has run on since the first step, or an
    /// earlier one, and not slept meanwhile: a thread that was woken in a call, and has no processor yet, seems to
    /// run. Nothing is sent otherwise.
    ///
    /// # Errors
    /// See [`NoCapture`].
    pub(crate) fn send(&mut self, barrier: Barrier, needs_proof: bool) -> Result<(), NoCapture> {
        let Some(WantedStack { at_gate, busy_since }) = self.wanted.take() else {
            return Err(NoCapture::NotNow);
        };
        if self.page.page().busy_since() != busy_since {
            return Err(NoCapture::Ended);
        }
        // A loop that began to make fences since would have withdrawn what is wanted.
        if barrier == Barrier::Fence && !self.page.gate().is_fenced() {
            return Err(NoCapture::Busy);
        }
        let (tid, signal, found) = (self.page.thread().tid, signal()?, self.found);
        if is_blocking(tid, signal) == Some(true) {
            return Err(NoCapture::Failed(CaptureError::SignalBlocked));
        }
        let alternate_stack_bytes = self.page.gate().alternate_stack_bytes();
        let capturer = self.attached()?;
        capturer.set_alternate_stack(alternate_stack_bytes);
        // Read last: what comes after it is the race that is left.
        let is_running = match needs_proof {
            false => capturer.is_running().unwrap_or(false),
            true => match (found, capturer.progress()) {
                (Some(found), Ok(Some(now))) => found.has_run_on(&now),
                _ => false,
            },
        };
        if !is_running {
            return Err(NoCapture::NotNow);
        }
        let Some(sent) = at_gate.try_send(signal) else { return Err(NoCapture::Ended) };
        match capturer.ask() {
            Ok(()) => {
                (self.sent, self.misses) = (Some(sent), 0);
                Ok(())
            }
            Err(error) => {
                sent.failed();
                Err(NoCapture::Failed(error))
            }
        }
    }

    /// Whether the thread falls asleep more often than its loop polls, so that calls inside its callbacks can be met.
    pub(crate) fn is_unsteady(&self) -> bool {
        self.steadiness.is_unsteady
    }

    /// Whether the thread sleeps in the kernel, by one system call; `None` where nobody tells.
    pub(crate) fn is_asleep(&mut self) -> Option<bool> {
        self.attached().ok()?.is_running().ok().map(|is_running| !is_running)
    }

    /// Takes the stack that was read, or that the handler has copied since.
    pub(crate) fn take(&mut self) -> Option<Sample> {
        if self.read.is_some() {
            return self.read.take();
        }
        let sample = self.capturer.as_mut()?.take();
        if sample.is_some() {
            self.sent = None;
        } else if self.sent.is_some() {
            self.misses += 1;
            if self.misses.is_multiple_of(MISSES) {
                self.recall_lost();
            }
        }
        sample
    }

    /// Whether a signal is on its way.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// Gives the slot back, which takes 128 KiB, where nothing is on its way.
    pub(crate) fn rest(&mut self) {
        if self.sent.is_none() {
            self.capturer = None;
        }
    }

    /// Gives up a signal that will never be handled: it would keep the gate shut for ever.
    fn recall_lost(&mut self) {
        if self.capturer.as_mut().is_some_and(Capturer::recall_lost)
            && let Some(sent) = self.sent.take()
        {
            sent.failed();
        }
    }
}

impl Drop for LoopCapturer {
    fn drop(&mut self) {
        if self.sent.is_some() {
            self.recall_lost();
        }
    }
}

/// A poll that takes no longer than this, in nanoseconds, did not fall asleep: being switched away and back takes more.
const AT_ONCE_NS: u64 = 3_000;

/// Compares how often a thread falls asleep with how often its loop does so in a poll, over some preparations.
#[derive(Clone, Copy, Debug)]
struct Steadiness {
    /// Sleeps and long polls when the counting began; `None` before.
    begin: Option<(u64, u64)>,
    preparations: u32,
    is_unsteady: bool,
}

impl Default for Steadiness {
    fn default() -> Self {
        // Before anything is known it may be the worst.
        Steadiness { begin: None, preparations: 0, is_unsteady: true }
    }
}

impl Steadiness {
    /// After so many preparations it is judged anew.
    const PREPARATIONS: u32 = 32;

    /// So often a thread may have slept before it had its loop.
    const BEFORE_ITS_LOOP: u64 = 8;

    /// Of fewer polls nothing can be said.
    const POLLS_MIN: u64 = 128;

    /// Counting the polls reads a histogram, so it is done only when it is judged.
    fn note(&mut self, sleeps: u64, count_polls: impl FnOnce() -> u64) {
        let Some((begin_sleeps, begin_polls)) = self.begin else {
            let polls = count_polls();
            // Of the thread's whole life; it may have slept before it had its loop.
            let is_unsteady =
                polls < Self::POLLS_MIN || sleeps > with_margin(polls).saturating_add(Self::BEFORE_ITS_LOOP);
            *self = Steadiness { begin: Some((sleeps, polls)), preparations: 0, is_unsteady };
            return;
        };
        self.preparations += 1;
        if self.preparations < Self::PREPARATIONS {
            return;
        }
        let polls = count_polls();
        let slept = sleeps.saturating_sub(begin_sleeps);
        let polled = polls.saturating_sub(begin_polls);
        let is_unsteady = slept > with_margin(polled).saturating_add(2);
        *self = Steadiness { begin: Some((sleeps, polls)), preparations: 0, is_unsteady };
    }
}

/// A few polls are so short that they do not seem to have slept, and the page may not count the last ones yet.
fn with_margin(polls: u64) -> u64 {
    polls.saturating_add(polls / 16)
}

fn signal() -> Result<i32, NoCapture> {
    match readiness() {
        CaptureSupport::Ready { signal, .. } => Ok(signal),
        CaptureSupport::Untested(why) => Err(NoCapture::Failed(CaptureError::Untested(why))),
        CaptureSupport::Unavailable(why) => Err(NoCapture::Failed(CaptureError::Unavailable(why))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_sleeps_inside_its_callbacks_is_unsteady() {
        let mut steadiness = Steadiness::default();
        // Sleeps as often as it polls, then twice as often, then not at all.
        let mut counts = (1_000_000, 500);
        assert!(steadiness.is_unsteady, "before anything is known");
        steadiness.note(counts.0, || counts.1);
        let mut run = |steadiness: &mut Steadiness, sleeps, polls| {
            for _ in 0..Steadiness::PREPARATIONS {
                (counts.0, counts.1) = (counts.0 + sleeps, counts.1 + polls);
                steadiness.note(counts.0, || counts.1);
            }
            steadiness.is_unsteady
        };
        assert!(!run(&mut steadiness, 3, 3));
        assert!(run(&mut steadiness, 2, 1));
        assert!(!run(&mut steadiness, 0, 0));
    }

    #[test]
    fn at_first_a_thread_is_judged_by_its_whole_life() {
        let first = |sleeps, polls| {
            let mut steadiness = Steadiness::default();
            steadiness.note(sleeps, || polls);
            steadiness.is_unsteady
        };
        assert!(!first(10_050, 10_000), "it slept a little before it had its loop");
        assert!(first(3, 3), "too little is known");
        assert!(first(20_000, 10_000));
    }
}
