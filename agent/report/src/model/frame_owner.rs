//! Whose a function on a stack is: decided in one place, for incidents, their guilty function, and flamegraphs.
//!
//! What every Rust program has is known here: the standard library, the C library, locks, and registries of crates.
//! What a runtime's own code looks like, the runtime says in its description
//! ([`Description::frame_rules`](loopscope_probe::description::Description::frame_rules)). What no rule knows is the
//! program's.
//!
//! ```text
//!   rules of the runtime's description, in order    runtime, dependency, loopscope
//!   crates of loopscope                             loopscope
//!   standard library, C library, locks              system
//!   folders of registries                           dependency
//!   the rest                                        program
//! ```

use loopscope_probe::description::{FramePart, FrameRule, Owner};
use serde::{Deserialize, Serialize};

/// Whose a function is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FrameOwner {
    /// The program's own, or not known.
    #[default]
    Program,
    /// A library's: to blame only where none of the program's own code is on the stack.
    Dependency,
    /// The runtime's, which calls the program.
    Runtime,
    /// The standard library's, the C library's, a lock's, or code that is in no module and that no runtime names. Never to
    /// blame.
    System,
    /// Ours.
    Loopscope,
}

/// What is known of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameText<'a> {
    /// Its demangled name.
    pub function: &'a str,
    /// Its source file.
    pub file: Option<&'a str>,
    /// The file name of the program or library that it is in.
    pub module: Option<&'a str>,
    /// A runtime told it: it is on no native stack.
    pub is_told: bool,
}

impl FrameOwner {
    /// Returns whose a function is, by the rules of the runtime on whose stack it is.
    pub fn of(frame: &FrameText<'_>, rules: &[FrameRule]) -> FrameOwner {
        if let Some(rule) = rules.iter().find(|rule| fits(rule, frame)) {
            return match rule.owner {
                Owner::Runtime => FrameOwner::Runtime,
                Owner::Loopscope => FrameOwner::Loopscope,
                // Whoever else there may be, it is not the program.
                _ => FrameOwner::Dependency,
            };
        }
        match () {
            // Names and files of the tables below are those of native code.
            () if frame.is_told => FrameOwner::Program,
            () if is_path_of(frame.function, OWN_CRATES) || is_in(frame.file, OWN_FOLDERS) => {
                FrameOwner::Loopscope
            }
            () if is_system(frame) => FrameOwner::System,
            () if is_in(frame.file, DEPENDENCY_FOLDERS) => FrameOwner::Dependency,
            () => FrameOwner::Program,
        }
    }

    /// Whether it is the program's own.
    pub fn is_program(&self) -> bool {
        *self == FrameOwner::Program
    }
}

/// Crates of ours that stand beside a loop. Those that are loops, or adapters of some, describe themselves.
const OWN_CRATES: &[&str] = &[
    "loopscope_probe::",
    "loopscope_spans::",
    "loopscope_agent::",
    "loopscope_stacks::",
    "loopscope_report::",
    "loopscope_http::",
    "loopscope_host::",
];

/// Folders of the sources of those that run on a loop's thread: in this project, in a registry, and among vendored
/// crates. The compiler puts most of their functions into their callers, and lines alone do not tell whose a
/// function's bare name is.
const OWN_FOLDERS: &[&str] = &[
    "loop/probe/src/",
    "/loopscope-probe-",
    "loopscope-probe/src/",
    "agent/spans/src/",
    "/loopscope-spans-",
    "loopscope-spans/src/",
    "agent/stacks/src/",
    "/loopscope-stacks-",
    "loopscope-stacks/src/",
];

/// Crates that come with every Rust program.
const STANDARD_CRATES: &[&str] =
    &["std::", "core::", "alloc::", "test::", "hashbrown::", "compiler_builtins::", "libc::", "backtrace::"];

/// Crates whose functions wait for somebody else, or hand out a lock.
const LOCK_CRATES: &[&str] = &["parking_lot::", "parking_lot_core::", "lock_api::", "atomic_wait::"];

/// Folders of the standard library's sources, and of the crates in it.
const STANDARD_FOLDERS: &[&str] = &["/rustc/", "/lib/rustlib/src/", "/rust/deps/"];

/// Folders in which cargo keeps the sources of dependencies.
const DEPENDENCY_FOLDERS: &[&str] = &["/registry/src/", "/git/checkouts/"];

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

/// Beginnings of the names of functions of a C library, or of the compiler, that are linked into the program.
const C_BEGINNINGS: &[&str] = &["__", "_start", "rust_", "pthread_", "sem_", "futex"];

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
];

