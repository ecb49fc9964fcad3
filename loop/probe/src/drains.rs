//! The verbs of the queues that are drained after a callback, or inside one.

use crate::clock::Ticks;
use crate::kind::{Kind, Queue};
use crate::now::place;
use crate::record::{MANY, frame_base, frame_kind, frame_site};
use crate::site::SiteId;
use crate::spans::SpanContext;
use crate::writer::{DRAINED, ENDED, TaskTimes, Writer};

/// The callback inside which a queue is drained: see [`Writer::drain_inside_begin`].
#[derive(Debug)]
#[must_use = "the callback goes on with `drain_inside_end`"]
pub struct Inside {
    frame: u64,
}

impl Writer {
    /// A queue is drained inside the running callback, as Node does between the timers of a batch. The callback is
    /// told in parts: the part until now ends, and each part counts as a callback. [`Writer::drain_inside_end`] goes
    /// on with the next.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, Queue, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    /// // Between two timers of a batch, one job of the nextTick queue runs.
    /// let inside = writer.drain_inside_begin(Queue::NextTick, 1);
    /// writer.begin(Kind::Tick, SiteId::NONE, TaskTimes::UNKNOWN);
    /// writer.end();
    /// writer.drain_inside_end(Queue::NextTick, 1, inside);
    /// writer.end();
    /// writer.drained();
    /// ```
    pub fn drain_inside_begin(&mut self, queue: Queue, depth: usize) -> Inside {
        let frame = self.track.frame.get();
        self.end();
        self.drain_begin(queue, depth);
        Inside { frame }
    }

    /// The queue is empty after `jobs` jobs, and the callback goes on.
    pub fn drain_inside_end(&mut self, queue: Queue, jobs: u64, inside: Inside) {
        self.drain_end(queue, jobs);
        self.drained();
        if let Some(kind) = Kind::from_index(frame_kind(inside.frame)).filter(|_| inside.frame != 0) {
            let site = frame_site(inside.frame);
            match inside.frame & MANY {
                0 => self.begin(kind, site, TaskTimes::UNKNOWN),
                _ => self.begin_many(kind, site),
            }
        }
    }

    /// The loop begins to drain a queue of `depth` jobs, after the callback that ended last.
    ///
    /// ```
    /// use loopscope_probe::{Kind, Queue, SiteId, TaskTimes, Writer};
    ///
    /// let mut writer = Writer::builder("web").build();
    /// writer.resume();
    /// writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    /// writer.end(); // the callback has queued two microtasks
    /// writer.drain_begin(Queue::Microtask, 2);
    /// for _ in 0..2 {
    ///     writer.begin(Kind::Microtask, SiteId::NONE, TaskTimes::UNKNOWN);
    ///     writer.end();
    /// }
    /// writer.drain_end(Queue::Microtask, 2);
    /// writer.drained();
    /// writer.suspend();
    /// ```
    #[inline]
    pub fn drain_begin(&mut self, queue: Queue, depth: usize) {
        if self.after & DRAINED == 0 {
            self.first_drain_begins();
        }
        self.queue = Some(queue);
        self.place = place(self.phase, Some(queue));
        self.frame_base = frame_base(self.phase, self.drained_site);
        self.queue_since = self.last();
        let (page, pen) = self.parts();
        if page.now.drain_since.get() == 0 {
            page.now.drain_first.set(pen, page.record_count.get());
            page.now.drain_since.set(pen, self.queue_since.0.max(1));
        }
        // Where it is not known, there is no mark to raise.
        if depth > 0 {
            self.queue_depth(queue, depth);
        }
    }

    /// Notes after which callback queues are drained: the recorder's last entry is its.
    fn first_drain_begins(&mut self) {
        (self.drained_site, self.drained_since) = (SiteId::NONE, Ticks::NONE);
        if self.after & ENDED != 0 {
            let page = &self.track.page;
            let [frame, _, _, end] = page.recorder().own_entry(page.record_count.get().wrapping_sub(1));
            (self.drained_site, self.drained_since) = (frame_site(frame), Ticks(end));
        }
        let (page, pen) = self.parts();
        page.now.drained_after.set(pen, u64::from(self.drained_site.0));
        self.after |= DRAINED;
    }

