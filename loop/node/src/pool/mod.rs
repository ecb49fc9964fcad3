//! The thread pool of libuv, seen from outside by the agent: how many threads it has, how many run, how many jobs wait.
//!
//! One pool serves all loops of a process, so the main thread's page has it. Nothing of it runs on a loop's thread: the symbols
//! are found on a thread that ends with that, and the agent looks at the variables when it looks at the pages. How long jobs
//! wait and run cannot be seen in this way, and is not told.

pub mod symbols;

use crate::log;
use crate::sys::PoolMemory;
use loopscope_probe::file_limit::without_signals;
use loopscope_probe::observer::{Observer, Sighting};
use loopscope_probe::{ObservedPool, PoolWriter, Ticks};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How soon the agent is to look again while jobs run, in nanoseconds.
const AGAIN_NS: u64 = 50_000_000;

/// Tells the agent of the pool.
#[derive(Debug, Default)]
pub struct PoolObserver {
    writer: Mutex<Option<PoolWriter>>,
    memory: OnceLock<PoolMemory>,
}

impl PoolObserver {
    /// Begins: what is seen goes to this writer. Where the pool cannot be seen, a line says why.
    pub fn begin(self: &Arc<Self>, writer: PoolWriter) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        let observer = self.clone();
        let thread = std::thread::Builder::new().name("loopscope-pool".to_owned());
        let find = move || {
            let found = symbols::locate(Path::new("/proc/self/exe")).map_err(|error| error.to_string());
            match found.and_then(|found| PoolMemory::new(found).map_err(|missing| missing.to_string())) {
                Ok(memory) => drop(observer.memory.set(memory)),
                Err(why) => log::off("the depth of the thread pool", &why),
            }
        };
        if let Err(error) = without_signals(|| thread.spawn(find)) {
            log::off("the depth of the thread pool", &error.to_string());
        }
    }
}

impl Observer for PoolObserver {
    fn look(&self, at: Ticks) -> Sighting {
        let Some(depth) = self.memory.get().and_then(PoolMemory::depth) else { return Sighting::nothing() };
        let running = u64::from(depth.threads - depth.idle.min(depth.threads));
        if let Ok(mut writer) = self.writer.try_lock()
            && let Some(writer) = writer.as_mut()
        {
            writer.observe(
                ObservedPool {
                    threads: Some(u64::from(depth.threads)),
                    running: Some(running),
                    queued: Some(depth.queued),
                    oldest: None,
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
