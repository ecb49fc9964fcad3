//! Which function of a stack to look at first: the innermost one that is the program's own.
//!
//! ```text
//!   clock_nanosleep        system        skipped
//!   std::thread::sleep     system        skipped
//!   app::parse             program       <- this one
//!   app::main::{closure}   program
//!   loop::run              runtime       nothing below it is the callback's
//!   app::main, std::rt     program, system
//! ```
//!
//! Code that is in no module, and that its runtime could not name, may be the innermost function of the program, and so may what the
//! runtime itself calls unknown. Then nobody is named: the function behind it, which the runtime did name, has only called it.
//!
//! A dependency is named where the callback has no code of the program's own. The standard library, the C library, locks and
//! the runtime never are: they wait or work for somebody, and a thread that has nothing but them on its stack is idle or
//! works for nobody that is known.

use crate::incident::Frame;
use crate::model::frame_owner::FrameOwner;

/// Returns the index of the function to look at first; `None` where nobody on the stack is to blame. The frames, leaf first,
/// have their owners.
pub fn guilty(frames: &[Frame]) -> Option<usize> {
    let own = &frames[..bottom(frames)];
    let first = |owner: FrameOwner| own.iter().position(|frame| frame.owner == owner && !is_unknown(frame));
    let at = first(FrameOwner::Program).or_else(|| first(FrameOwner::Dependency))?;
    // Where all that is known are libraries, the program may be what is not.
    let inner = if frames[at].owner == FrameOwner::Program { &own[..at] } else { own };
    let is_told = frames[at].runtime.is_some();
    let is_caller_only =
        inner.iter().any(|frame| frame.function == Frame::UNKNOWN || is_told && is_unknown(frame));
    (!is_caller_only).then_some(at)
}

/// Tells whether a frame is of code that nobody knows.
fn is_unknown(frame: &Frame) -> bool {
    frame.function == Frame::UNKNOWN
        || frame.module.is_none() && frame.runtime.is_none() && frame.function.starts_with("unknown+")
}

