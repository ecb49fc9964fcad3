//! What is known of the functions on a stack without an answer of their loop: by what V8 told of its code, and by its heap.
//!
//! | the thread | where its functions were | their names |
//! |---|---|---|
//! | ran | V8's own walk, at the instant of the native stack | of their code; else of the function that the copied stack has there |
//! | slept, or V8 collected garbage | the copy of its stack | the same |
//!
//! V8 tells of code as it compiles it, and of older code only when it goes through its whole heap. The heap itself has every function,
//! and is read from outside; what was read counts only where V8 has collected nothing since the stack was copied.

use crate::code_map::{CodeMap, JsFrame};
use crate::copied_stack::{CopiedStack, OpenFunction};
use crate::file_code::FileCode;
use crate::heap_function::Heap;
use crate::sys::{self, AskedLoop};
use loopscope_agent::Moment;
use loopscope_stacks::Memory;
use std::time::Duration;

/// How long it is waited for that a stack is unwound: the tables of a large program are read the first time.
const UNWOUND_WITHIN: Duration = Duration::from_millis(60);

/// The functions of a stack, innermost first.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where each was, as V8's own walk tells it.
    pub(crate) addresses: Vec<u64>,
    /// Each function; `None` where nothing is known. What has neither name nor script is V8's own.
    pub(crate) names: Vec<Option<JsFrame>>,
    /// None is missing: the heap was read, or V8's own walk ended in a function of a script. Such a walk may miss who called V8's own
    /// code that has no frame.
    is_whole: bool,
}

/// Returns the place of the innermost function that may be of a script: V8's own may be above the program's.
pub(crate) fn innermost(names: &[Option<JsFrame>]) -> Option<usize> {
    names.iter().position(|name| name.as_ref().is_none_or(|frame| !frame.script.is_empty()))
}

impl Found {
    /// Looks for them. Code that came after `since`, where V8 told of its code before, may lie where other code was.
    pub(crate) fn of(asked: &AskedLoop, moment: &Moment, since: Option<u32>) -> Found {
        let (_, walked) = sys::sample_parts(moment.foreign.as_deref());
        let of_file = FileCode::default();
        let is_native = |address: u64| of_file.has(address);
        // Held for one address at a time.
        let function_of = |address: u64| match since {
            Some(since) => sys::lock_code(&asked.code).function_since(address as usize, since),
            None => sys::lock_code(&asked.code).function(address as usize),
        };
        let begun = begins(moment.foreign.as_deref(), walked, function_of);
        let addresses: &[u64] = &begun.into_iter().chain(walked.iter().copied()).collect::<Vec<u64>>();
        // Before the lock, which a loop that compiles takes, too.
        let native: Vec<u64> = addresses.iter().copied().filter(|address| is_native(*address)).collect();
        let by_code = |names: &[OpenFunction]| {
            sampled(&sys::lock_code(&asked.code), addresses, names, |address| native.contains(&address))
        };
        let found = |names, is_whole| Found { addresses: addresses.to_vec(), names, is_whole };
        // V8's walk misses nobody where C++ ran, and no frame pointer is kept there.
        let did_run = asked.was_in_javascript(moment.foreign.as_deref());
        if !addresses.is_empty() {
            let names = by_code(&[]);
            if names.iter().all(Option::is_some) && !is_v8s_own(&names) {
                return found(names, true);
            }
        }
        if addresses.is_empty() {
            moment.stack.wait_for_calls(UNWOUND_WITHIN);
        }
        with_objects(asked, moment, |heap| {
            let object_of = |word| heap?.function(word);
            let is_bytecode = |word| heap.is_some_and(|heap| heap.is_bytecode(word));
            let stack = CopiedStack { copy: &moment.stack, function_of, object_of, is_bytecode, is_native };
            if !addresses.is_empty() {
                let mut names = by_code(&stack.names_at(addresses));
                // V8's own code that has no frame stands in that of who called it, whom V8's walk misses then.
                let frame = sys::sample_frame(moment.foreign.as_deref()).unwrap_or_default();
                let has_frame = stack.is_v8s_own(frame);
                let missing = match (&names[0], addresses) {
                    _ if is_v8s_own(&names) && did_run && !has_frame => {
                        let by_place = || who_called(moment.foreign.as_deref(), function_of);
                        stack.function_of_frame(frame).or_else(by_place)
                    }
                    // Where it runs is not on the stack, and its frame is.
                    (None, [_, caller, ..]) => stack.called_from(frame, *caller),
                    _ => None,
                };
                names[0] = missing.or(names[0].take());
                let is_whole = heap.is_some() || !did_run || has_frame || !is_v8s_own(&names);
                return found(names, is_whole);
            }
            // A function of nobody knows where stands for all where the copy does not tell.
            let (addresses, names) =
                stack.functions().map_or((Vec::new(), vec![None]), |functions| functions.into_iter().unzip());
            Found { addresses, names, is_whole: heap.is_some() }
        })
    }

