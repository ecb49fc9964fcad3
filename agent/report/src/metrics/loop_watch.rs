//! Follows one loop by its page, whoever reads it: the agent of a process, or the server of a host.
//!
//! A reader takes looks (the page's vitals: a few numbers), and now and then a view (a whole snapshot) for a page of metrics.
//! What must be remembered from one to the next is here: the window of utilization, the stalls and their causes, what was
//! published before, and which sites and types of handles have a series.

use crate::compute::sites::{self, Chosen};
use crate::compute::stall::{StallEvent, StallWatch};
use crate::compute::utilization::utilization;
use crate::metrics::loop_metrics::{LoopMetrics, LoopOwner};
use crate::model::monotonic::Monotonic;
use crate::model::run_delay::RunDelay;
use crate::model::window::{Split, Window};
use loopscope_probe::raw::loop_id::{Called, OTHER};
use loopscope_probe::{Clock, HandleType, Page, Snapshot, Vitals};
use std::collections::HashSet;
use std::sync::Arc;

/// At most this many loops and runtimes of a process have series of their own; further ones are reported together.
pub const LOOPS_MAX: usize = 64;

/// Where the figures of a loop go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Into series of its own.
    Own,
    /// Into those of its runtime, of which it is the worker with this number.
    Runtime(u32),
    /// Into those of all loops for which there was no label left.
    Other,
}

/// One loop.
#[derive(Debug)]
pub struct LoopWatch {
    /// What it and its runtime are called, unique within its process.
    pub called: Called,
    pub stalls: StallWatch,
    series: Series,
    owner: Option<Arc<LoopOwner>>,
    window: Window,
    floor: Monotonic,
    run_delay: RunDelay,
    chosen: Chosen,
    handle_types: [bool; HandleType::COUNT],
}

impl LoopWatch {
    /// Begins to follow a loop that is called so. `worker` is its number where it is a worker of a runtime, `taken` are the labels
    /// that the series of its process have. `owner` is as in [`LoopMetrics`].
    pub fn new<'a>(
        called: Called,
        worker: Option<u32>,
        taken: impl Iterator<Item = &'a str> + Clone,
        owner: Option<Arc<LoopOwner>>,
    ) -> LoopWatch {
        let series = match worker.filter(|_| !called.runtime.is_empty()) {
            Some(worker) if taken.clone().any(|label| label == called.runtime) => Series::Runtime(worker),
            _ if !has_room(taken) => Series::Other,
            Some(worker) => Series::Runtime(worker),
            None => Series::Own,
        };
        LoopWatch {
            called,
            stalls: StallWatch::default(),
            series,
            owner,
            window: Window::default(),
            floor: Monotonic::default(),
            run_delay: RunDelay::default(),
            chosen: Chosen::default(),
            handle_types: Default::default(),
        }
    }

    /// Returns where its figures go.
    pub fn series(&self) -> Series {
        self.series
    }

    /// Returns the label of the series that its figures go into.
    pub fn series_label(&self) -> &str {
        match self.series {
            Series::Own => &self.called.label,
            Series::Runtime(_) => &self.called.runtime,
            Series::Other => OTHER,
        }
    }

    /// Takes one look: `vitals` are the page's as of now on `clock`, its own. Returns what began, lasts or ended. Allocates
    /// nothing where nothing did.
    pub fn look(&mut self, page: &Page, clock: &Clock, vitals: &Vitals) -> Vec<StallEvent> {
        self.window.push(Split { active_ns: vitals.active_ns, idle_ns: vitals.idle_ns });
        self.stalls.look(page, clock, vitals)
    }

    /// Notes for how long the loop's thread was ready to run and had no processor, in nanoseconds since that thread began, as the
    /// kernel counts: once when the loop is first followed, and before each view.
    pub fn note_run_delay(&mut self, kernel_ns: Option<u64>) {
        if let Some(kernel_ns) = kernel_ns {
            self.run_delay.note(kernel_ns);
        }
    }

    /// Makes a view of the page's snapshot; the caller adds what only it knows. `sites_room` is how many more sites of the
    /// process may have a series. Returns as the second value how many of its sites have none: of a part of a sum that is found
    /// where it is added up.
    pub fn view(&mut self, mut snapshot: Snapshot, sites_room: &mut usize) -> (LoopMetrics, usize) {
        let succeeded = self.floor.lift(&mut snapshot);
        let present = Split { active_ns: snapshot.active_ns, idle_ns: snapshot.idle_ns };
        let totals = sites::totals(&snapshot);
        let (sites, others) = match self.series {
            Series::Own => self.chosen.choose(totals, sites_room),
            Series::Runtime(_) | Series::Other => (totals, 0),
        };
        for (was_seen, count) in self.handle_types.iter_mut().zip(snapshot.handles) {
            *was_seen |= count > 0;
        }
        let view = LoopMetrics {
            owner: self.owner.clone(),
            label: self.series_label().to_owned(),
            is_at_rest: false,
            is_part: self.series != Series::Own,
            worker: match self.series {
                Series::Runtime(worker) => Some(worker),
                Series::Own | Series::Other => None,
            },
            workers: Vec::new(),
            utilization: utilization(self.window.beginning(present), present),
            stalls: self.stalls.counts().clone(),
            incidents: None,
            handle_types: self.handle_types,
            lag_minute: None,
            run_delay_ns: self.run_delay.total_ns(),
            succeeded,
            sites,
            snapshot,
        };
        (view, others)
    }
}

/// Tells whether there is a label left where the series of a process have the labels `taken`.
fn has_room<'a>(taken: impl Iterator<Item = &'a str>) -> bool {
    taken.filter(|label| *label != OTHER).collect::<HashSet<_>>().len() < LOOPS_MAX
}