fn is_system(frame: &FrameText<'_>) -> bool {
    let Some(module) = frame.module else { return true };
    let begins = |text: &str, beginnings: &[&str]| beginnings.iter().any(|known| text.starts_with(known));
    begins(module, SYSTEM_MODULES)
        || begins(frame.function, C_BEGINNINGS)
        || C_FUNCTIONS.contains(&frame.function)
        || is_in(frame.file, STANDARD_FOLDERS)
        || is_path_of(frame.function, STANDARD_CRATES)
        || is_path_of(frame.function, LOCK_CRATES)
}

/// Inlined functions may have no path in their names, but their files tell where they come from.
fn is_in(file: Option<&str>, folders: &[&str]) -> bool {
    file.is_some_and(|file| folders.iter().any(|folder| file.contains(folder)))
}

fn fits(rule: &FrameRule, frame: &FrameText<'_>) -> bool {
    let text = rule.text.as_str();
    match rule.part {
        // An empty text would fit everything.
        _ if text.is_empty() => false,
        FramePart::Function => is_path_of(frame.function, &[text]),
        FramePart::File => is_in(frame.file, &[text]),
        FramePart::Module => frame.module.is_some_and(|module| module.starts_with(text)),
        _ => false,
    }
}

/// Tells whether a function's path begins with one of `beginnings`. Of an implementation, `<T as Trait>::f`, both must, save
/// what is of no crate or of the standard library: a trait of the program on a type of another crate is the program's.
fn is_path_of(function: &str, beginnings: &[&str]) -> bool {
    let is_of = |path: &str| begins_with(path, beginnings);
    let is_neutral = |path: &str| is_generic(path) || begins_with(path, STANDARD_CRATES);
    match function.strip_prefix('<').and_then(split_implementation) {
        Some((of, by)) => (is_of(of) && (is_of(by) || is_neutral(by))) || (is_neutral(of) && is_of(by)),
        None => is_of(function),
    }
}

fn begins_with(path: &str, beginnings: &[&str]) -> bool {
    let path = without_marks(path);
    beginnings.iter().any(|known| path.starts_with(known))
}

