//! Writes the families of loops, callbacks, queues, stalls, pools and handles.

use crate::compute::starvation::Cause;
use crate::export::catalog::{self as c, Family};
use crate::export::text::Text;
use crate::export::view::LoopView;
use loopscope_probe::histogram::HistogramValues;
use loopscope_probe::kind::Queue;
use loopscope_probe::pool::PoolValues;
use loopscope_probe::tallies::Severity;
use loopscope_probe::{HandleType, Kind, Phase, Snapshot, WorkKind};

/// Writes all of them, in the order of the catalogue.
pub(crate) fn write(text: &mut Text, loops: &[LoopView]) {
    write_loops(text, loops);
    write_phases(text, loops);
    write_callbacks(text, loops);
    write_sites(text, loops);
    write_work(text, loops);
    write_queues(text, loops);
    write_stalls(text, loops);
    write_pools(text, loops);
    write_pool_jobs(text, loops);
    write_handles(text, loops);
}

fn whole(text: &mut Text, family: &'static Family, loops: &[LoopView], value: impl Fn(&Snapshot) -> u64) {
    text.family(family);
    for view in loops {
        text.whole(&[&view.label], value(&view.snapshot));
    }
}

/// Writes a histogram that is there only once it was used.
fn used(text: &mut Text, labels: &[&str], values: &HistogramValues) {
    if values.buckets.iter().any(|count| *count > 0) {
        text.durations(labels, values);
    }
}

fn plain(
    text: &mut Text,
    family: &'static Family,
    loops: &[LoopView],
    values: impl Fn(&Snapshot) -> &HistogramValues,
) {
    text.family(family);
    for view in loops {
        used(text, &[&view.label], values(&view.snapshot));
    }
}

fn by_kind(
    text: &mut Text,
    family: &'static Family,
    loops: &[LoopView],
    values: impl Fn(&Snapshot) -> &[HistogramValues; Kind::CALLBACKS],
) {
    text.family(family);
    for view in loops {
        for (kind, values) in callback_kinds().zip(values(&view.snapshot)) {
            used(text, &[&view.label, kind], values);
        }
    }
}

fn callback_kinds() -> impl Iterator<Item = &'static str> {
    Kind::ALL[..Kind::CALLBACKS].iter().map(|kind| kind.name())
}

fn write_loops(text: &mut Text, loops: &[LoopView]) {
    text.family(&c::LOOP_INFO);
    for view in loops {
        let facts = &view.snapshot.facts;
        text.whole(&[&view.label, &facts.runtime, &facts.backend, &facts.thread], 1);
    }
    whole(text, &c::ITERATIONS, loops, |snapshot| snapshot.iterations);
    text.family(&c::LOOP_TIME);
    for view in loops {
        text.seconds(&[&view.label, "active"], view.snapshot.active_ns);
        text.seconds(&[&view.label, "idle"], view.snapshot.idle_ns);
    }
    text.family(&c::UTILIZATION);
    for view in loops {
        text.fraction(&[&view.label], view.utilization);
    }
    text.family(&c::STALL);
    for view in loops {
        text.seconds(&[&view.label], view.snapshot.now.busy_ns);
    }
    text.family(&c::LAG_SECONDS);
    for view in loops {
        text.durations(&[&view.label], &view.snapshot.lag);
    }
    plain(text, &c::TIMER_LATENESS, loops, |snapshot| &snapshot.wait[Kind::Timer.index()]);
    plain(text, &c::ITERATION_DURATION, loops, |snapshot| &snapshot.iteration);
    plain(text, &c::POLL_WAIT, loops, |snapshot| &snapshot.poll_wait);
    text.family(&c::POLL_EVENTS);
    for view in loops {
        text.counts(&[&view.label], &view.snapshot.poll_events);
    }
}

fn write_phases(text: &mut Text, loops: &[LoopView]) {
    text.family(&c::PHASE_DURATION);
    for view in loops {
        for phase in Phase::ALL {
            used(text, &[&view.label, phase.name()], &view.snapshot.phase[phase.index()]);
        }
    }
    text.family(&c::PHASE_CALLBACKS);
    for view in loops {
        for phase in Phase::ALL {
            text.whole(&[&view.label, phase.name()], view.snapshot.phase_callbacks[phase.index()]);
        }
    }
}

