//! One loop under sampling: whether it is worth a sample now, what a sample stands for, and what was found.

use crate::address_source::AddressSources;
use crate::capture::{LoopCapturer, NoCapture, Prepared};
use crate::sample::store::{Found, Store};
use crate::sample::tally::Tally;
use crate::sample::weight::{HANDLER_NS, LookState, Place, Weights};
use loopscope_probe::raw::barrier::Barrier;
use loopscope_probe::raw::proc::{Sched, open_sched};
use loopscope_probe::raw::registry::LocalPage;
use loopscope_probe::raw::tags::Tags;
use loopscope_probe::{NowValues, Ticks};
use loopscope_report::profiles::Of;
use loopscope_stacks::thread::{Activity, ThreadState, cpu_ns};
use loopscope_stacks::{CaptureError, Sample, Unwinder};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What all loops of a session share.
pub(crate) struct Shared {
    pub of: Of,
    pub store: Store,
    pub tally: Tally,
    pub unwinder: Unwinder,
    /// Who names code of other runtimes.
    pub addresses: AddressSources,
    /// Start of the session, and this look, on the monotonic clock.
    pub begin_ns: u64,
    pub now_ns: u64,
    pub period_ns: u64,
}

/// One loop.
pub(crate) struct SampledLoop {
    pub page: LocalPage,
    index: usize,
    /// Its runtime names its own code.
    has_names: bool,
    /// `None` once its thread has ended.
    capturer: Option<LoopCapturer>,
    /// The thread's time runnable but not scheduled; `None` where the kernel does not tell.
    schedstat: Option<File>,
    weights: Weights,
    /// A sample that is prepared and not asked for.
    prepared: Option<Due>,
    /// A sample that was asked for and has not arrived.
    late: Option<Due>,
    /// Time for which no sample could be taken: the next one of the same busy period stands for it, too.
    carried: Carried,
    last: Option<Last>,
    has_samples: bool,
}

#[derive(Clone, Copy, Default)]
struct Carried {
    /// Begin of the busy period.
    busy_since: Ticks,
    ns: u64,
}

impl Carried {
    /// Returns what a sample of a busy period stands for that is due for `due_ns`, and time of an earlier busy period that no
    /// sample stands for, because it ended before a stack could be taken.
    fn joined(self, due_ns: u64, busy_since: Ticks) -> (u64, u64) {
        match self.busy_since == busy_since {
            true => (due_ns.saturating_add(self.ns), 0),
            false => (due_ns, self.ns),
        }
    }
}

/// What a sample stands for.
struct Due {
    ns: u64,
    busy_since: Ticks,
    /// The thread's CPU clock when it was due.
    cpu_ns: u64,
    /// Asked for in this look.
    is_fresh: bool,
    /// What the thread waited in; `None` where it ran.
    wait: Option<Arc<str>>,
}

impl Due {
    /// The thread has not run since it was asked: the sample that comes stands for this time, too. Processor time is
    /// counted since the last sample anyway.
    fn grow(&mut self, of: Of, ns: u64) {
        if of != Of::Cpu {
            self.ns = self.ns.saturating_add(ns);
        }
    }
}

/// The last sample of a thread that waits.
struct Last {
    stack: u32,
    /// The page's words at its instant: what ran, and in which spans.
    tags: Vec<u64>,
    wait: Arc<str>,
}

impl SampledLoop {
    pub(crate) fn new(page: LocalPage, index: usize, shared: &Shared) -> SampledLoop {
        let capturer = Some(LoopCapturer::of(page.clone()));
        let tid = page.thread().tid;
        let schedstat = open_sched(tid).ok();
        let first = LookState {
            now_ns: shared.now_ns,
            cpu_ns: cpu_ns(tid).unwrap_or(0),
            runqueue_ns: runqueue_ns(schedstat.as_ref()),
            ..LookState::default()
        };
        SampledLoop {
            has_names: shared.addresses.has(&page.page().facts().runtime),
            page,
            index,
            capturer,
            schedstat,
            weights: Weights::new(first),
            prepared: None,
            late: None,
            carried: Carried::default(),
            last: None,
            has_samples: false,
        }
    }

    /// Returns its index in the session.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Whether any sample was taken of it.
    pub(crate) fn has_samples(&self) -> bool {
        self.has_samples
    }

    /// Looks at the loop, and takes a sample where it is due and its thread sleeps; or prepares one where that runs, for
    /// which a barrier and [`send`](Self::send) come next.
    pub(crate) fn look(&mut self, shared: &mut Shared) {
        self.take_late(shared);
        if let Some(late) = &mut self.late {
            late.is_fresh = false;
        }
        let Some(cpu_ns) = cpu_ns(self.page.thread().tid) else {
            self.capturer = None;
            return;
        };
        let clock = self.page.clock();
        let now = self.page.page().now_values(clock.now(), clock);
        let found = LookState {
            now_ns: shared.now_ns,
            cpu_ns,
            runqueue_ns: runqueue_ns(self.schedstat.as_ref()),
            busy_ns: now.busy_ns,
            is_stalled: now.busy_ns > 0 && self.is_stall(&now),
            is_asleep: shared.of != Of::Cpu && now.busy_ns > 0 && self.is_asleep(),
        };
        let weight = self.weights.look(shared.of, found);
        if now.busy_ns == 0 {
            self.last = None;
        }
        let (due_ns, ran_ns) = (weight.ns, weight.ran_ns);
        if due_ns == 0 {
            return;
        }
        if let Some(late) = &mut self.late {
            late.grow(shared.of, due_ns);
            return;
        }
        let wait = match weight.place {
            Place::Running => None,
            Place::Ready => Some("[runnable, not scheduled]".into()),
            Place::Asleep => Some(self.waits_in()),
        };
        if !self.repeat(shared, ran_ns, due_ns, wait.as_ref()) {
            self.sample(shared, due_ns, wait);
        }
    }

