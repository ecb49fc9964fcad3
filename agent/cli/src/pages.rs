//! The instrumented processes of this machine, from the page files of the runtime directory.
//!
//! Page files are kept open: a page can then be read to its last word after the process ended and the file is gone.

use crate::endpoint::Endpoint;
use crate::error::Failure;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::clock::{ClockSource, Scale};
use loopscope_probe::raw::directory::{Owner, PageFile};
use loopscope_probe::raw::loop_id::{Called, LoopId};
use loopscope_probe::raw::printable::printable;
use loopscope_probe::raw::proc::Stat;
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_probe::raw::snapshot::Facts;
use loopscope_probe::raw::{directory, loop_id};
use loopscope_probe::{Clock, Page, Snapshot, Ticks};
use loopscope_report::diagnose::{LoopName, last_moment};
use loopscope_report::incident::Incident;
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// One process with page files. At least one of `loops` and `damaged` is not empty.
#[derive(Debug)]
pub struct Process {
    pub owner: Owner,
    pub is_alive: bool,
    pub loops: Vec<LoopPage>,
    pub damaged: Vec<Damaged>,
}

/// A loop whose page can be read.
#[derive(Debug)]
pub struct LoopPage {
    file: File,
    clock: Clock,
    pub facts: Facts,
    /// Its number among the loops of its process.
    pub ordinal: u32,
    /// What its process calls it and its runtime; no other of that process's loops here is called so.
    pub called: Called,
}

/// A page file that cannot be read, and why.
#[derive(Debug)]
pub struct Damaged {
    pub path: PathBuf,
    pub because: String,
}

/// Lists all processes in the order of their pids, dead ones included.
///
/// # Errors
/// The runtime directory is there and cannot be read.
pub fn processes() -> Result<Vec<Process>, Failure> {
    processes_in(directory::runtime_directory(), Clock::for_page)
}

/// Lists the processes of a directory, whose pages are read with the clocks that `clock_of` gives.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn processes_in(
    path: PathBuf,
    clock_of: impl Fn(ClockSource, Scale) -> Option<Clock>,
) -> Result<Vec<Process>, Failure> {
    let files = directory::page_files(&path).map_err(|error| Failure::Directory { path, error })?;
    let mut processes: Vec<Process> = Vec::new();
    for file in files {
        if processes.last().is_none_or(|process| process.owner != file.owner) {
            label_all(processes.last_mut());
            let (owner, is_alive) = (file.owner, file.owner.is_alive());
            processes.push(Process { owner, is_alive, loops: Vec::new(), damaged: Vec::new() });
        }
        let process = processes.last_mut().expect("one was pushed for this owner");
        match open(&file, &clock_of) {
            Ok(Some(page)) => {
                // Its start time is another one to us where it is in another time namespace.
                process.is_alive |= page.has_writer();
                process.loops.push(page);
            }
            Ok(None) => {}
            Err(because) => process.damaged.push(Damaged { path: file.path, because }),
        }
    }
    label_all(processes.last_mut());
    processes.retain(|process| !process.loops.is_empty() || !process.damaged.is_empty());
    Ok(processes)
}

/// Gives the loops of a process their labels.
fn label_all(process: Option<&mut Process>) {
    let Some(process) = process else { return };
    let pages = process.loops.iter().map(|page| (&*page.facts.label, &*page.facts.group));
    let called = loop_id::labels(pages);
    for (page, called) in process.loops.iter_mut().zip(called) {
        page.called = called;
    }
}

/// Opens and checks a page file. `None` for a loop that ended in an orderly way just now.
fn open(
    page_file: &PageFile,
    clock_of: impl Fn(ClockSource, Scale) -> Option<Clock>,
) -> Result<Option<LoopPage>, String> {
    let file = match directory::open_page_file(&page_file.path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| error.to_string())?,
    };
    let page = directory::read_page_from(&file).map_err(|error| error.to_string())?;
    let clock = page.clock().and_then(|(source, scale)| clock_of(source, scale));
    let clock = clock.ok_or("uses a clock that cannot be read on this machine")?;
    let facts = page.facts();
    if facts.pid_namespace != directory::pid_namespace() {
        return Err(
            "was written in another pid namespace (a container); run this command inside it".to_owned()
        );
    }
    // A thread that has ceased to run the loop has ended it, and another one may have its label.
    let has_ended = page.is_over() || facts.is_retired;
    let (ordinal, called) = (page_file.number, Called::default());
    Ok((!has_ended).then_some(LoopPage { file, clock, facts, ordinal, called }))
}

impl Process {
    /// Returns the file name of the program, `?` where no page of it can be read.
    pub fn name(&self) -> &str {
        self.loops.first().map_or("?", |page| &page.facts.process)
    }

