//! The paths that the server of a host answers at.

use loopscope_http::incidents::{INCIDENT, INCIDENTS};
use loopscope_http::live::LIVE;
use loopscope_http::page::{FILES, PAGE};
use loopscope_http::paths::{FLAMEGRAPH, HEALTHY, METRICS, PPROF, READY};

/// The agents of this host, for Prometheus's `http_sd_configs`.
pub(crate) const TARGETS: &str = "/sd";

/// What everything below a process's own folder is counted as.
pub(crate) const PROCESS: &str = "/process/PID";

/// The paths that are counted by name; all others are counted as `other`.
pub(crate) const PATHS: [&str; 14] = [
    "/", PAGE, FILES, LIVE, METRICS, HEALTHY, READY, TARGETS, FLAMEGRAPH, PPROF, INCIDENTS, INCIDENT,
    PROCESS, "other",
];
