//! Models of everything that a loop's thread shares with its readers, checked over all interleavings and over all
//! values that the memory model lets a relaxed load return.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p loopscope-probe --test loom --release`; in any other build this file
//! is empty. The page as a whole is too large for a model , so each model
//! takes the smallest set of words that shows one pairing.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::thread;
use loopscope_probe::SiteId;
use loopscope_probe::Ticks;
use loopscope_probe::raw::barrier::{Barrier, all_threads};
use loopscope_probe::raw::capture_gate::CaptureGate;
use loopscope_probe::raw::observed::{Observed, ObservedWords};
use loopscope_probe::raw::open_spans::OpenWords;
use loopscope_probe::raw::ring::{ENTRY_WORDS, EntryWords, Ring};
use loopscope_probe::raw::shared_u64::{AgentOwned, LoopOwned, SharedU64, WriteToken};
use loopscope_probe::raw::sleep_flag::SleepFlag;

/// The entry that carries `number` in every word, each word different.
fn entry(number: u64) -> EntryWords {
    std::array::from_fn(|word| number * 10 + word as u64 + 1)
}

#[derive(Default)]
struct SmallRing {
    count: SharedU64<LoopOwned>,
    cells: [[SharedU64<LoopOwned>; ENTRY_WORDS]; 2],
}

impl SmallRing {
    fn view(&self) -> Ring<'_> {
        Ring::new(&self.count, &self.cells)
    }
}

/// Pushes `before` entries, then two more while a reader copies the ring.
fn torn_read_model(before: u64) {
    let ring = Arc::new(SmallRing::default());
    let pen = WriteToken::mint_for_model();
    for number in 0..before {
        ring.view().push(&pen, entry(number));
    }
    let writing = ring.clone();
    let writer = thread::spawn(move || {
        for number in before..before + 2 {
            writing.view().push(&pen, entry(number));
        }
    });
    for (number, words) in ring.view().read(0) {
        assert_eq!(words, entry(number), "entry {number} is torn");
    }
    writer.join().unwrap();
    // With the writer at rest nothing is lost but the one entry that it could be overwriting.
    let last = before + 1;
    assert_eq!(ring.view().read(0), [(last, entry(last))]);
}

// Removing the release fence in `Ring::push` fails this with "entry 0 is torn"; removing the acquire fence in
// `Ring::read` does too; both were tried.
#[test]
fn a_reader_never_returns_an_entry_that_is_being_overwritten() {
    loom::model(|| torn_read_model(1));
}

#[test]
fn a_reader_returns_a_new_entry_whole() {
    loom::model(|| torn_read_model(0));
}

/// The words of a busy period, as `unpark` and `park` write them and `Page::now_values` reads them.
#[derive(Default)]
struct BusyWords {
    busy_since: SharedU64<LoopOwned>,
    parked_since: SharedU64<LoopOwned>,
    busy_first: SharedU64<LoopOwned>,
    running: SharedU64<LoopOwned>,
}

impl BusyWords {
    fn unpark(&self, pen: &WriteToken<LoopOwned>, now: u64) {
        self.busy_first.set(pen, now + 1);
        self.running.set(pen, now + 2);
        self.busy_since.publish(pen, now);
    }

    fn park(&self, pen: &WriteToken<LoopOwned>, now: u64) {
        self.parked_since.set(pen, now);
        self.busy_since.publish(pen, 0);
    }
}

// With `SharedU64::publish` made relaxed, or `SharedU64::observe`, this and the next model fail; both were tried.
#[test]
fn a_reader_that_sees_a_busy_period_sees_where_it_began() {
    loom::model(|| {
        let words = Arc::new(BusyWords::default());
        let writing = words.clone();
        let writer = thread::spawn(move || {
            let pen = WriteToken::mint_for_model();
            writing.unpark(&pen, 10);
            writing.park(&pen, 20);
            writing.unpark(&pen, 30);
        });
        let since = words.busy_since.observe();
        if since != 0 {
            // As of this busy period or, where the reader is late, of a following one: never of an earlier one.
            assert!(words.busy_first.get() > since, "progress is counted from an earlier busy period");
            assert!(
                words.running.get() > since,
                "what ran in an earlier busy period seems to run in this one"
            );
        }
        writer.join().unwrap();
    });
}

