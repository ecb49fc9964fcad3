//! The thread pool of libuv, seen from outside by the agent: how many threads it has, how many run, how many jobs wait.
//!
//! One pool serves all loops of a process, so the main thread's page has it. Where the program's file has symbols, the pool's
//! variables are read: they are found on a thread that ends with that, and the agent looks at them when it looks at the pages.
//! Nothing of that runs on a loop's thread. How long jobs wait and run is in no variable, and is not told.
//!
//! Where it has none, a job of ours (`waits`) tells how long jobs wait, and since when the one waits that was sent last. How many
//! wait and run is not told then.

pub mod symbols;
pub(crate) mod waits;

use crate::log;
use crate::sys::PoolMemory;
use loopscope_probe::observer::{Observer, Sighting};
use loopscope_probe::raw::file_limit::without_signals;
use loopscope_probe::{ObservedPool, PoolWriter, Ticks, WorkKind};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The program's own file.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// How soon the agent is to look again while jobs run, in nanoseconds.
const AGAIN_NS: u64 = 50_000_000;

/// A job of ours that is on its way for less may be about to run: nothing waits because of that, in nanoseconds.
const WAITS_NS: u64 = 5_000_000;

/// Tells the agent of the pool.
#[derive(Debug, Default)]
pub struct PoolObserver {
    told: Mutex<Told>,
    memory: OnceLock<PoolMemory>,
}

/// Where it is told, and what of a job of ours.
#[derive(Debug, Default)]
struct Told {
    writer: Option<PoolWriter>,
    /// When the job of ours was sent that is on its way; none while none is.
    probe_since: Ticks,
    /// Jobs of ours are sent.
    is_probed: bool,
}

impl PoolObserver {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins: what is seen goes to this writer. Where the pool cannot be seen, a line says why.
    pub fn begin(self: &Arc<Self>, writer: PoolWriter) {
        self.told().writer = Some(writer);
        let observer = self.clone();
        let thread = std::thread::Builder::new().name("loopscope-pool".to_owned());
        let find = move || {
            let found = symbols::locate(Path::new(PROGRAM)).map_err(|error| error.to_string());
            match found {
                Ok(found) => drop(observer.memory.set(PoolMemory::new(found))),
                Err(why) => log::off("the depth of the thread pool", &why),
            }
        };
        if let Err(error) = without_signals(|| thread.spawn(find)) {
            log::off("the depth of the thread pool", &error.to_string());
        }
    }

    /// Begins where jobs of ours are all that tells of the pool.
    pub fn begin_with_probes(&self, writer: PoolWriter) {
        let mut told = self.told();
        (told.writer, told.is_probed) = (Some(writer), true);
    }

    /// Notes that a job of ours is sent now, by `send`, which tells whether it was. Does not wait: where the agent looks at this
    /// moment, none is sent.
    pub(crate) fn probe_sent(&self, send: impl FnOnce() -> bool) -> bool {
        let Ok(mut told) = self.told.try_lock() else { return false };
        let Told { writer: Some(writer), probe_since: Ticks::NONE, .. } = &*told else { return false };
        // Before it is sent: it may run at once.
        let now = writer.clock().now();
        let is_sent = send();
        if is_sent {
            told.probe_since = now;
        }
        is_sent
    }

    /// The job of ours runs.
    pub(crate) fn probe_ran(&self) {
        let mut told = self.told();
        let since = std::mem::replace(&mut told.probe_since, Ticks::NONE);
        if let Some(writer) = told.writer.as_mut().filter(|_| since != Ticks::NONE) {
            let ns = writer.clock().ns_between(since, writer.clock().now());
            writer.probe_waited(WorkKind::Other, ns, waits::EVERY_NS);
        }
    }

    /// Writes what a job of ours tells.
    fn observe_probe(&self, at: Ticks) -> Option<Sighting> {
        let mut told = self.told.try_lock().ok()?;
        let since = Some(told.probe_since).filter(|_| told.is_probed)?;
        let writer = told.writer.as_mut()?;
        let is_out = since != Ticks::NONE;
        let waits = is_out && writer.clock().ns_between(since, at) >= WAITS_NS;
        writer.observe(ObservedPool { oldest: waits.then_some(since), ..ObservedPool::default() }, at);
        Some(if is_out { Sighting::nothing().again_within(AGAIN_NS) } else { Sighting::nothing() })
    }
}

impl Observer for PoolObserver {
    fn look(&self, at: Ticks) -> Sighting {
        let Some(depth) = self.memory.get().and_then(PoolMemory::depth) else {
            return self.observe_probe(at).unwrap_or_default();
        };
        let running = u64::from(depth.threads - depth.idle.min(depth.threads));
        if let Ok(mut told) = self.told.try_lock()
            && let Some(writer) = told.writer.as_mut()
        {
            writer.observe(
                ObservedPool {
                    threads: Some(u64::from(depth.threads)),
                    running: Some(running),
                    queued: Some(depth.queued),
                    oldest: None,
                    is_share_full: depth.is_slow_full,
                },
                at,
            );
        }
        match running + depth.queued {
            0 => Sighting::nothing(),
            _ => Sighting::nothing().again_within(AGAIN_NS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Clock, VirtualClock, Writer};

    const MS: u64 = 1_000_000;

    #[test]
    fn a_job_of_ours_tells_how_long_jobs_wait_and_since_when_one_does() {
        let time = VirtualClock::starting_at(1_000 * MS);
        let mut writer = Writer::builder("pool").clock(Clock::simulated(time.clone())).build();
        let observer = PoolObserver::default();
        observer.begin_with_probes(writer.take_pool().unwrap());
        let look = || {
            let at = Clock::simulated(time.clone()).now();
            let again_ns = observer.look(at).again_ns;
            let pool = writer.page().snapshot(writer.clock()).pool.unwrap();
            (again_ns, pool.oldest_wait_ns, pool.queued, pool.running, pool.threads)
        };
        assert_eq!(look(), (0, None, None, None, None), "nothing is made up");
        assert!(observer.probe_sent(|| true));
        assert_eq!(look(), (AGAIN_NS, None, None, None, None), "it is about to run");
        assert!(!observer.probe_sent(|| panic!("one is on its way")));
        time.advance_ns(300 * MS);
        assert_eq!(look(), (AGAIN_NS, Some(300 * MS), None, None, None));
        time.advance_ns(100 * MS);
        observer.probe_ran();
        assert_eq!(look(), (0, None, None, None, None));
        let pool = writer.page().snapshot(writer.clock()).pool.unwrap();
        let waits = &pool.wait[WorkKind::Other.index()];
        assert_eq!(
            (waits.count(), waits.sum_ns),
            (2, 550 * MS),
            "one more would have been sent after 250 ms"
        );
        // It has gone through, and runs once more.
        observer.probe_ran();
        assert!(!observer.probe_sent(|| false) && observer.probe_sent(|| true));
    }

    #[test]
    fn a_loop_whose_pool_the_agent_looks_at_does_not_wait_for_it() {
        let mut writer = Writer::builder("pool").private().build();
        let observer = PoolObserver::default();
        observer.begin_with_probes(writer.take_pool().unwrap());
        let looking = observer.told();
        assert!(!observer.probe_sent(|| panic!("the agent looks")));
        drop(looking);
        assert!(observer.probe_sent(|| true));
    }
}
