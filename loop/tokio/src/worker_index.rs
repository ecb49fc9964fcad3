//! Which worker of its runtime the calling thread is.

use crate::activity::Counters;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Returns the calling thread's number among the workers of its runtime, as its metrics count them; `None` on other threads, and
/// where Tokio does not tell: before 1.54, on a runtime with several.
pub(crate) fn current() -> Option<usize> {
    // A name that a block imports goes before one of the module around it: this calls Tokio's own function where there is one.
    #[allow(unused_imports)]
    use tokio::runtime::*;
    worker_index()
}

/// Stands in for `tokio::runtime::worker_index`, which is there from 1.54 on.
#[allow(dead_code)]
fn worker_index() -> Option<usize> {
    let handle = Handle::try_current().ok()?;
    let is_only =
        handle.runtime_flavor() == RuntimeFlavor::CurrentThread || handle.metrics().num_workers() == 1;
    is_only.then_some(0)
}

/// Finds by the counters which worker the calling thread is, which runs a task or a hook: its own is unparked and does not move
/// meanwhile. `None` where that is true of several, none of which is `taken`: a later try may do. Tried for as long as `may_go_on`.
pub(crate) fn search(
    workers: usize,
    counters: impl Fn(usize) -> Counters,
    is_taken: impl Fn(usize) -> bool,
    mut may_go_on: impl FnMut() -> bool,
) -> Option<usize> {
    let mut left: Vec<(usize, Counters)> = (0..workers).map(|index| (index, counters(index))).collect();
    loop {
        left.retain(|(index, first)| !first.is_parked() && counters(*index) == *first);
        let mut free = left.iter().map(|(index, _)| *index).filter(|index| !is_taken(*index));
        match (&left[..], free.next(), free.next()) {
            ([(only, _)], _, _) => return Some(*only),
            // The work of one that is taken may be this thread's by now, but not while another may be its own.
            (_, Some(only), None) => return Some(only),
            _ if left.is_empty() || !may_go_on() => return None,
            _ => std::hint::spin_loop(),
        }
    }
}

/// Which workers a thread may be whose number is not known, in one of its busy periods.
///
/// A worker does not park within its busy period. So whoever has parked since is another one, and where one of those that are left
/// has polled its driver, the thread may have.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    period: u64,
    left: Vec<(usize, Counters)>,
}

impl Candidates {
    /// Takes a look at all workers in the busy period of this number. Returns whether the thread may have polled its driver since the
    /// look before; at the first look of a period nobody knows, and where nobody is left, its work is another thread's by now.
    pub(crate) fn look(&mut self, period: u64, now: &[Counters]) -> bool {
        if self.period != period {
            let awake = now.iter().copied().enumerate().filter(|(_, counters)| !counters.is_parked());
            *self = Candidates { period, left: awake.collect() };
            return true;
        }
        let mut has_polled = false;
        self.left.retain_mut(|(index, last)| {
            let Some(counters) = now.get(*index).filter(|counters| counters.parks == last.parks) else {
                return false;
            };
            has_polled |= counters.busy_ns != last.busy_ns;
            *last = *counters;
            true
        });
        has_polled || self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_thread_outside_a_runtime_is_no_worker() {
        assert_eq!(current(), None);
    }

    #[test]
    fn the_thread_of_a_current_thread_runtime_is_worker_0() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { current() }), Some(0));
    }

    #[test]
    fn the_one_that_is_awake_and_does_not_move_is_the_calling_threads() {
        let at = |parks: [u64; 3]| move |index: usize| Counters { parks: parks[index], busy_ns: 7 };
        assert_eq!(search(3, at([1, 4, 3]), |_| false, || false), Some(1), "the others are parked");
        assert_eq!(search(3, at([2, 4, 3]), |_| false, || false), None);
        assert_eq!(search(3, at([2, 4, 3]), |index| index == 0, || false), Some(1));
        assert_eq!(search(3, at([1, 4, 3]), |index| index == 1, || false), Some(1), "it was handed over");
        let reads = Cell::new(0);
        let moving = |index: usize| {
            reads.set(reads.get() + 1);
            Counters { parks: 2, busy_ns: if index == 0 { reads.get() } else { 0 } }
        };
        assert_eq!(search(2, moving, |_| false, || true), Some(1), "the other polls its driver");
    }

    #[test]
    fn a_thread_that_may_be_several_workers_has_polled_where_one_of_them_has() {
        let of = |words: &[(u64, u64)]| -> Vec<Counters> {
            words.iter().map(|(parks, busy_ns)| Counters { parks: *parks, busy_ns: *busy_ns }).collect()
        };
        let mut candidates = Candidates::default();
        // The number of the thread's busy period, what the counters of three workers were, and whether it may have polled.
        type Look = (u64, &'static [(u64, u64)], bool);
        let looks: [Look; 11] = [
            (7, &[(2, 7), (0, 0), (5, 3)], true),
            // It is blocked; the third is another one, which was parked when its period began.
            (7, &[(2, 7), (0, 0), (6, 4)], false),
            // The second has begun to run, and parked: it was another one.
            (7, &[(2, 7), (1, 0), (6, 9)], false),
            (7, &[(2, 7), (2, 5), (6, 9)], false),
            (7, &[(2, 9), (2, 5), (6, 9)], true),
            (7, &[(2, 9), (2, 5), (6, 9)], false),
            // Its work is another thread's.
            (7, &[(4, 9), (2, 5), (6, 9)], true),
            (9, &[(4, 9), (2, 5), (6, 9)], true),
            (9, &[(4, 9), (2, 5), (6, 9)], false),
            (9, &[(4, 9), (2, 6), (6, 9)], true),
            (9, &[(4, 9)], false),
        ];
        for (number, (period, now, has_polled)) in looks.iter().enumerate() {
            assert_eq!(candidates.look(*period, &of(now)), *has_polled, "look {number}");
        }
    }
}