// The same pairing carries a table's length: sites and paths are written before the length that counts them.
#[test]
fn a_reader_that_sees_a_poll_sees_when_it_began() {
    loom::model(|| {
        let words = Arc::new(BusyWords::default());
        let pen = WriteToken::mint_for_model();
        words.unpark(&pen, 10);
        let writing = words.clone();
        let writer = thread::spawn(move || writing.park(&WriteToken::mint_for_model(), 20));
        if words.busy_since.observe() == 0 {
            assert_eq!(words.parked_since.get(), 20);
        }
        writer.join().unwrap();
    });
}

// With the release fence after the change removed, or the reader's acquire fence, this fails; both were tried.
#[test]
fn a_reader_never_counts_a_busy_period_both_as_running_and_as_over() {
    loom::model(|| {
        let (busy_since, active) =
            (Arc::new(SharedU64::<LoopOwned>::default()), Arc::new(SharedU64::default()));
        busy_since.publish(&WriteToken::mint_for_model(), 10);
        let (writing, counting) = (busy_since.clone(), active.clone());
        // The end of a busy period, as `park` tells it: first the change, then the time that the busy period took.
        let writer = thread::spawn(move || {
            let pen = WriteToken::mint_for_model();
            writing.publish(&pen, 0);
            fence(Ordering::Release);
            counting.set(&pen, 7);
        });
        // `Page::vitals_at`: the reading stands only if the busy period did not change over it.
        let since = busy_since.observe();
        let counted = active.get();
        fence(Ordering::Acquire);
        if busy_since.observe() == since && since != 0 {
            assert_eq!(counted, 0, "the busy period is running, and its time is counted");
        }
        writer.join().unwrap();
    });
}

// Without the comparison of `parked_since` this fails, and so it does where the first reading of the two has the order of the
// second, or the second that of the first; all were tried.
#[test]
fn a_reader_never_counts_a_poll_both_as_running_and_as_over() {
    loom::model(|| {
        let (words, idle) = (Arc::new(BusyWords::default()), Arc::new(SharedU64::<LoopOwned>::default()));
        words.parked_since.set(&WriteToken::mint_for_model(), 10);
        let (writing, counting) = (words.clone(), idle.clone());
        // A whole busy period from 20 to 30, which ends the poll that began at 10.
        let writer = thread::spawn(move || {
            let pen = WriteToken::mint_for_model();
            writing.busy_since.publish(&pen, 20);
            fence(Ordering::Release);
            counting.set(&pen, 10);
            writing.park(&pen, 30);
            fence(Ordering::Release);
        });
        // `Page::vitals_at`: the reading stands only if the period did not change over it.
        let parked_since = words.parked_since.get();
        fence(Ordering::Acquire);
        let since = words.busy_since.observe();
        let counted = idle.get();
        fence(Ordering::Acquire);
        let is_still = words.busy_since.observe() == since && words.parked_since.get() == parked_since;
        if is_still && since == 0 {
            let expected = if parked_since == 10 { 0 } else { 10 };
            assert_eq!(
                counted, expected,
                "the time of the poll that is over, read in that of {parked_since}"
            );
        }
        writer.join().unwrap();
    });
}

/// One agent that wants to sleep.
struct Sleeper {
    sleep_flag: SleepFlag,
    busy: [SharedU64<LoopOwned>; 2],
}

impl Sleeper {
    fn new() -> Arc<Sleeper> {
        Arc::new(Sleeper { sleep_flag: SleepFlag::new(), busy: Default::default() })
    }

    /// What the agent does; returns true where it would now block in the kernel.
    fn agent_sleeps(&self) -> bool {
        self.sleep_flag.about_to_sleep(Barrier::Fence);
        let is_idle = self.busy.iter().all(|busy| busy.observe() == 0);
        if !is_idle {
            self.sleep_flag.stay_awake();
        }
        is_idle
    }

    /// What `unpark` does on one loop's thread; returns true where it wakes the agent.
    fn loop_wakes(&self, number: usize) -> bool {
        self.busy[number].publish(&WriteToken::mint_for_model(), 1);
        self.sleep_flag.must_wake(Barrier::Fence)
    }
}

// With either fence of `SleepFlag` removed this and the last model fail with "asleep, and not woken"; both were tried.
//
// `Barrier::Asymmetric` has no model, because loom knows no membarrier, and needs none. The kernel's call makes every
// running thread pass a full barrier at some point of its program between the agent's store and the agent's next load
// (a thread that is not running passed one when it was switched out), and the loop's compiler fence keeps its store
// before its load. That point lies either after the loop's store, which the agent then sees, or before the loop's
// load, which then sees the agent's flag. So it is the fence of this model, put where the kernel chooses.
#[test]
fn the_agent_never_sleeps_through_the_start_of_a_busy_period() {
    loom::model(|| {
        let sleeper = Sleeper::new();
        let waking = sleeper.clone();
        let woken = thread::spawn(move || waking.loop_wakes(0));
        let is_asleep = sleeper.agent_sleeps();
        let was_woken = woken.join().unwrap();
        assert!(!is_asleep || was_woken, "asleep, and not woken");
    });
}