    /// Returns where to ask the process's agents, none where it has none that listens; several where it has several versions
    /// of loopscope in it: each watches loops of its own.
    pub fn agents(&self) -> Vec<Endpoint> {
        let places = self.agent_places();
        match places.is_empty() {
            // The file beside the pages may be there all the same.
            true => Endpoint::of_process(self.owner, None, None).into_iter().collect(),
            false => self.endpoints(&places, |_| true),
        }
    }

    /// Returns where to ask the agents that watch the loops, or the workers of the runtime, that a person calls `name`.
    pub fn agents_of(&self, name: &str) -> Vec<Endpoint> {
        let called = self.loops.iter().filter(|page| page.is_called(name));
        let told: Vec<AgentPlace> = called.filter_map(LoopPage::agent_place).collect();
        self.endpoints(&self.agent_places(), |place| told.iter().any(|told| told.is_same(place)))
    }

    fn agent_places(&self) -> Vec<AgentPlace> {
        distinct(self.loops.iter().filter_map(LoopPage::agent_place))
    }

    /// Returns where to ask those of the agents that are meant.
    fn endpoints(&self, places: &[AgentPlace], is_meant: impl Fn(&AgentPlace) -> bool) -> Vec<Endpoint> {
        let has_file = places.iter().any(|place| place.socket.is_some());
        let endpoint = |place: &AgentPlace| match place.socket.is_none() && has_file {
            // The file that is beside the pages is another agent's.
            true => place.address.as_ref().map(Endpoint::at_address),
            false => Endpoint::of_process(self.owner, place.socket.clone(), place.address.clone()),
        };
        places.iter().filter(|place| is_meant(place)).filter_map(endpoint).collect()
    }

    /// Returns the loops whose pages tell of no agent, where others of the process have one.
    pub fn loops_without_agent(&self) -> Vec<&LoopPage> {
        let (with, without): (Vec<_>, Vec<_>) =
            self.loops.iter().partition(|page| page.agent_place().is_some());
        if with.is_empty() { Vec::new() } else { without }
    }

    /// Returns the loops that the agent at this place watches.
    pub fn loops_watched_from(&self, endpoint: &Endpoint) -> Vec<&LoopPage> {
        let mut places = self.agent_places();
        places.retain(|place| place.is_at(endpoint.url()));
        let is_watched = |page: &&LoopPage| {
            page.agent_place().is_some_and(|told| places.iter().any(|place| place.is_same(&told)))
        };
        self.loops.iter().filter(is_watched).collect()
    }

    /// Tells whether an agent of the process is at this URL, which has no slash at its end.
    pub fn is_at(&self, url: &str) -> bool {
        let with_number = |number: &str| url.replacen("://localhost:", &format!("://{number}:"), 1);
        let written = [url.to_owned(), with_number("127.0.0.1"), with_number("[::1]")];
        let is_told = |address: AgentAddress| {
            written.contains(&address.to_string()) || written.contains(&address.local().to_string())
        };
        self.loops.iter().filter_map(|page| page.agent_place()?.address).any(is_told)
            || self.agents().iter().any(|endpoint| endpoint.url() == url)
    }

    /// Returns where its agent listens, the first where it has several, as its pages tell; `None` where nowhere.
    pub fn address(&self) -> Option<AgentAddress> {
        self.loops.iter().find_map(|page| page.read().ok()?.control().address())
    }

    /// Tells whether an incident is of this process.
    pub fn is_of(&self, incident: &Incident) -> bool {
        let of_page = |page: &LoopPage| page.id().process().agrees_with(incident.process_id());
        self.loops.iter().any(of_page)
    }

    /// Tells whether it runs still.
    pub fn lives(&self) -> bool {
        self.owner.is_alive() || self.loops.iter().any(LoopPage::has_writer)
    }

    /// Says of each of its pages that cannot be read why.
    pub fn unreadable(&self) -> impl Iterator<Item = String> {
        self.damaged
            .iter()
            .map(|page| printable(&format!("{} {}", page.path.display(), page.because)).into_owned())
    }

    /// Returns `PID NAME`, as lists and messages call a process.
    pub fn label(&self) -> String {
        format!("{} {}", self.owner.pid, self.name())
    }
}

/// Where a page says that its agent is: the socket file, and the address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AgentPlace {
    socket: Option<AgentAddress>,
    address: Option<AgentAddress>,
}

impl AgentPlace {
    fn is_same(&self, other: &AgentPlace) -> bool {
        let is_equal = |one: &Option<AgentAddress>, two: &Option<AgentAddress>| one.is_some() && one == two;
        is_equal(&self.socket, &other.socket) || is_equal(&self.address, &other.address)
    }

