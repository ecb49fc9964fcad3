//! Tests of the expressions that are built.

use super::*;
use loopscope_report::metrics::catalog::{BLOCKED, LAG_SECONDS, POOL_WAIT, STALL};

#[test]
fn a_histogram_is_asked_for_in_both_forms() {
    let lag = Series::of(&LAG_SECONDS).with("loop", "=~", "$loop");
    let name = LAG_SECONDS.name;
    assert_eq!(
        quantile("0.99", &lag, Group::By(&["loop"]), "5m"),
        format!(
            "histogram_quantile(0.99, sum by (loop) (rate({name}{{loop=~\"$loop\"}}[5m]))) >= 0\nor\n\
             histogram_quantile(0.99, sum by (loop, le) (rate({name}_bucket{{loop=~\"$loop\"}}[5m]))) >= 0"
        )
    );
    assert_eq!(
        share_above("0.125", &Series::of(&LAG_SECONDS), Group::Without(&[]), "1h"),
        format!(
            "1 - histogram_fraction(-Inf, 0.125, rate({name}[1h])) > -1\nor\n\
             1 - sum without (le) (rate({name}_bucket{{le=\"0.125\"}}[1h])) / (rate({name}_count[1h]) > 0)"
        )
    );
}

#[test]
fn what_is_dropped_from_a_histogram_is_not_its_bound() {
    let name = POOL_WAIT.name;
    let asked = quantile("0.95", &Series::of(&POOL_WAIT), Group::Without(&["kind"]), "5m");
    let classic = format!("histogram_quantile(0.95, sum without (kind) (rate({name}_bucket[5m])))");
    assert!(asked.contains(&classic), "{asked}");
}

#[test]
fn an_aggregation_over_nothing_is_valid() {
    assert_eq!(max(&Series::of(&STALL), Group::By(&[])), format!("max({})", STALL.name));
}

#[test]
#[should_panic(expected = "has no label `sevrity`")]
fn a_label_that_the_catalogue_does_not_have_is_refused() {
    let _ = Series::of(&BLOCKED).with("sevrity", "=", "critical");
}

#[test]
#[should_panic(expected = "is no histogram")]
fn a_quantile_of_a_counter_is_refused() {
    let _ = quantile("0.5", &Series::of(&BLOCKED), Group::By(&[]), "5m");
}
