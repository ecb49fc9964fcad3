//! Writes the families of loops, callbacks, queues, stalls, pools and handles.
//!
//! A number that a loop's runtime cannot know is not 0: the loop has no series of it.

use crate::compute::verdict::Cause;
use crate::incident::IncidentKind;
use crate::metrics::catalog::{self as c, Family};
use crate::metrics::loop_metrics::LoopMetrics;
use crate::metrics::metrics_page::MetricsPage;
use crate::metrics::runtime_families;
use loopscope_probe::Queue;
use loopscope_probe::description::{Description, Fact};
use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::raw::pool::PoolValues;
use loopscope_probe::raw::tallies::StallSeverity;
use loopscope_probe::{HandleType, Kind, Snapshot, WorkKind};

/// Writes all of them, in the order of the catalogue.
pub(crate) fn write(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    write_loops(sheet, loops);
    write_phases(sheet, loops);
    write_callbacks(sheet, loops);
    write_sites(sheet, loops);
    write_work(sheet, loops);
    write_queues(sheet, loops);
    write_stalls(sheet, loops);
    write_pools(sheet, loops);
    write_pool_jobs(sheet, loops);
    write_handles(sheet, loops);
    runtime_families::write(sheet, loops);
}

/// Returns the loops whose runtime fills these numbers.
fn told(loops: &[LoopMetrics], fact: Fact) -> impl Iterator<Item = &LoopMetrics> {
    loops.iter().filter(move |view| knows(view, fact))
}

/// Tells whether a loop's runtime fills these numbers.
pub(crate) fn knows(view: &LoopMetrics, fact: Fact) -> bool {
    view.snapshot.facts.description.knows(fact)
}