    fn completed(self, other: AgentPlace) -> AgentPlace {
        AgentPlace { socket: self.socket.or(other.socket), address: self.address.or(other.address) }
    }

    fn is_at(&self, url: &str) -> bool {
        let is_told = |address: &AgentAddress| address.local().to_string() == url;
        self.socket.as_ref().is_some_and(is_told) || self.address.as_ref().is_some_and(is_told)
    }
}

/// Returns the places of agents that pages tell, each once. A page may tell half of one while its agent writes it, and two halves
/// are seen to be of one agent only by a page that tells both.
fn distinct(told: impl Iterator<Item = AgentPlace>) -> Vec<AgentPlace> {
    let mut places: Vec<AgentPlace> = Vec::new();
    for place in told {
        let at = places.iter().position(|known| known.is_same(&place)).unwrap_or(places.len());
        let (same, others): (Vec<_>, Vec<_>) = places.into_iter().partition(|known| known.is_same(&place));
        places = others;
        let whole = same.into_iter().chain([place]).reduce(AgentPlace::completed);
        places.splice(at..at, whole);
    }
    places
}

impl LoopPage {
    /// Returns where the agent is that watches this loop; `None` where none listens.
    fn agent_place(&self) -> Option<AgentPlace> {
        let mut page = directory::blank_page();
        directory::read_vitals_into(&self.file, &mut page).ok()?;
        let place = AgentPlace { socket: page.control().socket(), address: page.control().address() };
        (place.socket.is_some() || place.address.is_some()).then_some(place)
    }

    /// Tells whether its process still writes it.
    fn has_writer(&self) -> bool {
        directory::has_writer(&self.file)
    }

    /// Tells whether this is the loop, or one of the loops, that a person calls `name`: also one of the workers of a runtime.
    pub fn is_called(&self, name: &str) -> bool {
        self.called.label == name || self.facts.name == name || self.runtime_label() == Some(name)
    }

    /// Returns what the runtime is called that the loop is a worker of; `None` for a loop by itself.
    pub fn runtime_label(&self) -> Option<&str> {
        Some(&*self.called.runtime).filter(|label| !label.is_empty() && self.facts.worker.is_some())
    }

    /// Returns which loop it is.
    pub fn id(&self) -> LoopId {
        LoopId::new(ProcessId::of_page(&self.facts), self.ordinal)
    }

    /// Returns what the page does not tell of its loop.
    pub fn name(&self) -> LoopName<'_> {
        LoopName { ordinal: self.ordinal, label: &self.called.label }
    }

    /// Reads the page as it is now, or as it was left.
    ///
    /// # Errors
    /// The page was damaged since it was opened.
    pub fn read(&self) -> io::Result<Box<Page>> {
        directory::read_page_from(&self.file)
    }

    /// Tells whether its thread is stopped, by a signal or a debugger.
    pub fn is_stopped(&self) -> bool {
        Stat::is_stopped(self.facts.pid, self.facts.tid)
    }

    /// Returns the page's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the last moment at which the loop of a dead process is known to have lived. `page` is a copy of this page.
    pub fn last_moment(&self, page: &Page) -> Ticks {
        last_moment(page, &self.clock, self.clock.now())
    }

    /// Copies the counters as of now.
    ///
    /// # Errors
    /// As [`LoopPage::read`].
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        let at = self.clock.now();
        Ok(self.read()?.snapshot_at(&self.clock, at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_pages_tell_by_halves_is_one() {
        let read = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let told = |pages: &[(&str, &str)]| -> Vec<(String, String)> {
            let place = |(socket, address): &(&str, &str)| AgentPlace {
                socket: read(socket),
                address: read(address),
            };
            let text =
                |address: Option<AgentAddress>| address.map_or_else(String::new, |known| known.to_string());
            let places = distinct(pages.iter().map(place)).into_iter();
            places.map(|place| (text(place.socket), text(place.address))).collect()
        };
        let of = |places: &[(&str, &str)]| -> Vec<(String, String)> {
            places.iter().map(|(socket, address)| ((*socket).to_owned(), (*address).to_owned())).collect()
        };
        let (file, other_file) = ("unix:/run/a", "unix:/run/b");
        let (address, other_address) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let one = of(&[(file, address)]);
        assert_eq!(told(&[(file, ""), (file, address), ("", address)]), one);
        // Only the last shows that the first two are one.
        assert_eq!(told(&[(file, ""), ("", address), (file, address)]), one);
        let two = of(&[(file, address), (other_file, other_address)]);
        assert_eq!(told(&[(file, ""), (other_file, other_address), ("", address), (file, address)]), two);
        assert_eq!(
            told(&[(file, ""), ("", address)]),
            of(&[(file, ""), ("", address)]),
            "not known to be one"
        );
        assert_eq!(told(&[]), of(&[]));
    }
}
