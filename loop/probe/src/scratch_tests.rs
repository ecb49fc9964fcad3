//! What tests of page files need: a directory of their own, and processes that live or do not.

use crate::directory::{Owner, process_start};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory in memory, of this test alone, removed at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Scratch(PathBuf::from(format!("/dev/shm/loopscope-test-{}-{number}", std::process::id())))
    }

    pub(crate) fn made() -> Scratch {
        let scratch = Scratch::new();
        DirBuilder::new().mode(0o700).create(&scratch.0).unwrap();
        scratch
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// This process.
pub(crate) fn me() -> Owner {
    Owner::this_process()
}

/// A process that lives until its input ends.
pub(crate) fn living_child() -> (Child, Owner) {
    let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let owner = Owner { pid: child.id(), start: process_start(child.id()).unwrap() };
    (child, owner)
}
