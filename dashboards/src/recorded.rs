//! The recording rules: what alerts and the fleet's dashboard read, computed once by Prometheus.
//!
//! Names follow Prometheus' custom, `level:metric:operations`. No rule aggregates over targets, and none drops a label
//! that the user gave to a target, so alerts can be routed by namespace or team.

use crate::durations::{Durations, Span};
use crate::promql::{Group, Series, mean_over_time, quantile, rate, ratio, share_above};
use loopscope_report::metrics::catalog as c;

/// Active share of a loop's time.
pub const UTILIZATION: &str = "loopscope:loop_utilization:ratio_rate5m";
/// Median of a loop's lag in seconds.
pub const LAG_P50: &str = "loopscope:loop_lag_seconds:p50_rate5m";
/// 99th percentile of a loop's lag in seconds.
pub const LAG_P99: &str = "loopscope:loop_lag_seconds:p99_rate5m";
/// 99th percentile of how late timers fire, in seconds.
pub const TIMERS_P99: &str = "loopscope:timer_lateness_seconds:p99_rate5m";
/// 95th percentile of the wait for a thread of the pool, in seconds.
pub const POOL_WAIT_P95: &str = "loopscope:pool_wait_seconds:p95_rate5m";
/// Busy share of a pool's threads.
pub const POOL_UTILIZATION: &str = "loopscope:pool_utilization:ratio_rate5m";
/// Share of time in which all threads of a pool were busy and jobs waited.
pub const POOL_SATURATION: &str = "loopscope:pool_saturated:ratio_rate5m";

/// Restarts of a process that agents saw within 15 minutes.
pub const RESTARTS: &str = "loopscope:process_restarts:changes15m";
/// From so many restarts within 15 minutes on, a process is in a crash loop.
pub const RESTARTS_MAX: u32 = 4;

/// What "late" means in the objective for lag, in seconds: a boundary of the histograms, so the share is exact.
pub const LAG_BOUND: &str = "0.125";
/// The share of moments that may be late: the objective is 99.9 %.
pub const LAG_BUDGET: f64 = 0.001;

/// The windows over which the share of late moments is recorded.
pub const BURN_WINDOWS: [Span; 7] = [
    Span::minutes(5),
    Span::minutes(30),
    Span::hours(1),
    Span::hours(2),
    Span::hours(6),
    Span::days(1),
    Span::days(3),
];

/// The windows over which it is recorded for how much of them a loop was there.
const OBSERVED_WINDOWS: [Span; 5] =
    [Span::minutes(5), Span::hours(1), Span::hours(6), Span::days(1), Span::days(3)];

/// One recording rule.
#[derive(Debug)]
pub struct Recording {
    /// The name of the series it makes.
    pub name: String,
    /// What it computes.
    pub expr: String,
}

/// Rules that are evaluated together.
#[derive(Debug)]
pub struct RecordingGroup {
    /// Its name.
    pub name: &'static str,
    /// How often it is evaluated.
    pub interval: String,
    /// In order.
    pub rules: Vec<Recording>,
}

/// Returns the name of the series with the share of late moments within `window`.
pub fn lag_slow(window: Span) -> String {
    format!("loopscope:loop_lag_slow:ratio_rate{}", window.text())
}

/// Returns the name of the series with the share of `window` in which the loop was there and was seen: 1 for one that
/// is older than the window, less for one that has ended or just begun.
pub fn observed(window: Span) -> String {
    format!("loopscope:loop_observed:ratio{}", window.text())
}

/// Returns all recording rules.
pub fn groups(pace: Durations) -> Vec<RecordingGroup> {
    let is_long = |window: &Span| *window == Span::days(1) || *window == Span::days(3);
    let burn = |is_wanted: &dyn Fn(&Span) -> bool| {
        let late = BURN_WINDOWS.into_iter().filter(is_wanted).map(|window| slow_share(pace, window));
        let seen = OBSERVED_WINDOWS.into_iter().filter(is_wanted).map(|window| observed_share(pace, window));
        late.chain(seen).collect()
    };
    vec![
        RecordingGroup {
            name: "loopscope-recorded",
            interval: pace.interval(Span::seconds(30)),
            rules: figures(pace),
        },
        RecordingGroup {
            name: "loopscope-budget",
            interval: pace.interval(Span::minutes(1)),
            rules: burn(&|window| !is_long(window)),
        },
        // Days of samples are read for each of these, and alerts on them are held for hours: less often is enough. But
        // it must stay well below five minutes, or Prometheus takes the series for gone between two evaluations.
        RecordingGroup {
            name: "loopscope-budget-long",
            interval: pace.interval(Span::minutes(2)),
            rules: burn(&is_long),
        },
    ]
}

fn figures(pace: Durations) -> Vec<Recording> {
    let window = pace.window(Span::minutes(5));
    let all = Group::Without(&[]);
    let lag = Series::of(&c::LAG_SECONDS);
    let time = Series::of(&c::LOOP_TIME);
    let without_state = Group::Without(&["state"]);
    let active = rate(&time.clone().with("state", "=", "active"), without_state, &window);
    let total = rate(&time, without_state, &window);
    let wait = Series::of(&c::POOL_WAIT);
    let busy = rate(&Series::of(&c::POOL_BUSY), all, &window);
    let of_all = [
        (UTILIZATION, ratio(&active, &total)),
        (LAG_P50, quantile("0.5", &lag, all, &window)),
        (LAG_P99, quantile("0.99", &lag, all, &window)),
        (TIMERS_P99, quantile("0.99", &Series::of(&c::TIMER_LATENESS), all, &window)),
        (POOL_WAIT_P95, quantile("0.95", &wait, Group::Without(&["kind"]), &window)),
        (POOL_UTILIZATION, ratio(&busy, &mean_over_time(&Series::of(&c::POOL_THREADS), all, &window))),
        (POOL_SATURATION, rate(&Series::of(&c::POOL_SATURATED), all, &window)),
        (RESTARTS, restarts(&pace.window(Span::minutes(15)))),
    ];
    of_all.into_iter().map(|(name, expr)| Recording { name: name.to_owned(), expr }).collect()
}

/// Every exporter tells when its process started; those that count are loopscope's, also while they are down.
fn restarts(window: &str) -> String {
    let (start, build) = (Series::of(&c::PROCESS_START).select(), Series::of(&c::BUILD_INFO).select());
    format!("changes({start}[{window}])\nand ignoring (version, target)\nlast_over_time({build}[{window}])")
}

/// By a gauge that all loops have, however many workers one is. Not all have a time, or lag.
fn observed_share(pace: Durations, window: Span) -> Recording {
    let (step, count) = pace.steps(window);
    let there =
        format!("count_over_time({}[{}:{step}])", Series::of(&c::STALL).select(), pace.window(window));
    Recording { name: observed(window), expr: format!("{there} / {count}") }
}

fn slow_share(pace: Durations, window: Span) -> Recording {
    let lag = Series::of(&c::LAG_SECONDS);
    let expr = share_above(LAG_BOUND, &lag, Group::Without(&[]), &pace.window(window));
    Recording { name: lag_slow(window), expr }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_report::metrics::catalog::{FEW, LAG, Type};

    #[test]
    fn the_objective_s_bound_is_a_bound_of_the_histogram() {
        let bound: f64 = LAG_BOUND.parse().unwrap();
        assert!(matches!(c::LAG_SECONDS.kind, Type::Durations(LAG)));
        for bounds in [LAG, FEW] {
            assert!(bounds.iter().any(|eighths| 2f64.powf(f64::from(*eighths) / 8.0) == bound));
        }
    }
}