    fn is_stall(&self, now: &NowValues) -> bool {
        now.unexpected_ns() > self.page.page().control().warning_ns()
    }

    /// Whether the thread sleeps in the kernel.
    fn is_asleep(&mut self) -> bool {
        let told = self.capturer.as_mut().and_then(LoopCapturer::is_asleep);
        told.unwrap_or_else(|| {
            let state = ThreadState::look(self.page.thread().tid);
            state.is_ok_and(|state| matches!(state.letter, 'S' | 'D'))
        })
    }

    /// Says what the thread sleeps in, as the innermost frame of its stack does.
    fn waits_in(&self) -> Arc<str> {
        match ThreadState::look(self.page.thread().tid) {
            // It has just been woken.
            Ok(state) if state.activity == Activity::Running => "[a call that has just ended]".into(),
            Ok(state) => format!("[{}]", state.words()).into(),
            Err(_) => "[unknown]".into(),
        }
    }

    /// Counts the last stack again where the thread has not left it: a signal would only disturb its wait.
    fn repeat(&mut self, shared: &mut Shared, ran_ns: u64, due_ns: u64, wait: Option<&Arc<str>>) -> bool {
        let words = self.page.page().tag_words();
        let runs_same = |last: &&Last| {
            let now = words.iter().map(|word| word.load(Ordering::Relaxed));
            Some(&last.wait) == wait && ran_ns < HANDLER_NS && now.eq(last.tags.iter().copied())
        };
        let same = self.last.as_ref().filter(runs_same);
        if let Some(last) = same {
            shared.store.again(last.stack, shared.now_ns.saturating_sub(shared.begin_ns), due_ns);
        }
        same.is_some()
    }

    /// Takes the sample of a thread that sleeps, or prepares one.
    fn sample(&mut self, shared: &mut Shared, due_ns: u64, wait: Option<Arc<str>>) {
        self.last = None;
        let busy_since = self.page.page().busy_since();
        let (ns, unseen_ns) = std::mem::take(&mut self.carried).joined(due_ns, busy_since);
        shared.tally.unseen_ns = shared.tally.unseen_ns.saturating_add(unseen_ns);
        let due = Due { ns, busy_since, cpu_ns: self.weights.cpu_ns(), is_fresh: true, wait };
        let Some(capturer) = &mut self.capturer else { return };
        match capturer.prepare() {
            // Where it sleeps is not where the processor's time went.
            Ok(Prepared::Arrived) if shared.of == Of::Cpu => _ = capturer.take(),
            Ok(Prepared::Arrived) => {
                let sample = capturer.take();
                if let Some(sample) = sample {
                    self.record(shared, &sample, due);
                }
            }
            Ok(Prepared::Wanted) => self.prepared = Some(due),
            Err(why) => self.put_off(shared, due, &why),
        }
    }

    /// Whether a sample is prepared, and whether its thread should be seen to run on before it is asked for.
    pub(crate) fn is_prepared(&self) -> Option<bool> {
        self.prepared.as_ref()?;
        self.capturer.as_ref().map(LoopCapturer::is_unsteady)
    }

    /// Asks for the sample that was prepared, after the barrier.
    pub(crate) fn send(&mut self, shared: &mut Shared, barrier: Barrier) {
        let (Some(due), Some(capturer)) = (self.prepared.take(), &mut self.capturer) else { return };
        // What waits or stalls is about to be met at its end.
        let needs_proof = capturer.is_unsteady() || matches!(shared.of, Of::Waits | Of::Stalls);
        match capturer.send(barrier, needs_proof) {
            Ok(()) => self.late = Some(due),
            Err(why) => self.put_off(shared, due, &why),
        }
    }

    /// No sample could be taken now.
    fn put_off(&mut self, shared: &mut Shared, due: Due, why: &NoCapture) {
        shared.tally.unproven += u64::from(matches!(why, NoCapture::NotNow));
        shared.tally.kept_out += u64::from(matches!(why, NoCapture::Busy));
        match why {
            // Processor time is counted since the last sample.
            NoCapture::NotNow | NoCapture::Busy | NoCapture::Ended if shared.of == Of::Cpu => {}
            NoCapture::NotNow | NoCapture::Busy => {
                self.carried = Carried { busy_since: due.busy_since, ns: due.ns };
            }
            NoCapture::Ended => shared.tally.lost += 1,
            NoCapture::Failed(CaptureError::ThreadGone) => self.capturer = None,
            NoCapture::Failed(CaptureError::InFlight) => shared.tally.lost += 1,
            NoCapture::Failed(error) => shared.note(error),
        }
    }

