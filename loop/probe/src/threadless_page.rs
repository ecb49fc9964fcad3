//! A page that no thread runs: of a runtime as a whole, whose workers have pages of their own.
//!
//! Its observer tells when it is busy; whoever holds it tells how long events waited, and has the writers of the pool
//! and of the gauges. It may be held anywhere, and by one at a time.

use crate::clock::{Clock, Ticks};
use crate::gauge_writer::GaugeWriter;
use crate::memory::Memory;
use crate::now::{NO_KIND, what};
use crate::page::Page;
use crate::paths::PathIndex;
use crate::pool_writer::PoolWriter;
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::site::{SiteId, SiteIndex};
use std::sync::Arc;

/// The one writer of such a page, which ends with it. Made by
/// [`Builder::build_threadless`](crate::Builder::build_threadless).
///
/// ```
/// use loopscope_probe::Writer;
///
/// let mut page = Writer::builder("runtime").build_threadless();
/// // A timer that measures the lag, 30 times a second, fired 3 ms late.
/// page.probe_waited(3_000_000, 33_000_000);
/// # drop(page);
/// ```
#[derive(Debug)]
pub struct ThreadlessPage {
    memory: Arc<Memory>,
    clock: Clock,
    has_pool: bool,
    has_gauges: bool,
}

impl ThreadlessPage {
    pub(crate) fn new(memory: Arc<Memory>, clock: Clock, pen: &WriteToken<LoopOwned>) -> ThreadlessPage {
        let page = memory.page();
        // Their first entries, which every page has.
        SiteIndex::new(pen, &page.sites);
        PathIndex::new(pen, &page.paths);
        page.now.parked_since.set(pen, page.created().0);
        page.now.running.set(pen, what(NO_KIND, SiteId::NONE));
        ThreadlessPage { memory, clock, has_pool: false, has_gauges: false }
    }

    /// Returns the page, for reading.
    pub fn page(&self) -> &Page {
        self.memory.page()
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns when the page was made.
    pub fn created(&self) -> Ticks {
        self.page().created()
    }

    /// An event that was sent to find out waited for `ns` nanoseconds: records it as the loop's lag. One is sent every `every_ns`, but
    /// not while one is on its way: those that were not sent are recorded, too, with what they would have waited.
    pub fn probe_waited(&mut self, ns: u64, every_ns: u64) {
        // A pen stays on its thread, and this may move: whoever has it alone is the one writer.
        self.memory.page().tallies.lag.record_probe(&WriteToken::mint(), ns, every_ns);
    }

    /// As [`Writer::take_pool`](crate::Writer::take_pool).
    pub fn take_pool(&mut self) -> Option<PoolWriter> {
        let is_first = !std::mem::replace(&mut self.has_pool, true);
        is_first.then(|| PoolWriter::new(Arc::clone(&self.memory), self.clock.clone()))
    }

    /// As [`Writer::take_gauges`](crate::Writer::take_gauges).
    pub fn take_gauges(&mut self) -> Option<GaugeWriter> {
        let is_first = !std::mem::replace(&mut self.has_gauges, true);
        is_first.then(|| GaugeWriter::new(Arc::clone(&self.memory), self.clock.clone()))
    }
}

impl Drop for ThreadlessPage {
    fn drop(&mut self) {
        crate::thread_end::close(&self.memory);
    }
}
