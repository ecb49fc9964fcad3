//! Utilization: the share of a period that a loop spent outside its poll.

use crate::model::window::Split;

/// Returns active over all time between two samples, 0 to 1; 0 where no time went by.
pub fn utilization(earlier: Split, later: Split) -> f64 {
    let active_ns = later.active_ns.saturating_sub(earlier.active_ns);
    let idle_ns = later.idle_ns.saturating_sub(earlier.idle_ns);
    match active_ns.saturating_add(idle_ns) {
        0 => 0.0,
        total_ns => active_ns as f64 / total_ns as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilization_is_the_active_share() {
        let split = |active_ns, idle_ns| Split { active_ns, idle_ns };
        for (earlier, later, ratio) in [
            (split(0, 0), split(0, 0), 0.0),
            (split(0, 0), split(10, 0), 1.0),
            (split(5, 5), split(5, 25), 0.0),
            (split(5, 5), split(20, 10), 0.75),
            // A torn sample must not give a ratio outside 0 to 1.
            (split(9, 0), split(5, 10), 0.0),
        ] {
            assert_eq!(utilization(earlier, later), ratio, "{earlier:?} to {later:?}");
        }
    }
}
