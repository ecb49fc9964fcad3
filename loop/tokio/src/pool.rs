//! The blocking pool: how long jobs wait in it, told by a job that is sent to find out, and exactly by jobs that go through us.

use loopscope_probe::{ObservedPool, PoolWriter, Ticks, WorkKind};
use std::collections::BTreeSet;

/// The job that is to find out is sent this often, in nanoseconds.
pub(crate) const EVERY_NS: u64 = 250_000_000;

/// What is known of the pool of one runtime.
#[derive(Debug)]
pub(crate) struct Pool {
    writer: PoolWriter,
    /// When our jobs that wait were submitted, in ticks, each with a number.
    waiting: BTreeSet<(u64, u64)>,
    submitted: u64,
    /// When the job that is to find out was sent; [`Ticks::NONE`] while none is on its way.
    pub(crate) canary_since: Ticks,
    /// One that was sent before this is not counted: more are sent while others wait, and all count alike.
    counted_until: Ticks,
    /// What the runtime's metrics last told.
    told: ObservedPool,
    /// Jobs can be sent to find out.
    can_find_out: bool,
}

impl Pool {
    pub(crate) fn new(writer: PoolWriter) -> Pool {
        let told = ObservedPool::default();
        // Where the system refuses the pool its first thread, Tokio panics, which would end such a program.
        let can_find_out = !cfg!(panic = "abort");
        Pool {
            writer,
            waiting: BTreeSet::new(),
            submitted: 0,
            canary_since: Ticks::NONE,
            counted_until: Ticks::NONE,
            told,
            can_find_out,
        }
    }

    /// A job of ours was submitted.
    pub(crate) fn submit(&mut self) -> (u64, u64) {
        let now = self.writer.clock().now();
        self.submitted += 1;
        let job = (now.0, self.submitted);
        self.waiting.insert(job);
        job
    }

    /// It runs from now on; returns since when.
    pub(crate) fn start(&mut self, job: (u64, u64)) -> Ticks {
        let now = self.writer.clock().now();
        self.waiting.remove(&job);
        self.writer.waited(WorkKind::User, self.writer.clock().ns_between(Ticks(job.0), now));
        self.write(now);
        now
    }

    /// It has ended, where it `started`, or was never run.
    pub(crate) fn end(&mut self, job: (u64, u64), started: Ticks, is_ok: bool) {
        self.waiting.remove(&job);
        if started != Ticks::NONE {
            let clock = self.writer.clock();
            let ns = clock.ns_between(started, clock.now());
            self.writer.ran(WorkKind::User, ns, is_ok);
        }
    }

    /// Writes what is known at `now` to the page; `told` is what the runtime's metrics tell.
    pub(crate) fn publish(&mut self, now: Ticks, told: ObservedPool) {
        self.told = told;
        self.write(now);
    }

    /// Notes that the job that is to find out is sent now, unless one is on its way. Returns whether it is to be sent. From now on
    /// the pool is said to be full, and no job of it has waited for longer.
    pub(crate) fn send_canary(&mut self) -> bool {
        let is_free = self.canary_since == Ticks::NONE && self.can_find_out;
        if is_free {
            self.canary_since = self.writer.clock().now();
            self.write(self.canary_since);
        }
        is_free
    }

    /// The pool has no thread for the job that was sent, and can have none.
    pub(crate) fn canary_refused(&mut self) {
        self.can_find_out = false;
        self.canary_ended(false);
    }

    /// Also where a job has begun to run: until the next look, the page would call the pool full.
    fn write(&mut self, now: Ticks) {
        let own = self.waiting.first().map(|(since, _)| Ticks(*since));
        let canary = Some(self.canary_since).filter(|since| *since != Ticks::NONE);
        let oldest = own.into_iter().chain(canary).min_by_key(|since| since.0);
        // Of others' jobs that wait nobody knows since when.
        let nothing = Some(Ticks::NONE).filter(|_| self.can_find_out && !self.has_queue());
        self.writer.observe(ObservedPool { oldest: oldest.or(nothing), ..self.told }, now);
    }

    /// Tells whether the runtime's metrics tell of jobs that wait.
    pub(crate) fn has_queue(&self) -> bool {
        self.told.queued.is_some_and(|queued| queued > 0)
    }

