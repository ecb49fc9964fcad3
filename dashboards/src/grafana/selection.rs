//! The series that the reader chose in the bar at the top of a dashboard, and what tells loops, pools and processes apart.
//!
//! A target is one process, or all of a host: on the page of `loopscope serve` each series has the labels `pid` and
//! `name` of its process, and loops of several processes share a name. On an agent's own page these labels are missing,
//! which Prometheus takes for empty: a grouping by them changes nothing there, and `.*`, which is what All stands for,
//! matches, as does the empty value of a choice that has nothing to choose from.

use crate::alerts::groups;
use crate::durations::Durations;
use crate::promql::Series;
use loopscope_report::metrics::catalog::Family;

/// The window of rates: Grafana makes it as long as the picture's resolution and the scrapes need.
pub const WINDOW: &str = "$__rate_interval";
/// The whole time that is shown.
pub const RANGE: &str = "$__range";

/// What tells a process from all others.
pub const PROCESS: &[&str] = &["job", "instance", "pid", "name"];
/// What tells a loop from all others.
pub const LOOP: &[&str] = &["job", "instance", "pid", "name", "loop"];
/// What tells a pool from all others.
pub const POOL: &[&str] = &["job", "instance", "pid", "name", "pool"];

// What may be missing stands last: a legend without it is no other than one that never named it.
/// A process in a legend.
pub const PROCESS_NAME: &str = "{{instance}} {{name}} {{pid}}";
/// A loop in a legend.
pub const LOOP_NAME: &str = "{{instance}} {{loop}} {{name}} {{pid}}";
/// A pool in a legend.
pub const POOL_NAME: &str = "{{instance}} {{pool}} {{name}} {{pid}}";

/// Of the chosen targets.
pub fn targets(family: &'static Family) -> Series {
    Series::of(family).with("job", "=~", "$job").with("instance", "=~", "$instance")
}

/// Of the chosen processes.
pub fn processes(family: &'static Family) -> Series {
    targets(family).with("name", "=~", "$name").with("pid", "=~", "$pid")
}

/// Of the chosen loops.
pub fn loops(family: &'static Family) -> Series {
    processes(family).with("loop", "=~", "$loop")
}

/// Of the chosen pools.
pub fn pools(family: &'static Family) -> Series {
    processes(family).with("pool", "=~", "$pool")
}

/// What a recording rule made for the chosen processes.
pub fn recorded(name: &str) -> String {
    format!("{name}{{{CHOSEN}}}")
}

/// All series of the chosen processes whose names match: for what some runtimes tell by one family, and some by another.
pub fn named(names: &str) -> String {
    format!("{{__name__=~\"{names}\",{CHOSEN}}}")
}

/// The labels of the chosen processes.
const CHOSEN: &str = "job=~\"$job\",instance=~\"$instance\",name=~\"$name\",pid=~\"$pid\"";

/// Alerts that fire, of the chosen targets.
pub fn firing_at_targets() -> String {
    firing("job=~\"$job\",instance=~\"$instance\"")
}

/// Alerts that fire, of the chosen processes and of their targets as such: those name no process.
pub fn firing_at_processes() -> String {
    firing("job=~\"$job\",instance=~\"$instance\",name=~\"|$name\",pid=~\"|$pid\"")
}

fn firing(chosen: &str) -> String {
    let alerts = groups(Durations::Production).into_iter().flat_map(|group| group.alerts);
    let ours: Vec<&str> = alerts.map(|alert| alert.name).collect();
    format!("ALERTS{{alertstate=\"firing\",alertname=~\"{}\",{chosen}}}", ours.join("|"))
}

/// The address of the dashboard of one loop, for a table whose rows have the labels [`LOOP`]. Grafana puts nothing in
/// the place of a label that a row has not.
pub const TO_LOOP: (&str, &str) = (
    "This loop in depth",
    "/d/loopscope-loop?var-datasource=${datasource}&var-job=${__data.fields.job}&var-instance=${__data.fields.instance}&var-name=${__data.fields.name}&var-pid=${__data.fields.pid}&var-loop=${__data.fields.loop}&${__url_time_range}",
);

/// The address of the dashboard of pools with one chosen, for a table whose rows have the labels [`POOL`].
pub const TO_POOL: (&str, &str) = (
    "This pool",
    "/d/loopscope-pools?var-datasource=${datasource}&var-job=${__data.fields.job}&var-instance=${__data.fields.instance}&var-name=${__data.fields.name}&var-pid=${__data.fields.pid}&var-pool=${__data.fields.pool}&${__url_time_range}",
);
