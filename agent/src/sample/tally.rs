//! What became of the samples of a session, and what a reader of its profile should know about that.

use loopscope_report::compute::age::age_text;

/// Counts of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Signals whose stack had not arrived at the session's end, or that were still under way when the next was due.
    pub lost: u64,
    /// Samples that could not be asked for.
    pub failed: u64,
    /// Why, the first time.
    pub failure: Option<String>,
    /// Stacks of which the root is missing.
    pub cut: u64,
    /// Stacks that may be wrong in places, because a function has no unwind table.
    pub guessed: u64,
    /// Processor time for which no stack was found, in nanoseconds: the thread fell asleep inside its callbacks too often.
    pub unseen_ns: u64,
    /// Samples whose stack is not kept, because too many different ones came.
    pub unkept: u64,
}

impl Tally {
    /// Returns the counts in words; nothing of what did not happen.
    pub(crate) fn notes(&self) -> Vec<String> {
        let counted = [
            (self.lost, "lost"),
            (self.cut, "cut off at the root"),
            (self.guessed, "guessed in part"),
            (self.unkept, "beyond the room for different stacks"),
        ];
        let happened = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut notes: Vec<String> =
            happened.map(|(count, what)| format!("{} {what}", samples(count))).collect();
        if self.failed > 0 {
            let because = self.failure.as_deref().unwrap_or("no reason known");
            notes.push(format!("{} failed: {because}", samples(self.failed)));
        }
        notes.extend(self.unseen());
        notes
    }

    /// Says how much processor time has no stack, where that is worth saying.
    pub(crate) fn unseen(&self) -> Option<String> {
        /// Less is a rest of a few callbacks; nanoseconds.
        const WORTH_SAYING_NS: u64 = 50_000_000;
        (self.unseen_ns > WORTH_SAYING_NS).then(|| {
            format!(
                "{} of processor time have no stack: the threads fall asleep inside their callbacks too often",
                age_text(self.unseen_ns)
            )
        })
    }
}

fn samples(count: u64) -> String {
    match count {
        1 => "1 sample".to_owned(),
        count => format!("{count} samples"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_said() {
        assert!(Tally::default().notes().is_empty());
        let tally = Tally { lost: 1, failed: 2, failure: Some("x".to_owned()), ..Tally::default() };
        assert_eq!(tally.notes(), ["1 sample lost", "2 samples failed: x"]);
    }
}
