//! JavaScript's functions on the copy of a stack: of a thread that slept, or in which V8 collected garbage, so that V8 itself could
//! not walk it.
//!
//! Code of V8's keeps a chain of frame pointers, so the frames that are open lead from one to the next inner one: the frame below a
//! frame is the nearest place that holds its address. Where the chain begins is known from the same thread a little later, in the
//! same busy period, in which the outermost frames stay:
//!
//! ```text
//!   main <- uv_run <- [entry] <- handler <- blocked <- [exit] <- C++ <- the system call
//!          C++        V8's own   JavaScript            V8's own
//! ```
//!
//! V8's own frames have a small even number below the frame's address, functions of JavaScript a context and themselves. A frame of
//! the interpreter has its bytecode and how far it is in it. None of this is relied on for a name: that is what V8 said of the code
//! at that address, and where V8 said nothing there is none.

use crate::code_map::{CodeMap, JsFrame};
use loopscope_agent::StackCopy;

const WORD: u64 = 8;
/// Words below the address of a frame: its context or kind, its function, and those of the interpreter.
const CONTEXT: u64 = WORD;
const FUNCTION: u64 = 2 * WORD;
const BYTECODE: u64 = 4 * WORD;
const BYTECODE_OFFSET: u64 = 5 * WORD;
/// Above it: where its caller goes on.
const RETURN_ADDRESS: u64 = WORD;
/// V8 has fewer kinds of frames; each is told by its number, doubled.
const KINDS_END: u64 = 256;

/// V8's own function in which an interpreted function runs.
const INTERPRETER: &str = "InterpreterEntryTrampoline";

/// A function that was open: where it was, as V8's own walk tells it, and its name, unless V8 did not tell of its code.
pub(crate) type OpenFunction = (u64, Option<JsFrame>);

/// A copy, and what is known of the code that ran.
pub(crate) struct CopiedStack<'a, F> {
    pub(crate) copy: &'a StackCopy,
    pub(crate) code: &'a CodeMap,
    /// Tells whether code is that of a file.
    pub(crate) is_native: F,
}

