//! Making a page: who the loop is, which clock stamps it, and whether other processes may see it.

use crate::barrier::Barrier;
use crate::capture_gate::CaptureGate;
use crate::clock::{Clock, ClockSource, unix_ns};
use crate::description::Description;
use crate::gauge_writer::GaugeWriter;
use crate::loop_id::{self, Called};
use crate::memory::Memory;
use crate::observer::Observer;
use crate::page::{MAGIC, OBSERVED, Page, VERSION};
use crate::poll_gate::PollGate;
use crate::pool_writer::PoolWriter;
use crate::registry::{self, NewPage};
use crate::shared_u64::{LoopOwned, WriteToken};
use crate::site::store_text;
use crate::spans::SpanContext;
use crate::switch;
use crate::thread::LoopThread;
use crate::threadless_page::ThreadlessPage;
use crate::writer::Writer;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes the page of one loop. Get one from [`Writer::builder`].
#[derive(Debug)]
pub struct Builder {
    name: String,
    runtime: String,
    backend: String,
    clock: Option<Clock>,
    directory: Option<PathBuf>,
    is_private: bool,
    description: Description,
    process: Option<String>,
    thread: Option<String>,
    group: Option<(String, u32)>,
    is_observed: bool,
    observer: Option<Arc<dyn Observer>>,
}

impl Builder {
    pub(crate) fn new(name: &str) -> Self {
        let text = |text: &str| text.to_owned();
        Builder {
            name: text(name),
            runtime: text("mio"),
            backend: text(""),
            clock: None,
            directory: None,
            is_private: false,
            description: Description::new(),
            process: None,
            thread: None,
            group: None,
            is_observed: false,
            observer: None,
        }
    }

    /// Says how the runtime calls things, what it can know, and what its own code looks like. Readers know nothing
    /// else of it.
    pub fn describe(mut self, description: &Description) -> Self {
        self.description = description.clone();
        self
    }

    /// Names the process, instead of by its program's file: an interpreter's process is known by its script. At most
    /// 64 bytes.
    pub fn process(mut self, name: &str) -> Self {
        self.process = Some(name.to_owned());
        self
    }

    /// Names the loop's thread, instead of as the system knows it. At most 32 bytes.
    pub fn thread(mut self, name: &str) -> Self {
        self.thread = Some(name.to_owned());
        self
    }

    /// The loop is this worker of a runtime with several, each of which has a page; numbers begin at 0. Readers show
    /// the runtime as one, by this name: at most 64 bytes, and another one for each runtime of a process. Where a
    /// loop has that name already it is numbered, as names of loops are.
    ///
    /// ```
    /// use loopscope_probe::Writer;
    ///
    /// // On the thread of each worker:
    /// let number = 0;
    /// let writer = Writer::builder("worker").worker("web", number).build();
    /// # drop(writer);
    /// ```
    pub fn worker(mut self, runtime: &str, number: u32) -> Self {
        self.group = Some((runtime.to_owned(), number));
        self
    }

    /// The thread does not tell when it waits for events: the [observer](Builder::observer) does.
    pub fn observed(mut self) -> Self {
        self.is_observed = true;
        self
    }

    /// Has agents of this process ask for what the thread does not tell.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets the `runtime` label, which is `mio` otherwise: a program with a loop of its own names it. At most 16 bytes.
    pub fn runtime(mut self, runtime: &str) -> Self {
        self.runtime = runtime.to_owned();
        self
    }

    /// Sets the `backend` label, such as `epoll`; at most 16 bytes.
    pub fn backend(mut self, backend: &str) -> Self {
        self.backend = backend.to_owned();
        self
    }

    /// Stamps with this clock instead of [`Clock::real`]. A page with a virtual clock stays private to the process
    /// and out of its registry, unless [`Builder::directory`] says where its file is to be: then whoever has the
    /// clock reads it as it reads others. Other programs refuse it, since they cannot tell its ages.
    ///
    /// ```
    /// use loopscope_probe::{Clock, VirtualClock, Writer};
    ///
    /// let time = VirtualClock::starting_at(1_000);
    /// let mut writer = Writer::builder("test").clock(Clock::simulated(time.clone())).build();
    /// writer.resume();
    /// time.advance_ns(5_000_000);
    /// writer.suspend();
    /// assert_eq!(writer.page().snapshot(writer.clock()).active_ns, 5_000_000);
    /// ```
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Puts the page's file into this directory instead of the user's runtime directory. The same rules hold for it:
    /// private, ours, and in memory.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Keeps the page in this process's own memory.
    pub fn private(mut self) -> Self {
        self.is_private = true;
        self
    }

    /// Makes the page, and the one writer of it. The calling thread becomes the loop's thread.
    ///
    /// Never fails: where there can be no file, the page is private memory, and
    /// [`LocalPage::private_because`](crate::registry::LocalPage::private_because) says why.
    pub fn build(self) -> Writer {
        let (memory, clock, pen) = self.begin();
        let is_simulated = clock.source() == ClockSource::Virtual && self.directory.is_none();
        write_thread(memory.page(), &pen);
        let track = SpanContext::new(memory.clone(), clock.clone(), pen);
        let gate = Arc::new(CaptureGate::new(crate::barrier::of_loop() == Barrier::Fence));
        // Whoever finds the page finds its first words there.
        let poll_gate = PollGate::new(gate.clone());
        poll_gate.note_alternate_stack();
        let writer = Writer::new(track, poll_gate);
        if !is_simulated && !switch::is_off() {
            crate::thread_end::close_with_thread(&memory, &gate);
            let thread = LoopThread::current();
            let new = NewPage { memory, clock, gate, observer: self.observer, thread };
            registry::add(new, |called| complete(writer.parts(), called));
        } else {
            complete(writer.parts(), &loop_id::called(&self.name, self.runtime_name(), std::iter::empty()));
        }
        writer
    }

