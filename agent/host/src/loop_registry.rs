//! Which loops there are: page files found, followed while their loops live, and kept for a while after.

use crate::followed_loop::{FollowedLoop, NotALoop};
use crate::pattern;
use crate::skipped_page::{SkipReason, SkippedPages};
use loopscope_probe::Page;
use loopscope_probe::raw::directory;
use loopscope_probe::raw::directory::{Owner, PageFile};
use loopscope_probe::raw::process_id::ProcessId;
use loopscope_report::metrics::loop_metrics::{LoopMetrics, Overflow};
use loopscope_report::metrics::loop_watch::Series;
use loopscope_report::metrics::sums::{Merging, Sums};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often pages of processes that were killed are looked through, in nanoseconds.
const PRUNED_EVERY_NS: u64 = 600_000_000_000;

/// All loops of the host.
#[derive(Debug)]
pub(crate) struct LoopRegistry {
    /// Patterns, as [`pattern`] reads them.
    directories: Vec<PathBuf>,
    keep_ns: u64,
    loops_max: usize,
    namespace: u64,
    /// In the order of pid, start and number.
    entries: Vec<FollowedLoop>,
    refusals: SkippedPages,
    sums: Sums<ProcessId>,
    /// Page files of processes that had ended before they were followed.
    left: Vec<PageFile>,
    /// When those of them that are too many or too old were removed.
    pruned_ns: Option<u64>,
    /// What every page is read into.
    page: Box<Page>,
}

impl LoopRegistry {
    /// Follows the pages of these directories, at most so many loops. What has ended stays for `keep_ns`.
    pub(crate) fn new(directories: Vec<PathBuf>, keep_ns: u64, loops_max: usize) -> LoopRegistry {
        LoopRegistry {
            directories,
            keep_ns,
            loops_max,
            namespace: directory::pid_namespace(),
            entries: Vec::new(),
            refusals: SkippedPages::default(),
            sums: Sums::default(),
            left: Vec::new(),
            pruned_ns: None,
            page: directory::blank_page(),
        }
    }

    /// Returns the loops, in the order of pid, start and number.
    pub(crate) fn entries(&self) -> &[FollowedLoop] {
        &self.entries
    }

    /// Returns the page files of processes that had ended before they were followed.
    pub(crate) fn left(&self) -> &[PageFile] {
        &self.left
    }

    /// Returns how many page files were passed over, by reason.
    pub(crate) fn refused(&self) -> Vec<(&'static str, u64)> {
        self.refusals.counts()
    }

    /// Returns how many processes live and how many have ended.
    pub(crate) fn processes(&self) -> (u64, u64) {
        let living = self.entries.iter().filter(|entry| entry.end.is_none());
        let alive: HashSet<ProcessId> = living.map(FollowedLoop::process).collect();
        let all: HashSet<ProcessId> = self.entries.iter().map(FollowedLoop::process).collect();
        (alive.len() as u64, (all.len() - alive.len()) as u64)
    }

    /// Looks which pages and processes came and went. Returns what is to be said.
    pub(crate) fn follow(&mut self, now_ns: u64) -> Vec<String> {
        let mut notes = Vec::new();
        self.remove_dead_pages(now_ns);
        let files = self.list(&mut notes);
        let mut known: HashMap<Owner, bool> = HashMap::new();
        let mut is_alive = |owner: Owner| *known.entry(owner).or_insert_with(|| owner.is_alive());
        self.bury(now_ns, &mut is_alive, &mut notes);
        let paths: HashSet<PathBuf> = self.entries.iter().map(|entry| entry.path.clone()).collect();
        let listed: HashSet<&PathBuf> = files.iter().map(|file| &file.path).collect();
        self.refusals.retain(|path| listed.contains(&path.to_path_buf()) || path.is_dir());
        let mut left = Vec::new();
        for file in files.iter().filter(|file| !paths.contains(&file.path)) {
            match is_alive(file.owner) || has_writer_at(&file.path) {
                true => self.adopt(file, &mut notes),
                false => left.push(file.clone()),
            }
        }
        self.left = left;
        notes.extend(self.refusals.summaries());
        let processes: HashSet<ProcessId> = self.entries.iter().map(FollowedLoop::process).collect();
        self.sums.retain(|process| processes.contains(process));
        notes
    }

