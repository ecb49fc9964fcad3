//! The paths that a server answers at, an agent's and a host's alike.

use crate::incidents::{INCIDENT, INCIDENTS};
use crate::live::LIVE;
use crate::page::{FILES, PAGE};

pub const METRICS: &str = "/metrics";
pub const HEALTHY: &str = "/-/healthy";
pub const READY: &str = "/-/ready";
pub const FLAMEGRAPH: &str = "/debug/loopscope/flamegraph";
pub const PPROF: &str = "/debug/pprof/profile";
pub const THRESHOLDS: &str = "/debug/loopscope/thresholds";

/// The paths that are counted by name; all others are counted as `other`.
pub const PATHS: [&str; 13] = [
    "/", PAGE, FILES, LIVE, METRICS, HEALTHY, READY, FLAMEGRAPH, PPROF, INCIDENTS, INCIDENT, THRESHOLDS,
    "other",
];
