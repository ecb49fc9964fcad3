//! JavaScript's functions on the copy of a stack: of a thread that slept, or in which V8 collected garbage, so that V8 itself could
//! not walk it.
//!
//! The agent unwinds the copy: C++ by its tables, and V8's code, which has none, by the chain of frame pointers that it keeps. Of
//! each frame of V8's its address is known then, and where it goes on:
//!
//! ```text
//!   main <- uv_run <- [entry] <- handler <- blocked <- [exit] <- C++ <- the system call
//!          C++        V8's own   JavaScript            V8's own
//! ```
//!
//! V8's own frames have a small even number below the frame's address, functions of JavaScript a context and themselves. A frame of
//! the interpreter has its bytecode and how far it is in it. None of this is relied on for a name: that is what V8 said of the code
//! at that address, or what its heap has of the function, and where neither is known there is none.

use crate::code_map::JsFrame;
use loopscope_agent::StackCopy;

const WORD: u64 = 8;
/// Words below the address of a frame: its context or kind, its function, and those of the interpreter.
const CONTEXT: u64 = WORD;
const FUNCTION: u64 = 2 * WORD;
const BYTECODE: u64 = 4 * WORD;
const BYTECODE_OFFSET: u64 = 5 * WORD;
/// A frame of V8's own has twice the number of its kind there. V8 has fewer kinds than half of this.
const KINDS_END: u64 = 256;
/// Stacks are no longer.
const STACK_BYTES: u64 = 8 << 20;
/// V8's own function in which an interpreted function runs.
pub(crate) const INTERPRETER: &str = "InterpreterEntryTrampoline";

/// A function that was open: where it was, as V8's own walk tells it, and its name, where that is known.
pub(crate) type OpenFunction = (u64, Option<JsFrame>);

/// A copy, and what is known of the code that ran.
pub(crate) struct CopiedStack<'a, F, H, B, N> {
    pub(crate) copy: &'a StackCopy,
    /// Returns the function of an address; `None` for what V8 told nothing of.
    pub(crate) function_of: F,
    /// Returns the function of a script that this word of the stack is, by V8's heap; `None` for any other word.
    pub(crate) object_of: H,
    /// Tells whether this word of the stack is bytecode, by V8's heap.
    pub(crate) is_bytecode: B,
    /// Tells whether code is that of a file.
    pub(crate) is_native: N,
}