#[test]
fn two_loops_that_wake_at_once_wake_the_agent_once() {
    loom::model(|| {
        let sleeper = Sleeper::new();
        sleeper.sleep_flag.about_to_sleep(Barrier::Fence);
        let wakes = [0, 1].map(|number| {
            let waking = sleeper.clone();
            thread::spawn(move || waking.loop_wakes(number))
        });
        let count = wakes.map(|wake| wake.join().unwrap()).into_iter().filter(|woke| *woke).count();
        assert_eq!(count, 1);
    });
}

#[test]
fn of_two_loops_at_least_one_wakes_an_agent_that_falls_asleep() {
    loom::model(|| {
        let sleeper = Sleeper::new();
        let wakes = [0, 1].map(|number| {
            let waking = sleeper.clone();
            thread::spawn(move || waking.loop_wakes(number))
        });
        let is_asleep = sleeper.agent_sleeps();
        let count = wakes.map(|wake| wake.join().unwrap()).into_iter().filter(|woke| *woke).count();
        assert!(count <= 1, "one sleep costs one wake");
        assert!(!is_asleep || count == 1, "asleep, and not woken");
    });
}

/// One loop, its gate, and the signal that is queued at its thread.
struct Gated {
    gate: std::sync::Arc<CaptureGate>,
    busy: SharedU64<LoopOwned>,
    pending: AtomicBool,
}

impl Gated {
    /// Of a loop that is busy, in a process without `membarrier`: both sides make fences. With it the argument is that of
    /// the sleep flag above.
    fn new() -> Arc<Gated> {
        let gate = std::sync::Arc::new(CaptureGate::new(true));
        let gated = Gated { gate, busy: SharedU64::default(), pending: AtomicBool::new(false) };
        gated.busy.publish(&WriteToken::mint_for_model(), 1);
        Arc::new(gated)
    }

    /// The kernel delivers what is pending; the handler runs on the loop's thread.
    fn deliver(&self) -> bool {
        let is_delivered = self.pending.swap(false, Ordering::AcqRel);
        if is_delivered {
            self.gate.handled();
        }
        is_delivered
    }

    /// One poll of the loop; `waits` times it lets a signal arrive.
    fn poll(&self, mut waits: u32) {
        let pen = WriteToken::mint_for_model();
        self.busy.publish(&pen, 0);
        let may_wait = || {
            self.deliver();
            waits = waits.saturating_sub(1);
            waits > 0
        };
        let blocked = self.gate.before_poll(may_wait);
        // In the poll: what is delivered here ends it with EINTR.
        if blocked.is_none() {
            assert!(!self.deliver(), "a signal in a poll");
        }
        // Unblocked, right before the loop says that it is busy.
        self.deliver();
        self.busy.publish(&pen, 1);
    }

    /// One capture; returns whether its signal was queued.
    fn capture(&self, can_queue: bool) -> bool {
        let Ok(wanted) = self.gate.want() else { return false };
        all_threads();
        if self.busy.observe() == 0 {
            return false;
        }
        let Some(sent) = wanted.try_send(40) else { return false };
        match can_queue {
            true => self.pending.store(true, Ordering::Release),
            false => sent.failed(),
        }
        can_queue
    }
}

/// Models with three threads or several rounds: every schedule with at most three preemptions.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

// With the fence of `CaptureGate::settle` removed this fails with "a signal in a poll", as it does with that of
// `all_threads`; both were tried.
#[test]
fn no_signal_is_delivered_in_a_poll() {
    loom::model(|| {
        let gated = Gated::new();
        let asking = gated.clone();
        let agent = thread::spawn(move || asking.capture(true));
        gated.poll(2);
        agent.join().unwrap();
    });
}

#[test]
fn no_signal_is_delivered_in_a_poll_of_a_loop_that_does_not_wait() {
    loom::model(|| {
        let gated = Gated::new();
        let asking = gated.clone();
        let agent = thread::spawn(move || asking.capture(true));
        gated.poll(0);
        agent.join().unwrap();
    });
}

#[test]
fn a_request_of_an_earlier_round_sends_nothing_into_a_later_poll() {
    bounded(|| {
        let gated = Gated::new();
        let asking = gated.clone();
        let agent = thread::spawn(move || {
            asking.capture(true);
            asking.capture(true);
        });
        gated.poll(0);
        gated.poll(1);
        agent.join().unwrap();
    });
}

