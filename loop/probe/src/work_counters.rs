//! The verbs that only count: work begun and given up, handles, gauges, deliveries.
//!
//! One or two stores each, no clock read.

use crate::clock::Ticks;
use crate::kind::{HandleType, Kind};
use crate::writer::Writer;

impl Writer {
    /// The callback of a pool job begins next; the job itself ended at `finished`.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// let ended = writer.clock().now(); // a thread of the pool has ended the job
    /// writer.park();
    /// time.advance_ns(4_000);
    /// writer.unpark(1);
    /// writer.delivered(ended); // right before `begin` of the job's callback
    /// assert_eq!(writer.page().snapshot(writer.clock()).work_delivery.sum_ns, 4_000);
    /// ```
    #[inline]
    pub fn delivered(&mut self, finished: Ticks) {
        let (page, pen) = self.parts();
        page.tallies.work_delivery.record(pen, self.scale.ns(self.last().since(finished)));
    }

    /// Work of this kind was begun.
    #[inline(always)]
    pub fn submitted(&mut self, kind: Kind) {
        self.submitted_many(kind, 1);
    }

    /// Work of this kind was begun, so often since this was last said.
    #[inline(always)]
    pub fn submitted_many(&mut self, kind: Kind, count: u64) {
        let (page, pen) = self.parts();
        page.tallies.submitted[kind.index().min(Kind::CALLBACKS - 1)].add(pen, count);
    }

    /// Work of this kind was given up before its callback ran.
    ///
    /// ```
    /// # use loopscope_probe::{Kind, Writer};
    /// # let mut writer = Writer::builder("web").private().build();
    /// writer.submitted(Kind::Timer); // armed
    /// writer.cancelled(Kind::Timer); // and cleared before it fired
    /// assert_eq!(writer.page().snapshot(writer.clock()).cancelled[Kind::Timer.index()], 1);
    /// ```
    #[inline(always)]
    pub fn cancelled(&mut self, kind: Kind) {
        let (page, pen) = self.parts();
        page.tallies.cancelled[kind.index().min(Kind::CALLBACKS - 1)].add(pen, 1);
    }

    /// Adds `change` to the number of handles of this type.
    ///
    /// ```
    /// # use loopscope_probe::{HandleType, Writer};
    /// # let mut writer = Writer::builder("web").private().build();
    /// writer.handles(HandleType::TcpStream, 2); // two were opened
    /// writer.handles(HandleType::TcpStream, -1); // one was closed
    /// let open = writer.page().snapshot(writer.clock()).handles;
    /// assert_eq!(open[HandleType::TcpStream.index()], 1);
    /// ```
    #[inline(always)]
    pub fn handles(&mut self, handle: HandleType, change: i64) {
        let (page, pen) = self.parts();
        page.tallies.handles[handle.index()].add(pen, change as u64);
    }

    /// Publishes the gauges that the loop knows as totals: handles that keep it alive, requests under way, timers armed.
    #[inline]
    pub fn gauges(&mut self, referenced: u64, requests: u64, timers: u64) {
        let (page, pen) = self.parts();
        page.tallies.handles_referenced.set(pen, referenced);
        page.tallies.requests_active.set(pen, requests);
        page.tallies.timers_pending.set(pen, timers);
    }

    /// Counts wakes from other threads that were merged into one.
    #[inline]
    pub fn coalesced(&mut self, wakes: u64) {
        let (page, pen) = self.parts();
        page.tallies.wakes_coalesced.add(pen, wakes);
    }
}
