//! The pages of this process: how its agent finds every loop without being told.
//!
//! The list is behind a mutex, but no verb of the probe takes it: only making and dropping a page does.

use crate::agent_address::AgentAddress;
use crate::barrier::Barrier;
use crate::capture_gate::CaptureGate;
use crate::clock::{Clock, Scale, Ticks};
use crate::control::ControlWords;
use crate::incident_id::number_of_stall;
use crate::limits::count;
use crate::loop_id::next_ordinal;
use crate::loop_id::{Called, called};
use crate::memory::Memory;
use crate::observer::{Observed, Observer};
use crate::shared_u64::{AgentOwned, WriteToken};
use crate::sleep_flag::{AGENT_SLEEP_FLAG, SleepFlag};
use crate::thread::LoopThread;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

/// A page of this process, for reading.
#[derive(Clone, Debug)]
pub struct LocalPage {
    memory: Arc<Memory>,
    clock: Clock,
    has_agent: Arc<AtomicBool>,
    number: u32,
    called: Arc<Called>,
    thread: LoopThread,
    gate: Arc<CaptureGate>,
    observer: Option<Arc<dyn Observer>>,
}

/// What a new page brings into the list.
pub(crate) struct NewPage {
    pub(crate) memory: Arc<Memory>,
    pub(crate) clock: Clock,
    pub(crate) gate: Arc<CaptureGate>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) thread: LoopThread,
}

impl LocalPage {
    /// Returns the page.
    pub fn page(&self) -> &crate::page::Page {
        self.memory.page()
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the loop's thread. It may have ended, and its number may be another's by now, once the page is no longer
    /// in [`pages`].
    pub fn thread(&self) -> &LoopThread {
        &self.thread
    }

    /// Returns the gate that keeps the signal of a capture out of the loop's poll.
    pub fn gate(&self) -> &Arc<CaptureGate> {
        &self.gate
    }

    /// Returns what tells of the loop what its thread does not; `None` where the thread tells all.
    pub fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// Returns a number that no other page of this process has or had: the one in the name of its file, where it has one.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns what the loop is called, from when it was made to its end: its name, made unique among the loops that lived
    /// in this process then.
    pub fn label(&self) -> &str {
        &self.called.label
    }

    /// Returns what the loop and its runtime are called.
    pub fn called(&self) -> &Called {
        &self.called
    }

    /// Returns what the runtime is called that the loop is a worker of; `None` for a loop by itself.
    pub fn runtime_label(&self) -> Option<&str> {
        Some(&*self.called.runtime).filter(|label| !label.is_empty())
    }

    /// Tells whether an agent has seen that the thread ceased to run this loop: its label may be another's by now.
    pub fn is_retired(&self) -> bool {
        self.page().control().retired() != Ticks::NONE
    }

    /// Tells whether this is the loop, or one of the loops, that a person calls `name`: by its label, by its name, or by its
    /// runtime's label.
    pub fn is_called(&self, name: &str) -> bool {
        self.label() == name || self.runtime_label() == Some(name) || self.page().loop_name() == name
    }

    /// Returns the page's file, `None` where other processes cannot see it.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.memory.path()
    }

    /// Returns why the page is not in a file, `None` where it is.
    pub fn private_because(&self) -> Option<&str> {
        self.memory.private_because.as_deref()
    }

    /// Notes the number of the last incident that the page can have told, where no agent counts them: so many stalls have
    /// ended, and one may be under way.
    fn note_told(&self, ended: u64, may_be_stalled: bool) {
        let control = self.page().control();
        let uncounted = count(ended).saturating_sub(control.stalls_counted());
        let told = uncounted.saturating_add(u64::from(may_be_stalled));
        if let Some(before) = told.checked_sub(1).filter(|_| !self.has_agent.load(Ordering::Acquire)) {
            let last = number_of_stall(control.incidents(), self.number, before);
            INCIDENTS.fetch_max(last, Ordering::Relaxed);
        }
    }

    /// Takes the right to write the page's control words. `None` where another agent of this process has it.
    pub fn take_control(&self) -> Option<Controller> {
        let is_first = !self.has_agent.swap(true, Ordering::AcqRel);
        is_first.then(|| Controller {
            memory: self.memory.clone(),
            scale: self.clock.scale(),
            pen: WriteToken::mint(),
            has_agent: self.has_agent.clone(),
        })
    }
}

