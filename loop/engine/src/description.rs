//! What this loop says of itself on its page: its words, its own frames, and what helps against what keeps it busy.

use loopscope_probe::Queue;
use loopscope_probe::description::{Description, FramePart, Owner, Trouble};

/// Returns the description. Its phases, and what it calls most things, are those of a page that says nothing; and it
/// fills all numbers, so it does not say which.
pub(crate) fn description() -> Description {
    remedies(Description::new())
        .queue(Queue::NextTick, "nexttick", "nextTick job", "nextTick jobs")
        .queue(Queue::Microtask, "microtask", "microtask", "microtasks")
        .frames(Owner::Runtime, FramePart::Function, "loopscope_loop::")
        .frames(Owner::Runtime, FramePart::File, "loop/engine/src/")
        .frames(Owner::Runtime, FramePart::File, "/loopscope-loop-")
        .frames(Owner::Runtime, FramePart::File, "loopscope-loop/src/")
        .frames(Owner::Runtime, FramePart::Function, "mio::")
        .frames(Owner::Runtime, FramePart::File, "/mio-0.")
        .frames(Owner::Runtime, FramePart::File, "/mio-1.")
        .frames(Owner::Runtime, FramePart::Function, "polling::")
        .frames(Owner::Runtime, FramePart::File, "/polling-2.")
        .frames(Owner::Runtime, FramePart::File, "/polling-3.")
}

fn remedies(description: Description) -> Description {
    description
        .remedy(Trouble::Computing, "the thread pool (`cx.work`)")
        .remedy(Trouble::Waiting, "the thread pool (`cx.work`)")
        .remedy(
            Trouble::MicrotaskFlood,
            "no I/O is served until this queue is empty: queue the next step as an immediate, so that the loop \
             polls in between, and bound the chain",
        )
        .remedy(
            Trouble::NextTickFlood,
            "no I/O and no promise is served until this queue is empty: queue the next step as an immediate, so that the \
             loop polls in between",
        )
        .remedy(
            Trouble::ImmediateFlood,
            "all immediates of an iteration run before the next poll: queue fewer at once, and the next batch from \
             the last one",
        )
        .remedy(
            Trouble::ManyCallbacks,
            "each is short, but there are too many: process fewer per iteration (batches, back-pressure, timers \
             spread over time), or spread the work over more loops",
        )
        .remedy(Trouble::PoolSize, "`pool_threads({threads})` or UV_THREADPOOL_SIZE={threads}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::description::DESCRIPTION_BYTES;

    #[test]
    fn a_page_has_room_for_it() {
        let text = description().to_string();
        assert!(text.len() <= DESCRIPTION_BYTES / 2, "{} bytes", text.len());
        assert_eq!(text.parse(), Ok(description()));
    }
}
