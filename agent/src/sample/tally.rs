//! What became of the samples of a session, and what a reader of its profile should know about that.

use loopscope_report::duration::show_ns;
use loopscope_report::profiles::Of;

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
    /// Samples that were put off because their thread could not be shown to run on, so that a signal might have met a call.
    pub unproven: u64,
    /// Samples that were put off because another capture had the gate, or its loop makes no fences yet.
    pub kept_out: u64,
    /// Time for which no stack was found, in nanoseconds.
    pub unseen_ns: u64,
    /// Samples whose stack is not kept, because too many different ones came.
    pub unkept: u64,
}

impl Tally {
    /// Returns the counts in words; nothing of what did not happen. `has_stacks` says that there is a stack at all, of time
    /// that is `of` this.
    pub(crate) fn notes(&self, of: Of, has_stacks: bool) -> Vec<String> {
        let counted = [
            (self.lost, "lost"),
            (self.cut, "truncated at the root"),
            (self.guessed, "partly guessed"),
            (self.unkept, "over the limit of distinct stacks"),
        ];
        let happened = counted.into_iter().filter(|(count, _)| *count > 0);
        let mut notes: Vec<String> =
            happened.map(|(count, what)| format!("{} {what}", samples(count))).collect();
        if self.failed > 0 {
            let because = self.failure.as_deref().unwrap_or("unknown reason");
            notes.push(format!("{} failed: {because}", samples(self.failed)));
        }
        notes.extend(self.unseen(of, has_stacks));
        notes
    }

    /// Says how much time has no stack and why, where that is worth saying.
    fn unseen(&self, of: Of, has_stacks: bool) -> Option<String> {
        /// Beside stacks, less is a rest of a few callbacks; nanoseconds.
        const WORTH_SAYING_NS: u64 = 50_000_000;
        let reasons = [
            (self.unproven, "the threads sleep too often while busy"),
            (
                self.kept_out,
                "other captures were in progress, or loops did not make fences yet, which is required without membarrier",
            ),
        ];
        let reasons: Vec<&str> =
            reasons.into_iter().filter(|(count, _)| *count > 0).map(|(_, reason)| reason).collect();
        let is_worth_saying = self.unseen_ns > if has_stacks { WORTH_SAYING_NS } else { 0 };
        (is_worth_saying && !reasons.is_empty()).then(|| {
            format!(
                "{} {} have no stack, because a signal might have interrupted a system call of the program: {}",
                show_ns(self.unseen_ns),
                of.words(),
                reasons.join("; ")
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
        assert!(Tally::default().notes(Of::Cpu, true).is_empty());
        let tally = Tally { lost: 1, failed: 2, failure: Some("x".to_owned()), ..Tally::default() };
        assert_eq!(tally.notes(Of::Cpu, true), ["1 sample lost", "2 samples failed: x"]);
    }

    #[test]
    fn time_without_a_stack_is_told_with_the_reason() {
        let tally = Tally { unproven: 3, unseen_ns: 40_000_000, ..Tally::default() };
        assert!(tally.notes(Of::Cpu, true).is_empty(), "a rest");
        let told = "40 ms on CPU have no stack, because a signal might have interrupted a system call of the \
                    program: the threads sleep too often while busy";
        assert_eq!(tally.notes(Of::Cpu, false), [told]);
        let both = Tally { kept_out: 1, ..tally.clone() }.notes(Of::Stalls, false).remove(0);
        assert!(
            both.starts_with("40 ms in stalls beyond their threshold have")
                && both.contains("while busy; other captures"),
            "{both}"
        );
        let idle = Tally { unproven: 0, ..tally };
        assert!(idle.notes(Of::Cpu, false).is_empty(), "nothing was put off");
    }
}