/// The right to write one page's control words. Given back when dropped.
#[derive(Debug)]
pub struct Controller {
    memory: Arc<Memory>,
    scale: Scale,
    pen: WriteToken<AgentOwned>,
    has_agent: Arc<AtomicBool>,
}

impl Controller {
    fn words(&self) -> &ControlWords {
        self.memory.page().control()
    }

    /// Sets the stall thresholds in nanoseconds; 0 stands for the default.
    pub fn set_thresholds(&self, warning_ns: u64, critical_ns: u64) {
        self.words().set_thresholds(&self.pen, warning_ns, critical_ns);
    }

    /// Says that at `at` the loop was seen to have polled within its busy period: it is busy since then.
    pub fn set_turned(&self, at: Ticks) {
        self.words().set_turned(&self.pen, at);
    }

    /// Says that at `at` the thread was seen to have ceased to run this loop.
    pub fn retire(&self, at: Ticks) {
        self.words().set_retired(&self.pen, at);
    }

    /// Says when an observer saw the loop busy and waiting. For a page that is [`observed`](crate::Builder::observed).
    pub fn set_observed(&self, observed: Observed) {
        self.words().set_observed(&self.pen, observed, |ticks| self.scale.duration_ns(ticks));
    }

    /// Says that the agent lives, at a wall-clock time in nanoseconds since 1970.
    pub fn set_tick(&self, unix_ns: u64) {
        self.words().set_tick(&self.pen, unix_ns);
    }

    /// Says that the agent has counted so many incidents of the process, all that there were: those of this loop's
    /// stalls that have ended, too.
    pub fn set_incidents(&self, incidents: u64) {
        let page = self.memory.page();
        self.words().set_incidents(&self.pen, incidents, page.tallies.blocked[0].get());
        INCIDENTS.fetch_max(incidents, Ordering::Relaxed);
    }

    /// Says where the agent's socket file beside the pages is, `None` where it has none.
    pub fn set_socket(&self, socket: Option<&AgentAddress>) {
        self.words().set_socket(&self.pen, socket);
    }

    /// Says where the agent listens, `None` for nowhere. Of its [`AgentAddress::page_text`], a page has room for
    /// [`ADDRESS_BYTES_MAX`](crate::control::ADDRESS_BYTES_MAX) bytes.
    pub fn set_address(&self, address: Option<&AgentAddress>) {
        self.words().set_address(&self.pen, address);
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.words().set_tick(&self.pen, 0);
        self.words().set_address(&self.pen, None);
        self.words().set_socket(&self.pen, None);
        self.has_agent.store(false, Ordering::Release);
    }
}

static PAGES: Mutex<Vec<LocalPage>> = Mutex::new(Vec::new());
/// The process whose list it is, 0 before the first: any other is its forked child. Written once in each process, by any
/// thread, in a child with the list locked; relaxed, because whoever reads another number than its own is in a child, where
/// it was written before the fork, or by a thread that has the lock.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Who holds the list does so for microseconds: where anybody will let go of it, so many tries at this distance are enough.
const CHILD_TRIES: u32 = 100;
const CHILD_WAIT: Duration = Duration::from_micros(200);
static CHANGES: AtomicU64 = AtomicU64::new(0);
/// The number of the last incident of this process, as far as that is known: see [`incidents_told`]. Only ever
/// raised, by agents and by threads whose loops end; relaxed, because nothing else hangs on it.
static INCIDENTS: AtomicU64 = AtomicU64::new(0);
static FENCED_SLEEP_FLAG: SleepFlag = SleepFlag::of_sleeper();
static WAKER: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Returns the pages of the loops that live in this process, oldest first.
pub fn pages() -> Vec<LocalPage> {
    locked().map(|pages| pages.clone()).unwrap_or_default()
}