    /// Removes pages of processes that were killed, beyond the bounds that every program with a loop in it keeps to: no such program
    /// may start. In directories of this user only: what others left is theirs.
    fn remove_dead_pages(&mut self, now_ns: u64) {
        if self.pruned_ns.is_some_and(|at_ns| now_ns.saturating_sub(at_ns) < PRUNED_EVERY_NS) {
            return;
        }
        self.pruned_ns = Some(now_ns);
        let is_own =
            |path: &&PathBuf| path.symlink_metadata().is_ok_and(|facts| facts.uid() == directory::own_user());
        pattern::directories(&self.directories)
            .iter()
            .filter(is_own)
            .for_each(|path| directory::remove_dead_pages(path));
    }

    /// Lists the page files, of each directory a bounded number: each is opened, and a directory may be of somebody who makes
    /// a million of them.
    fn list(&mut self, notes: &mut Vec<String>) -> Vec<PageFile> {
        /// For each loop that is followed: pages of the dead, sockets, what else is there, and a margin.
        const NAMES_PER_LOOP: usize = 4;
        let names_max = self.loops_max.saturating_mul(NAMES_PER_LOOP);
        let mut files = Vec::new();
        for path in &pattern::directories(&self.directories) {
            match directory::page_files_among(path, names_max) {
                Ok((found, has_more)) => {
                    files.extend(found);
                    if has_more {
                        let because = format!("has more than {names_max} files: the others are");
                        notes.extend(self.refusals.note(path, SkipReason::TooMany, &because));
                    } else {
                        self.refusals.forget(path);
                    }
                }
                Err(error) => {
                    let because = format!("cannot be listed: {error}");
                    notes.extend(self.refusals.note(path, SkipReason::Unreadable, &because));
                }
            }
        }
        files
    }

    /// Notes which processes have ended, and forgets those that ended long ago.
    fn bury(&mut self, now_ns: u64, is_alive: &mut impl FnMut(Owner) -> bool, notes: &mut Vec<String>) {
        let (page, refusals, sums) = (&mut self.page, &mut self.refusals, &mut self.sums);
        self.entries.retain_mut(|entry| {
            if entry.end.is_none()
                && !is_alive(entry.owner)
                && !entry.has_writer()
                && let Err(error) = entry.end(page, now_ns)
            {
                notes.extend(refusals.note(&entry.path, SkipReason::of(&error), &error.to_string()));
                sums.leave(entry.process(), &entry.watch, None);
                return false;
            }
            let stays = entry.end.is_none_or(|end| now_ns.saturating_sub(end.noticed_ns) < self.keep_ns);
            if !stays {
                retire(entry, page, sums);
            }
            stays
        });
    }

    fn adopt(&mut self, file: &PageFile, notes: &mut Vec<String>) {
        if self.entries.len() >= self.loops_max {
            let because = format!(
                "is over the limit of {} loops: raise the limit of open files (ulimit -n)",
                self.loops_max
            );
            notes.extend(self.refusals.note(&file.path, SkipReason::TooMany, &because));
            return;
        }
        let mut entry = match FollowedLoop::open(file, self.namespace, &mut self.page) {
            Ok(entry) => entry,
            Err(NotALoop::Gone) => return,
            Err(NotALoop::Foreign(because)) => {
                notes.extend(self.refusals.note(&file.path, SkipReason::Foreign, &because));
                return;
            }
            Err(NotALoop::Error(error)) => {
                notes.extend(self.refusals.note(&file.path, SkipReason::of(&error), &error.to_string()));
                return;
            }
        };
        // What has ended makes room for what takes its name: a loop of that name, or a process with that pid.
        let (page, sums) = (&mut self.page, &mut self.sums);
        self.entries.retain_mut(|other| {
            let is_same_process = other.owner == entry.owner;
            let is_replaced = other.owner.pid == entry.owner.pid
                && (!is_same_process || other.facts.label == entry.facts.label);
            let stays = other.end.is_none() || !is_replaced;
            if !stays {
                retire(other, page, sums);
            }
            stays
        });
        let owner = entry.owner;
        let own = self.entries.iter().filter(|other| other.owner == owner).map(|other| &other.watch);
        entry.name_beside(own);
        self.sums.enter(entry.process(), &entry.watch);
        let place = |entry: &FollowedLoop| (entry.owner.pid, entry.owner.start, entry.number);
        let at = self.entries.partition_point(|other| place(other) < place(&entry));
        self.entries.insert(at, entry);
    }

