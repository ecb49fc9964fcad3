//! Which function of a stack to look at first: the innermost one that is the application's own.
//!
//! ```text
//!   clock_nanosleep        C library          skipped
//!   std::thread::sleep     standard library   skipped
//!   app::parse             application        <- this one
//!   app::main::{closure}   application
//!   loopscope_loop::...    the loop itself    nothing below it is the callback's
//!   app::main, std::rt     application, std
//! ```

use crate::incident::Frame;

/// Crates that come with every Rust program.
const STANDARD: &[&str] =
    &["std::", "core::", "alloc::", "hashbrown::", "compiler_builtins::", "libc::", "backtrace::"];

/// Loops and runtimes: what they call is the application's, they themselves are not.
const PLUMBING: &[&str] =
    &["loopscope_loop::", "loopscope_probe::", "tokio::runtime::", "mio::", "polling::"];

/// Libraries that are nobody's fault.
const SYSTEM_MODULES: &[&str] = &[
    "libc.so",
    "libc-2",
    "ld-linux",
    "ld-musl",
    "libpthread",
    "libm.so",
    "libgcc_s",
    "libstdc++",
    "linux-vdso",
    "[vdso]",
];

/// Functions of a C library that is linked into the program.
const C_FUNCTIONS: &[&str] = &[
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "open",
    "open64",
    "openat",
    "close",
    "fsync",
    "connect",
    "accept",
    "accept4",
    "recv",
    "recvfrom",
    "recvmsg",
    "send",
    "sendto",
    "sendmsg",
    "poll",
    "ppoll",
    "select",
    "nanosleep",
    "clock_nanosleep",
    "usleep",
    "sleep",
    "epoll_wait",
    "epoll_pwait",
    "futex",
    "syscall",
    "malloc",
    "calloc",
    "realloc",
    "free",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
    "strlen",
    "mmap",
    "munmap",
    "madvise",
    "start_thread",
    "clone",
    "clone3",
    "raise",
    "abort",
    "waitpid",
    "wait4",
    "getaddrinfo",
    "pthread_mutex_lock",
    "pthread_cond_wait",
];

/// Returns the index of the function to look at first; `None` where all of the stack is libraries'.
pub fn guilty(frames: &[Frame]) -> Option<usize> {
    // The loop's outermost frame: what is below it started the loop, and is not what blocks it.
    let bottom = frames.iter().rposition(|frame| begins_with(&frame.function, &["loopscope_loop::"]));
    let own = &frames[..bottom.unwrap_or(frames.len())];
    let is_own = |frame: &Frame| is_application(frame) && !is_dependency(frame);
    let first = |is_it: &dyn Fn(&Frame) -> bool| own.iter().position(is_it);
    first(&is_own).or_else(|| first(&is_application)).or_else(|| first(&|frame| !is_system(frame)))
}

/// Inlined functions have no path in their names, but their files tell where they come from.
fn is_of_file(frame: &Frame, parts: &[&str]) -> bool {
    frame.file.as_ref().is_some_and(|file| parts.iter().any(|part| file.contains(part)))
}

fn is_dependency(frame: &Frame) -> bool {
    is_of_file(frame, &["/registry/src/", "/git/checkouts/"])
}

fn is_application(frame: &Frame) -> bool {
    frame.runtime.is_some()
        || !is_system(frame)
            && !is_of_file(frame, &["/rustc/", "/lib/rustlib/src/"])
            && !begins_with(&frame.function, STANDARD)
            && !begins_with(&frame.function, PLUMBING)
}

fn is_system(frame: &Frame) -> bool {
    let function = frame.function.as_str();
    let is_library = |module: &String| SYSTEM_MODULES.iter().any(|known| module.starts_with(known));
    frame.runtime.is_none()
        && (frame.module.as_ref().is_some_and(is_library)
            || function.starts_with("__")
            || function.starts_with("_start")
            || function.starts_with("rust_")
            || C_FUNCTIONS.contains(&function))
}

