//! The loops of this process as they are seen now, for the live page.

use crate::compute::starvation::Cause;
use crate::live::Seen;
use crate::sidecar::State;

impl State {
    /// Copies the pages of all loops, with what is known of them here alone.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let loops = self.loops.iter().map(|watched| {
            let clock = watched.page.clock();
            let episodes = watched.stalls.counts().episodes;
            let causes = Cause::ALL.into_iter().map(|cause| (cause.name(), episodes[cause as usize]));
            Seen::of(watched.page.page(), clock, clock.now())
                .labelled(&watched.label)
                .numbered(watched.page.number())
                .with_causes(causes)
        });
        loops.collect()
    }
}
