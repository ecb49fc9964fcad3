//! Time-outs of streams on which nothing moves.
//!
//! A server has one for every connection, and every read and write puts it off; so putting off must cost nothing. It
//! is one store: the stream remembers when bytes last moved, on the loop's cached clock. The deadline that was computed
//! from an earlier moment stays in the queue; when it comes, the stream is asked, and where it moved since, its
//! deadline is computed anew. No timer is touched, no clock is read and no system call is made in between.
//!
//! The queue is a heap with one entry for a stream. Entries of streams that were closed are dropped when they come to
//! the top, or all at once when they are more than half.

use crate::callback::Site;
use crate::clock::MS_NS;
use crate::core::{Core, What};
use crate::cx::Cx;
use crate::key::Key;
use loopscope_probe::{Kind, Life, Phase};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::panic::Location;
use std::time::Duration;

/// Fewer dead entries than this are left alone.
const DEAD_KEPT: usize = 64;

/// Not in the queue.
const NEVER: u64 = u64::MAX;

/// A callback for a stream on which nothing moves.
type OnIdle<S> = Box<dyn FnMut(&mut Cx<'_, S>, Key)>;

/// The time-out of one stream.
pub(crate) struct Idle<S: 'static> {
    after_ns: u64,
    /// The deadline of its valid entry in the queue.
    queued_ns: u64,
    site: Site,
    /// Missing while it runs.
    run: Option<OnIdle<S>>,
}

/// Deadlines in their order.
#[derive(Debug, Default)]
pub(crate) struct IdleQueue {
    heap: BinaryHeap<Deadline>,
    dead: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deadline {
    at_ns: u64,
    key: Key,
}

impl Ord for Deadline {
    /// The earliest is the greatest, as a heap's top; of two at one moment one is chosen by its key, the same in every
    /// run.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ns, other.key.token()).cmp(&(self.at_ns, self.key.token()))
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl IdleQueue {
    /// Shortens a wait to the first deadline.
    #[inline]
    pub(crate) fn limit(&self, timeout: Option<Duration>, now_ns: u64) -> Option<Duration> {
        let Some(first) = self.heap.peek() else { return timeout };
        let left = Duration::from_nanos(first.at_ns.saturating_sub(now_ns));
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }

    #[inline]
    fn is_due(&self, now_ns: u64) -> bool {
        self.heap.peek().is_some_and(|first| first.at_ns <= now_ns)
    }

    /// Notes that an entry is valid no more; `true` where it is time to sweep.
    fn bury(&mut self) -> bool {
        self.dead += 1;
        self.dead > DEAD_KEPT && self.dead > self.heap.len() / 2
    }
}

impl<S: 'static> Cx<'_, S> {
    /// Runs a callback when nothing was read from the stream and nothing handed to the kernel for it for this long,
    /// from now on; once, and again only after something moved. A duration below a millisecond is one millisecond.
    /// Replaces an earlier one. On a stream that is connecting it is the time-out of the connect.
    ///
    /// Reads and writes put it off at no cost. It is measured on the loop's cached clock ([`Cx::now`]) and does not
    /// keep the loop alive; a stream that reads does.
    #[track_caller]
    pub fn on_idle(
        &mut self,
        key: Key,
        after: Duration,
        run: impl FnMut(&mut Cx<'_, S>, Key) + 'static,
    ) -> bool {
        let at = Location::caller();
        if self.stream(key).is_none() {
            return false;
        }
        self.clear_idle(key);
        let site = self.core.site(at, Kind::Timer);
        // One that is over at once, and put off by its own callback, would keep the loop in its timers phase.
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(NEVER).max(MS_NS);
        let now_ns = self.core.clock.now_ns();
        let Some(stream) = self.stream(key) else { return false };
        stream.moved_ns = now_ns;
        stream.idle = Some(Box::new(Idle { after_ns, queued_ns: NEVER, site, run: Some(Box::new(run)) }));
        self.core.queue_idle(key);
        true
    }

    /// Takes back [`Cx::on_idle`]. Returns `false` where there was none.
    pub fn clear_idle(&mut self, key: Key) -> bool {
        let Some(stream) = self.stream(key) else { return false };
        stream.is_told_idle = false;
        let Some(idle) = stream.idle.take() else { return false };
        self.core.forget_idle(&idle);
        true
    }

    /// Puts a stream's time-out off, as bytes that move do: for progress that is not in bytes of this stream. One store.
    /// Returns `false` for a stale key and for what is not a stream.
    #[inline]
    pub fn touch(&mut self, key: Key) -> bool {
        let now_ns = self.core.clock.now_ns();
        let Some(stream) = self.stream(key) else { return false };
        stream.moved_ns = now_ns;
        if stream.is_told_idle {
            self.core.busy_again(key);
        }
        true
    }

    /// Runs the time-outs that are due, as part of the timers phase.
    #[inline]
    pub(crate) fn run_idle(&mut self) {
        if self.core.idle.is_due(self.core.clock.now_ns()) {
            self.run_due_idle();
        }
    }

    fn run_due_idle(&mut self) {
        let now_ns = self.core.clock.now_ns();
        let mut has_entered = false;
        while self.goes_on()
            && self.core.idle.is_due(now_ns)
            && let Some(deadline) = self.core.idle.heap.pop()
        {
            if self.core.is_idle_until(deadline, now_ns) {
                if !std::mem::replace(&mut has_entered, true) {
                    self.core.enter_phase(Phase::Timers);
                }
                self.tell_idle(deadline.key);
            }
        }
    }

    fn tell_idle(&mut self, key: Key) {
        let ready = self.core.stamp();
        let Some(stream) = self.stream(key) else { return };
        stream.is_told_idle = true;
        let Some(idle) = &mut stream.idle else { return };
        let (Some(mut run), site) = (idle.run.take(), idle.site) else { return };
        self.enter(Kind::Timer, site, Life::ready_at(ready), |cx| run(cx, key));
        match self.stream(key).and_then(|stream| stream.idle.as_mut()) {
            // One that it set meanwhile stays.
            Some(idle) => _ = idle.run.get_or_insert(run),
            None => self.discard(Kind::Timer, site, run),
        }
        self.drain();
    }
}

impl<S: 'static> Core<S> {
    /// Puts a stream's deadline in the queue, counted from when bytes last moved.
    fn queue_idle(&mut self, key: Key) {
        let Some(What::Stream(stream)) = self.slots.get_mut(key).map(|entry| &mut entry.what) else { return };
        let Some(idle) = &mut stream.idle else { return };
        let at_ns = stream.moved_ns.saturating_add(idle.after_ns);
        idle.queued_ns = at_ns;
        if at_ns != NEVER {
            self.idle.heap.push(Deadline { at_ns, key });
        }
    }

