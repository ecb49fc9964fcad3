//! The series that the reader chose in the bar at the top of a dashboard.

use crate::promql::Series;
use loopscope_agent::export::catalog::Family;

/// The window of rates: Grafana makes it as long as the picture's resolution and the scrapes need.
pub const WINDOW: &str = "$__rate_interval";
/// The whole time that is shown.
pub const RANGE: &str = "$__range";

/// Of the chosen targets.
pub fn targets(family: &'static Family) -> Series {
    Series::of(family).with("job", "=~", "$job").with("instance", "=~", "$instance")
}

/// Of the chosen loops.
pub fn loops(family: &'static Family) -> Series {
    targets(family).with("loop", "=~", "$loop")
}

/// Of the chosen pools.
pub fn pools(family: &'static Family) -> Series {
    targets(family).with("pool", "=~", "$pool")
}

/// What a recording rule made for the chosen targets.
pub fn recorded(name: &str) -> String {
    format!("{name}{{job=~\"$job\",instance=~\"$instance\"}}")
}

/// The address of the dashboard of one loop, for a table whose rows have the labels job, instance and loop.
pub const TO_LOOP: (&str, &str) = (
    "This loop in depth",
    "/d/loopscope-loop?var-datasource=${datasource}&var-job=${__data.fields.job}&var-instance=${__data.fields.instance}&var-loop=${__data.fields.loop}&${__url_time_range}",
);
