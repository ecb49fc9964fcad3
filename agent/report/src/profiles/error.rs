//! Why there is no profile or drawing.

use std::fmt;
use std::io;

/// Why there is no flamegraph.
#[derive(Debug)]
pub enum FlameError {
    /// Nothing ran, or was sampled, in the period: there is nothing to draw.
    Empty,
    /// There was something to sample, and no stack of it could be taken; the text says why.
    NoStacks(String),
    /// Folded stacks that cannot be read.
    Malformed {
        /// The first faulty line, from 1.
        line: usize,
        /// What is wrong with it.
        because: String,
    },
    /// Stacks cannot be sampled here; the text says why and what helps.
    Unavailable(String),
    /// A profile has sums and no order of events: a trace is made from a [`Timeline`](crate::profiles::Timeline).
    NoTimeline,
    /// The drawing library failed.
    Draw(io::Error),
}

impl fmt::Display for FlameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlameError::Empty => f.write_str(
                "nothing to draw: no callback ran in that period; give the loop work, or capture for longer",
            ),
            FlameError::NoStacks(why) => write!(f, "nothing to draw, no stack was captured: {why}"),
            FlameError::Malformed { line, because } => {
                write!(f, "line {line} of the folded stacks: {because}")
            }
            FlameError::Unavailable(because) => write!(f, "stacks cannot be sampled: {because}"),
            FlameError::NoTimeline => {
                f.write_str("a profile cannot be written as a trace; choose another format")
            }
            FlameError::Draw(error) => write!(f, "cannot draw the flamegraph: {error}"),
        }
    }
}

impl std::error::Error for FlameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FlameError::Draw(error) => Some(error),
            _ => None,
        }
    }
}