fn whole(
    sheet: &mut MetricsPage,
    (family, fact): (&'static Family, Fact),
    loops: &[LoopMetrics],
    value: impl Fn(&Snapshot) -> u64,
) {
    sheet.family(family);
    for view in told(loops, fact) {
        sheet.of(view);
        sheet.whole(&[&view.label], value(&view.snapshot));
    }
}

/// Writes a histogram that is there only once it was used.
fn used(sheet: &mut MetricsPage, labels: &[&str], values: &HistogramValues) {
    if !values.is_empty() {
        sheet.durations(labels, values);
    }
}

fn plain(
    sheet: &mut MetricsPage,
    (family, fact): (&'static Family, Fact),
    loops: &[LoopMetrics],
    values: impl Fn(&Snapshot) -> &HistogramValues,
) {
    sheet.family(family);
    for view in told(loops, fact) {
        sheet.of(view);
        used(sheet, &[&view.label], values(&view.snapshot));
    }
}

fn by_kind(
    sheet: &mut MetricsPage,
    (family, fact): (&'static Family, Fact),
    loops: &[LoopMetrics],
    values: impl Fn(&Snapshot) -> &[HistogramValues; Kind::CALLBACKS],
) {
    sheet.family(family);
    for view in told(loops, fact) {
        sheet.of(view);
        for (kind, values) in callback_kinds(&view.snapshot).zip(values(&view.snapshot)) {
            used(sheet, &[&view.label, kind], values);
        }
    }
}

/// Returns the kinds of callback that the loop has ever had, with their numbers. Once there, a kind stays, and all of
/// its counters are there, also those that are 0: the first error of a kind is seen to be one more than before.
fn kinds_in_use(snapshot: &Snapshot) -> impl Iterator<Item = (usize, &str)> {
    callback_kinds(snapshot).enumerate().filter(|(kind, _)| {
        let counts = [snapshot.submitted[*kind], snapshot.errors[*kind], snapshot.cancelled[*kind]];
        counts != [0; 3] || !snapshot.run[*kind].is_empty()
    })
}

fn callback_kinds(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let runtime = &snapshot.facts.description;
    Kind::ALL[..Kind::CALLBACKS].iter().map(|kind| runtime.kind_label(*kind))
}

fn write_loops(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    sheet.family(&c::LOOP_INFO);
    for view in loops {
        sheet.of(view);
        let facts = &view.snapshot.facts;
        sheet.whole(&[&view.label, &facts.runtime, &facts.backend, &facts.thread], 1);
    }
    whole(sheet, (&c::ITERATIONS, Fact::Iterations), loops, |snapshot| snapshot.iterations);
    sheet.family(&c::LOOP_TIME);
    for view in told(loops, Fact::Time) {
        sheet.of(view);
        sheet.seconds(&[&view.label, "active"], view.snapshot.active_ns);
        sheet.seconds(&[&view.label, "idle"], view.snapshot.idle_ns);
    }
    sheet.family(&c::UTILIZATION);
    for view in told(loops, Fact::Time) {
        sheet.of(view);
        sheet.fraction(&[&view.label], view.utilization);
    }
    sheet.family(&c::STALL);
    for view in loops {
        sheet.of(view);
        // As thresholds have it: nobody is to be woken for a block that was announced.
        sheet.seconds(&[&view.label], view.snapshot.now.unexpected_ns());
    }
    sheet.family(&c::LAG_SECONDS);
    for view in told(loops, Fact::Lag) {
        sheet.of(view);
        sheet.durations(&[&view.label], &view.snapshot.lag);
    }
    sheet.family(&c::THREAD_RUN_DELAY);
    for view in loops {
        if let Some(ns) = view.run_delay_ns {
            sheet.of(view);
            sheet.seconds(&[&view.label], ns);
        }
    }
    plain(sheet, (&c::TIMER_LATENESS, Fact::QueueDelay), loops, |snapshot| {
        &snapshot.wait[Kind::Timer.index()]
    });
    plain(sheet, (&c::ITERATION_DURATION, Fact::Iterations), loops, |snapshot| &snapshot.iteration);
    plain(sheet, (&c::POLL_WAIT, Fact::PollWait), loops, |snapshot| &snapshot.poll_wait);
    sheet.family(&c::POLL_EVENTS);
    for view in told(loops, Fact::PollEvents) {
        sheet.of(view);
        sheet.counts(&[&view.label], &view.snapshot.poll_events);
    }
}

fn write_phases(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    sheet.family(&c::PHASE_DURATION);
    for view in told(loops, Fact::Phases) {
        sheet.of(view);
        for (phase, label) in view.snapshot.facts.description.phases() {
            used(sheet, &[&view.label, label], &view.snapshot.phase[phase.index()]);
        }
    }
    sheet.family(&c::PHASE_CALLBACKS);
    for view in told(loops, Fact::Phases).filter(|view| knows(view, Fact::Callbacks)) {
        sheet.of(view);
        for (phase, label) in view.snapshot.facts.description.phases() {
            sheet.whole(&[&view.label, label], view.snapshot.phase_callbacks[phase.index()]);
        }
    }
}

fn write_callbacks(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    by_kind(sheet, (&c::CALLBACK_DURATION, Fact::Callbacks), loops, |snapshot| &snapshot.run);
    by_kind(sheet, (&c::CALLBACK_QUEUE_DELAY, Fact::QueueDelay), loops, |snapshot| &snapshot.wait);
    sheet.family(&c::CALLBACK_ERRORS);
    for view in told(loops, Fact::Errors) {
        sheet.of(view);
        for (index, kind) in kinds_in_use(&view.snapshot) {
            sheet.whole(&[&view.label, kind], view.snapshot.errors[index]);
        }
    }
}

fn write_sites(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    for family in [&c::SITE_SECONDS, &c::SITE_CALLS, &c::SITE_MAX] {
        sheet.family(family);
        for view in told(loops, Fact::Callbacks) {
            sheet.of(view);
            let runtime = &view.snapshot.facts.description;
            for site in &view.sites {
                let kind = runtime.kind_label(site.kind.unwrap_or(Kind::Other));
                let labels = [view.label.as_str(), &site.label, kind];
                if std::ptr::eq(family, &c::SITE_SECONDS) {
                    sheet.seconds(&labels, site.run_ns);
                } else if std::ptr::eq(family, &c::SITE_CALLS) {
                    sheet.whole(&labels, site.calls);
                } else {
                    sheet.seconds(&labels, site.longest_ns);
                }
            }
        }
    }
}

fn write_work(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    sheet.family(&c::WORK_SUBMITTED);
    for view in told(loops, Fact::Work) {
        sheet.of(view);
        for (index, kind) in kinds_in_use(&view.snapshot) {
            sheet.whole(&[&view.label, kind], view.snapshot.submitted[index]);
        }
    }
    sheet.family(&c::WORK_COMPLETED);
    for view in told(loops, Fact::Work) {
        sheet.of(view);
        for (index, kind) in kinds_in_use(&view.snapshot) {
            sheet.whole(&[&view.label, kind, "ok"], view.succeeded[index]);
            sheet.whole(&[&view.label, kind, "error"], view.snapshot.errors[index]);
            // Most kinds cannot be cancelled, so this one waits for the first that was.
            if view.snapshot.cancelled[index] > 0 {
                sheet.whole(&[&view.label, kind, "cancelled"], view.snapshot.cancelled[index]);
            }
        }
    }
    sheet.family(&c::TASK_STAGE);
    for view in loops {
        sheet.of(view);
        let snapshot = &view.snapshot;
        let mut stage = |fact, stage, values: &HistogramValues| {
            if knows(view, fact) {
                used(sheet, &[&view.label, stage], values);
            }
        };
        stage(Fact::Operation, "operation", &snapshot.operation);
        stage(Fact::QueueDelay, "queued", &sum_of(&snapshot.wait));
        stage(Fact::Callbacks, "executing", &sum_of(&snapshot.run));
        stage(Fact::Drains, "completed", &snapshot.completed);
    }
}

fn sum_of(histograms: &[HistogramValues]) -> HistogramValues {
    let mut sum = HistogramValues::default();
    for values in histograms {
        sum.merge(values);
    }
    sum
}

fn write_queues(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    type Write = fn(&mut MetricsPage, &LoopMetrics, &str, usize);
    let families: [(&'static Family, Fact, Write); 4] = [
        (&c::DRAIN_DURATION, Fact::Drains, |sheet, view, queue, index| {
            used(sheet, &[&view.label, queue], &view.snapshot.drain[index]);
        }),
        (&c::DRAIN_JOBS, Fact::DrainedJobs, |sheet, view, queue, index| {
            if view.snapshot.drain_jobs[index].count() > 0 {
                sheet.counts(&[&view.label, queue], &view.snapshot.drain_jobs[index]);
            }
        }),
        (&c::DRAINED_JOBS, Fact::DrainedJobs, |sheet, view, queue, index| {
            sheet.whole(&[&view.label, queue], view.snapshot.drained_jobs[index]);
        }),
        (&c::QUEUE_DEPTH_MAX, Fact::QueueDepth, |sheet, view, queue, index| {
            sheet.whole(&[&view.label, queue], view.snapshot.queue_depth_max[index]);
        }),
    ];
    for (family, fact, write) in families {
        sheet.family(family);
        for view in told(loops, fact) {
            sheet.of(view);
            for (queue, label) in view.snapshot.facts.description.queues() {
                write(sheet, view, label, queue.index());
            }
        }
    }
}

/// Returns the causes that a loop can have: without floods of what its runtime has not, or does not tell of.
fn causes(view: &LoopMetrics) -> impl Iterator<Item = Cause> {
    let runtime = &view.snapshot.facts.description;
    let queues: Vec<Queue> = runtime.queues().into_iter().map(|(queue, _)| queue).collect();
    let tells_drains = runtime.knows(Fact::Drains) || runtime.knows(Fact::DrainedJobs);
    let tells_callbacks = runtime.knows(Fact::Callbacks);
    let runs = &view.snapshot.run;
    // Kinds without a name of their own count once there was one.
    let has_run = move |cause: Cause| {
        let of_it = Kind::ALL[..Kind::CALLBACKS].iter().filter(|kind| Cause::of_kind(**kind) == cause);
        of_it.into_iter().any(|kind| !runs[kind.index()].is_empty())
    };
    let is_told = move |cause: &Cause| match cause {
        Cause::Microtask => tells_drains && queues.contains(&Queue::Microtask),
        Cause::NextTick => tells_drains && queues.contains(&Queue::NextTick),
        Cause::Immediate | Cause::Timer | Cause::Io => {
            tells_callbacks && (cause.is_of(runtime) || has_run(*cause))
        }
        Cause::Callback => true,
    };
    let episodes = view.stalls.episodes;
    Cause::ALL.into_iter().filter(move |cause| is_told(cause) || episodes[*cause as usize] > 0)
}

fn write_stalls(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    sheet.family(&c::STARVATION_ACTIVE);
    for view in loops {
        sheet.of(view);
        for cause in causes(view) {
            sheet.whole(&[&view.label, cause.name()], u64::from(view.stalls.active[cause as usize]));
        }
    }
    sheet.family(&c::STARVATION);
    for view in loops {
        sheet.of(view);
        for cause in causes(view) {
            sheet.whole(&[&view.label, cause.name()], view.stalls.episodes[cause as usize]);
        }
    }
    sheet.family(&c::STARVATION_DURATION);
    for view in loops {
        sheet.of(view);
        for cause in Cause::ALL {
            let Some(values) = &view.stalls.durations[cause as usize] else { continue };
            let exemplars = &view.stalls.starvation_exemplars[cause as usize];
            sheet.exemplified(&[&view.label, cause.name()], values, exemplars);
        }
    }
    sheet.family(&c::BLOCKED);
    for view in loops {
        sheet.of(view);
        for severity in StallSeverity::ALL {
            sheet.whole(&[&view.label, severity.name()], view.snapshot.blocked[severity as usize]);
        }
    }
    sheet.family(&c::STALL_THRESHOLD);
    for view in loops {
        sheet.of(view);
        for (severity, ns) in
            StallSeverity::ALL.into_iter().zip([view.snapshot.warning_ns, view.snapshot.critical_ns])
        {
            sheet.seconds(&[&view.label, severity.name()], ns);
        }
    }
    sheet.family(&c::BLOCKED_DURATION);
    for view in loops {
        sheet.of(view);
        sheet.exemplified(&[&view.label], &view.snapshot.blocked_duration, &view.stalls.blocked_exemplars);
    }
    write_incidents(sheet, loops);
}

fn write_incidents(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    let cases = || loops.iter().filter_map(|view| Some((view, view.incidents.as_ref()?)));
    sheet.family(&c::INCIDENTS);
    for (view, cases) in cases() {
        sheet.of(view);
        for kind in IncidentKind::ALL {
            sheet.whole(&[&view.label, kind.name()], cases.incidents[kind as usize]);
        }
    }
    sheet.family(&c::REPORTS_SUPPRESSED);
    for (view, cases) in cases() {
        sheet.of(view);
        sheet.whole(&[&view.label], cases.suppressed);
    }
    sheet.family(&c::CAPTURES);
    for (view, cases) in cases() {
        sheet.of(view);
        for (result, count) in ["ok", "failed", "rate_limited"].into_iter().zip(cases.captures) {
            sheet.whole(&[&view.label, result], count);
        }
    }
}

fn pools(loops: &[LoopMetrics]) -> impl Iterator<Item = (&LoopMetrics, &PoolValues)> {
    loops.iter().filter_map(|view| Some((view, view.snapshot.pool.as_ref()?)))
}

fn write_pools(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    /// The value, where somebody knows it. What a pool counted stays when its loop has ended, and its state goes.
    type Value = fn(&PoolValues, &Description) -> Option<u64>;
    let gauges: [(&'static Family, Value); 4] = [
        (&c::POOL_THREADS, |pool, _| pool.threads),
        (&c::POOL_THREADS_BUSY, |pool, _| pool.running),
        (&c::POOL_QUEUE_DEPTH, |pool, runtime| pool.queued.filter(|_| runtime.knows(Fact::PoolQueue))),
        (&c::POOL_QUEUE_DEPTH_MAX, |pool, runtime| {
            let is_known = runtime.knows(Fact::PoolQueue) && pool.queued.is_some();
            is_known.then_some(pool.queued_max)
        }),
    ];
    for (family, value) in gauges {
        sheet.family(family);
        for (view, pool) in pools(loops) {
            if let Some(value) = value(pool, &view.snapshot.facts.description) {
                sheet.of(view);
                sheet.whole(&[&view.label], value);
            }
        }
    }
    let times: [(&'static Family, Value); 3] = [
        (&c::POOL_OLDEST_WAIT, |pool, runtime| {
            pool.oldest_wait_ns.filter(|_| runtime.knows(Fact::PoolQueue))
        }),
        (&c::POOL_BUSY, |pool, _| (pool.running.is_some() || pool.busy_ns > 0).then_some(pool.busy_ns)),
        (&c::POOL_SATURATED, |pool, runtime| {
            (runtime.knows(Fact::PoolQueue) || pool.saturated_ns > 0).then_some(pool.saturated_ns)
        }),
    ];
    for (family, value) in times {
        sheet.family(family);
        for (view, pool) in pools(loops) {
            if let Some(ns) = value(pool, &view.snapshot.facts.description) {
                sheet.of(view);
                sheet.seconds(&[&view.label], ns);
            }
        }
    }
}

fn write_pool_jobs(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    sheet.family(&c::POOL_SUBMITTED);
    for (view, pool) in pools(loops).filter(|(view, _)| knows(view, Fact::PoolJobs)) {
        sheet.of(view);
        for (kind, count) in WorkKind::ALL.iter().zip(pool.submitted).filter(|(_, count)| *count > 0) {
            sheet.whole(&[&view.label, kind.name()], count);
        }
    }
    sheet.family(&c::POOL_COMPLETED);
    for (view, pool) in pools(loops).filter(|(view, _)| knows(view, Fact::PoolJobs)) {
        sheet.of(view);
        for kind in WorkKind::ALL.iter().filter(|kind| pool.submitted[kind.index()] > 0) {
            let outcomes = [("ok", &pool.completed), ("error", &pool.failed), ("cancelled", &pool.cancelled)];
            for (outcome, counts) in outcomes {
                sheet.whole(&[&view.label, kind.name(), outcome], counts[kind.index()]);
            }
        }
    }
    sheet.family(&c::POOL_WAIT);
    for (view, pool) in pools(loops).filter(|(view, _)| knows(view, Fact::PoolWait)) {
        sheet.of(view);
        for (kind, values) in WorkKind::ALL.iter().zip(&pool.wait) {
            used(sheet, &[&view.label, kind.name()], values);
        }
    }
    sheet.family(&c::POOL_RUN);
    for (view, pool) in pools(loops).filter(|(view, _)| knows(view, Fact::PoolRun)) {
        sheet.of(view);
        for (kind, values) in WorkKind::ALL.iter().zip(&pool.run) {
            used(sheet, &[&view.label, kind.name()], values);
        }
    }
    plain(sheet, (&c::POOL_COMPLETION_DELAY, Fact::PoolJobs), loops, |snapshot| &snapshot.work_delivery);
}

fn write_handles(sheet: &mut MetricsPage, loops: &[LoopMetrics]) {
    sheet.family(&c::HANDLES_ACTIVE);
    for view in told(loops, Fact::Handles) {
        sheet.of(view);
        for (handle, count) in HandleType::ALL.iter().zip(view.snapshot.handles) {
            if !view.handle_types[handle.index()] {
                continue;
            }
            sheet.whole(&[&view.label, handle.name()], count);
        }
    }
    whole(sheet, (&c::HANDLES_REFERENCED, Fact::Referenced), loops, |snapshot| snapshot.handles_referenced);
    whole(sheet, (&c::REQUESTS_ACTIVE, Fact::Requests), loops, |snapshot| snapshot.requests_active);
    whole(sheet, (&c::TIMERS_PENDING, Fact::Timers), loops, |snapshot| snapshot.timers_pending);
    whole(sheet, (&c::WAKES_COALESCED, Fact::Wakes), loops, |snapshot| snapshot.wakes_coalesced);
}