/// Locks the list. In a forked child a thread that is not there may hold it for ever: then, after some 20 ms, `None`, and the
/// child does without. Once it has the lock, the list is its own, and empty: the loops are its parent's, with its parent's
/// threads and agent, and their pages are zeros here.
fn locked() -> Option<MutexGuard<'static, Vec<LocalPage>>> {
    let pid = std::process::id();
    let owner =
        OWNER.compare_exchange(0, pid, Ordering::Relaxed, Ordering::Relaxed).unwrap_or_else(|owner| owner);
    if owner == 0 || owner == pid {
        return Some(PAGES.lock().unwrap_or_else(PoisonError::into_inner));
    }
    for _ in 0..CHILD_TRIES {
        match PAGES.try_lock() {
            Ok(pages) => return Some(of_child(pages, pid)),
            Err(TryLockError::Poisoned(pages)) => return Some(of_child(pages.into_inner(), pid)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(CHILD_WAIT),
        }
    }
    None
}

/// Empties the list, where it is still the parent's. Nothing in it is dropped: observers are the code of others, for threads
/// that are not here.
fn of_child(mut pages: MutexGuard<'static, Vec<LocalPage>>, pid: u32) -> MutexGuard<'static, Vec<LocalPage>> {
    if OWNER.load(Ordering::Relaxed) != pid {
        std::mem::forget(std::mem::take(&mut *pages));
        OWNER.store(pid, Ordering::Relaxed);
    }
    pages
}

/// Returns a number that changes whenever [`pages`] does; cheap enough to look at on every tick.
pub fn changes() -> u64 {
    CHANGES.load(Ordering::Acquire)
}

/// Returns a number that every incident told of this process until now has or is above: by its agents, or by its
/// pages while it had none. An agent goes on from it.
pub fn incidents_told() -> u64 {
    pages().iter().for_each(|page| {
        let (vitals, control) = (page.page().vitals_at(&page.clock, page.clock.now()), page.page().control());
        let is_stalled = vitals.now.unexpected_ns() > control.warning_ns();
        page.note_told(vitals.stalls_ended, is_stalled);
    });
    INCIDENTS.load(Ordering::Relaxed)
}

/// Returns the flag that an agent of this process raises before it sleeps, for a loop.
pub(crate) fn agent_sleep_flag() -> &'static SleepFlag {
    &AGENT_SLEEP_FLAG
}

/// Returns a flag that is always raised, for loops that must make a fence before they read [`agent_sleep_flag`].
pub(crate) fn fenced_sleep_flag() -> &'static SleepFlag {
    &FENCED_SLEEP_FLAG
}

/// Wakes the agent if it sleeps. After the store that says "busy".
#[cold]
pub(crate) fn wake_if_asleep() {
    if AGENT_SLEEP_FLAG.must_wake(crate::barrier::of_loop()) {
        wake_agent();
    }
}

/// Has the agent of this process ask all [observers](crate::observer) again, also where it sleeps because all loops
/// wait: for a runtime whose loop goes on, and whose thread does not tell its page so. For any thread; not for each
/// callback.
pub fn note_change() {
    CHANGES.fetch_add(1, Ordering::Release);
    wake_if_asleep();
}

/// Returns the flag that an agent of this process raises before it sleeps, and the barrier to use with it. The first
/// call may take 20 ms: see `barrier`.
pub fn sleep_flag() -> (&'static SleepFlag, Barrier) {
    (&AGENT_SLEEP_FLAG, crate::barrier::of_agent())
}

/// Asks every loop of this process to make fences, where an agent has found that it needs them, and returns whether all do.
/// Until they do, an agent must not rely on being woken.
pub fn all_fenced() -> bool {
    if crate::barrier::of_loop() == Barrier::Asymmetric {
        return true;
    }
    let Some(pages) = locked() else { return false };
    pages.iter().for_each(|page| page.gate.ask_for_fences());
    pages.iter().all(|page| page.gate.is_fenced())
}

/// Sets how a loop wakes the agent: with two system calls at most, without blocking and without allocating.
/// The first caller in a process decides; returns false for any other.
pub fn set_waker(wake: impl Fn() + Send + Sync + 'static) -> bool {
    WAKER.set(Box::new(wake)).is_ok()
}

#[cold]
pub(crate) fn wake_agent() {
    if let Some(wake) = WAKER.get() {
        wake();
    }
}

