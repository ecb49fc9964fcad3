//! What can be seen of a loop's thread from outside: the kernel's accounts, its state, and its stack.
//!
//! A trait, so that the logic above can be tested in virtual time.

use crate::capture::{LoopCapturer, NoCapture, Prepared};
use loopscope_probe::Ticks;
use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::raw::proc::{Sched, Status, open_sched};
use loopscope_probe::raw::registry::LocalPage;
use loopscope_probe::raw::tags::{TAG_WORDS, Tags};
use loopscope_report::compute::classify::{FoundState, Reading};
use loopscope_stacks::Sample;
use loopscope_stacks::thread::{Activity, ThreadState, cpu_ns};
use std::fs::{self, File};

/// How a thread was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Asleep, running or ready to; `None` where it is neither, or the kernel does not tell.
    pub state: Option<FoundState>,
    /// Stopped by a signal, a freezer or a debugger.
    pub is_stopped: bool,
    /// What it is asleep in: `read(fd 3 -> pipe:[81])`.
    pub waiting_in: Option<String>,
    /// Who traces it, such as a debugger: `gdb, pid 812`.
    pub tracer: Option<String>,
}

/// A stack that has arrived.
#[derive(Debug)]
pub(crate) struct Shot {
    /// Begin of the busy period that ran at its instant; `None` where the loop was in its poll.
    pub busy_since: Option<Ticks>,
    /// `None` only in tests of the logic.
    pub sample: Option<Box<Sample>>,
}

/// Sees one loop's thread. Nothing of it waits for that thread.
pub(crate) trait ThreadObserver: Send {
    /// Returns the thread's processor and ready time until now; `now_ns` is the moment on the agent's clock.
    fn reading(&mut self, now_ns: u64) -> Option<Reading>;
    /// Looks what the thread is doing.
    fn look(&mut self) -> Found;
    /// Returns what another thread of the process is asleep in; `None` where it is not, or nobody knows.
    fn asleep_in(&mut self, tid: u32) -> Option<String>;
    /// The first step of a capture, see [`capture`](crate::capture).
    ///
    /// # Errors
    /// Says what is in the way.
    fn prepare(&mut self) -> Result<Prepared, NoCapture>;
    /// The second step.
    ///
    /// # Errors
    /// Says what is in the way.
    fn send(&mut self, barrier: Barrier) -> Result<(), NoCapture>;
    /// Returns the stack that was asked for, once it has arrived.
    fn take(&mut self) -> Option<Shot>;
}

/// The real one.
pub(crate) struct ProcThreadObserver {
    schedstat: Option<File>,
    capturer: LoopCapturer,
}

impl ProcThreadObserver {
    /// Of the thread that writes this page.
    pub(crate) fn of(page: LocalPage) -> Self {
        let schedstat = open_sched(page.thread().tid).ok();
        ProcThreadObserver { schedstat, capturer: LoopCapturer::of(page) }
    }
}

impl ThreadObserver for ProcThreadObserver {
    fn reading(&mut self, now_ns: u64) -> Option<Reading> {
        let Sched { run_ns, runqueue_ns } = Sched::read(self.schedstat.as_ref()?)?;
        Some(Reading { at_ns: now_ns, cpu_ns: run_ns, runqueue_ns })
    }

    fn look(&mut self) -> Found {
        let tid = self.capturer.page().thread().tid;
        // The look takes some 100 us, in which a thread that has a processor gets on.
        let before_ns = cpu_ns(tid);
        let seen = ThreadState::look(tid).ok();
        let runs_on = before_ns.zip(cpu_ns(tid)).is_some_and(|(before_ns, after_ns)| after_ns > before_ns);
        let state = seen.as_ref().and_then(|seen| match seen.letter {
            'R' if runs_on => Some(FoundState::OnProcessor),
            'R' => Some(FoundState::Ready),
            'S' | 'D' => Some(FoundState::Asleep),
            _ => None,
        });
        Found {
            state,
            is_stopped: seen.as_ref().is_some_and(|seen| matches!(seen.letter, 'T' | 't')),
            // Between the kernel's two answers the thread may have been woken.
            waiting_in: seen
                .filter(|seen| state == Some(FoundState::Asleep) && seen.activity != Activity::Running)
                .map(|seen| seen.words()),
            tracer: tracer_of(tid),
        }
    }