/// Returns a type's path without what may stand before it.
fn without_marks(path: &str) -> &str {
    let path = path.trim_start_matches(['&', '*', '(', '[', '<']);
    ["mut ", "const ", "dyn "].iter().fold(path, |path, word| path.strip_prefix(word).unwrap_or(path))
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

/// Returns the crate, or the outermost namespace, that a function's path begins with. Of an implementation, that of the type, where
/// it is one of its own, else that of the trait. `None` of a name without a path.
pub fn crate_of(function: &str) -> Option<&str> {
    match function.strip_prefix('<').and_then(split_implementation) {
        Some((of, by)) => {
            let own = outermost(of).filter(|_| !begins_with(of, STANDARD_CRATES));
            own.or_else(|| outermost(by)).or_else(|| outermost(of))
        }
        None => outermost(function),
    }
}

fn outermost(path: &str) -> Option<&str> {
    let (name, _) = without_marks(path).split_once("::")?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
}

/// A type parameter, or a primitive type: of no crate.
fn is_generic(path: &str) -> bool {
    let path = path.trim_start_matches(['&', '*', '(', '[']);
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    !path[end..].starts_with("::")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use loopscope_probe::description::Description;

    /// Rules as a runtime in Rust has them.
    pub(crate) fn rules() -> Vec<FrameRule> {
        let rules = [
            (Owner::Dependency, FramePart::Function, "turner::extra::"),
            (Owner::Runtime, FramePart::Function, "turner::"),
            (Owner::Runtime, FramePart::File, "loop/turner/src/"),
            (Owner::Runtime, FramePart::Module, "libturner.so"),
            (Owner::Loopscope, FramePart::Function, "loopscope_turner::"),
            (Owner::Runtime, FramePart::File, "turner:"),
            (Owner::Runtime, FramePart::Function, ""),
        ];
        let add = |runtime: Description, (owner, part, text): (Owner, FramePart, &str)| {
            runtime.frames(owner, part, text)
        };
        rules.into_iter().fold(Description::new(), add).frame_rules().to_vec()
    }

    /// A function as `name @module #file`, both of them optional.
    pub(crate) fn text(text: &str) -> FrameText<'_> {
        let (text, file) = text.split_once(" #").map_or((text, None), |(text, file)| (text, Some(file)));
        let (function, module) = text.split_once(" @").unwrap_or((text, "app"));
        FrameText { function, file, module: Some(module), is_told: false }
    }

    #[test]
    fn every_frame_has_one_owner() {
        use FrameOwner::{Dependency, Loopscope, Program, Runtime, System};
        for (frame, expected) in [
            ("app::parse #src/main.rs", Program),
            ("sqlite3_step @libsqlite3.so.0", Program),
            ("<alloc::string::String as app::Wire>::encode", Program),
            ("<app::Row as core::cmp::Ord>::cmp", Program),
            ("<app::Task as turner::Run>::run", Program),
            ("turner::run", Runtime),
            ("<turner::core::Loop<()>>::run", Runtime),
            ("<F as turner::Call>::call", Runtime),
            ("<alloc::boxed::Box<F> as turner::Call>::call", Runtime),
            ("turn #/build/loop/turner/src/core.rs", Runtime),
            ("anything @libturner.so.3", Runtime),
            ("turner::extra::f", Dependency),
            ("serde_json::from_str #/x/registry/src/y/serde_json-1.0.0/src/de.rs", Dependency),
            ("hidden #/x/git/checkouts/y/z/src/de.rs", Dependency),
            ("loopscope_probe::Writer::begin", Loopscope),
            ("loopscope_turner::hook", Loopscope),
            // Inlined, with a bare name or one that the file's folder gave it.
            ("end #loop/probe/src/writer.rs", Loopscope),
            ("writer::end #/build/loop/probe/src/writer.rs", Loopscope),
            ("read #/x/registry/src/y/loopscope-probe-0.1.0/src/cycle_counter.rs", Loopscope),
            ("on_enter #/app/vendor/loopscope-spans/src/layer.rs", Loopscope),
            ("end #/app/loop/src/writer.rs", Program),
            ("std::thread::sleep", System),
            ("{closure#0} #/rustc/5/library/std/src/io/mod.rs", System),
            ("<alloc::vec::Vec<T> as core::iter::FromIterator<T>>::from_iter", System),
            ("clock_nanosleep @libc.so.6", System),
            ("read", System),
            ("pthread_cond_timedwait", System),
            (
                "parking_lot_core::thread_parker::imp::ThreadParker::futex_wait #/x/registry/src/y/p-1.0.0/src/a.rs",
                System,
            ),
            ("<parking_lot::Mutex<T>>::lock", System),
            ("<parking_lot::raw_mutex::RawMutex as lock_api::mutex::RawMutex>::lock", System),
        ] {
            assert_eq!(FrameOwner::of(&text(frame), &rules()), expected, "{frame}");
        }
    }

    #[test]
    fn a_path_tells_the_crate_it_begins_with() {
        for (function, expected) in [
            ("hyper::proto::h1::dispatch::Dispatcher<D,Bs,I,T>::poll_loop", Some("hyper")),
            ("<tower::util::oneshot::Oneshot<S,Req> as core::future::future::Future>::poll", Some("tower")),
            ("<tower::util::Oneshot<S>>::poll", Some("tower")),
            ("<F as futures_util::fns::FnOnce1<A>>::call_once", Some("futures_util")),
            ("<core::pin::Pin<P> as core::future::future::Future>::poll", Some("core")),
            ("<alloc::boxed::Box<F> as hyper::rt::Executor>::execute", Some("hyper")),
            ("<&mut dyn h2::Frame>::load", Some("h2")),
            ("poll<app::Task>", None),
            ("{closure#0}", None),
            ("", None),
        ] {
            assert_eq!(crate_of(function), expected, "{function}");
        }
    }

    #[test]
    fn code_that_is_in_no_module_is_nobody_s_unless_a_runtime_told_it() {
        let unknown = FrameText { function: "unknown+0x1000", ..FrameText::default() };
        assert_eq!(FrameOwner::of(&unknown, &rules()), FrameOwner::System);
        // A function of another language may be called like one of the C library.
        let told = |function, file| FrameText { function, file: Some(file), module: None, is_told: true };
        assert_eq!(FrameOwner::of(&told("read", "/app/server.js"), &rules()), FrameOwner::Program);
        assert_eq!(FrameOwner::of(&told("read", "turner:fs"), &rules()), FrameOwner::Runtime);
    }

    #[test]
    fn without_rules_a_runtime_is_taken_for_the_program_or_a_dependency() {
        assert_eq!(FrameOwner::of(&text("turner::run"), &[]), FrameOwner::Program);
    }
}
