//! Flamegraphs of callbacks: where the loops' time went between two copies of their pages.
//!
//! A page keeps the exact own time of every path (loop, phase, callback site, drained jobs, spans), so a flamegraph is
//! a subtraction: no sampling, no capture mode, no cost on the loop's thread. What is still running at the end of the
//! period is counted up to then, so a loop that is blocked throughout shows its culprit, too.

mod draw;
mod stacks;

use crate::FlameError;
use loopscope_probe::Snapshot;
use loopscope_probe::snapshot::Facts;
use stacks::{Frame, own_times};
use std::collections::BTreeMap;

/// Own time by stack, over a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Nanoseconds by stack, loop first.
    stacks: BTreeMap<Vec<Frame>, u64>,
}

impl Profile {
    /// Returns what ran between two sets of snapshots of the same process or processes. Loops are matched by who they
    /// are, not by their place; one that is only in `later` ran for all of its life, one that ended is left out.
    pub fn between(earlier: &[Snapshot], later: &[Snapshot]) -> Profile {
        let mut profile = Profile::default();
        for after in later {
            let before = earlier.iter().find(|before| identity(&before.facts) == identity(&after.facts));
            let before = before.map(own_times).unwrap_or_default();
            for (stack, ns) in own_times(after) {
                let ns = ns.saturating_sub(before.get(&stack).copied().unwrap_or(0));
                if ns > 0 {
                    *profile.stacks.entry(stack).or_default() += ns;
                }
            }
        }
        profile
    }

    /// Tells whether nothing ran for a microsecond or more: there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.lines().next().is_none()
    }

    /// Returns the profile in folded format, a line per stack in alphabetical order: frames from the loop inwards,
    /// separated by `;`, a space, and own time in microseconds.
    pub fn folded(&self) -> String {
        self.lines().map(|(stack, us)| format!("{} {us}\n", stack_text(stack))).collect()
    }

    /// Draws the profile as an SVG that zooms and searches by itself.
    ///
    /// # Errors
    /// Nothing ran ([`FlameError::Empty`]), or the drawing library failed.
    pub fn svg(&self, title: &str) -> Result<Vec<u8>, FlameError> {
        let stacks: Vec<(&[Frame], u64)> = self.lines().collect();
        draw::svg(title, &stacks)
    }

    fn lines(&self) -> impl Iterator<Item = (&[Frame], u64)> {
        self.stacks.iter().map(|(stack, ns)| (stack.as_slice(), (ns + 500) / 1_000)).filter(|(_, us)| *us > 0)
    }
}

fn stack_text(stack: &[Frame]) -> String {
    let frames: Vec<&str> = stack.iter().map(|frame| frame.text.as_str()).collect();
    frames.join(";")
}

/// What stays the same about a loop.
fn identity(facts: &Facts) -> (&str, u32, u64, u64) {
    (&facts.name, facts.pid, facts.pid_start, facts.created_unix_ns)
}

#[cfg(test)]
#[path = "profile_tests.rs"]
mod tests;
