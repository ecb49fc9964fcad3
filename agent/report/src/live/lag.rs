//! Lag of an interval: those whose wait ended in it, and those who wait at its end.

use crate::compute::lag_figures::LagFigures;
use crate::live::view::LagView;
use crate::model::waits::Waits;
use loopscope_probe::raw::histogram::{HistogramValues, SLOTS, UPPER_NS};

/// Slots of the page's grid that make a cell: half an octave.
const SLOTS_PER_CELL: usize = 4;

/// The first cell ends with this slot, whose bound is 2^-12 s, 0.24 ms: shorter waits are none as far as people are
/// concerned.
const FIRST_SLOT: usize = 96;

/// The last slot that has a cell with a bound: 8 s.
const LAST_SLOT: usize = 216;

const CELLS: usize = (LAST_SLOT - FIRST_SLOT) / SLOTS_PER_CELL + 2;

/// Upper bounds of the heatmap's cells, in nanoseconds: from 0.24 ms to 8 s in steps of half an octave.
pub const LAG_BOUNDS_NS: [u64; CELLS - 1] = {
    let mut bounds = [0; CELLS - 1];
    let mut cell = 0;
    while cell < bounds.len() {
        bounds[cell] = UPPER_NS[FIRST_SLOT + cell * SLOTS_PER_CELL];
        cell += 1;
    }
    bounds
};

// The grid's powers of two are where this module believes them to be.
const _: () = assert!(LAG_BOUNDS_NS[0] == 244_140 && LAG_BOUNDS_NS[CELLS - 2] == 8_000_000_000);

/// A loop's lag at its last observation.
#[derive(Clone, Debug, Default)]
pub(super) struct LagPast {
    /// What the page had counted, at its most.
    counted: Waits,
}

impl LagPast {
    /// Returns the waits of the interval that ends now. `counted` is what the page has counted so far; the loop has
    /// been busy for `busy_ns`, 0 where it polls.
    pub(super) fn turn(&mut self, counted: &Waits, busy_ns: u64) -> Waits {
        let ended = counted.since(&self.counted);
        self.counted.raise_to(counted);
        ended.running(busy_ns)
    }
}

/// Returns the view of the waits of an interval.
pub(super) fn lag_view(waits: &Waits) -> LagView {
    let figures = LagFigures::of(waits);
    LagView {
        p50_ns: figures.p50 as u64,
        p90_ns: figures.p90 as u64,
        p99_ns: figures.p99 as u64,
        max_ns: figures.max as u64,
        row: row(&waits.lag),
    }
}

fn row(values: &HistogramValues) -> Vec<u64> {
    let mut row = vec![0u64; CELLS];
    for (slot, count) in values.buckets.iter().enumerate().take(SLOTS) {
        let cell = slot.saturating_sub(FIRST_SLOT).div_ceil(SLOTS_PER_CELL).min(CELLS - 1);
        row[cell] = row[cell].saturating_add(*count);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    use loopscope_probe::raw::histogram::slot;

    const MS: u64 = 1_000_000;

    #[test]
    fn every_wait_is_in_the_cell_whose_bound_it_does_not_exceed() {
        for ns in [0, 1, 244_140, 244_141, MS, 100 * MS, 999 * MS, 8_000 * MS, 8_001 * MS, u64::MAX / 2] {
            let mut values = HistogramValues::default();
            values.buckets[slot(ns)] = 1;
            let row = row(&values);
            let cell = row.iter().position(|count| *count == 1).unwrap();
            let expected =
                LAG_BOUNDS_NS.iter().position(|bound| UPPER_NS[slot(ns)] <= *bound).unwrap_or(CELLS - 1);
            assert_eq!((cell, row.iter().sum::<u64>()), (expected, 1), "{ns}");
            assert!(cell == CELLS - 1 || ns <= LAG_BOUNDS_NS[cell], "{ns}");
        }
    }

    fn turn(counted: HistogramValues, busy_ns: u64) -> LagView {
        lag_view(&LagPast::default().turn(&Waits { lag: counted, ..Waits::default() }, busy_ns))
    }

    #[test]
    fn those_who_wait_are_counted_before_the_busy_period_ends() {
        let lag = turn(HistogramValues::default(), 400 * MS);
        assert_eq!(lag.row.iter().sum::<u64>(), 400);
        assert_eq!(lag.max_ns, 400 * MS, "nobody has waited for longer than the busy period lasts");
        assert!((200 * MS..220 * MS).contains(&lag.p50_ns), "{}", lag.p50_ns);
        assert!((396 * MS..=400 * MS).contains(&lag.p99_ns), "{}", lag.p99_ns);
        let mut counted = HistogramValues::default();
        counted.buckets[0] = 500;
        assert_eq!(turn(counted, 900_000).row[0], 500, "nobody has arrived yet");
        // The age of the busy period on a damaged page.
        turn(HistogramValues::default(), u64::MAX);
    }

    #[test]
    fn what_a_torn_reading_lacks_is_not_told_twice() {
        let (mut past, mut counted) = (LagPast::default(), Waits::default());
        let told = [5_000, 5_500, 5_499, 6_000].map(|count| {
            counted.lag.buckets[0] = count;
            lag_view(&past.turn(&counted, 0)).row[0]
        });
        assert_eq!(told, [5_000, 500, 0, 500]);
    }
}
