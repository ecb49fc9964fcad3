//! Names for code that no file holds: what a runtime compiled while it ran, and functions that it interprets.
//!
//! A native stack has the addresses of such code, and no symbol table knows them. Whoever made the code does. It is asked by
//! incidents and by sampled flamegraphs, for many stacks at once, on the thread that names them.

use loopscope_report::incident::Frame;
use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Names calls of a runtime's own code on native stacks.
pub trait AddressSource: Send + Sync {
    /// Returns, for each of the stacks, the frame that stands for each of its calls: `None` where the native name is as good. An
    /// interpreted function that has no name is [`Frame::UNKNOWN`]: who called it is not blamed for it.
    ///
    /// Asked for stacks with at least one address that is in no module, or with words of the sampler: at most 256 at
    /// once, on a thread of the agent's that waits for the answer, so it must not wait for a loop. Of an incident
    /// some ms after the stack was taken, of a flamegraph at its end: code that was moved or thrown away meanwhile
    /// has to be remembered. Where it panics, or answers with other numbers of stacks or calls, the native names
    /// stay.
    fn names_of(&self, stacks: &[AddressStack<'_>]) -> Vec<Vec<Option<Frame>>>;
}

/// A native stack, of which some calls may be the runtime's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressStack<'a> {
    /// The calls, leaf first.
    pub calls: Vec<AddressCall<'a>>,
    /// What the process's sampler (`loopscope_stacks::set_sampler`) found at the instant of the stack, so that a call of an
    /// interpreter gets the function that it interpreted. `None` where it was not called.
    pub foreign: Option<&'a [u64]>,
}

/// One call on a native stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressCall<'a> {
    /// Where the thread was, exactly for the leaf; of the others the return address, just behind the call.
    pub address: u64,
    /// The function, where the address is in a module: the program's or a library's. `None` where no file holds the code.
    pub function: Option<&'a str>,
}

/// Stacks that a source is asked for at once.
pub(crate) const BATCH: usize = 256;

/// Sources by runtime.
#[derive(Clone, Default)]
pub(crate) struct AddressSources {
    known: HashMap<String, Arc<dyn AddressSource>>,
}

impl AddressSources {
    /// Adds a source, in place of the runtime's earlier one.
    pub(crate) fn set(&mut self, runtime: &str, source: Arc<dyn AddressSource>) {
        self.known.insert(runtime.to_owned(), source);
    }

    /// Whether the runtime has a source.
    pub(crate) fn has(&self, runtime: &str) -> bool {
        self.known.contains_key(runtime)
    }

    /// Returns the frames of a runtime's own calls on stacks of its loops: empty for a stack that has none.
    ///
    /// # Errors
    /// Says why there are none: the source panicked, or its answer does not fit.
    pub(crate) fn names(
        &self,
        runtime: &str,
        stacks: &[AddressStack<'_>],
    ) -> Result<Vec<Vec<Option<Frame>>>, String> {
        let mut names = vec![Vec::new(); stacks.len()];
        let Some(source) = self.known.get(runtime) else { return Ok(names) };
        let asked: Vec<usize> = (0..stacks.len()).filter(|index| is_asked_for(&stacks[*index])).collect();
        for batch in asked.chunks(BATCH) {
            let part: Vec<AddressStack<'_>> = batch.iter().map(|index| stacks[*index].clone()).collect();
            // The host's code: its faults are not the agent's.
            let answer = catch_unwind(AssertUnwindSafe(|| source.names_of(&part)))
                .map_err(|_| format!("the address source of runtime {runtime} panicked"))?;
            let fits = answer.len() == part.len()
                && answer.iter().zip(&part).all(|(frames, stack)| frames.len() == stack.calls.len());
            if !fits {
                return Err(format!("the address source of runtime {runtime} returned too few answers"));
            }
            for (index, frames) in batch.iter().zip(answer) {
                names[*index] =
                    frames.into_iter().map(|frame| frame.map(|frame| of_runtime(frame, runtime))).collect();
            }
        }
        Ok(names)
    }
}

impl fmt::Debug for AddressSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.keys()).finish()
    }
}

