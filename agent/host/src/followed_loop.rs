//! One loop of the host: its page file, open, and what is remembered from look to look.

use crate::page_ownership;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::directory;
use loopscope_probe::raw::directory::{Owner, PageFile};
use loopscope_probe::raw::loop_id::{Called, called};
use loopscope_probe::raw::proc::Sched;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_probe::raw::snapshot::Facts;
use loopscope_probe::{Clock, Page, Ticks};
use loopscope_report::diagnose::{LoopName, last_moment};
use loopscope_report::metrics::loop_metrics::{LoopMetrics, LoopOwner};
use loopscope_report::metrics::loop_watch::LoopWatch;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// When a loop ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The last moment that is known of it, on its own clock.
    pub at: Ticks,
    /// When that was noticed, in nanoseconds of the host's clock.
    pub noticed_ns: u64,
    /// It ended by itself, in order; else its process was killed, or left without dropping it.
    pub is_orderly: bool,
}

/// One loop.
#[derive(Debug)]
pub(crate) struct FollowedLoop {
    pub path: PathBuf,
    pub owner: Owner,
    pub number: u32,
    pub facts: Facts,
    /// Where the agent that watches it is, if one listens.
    pub address: Option<AgentAddress>,
    /// Where that agent says that its socket file is.
    socket: Option<AgentAddress>,
    /// The user that the page belongs to.
    pub user: Option<u32>,
    pub end: Option<End>,
    file: File,
    clock: Clock,
    pub watch: LoopWatch,
}

/// Why a page did not become an entry.
#[derive(Debug)]
pub(crate) enum NotALoop {
    /// The loop has just ended.
    Gone,
    /// It is not of the process that it is named after, or that pid means another one here; in words.
    Foreign(String),
    Error(io::Error),
}

