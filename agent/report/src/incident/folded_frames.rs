//! A stack as people read it: the program's own frames, and runs of others as one line that names their packages.
//!
//! A request of an async program passes through dozens of functions of its libraries, between and around the few of the program
//! that say what it does. What the program called stays as well, and the innermost function: they say what its own line was doing.
//!
//! ```text
//!   nanosleep                       innermost: kept
//!   ... 5 frames of std
//!   std::thread::sleep              what the program called: kept
//! > app::handler::{{closure}}
//!   ... 14 frames of axum, tower, hyper
//! ```

use super::{Frame, StackCount};
use crate::model::frame_owner::crate_of;

/// So many frames at least make a line of their own: fewer say more by their names.
const RUN_MIN: usize = 2;

/// So many packages of a run are named.
const PACKAGES_MAX: usize = 6;

/// What comes with the language.
const STANDARD_PACKAGES: &[&str] = &["std", "core", "alloc"];

/// Folders that hold packages by their names, as downloaders of them lay them out.
const PACKAGE_FOLDERS: &[&str] = &["/node_modules/"];

/// A line of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackLine<'a> {
    /// One frame, and whether it is the guilty one.
    Frame(&'a Frame, bool),
    /// So many frames that are not the program's, and the packages that they are of, the innermost first.
    Folded(usize, Vec<String>),
}

impl StackLine<'_> {
    /// Returns how many frames it stands for.
    pub fn frames(&self) -> usize {
        match self {
            StackLine::Frame(..) => 1,
            StackLine::Folded(count, _) => *count,
        }
    }

    /// Returns what a run of frames is called: `14 frames of axum, tower, hyper`; empty of a single frame.
    pub fn words(&self) -> String {
        let StackLine::Folded(count, packages) = self else { return String::new() };
        let others = if packages.len() > PACKAGES_MAX { " and others" } else { "" };
        let named = packages[..packages.len().min(PACKAGES_MAX)].join(", ");
        let of = if named.is_empty() { "" } else { " of " };
        format!("{count} frames{of}{named}{others}")
    }
}

impl StackCount {
    /// Returns the frames of [`StackCount::callback_frames`], leaf first, those that are not the program's folded. All of them
    /// where none is the program's.
    pub fn folded(&self) -> Vec<StackLine<'_>> {
        let frames = self.callback_frames();
        let is_own = |at: &usize| frames[*at].owner.is_program() || self.guilty == Some(*at);
        let line = |at: usize| StackLine::Frame(&frames[at], self.guilty == Some(at));
        let Some(first_own) = (0..frames.len()).find(is_own) else {
            return (0..frames.len()).map(line).collect();
        };
        // Of what the program called, its beginning and its end stay.
        let is_kept = |at: &usize| is_own(at) || *at == 0 || at + 1 == first_own;
        let mut lines = Vec::new();
        let mut at = 0;
        while at < frames.len() {
            let run = (at..frames.len()).take_while(|at| !is_kept(at)).count();
            match run {
                0 => lines.push(line(at)),
                _ if run < RUN_MIN => lines.extend((at..at + run).map(line)),
                _ => lines.push(StackLine::Folded(run, packages(&frames[at..at + run]))),
            }
            at += run.max(1);
        }
        lines
    }
}

impl Frame {
    /// Returns the package that the function is of, as far as its name and file tell: a crate, for instance. The program's file
    /// where nothing else is known of a native function.
    pub fn package(&self) -> Option<String> {
        let of_file = self.file.as_deref().and_then(package_of_file);
        let of_path = || crate_of(&self.function).filter(|_| self.runtime.is_none());
        let of_file = of_file.or_else(of_path).or(self.runtime.as_deref()).or(self.module.as_deref());
        of_file.map(str::to_owned)
    }
}

/// Returns the package in whose folder a file is: by a folder that is named after it and its version, or that lies in one of
/// packages.
fn package_of_file(file: &str) -> Option<&str> {
    if let Some((_, inside)) = PACKAGE_FOLDERS.iter().find_map(|folder| file.rsplit_once(folder)) {
        // `@scope/name`.
        let slashes = if inside.starts_with('@') { 2 } else { 1 };
        let end = inside.match_indices('/').nth(slashes - 1).map_or(inside.len(), |(at, _)| at);
        return Some(&inside[..end]);
    }
    file.split('/').rev().skip(1).find_map(without_version)
}

/// Returns `hyper` of `hyper-1.7.0`; `None` of what has no version.
fn without_version(folder: &str) -> Option<&str> {
    let is_version = |text: &str| {
        let mut numbers = text.splitn(3, '.');
        let is_number = |part: Option<&str>| part.is_some_and(|part| part.parse::<u32>().is_ok());
        is_number(numbers.next()) && is_number(numbers.next()) && numbers.next().is_some()
    };
    let mut dashes = folder.match_indices('-');
    dashes.find(|(at, _)| *at > 0 && is_version(&folder[at + 1..])).map(|(at, _)| &folder[..at])
}