    /// The job that was sent to find out `has_run`, or never will.
    pub(crate) fn canary_ended(&mut self, has_run: bool) {
        // One that was refused is in the queue all the same.
        if self.canary_since == Ticks::NONE {
            return;
        }
        let now = self.writer.clock().now();
        let ns = self.writer.clock().ns_between(self.canary_since, now);
        if has_run && self.canary_since >= self.counted_until {
            self.writer.probe_waited(WorkKind::Other, ns, EVERY_NS);
            // Looks are not as regular.
            let until_ns = ns - ns % EVERY_NS + EVERY_NS / 2;
            let ticks = self.writer.clock().scale().ticks(until_ns);
            self.counted_until = Ticks(self.canary_since.0.saturating_add(ticks));
        }
        self.canary_since = Ticks::NONE;
        self.write(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Clock, VirtualClock, Writer};

    #[test]
    fn a_pool_is_full_until_the_job_runs_that_waited_and_not_until_the_next_look() {
        let mut writer = Writer::builder("pool of a runtime").private().build();
        let mut pool = Pool::new(writer.take_pool().unwrap());
        let clock = writer.clock().clone();
        let now = || writer.page().vitals_at(&clock, clock.now()).pool.unwrap();
        let full = |pool: &mut Pool| {
            pool.publish(clock.now(), ObservedPool::default());
            // The clock goes on.
            while now().oldest_wait_ns == Some(0) || now().saturated_for_ns == 0 {}
        };
        assert!(pool.send_canary() && !pool.send_canary());
        full(&mut pool);
        pool.canary_ended(true);
        assert_eq!((now().oldest_wait_ns, now().saturated_for_ns), (Some(0), 0));
        let (first, second) = (pool.submit(), pool.submit());
        full(&mut pool);
        pool.start(first);
        assert!(now().saturated_for_ns > 0, "another one waits");
        pool.start(second);
        assert_eq!((now().oldest_wait_ns, now().saturated_for_ns), (Some(0), 0));
    }

    #[test]
    fn jobs_that_wait_and_of_which_nobody_knows_since_when_are_not_said_to_have_just_come() {
        let mut writer = Writer::builder("pool of a runtime").private().build();
        let mut pool = Pool::new(writer.take_pool().unwrap());
        let clock = writer.clock().clone();
        let mut age_when = |queued, act: fn(&mut Pool)| {
            act(&mut pool);
            pool.publish(clock.now(), ObservedPool { queued, ..ObservedPool::default() });
            writer.page().vitals_at(&clock, clock.now()).pool.unwrap().oldest_wait_ns
        };
        assert_eq!(age_when(Some(0), |_| {}), Some(0));
        assert_eq!(age_when(Some(3), |_| {}), None);
        assert!(age_when(Some(4), |pool| assert!(pool.send_canary())).is_some());
        assert_eq!(age_when(Some(3), |pool| pool.canary_ended(true)), None);
        assert_eq!(age_when(None, |_| {}), Some(0), "the job that is sent finds out");
    }

    #[test]
    fn what_is_sent_more_often_while_others_wait_counts_no_more_and_what_is_not_sent_while_one_waits_no_less()
    {
        let time = VirtualClock::starting_at(1_000_000_000);
        let mut writer = Writer::builder("pool of a runtime").clock(Clock::simulated(time.clone())).build();
        let mut pool = Pool::new(writer.take_pool().unwrap());
        let mut counted = |rest_ms: u64, waits_ms: u64| {
            time.advance_ns(rest_ms * 1_000_000);
            assert!(pool.send_canary());
            time.advance_ns(waits_ms * 1_000_000);
            pool.canary_ended(true);
            let wait = writer.page().snapshot(writer.clock()).pool.unwrap().wait;
            let wait = &wait[WorkKind::Other.index()];
            (wait.count(), wait.sum_ns / 1_000_000)
        };
        assert_eq!(counted(0, 20), (1, 20));
        assert_eq!(counted(10, 20), (1, 20), "after 30 ms");
        assert_eq!(counted(10, 20), (1, 20));
        assert_eq!(counted(160, 10), (2, 30), "sent after 240 ms");
        // 700, 450 and 200.
        assert_eq!(counted(240, 700), (5, 1_380));
        assert_eq!(counted(0, 20), (6, 1_400), "the last would have been sent 200 ms ago");
        assert_eq!(counted(30, 20), (6, 1_400));
    }

    #[test]
    fn a_pool_that_can_have_no_thread_is_asked_once_and_is_not_full() {
        let mut writer = Writer::builder("pool of a runtime").private().build();
        let mut pool = Pool::new(writer.take_pool().unwrap());
        let clock = writer.clock().clone();
        assert!(pool.send_canary());
        pool.canary_refused();
        pool.publish(clock.now(), ObservedPool::default());
        let told = writer.page().vitals_at(&clock, clock.now()).pool.unwrap();
        assert_eq!((told.oldest_wait_ns, told.saturated_for_ns), (None, 0));
        // The job is dropped with the queue.
        pool.canary_ended(false);
        assert!(!pool.send_canary());
    }

    #[test]
    fn a_pool_is_full_since_the_job_was_sent_and_not_since_the_look_that_has_begun_before() {
        let mut writer = Writer::builder("pool of a runtime").private().build();
        let mut pool = Pool::new(writer.take_pool().unwrap());
        let clock = writer.clock().clone();
        let begun = clock.now();
        // The clock goes on.
        while clock.now() == begun {}
        assert!(pool.send_canary());
        pool.publish(begun, ObservedPool::default());
        while clock.now() == pool.canary_since {}
        let told = writer.page().vitals_at(&clock, clock.now()).pool.unwrap();
        assert_eq!(told.oldest_wait_ns, Some(told.saturated_for_ns));
    }
}
