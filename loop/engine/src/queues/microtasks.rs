//! The two queues that are drained after every callback, ticks and microtasks, and the loop's local futures.

use crate::callback::{Once, Site, State};
use crate::key::{Key, Slots};
use crate::queues::errands::Errands;
use crate::queues::tasks::{self, TaskSlot};
use loopscope_probe::Queue;
use std::collections::VecDeque;
use std::rc::Rc;

/// The queues of one loop, and its local futures.
pub(crate) struct Queues<S: State> {
    pub(crate) ticks: VecDeque<(Site, Once<S>)>,
    pub(crate) microtasks: VecDeque<Microtask<S>>,
    pub(crate) tasks: Slots<TaskSlot<S>>,
    pub(crate) errands: Rc<Errands<S>>,
    /// Tells this loop's woken futures from those of other loops on the thread.
    pub(crate) loop_id: u64,
}

pub(crate) enum Microtask<S: State> {
    Run(Site, Once<S>),
    Poll(Key),
}

impl<S: State> Queues<S> {
    pub(crate) fn new() -> Self {
        let (ticks, microtasks, loop_id) = (VecDeque::new(), VecDeque::new(), tasks::new_loop_id());
        Queues { ticks, microtasks, tasks: Slots::new(), errands: Errands::new(loop_id), loop_id }
    }

    /// Queues a poll of every future that was woken since, in the order they were woken.
    #[inline]
    pub(crate) fn collect_woken(&mut self) {
        if tasks::has_woken() {
            let microtasks = &mut self.microtasks;
            tasks::take_woken(self.loop_id, |key| microtasks.push_back(Microtask::Poll(key)));
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ticks.is_empty() && self.microtasks.is_empty() && !tasks::has_woken()
    }

    pub(crate) fn depth(&self, queue: Queue) -> usize {
        match queue {
            Queue::NextTick => self.ticks.len(),
            Queue::Microtask => self.microtasks.len(),
        }
    }
}
