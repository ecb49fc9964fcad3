//! The test at start-up: a thread captures itself inside a function that it knows, and the function must be found.
//!
//! What can be in the way differs from machine to machine and from build to build: a filter on system calls, a program
//! built without unwind tables. It is better to say so once, at the start, than to show wrong stacks in an emergency.

use crate::capturer::Capturer;
use crate::error::CaptureError;
use crate::per_process::PerProcess;
use crate::signal;
use crate::target::Target;
use crate::unwinder::Unwinder;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Whether stacks can be captured in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureSupport {
    /// Captures work.
    Ready {
        /// The signal that is used.
        signal: i32,
        /// What is less than full, in words for a log: the test's own stack could not be unwound. `None` where it could.
        shortcoming: Option<String>,
    },
    /// The test could not be made, for this reason, which may pass: it is made again.
    Untested(String),
    /// They do not, for this reason, which stays.
    Unavailable(String),
}

impl CaptureSupport {
    /// Whether captures work, and stacks can be unwound.
    pub fn is_full(&self) -> bool {
        matches!(self, CaptureSupport::Ready { shortcoming: None, .. })
    }

    /// How much is known to work.
    fn rank(&self) -> u32 {
        match self {
            CaptureSupport::Untested(_) => 0,
            CaptureSupport::Unavailable(_) => 1,
            CaptureSupport::Ready { shortcoming: Some(_), .. } => 2,
            CaptureSupport::Ready { shortcoming: None, .. } => 3,
        }
    }
}

/// What the tests found, and whether one is under way.
#[derive(Debug)]
struct Known {
    readiness: Option<CaptureSupport>,
    /// Tests that have ended.
    tests: u32,
    is_testing: bool,
    tested_at: Option<Instant>,
}

/// What a process knows; a forked child has threads of its own, and tests anew.
#[derive(Debug)]
struct Tests {
    /// The handler is installed once, whatever becomes of the test.
    signal: OnceLock<Result<i32, String>>,
    known: Mutex<Known>,
}

static TESTS: PerProcess<Tests> =
    PerProcess::new(|| Tests { signal: OnceLock::new(), known: Mutex::new(Known::NOTHING) });

/// A test that could not be made, or found a shortcoming, is made again after this long, when somebody asks.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// After so many tests a shortcoming is believed: a program without descriptors or memory at one moment, or that loads a
/// library, has one that passes.
const SHORTCOMING_TESTS: u32 = 3;

impl Known {
    const NOTHING: Known = Known { readiness: None, tests: 0, is_testing: false, tested_at: None };

    /// Returns what was found, where that stays.
    fn settled(&self) -> Option<&CaptureSupport> {
        self.readiness.as_ref().filter(|readiness| match readiness {
            CaptureSupport::Untested(_) => false,
            CaptureSupport::Ready { shortcoming: Some(_), .. } => self.tests >= SHORTCOMING_TESTS,
            CaptureSupport::Unavailable(_) | CaptureSupport::Ready { shortcoming: None, .. } => true,
        })
    }

    /// Whether another test is to be made now; the caller then makes it.
    fn begins_test(&mut self, now: Instant) -> bool {
        let is_due = self.tested_at.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN_AFTER);
        let begins = self.settled().is_none() && is_due && !self.is_testing;
        self.is_testing |= begins;
        begins
    }

    /// Takes what a test has found; `None` where there was no thread for it.
    fn end_test(&mut self, found: Option<CaptureSupport>, now: Instant) {
        (self.is_testing, self.tested_at) = (false, Some(now));
        let Some(found) = found else { return };
        self.tests += 1;
        // Of several tests the one that found most counts: what worked once works, and a later bad moment changes nothing.
        if self.settled().is_none()
            && self.readiness.as_ref().is_none_or(|before| before.rank() <= found.rank())
        {
            self.readiness = Some(found);
        }
    }
}

fn known() -> MutexGuard<'static, Known> {
    TESTS.get().known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chooses the signal, installs the handler and tests it. The first call takes some milliseconds, and 2 s where the machine
/// is very busy, and starts a thread that ends; once captures were found to work, or not to, all calls return that. In a
/// forked child the first call does so again.
pub fn prepare() -> CaptureSupport {
    let settled = known().settled().cloned();
    settled.unwrap_or_else(test)
}

/// Returns what [`prepare`] found, without waiting. Where the test could not be made then, it is made again beside
/// the program, at most every 5 s, and where it found a shortcoming twice more; where `prepare` was never called, it
/// is made here.
pub fn readiness() -> CaptureSupport {
    let mut known = known();
    let Some(readiness) = known.readiness.clone() else {
        drop(known);
        return test();
    };
    if known.begins_test(Instant::now()) {
        drop(known);
        let again = std::thread::Builder::new().name("loopscope-test".to_owned()).spawn(test);
        if again.is_err() {
            self::known().end_test(None, Instant::now());
        }
    }
    readiness
}

