//! Drawing a profile with inferno: colours by phase, the same picture for the same profile.

use crate::FlameError;
use crate::flame::stacks::Frame;
use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// Base colours by phase, in the order of the phases' numbers: main, timers, pending, idle, prepare, poll, check, close.
const PHASE_COLOURS: [(u8, u8, u8); 8] = [
    (176, 176, 176),
    (232, 168, 64),
    (198, 156, 109),
    (160, 190, 120),
    (140, 180, 150),
    (104, 160, 216),
    (206, 122, 152),
    (150, 140, 200),
];

/// Loops, and what belongs to no phase.
const NO_PHASE: (u8, u8, u8) = (200, 200, 190);

/// Draws stacks with their own times in microseconds; they must be sorted.
pub(crate) fn svg(title: &str, stacks: &[(&[Frame], u64)]) -> Result<Vec<u8>, FlameError> {
    if stacks.is_empty() {
        return Err(FlameError::Empty);
    }
    let mut lines: Vec<String> =
        stacks.iter().map(|(stack, us)| format!("{} {us}", super::stack_text(stack))).collect();
    // The library merges neighbours only, and compares whole lines.
    lines.sort_unstable();
    let mut palette = palette(stacks);
    let mut options = Options::default();
    options.title = title.to_owned();
    options.subtitle = Some(format!("total {} - click to zoom, Ctrl-F to search", total_text(stacks)));
    options.count_name = "us".to_owned();
    options.name_type = "Frame:".to_owned();
    options.deterministic = true;
    options.palette_map = Some(&mut palette);
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.font_type = "monospace".to_owned();
    options.min_width = 0.05;
    options.notes = "loopscope".to_owned();
    let mut drawing = Vec::new();
    from_lines(&mut options, lines.iter().map(String::as_str), &mut drawing).map_err(FlameError::Draw)?;
    Ok(drawing)
}

fn total_text(stacks: &[(&[Frame], u64)]) -> String {
    let total_us: u64 = stacks.iter().map(|(_, us)| us).sum();
    crate::watch::report::age_text(total_us.saturating_mul(1_000))
}

/// Gives each frame a shade of its phase's colour. A text that occurs in several phases has the colour of the first:
/// the library knows frames by their text.
fn palette(stacks: &[(&[Frame], u64)]) -> PaletteMap {
    let mut palette = PaletteMap::default();
    for frame in stacks.iter().flat_map(|(stack, _)| stack.iter()) {
        if palette.get(&frame.text).is_none() {
            palette.insert(&frame.text, shade(frame));
        }
    }
    palette
}

fn shade(frame: &Frame) -> Color {
    let base = frame.phase.and_then(|phase| PHASE_COLOURS.get(usize::from(phase)).copied());
    let (r, g, b) = base.unwrap_or(NO_PHASE);
    // Neighbours should differ a little; the same text never does.
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&frame.text);
    let lighter = (hash % 24) as u8;
    Color { r: r.saturating_add(lighter), g: g.saturating_add(lighter), b: b.saturating_add(lighter) }
}