/// Tells whether a function is of one of `crates`. Of an implementation, `<T as Trait>::f`, both must be: a trait of the
/// application on a type of the standard library is the application's.
fn begins_with(function: &str, crates: &[&str]) -> bool {
    let is_of = |path: &str| {
        let path = path.trim_start_matches(['&', '*', '(', '[', '<']);
        let path = ["mut ", "const ", "dyn "]
            .iter()
            .fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
        crates.iter().any(|known| path.starts_with(known))
    };
    match function.strip_prefix('<').and_then(split_implementation) {
        Some((of, by)) => is_of(of) && (is_of(by) || is_generic(by)) || is_generic(of) && is_of(by),
        None => is_of(function),
    }
}

/// Splits `T as Trait>::f` at the ` as ` that is not inside of angle brackets.
fn split_implementation(inner: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    for (at, c) in inner.char_indices() {
        match c {
            '<' => depth += 1,
            // The arrow of a function's type is no bracket.
            '>' if !inner[..at].ends_with('-') => depth -= 1,
            ' ' if depth == 0 && inner[at..].starts_with(" as ") => {
                return Some((&inner[..at], &inner[at + 4..]));
            }
            _ => {}
        }
        if depth < 0 {
            break;
        }
    }
    None
}

/// A type parameter, or a primitive type: of no crate.
fn is_generic(path: &str) -> bool {
    let path = path.trim_start_matches(['&', '*', '(', '[']);
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    !path[end..].starts_with("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(functions: &[&str]) -> Vec<Frame> {
        let frame = |function: &&str| {
            let (function, module) = function.split_once(" @").unwrap_or((function, "app"));
            Frame { function: function.to_owned(), module: Some(module.to_owned()), ..Frame::default() }
        };
        functions.iter().map(frame).collect()
    }

    fn name(functions: &[&str]) -> Option<String> {
        let frames = frames(functions);
        guilty(&frames).map(|index| frames[index].function.clone())
    }

    const BOTTOM: &[&str] = &[
        "<F as loopscope_loop::callback::Call>::call",
        "loopscope_loop::run::Loop<S>::run_once",
        "app::main",
        "std::rt::lang_start::{{closure}}",
        "main",
        "__libc_start_main @libc.so.6",
    ];

    #[test]
    fn the_innermost_function_of_the_application_is_guilty() {
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
            (&["nanosleep", "std::thread::sleep"], Some("std::thread::sleep")),
            (&["sqlite3_step @libsqlite3.so.0", "app::query"], Some("sqlite3_step")),
            // The callback calls back into the loop.
            (&["write @libc.so.6", "loopscope_loop::cx::Cx<S>::write", "app::answer"], Some("app::answer")),
            (&["read @libc.so.6"], Some("<F as loopscope_loop::callback::Call>::call")),
        ] {
            let functions: Vec<&str> = top.iter().chain(BOTTOM).copied().collect();
            assert_eq!(name(&functions).as_deref(), expected, "{top:?}");
        }
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

    #[test]
    fn inlined_functions_are_told_by_their_files() {
        let mut stack = frames(&["read_exact<PipeReader>", "connect_to", "work", "app::main::{{closure}}"]);
        let files = ["/rustc/5980/library/std/src/io/mod.rs", "/x/registry/src/y/z.rs", "src/a.rs"];
        for (frame, file) in stack.iter_mut().zip(files) {
            frame.file = Some(file.to_owned());
        }
        assert_eq!(guilty(&stack), Some(2));
        assert_eq!(guilty(&stack[..2]), Some(1), "a dependency, where the stack has nothing nearer");
    }

    #[test]
    fn frames_that_a_runtime_told_are_the_application_s() {
        let mut stack = frames(&["read", "std::x"]);
        stack[0].runtime = Some("node".to_owned());
        assert_eq!(guilty(&stack), Some(0));
    }
}
