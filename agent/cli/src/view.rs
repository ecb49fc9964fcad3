//! The processes of this machine as one view, which `ls --json` and `top --json` print: one schema, that of the live page.

use crate::error::Failure;
use crate::output::print_line;
use crate::pages::{LoopPage, Process};
use loopscope_probe::Page;
use loopscope_probe::raw::clock::unix_ns;
use loopscope_probe::raw::directory::runtime_directory;
use loopscope_report::live::{DamagedView, LoopSample, ProcessView, View, ViewBuilder};
use std::io;

/// Looks at all loops of these processes, once. In the first view of an observer, figures are of the loops' lives so far.
pub fn observe(observer: &mut ViewBuilder, processes: &[Process]) -> View {
    let mut view = observer.observe(processes.iter().flat_map(seen_of), unix_ns());
    view.directory = Some(runtime_directory().to_string_lossy().into_owned());
    for process in processes.iter().filter(|process| !process.damaged.is_empty()) {
        let owner = process.owner;
        let is_it = |told: &ProcessView| (told.pid, told.pid_start) == (owner.pid, owner.start);
        let at = view.processes.iter().position(is_it).unwrap_or_else(|| {
            let (name, is_alive) = (process.name().to_owned(), process.is_alive);
            let (pid, pid_start) = (owner.pid, owner.start);
            view.processes.push(ProcessView { pid, pid_start, name, is_alive, ..ProcessView::default() });
            view.processes.len() - 1
        });
        view.processes[at].damaged = process
            .damaged
            .iter()
            .map(|damaged| DamagedView {
                file: damaged.path.to_string_lossy().into_owned(),
                because: damaged.because.clone(),
            })
            .collect();
    }
    view.processes.sort_by_key(|process| (process.pid, process.pid_start));
    view
}

/// Prints a view as one line of JSON.
///
/// # Errors
/// Stdout cannot be written.
pub fn print(view: &View) -> Result<(), Failure> {
    print_line(serde_json::to_string(view).map_err(|error| Failure::system("write JSON", error))?)
}

/// Reads a page; a few times where the loop is busy between two callbacks, for a reading that names one.
///
/// # Errors
/// The page was damaged since it was opened.
pub fn read(entry: &LoopPage) -> io::Result<Box<Page>> {
    let mut page = entry.read()?;
    for _ in 0..4 {
        let now = page.now_values(entry.clock().now(), entry.clock());
        if now.running.is_none_or(|running| running.kind.is_some()) {
            break;
        }
        page = entry.read()?;
    }
    Ok(page)
}

fn seen_of(process: &Process) -> Vec<LoopSample> {
    let seen = process.loops.iter().filter_map(|entry| {
        // Before the page is read: what is not on it by then has not happened yet.
        let at = entry.clock().now();
        let page = read(entry).ok()?;
        let seen = match process.is_alive {
            true => LoopSample::of(&page, entry.clock(), at).stopped(entry.is_stopped()),
            false => LoopSample::of(&page, entry.clock(), entry.last_moment(&page)).ended(),
        };
        Some(seen.called(&entry.called).numbered(entry.ordinal))
    });
    seen.collect()
}