impl Capturer {
    /// Reserves a slot for captures of a thread, after [`prepare`](crate::prepare).
    ///
    /// # Errors
    /// `Unavailable`, `Untested`, `NoSlot`, `ThreadGone`; `System` with kind `InvalidInput` when there are more than
    /// [`TAG_WORDS`](crate::TAG_WORDS) tags.
    pub fn attach(target: Target) -> Result<Capturer, CaptureError> {
        match readiness() {
            CaptureSupport::Ready { .. } => Self::attach_installed(target),
            CaptureSupport::Untested(why) => Err(CaptureError::Untested(why)),
            CaptureSupport::Unavailable(why) => Err(CaptureError::Unavailable(why)),
        }
    }
}

fn test() -> CaptureSupport {
    let found = match TESTS.get().signal.get_or_init(signal::install) {
        Ok(signal) => tested(*signal),
        Err(why) => CaptureSupport::Unavailable(why.clone()),
    };
    let mut known = known();
    known.end_test(Some(found), Instant::now());
    known
        .readiness
        .clone()
        .unwrap_or_else(|| CaptureSupport::Untested("no self-test has finished".to_owned()))
}

fn tested(signal: i32) -> CaptureSupport {
    // A thread of its own: the caller may block all signals.
    let scratch = std::thread::Builder::new().name("loopscope-test".to_owned()).spawn(|| {
        signal::unblock_signal();
        known_function(3)
    });
    let outcome = match scratch.map(|scratch| scratch.join()) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            return CaptureSupport::Unavailable("the self-test of the signal handler panicked".to_owned());
        }
        Err(error) => {
            return CaptureSupport::Untested(format!("cannot start the thread for the self-test: {error}"));
        }
    };
    match outcome {
        Ok(shortcoming) => CaptureSupport::Ready { signal, shortcoming },
        // What a filter on system calls answers, which stays for the life of the process.
        Err(CaptureError::System(error))
            if matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) =>
        {
            CaptureSupport::Unavailable(format!(
                "rt_tgsigqueueinfo failed ({error}): it may be blocked by seccomp"
            ))
        }
        Err(error @ CaptureError::HandlerReplaced) => CaptureSupport::Unavailable(error.to_string()),
        Err(error) => CaptureSupport::Untested(format!("the self-test of signal {signal} failed: {error}")),
    }
}

/// Captures its own thread below `depth` calls of itself, and returns what is wrong with the stack that was found.
#[inline(never)]
fn known_function(depth: u32) -> Result<Option<String>, CaptureError> {
    if depth > 0 {
        // Not a tail call: the frame must stay.
        return std::hint::black_box(known_function(depth - 1));
    }
    /// A thread's signal to itself arrives before the sending call returns; the rest is a margin for a stopped process.
    const WITHIN: Duration = Duration::from_secs(2);
    let sample = Capturer::attach_installed(Target::this_thread())?.capture(WITHIN)?;
    let mut unwinder = Unwinder::new();
    let stack = unwinder.unwind(&sample);
    let known = (known_function as fn(u32) -> _ as *const ()).addr() as u64;
    let module = unwinder.modules().iter().find(|module| module.range.contains(&known));
    let Some(begin) = module.and_then(|module| module.function_begin(known)) else {
        return Ok(Some(
            "this program has no unwind tables, so stacks end after a frame or two: build it without \
             `-C force-unwind-tables=no` and keep `.eh_frame`"
                .to_owned(),
        ));
    };
    let is_known = |address: &&u64| {
        let module = unwinder.modules().iter().find(|module| module.range.contains(*address));
        module.and_then(|module| module.function_begin(**address - 1)) == Some(begin)
    };
    let found = stack.addresses.iter().skip(1).filter(is_known).count();
    // Deeper calls may have been turned into a loop by the compiler; one is always there.
    Ok((found == 0).then(|| {
        format!(
            "the self-test unwound {} frames, without the function it was called from",
            stack.addresses.len()
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_work_here_and_the_answer_stays() {
        assert!(prepare().is_full(), "{:?}", prepare());
        assert_eq!(prepare(), readiness());
    }

    #[test]
    fn what_a_bad_moment_was_to_blame_for_is_tested_again_and_what_stays_is_not() {
        let ready = |shortcoming: Option<&str>| CaptureSupport::Ready {
            signal: 23,
            shortcoming: shortcoming.map(str::to_owned),
        };
        let untested = CaptureSupport::Untested("no thread".to_owned());
        let (begin, mut known) = (Instant::now(), Known::NOTHING);
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        known.end_test(Some(untested.clone()), at(0));
        assert!(known.settled().is_none() && !known.begins_test(at(4)), "too soon");
        assert!(known.begins_test(at(5)) && !known.begins_test(at(6)), "one at a time");
        known.end_test(None, at(7));
        assert!(!known.begins_test(at(11)) && known.begins_test(at(12)), "there was no thread for it");
        known.end_test(Some(ready(Some("cut"))), at(12));
        assert!(known.settled().is_none() && known.begins_test(at(17)), "a shortcoming may pass");
        known.end_test(Some(untested), at(17));
        assert_eq!(known.readiness, Some(ready(Some("cut"))), "what works is not forgotten");
        assert_eq!(known.settled(), Some(&ready(Some("cut"))), "or it stays");
        assert!(!known.begins_test(at(1_000)));
        let mut known = Known::NOTHING;
        known.end_test(Some(ready(Some("cut"))), at(0));
        known.end_test(Some(ready(None)), at(5));
        assert_eq!(known.settled(), Some(&ready(None)));
    }
}
