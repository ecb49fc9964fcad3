//! Drawing a profile as a flamegraph, with inferno: coloured by phase with a legend, the same picture for the same profile.

use crate::duration::show_ns;
use crate::profiles::FlameError;
use crate::profiles::colour;
use crate::profiles::colour_mark::is_mark;
use crate::profiles::difference::{self, Difference, LESS, MORE, SAME, Totals};
use crate::profiles::legend::{self, LegendEntry};
use crate::profiles::profile::Profile;
use inferno::flamegraph::color::{BackgroundColor, Color, StrokeColor};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};
use loopscope_probe::Phase;
use loopscope_probe::raw::printable::{Printable, printable};
use std::collections::HashSet;
use std::io;

/// Nearly white, so that black text on it and on the frames can be read.
const BACKGROUND: BackgroundColor = BackgroundColor::Flat(Color { r: 252, g: 252, b: 250 });

/// What a drawing can do, for its subtitle.
const HOW_TO: &str = "click a frame to zoom, Ctrl-F to search";

impl Profile {
    /// Draws the profile as an SVG that zooms and searches by itself, coloured by phase.
    ///
    /// # Errors
    /// Nothing is in it ([`FlameError::Empty`]), or the drawing library failed.
    pub fn svg(&self, title: &str) -> Result<Vec<u8>, FlameError> {
        let lines = self.lines(true);
        if lines.is_empty() {
            return Err(FlameError::Empty);
        }
        let mut palette = colour::palette(lines.iter().map(|(stack, _)| stack.as_str()));
        let total = show_ns(self.total_ns());
        let mut options = options(title, &format!("total {total} {}", self.of.words()), &self.notes);
        options.palette_map = Some(&mut palette);
        let lines: Vec<String> = lines.iter().map(|(stack, us)| format!("{stack} {us}")).collect();
        draw(options, &lines, &self.legend(&lines))
    }

    /// Draws how this profile differs from an earlier one: widths are of this one; frames whose whole time grew are
    /// red, those whose time shrank are blue, with the change as part of all time. What is no longer there has no
    /// width.
    ///
    /// # Errors
    /// One of them is empty ([`FlameError::Empty`]), or the drawing library failed.
    pub fn diff_svg(&self, before: &Profile, totals: Totals, title: &str) -> Result<Vec<u8>, FlameError> {
        if self.is_empty() || before.is_empty() {
            return Err(FlameError::Empty);
        }
        let difference = Difference::between(before, self, totals);
        let (old, new) = (before.lines(false), self.lines(false));
        let there: HashSet<&str> = new.iter().map(|(stack, _)| stack.as_str()).collect();
        let gone = old.iter().filter(|(stack, _)| !there.contains(stack.as_str()));
        let gone_us = gone.fold(0u64, |sum, (_, us)| sum.saturating_add(*us));
        let drawn: Vec<(String, u64)> =
            new.iter().map(|(stack, us)| (difference.drawn(stack), *us)).collect();
        let mut palette = difference::palette(drawn.iter().map(|(stack, _)| stack.as_str()));
        let gone = match gone_us {
            0 => String::new(),
            us => format!(", {} gone since before", show_ns(us.saturating_mul(1_000))),
        };
        let totals = match totals {
            Totals::AsMeasured => "",
            Totals::Equal => ", normalized",
        };
        let (was, is) = (show_ns(before.total_ns()), show_ns(self.total_ns()));
        let mut options = options(title, &format!("before {was}, after {is}{gone}{totals}"), &self.notes);
        options.stroke_color = StrokeColor::Color(Color { r: 190, g: 190, b: 190 });
        options.palette_map = Some(&mut palette);
        let lines: Vec<String> = drawn.iter().map(|(stack, us)| format!("{stack} {us}")).collect();
        let legend = [
            LegendEntry { colour: MORE, text: "10% more of all time".to_owned() },
            LegendEntry { colour: LESS, text: "10% less".to_owned() },
            LegendEntry { colour: SAME, text: "no change".to_owned() },
        ];
        draw(options, &lines, &legend)
    }

    /// Returns what colours mean, for the phases that occur.
    fn legend(&self, lines: &[String]) -> Vec<LegendEntry> {
        let stacks = self.sorted();
        let occurs = |phase: &Phase| stacks.iter().any(|stack| self.phase_of(stack) == Some(*phase));
        let phases = (0..Phase::COUNT).filter_map(Phase::from_index).filter(occurs);
        let entry =
            |phase| LegendEntry { colour: colour::of_phase(phase), text: self.phase_label(phase).to_owned() };
        let mut entries: Vec<LegendEntry> = phases.map(entry).collect();
        if lines.iter().any(|line| line.contains(";[")) {
            entries.push(LegendEntry { colour: colour::WAIT, text: "waiting for".to_owned() });
        }
        entries
    }
}

fn options<'a>(title: &str, subtitle: &str, notes: &[String]) -> Options<'a> {
    let mut options = Options::default();
    options.title = printable(title).into_owned();
    let notes: String = notes.iter().map(|note| format!(" - {}", Printable(note))).collect();
    options.subtitle = Some(format!("{subtitle}{notes} - {HOW_TO}"));
    options.bgcolors = Some(BACKGROUND);
    options.count_name = "µs".to_owned();
    options.name_type = "Frame:".to_owned();
    options.deterministic = true;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.font_type = "monospace".to_owned();
    options.min_width = 0.05;
    options.notes = "loopscope".to_owned();
    options
}

fn draw(mut options: Options<'_>, lines: &[String], entries: &[LegendEntry]) -> Result<Vec<u8>, FlameError> {
    let mut sorted: Vec<&str> = lines.iter().map(String::as_str).collect();
    // The library merges neighbours only, and compares whole lines.
    sorted.sort_unstable();
    let mut drawing = Vec::new();
    from_lines(&mut options, sorted, &mut drawing).map_err(FlameError::Draw)?;
    let drawing = String::from_utf8(drawing).map_err(|error| FlameError::Draw(io::Error::other(error)))?;
    let drawing = legend::add(&drawing, entries)?;
    Ok(drawing.replace(is_mark, "").into_bytes())
}
