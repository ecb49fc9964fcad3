//! The verbs that begin and end a busy period: around each poll, and where the loop begins and ceases to run.
//!
//! They run once an iteration, which with little to do is once for each event, so what is rarely needed is kept out of
//! them: [`PollDeadlines`](crate::poll_deadlines::PollDeadlines) holds from when on something of it is.

use crate::clock::Ticks;
use crate::histogram::Histogram;
use crate::lag::WaitRecorder;
use crate::page::Page;
use crate::paths::{EPOCH_NS, Epoch};
use crate::phase::Phase;
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::spans::SpanContext;
use crate::tallies::StallSeverity;
use crate::writer::{OF_PERIOD, Writer};

impl Writer {
    /// The loop begins to run: a busy period starts. The time since the last [`Writer::suspend`] counts as idle.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// writer.resume(); // the program calls `run`
    /// time.advance_ns(40_000);
    /// writer.suspend(); // `run` returns
    /// assert_eq!(writer.page().snapshot(writer.clock()).active_ns, 40_000);
    /// ```
    pub fn resume(&mut self) {
        self.gate.after_poll();
        self.start_busy_period(self.track.clock.now(), 0);
        self.wake_agent();
        self.phase(Phase::MAIN);
    }

    /// The loop returns to its caller: the busy period ends.
    pub fn suspend(&mut self) {
        self.phase(Phase::MAIN);
        self.park();
    }

    /// Counts an iteration. Right before its poll.
    #[inline]
    pub fn iteration(&mut self) {
        let (page, pen) = self.parts();
        page.now.iterations.add(pen, 1);
    }

    /// The loop is about to poll, whether or not it will block: the busy period ends.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Phase, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// // Callbacks run. Then, around the poll:
    /// writer.iteration();
    /// writer.phase(Phase::POLL);
    /// writer.park();
    /// time.advance_ns(9_000); // the poll returns two events after 9 µs
    /// writer.unpark(2);
    /// assert_eq!(writer.page().snapshot(writer.clock()).poll_wait.sum_ns, 9_000);
    /// ```
    #[inline]
    pub fn park(&mut self) {
        self.settle();
        self.park_at(self.track.clock.now());
    }

    /// [`Writer::settle`] for a page that is [observed](crate::Builder::observed): also begins what is counted by the
    /// minute anew, which parking does otherwise. Now and then, between two callbacks.
    pub fn settle_observed(&mut self) {
        self.settle();
        let now = self.last();
        if now >= self.due.epoch_end {
            self.next_epoch(now);
        }
    }

    /// The loop polled at this moment of the busy period that runs, and did not tell: what is before it is no part of
    /// a stall, also where no agent saw that. Before the period ends.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// time.advance_ns(80_000_000);
    /// let polled = writer.clock().now(); // the runtime polls without `park`
    /// time.advance_ns(80_000_000);
    /// writer.polled_at(polled);
    /// writer.suspend();
    /// // Neither half is as long as the threshold of 100 ms.
    /// assert_eq!(writer.page().snapshot(writer.clock()).blocked, [0, 0]);
    /// ```
    pub fn polled_at(&mut self, at: Ticks) {
        self.polled_untold = at;
    }

    /// Returns since when the loop has not polled, as its thread or an agent knows.
    fn since_turn(&self) -> Ticks {
        self.track.page.control.since_turn(self.period_since).max(self.polled_untold)
    }

    /// Returns the end of the only callback of this busy period, `None` where there were none or several: a loop that has
    /// done nothing since but its own few steps may take it for the moment in which it polls, and not read the clock.
    #[inline]
    pub fn only_callback_end(&self) -> Option<Ticks> {
        let (page, _) = self.parts();
        let callbacks = page.record_count.get().wrapping_sub(page.now.busy_first.get());
        (callbacks == 1).then(|| self.last())
    }

    /// [`Writer::park`] for a loop that has itself just read the page's clock, and settled before.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.settle();
    /// let now = writer.only_callback_end().unwrap_or_else(|| writer.clock().now());
    /// writer.park_at(now);
    /// assert!(writer.page().is_parked());
    /// ```
    #[inline]
    pub fn park_at(&mut self, now: Ticks) {
        match now >= self.due.any {
            true => self.park_when_due(now),
            false => self.end_busy_period(now),
        }
    }