/// Returns the index of the runtime's outermost frame: what is below it started the loop, and is not what blocks it. Where
/// there is none, how many frames there are.
fn bottom(frames: &[Frame]) -> usize {
    let last = |is_told: bool| {
        let is_it = |frame: &Frame| frame.owner == FrameOwner::Runtime && frame.runtime.is_some() == is_told;
        frames.iter().rposition(is_it)
    };
    // Frames that a runtime told stand in front of the native ones, so its outermost one there may have all of these below it.
    let is_blamed = |frame: &Frame| matches!(frame.owner, FrameOwner::Program | FrameOwner::Dependency);
    let told = || last(true).filter(|at| frames[..*at].iter().any(is_blamed));
    last(false).or_else(told).unwrap_or(frames.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::frame_owner::tests::{rules, text};

    fn name(functions: &[&str]) -> Option<String> {
        let rules = rules();
        let frame = |function: &&str| {
            let text = text(function);
            let owner = FrameOwner::of(&text, &rules);
            Frame { function: text.function.to_owned(), owner, ..Frame::default() }
        };
        let frames: Vec<Frame> = functions.iter().map(frame).collect();
        guilty(&frames).map(|index| frames[index].function.clone())
    }

    const BOTTOM: &[&str] = &[
        "<F as turner::callback::Call>::call",
        "turner::run::Loop<S>::run_once",
        "app::main",
        "std::rt::lang_start::{{closure}}",
        "main",
        "__libc_start_main @libc.so.6",
    ];

    #[test]
    fn the_innermost_function_of_the_program_is_guilty() {
        for (top, expected) in [
            (&["app::sum_amounts", "app::main::{{closure}}"][..], Some("app::sum_amounts")),
            (&["clock_nanosleep @libc.so.6", "std::thread::sleep", "app::wait", "app::x"], Some("app::wait")),
            (
                &[
                    "__memset_avx2 @libc.so.6",
                    "<alloc::vec::Vec<T> as core::iter::FromIterator<T>>::from_iter",
                    "app::fill",
                ],
                Some("app::fill"),
            ),
            (&["<T as core::convert::Into<U>>::into", "app::a"], Some("app::a")),
            (
                &["<alloc::string::String as app::Wire>::encode", "app::a"],
                Some("<alloc::string::String as app::Wire>::encode"),
            ),
            (
                &["<app::Row as core::cmp::Ord>::cmp", "core::slice::sort::merge", "app::a"],
                Some("<app::Row as core::cmp::Ord>::cmp"),
            ),
            (&["sqlite3_step @libsqlite3.so.0", "app::query"], Some("sqlite3_step")),
            // The callback calls back into the loop.
            (&["write @libc.so.6", "turner::cx::Cx<S>::write", "app::answer"], Some("app::answer")),
            (&["parse #/x/registry/src/y/z.rs", "app::query"], Some("app::query")),
            (&["read", "parse #/x/registry/src/y/z.rs"], Some("parse")),
        ] {
            let functions: Vec<&str> = top.iter().chain(BOTTOM).copied().collect();
            assert_eq!(name(&functions).as_deref(), expected, "{top:?}");
        }
    }

    #[test]
    fn what_waits_or_works_for_others_is_never_guilty() {
        for top in [
            &["nanosleep", "std::thread::sleep"][..],
            &["read @libc.so.6"],
            // An idle thread of a pool.
            &[
                "syscall @libc.so.6",
                "futex_wait #/x/registry/src/y/parking_lot_core-0.9.0/src/thread_parker/linux.rs",
                "parking_lot_core::parking_lot::park::{closure#0} #/x/registry/src/y/parking_lot_core-0.9.0/src/a.rs",
                "<parking_lot::condvar::Condvar>::wait_until_internal",
                "turner::park",
            ],
            &["std::sys::sync::condvar::futex::Condvar::wait_optional_timeout", "<std::sync::Condvar>::wait"],
            &["__pthread_cond_wait", "pthread_cond_wait"],
            &["loopscope_probe::Writer::end"],
        ] {
            let functions: Vec<&str> = top.iter().chain(BOTTOM).copied().collect();
            assert_eq!(name(&functions), None, "{top:?}");
        }
    }

    #[test]
    fn frames_that_a_runtime_told_are_blamed_before_the_native_ones_behind_them() {
        let frame = |(function, owner, is_told): &(&str, FrameOwner, bool)| Frame {
            function: (*function).to_owned(),
            owner: *owner,
            runtime: is_told.then(|| "script".to_owned()),
            ..Frame::default()
        };
        let guilty = |all: &[(&str, FrameOwner, bool)]| {
            let frames: Vec<Frame> = all.iter().map(frame).collect();
            guilty(&frames).map(|index| frames[index].function.clone())
        };
        use FrameOwner::{Program, Runtime, System};
        let (read, handler) = (("readSync", Runtime, true), ("handler", Program, true));
        let (timers, addon, run) =
            (("timers", Runtime, true), ("addon::f", Program, false), ("run", Runtime, false));
        let main = ("app::main", Program, false);
        assert_eq!(guilty(&[read, handler, timers, addon, run, main]).as_deref(), Some("handler"));
        assert_eq!(guilty(&[read, handler, timers, addon, main]).as_deref(), Some("handler"));
        // The runtime's own function called native code of the program.
        assert_eq!(guilty(&[read, timers, addon, run, main]).as_deref(), Some("addon::f"));
        assert_eq!(guilty(&[timers, addon, main]).as_deref(), Some("addon::f"));
        assert_eq!(guilty(&[("epoll_wait", System, false), run, main]), None, "idle");
    }

    #[test]
    fn who_called_code_that_its_runtime_cannot_name_is_not_blamed_for_it() {
        let told = |function: &str| Frame {
            function: function.to_owned(),
            runtime: Some("script".to_owned()),
            ..Frame::default()
        };
        let unknown =
            Frame { function: "unknown+0x1000".to_owned(), owner: FrameOwner::System, ..Frame::default() };
        let native = Frame { function: "app::run".to_owned(), ..Frame::default() };
        assert_eq!(guilty(&[unknown.clone(), told("caller")]), None);
        assert_eq!(guilty(&[told("spin"), told("caller"), unknown.clone(), told("caller")]), Some(0));
        assert_eq!(guilty(&[unknown, native.clone()]), Some(1), "native code is named, or in no module");
        // Also where the runtime itself says that it does not know it, which is not a name to blame.
        let nameless = told(Frame::UNKNOWN);
        assert_eq!(guilty(&[nameless.clone(), told("caller")]), None);
        assert_eq!(guilty(&[nameless.clone(), native.clone()]), None, "native code has called it, too");
        assert_eq!(guilty(&[native, nameless.clone()]), Some(0));
        assert_eq!(guilty(&[told("spin"), nameless.clone()]), Some(0));
        let library = Frame { owner: FrameOwner::Dependency, ..told("map") };
        assert_eq!(
            guilty(&[library.clone(), nameless.clone()]),
            None,
            "it may be the program's that has called it"
        );
        assert_eq!(guilty(&[library.clone(), told("caller"), nameless]), Some(1));
        assert_eq!(guilty(&[library]), Some(0));
    }

    #[test]
    fn without_a_known_loop_the_whole_stack_counts() {
        assert_eq!(
            name(&["core::hint::spin_loop", "program::work", "program::main"]).as_deref(),
            Some("program::work")
        );
        assert_eq!(name(&["read @libc.so.6"]), None);
        assert_eq!(name(&[]), None);
    }
}
