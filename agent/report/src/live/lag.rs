//! Lag of an interval: those whose wait ended in it, and those who wait at its end.

use crate::compute::lag_figures::LagFigures;
use crate::live::view::LagView;
use loopscope_probe::histogram::{HistogramValues, SLOTS, UPPER_NS, slot};

/// Virtual arrivals come once in a millisecond.
const ARRIVAL_NS: u64 = 1_000_000;

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
    booked: HistogramValues,
    /// Arrivals that found the loop in its poll, as far as they were told: the page books them when the poll ends.
    idle_told: u64,
}

impl LagPast {
    /// Returns the waits of the interval that ends now. `booked` is what the page has booked so far; the loop has been
    /// busy for `busy_ns` or polling for `parked_ns`, one of which is 0.
    pub(super) fn turn(&mut self, booked: &HistogramValues, busy_ns: u64, parked_ns: u64) -> HistogramValues {
        let mut values = booked.since(&self.booked);
        let idle = booked.buckets[0].saturating_add(parked_ns / ARRIVAL_NS);
        values.buckets[0] = idle.saturating_sub(self.idle_told);
        self.idle_told = self.idle_told.max(idle);
        self.booked.clone_from(booked);
        add_waiting(&mut values, busy_ns);
        values
    }
}

/// Returns the view of the waits of an interval.
pub(super) fn lag_view(values: &HistogramValues) -> LagView {
    let figures = LagFigures::of(values);
    LagView {
        p50_ns: figures.p50 as u64,
        p90_ns: figures.p90 as u64,
        p99_ns: figures.p99 as u64,
        max_ns: figures.max as u64,
        row: row(values),
    }
}

/// Adds those who arrived in the stretch that runs, with their waits until now.
fn add_waiting(values: &mut HistogramValues, busy_ns: u64) {
    let count = busy_ns / ARRIVAL_NS;
    // Waits are spread evenly from 0 to the age of the stretch: those up to a bound are the bound's share of them.
    let mut below = 0;
    for (bucket, bound) in values.buckets.iter_mut().zip(UPPER_NS).take(slot(busy_ns) + 1) {
        let upto = (bound / ARRIVAL_NS).min(count);
        *bucket = bucket.saturating_add(upto - below);
        below = upto;
    }
    values.sum_ns = values.sum_ns.saturating_add(count.saturating_mul(busy_ns / 2));
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

    fn turn(booked: HistogramValues, busy_ns: u64) -> LagView {
        lag_view(&LagPast::default().turn(&booked, busy_ns, 0))
    }

    #[test]
    fn those_who_wait_are_counted_before_the_stretch_ends() {
        let lag = turn(HistogramValues::default(), 400 * MS);
        assert_eq!(lag.row.iter().sum::<u64>(), 400);
        assert!((400 * MS..440 * MS).contains(&lag.max_ns), "{}", lag.max_ns);
        assert!((200 * MS..220 * MS).contains(&lag.p50_ns), "{}", lag.p50_ns);
        assert!((396 * MS..440 * MS).contains(&lag.p99_ns), "{}", lag.p99_ns);
        let mut booked = HistogramValues::default();
        booked.buckets[0] = 500;
        assert_eq!(turn(booked, 900_000).row[0], 500, "nobody has arrived yet");
        // The age of a damaged page's stretch.
        turn(HistogramValues::default(), u64::MAX);
    }

    #[test]
    fn a_long_poll_is_told_as_it_passes() {
        let (mut past, mut booked) = (LagPast::default(), HistogramValues::default());
        let told = [(0, 5_000), (0, 5_500), (6_000, 0), (6_000, 500)].map(|(count, parked_ms)| {
            booked.buckets[0] = count;
            lag_view(&past.turn(&booked, 0, parked_ms * MS)).row[0]
        });
        assert_eq!(told, [5_000, 500, 500, 500]);
    }
}