    /// Tells whether it is known which function was the innermost of a script, or that there was none.
    pub(crate) fn is_known(&self) -> bool {
        innermost(&self.names).is_none_or(|at| self.names[at].is_some())
    }

    #[cfg(test)]
    pub(crate) fn made(addresses: &[u64], names: Vec<Option<JsFrame>>, is_whole: bool) -> Found {
        Found { addresses: addresses.to_vec(), names, is_whole }
    }

    /// Tells whether one of V8's own functions was the innermost.
    pub(crate) fn is_v8s_own(&self) -> bool {
        is_v8s_own(&self.names)
    }

    /// Tells whether who called the innermost function may be missing.
    pub(crate) fn may_miss_caller(&self) -> bool {
        !self.is_whole && self.is_v8s_own()
    }

    /// Tells whether the innermost function of a script is known, and none called by it.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_known() && self.is_whole
    }

    /// Takes what is missing from a second look.
    pub(crate) fn or(self, second: Found) -> Found {
        if self.addresses != second.addresses {
            return second;
        }
        // V8's own stands for who called it until that is found.
        let or = |first: Option<JsFrame>, second: Option<JsFrame>| {
            if first.as_ref().is_some_and(|one| !one.script.is_empty()) { first } else { second.or(first) }
        };
        let names =
            self.names.into_iter().zip(second.names).map(|(first, second)| or(first, second)).collect();
        Found { names, ..second }
    }
}

/// Returns where the thread was, if that is in a function of a script whose frame is being made, so that V8's walk begins with who called
/// it.
fn begins(
    words: Option<&[u64]>,
    walked: &[u64],
    function_of: impl Fn(u64) -> Option<JsFrame>,
) -> Option<u64> {
    let place =
        sys::sample_place(words).filter(|place| walked.first().is_some_and(|first| first != place))?;
    function_of(place).is_some_and(|function| !function.script.is_empty()).then_some(place)
}

/// Returns the function of a script that has called one of V8's own, if that has no frame: V8's walk misses the caller then. By what V8
/// told of code: so it needs no object.
pub(crate) fn who_called(
    words: Option<&[u64]>,
    function_of: impl Fn(u64) -> Option<JsFrame>,
) -> Option<JsFrame> {
    let place = sys::sample_caller(words)?;
    function_of(place.wrapping_sub(1)).filter(|function| !function.script.is_empty())
}

/// Tells whether the innermost place is in V8's own code.
fn is_v8s_own(names: &[Option<JsFrame>]) -> bool {
    names.first().is_some_and(|name| name.as_ref().is_some_and(|frame| frame.script.is_empty()))
}

