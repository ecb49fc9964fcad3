//! Asking a thread for its stack, and taking what its handler left.

use crate::error::{CaptureError, SleepingError};
use crate::sample::{Sample, SampleSource};
use crate::sampler::SAMPLER_STACK_BYTES;
use crate::signal::{self, alternate_stack_bytes_needed};
use crate::sleeping::{SleepingThread, ThreadProgress};
use crate::slot::{self, Slot, is_gone};
use crate::target::{TAG_WORDS, Target};
use std::io;
use std::time::{Duration, Instant};

/// Captures one thread, one sample at a time. Several capturers of one thread do not disturb each other.
///
/// ```
/// use loopscope_stacks::{Capturer, Detail, Symbolizer, Target, Unwinder};
/// let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
/// let sample = capturer.capture(std::time::Duration::from_secs(1)).unwrap();
/// let mut unwinder = Unwinder::new();
/// let stack = unwinder.unwind(&sample);
/// for frame in Symbolizer::new(Detail::Symbols).name(&stack, unwinder.modules()) {
///     println!("{}", frame.function);
/// }
/// ```
pub struct Capturer {
    slot: &'static Slot,
    target: Target,
    sleeping: SleepingThread,
    /// The process that it was made in: in a forked child there is no such thread, and the slot is another's.
    process: i32,
}

impl Capturer {
    /// Attaches without asking whether captures work: for the test of just that.
    pub(crate) fn attach_installed(target: Target) -> Result<Capturer, CaptureError> {
        let words = target.tags.as_ref().map(|tags| tags.words()).unwrap_or_default();
        let done = target.tags.as_ref().and_then(|tags| tags.done_word());
        if words.len() > TAG_WORDS {
            let error = format!("{} tag words, the maximum is {TAG_WORDS}", words.len());
            return Err(CaptureError::System(io::Error::new(io::ErrorKind::InvalidInput, error)));
        }
        if is_gone(target.tid) {
            return Err(CaptureError::ThreadGone);
        }
        let slot = slot::lend(&target, &words, done, may_sample(target.alternate_stack_bytes))
            .ok_or(CaptureError::NoSlot)?;
        let sleeping = SleepingThread::new(&target, words);
        Ok(Capturer { slot, target, sleeping, process: signal::own_pid() })
    }

    /// Returns whom it captures.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Says how large the thread's alternate signal stack is by now: what counts from the next [`ask`](Self::ask) on.
    pub fn set_alternate_stack(&mut self, bytes: Option<usize>) {
        if self.target.alternate_stack_bytes != bytes {
            self.target.alternate_stack_bytes = bytes;
            self.slot.set_may_sample(may_sample(bytes));
        }
    }

    fn is_of_this_process(&self) -> bool {
        self.process == signal::own_pid()
    }

    /// Sends the signal. Never blocks: two or three system calls. A sample that was not taken is dropped.
    ///
    /// # Errors
    /// `InFlight` while the thread has not taken the last signal, `ThreadGone`, `HandlerReplaced`, `SmallAlternateStack`,
    /// `QueueFull`, `System`; and `Unavailable` in a forked child. Nothing was sent then.
    pub fn ask(&mut self) -> Result<(), CaptureError> {
        if !self.is_of_this_process() {
            return Err(CaptureError::Unavailable(
                "it was created before a fork, and its thread is the parent's".to_owned(),
            ));
        }
        let needed_bytes = alternate_stack_bytes_needed();
        if let Some(bytes) = self.target.alternate_stack_bytes.filter(|bytes| *bytes < needed_bytes) {
            return Err(CaptureError::SmallAlternateStack { bytes, needed_bytes });
        }
        if !signal::is_handler_ours() {
            return Err(CaptureError::HandlerReplaced);
        }
        if !self.slot.try_ask() {
            let is_gone = is_gone(self.target.tid);
            return Err(if is_gone { CaptureError::ThreadGone } else { CaptureError::InFlight });
        }
        // Where nothing was sent, nothing will arrive; save that a SIGURG or SIGWINCH of somebody else has just
        // filled the slot.
        signal::send(self.target.tid, self.slot).inspect_err(|_| _ = self.slot.recall())
    }