fn write_callbacks(text: &mut Text, loops: &[LoopView]) {
    by_kind(text, &c::CALLBACK_DURATION, loops, |snapshot| &snapshot.run);
    by_kind(text, &c::CALLBACK_QUEUE_DELAY, loops, |snapshot| &snapshot.wait);
    text.family(&c::CALLBACK_ERRORS);
    for view in loops {
        for (kind, count) in callback_kinds().zip(view.snapshot.errors) {
            text.whole(&[&view.label, kind], count);
        }
    }
}

fn write_sites(text: &mut Text, loops: &[LoopView]) {
    for family in [&c::SITE_SECONDS, &c::SITE_CALLS, &c::SITE_MAX] {
        text.family(family);
        for view in loops {
            for site in &view.sites {
                let labels = [view.label.as_str(), &site.label, site.kind.unwrap_or(Kind::Other).name()];
                if std::ptr::eq(family, &c::SITE_SECONDS) {
                    text.seconds(&labels, site.run_ns);
                } else if std::ptr::eq(family, &c::SITE_CALLS) {
                    text.whole(&labels, site.calls);
                } else {
                    text.seconds(&labels, site.longest_ns);
                }
            }
        }
    }
}

fn write_work(text: &mut Text, loops: &[LoopView]) {
    text.family(&c::WORK_SUBMITTED);
    for view in loops {
        for (kind, count) in callback_kinds().zip(view.snapshot.submitted) {
            text.whole(&[&view.label, kind], count);
        }
    }
    text.family(&c::WORK_COMPLETED);
    for view in loops {
        for (index, kind) in callback_kinds().enumerate() {
            text.whole(&[&view.label, kind, "ok"], view.succeeded[index]);
            text.whole(&[&view.label, kind, "error"], view.snapshot.errors[index]);
            text.whole(&[&view.label, kind, "cancelled"], view.snapshot.cancelled[index]);
        }
    }
    text.family(&c::TASK_STAGE);
    for view in loops {
        let snapshot = &view.snapshot;
        used(text, &[&view.label, "operation"], &snapshot.operation);
        used(text, &[&view.label, "queued"], &sum_of(&snapshot.wait));
        used(text, &[&view.label, "executing"], &sum_of(&snapshot.run));
        used(text, &[&view.label, "completed"], &snapshot.completed);
    }
}

fn sum_of(histograms: &[HistogramValues]) -> HistogramValues {
    let mut sum = HistogramValues::default();
    for values in histograms {
        sum.merge(values);
    }
    sum
}

fn write_queues(text: &mut Text, loops: &[LoopView]) {
    let each = |write: &mut dyn FnMut(&LoopView, &'static str, usize)| {
        for view in loops {
            for queue in Queue::ALL {
                write(view, queue.name(), queue.index());
            }
        }
    };
    text.family(&c::DRAIN_DURATION);
    each(&mut |view, queue, index| used(text, &[&view.label, queue], &view.snapshot.drain[index]));
    text.family(&c::DRAIN_JOBS);
    each(&mut |view, queue, index| {
        if view.snapshot.drain_jobs[index].count() > 0 {
            text.counts(&[&view.label, queue], &view.snapshot.drain_jobs[index]);
        }
    });
    text.family(&c::DRAINED_JOBS);
    each(&mut |view, queue, index| text.whole(&[&view.label, queue], view.snapshot.drained_jobs[index]));
    text.family(&c::QUEUE_DEPTH_MAX);
    each(&mut |view, queue, index| text.whole(&[&view.label, queue], view.snapshot.queue_depth_max[index]));
}

