//! The test at start-up: a thread captures itself inside a function that it knows, and the function must be found.
//!
//! What can be in the way differs from machine to machine and from build to build: a filter on system calls, a program
//! built without unwind tables. It is better to say so once, at the start, than to show wrong stacks in an emergency.

use crate::capturer::Capturer;
use crate::error::CaptureError;
use crate::signal;
use crate::target::Target;
use crate::unwind::Unwinder;
use std::sync::OnceLock;
use std::time::Duration;

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
    /// They do not, for this reason.
    Unavailable(String),
}

impl Readiness {
    /// Whether captures work, and stacks can be unwound.
    pub fn is_full(&self) -> bool {
        matches!(self, Readiness::Ready { shortcoming: None, .. })
    }
}

/// Chooses the signal, installs the handler and tests it. The first call takes some milliseconds and starts a thread that
/// ends; later calls return the same answer.
pub fn prepare() -> &'static Readiness {
    static READINESS: OnceLock<Readiness> = OnceLock::new();
    READINESS.get_or_init(|| match signal::install() {
        Ok(signal) => tested(signal),
        Err(why) => Readiness::Unavailable(why),
    })
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
        Err(error) => {
            return Readiness::Unavailable(format!("no thread for the test of the handler: {error}"));
        }
    };
    match outcome {
        Ok(shortcoming) => Readiness::Ready { signal, shortcoming },
        Err(CaptureError::System(error)) => Readiness::Unavailable(format!(
            "rt_tgsigqueueinfo failed ({error}): does a filter on system calls (seccomp) forbid it?"
        )),
        Err(error) => Readiness::Unavailable(format!("the test of signal {signal} failed: {error}")),
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
        assert!(std::ptr::eq(prepare(), prepare()));
    }
}
