//! Writes the families of single workers: what a runtime's sums leave open, which of its workers is at fault.

use crate::metrics::catalog::{self as c, Family};
use crate::metrics::loop_metrics::{LoopMetrics, WorkerMetrics};
use crate::metrics::metrics_page::MetricsPage;
use loopscope_probe::description::Fact;
use loopscope_probe::raw::tallies::StallSeverity;

/// Writes all of them, in the order of the catalogue.
pub(crate) fn write(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    each(sheet, &c::WORKER_INFO, loops.iter(), |sheet, labels, worker| {
        sheet.whole(&[labels[0], labels[1], &worker.thread], 1);
    });
    // What the runtime cannot know has no series.
    let timed = |view: &&LoopMetrics| view.snapshot.facts.description.knows(Fact::Time);
    each(sheet, &c::WORKER_TIME, loops.iter().filter(timed), |sheet, labels, worker| {
        sheet.seconds(&[labels[0], labels[1], "active"], worker.active_ns);
        sheet.seconds(&[labels[0], labels[1], "idle"], worker.idle_ns);
    });
    each(sheet, &c::WORKER_UTILIZATION, loops.iter().filter(timed), |sheet, labels, worker| {
        sheet.fraction(&labels, worker.utilization);
    });
    each(sheet, &c::WORKER_STALL, loops.iter(), |sheet, labels, worker| {
        sheet.seconds(&labels, worker.stall_ns);
    });
    each(sheet, &c::WORKER_RUN_DELAY, loops.iter(), |sheet, labels, worker| {
        if let Some(ns) = worker.run_delay_ns {
            sheet.seconds(&labels, ns);
        }
    });
    each(sheet, &c::WORKER_BLOCKED, loops.iter(), |sheet, labels, worker| {
        for severity in StallSeverity::ALL {
            sheet.whole(&[labels[0], labels[1], severity.name()], worker.blocked[severity as usize]);
        }
    });
}

/// Writes one family; `write` gets the labels that all of them have, the runtime's and the worker's.
fn each<'a>(
    sheet: &mut MetricsPage,
    family: &'static Family,
    loops: impl Iterator<Item = &'a LoopMetrics>,
    write: impl Fn(&mut MetricsPage, [&str; 2], &WorkerMetrics),
) {
    sheet.family(family);
    for view in loops {
        sheet.of(view);
        for worker in &view.workers {
            write(sheet, [&view.label, &worker.number.to_string()], worker);
        }
    }
}
