//! What loops without a label of their own had counted when they left: the sum of those must not fall while their process
//! has others, because a counter that falls is taken for one that began anew.

use crate::entry::Entry;
use loopscope_probe::Page;
use loopscope_probe::process_id::ProcessId;
use loopscope_report::metrics::merged::{add_view, copy_view};
use loopscope_report::metrics::view::LoopView;
use loopscope_report::model::label::OTHER;
use std::collections::HashMap;

/// One sum for each process that has lost such loops.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    sums: HashMap<ProcessId, LoopView>,
}

impl Retired {
    /// Takes what a loop that has ended counted, before it leaves; one with a label of its own takes it along. `page` is
    /// overwritten.
    pub(crate) fn take(&mut self, entry: &mut Entry, page: &mut Page) {
        if entry.label != OTHER {
            return;
        }
        // What cannot be read any more cannot be kept.
        let Ok((view, _)) = entry.view(page, &mut 0) else { return };
        match self.sums.get_mut(&entry.process()) {
            Some(sum) => add_view(sum, &view),
            None => {
                self.sums.insert(entry.process(), copy_view(&view));
            }
        }
    }

    /// Forgets the processes that are not among these.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&ProcessId) -> bool) {
        self.sums.retain(|process, _| is_there(process));
    }

    /// Returns what the sums of processes begin with.
    pub(crate) fn sums(&self) -> HashMap<ProcessId, LoopView> {
        self.sums.iter().map(|(process, sum)| (*process, copy_view(sum))).collect()
    }
}
