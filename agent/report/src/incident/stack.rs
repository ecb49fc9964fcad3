//! Stacks of the loop's thread that were captured within an incident.

use crate::model::frame_owner::{FrameOwner, FrameText};
use crate::model::plumbing::depth;
use loopscope_probe::description::FrameRule;
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
        &self.frames[..self.frames.len() - self.plumbing(true)]
    }

    /// Returns how many frames from the root led to what ran: see [`depth`].
    pub(crate) fn plumbing(&self, is_in_callback: bool) -> usize {
        let owners: Vec<FrameOwner> = self.frames.iter().rev().map(|frame| frame.owner).collect();
        depth(&owners, is_in_callback)
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
    /// Line and column are where the function begins: which line of it ran is not known. In JSON only where it is so.
    #[serde(skip_serializing_if = "is_false")]
    pub is_function_start: bool,
    /// File name of the program or library.
    pub module: Option<String>,
    /// Inlined into the next frame.
    pub is_inlined: bool,
    /// Runtime that told it, `node` for instance; `None` for native frames.
    pub runtime: Option<String>,
    /// Whose it is. In JSON only where it is not the program's.
    #[serde(skip_serializing_if = "FrameOwner::is_program")]
    pub owner: FrameOwner,
}

impl Frame {
    /// Name of a function that its runtime runs and cannot name: the program's, a library's or the runtime's. Nobody is blamed for it, nor
    /// in its place.
    pub const UNKNOWN: &str = "(unknown function)";

    /// Returns it with its owner, by the rules of the runtime on whose stack it is. What a source told of the owner stays.
    pub fn owned(mut self, rules: &[FrameRule]) -> Frame {
        if self.owner.is_program() {
            self.owner = FrameOwner::of(&self.text(), rules);
        }
        self
    }

    fn text(&self) -> FrameText<'_> {
        FrameText {
            function: &self.function,
            file: self.file.as_deref(),
            module: self.module.as_deref(),
            is_told: self.runtime.is_some(),
        }
    }

    /// Returns where it is in the source, as exactly as is known: `src/a.rs:61:9`. `None` without a file.
    pub fn place(&self) -> Option<String> {
        let numbers = [self.line, self.line.and(self.column)];
        Some(numbers.iter().flatten().fold(self.file.clone()?, |place, number| format!("{place}:{number}")))
    }

    /// Returns its place as a text has it that stands by itself: `src/a.js:61:9`, or `begins at src/a.js:61:9` where it is not
    /// known which line ran.
    pub fn place_words(&self, place: &str) -> String {
        if self.is_function_start { format!("begins at {place}") } else { place.to_owned() }
    }

    /// Returns its name with its place, within a sentence: `sum at src/a.js:61:9`, or `sum, which begins at src/a.js:61:9`.
    pub fn named_at(&self, place: Option<&str>) -> String {
        match place {
            Some(place) if self.is_function_start => format!("{}, which begins at {place}", self.function),
            Some(place) => format!("{} at {place}", self.function),
            None => self.function.clone(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::frame_owner::tests::rules;

    #[test]
    fn json_says_whose_a_frame_is_where_it_is_not_the_program_s() {
        let frame = |function: &str| {
            let frame =
                Frame { function: function.to_owned(), module: Some("app".into()), ..Frame::default() };
            serde_json::to_string(&frame.owned(&rules())).unwrap()
        };
        assert!(frame("turner::run").contains(r#""owner":"runtime""#), "{}", frame("turner::run"));
        assert!(frame("std::thread::sleep").contains(r#""owner":"system""#));
        assert!(!frame("app::main").contains("owner"));
        let told: Frame = serde_json::from_str(r#"{"function":"f","owner":"dependency"}"#).unwrap();
        assert_eq!(told.clone().owned(&rules()), told, "what a source told stays");
    }

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

    #[test]
    fn a_line_that_did_not_run_is_not_told_as_if_it_had() {
        let ran =
            Frame { function: "sum".into(), file: Some("a.js".into()), line: Some(61), ..Frame::default() };
        let begins = Frame { is_function_start: true, ..ran.clone() };
        let texts = |frame: &Frame| {
            let place = frame.place();
            let place = place.as_deref();
            (frame.place_words(place.unwrap()), frame.named_at(place), frame.named_at(None))
        };
        assert_eq!(texts(&ran), ("a.js:61".into(), "sum at a.js:61".into(), "sum".into()));
        let words = ("begins at a.js:61".into(), "sum, which begins at a.js:61".into(), "sum".into());
        assert_eq!(texts(&begins), words);
        let json = |frame: &Frame| serde_json::to_string(frame).unwrap();
        assert!(json(&begins).contains(r#""is_function_start":true"#), "{}", json(&begins));
        assert!(!json(&ran).contains("is_function_start"), "{}", json(&ran));
        assert_eq!(serde_json::from_str::<Frame>(&json(&begins)).unwrap(), begins);
    }
}
