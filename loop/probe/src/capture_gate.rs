//! The gate: keeps the signal of a capture out of the loop's poll.
//!
//! An agent copies the stack of a loop's thread by a signal, and a signal makes `epoll_wait` and its kind return `EINTR`,
//! whatever `SA_RESTART` says. So none may reach a loop that polls. Reading "busy" on the page and sending then is a race;
//! the gate closes it. It is a word in the process's own memory, never on the page, where another process could hold up
//! the loop.
//!
//! ```text
//!   agent      idle -> wanted     a barrier for all gates; then: busy, and its thread running?
//!              wanted -> sent     and the signal is queued; sent -> idle where that failed
//!   handler    sent -> idle       when it has copied all
//!   loop       wanted -> idle     before it polls: not now
//!              sent -> abandoned  the handler has not run within some 20 us: the loop blocks the signal for this poll
//!   handler    abandoned -> idle  in a later `unpark`, which lets the signal through
//! ```
//!
//! The loop says "parked" and then reads the gate; the agent says "wanted" and then reads the page. With a full barrier
//! between the two on both sides at least one sees the other: either the agent sees the loop parked and sends nothing, or
//! the loop sees the request and withdraws it, or waits for the signal that is on its way. Where the kernel has
//! `membarrier`, the agent's acts for both, and the loop pays one load (see [`barrier`](crate::barrier)). Where it has
//! none, the agent asks each loop to make fences, and sends nothing until the loop has said that it does.
//!
//! No wait in here is unbounded: the agent may be preempted between "sent" and the system call that queues the signal.

use crate::sync::{AtomicU32, Ordering, fence};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const STATE: u32 = 0b11;
const IDLE: u32 = 0;
const WANTED: u32 = 1;
const SENT: u32 = 2;
const ABANDONED: u32 = 3;

/// The agent asks the loop to make a fence before it reads the gate.
const FENCE_ASKED: u32 = 1 << 2;
/// The loop does.
const FENCED: u32 = 1 << 3;
/// The loop has ended.
const CLOSED: u32 = 1 << 4;

/// In place of a size: the thread has no alternate signal stack.
const NO_STACK: usize = usize::MAX;

/// One loop's gate. The loop's thread, its agents and the signal's handler share it.
#[derive(Debug)]
pub struct CaptureGate {
    /// State and flags. Zero, for the loop's one load, where nothing is asked and no fence needed. Every change is a
    /// compare-exchange or an and. The agent's and the loop's changes are ordered against "parked" on the page by the
    /// barriers that the module describes.
    word: AtomicU32,
    /// 1 while one agent asks: there may be two, the watch and a sampler. Taken by a swap, given back by a store, acquire
    /// and release.
    asking: AtomicU32,
    /// The number of the signal. Written before "sent", and read by the loop after it saw that.
    signal: AtomicU32,
    /// The size of the thread's alternate signal stack in bytes, as the thread saw it last; [`NO_STACK`] where it had none.
    /// Written by the loop's thread, read by agents, relaxed: nothing else hangs on it.
    alternate_stack: AtomicUsize,
    /// The process that made the gate: in a forked child no handler will run.
    pid: u32,
}

impl CaptureGate {
    /// Makes a gate. `has_fence` where the process has no barrier that acts on all threads: then the loop makes fences
    /// from the start.
    pub fn new(has_fence: bool) -> CaptureGate {
        let word = if has_fence { FENCE_ASKED | FENCED } else { 0 };
        let [word, asking, signal] = [word, 0, 0].map(AtomicU32::new);
        let alternate_stack = AtomicUsize::new(NO_STACK);
        CaptureGate { word, asking, signal, alternate_stack, pid: std::process::id() }
    }

    /// The loop's side: says how large the thread's alternate signal stack is, `None` where it has none.
    pub fn set_alternate_stack(&self, bytes: Option<usize>) {
        self.alternate_stack.store(bytes.unwrap_or(NO_STACK), Relaxed);
    }

    /// Returns how large the thread's alternate signal stack was when the thread looked last, in bytes; `None` where it had
    /// none. The kernel shows it to the thread itself alone (`sigaltstack`; neither `/proc` nor ptrace has it).
    pub fn alternate_stack_bytes(&self) -> Option<usize> {
        Some(self.alternate_stack.load(Relaxed)).filter(|bytes| *bytes != NO_STACK)
    }

    /// The loop's side, after the store that says "parked": withdraws what an agent wants, and lets a signal that is on
    /// its way arrive for as long as `may_wait` returns true. Returns the signal that must be blocked while the loop
    /// polls; `None`, nearly always, where there is none.
    #[inline(always)]
    pub fn before_poll(&self, may_wait: impl FnMut() -> bool) -> Option<i32> {
        if self.is_idle() { None } else { self.settle(0, may_wait) }
    }