fn write_stalls(text: &mut Text, loops: &[LoopView]) {
    text.family(&c::STARVATION_ACTIVE);
    for view in loops {
        for cause in Cause::ALL {
            text.whole(&[&view.label, cause.name()], u64::from(view.stalls.active == Some(cause)));
        }
    }
    text.family(&c::STARVATION);
    for view in loops {
        for cause in Cause::ALL {
            text.whole(&[&view.label, cause.name()], view.stalls.episodes[cause as usize]);
        }
    }
    text.family(&c::STARVATION_DURATION);
    let none = HistogramValues::default();
    for view in loops {
        for cause in Cause::ALL {
            let values = view.stalls.durations[cause as usize].as_ref().unwrap_or(&none);
            text.durations(&[&view.label, cause.name()], values);
        }
    }
    text.family(&c::BLOCKED);
    for view in loops {
        for severity in Severity::ALL {
            text.whole(&[&view.label, severity.name()], view.snapshot.blocked[severity as usize]);
        }
    }
    text.family(&c::BLOCKED_DURATION);
    for view in loops {
        text.durations(&[&view.label], &view.snapshot.blocked_duration);
    }
}

fn pools(loops: &[LoopView]) -> impl Iterator<Item = (&LoopView, &PoolValues)> {
    loops.iter().filter_map(|view| Some((view, view.snapshot.pool.as_ref()?)))
}

fn write_pools(text: &mut Text, loops: &[LoopView]) {
    type Value = fn(&PoolValues) -> u64;
    let gauges: [(&'static Family, Value); 4] = [
        (&c::POOL_THREADS, |pool| pool.threads),
        (&c::POOL_THREADS_BUSY, |pool| pool.running),
        (&c::POOL_QUEUE_DEPTH, |pool| pool.queued),
        (&c::POOL_QUEUE_DEPTH_MAX, |pool| pool.queued_max),
    ];
    for (family, value) in gauges {
        text.family(family);
        for (view, pool) in pools(loops) {
            text.whole(&[&view.label], value(pool));
        }
    }
    let times: [(&'static Family, Value); 3] = [
        (&c::POOL_OLDEST_WAIT, |pool| pool.oldest_wait_ns),
        (&c::POOL_BUSY, |pool| pool.busy_ns),
        (&c::POOL_SATURATED, |pool| pool.saturated_ns),
    ];
    for (family, value) in times {
        text.family(family);
        for (view, pool) in pools(loops) {
            text.seconds(&[&view.label], value(pool));
        }
    }
}

fn write_pool_jobs(text: &mut Text, loops: &[LoopView]) {
    text.family(&c::POOL_SUBMITTED);
    for (view, pool) in pools(loops) {
        for (kind, count) in WorkKind::ALL.iter().zip(pool.submitted) {
            text.whole(&[&view.label, kind.name()], count);
        }
    }
    text.family(&c::POOL_COMPLETED);
    for (view, pool) in pools(loops) {
        for kind in WorkKind::ALL {
            let outcomes = [("ok", &pool.completed), ("error", &pool.failed), ("cancelled", &pool.cancelled)];
            for (outcome, counts) in outcomes {
                text.whole(&[&view.label, kind.name(), outcome], counts[kind.index()]);
            }
        }
    }
    text.family(&c::POOL_WAIT);
    for (view, pool) in pools(loops) {
        for (kind, values) in WorkKind::ALL.iter().zip(&pool.wait) {
            used(text, &[&view.label, kind.name()], values);
        }
    }
    text.family(&c::POOL_RUN);
    for (view, pool) in pools(loops) {
        for (kind, values) in WorkKind::ALL.iter().zip(&pool.run) {
            used(text, &[&view.label, kind.name()], values);
        }
    }
    plain(text, &c::POOL_COMPLETION_DELAY, loops, |snapshot| &snapshot.work_delivery);
}

fn write_handles(text: &mut Text, loops: &[LoopView]) {
    text.family(&c::HANDLES_ACTIVE);
    for view in loops {
        for (handle, count) in HandleType::ALL.iter().zip(view.snapshot.handles) {
            // The page adds changes, wrapping: read in the middle of one, a count may be below 0.
            text.whole(&[&view.label, handle.name()], (count as i64).max(0) as u64);
        }
    }
    whole(text, &c::HANDLES_REFERENCED, loops, |snapshot| snapshot.handles_referenced);
    whole(text, &c::REQUESTS_ACTIVE, loops, |snapshot| snapshot.requests_active);
    whole(text, &c::TIMERS_PENDING, loops, |snapshot| snapshot.timers_pending);
    whole(text, &c::WAKES_COALESCED, loops, |snapshot| snapshot.wakes_coalesced);
}