    /// Something is due. Apart, and with the rest in it: a call in the middle would cost every poll.
    #[cold]
    fn park_when_due(&mut self, now: Ticks) {
        // While the page still says "busy": whoever reads "parked" adds what is not counted as events of the poll.
        self.busy_period_was_due(now);
        self.end_busy_period(now);
    }

    #[inline(always)]
    fn end_busy_period(&mut self, now: Ticks) {
        let SpanContext { page, pen, last, .. } = &*self.track;
        let page: &Page = page;
        let busy = now.since(self.period_since);
        page.now.parked_since.set(pen, now.0);
        self.publish_busy_since(0);
        page.tallies.active_ticks.add(pen, busy);
        page.tallies.iteration.record(pen, self.scale.ns(busy));
        let first_record = page.now.busy_first.get();
        let entry = [self.period_since.0, now.0, self.period_events, first_record];
        page.iterations.ring().push(pen, entry);
        last.set(now);
        self.poll_since = now;
        if busy > self.due.stall_ticks {
            self.may_have_stalled(now);
        }
        // Last, so that a signal that is on its way has had the most time.
        if !self.gate.is_idle() {
            self.settle_gate();
        }
    }

    /// The poll returned with `events` events: a busy period starts.
    #[inline]
    pub fn unpark(&mut self, events: usize) {
        self.unpark_at(self.track.clock.now(), events);
    }

    /// [`Writer::unpark`] for a loop that has itself just read the page's clock.
    #[inline]
    pub fn unpark_at(&mut self, now: Ticks, events: usize) {
        let idle = self.start_busy_period(now, events as u64);
        let (page, pen) = self.parts();
        page.tallies.poll_wait.record(pen, self.scale.ns(idle));
        page.tallies.poll_events.record(pen, events as u64);
        self.wake_agent();
    }

    /// [`Writer::unpark_at`] where it is not known how many events the poll returned, or not yet: see
    /// [`Writer::poll_events`].
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Kind, SiteId, TaskTimes, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.park();
    /// let now = writer.clock().now();
    /// writer.unpark_untold(now);
    /// // The runtime counts the events while it handles them.
    /// writer.poll_events(3);
    /// ```
    #[inline]
    pub fn unpark_untold(&mut self, now: Ticks) {
        let idle = self.start_busy_period(now, 0);
        let (page, pen) = self.parts();
        page.tallies.poll_wait.record(pen, self.scale.ns(idle));
        self.wake_agent();
    }

    /// [`Writer::unpark_untold`] and then [`Writer::phase`], for less than both.
    ///
    /// ```
    /// # use loopscope_probe::{Clock, Phase, VirtualClock, Writer};
    /// # let time = VirtualClock::starting_at(1_000);
    /// # let mut writer = Writer::builder("web").clock(Clock::simulated(time.clone())).build();
    /// # writer.resume();
    /// writer.phase(Phase::POLL);
    /// writer.park();
    /// let now = writer.clock().now();
    /// writer.unpark_untold_in(now, Phase::CHECK);
    /// assert_eq!((writer.period_since(), writer.last()), (now, now));
    /// ```
    #[inline]
    pub fn unpark_untold_in(&mut self, now: Ticks, phase: Phase) {
        self.phase_of_poll_ends(now);
        self.enter_phase(phase);
        self.unpark_untold(now);
    }

    /// Returns when the busy period began that runs, or that was the last one.
    #[inline]
    pub fn period_since(&self) -> Ticks {
        self.period_since
    }

    /// Says how many events the last poll returned, which [`Writer::unpark_untold`] did not. Once, before the next poll.
    #[inline]
    pub fn poll_events(&mut self, events: usize) {
        let (page, pen) = self.parts();
        page.tallies.poll_events.record(pen, events as u64);
        self.period_events = events as u64;
    }

    /// Returns for how long the loop was idle, in ticks.
    #[inline(always)]
    fn start_busy_period(&mut self, now: Ticks, events: u64) -> u64 {
        if now >= self.due.any {
            self.poll_was_due(now);
        }
        let had_records = self.new_records & OF_PERIOD != 0;
        self.new_records &= !OF_PERIOD;
        let SpanContext { page, pen, last, .. } = &*self.track;
        let page: &Page = page;
        let idle = now.since(self.poll_since);
        if had_records {
            page.now.busy_first.set(pen, page.record_count.get());
        }
        page.now.running.set(pen, self.between(now));
        self.publish_busy_since(now.0.max(1));
        page.tallies.idle_ticks.add(pen, idle);
        last.set(now);
        self.period_since = now;
        self.period_events = events;
        self.phase_since = now;
        idle
    }