    /// Notes that a queue holds `depth` jobs, for its high-water mark.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, Queue, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.queue_depth(Queue::Microtask, 40);
    /// let snapshot = writer.page().snapshot(writer.clock());
    /// assert_eq!(snapshot.queue_depth_max[Queue::Microtask.index()], 40);
    /// ```
    #[inline]
    pub fn queue_depth(&mut self, queue: Queue, depth: usize) {
        let (page, pen) = self.parts();
        self.epoch.raise(pen, &page.tallies.queue_depth_max[queue.index()], depth as u64);
    }

    /// The queue is empty after `jobs` jobs.
    #[inline]
    pub fn drain_end(&mut self, queue: Queue, jobs: u64) {
        let ticks = self.last().since(self.queue_since);
        if self.drain_batch.drained(queue, ticks, jobs) {
            self.add_up_drains();
        }
        self.queue = None;
        self.place = place(self.phase, None);
        self.frame_base = frame_base(self.phase, SiteId::NONE);
    }

    /// The drain that began last was none: neither it nor what runs in it is told.
    pub fn drain_forget(&mut self) {
        self.track.frame.set(0);
        self.queue = None;
        self.place = place(self.phase, None);
        self.frame_base = frame_base(self.phase, SiteId::NONE);
        let (page, pen) = self.parts();
        page.now.running.set(pen, self.between(self.last()));
    }

    /// Both queues are empty: the last callback is completed. After every callback, also where nothing was drained.
    #[inline(always)]
    pub fn drained(&mut self) {
        match std::mem::take(&mut self.after) {
            0 => {}
            ENDED => self.completed_at_once += 1,
            _ => self.record_drained(),
        }
    }

    /// A callback of this kind failed, which need not be the one that runs: where the runtime tells of it in another way than
    /// [`Writer::panicked`] takes it.
    #[cold]
    pub fn failed(&mut self, kind: Kind) {
        let (page, pen) = self.parts();
        page.tallies.errors[kind.index().min(Kind::CALLBACKS - 1)].add(pen, 1);
    }

    /// The running job of a queue failed: counted by the kind of the callback that it is drained after, as
    /// [`Kind::Other`] where that is not known.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, Queue, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    /// writer.end(); // the callback has queued a microtask
    /// writer.drain_begin(Queue::Microtask, 1);
    /// writer.begin(Kind::Microtask, SiteId::NONE, TaskTimes::UNKNOWN);
    /// writer.job_failed();
    /// writer.end();
    /// writer.drain_end(Queue::Microtask, 1);
    /// writer.drained();
    /// let snapshot = writer.page().snapshot(writer.clock());
    /// assert_eq!(snapshot.errors[Kind::Timer.index()], 1);
    /// ```
    #[cold]
    pub fn job_failed(&mut self) {
        let page = &self.track.page;
        // The recorder's entry before the first of the drains is the callback's, unless many jobs have overwritten it.
        let [frame, ..] = page.recorder().own_entry(page.now.drain_first.get().wrapping_sub(1));
        let is_known = self.after & DRAINED != 0 && self.drained_since != Ticks::NONE;
        let is_its = frame_site(frame) == self.drained_site && frame_kind(frame) < Kind::CALLBACKS;
        let kind = Kind::from_index(frame_kind(frame)).filter(|_| is_known && is_its);
        self.failed(kind.unwrap_or(Kind::Other));
    }

    /// Adds to the tallies the drains that wait for that.
    #[cold]
    #[inline(never)]
    pub(crate) fn add_up_drains(&mut self) {
        let SpanContext { page, pen, .. } = &*self.track;
        self.drain_batch.add_up(pen, &page.tallies, self.scale);
    }

    fn record_drained(&mut self) {
        if self.drained_since != Ticks::NONE {
            let ticks = self.last().since(self.drained_since);
            if self.drain_batch.completed(ticks) {
                self.add_up_drains();
            }
        }
        let (page, pen) = self.parts();
        page.now.drain_since.set(pen, 0);
        page.now.running.set(pen, self.between(self.last()));
    }
}
