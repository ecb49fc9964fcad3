//! One loop as it was at one moment: a copy of its page, and the verdict over what runs.

use crate::compute::verdict::{Verdict, judge};
use crate::live::view::{JobView, SpanView};
use loopscope_probe::raw::loop_id::Called;
use loopscope_probe::raw::pool::JobNow;
use loopscope_probe::{Clock, Page, Snapshot, Ticks};
use std::collections::BTreeMap;

/// A copy of one loop's page, taken at one moment. Some 40 us of work and 200 KiB; a stalled loop's costs more, because
/// its recorder is judged.
#[derive(Clone, Debug)]
pub struct LoopSample {
    pub(super) snapshot: Snapshot,
    pub(super) spans: Vec<SpanView>,
    pub(super) pool_jobs: Vec<JobView>,
    pub(super) verdict: Option<Verdict>,
    pub(super) agent: Option<String>,
    pub(super) called: Option<Called>,
    pub(super) ordinal: Option<u32>,
    pub(super) has_ended: bool,
    pub(super) is_stopped: bool,
    pub(super) causes: BTreeMap<&'static str, u64>,
}

impl LoopSample {
    /// Copies the page as of `at`, a moment on `clock`, which must be the page's own. For a loop whose process has
    /// ended, `at` is the last moment that it is known to have lived; see [`LoopSample::ended`].
    pub fn of(page: &Page, clock: &Clock, at: Ticks) -> LoopSample {
        let snapshot = page.snapshot_at(clock, at);
        let now = &snapshot.now;
        let is_stalled = now.unexpected_ns() > snapshot.warning_ns;
        let verdict = is_stalled.then(|| {
            let vitals = page.vitals_at(clock, at);
            let first = vitals.records.saturating_sub(now.busy_callbacks);
            judge(vitals.busy_since, now.busy_ns, now, &page.records(first), clock.scale())
        });
        let open = if now.busy_ns > 0 { page.open_spans() } else { Vec::new() };
        let spans =
            open.into_iter().map(|span| SpanView { name: page.sites().name(span.site), fields: span.fields });
        let spans = spans.collect();
        let job = |job: JobNow| JobView {
            worker: job.worker,
            kind: job.kind.name(),
            label: page.sites().label(job.site),
            running_ns: clock.duration_ns(job.since, at),
        };
        let mut pool_jobs: Vec<JobView> = page.jobs_now().into_iter().map(job).collect();
        pool_jobs.sort_by_key(|job| (std::cmp::Reverse(job.running_ns), job.worker));
        let agent = page.control().address().map(|address| address.local().to_string());
        LoopSample {
            snapshot,
            spans,
            pool_jobs,
            verdict,
            agent,
            called: None,
            ordinal: None,
            has_ended: false,
            is_stopped: false,
            causes: BTreeMap::new(),
        }
    }

    /// Returns what the loop's process is called.
    pub fn process_name(&self) -> &str {
        &self.snapshot.facts.process
    }

    /// Says that the loop's process has ended: the page is what it left.
    pub fn ended(self) -> LoopSample {
        LoopSample { has_ended: true, agent: None, ..self }
    }

    /// Says that the kernel has stopped the loop's thread.
    pub fn stopped(self, is_stopped: bool) -> LoopSample {
        LoopSample { is_stopped, ..self }
    }

    /// Says what the loop and its runtime are called in metrics; without it, loops of equal names are numbered in the
    /// order they come.
    pub fn called(self, called: &Called) -> LoopSample {
        LoopSample { called: Some(called.clone()), ..self }
    }

    /// Says which of its process's loops it is; without it, loops are told apart by their threads and when they began.
    pub fn numbered(self, ordinal: u32) -> LoopSample {
        LoopSample { ordinal: Some(ordinal), ..self }
    }

    /// Says how many stalls each cause had: the loop's own agent knows, and its page does not tell.
    pub fn with_causes(self, causes: impl IntoIterator<Item = (&'static str, u64)>) -> LoopSample {
        LoopSample { causes: causes.into_iter().collect(), ..self }
    }

    /// Returns who wrote the page.
    pub fn facts(&self) -> &loopscope_probe::raw::snapshot::Facts {
        &self.snapshot.facts
    }
}
