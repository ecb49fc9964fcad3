//! Colours of frames: one for each phase, lighter for the code below, and one for what a thread waits in.
//!
//! The drawing library knows frames by their text, and the same function runs in several phases. So while it draws,
//! every frame has a private character behind its text that stands for its colour, and is taken out afterwards.

use crate::profiles::colour_mark::{FIRST_MARK, WAIT_MARK};
use crate::profiles::frame::ProfileFrame;
use inferno::flamegraph::color::{Color, PaletteMap};
use loopscope_probe::Phase;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// By phase, in the order of the phases' numbers: main, timers, pending, idle, prepare, poll, check, close, and those
/// that only a runtime's description names.
const PHASES: [(u8, u8, u8); Phase::COUNT] = [
    (168, 168, 168),
    (232, 160, 64),
    (190, 142, 96),
    (150, 186, 104),
    (120, 186, 160),
    (104, 160, 220),
    (214, 118, 150),
    (156, 136, 210),
    (216, 176, 72),
    (96, 176, 196),
    (188, 148, 188),
    (136, 160, 128),
    (220, 140, 120),
    (128, 148, 190),
    (176, 190, 96),
    (200, 150, 160),
];

/// Loops, and what belongs to no phase.
const NO_PHASE: (u8, u8, u8) = (206, 206, 196);

/// What a thread that is not on CPU waits in.
pub(crate) const WAIT: (u8, u8, u8) = (240, 224, 96);

/// Returns the character for the colour of a frame at this depth of a stack in this phase.
pub(crate) fn mark(depth: usize, frame: &ProfileFrame, phase: Option<Phase>) -> char {
    let number = match phase {
        _ if is_wait(&frame.text) => WAIT_MARK,
        Some(phase) if depth > 0 && frame.code.is_none() => 1 + phase.index(),
        Some(phase) if depth > 0 => 1 + Phase::COUNT + phase.index(),
        _ => 0,
    };
    char::from_u32(FIRST_MARK + number as u32).expect("the private characters are characters")
}

/// What a thread waits in is written in brackets: `[read(fd 3)]`.
fn is_wait(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']')
}

/// Returns the colour of a phase's own frames.
pub(crate) fn of_phase(phase: Phase) -> (u8, u8, u8) {
    PHASES[phase.index()]
}

/// Gives each frame of the marked lines a shade of the colour that its mark stands for.
pub(crate) fn palette<'a>(lines: impl Iterator<Item = &'a str>) -> PaletteMap {
    let mut palette = PaletteMap::default();
    // The library's own frame below all others, which it calls "all", has no text.
    palette.insert("", shade(""));
    for frame in lines.flat_map(|line| line.split(';')) {
        if palette.get(frame).is_none() {
            palette.insert(frame, shade(frame));
        }
    }
    palette
}

fn shade(frame: &str) -> Color {
    let mark = frame.chars().next_back().map_or(0, u32::from).wrapping_sub(FIRST_MARK) as usize;
    let (is_code, (r, g, b)) = match mark {
        WAIT_MARK => (false, WAIT),
        1..=Phase::COUNT => (false, PHASES[mark - 1]),
        0 => (false, NO_PHASE),
        _ => (true, PHASES.get(mark.wrapping_sub(1 + Phase::COUNT)).copied().unwrap_or(NO_PHASE)),
    };
    // Neighbours should differ a little; the same text never does.
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(frame);
    let lighter = (hash % 20) as u8;
    let tone = |part: u8| {
        let part = if is_code { part + (255 - part) / 2 } else { part };
        part.saturating_add(lighter)
    };
    Color { r: tone(r), g: tone(g), b: tone(b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles::colour_mark::is_mark;

    #[test]
    fn a_function_has_the_colour_of_the_phase_it_runs_in() {
        let code = crate::profiles::frame::Code { module: None, offset: 1, is_inlined: false };
        let frame = ProfileFrame { code: Some(code), ..ProfileFrame::plain("f") };
        let marks = [Phase::TIMERS, Phase::POLL].map(|phase| mark(5, &frame, Some(phase)));
        assert!(marks[0] != marks[1] && marks.into_iter().all(is_mark));
        let lines = marks.map(|mark| format!("f{mark}"));
        let palette = palette(lines.iter().map(String::as_str));
        assert_ne!(palette.get(&lines[0]), palette.get(&lines[1]));
        assert_eq!(mark(0, &ProfileFrame::plain("main"), Some(Phase::POLL)), '\u{e000}');
        assert!(is_mark(mark(7, &ProfileFrame::plain("[read(fd 3)]"), Some(Phase::POLL))));
    }
}