    /// The loop's side, after the store that says "parked": whether [`before_poll`](Self::before_poll) has nothing to do.
    /// One load.
    #[inline(always)]
    pub fn is_idle(&self) -> bool {
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
        self.word.load(Ordering::Relaxed) == IDLE
    }

    /// [`before_poll`](Self::before_poll) for the last time: nothing is asked of this loop from now on.
    pub fn close(&self, may_wait: impl FnMut() -> bool) -> Option<i32> {
        self.settle(CLOSED, may_wait)
    }

    #[cold]
    fn settle(&self, flags: u32, mut may_wait: impl FnMut() -> bool) -> Option<i32> {
        fence(Ordering::SeqCst);
        loop {
            let word = self.word.load(Ordering::Acquire);
            let mut wanted = word | flags;
            if word & FENCE_ASKED != 0 {
                wanted |= FENCED;
            }
            match word & STATE {
                IDLE => {}
                WANTED => wanted &= !STATE,
                _ if self.is_forked() => wanted &= !STATE,
                SENT if may_wait() => continue,
                // One that ends unblocks it for this.
                ABANDONED if flags & CLOSED != 0 && may_wait() => continue,
                _ => wanted |= ABANDONED,
            }
            let has_changed =
                || self.word.compare_exchange(word, wanted, Ordering::AcqRel, Ordering::Relaxed).is_ok();
            if word == wanted || has_changed() {
                let is_abandoned = wanted & STATE == ABANDONED;
                return is_abandoned.then(|| self.signal.load(Ordering::Relaxed) as i32);
            }
        }
    }

    fn is_forked(&self) -> bool {
        self.pid != std::process::id()
    }

    /// The agent's side: says that a capture is wanted. The barrier, [`barrier::all_threads`](crate::barrier::all_threads),
    /// must follow before the page is read.
    ///
    /// # Errors
    /// Says what is in the way.
    pub fn want(self: &Arc<Self>) -> Result<Wanted, GateError> {
        if self.asking.swap(1, Ordering::Acquire) != 0 {
            return Err(GateError::Busy);
        }
        // From here on `Wanted` gives the place back.
        let wanted = Wanted { gate: self.clone() };
        let word = self.word.load(Ordering::Acquire);
        if word & CLOSED != 0 {
            return Err(GateError::Closed);
        }
        if word & STATE != IDLE {
            return Err(GateError::Busy);
        }
        if word & (FENCE_ASKED | FENCED) == FENCE_ASKED {
            return Err(GateError::NotFenced);
        }
        // It fails where the loop changed a flag in between.
        let swapped = self.word.compare_exchange(word, word | WANTED, Ordering::AcqRel, Ordering::Relaxed);
        swapped.map(|_| wanted).map_err(|_| GateError::Busy)
    }

    /// The agent's side, where the process has no barrier that acts on all threads: asks the loop to make fences. Until
    /// it has, which it says the next time that it polls, [`want`](Self::want) fails.
    pub fn ask_for_fences(&self) {
        self.word.fetch_or(FENCE_ASKED, Ordering::AcqRel);
    }

    /// Whether the loop makes fences.
    pub fn is_fenced(&self) -> bool {
        self.word.load(Ordering::Acquire) & FENCED != 0
    }

    /// Returns the word that the handler changes when it has copied all, by an `and` with [`HANDLED`](Self::HANDLED).
    #[cfg(not(loom))]
    pub fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// What the handler leaves of the word: all but the state.
    pub const HANDLED: u32 = !STATE;

    /// What the handler does when it has copied all.
    pub fn handled(&self) {
        self.word.fetch_and(Self::HANDLED, Ordering::AcqRel);
    }

    /// Turns a state that only this agent can have left behind into idle; nothing where it is another by now.
    fn withdraw(&self, states: &[u32]) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            if !states.contains(&(word & STATE)) {
                return;
            }
            let idle = word & !STATE;
            if self.word.compare_exchange(word, idle, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}

/// Why no capture can be wanted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateError {
    /// Another capture of this loop is under way.
    Busy,
    /// The loop has ended.
    Closed,
    /// The loop does not make the fences yet that it needs where the kernel has no `membarrier`.
    NotFenced,
}

impl fmt::Display for GateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GateError::Busy => "another capture of this loop is in progress",
            GateError::Closed => "the loop has ended",
            GateError::NotFenced => {
                "the loop does not yet make the memory fences that captures need on this kernel"
            }
        })
    }
}

