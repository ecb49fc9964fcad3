//! The loop's side of its gate: what a writer does before and after a poll, see [`gate`](crate::capture_gate).

use crate::barrier::Barrier;
use crate::capture_gate::CaptureGate;
use crate::registry;
use crate::sleep_flag::SleepFlag;
use crate::thread::alternate_stack_of_this_thread;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a loop that is about to poll lets a signal arrive that is on its way: a running thread takes one within 5 us.
const ARRIVAL_MAX: Duration = Duration::from_micros(20);

/// How long one that ends does, asleep, so that an agent without a processor may have this one.
const LAST_ARRIVAL_MAX: Duration = Duration::from_millis(5);
const LAST_ARRIVAL_STEP: Duration = Duration::from_micros(50);

/// A writer's share of its gate.
#[derive(Debug)]
pub(crate) struct PollGate {
    gate: Arc<CaptureGate>,
    /// The signal of captures, while this thread blocks it; 0 where it does not.
    blocked_signal: i32,
}

impl PollGate {
    pub(crate) fn new(gate: Arc<CaptureGate>) -> Self {
        PollGate { gate, blocked_signal: 0 }
    }

    /// Tells agents how large the calling thread's alternate signal stack is now, on which a signal of theirs would run: one
    /// that is too small would end the program. One system call.
    pub(crate) fn note_alternate_stack(&self) {
        self.gate.set_alternate_stack(alternate_stack_of_this_thread());
    }

    #[cfg(test)]
    pub(crate) fn gate(&self) -> &CaptureGate {
        &self.gate
    }

    /// After the page says "parked": whether [`before_poll`](Self::before_poll) has nothing to do. Four instructions.
    #[inline(always)]
    pub(crate) fn is_idle(&self) -> bool {
        self.gate.is_idle()
    }

    /// After the page says "parked", and before the poll.
    #[cold]
    pub(crate) fn before_poll(&mut self) {
        if let Some(signal) = self.gate.before_poll(for_at_most(ARRIVAL_MAX)) {
            self.block(signal);
        }
    }

    /// Whether [`after_poll`](Self::after_poll) has something to do.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_signal != 0
    }

    /// After the poll, and before the page says "busy".
    #[cold]
    pub(crate) fn after_poll(&mut self) {
        if self.is_blocked() {
            self.unblock();
        }
    }

    /// Returns the flag that the loop reads when it becomes busy: the agent's own, or, if the loop has to make a fence
    /// first, one that is always raised.
    pub(crate) fn sleep_flag(&self) -> &'static SleepFlag {
        match self.gate.is_fenced() || crate::barrier::of_loop() == Barrier::Fence {
            true => registry::fenced_sleep_flag(),
            false => registry::agent_sleep_flag(),
        }
    }

    /// Before the loop's thread goes on without its page: what it does then is not ours to interrupt.
    ///
    /// A signal that takes longer than some milliseconds, because its agent was preempted between taking the right to send it
    /// and sending it, arrives afterwards, and may end one wait of the program. It is not blocked against that: nobody would
    /// be there to unblock it, and whatever thread or program this thread starts would have it blocked, too.
    pub(crate) fn close(&mut self) {
        // One that is pending is handled here: this is no poll.
        self.after_poll();
        let mut may_wait = for_at_most(LAST_ARRIVAL_MAX);
        self.gate.close(|| {
            std::thread::sleep(LAST_ARRIVAL_STEP);
            may_wait()
        });
    }

    #[cold]
    fn block(&mut self, signal: i32) {
        // One that the program blocks itself stays blocked.
        if block(signal) {
            self.blocked_signal = signal;
        }
    }

    /// A signal that is pending is handled in here.
    #[cold]
    fn unblock(&mut self) {
        unblock(std::mem::take(&mut self.blocked_signal));
    }
}

/// Returns what is true for so long from its first call on, and then false.
fn for_at_most(limit: Duration) -> impl FnMut() -> bool {
    let mut begin = None;
    move || {
        std::hint::spin_loop();
        begin.get_or_insert_with(Instant::now).elapsed() < limit
    }
}

/// Blocks a signal on the calling thread. Returns whether it was not blocked before.
#[cfg(unix)]
fn block(signal: i32) -> bool {
    mask(libc::SIG_BLOCK, signal).is_some_and(|before| {
        // SAFETY: the call that returned the set initialized it.
        unsafe { libc::sigismember(&before, signal) == 0 }
    })
}

/// Lets a signal through to the calling thread again.
#[cfg(unix)]
fn unblock(signal: i32) {
    mask(libc::SIG_UNBLOCK, signal);
}

/// Changes the calling thread's mask by one signal, and returns the mask before; `None` for no signal's number.
#[cfg(unix)]
fn mask(how: libc::c_int, signal: i32) -> Option<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is room for what the call initializes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialized above; a number that is no signal's makes the call fail.
    if unsafe { libc::sigaddset(set.as_mut_ptr(), signal) } != 0 {
        return None;
    }
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialized, `before` is room for the result, and only the calling thread's mask changes.
    let failed = unsafe { libc::pthread_sigmask(how, set.as_ptr(), before.as_mut_ptr()) };
    // SAFETY: a call that succeeded has filled it.
    (failed == 0).then(|| unsafe { before.assume_init() })
}

/// There are no captures here.
#[cfg(not(unix))]
fn block(_signal: i32) -> bool {
    false
}

/// There are no captures here.
#[cfg(not(unix))]
fn unblock(_signal: i32) {}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_blocked_once_and_let_through_again() {
        assert!(block(libc::SIGURG));
        assert!(!block(libc::SIGURG), "it is blocked already");
        unblock(libc::SIGURG);
        assert!(block(libc::SIGURG));
        unblock(libc::SIGURG);
        assert!(!block(0) && !block(9999), "no signal has this number");
    }

    #[test]
    fn a_writer_that_ends_leaves_no_signal_blocked() {
        let gate = Arc::new(CaptureGate::new(false));
        let mut own = PollGate::new(gate.clone());
        let is_blocked = || {
            let was_blocked = !block(libc::SIGURG);
            if !was_blocked {
                unblock(libc::SIGURG);
            }
            was_blocked
        };
        let sent = gate.want().unwrap().try_send(libc::SIGURG).unwrap();
        own.before_poll();
        assert!(is_blocked() && own.blocked_signal == libc::SIGURG, "it did not arrive");
        // The handler runs as soon as the signal is let through.
        gate.handled();
        own.close();
        assert!(!is_blocked());
        assert!(gate.want().is_err(), "nothing is asked of a loop that has ended");
        drop(sent);
    }

    #[test]
    fn a_signal_that_arrives_after_the_end_is_not_blocked_until_then() {
        // A thread of its own: a mask that is left would be another test's.
        let end = || {
            let gate = Arc::new(CaptureGate::new(false));
            let mut own = PollGate::new(gate.clone());
            let sent = gate.want().unwrap().try_send(libc::SIGURG).unwrap();
            own.close();
            let was_free = block(libc::SIGURG);
            (was_free, gate, sent)
        };
        let (was_free, gate, sent) = std::thread::spawn(end).join().unwrap();
        assert!(was_free, "the signal is let through");
        assert!(!sent.is_handled() && gate.want().is_err());
        // It arrives late, and nothing is left of it.
        gate.handled();
        assert!(sent.is_handled());
    }
}
