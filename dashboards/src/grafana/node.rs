//! Node compatibility: the figures of `prom-client`, by its own names, for processes that export those.
//!
//! The names below are that library's (version 15) and not ours, so the catalogue does not have them.

use super::board::Board;
use super::panel::Panel;
use super::shape::{Column, Shape};
use super::thresholds as t;

const CHOSEN: &str = "{job=~\"$job\",instance=~\"$instance\"}";

/// What a reader of these figures must know.
const CAVEAT: &str = "These metrics have `prom-client`'s names and, where that library makes them, its meaning: lag \
is sampled by the library's own timer, so an **idle** process shows about 10 ms; its histogram is reset by each \
scrape, so two Prometheus servers take data from each other; the lag gauge is a single measurement made during the \
scrape. Loopscope's own lag, on the other dashboards, has none of these limits.";

pub(super) fn board() -> Board {
    Board::new(
        "loopscope-node",
        "Loopscope / Node compatibility",
        "Event loop, memory and garbage collection of Node.js processes, with prom-client's metric names.",
    )
    .choose_from("job", "Job", "nodejs_version_info", true)
    .choose_from("instance", "Instance", "nodejs_version_info{job=~\"$job\"}", true)
    .row("Read this first", vec![Panel::new(Shape::Words(CAVEAT), "About these metrics", "")])
    .row("Event loop", event_loop())
    .row("Memory and garbage collection", memory())
    .row("Process", process())
}

fn chosen(name: &str) -> String {
    format!("{name}{CHOSEN}")
}

fn event_loop() -> Vec<Panel> {
    let lag = [("p50", "half"), ("p90", "p90"), ("p99", "p99"), ("max", "longest")];
    let percentiles = Panel::new(
        Shape::Lines,
        "Event loop lag since the last scrape",
        "How late the library's timer fires. 10 ms is the timer's interval, not lag.",
    );
    let percentiles = lag.into_iter().fold(percentiles, |panel, (part, name)| {
        panel.ask(chosen(&format!("nodejs_eventloop_lag_{part}_seconds")), format!("{{{{instance}}}} {name}"))
    });
    vec![
        percentiles.unit("s").lines(t::LAG).logarithmic().size(12, 8),
        Panel::new(
            Shape::Lines,
            "Mean and deviation of lag",
            "A deviation far above the mean: the loop is blocked now and then.",
        )
        .ask(chosen("nodejs_eventloop_lag_mean_seconds"), "{{instance}} mean")
        .ask(chosen("nodejs_eventloop_lag_stddev_seconds"), "{{instance}} deviation")
        .ask(chosen("nodejs_eventloop_lag_min_seconds"), "{{instance}} shortest")
        .unit("s")
        .from(0.0)
        .size(12, 8),
        Panel::new(Shape::Lines, "Lag at the scrape", "A single measurement during the scrape.")
            .ask(chosen("nodejs_eventloop_lag_seconds"), "{{instance}}")
            .unit("s")
            .lines(t::LAG)
            .logarithmic(),
        Panel::new(
            Shape::Lines,
            "Active resources",
            "What keeps the process alive, by type. A line that only rises is a leak.",
        )
        .ask(
            format!("sum by (instance, type) ({})", chosen("nodejs_active_resources")),
            "{{instance}} {{type}}",
        )
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Handles and requests",
            "Sockets, timers and other handles, and operations in progress.",
        )
        .ask(chosen("nodejs_active_handles_total"), "{{instance}} handles")
        .ask(chosen("nodejs_active_requests_total"), "{{instance}} requests")
        .from(0.0),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Lines, "Heap", "Of JavaScript: used, reserved, and outside of it (buffers).")
            .ask(chosen("nodejs_heap_size_used_bytes"), "{{instance}} used")
            .ask(chosen("nodejs_heap_size_total_bytes"), "{{instance}} reserved")
            .ask(chosen("nodejs_external_memory_bytes"), "{{instance}} external")
            .unit("bytes")
            .from(0.0),
        Panel::new(
            Shape::Stack,
            "Heap by space",
            "New objects are in `new`, long-lived ones in `old`; large objects have their own space.",
        )
        .ask(format!("sum by (space) ({})", chosen("nodejs_heap_space_size_used_bytes")), "{{space}}")
        .unit("bytes")
        .from(0.0),
        Panel::new(
            Shape::Stack,
            "Time in garbage collection",
            "Seconds per second, by kind. All but the incremental ones stop the loop.",
        )
        .ask(
            format!("sum by (kind) (rate(nodejs_gc_duration_seconds_sum{CHOSEN}[$__rate_interval]))"),
            "{{kind}}",
        )
        .unit("percentunit")
        .from(0.0),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Lines, "Processor time", "Of the process, in CPUs.")
            .ask(format!("rate(process_cpu_seconds_total{CHOSEN}[$__rate_interval])"), "{{instance}}")
            .unit("percentunit")
            .from(0.0),
        Panel::new(Shape::Lines, "Resident memory", "Of the process.")
            .ask(chosen("process_resident_memory_bytes"), "{{instance}}")
            .unit("bytes")
            .from(0.0),
        Panel::new(
            Shape::Table {
                labels: &["instance", "version", "job"],
                columns: &[Column { name: "Processes", unit: "none", steps: None }],
                link: None,
            },
            "Versions of Node.js",
            "Number of processes by version.",
        )
        .column(chosen("nodejs_version_info"), "Processes")
        .size(8, 8),
    ]
}