impl<F: Fn(u64) -> bool> CopiedStack<'_, F> {
    /// Returns the functions that were open, innermost first. `later` are the frames of this thread at a later moment of the same
    /// busy period, innermost first. `None` where the frames do not lead to the end of JavaScript's, so that the innermost
    /// function is not known.
    pub(crate) fn functions(&self, later: &[u64]) -> Option<Vec<OpenFunction>> {
        let frames = self.frames(later)?;
        let mut functions = Vec::new();
        let mut is_left = true;
        for pair in frames.windows(2) {
            let &[frame, inner] = pair else { continue };
            if let Some(function) = self.function(frame, inner) {
                functions.push(function);
                // What JavaScript calls in C++ is called by way of a frame of V8's own.
                is_left = self.is_v8s_own(inner);
            }
        }
        functions.reverse();
        (is_left && !functions.is_empty()).then_some(functions)
    }

    fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.copy.sp)?).ok()?;
        let word = self.copy.bytes.get(offset..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*word))
    }

    /// Returns the addresses of the frames, outermost first.
    fn frames(&self, later: &[u64]) -> Option<Vec<u64>> {
        let stands = |pair: &[u64]| self.word(pair[0]) == Some(pair[1]);
        let mut outer = later.windows(2).rposition(stands)?;
        let mut frame = later[outer];
        let mut frames = vec![frame];
        loop {
            let called = self.called_by(frame);
            // C does not keep the chain, and stores the register as it is: where its frames are the same later, they are known.
            let later_one = outer.checked_sub(1).map(|inner| later[inner]);
            let same = later_one.filter(|inner| stands(&[*inner, frame]));
            let same = same.filter(|_| called.is_none_or(|inner| !self.is_of_v8(frame, inner)));
            let Some(inner) = same.or(called) else { return Some(frames) };
            outer = if later_one == Some(inner) { outer - 1 } else { 0 };
            frame = inner;
            frames.push(frame);
        }
    }

    /// Returns the frame that a frame of V8's code has called: the nearest place below it that holds its address.
    fn called_by(&self, frame: u64) -> Option<u64> {
        let below = std::iter::successors(frame.checked_sub(WORD), |place| place.checked_sub(WORD));
        below.take_while(|place| *place >= self.copy.sp).find(|place| self.word(*place) == Some(frame))
    }

    /// Tells whether a frame, which has called another, is of V8's code.
    fn is_of_v8(&self, frame: u64, inner: u64) -> bool {
        self.is_v8s_own(frame) || self.function(frame, inner).is_some()
    }

    fn is_function(&self, frame: u64) -> bool {
        let is_object = |below: u64| self.word(frame.wrapping_sub(below)).is_some_and(|word| word % 2 == 1);
        is_object(CONTEXT) && is_object(FUNCTION)
    }

    /// Tells whether a frame is of V8's own code between JavaScript and C++.
    fn is_v8s_own(&self, frame: u64) -> bool {
        self.word(frame.wrapping_sub(CONTEXT))
            .is_some_and(|kind| kind % 2 == 0 && (1..KINDS_END).contains(&kind))
    }

    /// Returns the function of a frame that has called another; `None` where it is none of JavaScript's.
    fn function(&self, frame: u64, inner: u64) -> Option<OpenFunction> {
        if !self.is_function(frame) {
            return None;
        }
        let place = self.word(inner.wrapping_add(RETURN_ADDRESS))?;
        // It is just behind the call, which may be the last of its function.
        let compiled = self.code.function(place.wrapping_sub(1) as usize);
        let is_interpreter = |function: &JsFrame| function.function.contains(INTERPRETER);
        match compiled.filter(|function| !is_interpreter(function)) {
            Some(compiled) => Some((place, Some(compiled))),
            // V8's own code is told as built in, or is that of Node's file, as C++ is.
            None => self.interpreted(frame).or_else(|| (!(self.is_native)(place)).then_some((place, None))),
        }
    }

    /// Returns the function that the interpreter is in.
    fn interpreted(&self, frame: u64) -> Option<OpenFunction> {
        let bytecode = self.word(frame.wrapping_sub(BYTECODE))?;
        // A number of JavaScript's: in the upper half.
        let offset = self.word(frame.wrapping_sub(BYTECODE_OFFSET)).filter(|word| *word as u32 == 0)? >> 32;
        let place = bytecode.wrapping_add(offset);
        let function = self.code.function(place as usize)?;
        (bytecode % 2 == 1 && !function.script.is_empty()).then_some((place, Some(function)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack that grows downwards from 0x8000, and code.
    struct Made {
        words: Vec<u64>,
        frames: Vec<u64>,
        code: CodeMap,
    }

    const TOP: u64 = 0x8000;
    const CONTEXT_WORD: u64 = 0x4001;
    /// What a C++ function may have there.
    const CPP: [u64; 2] = [0x10_0000, 0x10_0008];

    impl Made {
        fn new() -> Made {
            let mut code = CodeMap::default();
            code.add(0x100, 0x100, "Builtin:InterpreterEntryTrampoline");
            code.add(0x1000, 0x100, "JS:^compiled /app.js:3:1");
            code.add(0x2000, 0x100, "JS:~interpreted /app.js:7:1");
            let mut made = Made { words: vec![0], frames: Vec::new(), code };
            made.call(0x50_0000, &CPP);
            made.call(0x50_0000, &CPP);
            made
        }

        /// The innermost function calls another one, and goes on at `place`; the new one has these words below its frame.
        fn call(&mut self, place: u64, below: &[u64]) -> &mut Made {
            let outer = self.frames.last().copied().unwrap_or(0);
            self.words.extend([place, outer]);
            self.frames.push(TOP - WORD * self.words.len() as u64);
            self.words.extend(below);
            self
        }

        fn javascript(&mut self, place: u64) -> &mut Made {
            self.call(place, &[CONTEXT_WORD, 0x5001, 0, 0, 0])
        }

        fn interpreted(&mut self, place: u64, offset: u64) -> &mut Made {
            self.call(place, &[CONTEXT_WORD, 0x6001, 0, 0x2001, offset << 32])
        }

        /// Enters JavaScript from C++.
        fn enter(&mut self) -> &mut Made {
            self.call(0x50_0000, &[2, 0])
        }

        /// Leaves it.
        fn exit(&mut self, place: u64) -> &mut Made {
            self.call(place, &[6, 0]).call(0x50_0000, &CPP)
        }

        fn functions(&self, later: &[u64]) -> Option<Vec<Option<String>>> {
            let bytes: Vec<u8> = self.words.iter().rev().flat_map(|word| word.to_ne_bytes()).collect();
            let copy = StackCopy::new(TOP - bytes.len() as u64, bytes);
            let is_native = |place| (0x50_0000..0x60_0000).contains(&place);
            let stack = CopiedStack { copy: &copy, code: &self.code, is_native };
            let functions = stack.functions(later)?;
            Some(functions.into_iter().map(|(_, frame)| frame.map(|frame| frame.function)).collect())
        }

        /// The frames that stay: those of C++ outside.
        fn outermost(&self) -> Vec<u64> {
            vec![self.frames[1], self.frames[0]]
        }
    }

    fn names(names: &[Option<&str>]) -> Option<Vec<Option<String>>> {
        Some(names.iter().map(|name| name.map(str::to_owned)).collect())
    }

    #[test]
    fn functions_that_slept_are_found_compiled_and_interpreted() {
        let mut made = Made::new();
        made.enter().javascript(0x180).interpreted(0x1040, 20).exit(0x180);
        assert_eq!(made.functions(&made.outermost()), names(&[Some("interpreted"), Some("compiled")]));
        let more = [&[made.frames[3] - 0x100, made.frames[3]][..], &made.outermost()].concat();
        assert_eq!(
            made.functions(&more),
            names(&[Some("interpreted"), Some("compiled")]),
            "a frame that came later is no frame of the copy"
        );
    }

    #[test]
    fn a_function_that_v8_did_not_tell_of_has_no_name_and_its_caller_does_not_stand_for_it() {
        let mut made = Made::new();
        made.enter().javascript(0x180).javascript(0x1040).exit(0x9_0000);
        assert_eq!(made.functions(&made.outermost()), names(&[None, Some("compiled")]));
    }

    #[test]
    fn where_the_frames_do_not_lead_out_of_javascript_nothing_is_known() {
        let mut made = Made::new();
        made.enter().javascript(0x180).interpreted(0x1040, 20);
        assert_eq!(made.functions(&made.outermost()), None, "what it has called is not there");
        made.call(0x180, &CPP);
        assert_eq!(made.functions(&made.outermost()), None, "C++ is not called so");
        assert_eq!(made.functions(&[]), None);
        assert_eq!(made.functions(&[0x10, 0x20]), None, "another stack");
    }

    #[test]
    fn functions_of_an_entry_inside_another_are_inside_of_those_outside() {
        let mut made = Made::new();
        made.enter().javascript(0x180).exit(0x1040).enter().interpreted(0x180, 8).exit(0x180);
        assert_eq!(made.functions(&made.outermost()), names(&[Some("interpreted"), Some("compiled")]));
    }
}
