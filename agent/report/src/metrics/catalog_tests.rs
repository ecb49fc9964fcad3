//! The catalogue keeps the rules that `promtool check metrics` keeps.

use super::*;
use crate::metrics::metrics_page::{LABELS_MAX, OWNER_LABELS};
use std::collections::HashSet;

#[test]
fn every_name_is_there_once_and_well_formed() {
    let lists = [ALL, PROM_CLIENT, OTEL, HOST].concat();
    let names: HashSet<&str> = lists.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), lists.len());
    for family in lists {
        let is_lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let well_formed = family.name.bytes().all(is_lower);
        assert!(well_formed && !family.name.contains("__"), "{}", family.name);
        assert!(!family.help.is_empty() && !family.help.contains('\n'), "{}", family.name);
    }
}

#[test]
fn only_counters_end_in_total_and_units_are_in_the_name() {
    let exceptions =
        [&PROM_HANDLES_TOTAL, &PROM_REQUESTS_TOTAL, &PROM_RESOURCES_TOTAL].map(|family| family.name);
    for family in [ALL, PROM_CLIENT, OTEL, HOST].concat() {
        let name = family.name;
        let is_counter = family.kind == Type::Counter || exceptions.contains(&name);
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        assert_eq!(name.ends_with("_info"), family.unit == Unit::Info, "{name}");
        for reserved in ["_sum", "_count", "_bucket"] {
            assert!(!name.ends_with(reserved), "{name}: clashes with the parts of a histogram");
        }
        let base = name.strip_suffix("_total").unwrap_or(name);
        if let Some(suffix) = family.unit.suffix() {
            assert!(base.ends_with(&format!("_{suffix}")), "{name}");
        }
    }
}

#[test]
fn labels_are_few_described_and_not_reserved() {
    let lists = [ALL, PROM_CLIENT, OTEL, HOST].concat();
    let used: HashSet<&str> =
        lists.iter().flat_map(|family| family.labels).copied().chain(OWNER_LABELS).collect();
    let described: HashSet<&str> = LABELS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(used, described);
    for family in lists {
        assert!(family.labels.len() <= LABELS_MAX, "{}", family.name);
        assert!(!family.labels.contains(&"le") && !family.labels.contains(&"quantile"), "{}", family.name);
        let distinct: HashSet<_> = family.labels.iter().collect();
        assert_eq!(distinct.len(), family.labels.len(), "{}", family.name);
    }
}

#[test]
fn bounds_rise_and_lie_on_the_probe_s_grid() {
    use loopscope_probe::raw::histogram::{EXPONENT_FIRST, EXPONENT_LAST};
    for bounds in [FAST, LAG, WAIT, OWN, FEW] {
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(bounds[0] >= EXPONENT_FIRST * 8 && bounds[bounds.len() - 1] <= EXPONENT_LAST * 8);
    }
}

#[test]
fn groups_follow_each_other_and_the_first_begins_the_page() {
    let places: Vec<_> = GROUPS
        .iter()
        .map(|(_, first)| ALL.iter().position(|family| std::ptr::eq(*family, *first)).unwrap())
        .collect();
    assert_eq!(places[0], 0);
    assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
}
