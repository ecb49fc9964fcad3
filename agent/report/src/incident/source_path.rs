//! Paths of source files as people read them: relative to the program's source, or to the folder of a package.
//!
//! Debug information has paths of the machine that the program was built on. A site has what the compiler was given,
//! mostly relative to the workspace; where a frame is in the file of a site, what is before that is the workspace:
//!
//! ```text
//!   /home/x/work/app/src/wire.rs, and a site is in app/src/main.rs       app/src/wire.rs
//!       of which a frame is in /home/x/work/app/src/main.rs
//!   /home/x/app/src/wire.rs, and no frame is in the file of a site        app/src/wire.rs
//!   /x/.cargo/registry/src/index.crates.io-6f17/tokio-1.47.0/src/a.rs     tokio-1.47.0/src/a.rs
//!   /rustc/5980/library/core/src/ops/function.rs                          library/core/src/ops/function.rs
//!   /build/x/net.c                                                        x/net.c
//! ```

use super::{Frame, Incident};

impl Incident {
    /// Returns where a native frame of this incident is in the source, for people: `src/a.rs:61:9`. Frames that
    /// another runtime told have the paths of the machine that they run on, and keep them. `None` without a file.
    pub fn place_of(&self, frame: &Frame) -> Option<String> {
        let (place, file) = (frame.place()?, frame.file.as_deref()?);
        match frame.runtime {
            None => Some(format!("{}{}", self.short_path(file), &place[file.len()..])),
            Some(_) => Some(place),
        }
    }

    fn short_path<'a>(&'a self, file: &'a str) -> &'a str {
        let frames = self.stacks.iter().flat_map(|stack| &stack.frames);
        let files =
            frames.filter_map(|frame| frame.file.as_deref()).filter(|file| dependency_path(file).is_none());
        // The shortest: a package within the workspace may have a file of the same name.
        let workspace =
            files.filter_map(|file| before(file, &self.culprit.file)).min_by_key(|path| path.len());
        dependency_path(file).or_else(|| file.strip_prefix(workspace?)).unwrap_or_else(|| package_path(file))
    }
}

/// Returns the path of a file of the standard library or of a dependency that was downloaded, from the folder of its package;
/// `None` for any other.
pub fn dependency_path(file: &str) -> Option<&str> {
    if let Some((_, rest)) = file.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/')) {
        return Some(rest);
    }
    let after = |folder: &str| file.split_once(folder)?.1.split_once('/').map(|(_, rest)| rest);
    after("/registry/src/").or_else(|| after("/git/checkouts/")).filter(|_| file.starts_with('/'))
}

/// Returns what is before a relative path at the end of an absolute one, with its slash.
fn before<'a>(file: &'a str, relative: &str) -> Option<&'a str> {
    let is_relative = !relative.is_empty() && !relative.starts_with('/');
    file.strip_suffix(relative)
        .filter(|before| is_relative && before.starts_with('/') && before.ends_with('/'))
}

/// Returns an absolute path from the folder in which the sources' folder is, or else the file's own; a relative one as
/// it is.
fn package_path(file: &str) -> &str {
    if !file.starts_with('/') {
        return file;
    }
    let others = ["/tests/", "/examples/", "/benches/"];
    let end = file.rfind("/src/").or_else(|| others.iter().filter_map(|folder| file.rfind(folder)).min());
    let end = end.or_else(|| file.rfind('/'));
    let folder = end.and_then(|end| file[..end].rfind('/'));
    folder.map_or(file, |folder| &file[folder + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Culprit, StackCount};

    fn frame(file: &str) -> Frame {
        Frame { file: Some(file.to_owned()), line: Some(7), ..Frame::default() }
    }

    #[test]
    fn a_build_path_is_told_from_the_workspace_or_the_package() {
        let frames = ["/home/x/work/app/src/main.rs", "/rustc/5980/library/core/src/ops/function.rs"];
        let stack = StackCount { frames: frames.map(frame).to_vec(), ..StackCount::default() };
        let culprit = |file: &str| Culprit { file: file.to_owned(), ..Culprit::default() };
        let known =
            Incident { culprit: culprit("app/src/main.rs"), stacks: vec![stack], ..Incident::default() };
        let unknown = Incident { culprit: culprit(""), ..known.clone() };
        for (incident, file, expected) in [
            (&known, "/home/x/work/app/src/main.rs", "app/src/main.rs"),
            (&known, "/home/x/work/other/wire.rs", "other/wire.rs"),
            (&known, "/home/y/app/src/wire.rs", "app/src/wire.rs"),
            (&known, "app/src/wire.rs", "app/src/wire.rs"),
            (&unknown, "/home/x/work/app/src/wire/mod.rs", "app/src/wire/mod.rs"),
            (&unknown, "/home/x/src/app/src/wire.rs", "app/src/wire.rs"),
            (&unknown, "/home/x/app/tests/suite.rs", "app/tests/suite.rs"),
            (&unknown, "/build/x/net.c", "x/net.c"),
            (&unknown, "/net.c", "/net.c"),
            (&known, "/rustc/5980/library/core/src/ops/function.rs", "library/core/src/ops/function.rs"),
            (
                &known,
                "/x/.cargo/registry/src/index.crates.io-6f17/tokio-1.47.0/src/runtime/park.rs",
                "tokio-1.47.0/src/runtime/park.rs",
            ),
            (&known, "/x/.cargo/git/checkouts/wire-01ab/5980/src/lib.rs", "5980/src/lib.rs"),
        ] {
            assert_eq!(incident.place_of(&frame(file)), Some(format!("{expected}:7")), "{file}");
        }
    }

    #[test]
    fn a_package_within_the_workspace_or_of_the_registry_is_not_taken_for_it() {
        let files = [
            "/home/x/app/vendor/foo/src/lib.rs",
            "/x/.cargo/registry/src/index.crates.io-6f17/tokio-1.47.0/src/lib.rs",
            "/home/x/app/src/lib.rs",
        ];
        let stack = StackCount { frames: files.map(frame).to_vec(), ..StackCount::default() };
        let culprit = Culprit { file: "src/lib.rs".to_owned(), ..Culprit::default() };
        let incident = Incident { culprit, stacks: vec![stack], ..Incident::default() };
        let told = files.map(|file| incident.place_of(&frame(file)).unwrap());
        assert_eq!(told, ["vendor/foo/src/lib.rs:7", "tokio-1.47.0/src/lib.rs:7", "src/lib.rs:7"]);
    }

    #[test]
    fn a_path_that_a_runtime_told_stays() {
        let script = Frame { runtime: Some("other".to_owned()), ..frame("/srv/app/src/server.js") };
        assert_eq!(Incident::default().place_of(&script).as_deref(), Some("/srv/app/src/server.js:7"));
        assert_eq!(Incident::default().place_of(&Frame::default()), None);
    }
}