    /// Tells readers that a busy period begins or ends. What was stored before is seen by those who see the change; what
    /// is stored after, such as the time of the busy period that ended, is seen only by those who see the change: so
    /// nobody counts a busy period twice (`Page::vitals_at` is the other side).
    #[inline(always)]
    fn publish_busy_since(&self, since: u64) {
        let (page, pen) = self.parts();
        page.now.busy_since.publish(pen, since);
        crate::sync::fence(crate::sync::Ordering::Release);
    }

    #[inline(always)]
    fn wake_agent(&self) {
        if self.sleep_flag.seems_asleep() {
            crate::registry::wake_if_asleep();
        }
    }

    /// The page says "parked", and an agent wants something, or this loop makes fences.
    #[cold]
    fn settle_gate(&mut self) {
        self.gate.before_poll();
        self.sleep_flag = self.gate.sleep_flag();
        self.set_due();
    }

    /// A poll ends, and something is due: before the page says "busy".
    #[cold]
    fn poll_was_due(&mut self, now: Ticks) {
        self.gate.after_poll();
        if now >= self.due.epoch_end {
            self.next_epoch(now);
        }
        if now >= self.due.arrival {
            self.record_arrivals(now, false);
        }
        if self.due.takes_thread_look(now, self.scale) {
            self.gate.note_alternate_stack();
        }
        self.set_due();
    }

    /// A busy period has ended that may have been a stall.
    #[cold]
    fn may_have_stalled(&mut self, now: Ticks) {
        self.set_due();
        if now.since(self.period_since) > self.due.stall_ticks {
            self.count_stall(now);
        }
    }

    /// A busy period ends in which an event may have arrived.
    #[cold]
    fn busy_period_was_due(&mut self, now: Ticks) {
        self.set_due();
        // Whoever polled meanwhile without telling took what had arrived, again and again; that it did so last at
        // `turned` is all that is known, and readers have counted those events as taken at once while the busy period
        // lasted.
        let turned = self.since_turn().min(now);
        if turned > self.period_since && turned >= self.due.arrival {
            self.record_arrivals(turned, false);
        }
        if now >= self.due.arrival {
            self.record_arrivals(now, true);
            self.set_due();
        }
    }

    fn set_due(&mut self) {
        let warning_ns = self.track.page.control.warning_ns();
        let due = &mut self.due;
        if warning_ns != due.warning_ns {
            (due.warning_ns, due.stall_ticks) = (warning_ns, self.scale.ticks(warning_ns));
        }
        due.any = if self.gate.is_blocked() { Ticks::NONE } else { due.first() };
    }

    fn next_epoch(&mut self, now: Ticks) {
        let number = self.scale.ns(now.since(self.origin)) / EPOCH_NS;
        self.epoch = Epoch::number(number);
        let end_ns = (number + 1).saturating_mul(EPOCH_NS);
        self.due.epoch_end = Ticks(self.origin.0.saturating_add(self.scale.ticks(end_ns)));
    }

    fn count_stall(&mut self, now: Ticks) {
        let since = self.since_turn();
        let (page, pen) = self.parts();
        let expected = page.expected.ticks(since, now);
        let busy_ns = self.scale.ns(now.since(since).saturating_sub(expected));
        if busy_ns <= page.control.warning_ns() {
            return;
        }
        page.tallies.blocked[StallSeverity::Warning as usize].add(pen, 1);
        if busy_ns > page.control.critical_ns() {
            page.tallies.blocked[StallSeverity::Critical as usize].add(pen, 1);
        }
        page.tallies.blocked_duration.record(pen, busy_ns);
    }

    fn record_arrivals(&mut self, now: Ticks, is_busy: bool) {
        let page = &self.track.page;
        let mut recorder = LagRecorder { lag: &page.tallies.lag, pen: &self.track.pen };
        let end_ns = self.scale.ns(now.since(self.origin));
        match is_busy {
            true => self.arrivals.busy_period_ends(end_ns, &mut recorder),
            false => self.arrivals.poll_ends(end_ns, &mut recorder),
        }
        self.due.arrival = Ticks(self.origin.0 + self.scale.ticks(self.arrivals.next_ns()));
    }
}

struct LagRecorder<'a> {
    lag: &'a Histogram<LoopOwned>,
    pen: &'a WriteToken<LoopOwned>,
}