    /// Bytes moved on a stream whose time-out had run.
    #[cold]
    pub(crate) fn busy_again(&mut self, key: Key) {
        if let Some(What::Stream(stream)) = self.slots.get_mut(key).map(|entry| &mut entry.what) {
            stream.is_told_idle = false;
        }
        self.queue_idle(key);
    }

    /// Tells whether nothing has moved until this deadline, and queues a later one where something has.
    fn is_idle_until(&mut self, deadline: Deadline, now_ns: u64) -> bool {
        let entry = self.slots.get_mut(deadline.key);
        let Some(What::Stream(stream)) = entry.map(|entry| &mut entry.what) else {
            self.idle.dead = self.idle.dead.saturating_sub(1);
            return false;
        };
        let Some(idle) = stream.idle.as_mut().filter(|idle| idle.queued_ns == deadline.at_ns) else {
            self.idle.dead = self.idle.dead.saturating_sub(1);
            return false;
        };
        idle.queued_ns = NEVER;
        if stream.moved_ns.saturating_add(idle.after_ns) > now_ns {
            self.queue_idle(deadline.key);
            return false;
        }
        true
    }

    /// A stream's time-out was taken from it.
    pub(crate) fn forget_idle(&mut self, idle: &Idle<S>) {
        if idle.queued_ns != NEVER && self.idle.bury() {
            let slots = &self.slots;
            let is_valid = |deadline: &Deadline| match slots.get(deadline.key).map(|entry| &entry.what) {
                Some(What::Stream(stream)) => {
                    stream.idle.as_ref().is_some_and(|idle| idle.queued_ns == deadline.at_ns)
                }
                _ => false,
            };
            self.idle.heap.retain(is_valid);
            self.idle.dead = 0;
        }
    }

    /// Returns how many entries the queue has, valid and dead.
    #[cfg(test)]
    fn idle_entries(&self) -> usize {
        self.idle.heap.len()
    }
}

#[cfg(test)]
#[path = "idle_tests.rs"]
mod tests;