    fn asleep_in(&mut self, tid: u32) -> Option<String> {
        let state = ThreadState::look(tid).ok()?;
        let is_asleep = matches!(state.letter, 'S' | 'D') && state.activity != Activity::Running;
        is_asleep.then(|| state.words())
    }

    fn prepare(&mut self) -> Result<Prepared, NoCapture> {
        self.capturer.prepare()
    }

    fn send(&mut self, barrier: Barrier) -> Result<(), NoCapture> {
        self.capturer.send(barrier, true)
    }

    fn take(&mut self) -> Option<Shot> {
        let sample = self.capturer.take()?;
        // Stalls are rare.
        self.capturer.rest();
        let busy_since = tags_of(&sample, self.capturer.page()).map(|tags| tags.busy_since);
        Some(Shot { busy_since, sample: Some(Box::new(sample)) })
    }
}

/// Returns who traces a thread of this process: a debugger may have attached to that one alone.
fn tracer_of(tid: u32) -> Option<String> {
    let pid = Status::of_own_thread(tid).ok()?.tracer()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    Some(name.map_or(format!("pid {pid}"), |name| format!("{}, pid {pid}", name.trim_end())))
}

/// Decodes the tags of a sample of this page's loop; `None` where it was in its poll.
fn tags_of(sample: &Sample, page: &LocalPage) -> Option<Tags> {
    let words: &[u64; TAG_WORDS] = sample.tags.first_chunk()?;
    Tags::decode(page.page(), words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::make_barrier;
    use loopscope_probe::Writer;
    use loopscope_probe::raw::registry;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;
    use std::thread::{available_parallelism, scope};

    /// Looks that are enough to fail: ten seconds of them at least.
    const LOOKS_MAX: usize = 100_000;

    /// There are more threads that compute than processors: sooner or later, the loop's is found with one and without.
    #[test]
    fn a_thread_that_computes_is_found_on_a_processor_and_ready_for_one() {
        let is_over = AtomicBool::new(false);
        let spin = || {
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        scope(|scope| {
            let (say, said) = channel();
            scope.spawn(move || {
                let mut writer = Writer::builder("in a crowd").build();
                writer.resume();
                say.send(()).unwrap();
                spin();
            });
            for _ in 0..2 * available_parallelism().map_or(1, usize::from) {
                scope.spawn(spin);
            }
            said.recv().unwrap();
            let is_own = |page: &LocalPage| page.page().loop_name() == "in a crowd";
            let mut sight = ProcThreadObserver::of(registry::pages().into_iter().find(is_own).unwrap());
            let mut missing = vec![FoundState::OnProcessor, FoundState::Ready];
            for _ in 0..LOOKS_MAX {
                let found = sight.look();
                missing.retain(|state| found.state != Some(*state));
                if missing.is_empty() {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(missing.is_empty(), "never found: {missing:?}");
        });
    }

    #[test]
    fn a_thread_that_computes_is_seen_to_and_captured() {
        // The test's own thread: it runs while it looks.
        let mut writer = Writer::builder("seen").build();
        let is_own = |page: &LocalPage| std::ptr::eq(page.page(), writer.page());
        let page = registry::pages().into_iter().find(is_own).unwrap();
        writer.resume();
        let mut sight = ProcThreadObserver::of(page);
        let before = sight.reading(1).unwrap();
        let mut sum = 0u64;
        while sight.reading(2).unwrap().cpu_ns < before.cpu_ns + 2_000_000 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert!(matches!(sight.look().state, Some(FoundState::OnProcessor | FoundState::Ready)), "{sum}");
        loopscope_stacks::prepare();
        // A machine with other work may take the processor away between the two steps.
        let mut sent = Err(NoCapture::NotNow);
        for _ in 0..10_000 {
            assert_eq!(sight.prepare().unwrap(), Prepared::Wanted);
            sent = sight.send(make_barrier(false));
            if !matches!(sent, Err(NoCapture::NotNow)) {
                break;
            }
        }
        let shot = sent.map(|()| sight.take().expect("a signal to oneself arrives at once"));
        assert_eq!(shot.unwrap().busy_since, Some(writer.last()));
        writer.park();
        assert!(matches!(sight.prepare(), Err(NoCapture::Ended)));
        writer.unpark(0);
        sight.prepare().unwrap();
        let barrier = make_barrier(false);
        writer.park();
        assert!(matches!(sight.send(barrier), Err(NoCapture::Ended)), "the loop polls");
        assert!(sight.take().is_none());
    }
}
