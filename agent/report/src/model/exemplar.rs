//! Exemplars: which incident is behind an observation of a histogram.

use loopscope_probe::raw::histogram::slot;

/// One observation that has an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemplar {
    pub incident_id: String,
    pub value_ns: u64,
    /// When it was observed, since 1970. It stays what it is: a new time at each scrape would store a copy each time.
    pub unix_ns: u64,
}

/// The newest exemplar of each octave of durations, in the order they came: at most 32.
#[derive(Clone, Debug, Default)]
pub struct Exemplars {
    newest_last: Vec<Exemplar>,
}

impl Exemplars {
    /// Notes an observation; it takes the place of the one before it of about the same length.
    pub(crate) fn note(&mut self, exemplar: Exemplar) {
        let octave = |ns: u64| slot(ns).saturating_sub(1) / 8;
        self.newest_last.retain(|other| octave(other.value_ns) != octave(exemplar.value_ns));
        self.newest_last.push(exemplar);
    }

    /// Takes in another loop's: the newer one of each octave stays.
    pub(crate) fn merge(&mut self, other: &Exemplars) {
        let mut all: Vec<Exemplar> = std::mem::take(&mut self.newest_last);
        all.extend(other.newest_last.iter().cloned());
        all.sort_by_key(|exemplar| exemplar.unix_ns);
        all.into_iter().for_each(|exemplar| self.note(exemplar));
    }

    /// Returns them, newest last.
    pub(crate) fn newest_last(&self) -> &[Exemplar] {
        &self.newest_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_octave_has_its_newest() {
        let mut all = Exemplars::default();
        for (unix_ns, value_ns) in [(1, 110_000_000), (2, 2_000_000_000), (3, 120_000_000), (4, 126_000_000)]
        {
            all.note(Exemplar { incident_id: format!("7-{unix_ns}"), value_ns, unix_ns });
        }
        let told: Vec<u64> = all.newest_last().iter().map(|exemplar| exemplar.unix_ns).collect();
        assert_eq!(told, [2, 3, 4], "125 ms is a boundary");
        (0..64).for_each(|bit| {
            all.note(Exemplar { incident_id: String::new(), value_ns: 1 << bit, unix_ns: 9 })
        });
        assert!(all.newest_last().len() <= 33, "{}", all.newest_last().len());
    }
}