#[test]
fn two_agents_send_nothing_into_a_poll() {
    bounded(|| {
        let gated = Gated::new();
        let agents = [0, 1].map(|_| {
            let asking = gated.clone();
            thread::spawn(move || asking.capture(true))
        });
        gated.poll(1);
        for agent in agents {
            agent.join().unwrap();
        }
    });
}

#[test]
fn a_signal_that_cannot_be_queued_leaves_the_gate_as_it_was() {
    bounded(|| {
        let gated = Gated::new();
        let asking = gated.clone();
        let agent = thread::spawn(move || asking.capture(false));
        gated.poll(1);
        agent.join().unwrap();
        assert!(gated.gate.before_poll(|| false).is_none());
        assert!(gated.gate.want().is_ok());
    });
}

#[test]
fn nothing_is_sent_to_a_loop_that_has_ended() {
    loom::model(|| {
        let gated = Gated::new();
        let asking = gated.clone();
        let agent = thread::spawn(move || asking.capture(true));
        // The page of one that ends this way still says busy: the gate alone keeps the signal away.
        let blocked = gated.gate.close(|| {
            gated.deliver();
            false
        });
        agent.join().unwrap();
        assert!(blocked.is_some() || !gated.deliver(), "a signal after the loop's end");
    });
}

/// What runs, and the spans open inside it.
#[derive(Default)]
struct Spans {
    running: SharedU64<LoopOwned>,
    open: OpenWords,
}

impl Spans {
    /// A callback that enters spans of these sites, one inside the other.
    fn callback(&self, pen: &WriteToken<LoopOwned>, frame: u64, sites: &[u16]) {
        self.running.set(pen, frame);
        self.open.start(pen, frame);
        sites.iter().for_each(|site| self.open.push(pen, SiteId::from(*site), ""));
    }
}

/// Tells whether these are the first spans of one callback.
fn is_of_one_callback(told: &[u16]) -> bool {
    [10, 20].iter().any(|first| told.iter().zip(*first..).all(|(site, own)| *site == own))
}

/// A reader copies the spans while a second callback begins; `is_over` tells whether it knows that the first has ended.
fn open_spans_model(is_over: bool) {
    let (spans, pen) = (Arc::new(Spans::default()), WriteToken::mint_for_model());
    spans.callback(&pen, 1, &[10, 11]);
    if is_over {
        spans.running.set(&pen, 2);
    }
    let reading = spans.clone();
    let reader = thread::spawn(move || {
        let told = reading.open.read(&reading.running)?;
        Some(told.iter().map(|span| span.site.as_u16()).collect::<Vec<u16>>())
    });
    spans.callback(&pen, 2, &[20]);
    if let Some(told) = reader.join().unwrap() {
        assert!(is_of_one_callback(&told), "{told:?}");
        assert!(!is_over || told.first().is_none_or(|first| *first == 20), "{told:?} after its end");
    }
}

// With the fence of `OpenWords::change` or that of `read_once` removed, with either of `ended`'s pair relaxed, or without the
// second look, one of these fails; all were tried.
#[test]
fn a_copy_of_the_open_spans_is_of_one_callback() {
    bounded(|| open_spans_model(false));
}

#[test]
fn a_copy_of_the_open_spans_has_none_of_a_callback_that_has_ended() {
    bounded(|| open_spans_model(true));
}

// Removing either fence of `ObservedWords`, or the check of the counts, fails this; each was tried.
#[test]
fn a_copy_of_what_an_observer_saw_is_of_one_moment() {
    loom::model(|| {
        let words = Arc::new(ObservedWords::default());
        let pen = WriteToken::<AgentOwned>::mint_for_model();
        let running =
            Observed { busy_since: Ticks(10), parked_since: Ticks(1), active_ticks: 0, idle_ticks: 9 };
        let over =
            Observed { busy_since: Ticks(0), parked_since: Ticks(30), active_ticks: 20, idle_ticks: 9 };
        words.store(&pen, running, [false; 2]);
        let writing = words.clone();
        let agent = thread::spawn(move || writing.store(&pen, over, [true, false]));
        if let Ok(copy) = words.try_read() {
            assert!(copy == (running, [0, 0]) || copy == (over, [1, 0]), "{copy:?}");
        }
        agent.join().unwrap();
        assert_eq!(words.try_read(), Ok((over, [1, 0])));
    });
}
