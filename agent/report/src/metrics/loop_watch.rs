//! Follows one loop by its page, whoever reads it: the agent of a process, or the server of a host.
//!
//! A reader takes looks (the page's vitals: a few numbers), and now and then a view (a whole snapshot) for a page of metrics.
//! What must be remembered from one to the next is here: the window of utilization, the stalls and their causes, what was
//! published before, and which sites and types of handles have a series.

use crate::compute::sites::{self, Chosen};
use crate::compute::stall::{StallEvent, StallWatch};
use crate::compute::utilization::utilization;
use crate::metrics::merged::{add_view, copy_view};
use crate::metrics::view::{LoopOwner, LoopView};
use crate::model::label::OTHER;
use crate::model::monotonic::Monotonic;
use crate::model::window::{Split, Window};
use loopscope_probe::{Clock, HandleType, Page, Snapshot, Vitals};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// One loop.
#[derive(Debug)]
pub struct LoopWatch {
    /// Its label, unique within its process; [`OTHER`] where it shares one.
    pub label: String,
    pub stalls: StallWatch,
    owner: Option<Arc<LoopOwner>>,
    window: Window,
    floor: Monotonic,
    chosen: Chosen,
    handle_types: [bool; HandleType::COUNT],
    /// The most sites that got no series.
    others: usize,
}

impl LoopWatch {
    /// Begins to follow a loop. `owner` is as in [`LoopView`].
    pub fn new(label: String, owner: Option<Arc<LoopOwner>>) -> LoopWatch {
        LoopWatch {
            label,
            stalls: StallWatch::default(),
            owner,
            window: Window::default(),
            floor: Monotonic::default(),
            chosen: Chosen::default(),
            handle_types: Default::default(),
            others: 0,
        }
    }

    /// Takes one look: `vitals` are the page's as of now on `clock`, its own. Returns what began, lasts or ended. Allocates
    /// nothing where nothing did.
    pub fn look(&mut self, page: &Page, clock: &Clock, vitals: &Vitals) -> Vec<StallEvent> {
        self.window.push(Split { active_ns: vitals.active_ns, idle_ns: vitals.idle_ns });
        self.stalls.look(page, clock, vitals)
    }

    /// Makes a view of the page's snapshot; the caller adds what only it knows. `sites_room` is how many more sites of the
    /// process may have a series. Returns as the second value how many more sites than ever before got none.
    pub fn view(&mut self, mut snapshot: Snapshot, sites_room: &mut usize) -> (LoopView, usize) {
        let succeeded = self.floor.lift(&mut snapshot);
        let present = Split { active_ns: snapshot.active_ns, idle_ns: snapshot.idle_ns };
        let (sites, others) = match self.label == OTHER {
            true => (Vec::new(), 0),
            false => self.chosen.choose(sites::totals(&snapshot), sites_room),
        };
        for (was_seen, count) in self.handle_types.iter_mut().zip(snapshot.handles) {
            *was_seen |= count > 0;
        }
        let more = others.saturating_sub(self.others);
        self.others += more;
        let view = LoopView {
            owner: self.owner.clone(),
            label: self.label.clone(),
            utilization: utilization(self.window.beginning(present), present),
            stalls: self.stalls.counts().clone(),
            cases: None,
            handle_types: self.handle_types,
            lag_minute: None,
            succeeded,
            sites,
            snapshot,
        };
        (view, more)
    }
}

/// The loops without a label of their own, by process: what those had counted that have ended stays in their sum while their
/// process has others, because a counter that falls is taken for one that began anew.
#[derive(Debug)]
pub struct OtherLoops<P> {
    ended: HashMap<P, LoopView>,
}

impl<P> Default for OtherLoops<P> {
    fn default() -> Self {
        OtherLoops { ended: HashMap::new() }
    }
}

impl<P: Copy + Eq + Hash> OtherLoops<P> {
    /// Keeps what a loop of this process had counted when it ended; one with a label of its own takes it along.
    pub fn retire(&mut self, process: P, mut view: LoopView) {
        if view.label == OTHER {
            view.put_to_rest();
            add(&mut self.ended, process, &view);
        }
    }

    /// Forgets the processes that are not among these.
    pub fn retain(&mut self, is_there: impl Fn(&P) -> bool) {
        self.ended.retain(|process, _| is_there(process));
    }

    /// Returns the views of loops with a label of their own, and behind them one sum for each process that has or had others.
    pub fn merged(&self, views: impl Iterator<Item = (P, LoopView)>) -> Vec<LoopView> {
        let mut sums: HashMap<P, LoopView> =
            self.ended.iter().map(|(process, sum)| (*process, copy_view(sum))).collect();
        let mut merged = Vec::with_capacity(views.size_hint().0 + sums.len());
        for (process, view) in views {
            match view.label == OTHER {
                true => add(&mut sums, process, &view),
                false => merged.push(view),
            }
        }
        merged.extend(sums.into_values());
        merged
    }
}

fn add<P: Eq + Hash>(sums: &mut HashMap<P, LoopView>, process: P, view: &LoopView) {
    match sums.get_mut(&process) {
        Some(sum) => add_view(sum, view),
        None => {
            sums.insert(process, copy_view(view));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Kind, Life, VirtualClock, Writer};
    use std::panic::Location;

    const MS: u64 = 1_000_000;

    /// A view of a loop that has run `count` callbacks and is in the middle of one more.
    fn view(label: &str, count: u64) -> LoopView {
        let time = VirtualClock::starting_at(MS);
        let mut writer = Writer::builder("w").clock(Clock::simulated(time.clone())).build();
        let site = writer.named_site(Location::caller(), Kind::Timer, "t");
        writer.resume();
        for _ in 0..count {
            writer.begin(Kind::Timer, site, Life::UNKNOWN);
            time.advance_ns(MS);
            writer.end();
        }
        writer.park();
        writer.unpark(1);
        writer.begin(Kind::Timer, site, Life::UNKNOWN);
        time.advance_ns(MS);
        let clock = writer.clock().clone();
        let mut watch = LoopWatch::new(label.to_owned(), None);
        watch.look(writer.page(), &clock, &writer.page().vitals_at(&clock, clock.now()));
        watch.view(writer.page().snapshot(&clock), &mut 10).0
    }

    fn timers(view: &LoopView) -> u64 {
        view.succeeded[Kind::Timer as usize]
    }

    #[test]
    fn loops_without_a_label_are_one_sum_that_does_not_fall_when_one_ends() {
        let mut others = OtherLoops::default();
        let all = others.merged([(1, view("a", 1)), (1, view(OTHER, 2)), (1, view(OTHER, 3))].into_iter());
        let labels: Vec<_> = all.iter().map(|view| (view.label.as_str(), timers(view))).collect();
        assert_eq!(labels, [("a", 1), (OTHER, 5)]);
        others.retire(1, view(OTHER, 3));
        others.retire(1, view("a", 1));
        let after = others.merged([(1, view(OTHER, 2)), (2, view(OTHER, 7))].into_iter());
        let mut sums: Vec<u64> = after.iter().map(timers).collect();
        sums.sort_unstable();
        assert_eq!(sums, [5, 7], "each process has its own");
        let left = others.merged(std::iter::empty());
        assert_eq!((left.len(), timers(&left[0]), left[0].snapshot.now.running), (1, 3, None));
        others.retain(|process| *process == 2);
        assert!(others.merged(std::iter::empty()).is_empty());
    }

    #[test]
    fn sites_are_those_of_a_loop_with_a_label() {
        let (own, other) = (view("a", 1), view(OTHER, 1));
        assert_eq!((own.sites.len(), other.sites.len()), (1, 0));
    }
}
