//! Jobs of a pool by kind and place: how often, and for how long.

use loopscope_probe::{SiteId, WorkKind};
use std::collections::HashMap;

/// Kinds and places told apart; what comes after is left out.
const SUMS_MAX: usize = 256;

/// What ran of one kind and site: how often, for how long in sum, and the longest; in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobSum {
    pub count: u64,
    pub total_ns: u64,
    pub longest_ns: u64,
}

/// The sums of all jobs.
#[derive(Clone, Debug, Default)]
pub(crate) struct JobSums {
    sums: HashMap<(WorkKind, SiteId), JobSum>,
    /// Jobs that were overwritten before anybody saw them.
    pub unseen: u64,
}

impl JobSums {
    /// Adds a job that ran for `ns`.
    pub(crate) fn add(&mut self, kind: WorkKind, site: SiteId, ns: u64) {
        if self.sums.len() >= SUMS_MAX && !self.sums.contains_key(&(kind, site)) {
            return;
        }
        let sum = self.sums.entry((kind, site)).or_default();
        sum.count += 1;
        sum.total_ns = sum.total_ns.saturating_add(ns);
        sum.longest_ns = sum.longest_ns.max(ns);
    }

    /// Returns the sums, the longest first. Those that nobody saw are shared out in proportion.
    pub(crate) fn heaviest_first(self) -> Vec<((WorkKind, SiteId), JobSum)> {
        let seen = self.sums.values().fold(0, |all: u64, sum| all.saturating_add(sum.count)).max(1);
        let with_unseen = |value: u64| {
            let more = u128::from(value) * u128::from(self.unseen) / u128::from(seen);
            value.saturating_add(u64::try_from(more).unwrap_or(u64::MAX))
        };
        let whole = |sum: JobSum| JobSum {
            count: with_unseen(sum.count),
            total_ns: with_unseen(sum.total_ns),
            longest_ns: sum.longest_ns,
        };
        let mut sums: Vec<_> = self.sums.into_iter().map(|(of, sum)| (of, whole(sum))).collect();
        // Of equals the lowest number, so that the same pool always reads alike.
        sums.sort_by_key(|((kind, site), sum)| (std::cmp::Reverse(sum.total_ns), *site, kind.index()));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_were_overwritten_are_shared_out() {
        let mut sums = JobSums::default();
        for _ in 0..30 {
            sums.add(WorkKind::Fs, SiteId::from(1), 10);
        }
        for _ in 0..10 {
            sums.add(WorkKind::Dns, SiteId::from(2), 100);
        }
        sums.unseen = 400;
        let told: Vec<_> = sums.heaviest_first().into_iter().map(|(of, sum)| (of.1.as_u16(), sum)).collect();
        let [dns, fs] = [
            JobSum { count: 110, total_ns: 11_000, longest_ns: 100 },
            JobSum { count: 330, total_ns: 3_300, longest_ns: 10 },
        ];
        assert_eq!(told, [(2, dns), (1, fs)]);
    }
}