impl WaitRecorder for LagRecorder<'_> {
    fn record(&mut self, slot: usize, count: u64, sum_ns: u64) {
        self.lag.record_many(self.pen, slot, count, sum_ns);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::{Clock, VirtualClock};
    use crate::registry::{self, LocalPage};
    use crate::shared_u64::AgentOwned;
    use crate::{Kind, SiteId, TaskTimes};

    const MS_NS: u64 = 1_000_000;

    /// A writer whose busy period has begun, and its page as an agent of this process finds it.
    fn watched(name: &str) -> (Writer, LocalPage) {
        let mut writer = Writer::builder(name).private().build();
        writer.resume();
        let page = registry::pages().into_iter().find(|page| page.page().loop_name() == name);
        (writer, page.expect("it is registered"))
    }

    /// A copy of the whole page would take Miri half a minute.
    fn stalls_of(writer: &Writer) -> [u64; 2] {
        let vitals = writer.page().vitals_at(writer.clock(), writer.clock().now());
        [vitals.stalls_ended, vitals.critical_ended]
    }

    #[test]
    fn a_stall_is_judged_by_the_threshold_of_its_end() {
        let time = VirtualClock::starting_at(MS_NS);
        let mut writer = Writer::builder("judged").clock(Clock::simulated(time.clone())).build();
        let pen = WriteToken::<AgentOwned>::mint();
        for (warning_ms, stalls) in [(0, 0), (20, 0), (5, 1), (50, 1), (9, 2)] {
            writer.resume();
            time.advance_ns(5 * MS_NS);
            writer.page().control.set_thresholds(&pen, warning_ms * MS_NS, 1_000 * MS_NS);
            time.advance_ns(5 * MS_NS);
            writer.suspend();
            assert_eq!(stalls_of(&writer), [stalls, 0], "{warning_ms} ms");
        }
    }

    #[test]
    fn what_is_before_a_poll_that_the_thread_tells_later_is_no_stall() {
        let time = VirtualClock::starting_at(MS_NS);
        let mut writer = Writer::builder("told later").clock(Clock::simulated(time.clone())).build();
        for (polled_after_ms, stalls) in [(None, 1), (Some(145), 1), (Some(20), 2)] {
            let begun = writer.clock().now();
            writer.resume();
            time.advance_ns(150 * MS_NS);
            if let Some(ms) = polled_after_ms {
                writer.polled_at(Ticks(begun.0 + writer.clock().scale().ticks(ms * MS_NS)));
            }
            writer.suspend();
            assert_eq!(stalls_of(&writer), [stalls, 0], "polled after {polled_after_ms:?} ms of 150");
        }
    }

    #[test]
    fn the_end_of_the_only_callback_is_known_and_that_of_several_is_not() {
        let time = VirtualClock::starting_at(MS_NS);
        let mut writer = Writer::builder("only").clock(Clock::simulated(time.clone())).build();
        writer.resume();
        assert_eq!(writer.only_callback_end(), None, "nothing ran");
        for expected in [Some(Ticks(MS_NS + 7)), None] {
            writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
            time.advance_ns(7);
            writer.end();
            writer.drained();
            assert_eq!(writer.only_callback_end(), expected);
        }
        writer.park();
        writer.unpark(1);
        assert_eq!(writer.only_callback_end(), None, "nothing ran in this busy period");
    }

    #[test]
    fn a_loop_that_was_asked_for_fences_makes_one_before_it_looks_at_the_bell() {
        let (mut writer, page) = watched("fenced");
        assert!(std::ptr::eq(writer.sleep_flag, registry::agent_sleep_flag()));
        page.gate().ask_for_fences();
        writer.park();
        assert!(page.gate().is_fenced() && std::ptr::eq(writer.sleep_flag, registry::fenced_sleep_flag()));
        writer.unpark(1);
    }

    #[cfg(all(unix, not(miri)))]
    #[test]
    fn a_signal_that_was_blocked_for_a_poll_is_let_through_after_it() {
        let (mut writer, page) = watched("blocked");
        // Its default action is none.
        let sent = page.gate().want().unwrap().try_send(libc::SIGURG).unwrap();
        writer.park();
        assert!(writer.gate.is_blocked() && writer.due.any == Ticks::NONE);
        page.gate().handled();
        assert!(sent.is_handled());
        writer.unpark(1);
        assert!(!writer.gate.is_blocked() && writer.due.any != Ticks::NONE);
    }
}
