//! Which frames of a sampled stack are the loop's own plumbing, from the thread's start to the callback.
//!
//! A stack already says loop, phase and site in its first frames, so the functions that led there (the C library's
//! start, `main`, the loop's `run`, the closures that call a callback) only push the interesting part out of sight.
//!
//! ```text
//!   _start main app::main  | loopscope_loop::...::run  core::ops::FnOnce::call_once | app::on_read  app::parse
//!   before the loop: out   | the loop and its shims: out                            | kept
//! ```
//!
//! Where no function of a loop is recognised, all frames are kept.

/// Beginnings of the names of functions that are a loop's own.
const LOOPS: [&str; 7] = [
    "loopscope_loop::",
    "loopscope_probe::",
    "loopscope_tokio::",
    "tokio::runtime::",
    "uv_run",
    "uv__",
    "node::",
];

/// Folders of the sources of loops: debug information may know a function by its bare name only.
const LOOP_FOLDERS: [&str; 3] = ["loop/engine/src/", "loop/probe/src/", "/loopscope-loop-"];

/// Beginnings of the names of functions that stand between a loop and a callback.
const SHIMS: [&str; 9] = [
    "core::ops::function::",
    "alloc::boxed::",
    "core::panic::",
    "std::panic::",
    "std::panicking::",
    "std::sys::backtrace::",
    "std::thread::",
    "__rust_try",
    "call_once",
];

/// Folders of the sources of the standard library.
const SHIM_FOLDERS: [&str; 3] = ["/library/core/", "/library/std/", "/library/alloc/"];

/// What is known of a function: its name, and its source file, which may be empty.
pub(crate) type Function<'a> = (&'a str, &'a str);

/// Returns how many frames from the root are plumbing. `functions` are those of a whole stack, the root first;
/// `is_in_callback` tells whether a callback ran, without which the loop's own functions are what there is to see.
pub fn depth(functions: &[Function<'_>], is_in_callback: bool) -> usize {
    let Some(first) = functions.iter().position(is_loop) else { return 0 };
    let inner = &functions[first..];
    let length = inner.iter().position(|function| !is_loop(function) && !is_shim(function));
    match length {
        Some(length) if is_in_callback => first + length,
        _ => first,
    }
}

fn is_loop((name, file): &Function<'_>) -> bool {
    let path = implementor(name);
    LOOPS.iter().any(|begin| path.starts_with(begin))
        || LOOP_FOLDERS.iter().any(|folder| file.contains(folder))
}

fn is_shim((name, file): &Function<'_>) -> bool {
    let path = implementor(name);
    SHIMS.iter().any(|begin| path.starts_with(begin))
        || SHIM_FOLDERS.iter().any(|folder| file.contains(folder))
}

/// Returns the path that a name begins with: `<alloc::boxed::Box<F> as FnOnce>::call_once` is of `alloc`.
fn implementor(name: &str) -> &str {
    name.trim_start_matches(['<', '&', '*']).trim_start_matches("dyn ").trim_start_matches("mut ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(names: &[&'static str]) -> Vec<Function<'static>> {
        names.iter().map(|name| (*name, "")).collect()
    }

    #[test]
    fn everything_up_to_the_callback_is_plumbing() {
        let stack = plain(&[
            "_start",
            "main",
            "app::main",
            "<loopscope_loop::core::Loop<()>>::run",
            "<alloc::boxed::Box<dyn FnOnce> as core::ops::function::FnOnce>::call_once",
            "loopscope_loop::io::dispatch::{{closure}}",
            "app::on_read",
            "loopscope_loop::core::Cx::after",
            "alloc::vec::push",
        ]);
        assert_eq!(depth(&stack, true), 6);
        assert_eq!(depth(&stack[..6], true), 3, "only plumbing: the loop's own functions are shown");
        assert_eq!(depth(&stack, false), 3);
    }

    #[test]
    fn a_stack_without_a_known_loop_is_kept() {
        assert_eq!(depth(&plain(&["_start", "app::main", "app::work"]), true), 0);
        assert_eq!(depth(&[], true), 0);
    }

    #[test]
    fn bare_names_are_known_by_their_files() {
        let stack = [
            ("clone3", ""),
            ("app::main", "src/main.rs"),
            ("run<()>", "/build/loop/engine/src/core.rs"),
            ("call_once<closure>", "/rustc/abc/library/core/src/ops/function.rs"),
            ("{closure#0}", "src/main.rs"),
        ];
        assert_eq!(depth(&stack, true), 4);
    }
}
