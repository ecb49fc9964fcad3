//! Alerts on thread pools: full with work waiting, slow to start, and stuck.

use super::{Alert, Severity};
use crate::durations::{Durations, Span};
use crate::promql::{Group, Series, max_over_time};
use crate::recorded::{POOL_SATURATION, POOL_WAIT_P95};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts(pace: Durations) -> Vec<Alert> {
    vec![
        Alert {
            name: "PoolSaturated",
            why: "Busy threads alone are fine, and so are jobs that wait briefly: both together are a problem. If \
                  waiting times are unknown, the queue's depth or the age of its oldest job stands for them.",
            expr: saturated(pace),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Pool {{ $labels.pool }} of {{ owner }} was saturated {{ $value | humanizePercentage }} of the time",
            description: "Pool jobs of this process, such as file access, name lookups and compression, wait for a \
                          thread. If jobs wait for I/O, add threads; if they compute, reduce the work. `loopscope \
                          doctor` on the host shows how for this runtime.",
        },
        Alert {
            name: "PoolWaitHigh",
            why: "A quarter of a second before a job even starts, whatever the cause.",
            expr: format!("{POOL_WAIT_P95} > 0.25"),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Jobs of pool {{ $labels.pool }} of {{ owner }} wait {{ $value | humanizeDuration }} for a thread",
            description: "One job in twenty waits at least this long before it starts. The dashboard of pools shows \
                          which kind of job occupies the threads.",
        },
        Alert {
            name: "PoolStuck",
            why: "If all threads of a pool hang, no job starts, so its waiting times show nothing; the age of the \
                  oldest job in its queue does.",
            expr: format!("{} > 10", Series::of(&c::POOL_OLDEST_WAIT).select()),
            hold: Some(Span::minutes(1)),
            severity: Severity::Critical,
            summary: "The oldest job in pool {{ $labels.pool }} of {{ owner }} has waited for {{ $value | \
                      humanizeDuration }}",
            description: "All its threads run jobs that do not finish, or far more is queued than it can handle. \
                          Usual causes are an unreachable network file system or name server. A stopped process \
                          (debugger, Ctrl-Z) has this, too, on a page of `loopscope serve`.",
        },
    ]
}

/// Full for most of the time, with jobs that wait long, as far as it is known: a wait where waits are told; else as many jobs
/// as threads in the queue, or one that is old.
fn saturated(pace: Durations) -> String {
    let window = pace.window(Span::minutes(5));
    let most = |family| max_over_time(&Series::of(family), Group::Without(&[]), &window);
    let (depth, oldest) = (most(&c::POOL_QUEUE_DEPTH), most(&c::POOL_OLDEST_WAIT));
    let threads = Series::of(&c::POOL_THREADS).select();
    format!(
        "{POOL_SATURATION} > 0.5\nand (\n  {POOL_WAIT_P95} > 0.1\n  or ({depth} >= {threads} unless {POOL_WAIT_P95})\n  \
         or ({oldest} > 0.1 unless {POOL_WAIT_P95})\n)"
    )
}