    /// Returns what the thread has used since it began, where it runs or waits for a processor; `None` while it sleeps. Three
    /// system calls, some 20 us; the state is read last.
    ///
    /// A thread that was woken and has no processor yet seems to run, and is still in its call: see
    /// [`ThreadProgress::has_run_on`].
    ///
    /// # Errors
    /// `ThreadGone`; `NotReadable`, where the kernel does not tell.
    pub fn progress(&mut self) -> Result<Option<ThreadProgress>, SleepingError> {
        self.sleeping.progress()
    }

    /// Whether the thread runs or waits for a processor. One system call.
    ///
    /// # Errors
    /// As [`progress`](Self::progress).
    pub fn is_running(&mut self) -> Result<bool, SleepingError> {
        self.sleeping.is_running()
    }

    /// Gives up a signal that will never be handled: it was sent some time ago, and the kernel has it pending no
    /// more, as when the program took it by `sigwait`. Returns whether that was so; false where none is on its way.
    /// Right after [`ask`](Self::ask), a handler that has just begun may be taken for lost: its sample is then
    /// dropped.
    pub fn recall_lost(&mut self) -> bool {
        self.is_of_this_process()
            && self.slot.is_in_flight()
            && crate::thread::is_pending(self.target.tid, signal::number()) == Some(false)
            && self.slot.recall()
    }

    /// Returns what has arrived since the last call, also late. Never blocks.
    pub fn take(&mut self) -> Option<Sample> {
        let found = self.is_of_this_process().then(|| self.slot.take())??;
        Some(Sample {
            at_ns: found.at_ns,
            tags: found.tags,
            foreign: found.foreign,
            registers: found.registers,
            stack: found.stack,
            is_off_stack: found.is_off_stack,
            is_cut: found.is_cut,
            handler_ns: found.handler_ns,
            source: SampleSource::Handler,
        })
    }

    /// Reads the stack of the thread from memory if it sleeps in the kernel, in a system call or for a page of memory.
    ///
    /// No signal is sent: the thread is not woken, and what its call returns stays as it is. The frame pointer is not
    /// known, so [`Unwinder::unwind`](crate::Unwinder::unwind) may have to search for it.
    ///
    /// # Errors
    /// `NotAsleep` and `Woke` where the thread runs, or ran meanwhile; `ThreadGone`; `Forked` in a forked child;
    /// `NotReadable` where the kernel does not show it, or a filter on system calls forbids.
    pub fn read_sleeping(&mut self) -> Result<Sample, SleepingError> {
        self.sleeping.read()
    }

    /// Asks, and waits for the sample, usually some 100 us.
    ///
    /// # Errors
    /// As [`ask`](Self::ask), and `NotDelivered` when nothing arrived in time: a later `take` may still return it, and
    /// until then every `ask` returns `InFlight`.
    pub fn capture(&mut self, within: Duration) -> Result<Sample, CaptureError> {
        /// A running thread answers within some us; a sleeping one must be woken, on a busy machine scheduled.
        const SPINS: u32 = 200;
        self.ask()?;
        let begin = Instant::now();
        for turn in 0_u32.. {
            if let Some(sample) = self.take() {
                return Ok(sample);
            }
            if turn < SPINS {
                std::hint::spin_loop();
                continue;
            }
            if begin.elapsed() >= within {
                break;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
        let is_gone = is_gone(self.target.tid);
        Err(if is_gone { CaptureError::ThreadGone } else { CaptureError::NotDelivered })
    }
}

/// Whether the process's sampler has room where the alternate signal stack has so many bytes, or there is none.
fn may_sample(alternate_stack_bytes: Option<usize>) -> bool {
    alternate_stack_bytes.is_none_or(|bytes| bytes >= alternate_stack_bytes_needed() + SAMPLER_STACK_BYTES)
}

impl Drop for Capturer {
    fn drop(&mut self) {
        if self.is_of_this_process() {
            slot::give_back(self.slot, &self.target);
        }
    }
}
