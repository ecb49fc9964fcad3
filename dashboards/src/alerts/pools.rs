//! Alerts on thread pools: full with work waiting, slow to start, and stuck.

use super::{Alert, Severity};
use crate::pace::Span;
use crate::promql::Series;
use crate::recorded::{POOL_SATURATION, POOL_WAIT_P95};
use loopscope_report::metrics::catalog as c;

pub(super) fn alerts() -> Vec<Alert> {
    vec![
        Alert {
            name: "PoolSaturated",
            why: "Busy threads are no fault, nor are jobs that wait a moment: both together are.",
            expr: format!("{POOL_SATURATION} > 0.5\nand\n{POOL_WAIT_P95} > 0.1"),
            hold: Some(Span::minutes(5)),
            severity: Severity::Warning,
            summary: "Pool {{ $labels.pool }} of {{ owner }} was full with jobs waiting for {{ $value | humanizePercentage }} of the time",
            description: "Files, name lookups, compression and the like of this process wait for a thread. Give the \
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
