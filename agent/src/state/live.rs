//! The loops of this process as they are seen now, for the live page.

use crate::state::AgentState;
use loopscope_probe::Ticks;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::loop_id::Called;
use loopscope_probe::raw::registry::LocalPage;
use loopscope_report::compute::verdict::Cause;
use loopscope_report::live::{LOOPS_MAX, LoopSample, PastView};

/// A loop, and what is known of it here alone.
pub(crate) struct LoopNow {
    page: LocalPage,
    called: Called,
    episodes: [u64; Cause::COUNT],
}

impl LoopNow {
    /// Copies its page.
    pub(crate) fn seen(&self) -> LoopSample {
        let clock = self.page.clock();
        let causes = Cause::ALL.into_iter().map(|cause| (cause.name(), self.episodes[cause as usize]));
        LoopSample::of(self.page.page(), clock, clock.now())
            .called(&self.called)
            .numbered(self.page.number())
            .with_causes(causes)
    }
}

impl AgentState {
    /// Takes a sample of the loops for who opens the live page later, where it is time and there is such a page.
    pub(super) fn record_recent(&mut self, now: Ticks, unix_ns: u64) {
        if self.addresses.0.is_some() && self.recent.is_due(now.0) {
            let seen = self.first_seen();
            self.recent.record(seen, now.0, unix_ns);
        }
    }

    /// Returns the samples of the last two minutes, until now.
    pub(crate) fn recent(&self) -> Vec<PastView> {
        self.recent.views_until(self.first_seen(), unix_ns())
    }

    /// Copies the loops that are recorded.
    fn first_seen(&self) -> Vec<LoopSample> {
        self.loops_now().iter().take(LOOPS_MAX).map(LoopNow::seen).collect()
    }

    /// Returns the loops, to be copied by whoever shows them.
    pub(crate) fn loops_now(&self) -> Vec<LoopNow> {
        let of = |watched: &super::Watched| LoopNow {
            page: watched.page.clone(),
            called: watched.watch.called.clone(),
            episodes: watched.watch.stalls.counts().episodes,
        };
        self.loops.iter().map(of).collect()
    }
}
