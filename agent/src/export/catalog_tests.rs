//! The catalogue keeps the rules that `promtool check metrics` keeps.

use super::*;
use crate::export::sheet::LABELS_MAX;
use std::collections::HashSet;

#[test]
fn every_name_is_there_once_and_well_formed() {
    let names: HashSet<&str> = ALL.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), ALL.len());
    for family in ALL {
        let well_formed = family.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(well_formed && !family.name.contains("__"), "{}", family.name);
        assert!(!family.help.is_empty() && !family.help.contains('\n'), "{}", family.name);
    }
}

#[test]
fn only_counters_end_in_total_and_units_are_in_the_name() {
    for family in ALL {
        let name = family.name;
        assert_eq!(name.ends_with("_total"), family.kind == Type::Counter, "{name}");
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
fn labels_are_few_and_not_reserved() {
    for family in ALL {
        assert!(family.labels.len() <= LABELS_MAX, "{}", family.name);
        assert!(!family.labels.contains(&"le") && !family.labels.contains(&"quantile"), "{}", family.name);
        let distinct: HashSet<_> = family.labels.iter().collect();
        assert_eq!(distinct.len(), family.labels.len(), "{}", family.name);
    }
}

#[test]
fn bounds_rise_and_lie_on_the_probe_s_grid() {
    use loopscope_probe::histogram::{EXPONENT_FIRST, EXPONENT_LAST};
    for bounds in [FAST, LAG, WAIT] {
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(bounds[0] >= EXPONENT_FIRST && bounds[bounds.len() - 1] <= EXPONENT_LAST);
    }
}
