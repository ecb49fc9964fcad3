//! The file of a Unix-domain socket: removed together with the socket, by the process that made it.
//!
//! A forked child drops its copy of the loop, and must leave its parent's files alone.

use std::path::{Path, PathBuf};

/// The file that a bound socket made.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The process that made it.
    maker: u32,
}

impl SocketFile {
    /// Notes the file that this process has just bound a socket to.
    pub(crate) fn made(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), maker: std::process::id() }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.maker == std::process::id() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
