//! Immediates: what runs in the check phase, right after the poll.
//!
//! The phase runs those that are queued when it begins; what they queue waits for the next iteration. A referenced
//! immediate keeps the loop alive and its poll from waiting; an unreferenced one only rides along.
//!
//! # Source
//! `processImmediate` in `lib/internal/timers.js` of Node v20.

use crate::callback::{Once, Origin};
use crate::core::Core;
use crate::cx::Cx;
use crate::key::Key;
use crate::queues::hooks::Hook;
use crate::queues::immediates::WaitingImmediate;
use loopscope_probe::{HandleType, Kind, Phase, TaskTimes, Ticks};

impl<S: 'static> Core<S> {
    /// Tells the probe how many immediates there are and were queued: once an iteration, instead of twice for each.
    pub(crate) fn publish_immediates(&mut self) {
        if let Some(probe) = &mut self.probe
            && self.immediates.has_news()
        {
            probe.handles(HandleType::Immediate, self.immediates.open_change());
            probe.submitted_many(Kind::Immediate, self.immediates.queued_count());
        }
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Queues a callback for the check phase of this iteration, or of the next one when called from that phase.
    /// Node's `setImmediate`.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.immediate(|cx| {
    ///         cx.state.push("one");
    ///         cx.immediate(|cx| cx.state.push("in the next iteration"));
    ///     });
    ///     cx.immediate(|cx| cx.state.push("two"));
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), ["one", "two", "in the next iteration"]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn immediate(&mut self, run: impl FnOnce(&mut Cx<'_, S>) + 'static) -> Key {
        self.immediate_at(Origin::of(&run), Box::new(run))
    }

    #[inline(always)]
    fn immediate_at(&mut self, origin: Origin, run: Once<S>) -> Key {
        let site = self.core.site(origin, Kind::Immediate);
        let immediates = &mut self.core.immediates;
        let key = Key::of_immediate(immediates.front + immediates.queue.len() as u64);
        immediates.queue.push_back(WaitingImmediate {
            run: Some(run),
            site,
            ready: Ticks::NONE,
            is_ref: true,
        });
        immediates.unstamped += 1;
        immediates.referenced += 1;
        immediates.open += 1;
        key
    }

    /// Runs the check phase: hooks, and then immediates. It is entered once, by whichever come first.
    #[inline]
    pub(crate) fn run_check(&mut self) {
        let has_hooks = self.run_hooks(Hook::Check);
        if !self.core.immediates.queue.is_empty() {
            match has_hooks {
                true => self.run_queued_immediates::<true>(),
                false => self.run_queued_immediates::<false>(),
            }
        }
    }

    #[inline(never)]
    fn run_queued_immediates<const HAS_ENTERED: bool>(&mut self) {
        let mut left = self.core.immediates.queue.len();
        if !HAS_ENTERED {
            self.core.enter_phase(Phase::CHECK);
        }
        while left > 0 && self.goes_on() {
            left -= 1;
            let immediates = &mut self.core.immediates;
            let Some(WaitingImmediate { run, site, ready, is_ref }) = immediates.queue.pop_front() else {
                break;
            };
            immediates.front += 1;
            let Some(run) = run else { continue };
            immediates.referenced -= usize::from(is_ref);
            immediates.open -= 1;
            self.enter(Kind::Immediate, site, TaskTimes::ready_at(ready), run);
            self.drain();
        }
    }
}
