//! The paths that a server answers at, an agent's and a host's alike.

use crate::web::incidents::{INCIDENT, INCIDENTS};
use crate::web::live::LIVE;
use crate::web::page::{FILES, PAGE};

pub(crate) const METRICS: &str = "/metrics";
pub(crate) const HEALTHY: &str = "/-/healthy";
pub(crate) const READY: &str = "/-/ready";
pub(crate) const FLAMEGRAPH: &str = "/debug/loopscope/flamegraph";
pub(crate) const PPROF: &str = "/debug/pprof/profile";
pub(crate) const THRESHOLDS: &str = "/debug/loopscope/thresholds";

/// The paths that are counted by name; all others are counted as `other`.
pub(crate) const PATHS: [&str; 13] = [
    "/", PAGE, FILES, LIVE, METRICS, HEALTHY, READY, FLAMEGRAPH, PPROF, INCIDENTS, INCIDENT, THRESHOLDS,
    "other",
];