fn packages(frames: &[Frame]) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for package in frames.iter().filter_map(Frame::package) {
        let is_known = |known: &String| known.replace('_', "-") == package.replace('_', "-");
        if !named.iter().any(is_known) {
            named.push(package);
        }
    }
    // The language's own functions stand between all others: they are named where there is nothing else.
    let is_other = |package: &String| !STANDARD_PACKAGES.contains(&package.as_str());
    if named.iter().any(is_other) {
        named.retain(is_other);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::FrameOwner;

    /// Frames as `owner function #file`, leaf first; `!` marks the guilty one.
    fn stack(frames: &[&str]) -> StackCount {
        let guilty = frames.iter().position(|text| text.starts_with('!'));
        let frame = |text: &&str| {
            let text = text.trim_start_matches('!');
            let (owner, text) = text.split_once(' ').unwrap();
            let (function, file) =
                text.split_once(" #").map_or((text, None), |(text, file)| (text, Some(file)));
            let owner = match owner {
                "own" => FrameOwner::Program,
                "dep" => FrameOwner::Dependency,
                "run" => FrameOwner::Runtime,
                _ => FrameOwner::System,
            };
            Frame { function: function.into(), file: file.map(Into::into), owner, ..Frame::default() }
        };
        StackCount { frames: frames.iter().map(frame).collect(), guilty, ..StackCount::default() }
    }

    fn lines(frames: &[&str]) -> Vec<String> {
        let line = |line: &StackLine<'_>| match line {
            StackLine::Frame(frame, is_guilty) => {
                format!("{}{}", if *is_guilty { "> " } else { "" }, frame.function)
            }
            folded => format!("... {}", folded.words()),
        };
        stack(frames).folded().iter().map(line).collect()
    }

    #[test]
    fn runs_of_libraries_are_one_line_and_the_program_s_frames_stay() {
        let told = lines(&[
            "sys clock_nanosleep",
            "sys std::sys::thread::sleep",
            "sys std::sys::sleep",
            "sys std::thread::sleep",
            "!own app::load::{{closure}}",
            "dep <axum::handler::IntoServiceFuture<F> as core::future::Future>::poll",
            "sys <core::pin::Pin<P> as core::future::Future>::poll",
            "own app::middleware::{{closure}}",
            "dep poll #/x/registry/src/y/tower-0.5.2/src/util/oneshot.rs",
            "dep core::ops::call_once #/rustc/5/library/core/src/ops.rs",
            "dep tower::util::call",
            "dep hyper::proto::h1::dispatch::poll_loop",
            "dep hyper::server::conn::poll",
        ]);
        let expected = [
            "clock_nanosleep",
            "... 2 frames of std",
            "std::thread::sleep",
            "> app::load::{{closure}}",
            "... 2 frames of axum",
            "app::middleware::{{closure}}",
            "... 5 frames of tower, hyper",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_frame_alone_is_kept_and_so_is_a_stack_without_any_of_the_program() {
        let kept = ["dep serde_json::parse", "!own app::read", "dep axum::call", "own app::outer"];
        assert_eq!(lines(&kept), ["serde_json::parse", "> app::read", "axum::call", "app::outer"]);
        let foreign = ["sys read", "dep redis::a", "dep redis::b", "dep redis::c"];
        assert_eq!(lines(&foreign).len(), 4);
        // Blamed, because none of the program is there.
        let blamed =
            ["sys read", "sys std::io", "sys std::net", "!dep redis::parse", "dep redis::b", "dep h2::c"];
        assert_eq!(
            lines(&blamed),
            ["read", "std::io", "std::net", "> redis::parse", "... 2 frames of redis, h2"]
        );
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_package_is_told_by_its_folder_or_the_path_of_the_function() {
        let of = |function: &str, file: Option<&str>, runtime: Option<&str>| {
            let (function, module) = (function.to_owned(), Some("app".to_owned()));
            let (file, runtime) = (file.map(Into::into), runtime.map(Into::into));
            Frame { function, file, runtime, module, ..Frame::default() }.package()
        };
        for (function, file, runtime, expected) in [
            ("poll", Some("/x/registry/src/y/hyper-util-0.1.2/src/rt.rs"), None, "hyper-util"),
            ("poll", Some("hyper-1.7.0-rc.2/src/rt.rs"), None, "hyper"),
            ("poll", Some("/x/sha2-asm/src/lib.rs"), None, "app"),
            ("h2::poll", Some("/x/checkouts/h2-1a2b/3c/src/lib.rs"), None, "h2"),
            ("next", Some("/app/node_modules/express/lib/router.js"), Some("node"), "express"),
            ("go", Some("/a/node_modules/b/node_modules/@scope/name/x.js"), Some("node"), "@scope/name"),
            ("run", Some("node:internal/timers"), Some("node"), "node"),
        ] {
            assert_eq!(of(function, file, runtime).as_deref(), Some(expected), "{function} {file:?}");
        }
    }

    #[test]
    fn many_packages_are_not_all_named() {
        let names = ["a", "b", "c", "d", "e", "f", "g"].map(String::from).to_vec();
        assert_eq!(StackLine::Folded(9, names).words(), "9 frames of a, b, c, d, e, f and others");
        assert_eq!(StackLine::Folded(9, Vec::new()).words(), "9 frames");
    }
}