/// Calls `look` with V8's heap, and again without, where objects may have moved meanwhile.
fn with_objects<T>(asked: &AskedLoop, moment: &Moment, look: impl Fn(Option<&Heap<'_>>) -> T) -> T {
    let without = || look(None);
    let (Some(layout), Ok(memory)) = (sys::heap_layout(), Memory::open()) else { return without() };
    if !asked.collecting.has_rested_since(moment.at_ns) {
        return without();
    }
    let read = |address, bytes: &mut [u8]| memory.read_into(address, bytes).is_ok();
    let heap = Heap::new(layout, &read);
    let found = look(Some(&heap));
    if asked.collecting.has_rested_since(moment.at_ns) { found } else { without() }
}

/// Names the addresses of V8's walk, by what V8 told of its code, and else by their functions in `names`. Code of a file is V8's own.
pub(crate) fn sampled(
    code: &CodeMap,
    addresses: &[u64],
    names: &[OpenFunction],
    is_native: impl Fn(u64) -> bool,
) -> Vec<Option<JsFrame>> {
    let name = |address: &u64| {
        let by_heap = || names.iter().find(|(place, _)| place == address)?.1.clone();
        let known = code.function(*address as usize).or_else(by_heap);
        known.or_else(|| is_native(*address).then(JsFrame::default))
    };
    addresses.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn js(function: &str) -> JsFrame {
        JsFrame { function: function.into(), script: "/app.js".into(), line: 1, column: 1, is_start: true }
    }

    #[test]
    fn what_v8_told_is_the_name_then_what_its_heap_has_and_code_of_a_file_is_v8s_own() {
        let mut code = CodeMap::default();
        code.add(0x1000, 0x100, "JS:~told /app.js:1:1");
        let names = [(0x1010, Some(js("other"))), (0x2010, Some(js("read"))), (0x3010, None)];
        let is_native = |address| address == 0x9000;
        let found = |addresses: &[u64]| Found {
            addresses: addresses.to_vec(),
            names: sampled(&code, addresses, &names, is_native),
            is_whole: addresses[0] != 0x9000,
        };
        let whole = found(&[0x9000, 0x2010, 0x1010]);
        assert_eq!(whole.names, [Some(JsFrame::default()), Some(js("read")), Some(js("told"))]);
        assert_eq!((innermost(&whole.names), whole.is_known()), (Some(1), true), "V8's own is nobody's");
        assert!(!whole.is_sure() && found(&[0x2010, 0x1010]).is_sure(), "one between them may be missing");
        let unknown = found(&[0x9000, 0x3010, 0x1010]);
        assert_eq!((innermost(&unknown.names), unknown.is_known()), (Some(1), false));
        assert!(found(&[0x9000]).is_known(), "no function of a script ran");
    }

    #[test]
    fn a_function_whose_frame_is_being_made_runs_and_who_called_what_has_none_is_found() {
        let mut code = CodeMap::default();
        code.add(0x1000, 0x100, "JS:~told /app.js:1:1");
        code.add(0x2000, 0x100, "Builtin:NumberToString");
        let words = |place, caller| [0, 5, 6, 7, 8, 9, place, caller, 0x5000];
        let of = |address: u64| code.function(address as usize);
        let begins = |place| begins(Some(&words(place, 0)), &[0x5000], of);
        assert_eq!((begins(0x1010), begins(0x2010), begins(0x9000)), (Some(0x1010), None, None));
        assert_eq!(super::begins(Some(&words(0x1010, 0)), &[0x1010], of), None, "the walk has it");
        assert_eq!(super::begins(Some(&words(0x1010, 0)), &[], of), None, "V8 did not walk");
        let who_called = |caller| who_called(Some(&words(0x2010, caller)), of).map(|frame| frame.function);
        assert_eq!(who_called(0x1100).as_deref(), Some("told"), "the call was its last instruction");
        assert_eq!((who_called(0x1000), who_called(0x2010), who_called(0)), (None, None, None));
    }

    #[test]
    fn a_second_look_adds_what_was_missing_and_takes_nothing_away() {
        let look = |names: &[Option<JsFrame>]| Found {
            addresses: vec![1, 2],
            names: names.to_vec(),
            is_whole: true,
        };
        let (first, second) = (look(&[None, Some(js("a"))]), look(&[Some(js("b")), None]));
        assert_eq!(first.or(second).names, [Some(js("b")), Some(js("a"))]);
        let v8s_own = || Some(JsFrame::default());
        assert_eq!(
            look(&[v8s_own(), None]).or(look(&[Some(js("f")), Some(js("g"))])).names,
            [Some(js("f")), Some(js("g"))]
        );
        assert_eq!(look(&[v8s_own(), None]).or(look(&[None, None])).names, [v8s_own(), None]);
        let elsewhere = Found { addresses: vec![7], names: vec![Some(js("c"))], is_whole: true };
        assert_eq!(look(&[None, None]).or(elsewhere).names, [Some(js("c"))]);
    }
}
