//! The loops of a session: those that live, and the names of those that have ended.
//!
//! A session may last for minutes, and a page takes half a megabyte and one of the places that a process has for page files,
//! so the page of a loop that ended is let go at once. What its samples are named by is kept, if it has any.

use crate::sample::names::LoopNames;
use crate::sample::sampled_loop::{SampledLoop, Shared};
use loopscope_probe::raw::registry;
use loopscope_report::profiles::Profile;
use std::collections::HashMap;

/// All loops of a session.
#[derive(Default)]
pub(crate) struct FollowedLoops {
    /// Those that live.
    pub loops: Vec<SampledLoop>,
    /// Of those that ended and have samples, by their index in the session.
    ended: HashMap<usize, LoopNames>,
    /// Loops until now: the index of the next one.
    count: usize,
    /// The list of loops when it was read last.
    changes: Option<u64>,
    /// What the process is called, and its pid, by its first loop.
    process: Option<(String, u32)>,
}

impl FollowedLoops {
    /// Takes in loops that came, only those called `name` where that is told, and lets go of those that went.
    pub(crate) fn follow(&mut self, name: Option<&str>, shared: &mut Shared) {
        let now = registry::changes();
        if self.changes.replace(now) == Some(now) {
            return;
        }
        let pages = registry::pages();
        let is_there =
            |watched: &mut SampledLoop| pages.iter().any(|page| page.number() == watched.page.number());
        for mut watched in self.loops.extract_if(.., |watched| !is_there(watched)).collect::<Vec<_>>() {
            watched.finish(shared);
            if watched.has_samples() {
                self.ended.insert(watched.index(), LoopNames::of(&watched.page));
            }
        }
        for page in pages {
            let is_known = self.loops.iter().any(|watched| watched.page.number() == page.number());
            if is_known || name.is_some_and(|name| !page.is_called(name)) {
                continue;
            }
            self.process.get_or_insert_with(|| {
                let facts = page.page().facts();
                (facts.process, facts.pid)
            });
            self.loops.push(SampledLoop::new(page, self.count, shared));
            self.count += 1;
        }
    }

    /// At the session's end: says on the profile whose it is, and returns the names of its loops by their index.
    pub(crate) fn into_names(self, profile: &mut Profile) -> HashMap<usize, LoopNames> {
        (profile.process, profile.pid) = self.process.unwrap_or_default();
        let mut names = self.ended;
        names.extend(self.loops.iter().map(|watched| (watched.index(), LoopNames::of(&watched.page))));
        let mut indexes: Vec<usize> = names.keys().copied().collect();
        indexes.sort_unstable();
        indexes.iter().for_each(|index| profile.know_phases(names[index].description()));
        names
    }
}

#[cfg(test)]
#[path = "followed_loops_tests.rs"]
mod tests;