impl<F, H, B, N> CopiedStack<'_, F, H, B, N>
where
    B: Fn(u64) -> bool,
    F: Fn(u64) -> Option<JsFrame>,
    H: Fn(u64) -> Option<JsFrame>,
    N: Fn(u64) -> bool,
{
    /// Returns the functions that were open, innermost first. `None` where the copy could not be unwound, and where the innermost
    /// function is not followed by the frame of V8's own by which JavaScript calls C++, so that it is not known.
    pub(crate) fn functions(&self) -> Option<Vec<OpenFunction>> {
        let calls = self.copy.calls()?;
        let mut functions = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            // Code that makes no frame has that of its caller.
            let is_frame_of_caller = calls.get(at + 1).is_some_and(|outer| outer.frame == call.frame);
            if is_frame_of_caller || !self.is_function(call.frame) {
                continue;
            }
            let Some(function) = self.function(call.frame, call.address) else { continue };
            let is_left = at.checked_sub(1).is_some_and(|inner| self.is_v8s_own(calls[inner].frame));
            if functions.is_empty() && !is_left {
                return None;
            }
            functions.push(function);
        }
        (!functions.is_empty()).then_some(functions)
    }

    /// Returns the names of functions that were open at these places, which V8's own walk of the same stack told: by V8's heap, as far as
    /// they are known. The innermost place is not on the stack.
    ///
    /// A frame is found by what is in it: where its function goes on is above the frame that it called, beside the address of its own
    /// frame; an interpreted one has its bytecode and how far it is. What was left there by earlier calls may look the same, so all
    /// that does must be one function, and be known.
    pub(crate) fn names_at(&self, places: &[u64]) -> Vec<OpenFunction> {
        let words: Vec<u64> = self
            .copy
            .bytes
            .chunks_exact(8)
            .map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
            .collect();
        let at = |index: usize| self.copy.sp.wrapping_add(index as u64 * WORD);
        let mut frames: Vec<(u64, u64)> = Vec::new();
        for (index, pair) in words.windows(2).enumerate() {
            let [first, second] = [pair[0], pair[1]];
            if places.contains(&second) && first > at(index) && first - at(index) < STACK_BYTES {
                frames.push((second, first));
            }
            let bytecode = second.wrapping_add(first >> 32);
            if first as u32 == 0 && second % 2 == 1 && places.contains(&bytecode) {
                frames.push((bytecode, at(index).wrapping_add(BYTECODE_OFFSET)));
            }
        }
        let mut names: Vec<OpenFunction> = Vec::new();
        for (place, frame) in frames {
            let is_outside = self.word(frame).is_none();
            if !is_outside && !self.is_function(frame) {
                continue;
            }
            let name = self.function_of_frame(frame);
            match names.iter_mut().find(|(of, _)| *of == place) {
                None => names.push((place, name)),
                Some((_, known)) if *known != name => *known = None,
                Some(_) => {}
            }
        }
        names
    }

    /// Returns the function of a script that has this frame.
    pub(crate) fn function_of_frame(&self, frame: u64) -> Option<JsFrame> {
        let function = self.is_function(frame).then(|| self.word(frame.wrapping_sub(FUNCTION)))?;
        function.and_then(&self.object_of)
    }

    /// Returns the function of a script that has this frame, if it was called from this place, which V8's own walk tells: a function that
    /// begins has not made its frame yet, and the frame is that of who called it.
    pub(crate) fn called_from(&self, frame: u64, place: u64) -> Option<JsFrame> {
        let outer = self.word(frame)?;
        let is_from =
            self.word(frame.wrapping_add(WORD)) == Some(place) || self.bytecode(outer) == Some(place);
        if is_from { self.function_of_frame(frame) } else { None }
    }

    fn word(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.copy.sp)?).ok()?;
        let word = self.copy.bytes.get(offset..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*word))
    }

    /// Tells whether a frame is of a function of JavaScript's, which may be one of V8's own.
    fn is_function(&self, frame: u64) -> bool {
        let is_object = |below: u64| self.word(frame.wrapping_sub(below)).is_some_and(|word| word % 2 == 1);
        is_object(CONTEXT) && is_object(FUNCTION)
    }

    /// Tells whether a frame is of V8's own code, which marks it: not of a function of JavaScript's.
    pub(crate) fn is_v8s_own(&self, frame: u64) -> bool {
        self.word(frame.wrapping_sub(CONTEXT))
            .is_some_and(|kind| kind % 2 == 0 && (1..KINDS_END).contains(&kind))
    }

    /// Returns the function of a frame, which goes on at this place; `None` where it is none of JavaScript's.
    fn function(&self, frame: u64, place: u64) -> Option<OpenFunction> {
        // It is just behind the call, which may be the last of its function.
        let compiled = (self.function_of)(place.wrapping_sub(1));
        let is_interpreter = |function: &JsFrame| function.function.contains(INTERPRETER);
        let is_in_interpreter = compiled.as_ref().is_some_and(is_interpreter);
        if let Some(compiled) = compiled.filter(|_| !is_in_interpreter) {
            return Some((place, Some(compiled)));
        }
        // V8's own code is told as built in, or is that of Node's file, as C++ is.
        let is_own = is_in_interpreter || (self.is_native)(place);
        let object = || self.function_of_frame(frame);
        let bytecode = self.bytecode(frame);
        let interpreted = bytecode.and_then(&self.function_of).filter(|function| !function.script.is_empty());
        match bytecode {
            Some(bytecode) if interpreted.is_some() => Some((bytecode, interpreted)),
            // A function that cannot be read is one, and its caller does not stand for it.
            Some(bytecode) if is_in_interpreter || is_own && self.has_bytecode(frame) => {
                Some((bytecode, object()))
            }
            _ if is_own => None,
            _ => Some((place, object())),
        }
    }

    fn has_bytecode(&self, frame: u64) -> bool {
        self.word(frame.wrapping_sub(BYTECODE)).is_some_and(&self.is_bytecode)
    }

    /// Returns where the function of a frame is in its bytecode, if it is interpreted.
    fn bytecode(&self, frame: u64) -> Option<u64> {
        let bytecode = self.word(frame.wrapping_sub(BYTECODE)).filter(|word| word % 2 == 1)?;
        // A number of JavaScript's: in the upper half.
        let offset = self.word(frame.wrapping_sub(BYTECODE_OFFSET)).filter(|word| *word as u32 == 0)? >> 32;
        Some(bytecode.wrapping_add(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code_map::CodeMap;

    /// A stack that grows downwards from 0x8000, and code.
    struct Made {
        words: Vec<u64>,
        /// The calls, outermost first: where each goes on once it has called another, and its frame.
        calls: Vec<(u64, u64)>,
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
            let mut made = Made { words: vec![0], calls: Vec::new(), code };
            made.call(0x50_0000, &CPP);
            made.call(0x50_0000, &CPP);
            made
        }

        /// The innermost function calls another one, and goes on at `place`; the new one has these words below its frame.
        fn call(&mut self, place: u64, below: &[u64]) -> &mut Made {
            let outer = self.calls.last_mut().map_or(0, |(goes_on_at, frame)| {
                *goes_on_at = place;
                *frame
            });
            self.words.extend([place, outer]);
            self.calls.push((0x50_0000, TOP - WORD * self.words.len() as u64));
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

        fn functions(&self) -> Option<Vec<Option<String>>> {
            let calls: Vec<(u64, u64)> = self.calls.iter().rev().copied().collect();
            self.functions_of(&calls)
        }

        fn functions_of(&self, calls: &[(u64, u64)]) -> Option<Vec<Option<String>>> {
            let bytes: Vec<u8> = self.words.iter().rev().flat_map(|word| word.to_ne_bytes()).collect();
            let copy = StackCopy::new(TOP - bytes.len() as u64, bytes).with_calls(calls);
            let is_native = |place| (0x50_0000..0x60_0000).contains(&place);
            let function_of = |place: u64| self.code.function(place as usize);
            let (object_of, is_bytecode) = (|_| None, |_| false);
            let stack = CopiedStack { copy: &copy, function_of, object_of, is_bytecode, is_native };
            let functions = stack.functions()?;
            Some(functions.into_iter().map(|(_, frame)| frame.map(|frame| frame.function)).collect())
        }
    }

    fn names(names: &[Option<&str>]) -> Option<Vec<Option<String>>> {
        Some(names.iter().map(|name| name.map(str::to_owned)).collect())
    }

    #[test]
    fn functions_that_slept_are_found_compiled_and_interpreted() {
        let mut made = Made::new();
        made.enter().javascript(0x180).interpreted(0x1040, 20).exit(0x180);
        assert_eq!(made.functions(), names(&[Some("interpreted"), Some("compiled")]));
        // Code that makes no frame of its own has that of its caller.
        let mut calls: Vec<(u64, u64)> = made.calls.iter().rev().copied().collect();
        let function = calls.iter().position(|call| call.0 == 0x1040).unwrap();
        calls.insert(function, (0x180, calls[function].1));
        assert_eq!(made.functions_of(&calls), names(&[Some("interpreted"), Some("compiled")]));
    }

    #[test]
    fn a_function_that_v8_did_not_tell_of_has_no_name_and_its_caller_does_not_stand_for_it() {
        let mut made = Made::new();
        made.enter().javascript(0x180).javascript(0x1040).exit(0x9_0000);
        assert_eq!(made.functions(), names(&[None, Some("compiled")]));
    }

    #[test]
    fn where_javascript_was_not_left_by_v8s_own_frame_nothing_is_known() {
        let mut made = Made::new();
        made.enter().javascript(0x180).interpreted(0x1040, 20);
        assert_eq!(made.functions(), None, "what it has called is not there");
        made.call(0x180, &CPP);
        assert_eq!(made.functions(), None, "C++ is not called so");
        assert_eq!(made.functions_of(&[]), None);
        assert_eq!(
            made.functions_of(&[(0x1040, 0), (0x1040, 0x10), (0x1040, u64::MAX)]),
            None,
            "other frames"
        );
        let copy = StackCopy::new(TOP, Vec::new());
        let stack = CopiedStack {
            copy: &copy,
            function_of: |_| None,
            object_of: |_| None,
            is_bytecode: |_| false,
            is_native: |_| false,
        };
        assert_eq!(stack.functions(), None, "it was not unwound");
    }

    #[test]
    fn functions_of_an_entry_inside_another_are_inside_of_those_outside() {
        let mut made = Made::new();
        made.enter().javascript(0x180).exit(0x1040).enter().interpreted(0x180, 8).exit(0x180);
        assert_eq!(made.functions(), names(&[Some("interpreted"), Some("compiled")]));
    }

    /// Returns the names at these places; a function's word is its name.
    fn names_at(made: &Made, places: &[u64], named: &[(u64, &str)]) -> Vec<(u64, String)> {
        let bytes: Vec<u8> = made.words.iter().rev().flat_map(|word| word.to_ne_bytes()).collect();
        let copy = StackCopy::new(TOP - bytes.len() as u64, bytes);
        let object_of = |word: u64| {
            let (_, name) = named.iter().find(|(of, _)| *of == word)?;
            Some(JsFrame { function: (*name).to_owned(), ..JsFrame::default() })
        };
        let is_bytecode = |_| false;
        let stack =
            CopiedStack { copy: &copy, function_of: |_| None, object_of, is_bytecode, is_native: |_| false };
        let names = stack.names_at(places);
        let named = names.into_iter().filter_map(|(place, name)| Some((place, name?.function)));
        let mut names: Vec<_> = named.collect();
        names.sort();
        names
    }

    #[test]
    fn functions_of_places_are_found_on_the_stack_by_what_their_frames_have() {
        let mut made = Made::new();
        made.enter().javascript(0x180).interpreted(0x1040, 20).exit(0x180);
        // Where it is in the interpreter: the word of its bytecode, and the offset.
        let interpreted = 0x2001 + 20;
        let named = [(0x5001, "compiled"), (0x6001, "interpreted")];
        let found = names_at(&made, &[interpreted, 0x1040], &named);
        assert_eq!(found, [(0x1040, "compiled".to_owned()), (interpreted, "interpreted".to_owned())]);
        assert_eq!(names_at(&made, &[0x1044, 0x2001], &named), [], "nothing goes on there");
        assert_eq!(names_at(&made, &[interpreted, 0x1040], &[]), [], "no function of a script");
        // Left by an earlier call: the same place, in another frame.
        made.call(0x1040, &[CONTEXT_WORD, 0x7001, 0]).call(0x1040, &CPP);
        let other = [named[0], (0x7001, "other")];
        assert_eq!(names_at(&made, &[0x1040], &other), [], "it may be either");
        let same = [named[0], (0x7001, "compiled")];
        assert_eq!(names_at(&made, &[0x1040], &same), [(0x1040, "compiled".to_owned())], "called by itself");
    }

    #[test]
    fn what_v8_did_not_tell_of_is_named_by_its_heap_where_a_thread_slept() {
        let mut made = Made::new();
        made.enter().javascript(0x50_0010).interpreted(0x9_0000, 2 << 20).exit(0x50_0020);
        let calls: Vec<(u64, u64)> = made.calls.iter().rev().copied().collect();
        let bytes: Vec<u8> = made.words.iter().rev().flat_map(|word| word.to_ne_bytes()).collect();
        let copy = StackCopy::new(TOP - bytes.len() as u64, bytes).with_calls(&calls);
        let is_native = |place| (0x50_0000..0x60_0000).contains(&place);
        let functions = |has_heap: bool| {
            let object_of = |word: u64| {
                let function = format!("{word:x}");
                has_heap.then(|| JsFrame { function, script: "/app.js".into(), ..JsFrame::default() })
            };
            let is_bytecode = |word| has_heap && word == 0x2001;
            let stack = CopiedStack { copy: &copy, function_of: |_| None, object_of, is_bytecode, is_native };
            let functions = stack.functions().unwrap_or_default();
            functions.into_iter().map(|(_, name)| name.map(|name| name.function)).collect::<Vec<_>>()
        };
        assert_eq!(functions(true), [Some("6001".to_owned()), Some("5001".to_owned())]);
        assert_eq!(functions(false), Vec::<Option<String>>::new());
    }

    #[test]
    fn the_function_that_runs_has_the_frame_that_was_called_from_the_place_that_v8_tells() {
        let mut made = Made::new();
        made.enter().interpreted(0x180, 20).javascript(0x50_0010).javascript(0x1040);
        let bytes: Vec<u8> = made.words.iter().rev().flat_map(|word| word.to_ne_bytes()).collect();
        let copy = StackCopy::new(TOP - bytes.len() as u64, bytes);
        let object_of = |word: u64| {
            let function = format!("{word:x}");
            Some(JsFrame { function, script: "/app.js".into(), ..JsFrame::default() })
        };
        let (is_bytecode, is_native) = (|_| false, |_| false);
        let stack = CopiedStack { copy: &copy, function_of: |_| None, object_of, is_bytecode, is_native };
        let [.., (_, outer), (_, inner)] = made.calls[..] else { panic!("{:?}", made.calls) };
        assert!(stack.called_from(inner, 0x1040).is_some(), "by compiled code");
        assert!(stack.called_from(outer, 0x2001 + 20).is_some(), "by the interpreter");
        assert_eq!(stack.called_from(outer, 0x1040), None, "it has called what begins");
    }
}
