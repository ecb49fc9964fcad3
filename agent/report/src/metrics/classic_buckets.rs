//! How many classic bounds histograms of durations have.

/// Which classic bounds histograms of durations have. Native histograms have all of theirs with either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClassicBuckets {
    /// Those of the reference of metrics, 10 to 25: fine where people set alerts.
    #[default]
    Full,
    /// The same nine for all, 1 ms to 32 s: a third to a half fewer samples. Quantiles are coarse; the share of moments with a lag of
    /// up to 125 ms is as exact as with all.
    Few,
}

impl ClassicBuckets {
    /// Returns those of a family that has `full`.
    pub(crate) fn of(self, full: &'static [i32]) -> &'static [i32] {
        match self {
            ClassicBuckets::Full => full,
            ClassicBuckets::Few => crate::metrics::catalog::FEW,
        }
    }
}
