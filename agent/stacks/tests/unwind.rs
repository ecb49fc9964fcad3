//! Stacks of known shape are found whole, and their functions named.

mod support;

use loopscope_stacks::{
    Capturer, Detail, NativeFrame, RawStack, Registers, Sample, SampleSource, Symbolizer, Target, Unwinder,
};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{WITHIN, is_whole, named, start, until};

/// Captures the calling thread, and names what was found.
#[inline(never)]
fn capture_here(detail: Detail) -> (RawStack, Vec<NativeFrame>) {
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    let sample = capturer.capture(WITHIN).unwrap();
    named(&sample, detail)
}

#[inline(never)]
fn recursion(depth: u32, detail: Detail) -> (RawStack, Vec<NativeFrame>) {
    // Black boxes keep the compiler from making a loop, or a jump, of it.
    if depth == 0 {
        return black_box(capture_here(detail));
    }
    black_box(recursion(black_box(depth - 1), detail))
}

fn count(frames: &[NativeFrame], function: &str) -> usize {
    frames.iter().filter(|frame| frame.function == function).count()
}

#[test]
fn every_frame_of_a_recursion_is_found_and_named() {
    for depth in [1, 10, 70, 200] {
        let (stack, frames) = recursion(depth, Detail::Symbols);
        assert!(is_whole(&stack), "depth {depth}: {frames:#?}");
        assert_eq!(count(&frames, "unwind::recursion"), depth as usize + 1, "{frames:#?}");
        assert_eq!(count(&frames, "unwind::capture_here"), 1);
    }
}

#[test]
fn debug_information_tells_lines_and_inlined_calls() {
    #[inline(always)]
    fn inlined() -> (Vec<NativeFrame>, u32) {
        let (_, frames) = capture_here(Detail::Lines);
        (frames, line!() - 1)
    }
    #[inline(never)]
    fn caller() -> (Vec<NativeFrame>, u32, u32) {
        let (frames, line) = inlined();
        (frames, line, line!() - 1)
    }
    let (frames, line, called) = caller();
    // Debug information of lines only has no path for it: its file does. A full one has also the function that it is in.
    let is_it = |name: &str| name.starts_with("unwind::") && name.ends_with("::inlined");
    let at = frames.iter().position(|frame| is_it(&frame.function));
    let at = at.unwrap_or_else(|| panic!("{frames:#?}"));
    assert!(frames[at].is_inlined && !frames[at + 1].is_inlined, "{frames:#?}");
    let column = "        let (_, frames) = capture_here".find("capture_here").map(|at| at as u32 + 1);
    assert_eq!((frames[at].line, frames[at].column), (Some(line), column));
    assert!(frames[at].file.as_ref().unwrap().ends_with("tests/unwind.rs"), "{frames:#?}");
    assert!(frames[at + 1].function.ends_with("tells_lines_and_inlined_calls::caller"));
    assert_eq!(frames[at + 1].line, Some(called));
}

#[test]
fn the_fingerprint_is_of_calls_and_not_of_the_instruction() {
    let (first, _) = recursion(3, Detail::Symbols);
    let (deeper, _) = recursion(4, Detail::Symbols);
    let unwinder = Unwinder::new();
    let mut moved = first.clone();
    moved.addresses[0] += 1;
    assert_eq!(first.fingerprint(unwinder.modules()), moved.fingerprint(unwinder.modules()));
    assert_ne!(first.fingerprint(unwinder.modules()), deeper.fingerprint(unwinder.modules()));
}

#[test]
fn a_stack_larger_than_the_copy_is_cut_at_the_root() {
    #[inline(never)]
    fn large(depth: u32) -> (RawStack, Vec<NativeFrame>) {
        let room = black_box([0_u8; 64 * 1024]);
        let found =
            if depth == 0 { capture_here(Detail::Symbols) } else { black_box(large(black_box(depth - 1))) };
        black_box(&room);
        found
    }
    let (stack, frames) = large(3);
    assert!(stack.is_cut && !stack.is_complete, "{frames:#?}");
    // Above musl's call, which has no tables, a search begins, and where the root is missing it has nothing to hold on to: it may
    // find frames of earlier calls, and says that it guessed.
    if cfg!(target_env = "musl") {
        assert!(stack.is_guessed, "{frames:#?}");
        return;
    }
    assert_eq!(count(&frames, "unwind::capture_here"), 1);
    let count_of_large = frames.iter().filter(|frame| frame.function.ends_with("::large")).count();
    assert!((1..4).contains(&count_of_large), "{frames:#?}");
}

#[inline(never)]
fn sleeps(is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(1));
    }
    black_box(());
}

/// Forgets what is not known of a thread that is read while it sleeps.
fn without_frame_pointer(sample: &Sample) -> Sample {
    let registers = Registers { fp: 0, lr: 0, ..sample.registers };
    Sample { registers, source: SampleSource::Memory, ..sample.clone() }
}

#[test]
fn a_sleeping_thread_is_unwound_without_its_frame_pointer() {
    let is_over = Arc::new(AtomicBool::new(false));
    let theirs = is_over.clone();
    let (target, thread) = start(move || sleeps(&theirs));
    let mut capturer = Capturer::attach(target).unwrap();
    let mut unwinder = Unwinder::new();
    // The signal may come before it sleeps, or between two sleeps.
    until("it sleeps", || {
        let sample = capturer.capture(WITHIN).unwrap();
        let frames = Symbolizer::new(Detail::Symbols).name(&unwinder.unwind(&sample), unwinder.modules());
        let names: Vec<&str> = frames.iter().map(|frame| frame.function.as_str()).collect();
        // musl's functions that wait have no table.
        if !["nanosleep", "sccp", "__syscall_cp_c"].iter().any(|name| names[0].contains(name)) {
            return false;
        }
        let with = unwinder.unwind(&sample);
        let without = unwinder.unwind(&without_frame_pointer(&sample));
        if cfg!(target_env = "musl") {
            // Either is a guess.
            let frames = Symbolizer::new(Detail::Symbols).name(&without, unwinder.modules());
            assert_eq!(count(&frames, "unwind::sleeps"), 1, "{names:#?} {frames:#?}");
            return true;
        }
        assert_eq!(without.addresses, with.addresses, "{names:#?}");
        assert_eq!((without.is_complete, without.is_guessed), (with.is_complete, with.is_guessed));
        true
    });
    is_over.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
