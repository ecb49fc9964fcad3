//! The two queues that are drained after every callback, ticks and microtasks, and the loop's local futures.

use crate::callback::{Once, Site, State};
use crate::key::{Key, Slots};
use crate::queues::commands::Commands;
use crate::queues::tasks::TaskSlot;
use crate::queues::woken::Woken;
use loopscope_probe::Queue;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// The queues of one loop, and its local futures.
pub(crate) struct Queues<S: State> {
    pub(crate) ticks: VecDeque<(Site, Once<S>)>,
    /// Those that stand before the woken futures.
    pub(crate) microtasks: VecDeque<Microtask<S>>,
    /// Futures to poll after them.
    pub(crate) woken: Arc<Woken>,
    pub(crate) tasks: Slots<TaskSlot<S>>,
    pub(crate) commands: Rc<Commands<S>>,
}

pub(crate) enum Microtask<S: State> {
    Run(Site, Once<S>),
    Poll(Key),
}

impl<S: State> Queues<S> {
    pub(crate) fn new() -> Self {
        let (ticks, microtasks, woken) = (VecDeque::new(), VecDeque::new(), Woken::new());
        Queues { ticks, microtasks, tasks: Slots::new(), commands: Commands::new(woken.clone()), woken }
    }

    /// Queues a job behind every future that was woken before.
    #[inline]
    pub(crate) fn push_microtask(&mut self, site: Site, run: Once<S>) {
        while let Some(key) = self.woken.pop() {
            self.microtasks.push_back(Microtask::Poll(key));
        }
        self.microtasks.push_back(Microtask::Run(site, run));
    }

    /// Takes the next microtask: what was queued, and then futures that were woken since.
    #[inline]
    pub(crate) fn pop_microtask(&mut self) -> Option<Microtask<S>> {
        self.microtasks.pop_front().or_else(|| self.woken.pop().map(Microtask::Poll))
    }

    #[inline]
    pub(crate) fn has_microtasks(&self) -> bool {
        !self.microtasks.is_empty() || self.woken.len() > 0
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ticks.is_empty() && !self.has_microtasks()
    }

    pub(crate) fn depth(&self, queue: Queue) -> usize {
        match queue {
            Queue::NextTick => self.ticks.len(),
            Queue::Microtask => self.microtasks.len() + self.woken.len(),
        }
    }
}
