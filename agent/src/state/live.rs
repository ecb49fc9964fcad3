//! The loops of this process as they are seen now, for the live page.

use crate::state::AgentState;
use loopscope_probe::loop_id::Called;
use loopscope_probe::registry::LocalPage;
use loopscope_report::compute::verdict::Cause;
use loopscope_report::live::Seen;

/// A loop, and what is known of it here alone.
pub(crate) struct LoopNow {
    page: LocalPage,
    called: Called,
    episodes: [u64; Cause::COUNT],
}

impl LoopNow {
    /// Copies its page.
    pub(crate) fn seen(&self) -> Seen {
        let clock = self.page.clock();
        let causes = Cause::ALL.into_iter().map(|cause| (cause.name(), self.episodes[cause as usize]));
        Seen::of(self.page.page(), clock, clock.now())
            .called(&self.called)
            .numbered(self.page.number())
            .with_causes(causes)
    }
}

impl AgentState {
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