    /// Takes one look at every loop. Returns whether any did something of late, and what is to be said.
    pub(crate) fn look(&mut self, now_ns: u64) -> (bool, Vec<String>) {
        let (page, refusals, sums) = (&mut self.page, &mut self.refusals, &mut self.sums);
        let (mut is_any_busy, mut notes) = (false, Vec::new());
        self.entries.retain_mut(|entry| {
            if entry.end.is_some() {
                return true;
            }
            match entry.look(page, now_ns) {
                Ok(is_busy) => is_any_busy |= is_busy,
                Err(error) => {
                    notes.extend(refusals.note(&entry.path, SkipReason::of(&error), &error.to_string()));
                    sums.leave(entry.process(), &entry.watch, None);
                    return false;
                }
            }
            true
        });
        (is_any_busy, notes)
    }

    /// Copies everything about every loop; the workers of a runtime as one, and those of one process without a label
    /// of their own as one.
    pub(crate) fn views(&mut self) -> Vec<LoopMetrics> {
        let mut merging = Merging::default();
        for entry in &mut self.entries {
            let process = entry.process();
            // What cannot be read any more is noticed at the next look.
            if let Ok(view) = entry.view(&mut self.page, self.sums.sites_room(process)) {
                merging.add(process, view);
            }
        }
        self.sums.finish(merging)
    }

    /// Returns how many loops, sites and workers have no series of their own, after [`views`](Self::views).
    pub(crate) fn left_out(&self) -> Overflow {
        self.sums.left_out()
    }

    /// Reads the page of every loop, and gives it to `take` with its entry. `take` gets errors, too.
    pub(crate) fn read_each(&mut self, take: impl FnMut(&FollowedLoop, io::Result<Reading<'_>>)) {
        self.read_wanted(|_| true, take);
    }

    /// Reads the whole page of each loop that is wanted, as [`read_each`](Self::read_each) does.
    pub(crate) fn read_wanted(
        &mut self,
        is_wanted: impl Fn(&FollowedLoop) -> bool,
        mut take: impl FnMut(&FollowedLoop, io::Result<Reading<'_>>),
    ) {
        for entry in self.entries.iter().filter(|entry| is_wanted(entry)) {
            let read = entry.read(&mut self.page);
            take(entry, read.map(|(at, clock)| Reading { page: &self.page, at, clock }));
        }
    }
}

/// Keeps what a loop that leaves had counted. `page` is overwritten.
fn retire(entry: &mut FollowedLoop, page: &mut Page, sums: &mut Sums<ProcessId>) {
    if entry.watch.series() != Series::Own {
        // What cannot be read any more cannot be kept.
        let view = entry.view(page, &mut 0).ok().map(|(view, _)| view);
        sums.leave(entry.process(), &entry.watch, view);
    }
}

/// A page as it was read.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    pub page: &'a Page,
    /// The moment that it is of.
    pub at: loopscope_probe::Ticks,
    pub clock: &'a loopscope_probe::Clock,
}

/// Asks for pages whose process is not found by pid and start time: it has ended, or lives in another time namespace.
fn has_writer_at(path: &Path) -> bool {
    directory::open_page_file(path).is_ok_and(|page| directory::has_writer(&page))
}

#[cfg(test)]
#[path = "loop_registry_tests.rs"]
mod tests;
