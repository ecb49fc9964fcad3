//! Whether a directory will do for pages: private, ours, and in memory.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Returns the user that this process runs as.
pub fn own_user() -> u32 {
    // SAFETY: geteuid only reads the process's credentials.
    unsafe { libc::geteuid() }
}

/// Makes a runtime directory if need be, and checks that it is ours, private (mode 0700), and in memory.
///
/// # Errors
/// It cannot be made, or is not so; in words, without its path.
pub fn make_private(directory: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.to_string()),
        _ => {}
    }
    let facts = fs::symlink_metadata(directory).map_err(|error| error.to_string())?;
    let uid = own_user();
    if !facts.is_dir() {
        return Err("is not a directory".to_owned());
    }
    if facts.uid() != uid {
        return Err(format!("belongs to uid {}, and this process runs as uid {uid}", facts.uid()));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(format!("has mode {:o}; it must be private (chmod 700)", facts.mode() & 0o777));
    }
    match is_memory_file_system(directory) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err("is on a disk file system, where write-back would stall the loop; use a tmpfs".to_owned())
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn is_memory_file_system(path: &Path) -> Result<bool, String> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `path` is a C string and `facts` has room for the answer.
    let failed = unsafe { libc::statfs(path.as_ptr(), facts.as_mut_ptr()) } != 0;
    if failed {
        return Err(io::Error::last_os_error().to_string());
    }
    // SAFETY: statfs succeeded, so it filled the structure.
    let facts = unsafe { facts.assume_init() };
    #[expect(clippy::unnecessary_cast, reason = "the field has another type with other C libraries")]
    let kind = facts.f_type as i64;
    Ok(kind == TMPFS || kind == RAMFS)
}
