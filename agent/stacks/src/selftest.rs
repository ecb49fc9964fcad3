//! The test at start-up: a thread captures itself inside a function that it knows, and the function must be found.
//!
//! What can be in the way differs from machine to machine and from build to build: a filter on system calls, a program
//! built without unwind tables. It is better to say so once, at the start, than to show wrong stacks in an emergency.

use crate::capturer::Capturer;
use crate::error::CaptureError;
use crate::signal;
use crate::target::Target;
use crate::unwinder::Unwinder;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Whether stacks can be captured in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
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

impl Readiness {
    /// Whether captures work, and stacks can be unwound.
    pub fn is_full(&self) -> bool {
        matches!(self, Readiness::Ready { shortcoming: None, .. })
    }

    /// Whether the answer stays.
    fn is_final(&self) -> bool {
        !matches!(self, Readiness::Untested(_))
    }
}

/// What the last test found, and whether one is under way.
struct Known {
    readiness: Option<Readiness>,
    is_testing: bool,
    tested_at: Option<Instant>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known { readiness: None, is_testing: false, tested_at: None });

/// A test that could not be made is made again after this long, when somebody asks.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

fn known() -> MutexGuard<'static, Known> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chooses the signal, installs the handler and tests it. The first call takes some milliseconds, and 2 s where the machine
/// is very busy, and starts a thread that ends; once captures were found to work, or not to, all calls return that.
pub fn prepare() -> Readiness {
    let last = known().readiness.clone();
    last.filter(Readiness::is_final).unwrap_or_else(test)
}

/// Returns what [`prepare`] found, without waiting. Where the test could not be made then, it is made again beside the
/// program, at most every 5 s; where `prepare` was never called, it is made here.
pub fn readiness() -> Readiness {
    let mut known = known();
    let Some(readiness) = known.readiness.clone() else {
        drop(known);
        return test();
    };
    let is_due = known.tested_at.is_none_or(|at| at.elapsed() >= AGAIN_AFTER);
    if !readiness.is_final() && is_due && !known.is_testing {
        known.is_testing = true;
        drop(known);
        let again = std::thread::Builder::new().name("loopscope-test".to_owned()).spawn(test);
        if again.is_err() {
            let mut known = self::known();
            (known.is_testing, known.tested_at) = (false, Some(Instant::now()));
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
            Readiness::Ready { .. } => Self::attach_installed(target),
            Readiness::Untested(why) => Err(CaptureError::Untested(why)),
            Readiness::Unavailable(why) => Err(CaptureError::Unavailable(why)),
        }
    }
}

fn test() -> Readiness {
    /// The handler is installed once, whatever becomes of the test.
    static SIGNAL: OnceLock<Result<i32, String>> = OnceLock::new();
    let found = match SIGNAL.get_or_init(signal::install) {
        Ok(signal) => tested(*signal),
        Err(why) => Readiness::Unavailable(why.clone()),
    };
    let mut known = known();
    // Of two tests at once the one that found an answer counts.
    if known.readiness.as_ref().is_none_or(|before| !before.is_final()) {
        known.readiness = Some(found);
    }
    (known.is_testing, known.tested_at) = (false, Some(Instant::now()));
    known.readiness.clone().unwrap_or_else(|| Readiness::Untested("no test has ended".to_owned()))
}

fn tested(signal: i32) -> Readiness {
    // A thread of its own: the caller may block all signals.
    let scratch = std::thread::Builder::new().name("loopscope-test".to_owned()).spawn(|| {
        signal::unblock_signal();
        known_function(3)
    });
    let outcome = match scratch.map(|scratch| scratch.join()) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => return Readiness::Unavailable("the test of the signal handler panicked".to_owned()),
        Err(error) => return Readiness::Untested(format!("no thread for the test of the handler: {error}")),
    };
    match outcome {
        Ok(shortcoming) => Readiness::Ready { signal, shortcoming },
        Err(CaptureError::System(error)) => Readiness::Unavailable(format!(
            "rt_tgsigqueueinfo failed ({error}): does a filter on system calls (seccomp) forbid it?"
        )),
        Err(error @ CaptureError::HandlerReplaced) => Readiness::Unavailable(error.to_string()),
        Err(error) => Readiness::Untested(format!("the test of signal {signal} failed: {error}")),
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
            "the stack of the start-up test was unwound to {} frames that do not have its function",
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
}
