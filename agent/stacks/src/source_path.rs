//! Paths for functions of which debug information has only the bare name.
//!
//! Full debug information (`debug = "full"`) has a function's linkage name, which is its whole path, also where it was
//! inlined. Lines only (`debug = "line-tables-only"`) have neither that nor the module that a function is in: an inlined
//! `run_worker` or `{closure#0}` names nobody. Its source file does, because a file is a module:
//!
//! ```text
//!   {closure#0}   /x/registry/src/y/tokio-1.47.0/src/runtime/blocking/pool.rs   tokio::runtime::blocking::pool::{closure#0}
//!   call_once     /rustc/abc/library/core/src/ops/function.rs                   core::ops::function::call_once
//!   parse         src/wire/mod.rs, and app::serve is in src/main.rs             app::wire::parse
//! ```
//!
//! So the path is that of the module and lacks the type of a method and the function that a closure is in. A package that
//! calls its library otherwise is told by the package's name. The program's own crates are known by functions of the same
//! folder whose whole names the symbol table has; where there was none, the path begins with the module.

use std::collections::HashMap;

/// Which crate is in which folder of sources, as far as functions have shown it.
#[derive(Default)]
pub(crate) struct CrateFolders {
    crates: HashMap<String, String>,
}

impl CrateFolders {
    /// Takes over the crate of a function whose whole name is known, and the file that it is in.
    pub fn learn(&mut self, function: &str, file: &str) {
        let Some(place) = Place::of(file).filter(|place| place.krate.is_none()) else { return };
        if let Some(krate) = crate_of(function)
            && self.crates.get(place.folder).is_none_or(|known| known != krate)
        {
            self.crates.insert(place.folder.to_owned(), krate.to_owned());
        }
    }

    /// Returns the path of a function that is known by its bare name and its file; `None` where the name has a path, or the
    /// file is not Rust's.
    pub fn qualified(&self, name: &str, file: &str) -> Option<String> {
        let place = Place::of(file).filter(|_| is_bare(name))?;
        let krate = place.krate.clone().or_else(|| self.crates.get(place.folder).cloned());
        // `tests/suite.rs` and `examples/tool.rs` are whole crates, and no modules.
        let is_root = krate.as_deref() == Some(place.stem) && !place.folder.ends_with("src/");
        let modules = if is_root { &[] } else { &*place.modules };
        let mut path: Vec<&str> = krate.as_deref().into_iter().chain(modules.iter().copied()).collect();
        if path.is_empty() {
            path.push(place.stem);
        }
        Some(format!("{}::{name}", path.join("::")))
    }
}

/// What a source file's path says.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    /// The crate, where the path alone tells it.
    krate: Option<String>,
    /// The folder of the crate's sources.
    folder: &'a str,
    modules: Vec<&'a str>,
    /// The file's name without its ending.
    stem: &'a str,
}