/// Adds a page. `complete` takes what the loop is called, and makes a page of it that others may read: all else is written
/// before.
pub(crate) fn add(new: NewPage, complete: impl FnOnce(&Called)) {
    let NewPage { memory, clock, gate, observer, thread } = new;
    let number = memory.number().unwrap_or_else(|| next_ordinal(0));
    let has_agent = Arc::default();
    let (name, runtime) = (memory.page().loop_name(), memory.page().facts().group);
    // No agent has the page yet.
    memory.page().control().set_incidents(&WriteToken::mint(), INCIDENTS.load(Ordering::Relaxed), 0);
    match locked() {
        Some(mut pages) => {
            let in_use = pages.iter().filter(|page| !page.is_retired()).map(|page| &*page.called);
            let called = Arc::new(called(&name, &runtime, in_use));
            complete(&called);
            pages.push(LocalPage { memory, clock, has_agent, number, called, thread, gate, observer });
        }
        None => complete(&called(&name, &runtime, std::iter::empty())),
    }
    CHANGES.fetch_add(1, Ordering::Release);
    // An agent that sleeps should learn of the new loop.
    wake_agent();
}

/// Takes a page from the list whose loop has ended, in the middle of a busy period where it `was_busy`.
pub(crate) fn remove(memory: &Arc<Memory>, was_busy: bool) {
    let is_it = |page: &mut LocalPage| Arc::ptr_eq(&page.memory, memory);
    let note = |page: &LocalPage| page.note_told(page.page().tallies.blocked[0].get(), was_busy);
    // Noted before anybody finds it gone: an agent that starts goes on from the numbers that it has told.
    let gone = locked().map(|mut pages| pages.extract_if(.., is_it).inspect(note).collect::<Vec<_>>());
    // Outside the lock: an observer that goes with it may end a page of its own.
    drop(gone);
    CHANGES.fetch_add(1, Ordering::Release);
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::Writer;

    #[test]
    fn a_loop_keeps_its_label_and_a_later_one_takes_a_free_one() {
        let make = || Writer::builder("registry twin").private().build();
        let labels = || -> Vec<String> {
            let own = pages().into_iter().filter(|page| page.is_called("registry twin"));
            own.map(|page| page.label().to_owned()).collect()
        };
        let (first, second) = (make(), make());
        assert_eq!(labels(), ["registry twin", "registry twin#2"]);
        drop(first);
        assert_eq!(labels(), ["registry twin#2"]);
        let third = make();
        assert_eq!(labels(), ["registry twin#2", "registry twin"]);
        let numbers: Vec<u32> = pages().iter().map(LocalPage::number).collect();
        assert_eq!(numbers.iter().collect::<std::collections::HashSet<_>>().len(), numbers.len());
        drop((second, third));
    }

    /// Ends one busy period of a loop, which is a stall by a threshold of a nanosecond.
    fn stall(writer: &mut Writer) {
        writer.resume();
        let began = writer.last();
        // A shorter threshold takes effect with the next arrival, of which every two milliseconds have one.
        while writer.clock().ns_between(began, writer.clock().now()) < 2_000_000 {}
        writer.suspend();
    }

    #[test]
    fn an_agent_goes_on_after_the_numbers_that_pages_have_told_and_pages_after_its_own() {
        let mut writer = Writer::builder("numbered").private().build();
        let page = pages().into_iter().find(|page| page.is_called("numbered")).unwrap();
        let number = || {
            let control = page.page().control();
            let ended = page.page().vitals_at(page.clock(), page.clock().now()).stalls_ended;
            number_of_stall(control.incidents(), page.number(), ended - control.stalls_counted())
        };
        let agent = page.take_control().unwrap();
        agent.set_thresholds(1, 2);
        drop(agent);
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(number());
            stall(&mut writer);
        }
        assert!(incidents_told() >= told[2], "{told:?}");
        let agent = page.take_control().unwrap();
        let first = incidents_told() + 1;
        agent.set_incidents(first);
        drop(agent);
        assert!(number() > first && number() <= first + u64::from(page.number() + 1).pow(2));
        let later = Writer::builder("numbered later").private().build();
        assert!(later.page().control().incidents() >= first);
        stall(&mut writer);
        writer.resume();
        let last = number();
        drop(writer);
        assert!(incidents_told() >= last, "the loop may have ended in the stall that has this number");
    }
}
