//! Incidents as files: flamegraphs of their stacks, and the timeline of one.

use super::source::Found;
use crate::error::Failure;
use crate::output::Destination;
use loopscope_report::incident::Incident;
use loopscope_report::profiles::{Format, Profile, Timeline};
use std::path::Path;

/// Draws where the time of these incidents went, in the format that the file's ending names, SVG where it names none.
///
/// # Errors
/// They have nothing to draw, or the file cannot be written.
pub fn flame(path: &Path, found: &[Found]) -> Result<(), Failure> {
    let destination = Destination::open(path)?;
    let incidents: Vec<Incident> = found.iter().map(|found| found.incident.clone()).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let format = Format::of_file(&name).unwrap_or(Format::Svg);
    let title = match incidents.as_slice() {
        [one] => format!("incident {}: {}", one.id, one.summary),
        many => format!("{} incidents", many.len()),
    };
    let drawn = Profile::of_incidents(&incidents).write(format, &title);
    destination.write(&drawn.map_err(|error| nothing("a flamegraph", &error))?)
}

/// Writes the callbacks, iterations and jobs around one incident as Chrome trace events.
///
/// # Errors
/// It has none, or the file cannot be written.
pub fn trace(path: &Path, found: &Found) -> Result<(), Failure> {
    let destination = Destination::open(path)?;
    let written = Timeline::of_incident(&found.incident).trace();
    destination.write(&written.map_err(|error| nothing("a timeline", &error))?)
}

fn nothing(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::NothingCaptured(format!("it has no data for {what}: {error}"))
}
