//! How the agent's thread waits: for a time, or, while every loop is idle, until the first of them is not.

use crate::eventfd::{self, EventFd, RequestWaker};
use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::raw::registry;
use loopscope_probe::raw::sleep_flag::SleepFlag;
use loopscope_probe::{Clock, Ticks};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Who waits.
pub(crate) trait Waiting {
    /// Tells whether every loop is in its poll.
    fn is_idle(&self) -> bool;
    /// Answers everybody who asks. Returns false where waiting is over, because the agent is to end.
    fn answer(&mut self) -> bool;
    /// Returns when it wants to be woken at the latest, a moment on the monotonic clock, because of what answers found; `None` where
    /// they found nothing.
    fn wants_sooner(&self) -> Option<Ticks>;
}

/// How the agent's thread sleeps and is woken.
#[derive(Debug)]
pub(crate) struct Sleeper {
    loops: EventFd,
    requests: Arc<RequestWaker>,
    clock: Clock,
    sleep_flag: &'static SleepFlag,
    barrier: Barrier,
}

impl Sleeper {
    /// Prepares for sleeping, on the agent's thread.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn new(requests: Arc<RequestWaker>) -> io::Result<Sleeper> {
        // A second agent finds the waker that the first one set, which is the same.
        registry::set_waker(eventfd::wake_agent);
        eventfd::be_punctual();
        let (sleep_flag, barrier) = registry::sleep_flag();
        Ok(Sleeper {
            loops: EventFd::of_process()?,
            requests,
            clock: Clock::monotonic(),
            sleep_flag,
            barrier,
        })
    }

    /// Returns the eventfd that loops write to, for others that have to wake the agent.
    pub(crate) fn loops(&self) -> EventFd {
        self.loops
    }

    /// Waits until `due`, a moment on the monotonic clock, or until a loop goes on that its observer
    /// has seen asleep; other loops do not wake the agent meanwhile. Lets `agent` answer requests, and waits no longer than
    /// what these found allows.
    pub(crate) fn wait_until<W: Waiting>(&self, due: Ticks, agent: &mut W) {
        let earliest = |agent: &W| agent.wants_sooner().map_or(due, |sooner| sooner.min(due));
        while let Some(left) = left(earliest(agent), self.clock.now()) {
            let woken = eventfd::wait(self.loops, &self.requests, left);
            if woken.by_request && !agent.answer() || woken.by_loop {
                return;
            }
        }
    }

    /// Sleeps until a loop becomes busy, or until `due`. Does not sleep if a loop is busy once the flag is raised.
    /// Lets `agent` answer as [`Sleeper::wait_until`] does.
    pub(crate) fn sleep_until<W: Waiting>(&self, due: Ticks, agent: &mut W) {
        self.sleep_flag.about_to_sleep(self.barrier);
        if agent.is_idle() {
            // A wake from before the flag was raised ends this at once, which costs one needless tick.
            self.wait_until(due, agent);
        }
        self.sleep_flag.stay_awake();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.sleep_flag.stay_awake();
    }
}

/// Returns how long it is from `now` to `due`; `None` where that is over.
fn left(due: Ticks, now: Ticks) -> Option<Duration> {
    due.0.checked_sub(now.0).filter(|ns| *ns > 0).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Asked {
        answers: u32,
        sooner: Option<Ticks>,
    }

    impl Waiting for Asked {
        fn is_idle(&self) -> bool {
            true
        }

        fn answer(&mut self) -> bool {
            self.answers += 1;
            self.sooner = Some(Clock::monotonic().now());
            true
        }

        fn wants_sooner(&self) -> Option<Ticks> {
            self.sooner
        }
    }

    /// A request looks at the loops, and finds a stall, say, that wants a look soon.
    #[test]
    fn what_an_answer_found_is_not_left_until_the_next_look_that_was_planned() {
        let requests = Arc::new(RequestWaker::new().unwrap());
        let sleeper = Sleeper::new(requests.clone()).unwrap();
        let clock = Clock::monotonic();
        let due = Ticks(clock.now().0 + 600_000_000_000);
        let wait: [fn(&Sleeper, Ticks, &mut Asked); 2] =
            [Sleeper::wait_until::<Asked>, Sleeper::sleep_until::<Asked>];
        for wait in wait {
            requests.wake();
            let mut asked = Asked { answers: 0, sooner: None };
            // Others of this process may wake it as well.
            while asked.answers == 0 {
                wait(&sleeper, due, &mut asked);
            }
            assert!(clock.now() < due);
        }
    }
}
