//! By what one tells that a file has been changed, or exchanged for another.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The state of a file: its inode, its length, and when it was last written. Two states of one file differ where it was
/// exchanged by renaming, as Kubernetes and certbot do, and where it was written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileVersion {
    inode: u64,
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl FileVersion {
    pub(crate) fn of(found: &Metadata) -> FileVersion {
        FileVersion {
            inode: found.ino(),
            length: found.len(),
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec(),
        }
    }
}
