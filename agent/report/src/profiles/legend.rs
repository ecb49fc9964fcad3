//! A legend between a drawing's title and its frames, which the drawing library has none of.
//!
//! The library's drawing is one head (title, buttons, background) and one inner `svg` that holds the frames. The head
//! gets a row more, and the inner part moves down by as much; its script reads no coordinate of the head.

use crate::profiles::FlameError;
use std::fmt::Write;
use std::io;

/// Height of the row, in pixels.
const ROW: usize = 24;

/// Where the row's boxes begin: below the subtitle.
const TOP: usize = 57;

/// Width of a character of the 12 px monospace font, a little generous, in pixels.
const CHARACTER: usize = 8;

/// One entry: a colour, and what it means.
pub(crate) struct LegendEntry {
    pub colour: (u8, u8, u8),
    /// What people read.
    pub text: String,
}

/// Puts the legend into a drawing that has a title and a subtitle.
///
/// # Errors
/// The drawing is not one of the library's, of the version that this was written for.
pub(crate) fn add(svg: &str, entries: &[LegendEntry]) -> Result<String, FlameError> {
    let (head, frames) = svg.split_once("<svg id=\"frames\"").ok_or_else(unknown)?;
    let height =
        head.split_once(" height=\"").and_then(|(_, rest)| rest.split_once('"')?.0.parse::<usize>().ok());
    let height = height.ok_or_else(unknown)?;
    let taller = height + ROW;
    // The line at the bottom that tells what the pointer is on is 17 px from the edge.
    let bottom = height.saturating_sub(17);
    let changes = [
        (format!(" height=\"{height}\""), format!(" height=\"{taller}\"")),
        (format!(" {height}\" xmlns"), format!(" {taller}\" xmlns")),
        (format!(" y=\"{bottom}.00\""), format!(" y=\"{}.00\"", bottom + ROW)),
    ];
    let mut head = head.to_owned();
    for (from, to) in changes {
        if !head.contains(&from) {
            return Err(unknown());
        }
        head = head.replace(&from, &to);
    }
    Ok(format!("{head}{}<svg id=\"frames\" y=\"{ROW}\"{frames}", row(entries)))
}

fn row(entries: &[LegendEntry]) -> String {
    // The library shows its search button nearly invisible until the pointer is on it.
    let mut row = "<style>#search { opacity:0.7 }</style><g id=\"legend\">".to_owned();
    let mut x = 10;
    for LegendEntry { colour: (r, g, b), text } in entries {
        let (text_x, text_y) = (x + 17, TOP + 11);
        let shown = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        // Writing to a string cannot fail.
        let _ = write!(
            row,
            "<rect x=\"{x}\" y=\"{TOP}\" width=\"12\" height=\"13\" fill=\"rgb({r},{g},{b})\" stroke=\"rgb(120,120,120)\" stroke-width=\"0.5\"/>\
             <text x=\"{text_x}\" y=\"{text_y}\">{shown}</text>"
        );
        x = text_x + text.chars().count() * CHARACTER + 16;
    }
    row + "</g>"
}

fn unknown() -> FlameError {
    FlameError::Draw(io::Error::other(
        "the drawing library has another version than this legend was written for",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_without_the_expected_head_is_refused() {
        let good = "<svg width=\"9\" height=\"100\" viewBox=\"0 0 9 100\" xmlns=\"x\"><text y=\"83.00\"></text>\
                    <svg id=\"frames\" x=\"10\"></svg></svg>";
        let with = add(good, &[LegendEntry { colour: (1, 2, 3), text: "a < b".to_owned() }]).unwrap();
        assert!(
            with.contains(" height=\"124\" viewBox=\"0 0 9 124\"") && with.contains("y=\"107.00\""),
            "{with}"
        );
        assert!(
            with.contains("rgb(1,2,3)")
                && with.contains(">a &lt; b</text></g><svg id=\"frames\" y=\"24\" x=")
        );
        for bad in ["", "<svg></svg>", &good.replace("83", "84"), &good.replace("frames", "f")] {
            assert!(matches!(add(bad, &[]), Err(FlameError::Draw(_))), "{bad}");
        }
    }
}
