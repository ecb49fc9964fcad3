//! Which frames of a stack are the loop's own plumbing, from the thread's start to the callback.
//!
//! A stack already says loop, phase and site in its first frames, so the functions that led there (the C library's
//! start, `main`, the loop's `run`, the closures that call a callback) only push the interesting part out of sight.
//!
//! ```text
//!   _start main app::main  | loop::run  core::ops::FnOnce::call_once | app::on_read  app::parse
//!   before the loop: out   | the loop and what it calls with: out    | kept
//! ```
//!
//! Where no function of a runtime is recognised, all frames are kept.

use crate::model::frame_owner::FrameOwner;

/// Returns how many frames from the root are plumbing. `owners` are those of a whole stack, the root first;
/// `is_in_callback` tells whether a callback ran, without which the runtime's own functions are what there is to see.
pub fn depth(owners: &[FrameOwner], is_in_callback: bool) -> usize {
    let is_runtime = |owner: &FrameOwner| matches!(owner, FrameOwner::Runtime | FrameOwner::Loopscope);
    let Some(first) = owners.iter().position(|owner| *owner == FrameOwner::Runtime) else { return 0 };
    if !is_in_callback {
        return first;
    }
    let is_callback = |owner: &FrameOwner| !is_runtime(owner) && *owner != FrameOwner::System;
    let callback = owners[first..].iter().position(is_callback).map(|length| first + length);
    // A callback may be a function of the standard library.
    let behind_runtime = || owners.iter().rposition(is_runtime).map(|last| last + 1);
    let begin = callback.or_else(behind_runtime).filter(|begin| *begin < owners.len());
    begin.unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::frame_owner::tests::{rules, text};

    fn depth_of(frames: &[&str], is_in_callback: bool) -> usize {
        let rules = rules();
        let owners: Vec<FrameOwner> =
            frames.iter().map(|frame| FrameOwner::of(&text(frame), &rules)).collect();
        depth(&owners, is_in_callback)
    }

    #[test]
    fn everything_up_to_the_callback_is_plumbing() {
        let stack = [
            "_start",
            "main",
            "app::main",
            "<turner::core::Loop<()>>::run",
            "<alloc::boxed::Box<dyn FnOnce> as core::ops::function::FnOnce>::call_once",
            "turner::io::dispatch::{{closure}}",
            "app::on_read",
            "turner::core::Cx::after",
            "alloc::vec::push",
        ];
        assert_eq!(depth_of(&stack, true), 6);
        assert_eq!(depth_of(&stack[..6], true), 3, "only plumbing: the loop's own functions are shown");
        assert_eq!(depth_of(&stack, false), 3);
    }

    #[test]
    fn a_callback_of_the_standard_library_is_kept() {
        let stack = ["app::main", "turner::run", "turner::call", "std::thread::sleep", "nanosleep"];
        assert_eq!(depth_of(&stack, true), 3);
    }

    #[test]
    fn a_stack_without_a_known_loop_is_kept() {
        assert_eq!(depth_of(&["_start", "app::main", "app::work"], true), 0);
        assert_eq!(depth_of(&[], true), 0);
    }

    #[test]
    fn bare_names_are_known_by_their_files() {
        let stack = [
            "clone3",
            "app::main #src/main.rs",
            "run<()> #/build/loop/turner/src/core.rs",
            "call_once<closure> #/rustc/abc/library/core/src/ops/function.rs",
            "{closure#0} #src/main.rs",
        ];
        assert_eq!(depth_of(&stack, true), 4);
    }
}
