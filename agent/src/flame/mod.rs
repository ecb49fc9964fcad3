//! Profiles: where the loops' time went, of four kinds and in six formats.
//!
//! *Callbacks* are exact: a page keeps the own time of every path (loop, phase, callback site, drained jobs, spans),
//! so a profile is a subtraction, with no sampling, no capture mode, and no cost on the loop's thread. What is still
//! running at the end of the period is counted up to then, so a loop that is blocked throughout shows its culprit, too.
//!
//! *Cpu*, *stalls* and *waits* are sampled stacks of the loop's thread, below the same first frames. All of them are
//! one [`Profile`], and every format is written from that.

mod callbacks;
mod colour;
mod draw;
mod firefox;
mod folded;
mod frame;
mod kind;
mod legend;
mod pprof;
mod profile;
mod protobuf;
mod speedscope;
mod timeline;
mod trace;

pub use draw::Totals;
pub use frame::{Code, Frame, Module};
pub use kind::{Format, Of};
pub use profile::{Moment, Profile};
pub use timeline::{Followed, Follower, Timeline};

use crate::FlameError;

impl Profile {
    /// Writes the profile in any format but [`Format::Trace`], which a profile has not enough in it for.
    ///
    /// # Errors
    /// [`FlameError::Empty`] where nothing is in it; [`FlameError::NoTimeline`] for a trace; [`FlameError::Draw`] where
    /// a library failed.
    pub fn write(&self, format: Format, title: &str) -> Result<Vec<u8>, FlameError> {
        match format {
            Format::Svg => self.svg(title),
            Format::Folded if self.is_empty() => Err(FlameError::Empty),
            Format::Folded => Ok(self.folded().into_bytes()),
            Format::Pprof => self.pprof(),
            Format::Speedscope => self.speedscope(title),
            Format::Firefox => self.firefox(),
            Format::Trace => Err(FlameError::NoTimeline),
        }
    }
}
