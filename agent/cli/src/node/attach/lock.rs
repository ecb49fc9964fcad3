//! Only one command at a time attaches to a process, or detaches from it.

use crate::error::Failure;
use loopscope_probe::raw::directory::{make_private, runtime_directory};
use loopscope_probe::raw::socket_file::FileIdentity;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is locked, in the runtime directory; it goes when this is dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// Another command has it, or there is no place for it.
    pub fn take(pid: u32) -> Result<Lock, Failure> {
        let wanted = format!("attach to process {pid}");
        let directory = runtime_directory();
        make_private(&directory)
            .map_err(|why| Failure::system(&wanted, format!("{}: {why}", directory.display())))?;
        Lock::take_file(directory.join(format!("attach-{pid}.lock"))).map_err(|error| match error {
            TryLockError::WouldBlock => {
                Failure::system(&wanted, "another command is attaching to it or detaching from it; try again")
            }
            TryLockError::Error(error) => Failure::system(&wanted, error),
        })
    }

    fn take_file(path: PathBuf) -> Result<Lock, TryLockError> {
        loop {
            let file =
                OpenOptions::new().create(true).append(true).open(&path).map_err(TryLockError::Error)?;
            file.try_lock()?;
            // Who had it may have removed the file that was opened here, and a third one have made another.
            if is_at(&file, &path).map_err(TryLockError::Error)? {
                return Ok(Lock { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells whether this file is the one with that name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = FileIdentity::of(&file.metadata()?);
    match fs::metadata(path) {
        Ok(named) => Ok(FileIdentity::of(&named) == own),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn of_many_that_take_it_again_and_again_one_has_it_at_a_time() {
        let path = std::env::temp_dir().join(format!("loopscope-lock-{}", std::process::id()));
        let (holders, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while taken.load(Ordering::Relaxed) < 2_000 {
                        let Ok(lock) = Lock::take_file(path.clone()) else { continue };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two have it");
                        taken.fetch_add(1, Ordering::Relaxed);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(!path.exists());
    }
}
