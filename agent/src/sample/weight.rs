//! What a sample that is taken now stands for: arithmetic on what the looks at one loop found.
//!
//! Looks fall at random moments ([`SampleTimes`](crate::sample::sample_times::SampleTimes)), so the time since the
//! look before, counted on what the loop is in at this one, comes out right in the sum: the first and the last part of
//! a wait that no look sees are made up for by those that a tick counts and that were something else. So nothing is
//! cut off where a busy period began or a wait ended since.

use loopscope_report::profiles::Of;

/// A thread that ran for less than this since it was looked at, in nanoseconds, stood still: it only ran our handler.
pub(crate) const HANDLER_NS: u64 = 100_000;

/// How one look found a loop and its thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LookState {
    /// The moment, on the monotonic clock.
    pub now_ns: u64,
    /// Processor time of the thread since it began.
    pub cpu_ns: u64,
    /// Time in which it was ready and had no processor, as far as that has ended.
    pub runqueue_ns: u64,
    /// Age of the busy period; 0 while the loop is in its poll.
    pub busy_ns: u64,
    /// It is older than the threshold.
    pub is_stalled: bool,
    /// The thread sleeps in the kernel. Nobody has to know where only processor time is sampled.
    pub is_asleep: bool,
}

/// Where a thread was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a processor.
    Running,
    /// Asleep in the kernel.
    Asleep,
    /// Ready to run, without a processor.
    Ready,
}

/// What a sample stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    /// So much time, in nanoseconds; 0 where no sample is due.
    pub ns: u64,
    pub place: Place,
    /// For how long the thread was on CPU since the look before, in nanoseconds.
    pub ran_ns: u64,
}

/// Follows one loop from look to look.
#[derive(Debug)]
pub(crate) struct Weights {
    looked: LookState,
    /// The thread's processor time at the first look, and at the last sample.
    began_cpu_ns: u64,
    sampled_cpu_ns: u64,
    /// Time without a processor in this busy period that no sample stands for yet.
    ready_ns: u64,
}

impl Weights {
    /// Begins with a first look.
    pub(crate) fn new(first: LookState) -> Weights {
        Weights { looked: first, began_cpu_ns: first.cpu_ns, sampled_cpu_ns: first.cpu_ns, ready_ns: 0 }
    }

    /// Takes a look, and returns what a sample `of` this kind that is taken now stands for.
    pub(crate) fn look(&mut self, of: Of, now: LookState) -> Weight {
        let before = std::mem::replace(&mut self.looked, now);
        let passed_ns = now.now_ns.saturating_sub(before.now_ns);
        let ran_ns = now.cpu_ns.saturating_sub(before.cpu_ns);
        let ready_ns = now.runqueue_ns.saturating_sub(before.runqueue_ns);
        if now.busy_ns == 0 {
            self.ready_ns = 0;
            return Weight { ns: 0, place: Place::Running, ran_ns };
        }
        let within_ns = passed_ns.min(now.busy_ns);
        // A wait for a processor is in the account when it has ended: one may be longer than the time between two looks.
        self.ready_ns += ready_ns.min(now.busy_ns.saturating_sub(ran_ns));
        let stood_still = ran_ns < HANDLER_NS.min(within_ns) || ready_ns > within_ns / 2;
        let place = match now.is_asleep {
            true => Place::Asleep,
            false if stood_still => Place::Ready,
            false => Place::Running,
        };
        match of {
            Of::Cpu | Of::Callbacks => {
                let ns = now.cpu_ns.saturating_sub(self.sampled_cpu_ns);
                Weight { ns, place: Place::Running, ran_ns }
            }
            Of::Stalls => Weight { ns: if now.is_stalled { passed_ns } else { 0 }, place, ran_ns },
            Of::Waits if now.is_asleep => Weight { ns: passed_ns, place, ran_ns },
            // That is known exactly once it has ended. A few microseconds at each switch are not worth a signal.
            Of::Waits if self.ready_ns > passed_ns / 4 => {
                Weight { ns: std::mem::take(&mut self.ready_ns), place: Place::Ready, ran_ns }
            }
            Of::Waits => Weight { ns: 0, place, ran_ns },
        }
    }

    /// Returns the thread's processor time at the last look.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.looked.cpu_ns
    }

    /// A sample was counted that was due when the thread's processor time was this.
    pub(crate) fn recorded(&mut self, cpu_ns: u64) {
        self.sampled_cpu_ns = cpu_ns;
    }

    /// Returns the processor time between the first look and the last, and how much of it no sample stands for.
    pub(crate) fn unsampled_cpu_ns(&self) -> (u64, u64) {
        let now_ns = self.looked.cpu_ns;
        (now_ns.saturating_sub(self.began_cpu_ns), now_ns.saturating_sub(self.sampled_cpu_ns))
    }
}

#[cfg(test)]
#[path = "weight_tests.rs"]
mod tests;
