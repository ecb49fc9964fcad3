//! What was published before: a counter on a page never falls, not even by the width of a torn reading.
//!
//! A page's words only grow, but some counters are sums of a word and of what still runs, and the loop may move the
//! one into the other between two loads. The next reading is right again; until then the old value stands.

use loopscope_probe::raw::histogram::HistogramValues;
use loopscope_probe::{Kind, Snapshot};

/// The values of one loop that were published last.
#[derive(Clone, Debug, Default)]
pub struct Monotonic {
    active_ns: u64,
    idle_ns: u64,
    blocked: [u64; 2],
    succeeded: [u64; Kind::CALLBACKS],
    pool_busy_ns: u64,
    pool_saturated_ns: u64,
    lag: HistogramValues,
}

impl Monotonic {
    /// Lifts the derived counters of `snapshot` to what was published before, and remembers them. Returns how many
    /// callbacks ended without an error, by kind.
    pub fn lift(&mut self, snapshot: &mut Snapshot) -> [u64; Kind::CALLBACKS] {
        lift(&mut self.active_ns, &mut snapshot.active_ns);
        lift(&mut self.idle_ns, &mut snapshot.idle_ns);
        for (floor, value) in self.blocked.iter_mut().zip(&mut snapshot.blocked) {
            lift(floor, value);
        }
        snapshot.lag.raise_to(&self.lag);
        self.lag.clone_from(&snapshot.lag);
        if let Some(pool) = &mut snapshot.pool {
            lift(&mut self.pool_busy_ns, &mut pool.busy_ns);
            lift(&mut self.pool_saturated_ns, &mut pool.saturated_ns);
        }
        for (kind, floor) in self.succeeded.iter_mut().enumerate() {
            lift(floor, &mut snapshot.run[kind].count().saturating_sub(snapshot.errors[kind]));
        }
        self.succeeded
    }
}

fn lift(floor: &mut u64, value: &mut u64) {
    *value = (*value).max(*floor);
    *floor = *value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_value_never_falls() {
        let mut floor = 0;
        let published: Vec<u64> = [3, 9, 8, 10]
            .into_iter()
            .map(|mut value| {
                lift(&mut floor, &mut value);
                value
            })
            .collect();
        assert_eq!(published, [3, 9, 9, 10]);
    }
}