fn is_asked_for(stack: &AddressStack<'_>) -> bool {
    stack.foreign.is_some_and(|words| !words.is_empty())
        || stack.calls.iter().any(|call| call.function.is_none())
}

/// Says whose frame it is, where its source did not.
pub(crate) fn of_runtime(mut frame: Frame, runtime: &str) -> Frame {
    frame.runtime.get_or_insert_with(|| runtime.to_owned());
    frame
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Names what is in no module after its address and the sampler's words, and keeps how many stacks it was asked
    /// for at once.
    #[derive(Default)]
    pub(crate) struct Jit {
        pub batches: Mutex<Vec<usize>>,
    }

    impl AddressSource for Jit {
        fn names_of(&self, stacks: &[AddressStack<'_>]) -> Vec<Vec<Option<Frame>>> {
            self.batches.lock().unwrap().push(stacks.len());
            let name = |stack: &AddressStack<'_>, call: &AddressCall<'_>| {
                let words = stack.foreign.unwrap_or_default();
                let function = format!("jit {:#x} {words:?}", call.address);
                let frame =
                    Frame { function, file: Some("app.js".into()), line: Some(3), ..Frame::default() };
                call.function.is_none().then_some(frame)
            };
            stacks.iter().map(|stack| stack.calls.iter().map(|call| name(stack, call)).collect()).collect()
        }
    }

    /// Answers with what it is given.
    struct Fixed(Vec<Vec<Option<Frame>>>);

    impl AddressSource for Fixed {
        fn names_of(&self, _: &[AddressStack<'_>]) -> Vec<Vec<Option<Frame>>> {
            assert!(!self.0.is_empty(), "this source panics");
            self.0.clone()
        }
    }

    fn stack<'a>(calls: &[(u64, Option<&'a str>)], foreign: Option<&'a [u64]>) -> AddressStack<'a> {
        let calls = calls.iter().map(|&(address, function)| AddressCall { address, function }).collect();
        AddressStack { calls, foreign }
    }

    #[test]
    fn only_stacks_with_code_of_a_runtime_are_asked_for_and_in_batches() {
        let jit = Arc::new(Jit::default());
        let mut sources = AddressSources::default();
        sources.set("node", jit.clone());
        let native = stack(&[(1, Some("read"))], None);
        assert_eq!(sources.names("node", std::slice::from_ref(&native)).unwrap(), [vec![]]);
        let mixed = stack(&[(1, Some("read")), (2, None)], Some(&[9]));
        let mut many = vec![mixed; BATCH + 1];
        many.insert(1, native);
        let names = sources.names("node", &many).unwrap();
        assert_eq!(*jit.batches.lock().unwrap(), [BATCH, 1]);
        assert!(names[1].is_empty() && names[0][0].is_none());
        let last = names[BATCH + 1][1].as_ref().unwrap();
        assert_eq!((last.function.as_str(), last.runtime.as_deref()), ("jit 0x2 [9]", Some("node")));
        assert_eq!(sources.names("mio", &many).unwrap()[0], [], "a runtime without a source");
    }

    #[test]
    fn an_answer_that_does_not_fit_is_no_answer() {
        let ask = |answer| {
            let mut sources = AddressSources::default();
            sources.set("node", Arc::new(Fixed(answer)));
            sources.names("node", &[stack(&[(1, None), (2, None)], None)])
        };
        assert!(ask(vec![]).unwrap_err().contains("panicked"));
        for answer in [vec![vec![None]], vec![vec![None, None], vec![]]] {
            assert!(ask(answer).unwrap_err().contains("returned too few answers"));
        }
        assert_eq!(ask(vec![vec![None, None]]).unwrap(), [vec![None, None]]);
    }
}
