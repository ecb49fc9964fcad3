//! Values of samples.

/// A sample's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Whole(u64),
    /// So many nanoseconds, told in seconds.
    Seconds(u64),
    Real(f64),
}

impl Number {
    /// Returns the value; beyond 2^53 the nearest.
    pub(crate) fn value(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Seconds(ns) => ns as f64 / 1e9,
            Number::Real(real) => real,
        }
    }
}
