//! One frame of a stack: its text, and where it is in the source and in the program, as far as that is known.

use crate::profiles::colour_mark::is_mark;
use loopscope_probe::raw::printable::{is_hidden, printable};
use std::collections::HashMap;
use std::sync::Arc;

/// One frame.
///
/// Frames of the layout (loop, phase, callback site, drained job, spans) have no code; those of a sampled stack do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProfileFrame {
    /// What it is called in every format. Neither a semicolon nor a character that is not to be shown is in it.
    pub text: Arc<str>,
    /// Source file, `None` where not known.
    pub file: Option<Arc<str>>,
    /// Line in it, from 1; 0 where not known.
    pub line: u32,
    /// Column in that, from 1; 0 where not known.
    pub column: u32,
    /// Line and column are where the function begins: which line of it ran is not known.
    pub is_function_start: bool,
    /// The machine code it stands for; `None` for a frame of the layout.
    pub code: Option<Code>,
}

/// Where the machine code of a frame is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code {
    /// The program or library; `None` for code that no file holds, such as a runtime's own.
    pub module: Option<Arc<Module>>,
    /// Address within the module: what `addr2line` takes. Without a module, the address in memory.
    pub offset: u64,
    /// Whether the compiler put the function into the next frame towards the root, which has the same address.
    pub is_inlined: bool,
}

/// A program or library.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// Path of its file.
    pub path: String,
    /// Build id in hexadecimal digits; empty where it has none.
    pub build_id: String,
}

impl ProfileFrame {
    /// Returns a frame of the layout at no known place.
    pub fn plain(text: &str) -> ProfileFrame {
        ProfileFrame { text: clean(text), ..ProfileFrame::default() }
    }

    /// Returns a frame of the layout that stands for a place in the source.
    pub fn placed(text: &str, file: &str, line: u32) -> ProfileFrame {
        let file = (!file.is_empty()).then(|| Arc::from(&*printable(file)));
        ProfileFrame { text: clean(text), file, line, ..ProfileFrame::default() }
    }
}

/// Frames are separated by semicolons and stacks by lines; private characters mark colours while drawing.
fn clean(text: &str) -> Arc<str> {
    let is_ours = |c: char| c == ';' || is_hidden(c) || is_mark(c);
    match text {
        "" => "?".into(),
        text if text.contains(is_ours) => {
            text.chars().map(|c| if is_ours(c) { ':' } else { c }).collect::<String>().into()
        }
        text => text.into(),
    }
}

/// Every frame once, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrameTable {
    frames: Vec<ProfileFrame>,
    numbers: HashMap<ProfileFrame, u32>,
}

impl FrameTable {
    /// Returns the frame's number; equal frames have the same.
    pub(crate) fn number(&mut self, frame: ProfileFrame) -> u32 {
        if let Some(number) = self.numbers.get(&frame) {
            return *number;
        }
        let number = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.numbers.insert(frame, number);
        number
    }

    /// Returns the frame with a number that [`FrameTable::number`] gave.
    pub(crate) fn get(&self, number: u32) -> &ProfileFrame {
        &self.frames[number as usize]
    }

    /// Returns all frames in the order of their numbers.
    pub(crate) fn all(&self) -> &[ProfileFrame] {
        &self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_end_neither_a_frame_nor_a_line() {
        assert_eq!(&*ProfileFrame::plain("a;b\nc\u{1b}").text, "a:b:c:");
        assert_eq!(&*ProfileFrame::plain("a\u{202e}b\u{2066}").text, "a:b:");
        assert_eq!(ProfileFrame::placed("a", "b\u{202e}.rs", 1).file.as_deref(), Some("b\\u{202e}.rs"));
        assert_eq!(&*ProfileFrame::plain("").text, "?");
        assert_eq!(&*ProfileFrame::plain("fn<T>(é)").text, "fn<T>(é)");
    }

    #[test]
    fn equal_frames_have_one_number() {
        let mut table = FrameTable::default();
        let first = table.number(ProfileFrame::placed("a", "x.rs", 1));
        assert_eq!(table.number(ProfileFrame::placed("a", "x.rs", 2)), first + 1);
        assert_eq!(table.number(ProfileFrame::placed("a", "x.rs", 1)), first);
        assert_eq!((table.get(first).line, table.all().len()), (1, 2));
    }
}
