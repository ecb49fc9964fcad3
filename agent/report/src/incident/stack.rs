//! Stacks of the loop's thread that were captured within an incident.

use crate::model::plumbing::{Function, depth};
use serde::{Deserialize, Serialize};

/// One stack, and how often it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StackCount {
    /// How many captures found it.
    pub count: u64,
    /// How old the incident was at each of them, in nanoseconds; at most 16.
    pub ages_ns: Vec<u64>,
    /// Sixteen hexadecimal digits; the same for the same stack of the same build, in this and other incidents.
    pub fingerprint: String,
    /// The frames, leaf first.
    pub frames: Vec<Frame>,
    /// Index in `frames` of the function to look at first: the innermost frame that is the application's own code.
    pub guilty: Option<usize>,
    /// What to know about it: guessed, cut off, ended before the capture.
    pub note: Option<String>,
}

impl StackCount {
    /// Returns the function to look at first.
    pub fn guilty_frame(&self) -> Option<&Frame> {
        self.frames.get(self.guilty?)
    }

    /// Returns the frames of the callback that ran, leaf first: without the loop's own functions and those that started
    /// it. All frames where no loop is recognised.
    pub fn callback_frames(&self) -> &[Frame] {
        let of = |frame: &'_ Frame| (frame.function.clone(), frame.file.clone().unwrap_or_default());
        let texts: Vec<(String, String)> = self.frames.iter().rev().map(of).collect();
        let functions: Vec<Function<'_>> =
            texts.iter().map(|(name, file)| (name.as_str(), file.as_str())).collect();
        &self.frames[..self.frames.len() - depth(&functions, true)]
    }

    pub(crate) fn without_frames(&self) -> StackCount {
        StackCount {
            frames: Vec::new(),
            fingerprint: self.fingerprint.clone(),
            note: self.note.clone(),
            ages_ns: self.ages_ns.clone(),
            ..*self
        }
    }
}

/// One function on a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Frame {
    /// Demangled name; `libfoo.so.1+0x1234` where there is no symbol.
    pub function: String,
    /// Source file; `None` without debug info.
    pub file: Option<String>,
    /// Line there, from 1; `None` without debug info.
    pub line: Option<u32>,
    /// Column in it, from 1; `None` where not known.
    pub column: Option<u32>,
    /// File name of the program or library.
    pub module: Option<String>,
    /// Inlined into the next frame.
    pub is_inlined: bool,
    /// Runtime that told it, `node` for instance; `None` for native frames.
    pub runtime: Option<String>,
}

impl Frame {
    /// Returns where it is in the source, as exactly as is known: `src/a.rs:61:9`. `None` without a file.
    pub fn place(&self) -> Option<String> {
        let numbers = [self.line, self.line.and(self.column)];
        Some(numbers.iter().flatten().fold(self.file.clone()?, |place, number| format!("{place}:{number}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_as_exact_as_is_known() {
        let frame = |file: Option<&str>, line, column| {
            Frame { file: file.map(str::to_owned), line, column, ..Frame::default() }.place()
        };
        assert_eq!(frame(Some("a.rs"), Some(61), Some(9)).as_deref(), Some("a.rs:61:9"));
        assert_eq!(frame(Some("a.rs"), Some(61), None).as_deref(), Some("a.rs:61"));
        assert_eq!(frame(Some("a.rs"), None, Some(9)).as_deref(), Some("a.rs"));
        assert_eq!(frame(None, Some(61), None), None);
    }
}