impl<'a> Place<'a> {
    fn of(file: &'a str) -> Option<Place<'a>> {
        let path = file.strip_suffix(".rs")?;
        let stem = path.rsplit('/').next().unwrap_or(path);
        let begin = after_last(path, "src/").unwrap_or(path.len() - stem.len());
        let (mut folder, mut inner) = path.split_at(begin);
        // Each file or folder there is a program of its own.
        if let Some(program) = inner.strip_prefix("bin/") {
            let end = program.find('/').map_or(program.len(), |at| at + 1);
            (folder, inner) = path.split_at(begin + "bin/".len() + end);
        }
        let mut modules: Vec<&str> = inner.split('/').filter(|module| !module.is_empty()).collect();
        if matches!(modules.last(), Some(&("mod" | "lib" | "main"))) {
            modules.pop();
        }
        Some(Place { krate: crate_of_folder(folder), folder, modules, stem })
    }
}

/// Returns where what follows the last such folder begins.
fn after_last(path: &str, folder: &str) -> Option<usize> {
    let is_whole = |at: &usize| *at == 0 || path.as_bytes().get(at - 1) == Some(&b'/');
    path.rmatch_indices(folder).map(|(at, _)| at).find(is_whole).map(|at| at + folder.len())
}

/// Returns the crate whose sources are in a folder, where that says it: of a registry, or of the standard library.
fn crate_of_folder(folder: &str) -> Option<String> {
    /// Libraries that are modules of the standard library's crates.
    const PARTS: &[(&str, &str)] = &[
        ("core_arch", "core::core_arch"),
        ("core_simd", "core::core_simd"),
        ("backtrace", "std::backtrace_rs"),
    ];
    let package = folder.strip_suffix("/src/")?.rsplit('/').next()?;
    if folder.starts_with("/rustc/") || folder.contains("/lib/rustlib/src/") {
        let part = PARTS.iter().find(|(part, _)| *part == package);
        return Some(part.map_or(package, |(_, path)| path).replace('-', "_"));
    }
    Some(without_version(package)?.replace('-', "_"))
}

/// Returns a package's name without its version, `None` where it has none: `tokio-1.47.0`.
fn without_version(package: &str) -> Option<&str> {
    let is_version = |text: &str| {
        let numbers = text.split(['-', '+']).next().unwrap_or(text);
        numbers.split('.').count() == 3 && numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let mut dashes = package.match_indices('-').map(|(at, _)| at);
    dashes.find(|at| is_version(&package[at + 1..])).map(|at| &package[..at])
}

/// Returns the crate that a whole name begins with. `None` for an implementation of a trait, which may be of another one.
fn crate_of(function: &str) -> Option<&str> {
    let path = function.strip_prefix('<').filter(|_| !function.contains(" as ")).unwrap_or(function);
    let (krate, _) = path.split_once("::")?;
    let is_name = !krate.is_empty() && krate.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then_some(krate)
}

/// Whether a name has no path before its type arguments.
fn is_bare(name: &str) -> bool {
    let end = name.find('<').unwrap_or(name.len());
    end > 0 && !name[..end].contains("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_names_get_the_path_of_their_file() {
        let mut folders = CrateFolders::default();
        folders.learn("app::serve", "src/main.rs");
        folders.learn("<loopscope_loop::core::Loop<()>>::run", "/build/loop/engine/src/core.rs");
        folders.learn("tool::main", "src/bin/tool.rs");
        folders.learn("suite::a_test", "tests/suite.rs");
        folders.learn("<app::Row as other::Wire>::encode", "other/src/lib.rs");
        for (name, file, expected) in [
            (
                "{closure#0}",
                "/x/registry/src/y/tokio-1.47.0/src/runtime/scheduler/multi_thread/worker.rs",
                "tokio::runtime::scheduler::multi_thread::worker::{closure#0}",
            ),
            ("run", "/x/registry/src/y/md-5-0.10.6/src/lib.rs", "md_5::run"),
            ("f", "/x/vendor/foo-bar-1.0.0-alpha.1/src/a/mod.rs", "foo_bar::a::f"),
            (
                "call_once<app::main::{closure_env#0}, ()>",
                "/rustc/5980/library/core/src/ops/function.rs",
                "core::ops::function::call_once<app::main::{closure_env#0}, ()>",
            ),
            ("insert", "/rust/deps/hashbrown-0.15.2/src/map.rs", "hashbrown::map::insert"),
            (
                "_mm_pause",
                "/rustc/5/library/stdarch/crates/core_arch/src/x86/sse2.rs",
                "core::core_arch::x86::sse2::_mm_pause",
            ),
            ("{async_fn#0}", "src/wire/mod.rs", "app::wire::{async_fn#0}"),
            ("{closure#1}", "src/main.rs", "app::{closure#1}"),
            ("dispatch", "/build/loop/engine/src/phases/poll.rs", "loopscope_loop::phases::poll::dispatch"),
            ("{closure#0}", "src/bin/tool.rs", "tool::{closure#0}"),
            ("helper", "tests/suite.rs", "suite::helper"),
            ("helper", "tests/support.rs", "suite::support::helper"),
            ("unknown", "other/src/util.rs", "util::unknown"),
            ("{closure#0}", "elsewhere/src/main.rs", "main::{closure#0}"),
        ] {
            assert_eq!(folders.qualified(name, file).as_deref(), Some(expected), "{name} {file}");
        }
    }

    #[test]
    fn names_with_a_path_and_those_of_other_languages_stay() {
        let folders = CrateFolders::default();
        for (name, file) in [
            ("app::parse", "src/main.rs"),
            ("<T as app::Wire>::encode", "src/main.rs"),
            ("hidden", "plugin.c"),
            ("", "src/main.rs"),
        ] {
            assert_eq!(folders.qualified(name, file), None, "{name} {file}");
        }
    }
}