    /// Makes a page that no thread runs, such as of a runtime as a whole: all that it tells, an [observer](Builder::observer)
    /// tells, and whoever holds the result. It stays when the calling thread ends.
    pub fn build_threadless(self) -> ThreadlessPage {
        let this = self.observed();
        let (memory, clock, pen) = this.begin();
        let page = ThreadlessPage::new(memory.clone(), clock.clone(), &pen);
        if clock.source() != ClockSource::Virtual && !switch::is_off() {
            // Nothing is ever asked of a thread that is not there.
            let gate = Arc::new(CaptureGate::new(false));
            gate.close(|| false);
            let thread = LoopThread::default();
            let new = NewPage { memory, clock, gate, observer: this.observer, thread };
            registry::add(new, |called| complete((page.page(), &pen), called));
        } else {
            let called = loop_id::called(&this.name, this.runtime_name(), std::iter::empty());
            complete((page.page(), &pen), &called);
        }
        page
    }

    /// Makes the page's memory, and writes who the loop is.
    fn begin(&self) -> (Arc<Memory>, Clock, WriteToken<LoopOwned>) {
        let clock = self.clock.clone().unwrap_or_else(Clock::real);
        let is_simulated = clock.source() == ClockSource::Virtual && self.directory.is_none();
        let memory = match switch::is_off() {
            true => Memory::private("loopscope is turned off by LOOPSCOPE=off"),
            false if is_simulated || self.is_private => {
                Memory::private("the page was requested to be private")
            }
            false => Memory::shared(self.directory.as_deref()),
        };
        let pen = WriteToken::mint();
        self.write_header(memory.page(), &pen, &clock);
        (memory, clock, pen)
    }

    /// Returns the name of the runtime that the loop is a worker of; empty where it is none.
    fn runtime_name(&self) -> &str {
        self.group.as_ref().map_or("", |(runtime, _)| runtime)
    }

    fn write_header(&self, page: &Page, pen: &WriteToken<LoopOwned>, clock: &Clock) {
        let header = &page.header;
        let hz = clock.scale().ticks(1_000_000_000);
        header.version.set(pen, VERSION);
        header.bytes.set(pen, size_of::<Page>() as u64);
        header.created_unix_ns.set(pen, unix_ns());
        header.created_ticks.set(pen, clock.now().0);
        header.clock_source.set(pen, clock.source() as u64);
        header.clock_multiplier.set(pen, clock.scale().multiplier());
        header.clock_shift.set(pen, u64::from(crate::now::shift_for(hz)));
        store_text(pen, &header.name, &self.name, false);
        store_text(pen, &header.runtime, &self.runtime, false);
        store_text(pen, &header.backend, &self.backend, false);
        let (thread, process) = (std::thread::current(), self.process.clone());
        let thread = self.thread.as_deref().or_else(|| thread.name()).unwrap_or("");
        store_text(pen, &header.thread, thread, false);
        store_text(pen, &header.process, &process.unwrap_or_else(process_name), false);
        header.flags.set(pen, if self.is_observed { OBSERVED } else { 0 });
        if let Some((runtime, number)) = &self.group {
            // What the registry calls it takes its place.
            store_text(pen, &header.group, runtime, false);
            header.worker.set(pen, u64::from(*number) + 1);
        }
        page.description.store(pen, &self.description);
        header.pid.set(pen, u64::from(std::process::id()));
        write_process(page, pen);
    }
}

/// Writes what the loop and its runtime are called, and that the page is complete.
fn complete((page, pen): (&Page, &WriteToken<LoopOwned>), called: &Called) {
    store_text(pen, &page.header.label, &called.label, false);
    store_text(pen, &page.header.group, &called.runtime, false);
    page.header.magic.publish(pen, MAGIC);
}

#[cfg(target_os = "linux")]
fn write_process(page: &Page, pen: &WriteToken<LoopOwned>) {
    let header = &page.header;
    header.pid_start.set(pen, crate::page_file_name::process_start(std::process::id()).unwrap_or(0));
    header.pid_namespace.set(pen, crate::page_file_name::pid_namespace());
    let boot = crate::process_id::this_boot();
    header.boot[0].set(pen, boot as u64);
    header.boot[1].set(pen, (boot >> 64) as u64);
}

#[cfg(target_os = "linux")]
fn write_thread(page: &Page, pen: &WriteToken<LoopOwned>) {
    page.header.tid.set(pen, u64::from(crate::thread::current_tid()));
}

#[cfg(not(target_os = "linux"))]
fn write_process(_page: &Page, _pen: &WriteToken<LoopOwned>) {}

#[cfg(not(target_os = "linux"))]
fn write_thread(_page: &Page, _pen: &WriteToken<LoopOwned>) {}

/// Returns the file name of the program, as `ls` shows it.
fn process_name() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl Writer {
    /// Begins to make the page of a loop with this name: a label in metrics, at most 64 bytes.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// Returns the writer of the pool's part of this page, for the pool to keep inside its mutex. Only the first call
    /// returns one: a pool's words have one writer.
    pub fn take_pool(&mut self) -> Option<PoolWriter> {
        let is_first = !std::mem::replace(&mut self.has_pool, true);
        is_first.then(|| PoolWriter::new(Arc::clone(&self.track.page.memory), self.track.clock.clone()))
    }

    /// Returns the writer of the numbers that only this runtime has. Only the first call returns one.
    pub fn take_gauges(&mut self) -> Option<GaugeWriter> {
        let is_first = !std::mem::replace(&mut self.has_gauges, true);
        is_first.then(|| GaugeWriter::new(Arc::clone(&self.track.page.memory), self.track.clock.clone()))
    }
}