impl std::error::Error for GateError {}

/// A capture that is wanted and not sent. Withdrawn when dropped.
#[derive(Debug)]
pub struct Wanted {
    gate: Arc<CaptureGate>,
}

impl Wanted {
    /// Takes the right to queue `signal` at the loop's thread, once the page, read after the barrier, says that the loop is
    /// busy. `None` where the loop has begun to poll.
    pub fn try_send(self, signal: i32) -> Option<Sent> {
        let gate = self.gate.clone();
        gate.signal.store(signal as u32, Ordering::Relaxed);
        let word = gate.word.load(Ordering::Acquire);
        let sent = word & !STATE | SENT;
        let is_sent = word & STATE == WANTED
            && gate.word.compare_exchange(word, sent, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        is_sent.then_some(Sent { gate })
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        // After `try_send` the state is another, and stays.
        self.gate.withdraw(&[WANTED]);
        self.gate.asking.store(0, Ordering::Release);
    }
}

/// A signal that is on its way. Dropping it changes nothing: until the handler has run, nothing else can be wanted.
#[derive(Debug)]
pub struct Sent {
    gate: Arc<CaptureGate>,
}

impl Sent {
    /// The signal was not queued, or is known to be lost: no handler will run.
    pub fn failed(self) {
        self.gate.withdraw(&[SENT, ABANDONED]);
    }

    /// Whether the handler has run.
    pub fn is_handled(&self) -> bool {
        self.gate.word.load(Ordering::Acquire) & STATE == IDLE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn gate() -> Arc<CaptureGate> {
        Arc::new(CaptureGate::new(false))
    }

    #[test]
    fn a_loop_that_polls_withdraws_what_is_wanted() {
        let gate = gate();
        let wanted = gate.want().unwrap();
        assert_eq!(gate.before_poll(|| panic!("nothing to wait for")), None);
        assert!(wanted.try_send(40).is_none());
        assert!(gate.want().is_ok(), "the place was given back");
    }

    #[test]
    fn a_loop_that_polls_waits_for_a_signal_on_its_way() {
        let gate = gate();
        let sent = gate.want().unwrap().try_send(40).unwrap();
        assert_eq!(gate.want().unwrap_err(), GateError::Busy);
        let mut waits = 0;
        let arrives = || {
            waits += 1;
            if waits == 3 {
                gate.handled();
            }
            true
        };
        assert_eq!(gate.before_poll(arrives), None);
        assert!(sent.is_handled() && waits == 3);
        assert_eq!(gate.word.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_signal_that_does_not_arrive_is_blocked_until_it_does() {
        let gate = gate();
        let sent = gate.want().unwrap().try_send(40).unwrap();
        assert_eq!(gate.before_poll(|| false), Some(40));
        assert_eq!(gate.before_poll(|| false), Some(40), "the next poll, too");
        assert_eq!(gate.want().unwrap_err(), GateError::Busy);
        assert!(!sent.is_handled());
        gate.handled();
        assert!(sent.is_handled());
        assert_eq!(gate.before_poll(|| false), None);
        assert!(gate.want().is_ok());
    }

    #[test]
    fn a_signal_that_could_not_be_queued_leaves_nothing_behind() {
        let gate = gate();
        gate.want().unwrap().try_send(40).unwrap().failed();
        assert_eq!(gate.before_poll(|| panic!("nothing to wait for")), None);
        let sent = gate.want().unwrap().try_send(40).unwrap();
        assert_eq!(gate.before_poll(|| false), Some(40));
        sent.failed();
        assert_eq!(gate.before_poll(|| false), None);
    }

    #[test]
    fn two_agents_do_not_want_at_once_and_an_ended_loop_is_not_asked() {
        let gate = gate();
        let first = gate.want().unwrap();
        assert_eq!(gate.want().unwrap_err(), GateError::Busy);
        drop(first);
        drop(gate.want().unwrap());
        let late = gate.want().unwrap();
        assert_eq!(gate.close(|| false), None);
        assert!(late.try_send(40).is_none());
        assert_eq!(gate.want().unwrap_err(), GateError::Closed);
    }

    #[test]
    fn without_membarrier_nothing_is_sent_before_the_loop_makes_fences() {
        let gate = gate();
        gate.ask_for_fences();
        assert_eq!(gate.want().unwrap_err(), GateError::NotFenced);
        assert!(!gate.is_fenced());
        assert_eq!(gate.before_poll(|| false), None);
        assert!(gate.is_fenced());
        let sent = gate.want().unwrap().try_send(40).unwrap();
        gate.handled();
        assert!(sent.is_handled() && gate.is_fenced());
    }
}