    /// Whether a sample that was asked for in this look has not arrived.
    pub(crate) fn is_awaited(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.is_fresh)
    }

    /// Records a sample that was requested, if it has arrived.
    pub(crate) fn take_late(&mut self, shared: &mut Shared) {
        let Some(capturer) = &mut self.capturer else { return };
        let sample = capturer.take();
        let is_lost = sample.is_none() && !capturer.is_waiting();
        match (sample, self.late.take()) {
            (Some(sample), Some(due)) => self.record(shared, &sample, due),
            (None, Some(_)) if is_lost => shared.tally.lost += 1,
            (_, late) => self.late = late,
        }
    }

    /// At the session's end, or the loop's: a sample that still has not come is lost.
    pub(crate) fn finish(&mut self, shared: &mut Shared) {
        self.take_late(shared);
        shared.tally.lost += u64::from(self.late.take().is_some());
        shared.tally.unseen_ns = shared.tally.unseen_ns.saturating_add(self.carried.ns);
        let (ran_ns, unseen_ns) = self.weights.unsampled_cpu_ns();
        // The last samples always leave a rest.
        if shared.of == Of::Cpu && unseen_ns > ran_ns / 10 {
            shared.tally.unseen_ns = shared.tally.unseen_ns.saturating_add(unseen_ns);
        }
    }

    fn record(&mut self, shared: &mut Shared, sample: &Sample, due: Due) {
        let Due { ns: due_ns, cpu_ns, wait, .. } = due;
        let page = self.page.page();
        let words = sample.tags.as_slice().try_into().ok();
        // Without tags, the loop reached its poll before the signal reached it.
        let Some(tags) = words.and_then(|words| Tags::decode(page, words)) else { return };
        let stack = shared.unwinder.unwind(sample);
        shared.tally.cut += u64::from(stack.is_cut);
        shared.tally.guessed += u64::from(stack.is_guessed);
        let found = Found {
            loop_index: self.index,
            phase: tags.running.phase,
            kind: tags.running.kind,
            site: tags.running.site,
            parent: tags.drained_after,
            spans: tags.spans,
            addresses: stack.addresses,
            foreign: sample.foreign.as_ref().filter(|_| self.has_names).cloned().unwrap_or_default(),
            wait: wait.clone(),
        };
        let at_ns = sample.at_ns.saturating_sub(shared.begin_ns);
        let (stack, is_kept) = shared.store.add(found, at_ns, due_ns);
        shared.tally.unkept += u64::from(!is_kept);
        self.weights.recorded(cpu_ns);
        self.has_samples = true;
        self.last = wait.map(|wait| Last { stack, tags: sample.tags.clone(), wait });
    }
}

/// Returns the time in which a thread was ready and had no processor, since it began; 0 where the kernel does not tell.
fn runqueue_ns(schedstat: Option<&File>) -> u64 {
    schedstat.and_then(Sched::read).map_or(0, |sched| sched.runqueue_ns)
}

impl Shared {
    /// Of a session that begins now.
    pub(crate) fn new(of: Of, addresses: AddressSources, now_ns: u64, period_ns: u64) -> Shared {
        let (store, tally, unwinder) = (Store::default(), Tally::default(), Unwinder::new());
        Shared { of, store, tally, unwinder, addresses, begin_ns: now_ns, now_ns, period_ns }
    }

    fn note(&mut self, error: &CaptureError) {
        self.tally.failed += 1;
        self.tally.failure.get_or_insert_with(|| error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl SampledLoop {
        /// Records a sample of the calling thread, which runs this loop.
        pub(crate) fn record_own(&mut self, shared: &mut Shared) {
            let target = crate::capture::target(&self.page);
            let mut capturer = loopscope_stacks::Capturer::attach(target).unwrap();
            let sample = capturer.capture(std::time::Duration::from_secs(30)).unwrap();
            let due = Due { ns: 5_000_000, busy_since: Ticks(0), cpu_ns: 0, is_fresh: true, wait: None };
            self.record(shared, &sample, due);
        }
    }

    #[test]
    fn time_without_a_sample_is_that_of_the_next_one_of_the_same_busy_period() {
        let carried = Carried { busy_since: Ticks(7), ns: 30 };
        assert_eq!(carried.joined(10, Ticks(7)), (40, 0));
        assert_eq!(carried.joined(10, Ticks(8)), (10, 30));
    }

    #[test]
    fn a_sample_that_is_late_stands_for_the_time_until_it_comes() {
        for (of, expected) in [(Of::Waits, 40), (Of::Stalls, 40), (Of::Cpu, 10)] {
            let mut due = Due { ns: 10, busy_since: Ticks(7), cpu_ns: 0, is_fresh: false, wait: None };
            due.grow(of, 30);
            assert_eq!(due.ns, expected, "{of:?}");
        }
    }
}
