//! What a loop's incidents came to, for its metrics.

use crate::incident::IncidentKind;

/// What one loop's incidents came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentCounts {
    /// By [`IncidentKind`].
    pub incidents: [u64; IncidentKind::COUNT],
    /// Incidents that were not reported, because the budget of the minute was used up.
    pub suppressed: u64,
    /// Captures by result: ok, failed, rate limited.
    pub captures: [u64; 3],
}

impl IncidentCounts {
    /// Adds another loop's.
    pub(crate) fn add(&mut self, other: &IncidentCounts) {
        self.suppressed += other.suppressed;
        let (own, others) = (&mut self.incidents, &other.incidents);
        for (into, from) in own.iter_mut().chain(&mut self.captures).zip(others.iter().chain(&other.captures))
        {
            *into += from;
        }
    }
}
