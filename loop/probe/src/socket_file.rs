//! The file of a Unix-domain socket: removed together with the socket, by the process that made it, and only where it is
//! still that file.
//!
//! A successor may have put its own socket there meanwhile, as a service does that is restarted without a gap; and a forked
//! child drops its copy of a listener, and must leave its parent's file alone. While
//! its socket is open the kernel keeps the inode, so that no other file gets its number: so drop this *before* the socket.

use std::fs::{Metadata, symlink_metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file one is, whatever its name: its device and inode. Another file has another one while this one is there, or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Returns that of the file that these facts are of.
    pub fn of(facts: &Metadata) -> FileIdentity {
        FileIdentity { device: facts.dev(), inode: facts.ino() }
    }
}

/// The file that a bound socket made. Removed when dropped, if it is still there.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// `None` where it cannot be told, and then the file stays.
    identity: Option<FileIdentity>,
    /// The process that made it.
    maker: u32,
}

impl SocketFile {
    /// Notes the file that this process has just bound a socket to.
    pub fn made(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), identity: identity(path), maker: std::process::id() }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = self.identity.is_some() && identity(&self.path) == self.identity;
        // Between the look and the removal somebody may still put another one there: there is no call that does both.
        if is_own && self.maker == std::process::id() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<FileIdentity> {
    symlink_metadata(path).ok().map(|facts| FileIdentity::of(&facts))
}

// Not under Miri, which has no such sockets.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn a_socket_file_goes_with_its_maker_and_never_with_another() {
        let path = std::env::temp_dir().join(format!("loopscope-socket-file-{}", std::process::id()));
        let first = UnixListener::bind(&path).unwrap();
        let file = SocketFile::made(&path);
        // As a service is restarted without a gap: the next one takes the path before the first one ends.
        fs::remove_file(&path).unwrap();
        let second = UnixListener::bind(&path).unwrap();
        let its_file = SocketFile::made(&path);
        drop((file, first));
        assert!(UnixStream::connect(&path).is_ok(), "the second one is reached still");
        drop((its_file, second));
        assert!(!path.exists());

        let moved = path.with_extension("moved");
        let listener = UnixListener::bind(&path).unwrap();
        let file = SocketFile::made(&path);
        fs::rename(&path, &moved).unwrap();
        fs::write(&path, "precious").unwrap();
        drop((file, listener));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        [path, moved].iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
