//! Alerts on thread pools: full with work waiting, slow to start, and stuck.

use super::{Alert, Severity};
use crate::pace::{Pace, Span};
use crate::promql::{Group, Series, max_over_time};
use crate::recorded::{POOL_SATURATION, POOL_WAIT_P95};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts(pace: Pace) -> Vec<Alert> {
    vec![
        Alert {
            name: "PoolSaturated",
            why: "Busy threads are no fault, nor are jobs that wait a moment: both together are. Of a pool whose waits \
                  nobody knows, the length of its queue or the age of the first job in it says how long jobs wait.",
            expr: saturated(pace),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Pool {{ $labels.pool }} of {{ owner }} was full with jobs waiting for {{ $value | humanizePercentage }} of the time",
            description: "Jobs of this process, such as files, name lookups and compression, wait for a thread. Give the \
                          pool more threads where its jobs wait for I/O; do less in them where they compute. \
                          `loopscope doctor` on the host says how, in the words of the runtime.",
        },
        Alert {
            name: "PoolWaitHigh",
            why: "A quarter of a second before a job even begins, whatever the reason.",
            expr: format!("{POOL_WAIT_P95} > 0.25"),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Jobs of pool {{ $labels.pool }} of {{ owner }} wait {{ $value | humanizeDuration }} for a thread",
            description: "One job in twenty waits at least this long before it begins. The dashboard of pools shows \
                          which kind of job holds the threads.",
        },
        Alert {
            name: "PoolStuck",
            why: "A pool whose threads all hang starts no job, so its wait times show nothing; the age of the first \
                  job in its queue does.",
            expr: format!("{} > 10", Series::of(&c::POOL_OLDEST_WAIT).select()),
            hold: Some(Span::minutes(1)),
            severity: Severity::Critical,
            summary: "Pool {{ $labels.pool }} of {{ owner }} has let a job wait for {{ $value | humanizeDuration }}",
            description: "All its threads are held by jobs that do not end, or far more is queued than it can do. A \
                          dead network file system and a name server that does not answer are the usual reasons.",
        },
    ]
}

/// Full for most of the time, with jobs that wait long, as far as it is known: a wait where waits are told; else as many jobs
/// as threads in the queue, or one that is old.
fn saturated(pace: Pace) -> String {
    let window = pace.window(Span::minutes(5));
    let most = |family| max_over_time(&Series::of(family), Group::Without(&[]), &window);
    let (depth, oldest) = (most(&c::POOL_QUEUE_DEPTH), most(&c::POOL_OLDEST_WAIT));
    let threads = Series::of(&c::POOL_THREADS).select();
    format!(
        "{POOL_SATURATION} > 0.5\nand (\n  {POOL_WAIT_P95} > 0.1\n  or ({depth} >= {threads} unless {POOL_WAIT_P95})\n  \
         or ({oldest} > 0.1 unless {POOL_WAIT_P95})\n)"
    )
}
