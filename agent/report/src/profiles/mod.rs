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
mod colour_mark;
mod difference;
mod error;
mod firefox;
mod flamegraph;
mod folded;
mod frame;
mod incidents;
mod kind;
mod legend;
mod pprof;
mod profile;
mod speedscope;
mod timeline;
mod trace;
pub mod widest;

pub use difference::{SiteChange, Totals};
pub use error::FlameError;
pub use frame::{Code, Module, ProfileFrame};
pub use kind::{Format, Of};
pub use profile::{Profile, ProfileSample};
pub use timeline::{Followed, Follower, Timeline};

pub use callbacks::{loop_frame, site_frame};

use crate::incident::Incident;

/// Writes what is known of one incident: its time by stack, or its extract as a timeline for [`Format::Trace`].
///
/// # Errors
/// [`FlameError::Empty`] where it has nothing to show, and what the writers of the formats fail with.
pub fn of_incident(incident: &Incident, format: Format) -> Result<Vec<u8>, FlameError> {
    match format {
        Format::Trace => Timeline::of_incident(incident).trace(),
        format => {
            let title = format!("incident {}: {}", incident.id, incident.summary);
            Profile::of_incidents(std::slice::from_ref(incident)).write(format, &title)
        }
    }
}

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

    /// Writes a profile that was sampled.
    ///
    /// # Errors
    /// As [`write`](Profile::write), and [`FlameError::NoStacks`] instead of `Empty` where its notes say that there was more
    /// than nothing.
    pub fn write_sampled(&self, format: Format, title: &str) -> Result<Vec<u8>, FlameError> {
        match self.write(format, title) {
            Err(FlameError::Empty) if !self.notes.is_empty() => {
                Err(FlameError::NoStacks(self.notes.join("; ")))
            }
            written => written,
        }
    }
}