impl FollowedLoop {
    /// Opens a page file and reads who wrote it. `page` is overwritten.
    pub(crate) fn open(from: &PageFile, namespace: u64, page: &mut Page) -> Result<FollowedLoop, NotALoop> {
        let file = directory::open_page_file(&from.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NotALoop::Gone,
            _ => NotALoop::Error(error),
        })?;
        directory::read_vitals_into(&file, page).map_err(NotALoop::Error)?;
        let facts = page.facts();
        if page.is_over() || facts.is_retired {
            return Err(NotALoop::Gone);
        }
        if facts.pid_namespace != namespace {
            let because = "was written in another pid namespace (a container); run serve inside it";
            return Err(NotALoop::Foreign(because.to_owned()));
        }
        page_ownership::check_name(from.owner, &facts).map_err(NotALoop::Error)?;
        if let Some(because) = page_ownership::objection(from, &file).map_err(NotALoop::Error)? {
            return Err(NotALoop::Foreign(because));
        }
        let clock = page.clock().and_then(|(source, scale)| Clock::for_page(source, scale));
        let no_clock =
            || io::Error::new(io::ErrorKind::InvalidData, "uses a clock that cannot be read on this machine");
        Ok(FollowedLoop {
            path: from.path.clone(),
            owner: from.owner,
            number: from.number,
            address: page.control().address(),
            socket: page.control().socket(),
            user: directory::user_of(&file),
            end: None,
            file,
            clock: clock.ok_or_else(|| NotALoop::Error(no_clock()))?,
            watch: LoopWatch::new(Called::default(), None, std::iter::empty(), Some(owner_of(&facts))),
            facts,
        })
    }

    /// Gives the loop and its series names beside the `others` of its process: those of its page where nobody has them.
    pub(crate) fn name_beside<'a>(&mut self, others: impl Iterator<Item = &'a LoopWatch> + Clone) {
        let called = called(&self.facts.label, &self.facts.group, others.clone().map(|other| &other.called));
        let taken = others.map(LoopWatch::series_label);
        self.watch = LoopWatch::new(called, self.facts.worker, taken, Some(owner_of(&self.facts)));
        self.note_run_delay();
    }

    /// Returns what its page does not tell of the loop.
    pub(crate) fn name(&self) -> LoopName<'_> {
        LoopName { ordinal: self.number, label: &self.watch.called.label }
    }

    /// Asks the kernel for how long its thread had no processor. A page that no thread runs has the number 0.
    fn note_run_delay(&mut self) {
        if self.end.is_none() && self.facts.tid != 0 {
            let sched = Sched::of_thread(self.facts.pid, self.facts.tid);
            self.watch.note_run_delay(sched.map(|sched| sched.runqueue_ns));
        }
    }

    /// Tells whether somebody still writes the page.
    pub(crate) fn has_writer(&self) -> bool {
        directory::has_writer(&self.file)
    }

    /// Returns the process of the loop.
    pub(crate) fn process(&self) -> ProcessId {
        ProcessId::of_page(&self.facts)
    }

    /// Returns where the only agent of its process has its socket file: beside the page.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        directory::agent_socket(self.directory(), self.owner)
    }

    /// Returns where the agent that watches it has its socket file, by the name that the page tells; `None` where it tells none.
    pub(crate) fn told_agent_socket(&self) -> Option<PathBuf> {
        directory::told_agent_socket(self.directory(), self.owner, self.socket.as_ref())
    }

    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Takes one look at the loop as it is now. Returns whether it did anything of late. `page` is overwritten.
    ///
    /// # Errors
    /// The page can no longer be read.
    pub(crate) fn look(&mut self, page: &mut Page, now_ns: u64) -> io::Result<bool> {
        directory::read_vitals_into(&self.file, page)?;
        // A thread that has ceased to run the loop has ended it, for all that others can know of it.
        if page.is_over() || page.control().retired() != Ticks::NONE {
            self.end = Some(End { at: self.clock.now(), noticed_ns: now_ns, is_orderly: true });
            return Ok(false);
        }
        let mut vitals = page.vitals_at(&self.clock, self.clock.now());
        if self.watch.stalls.needs_records(&vitals, page.control().warning_ns()) {
            directory::read_page_into(&self.file, page)?;
            vitals = page.vitals_at(&self.clock, self.clock.now());
        }
        self.watch.look(page, &self.clock, &vitals);
        (self.address, self.socket) = (page.control().address(), page.control().socket());
        Ok(vitals.now.busy_ns > 0 || vitals.now.parked_ns < IDLE_AFTER_NS)
    }

    /// Notes that the process has ended. `page` is overwritten.
    ///
    /// # Errors
    /// The page can no longer be read.
    pub(crate) fn end(&mut self, page: &mut Page, now_ns: u64) -> io::Result<()> {
        directory::read_page_into(&self.file, page)?;
        let at = last_moment(page, &self.clock, self.clock.now());
        (self.address, self.socket) = (None, None);
        self.end = Some(End { at, noticed_ns: now_ns, is_orderly: page.is_over() });
        Ok(())
    }

    /// Reads the whole page, as it is now or as it was left, into `page`. Returns the moment that it is of, on the clock
    /// that is returned with it.
    ///
    /// # Errors
    /// The page can no longer be read, or says now that it is of another process.
    pub(crate) fn read(&self, page: &mut Page) -> io::Result<(Ticks, &Clock)> {
        let at = self.moment();
        directory::read_page_into(&self.file, page)?;
        page_ownership::check_name(self.owner, &page.facts())?;
        Ok((at, &self.clock))
    }

    /// Returns the moment that a page is of which is read next.
    fn moment(&self) -> Ticks {
        self.end.map_or_else(|| self.clock.now(), |end| end.at)
    }

    /// Copies everything about the loop. `page` is overwritten; `sites_room` is how many more sites of the process may
    /// have a series. Returns as the second value how many have none.
    ///
    /// # Errors
    /// The page can no longer be read.
    pub(crate) fn view(
        &mut self,
        page: &mut Page,
        sites_room: &mut usize,
    ) -> io::Result<(LoopMetrics, usize)> {
        // Before the page is read: what is not on it by then has not happened yet.
        let at = self.moment();
        directory::read_counters_into(&self.file, page)?;
        self.note_run_delay();
        let (mut view, left_out) = self.watch.view(page.snapshot_at(&self.clock, at), sites_room);
        if self.end.is_some() {
            view.put_to_rest();
        }
        Ok((view, left_out))
    }
}

/// Returns the labels that tell whose the series of a loop are.
fn owner_of(facts: &Facts) -> Arc<LoopOwner> {
    let (name, runtime) = (facts.process.clone(), facts.runtime.clone());
    Arc::new(LoopOwner { pid: facts.pid.to_string(), name, runtime })
}

/// A loop that has been in its poll for longer than this, in nanoseconds, is left alone for longer.
const IDLE_AFTER_NS: u64 = 1_000_000_000;
