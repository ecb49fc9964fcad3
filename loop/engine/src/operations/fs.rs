//! Files, through the pool: every call is a job, and its result comes back in the poll phase.
//!
//! The kernel has no readiness for files, and a call may wait for a disk; so, as in Node, a pool thread waits for it.
//! Jobs of one file may run side by side: chain them in their callbacks where the order matters.

use crate::callback::{Origin, Site};
use crate::cx::Cx;
use crate::error::WorkError;
use crate::key::Key;
use loopscope_probe::{Kind, WorkKind};
use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;

/// One entry of a folder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FolderEntry {
    /// Its name, without the folder's path.
    pub name: OsString,
    /// What it is; of a symbolic link, that it is one.
    pub kind: FileType,
}

/// The calls on files; get it from [`Cx::fs`]. Each is a pool job: its key can be [cancelled](Cx::cancel) while it is
/// queued, and it keeps the loop alive until its callback ran.
///
/// A callback gets what the operating system said when the call failed; or an error that holds [`WorkError`] where
/// there was none: cancelled, or no thread to be had.
///
/// ```
/// use loopscope_loop::{Loop, Mode};
///
/// let mut event_loop = Loop::builder(String::new()).build()?;
/// event_loop.main(|cx| {
///     cx.fs().read_to_string("/proc/self/comm", |cx, text| *cx.state = text.unwrap_or_default());
/// });
/// event_loop.run(Mode::Default)?;
/// assert!(event_loop.state().ends_with('\n'));
/// # std::io::Result::Ok(())
/// ```
pub struct Fs<'l, 'a, S: 'static> {
    cx: &'l mut Cx<'a, S>,
    /// The place that calls are named after, where that is not the caller's.
    at: Option<&'static Location<'static>>,
}

impl<'a, S: 'static> Cx<'a, S> {
    /// Returns the calls on files.
    pub fn fs(&mut self) -> Fs<'_, 'a, S> {
        Fs { cx: self, at: None }
    }

    pub(crate) fn fs_at(&mut self, at: &'static Location<'static>) -> Fs<'_, 'a, S> {
        Fs { cx: self, at: Some(at) }
    }

    /// Runs a call that fails as the operating system says as a job.
    pub(crate) fn submit_call<T: Send + 'static>(
        &mut self,
        site: Site,
        kind: WorkKind,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<T>) + 'static,
    ) -> Key {
        self.submit(site, kind, call, |cx, outcome| {
            let outcome = outcome.map_err(WorkError::into).and_then(|result| result);
            done(cx, outcome);
        })
    }
}

impl<S: 'static> Fs<'_, '_, S> {
    fn call<T: Send + 'static>(
        self,
        at: &'static Location<'static>,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<T>) + 'static,
    ) -> Key {
        let origin = Origin::with(self.at.unwrap_or(at), &done);
        let site = self.cx.core.site(origin, Kind::WorkDone);
        self.cx.submit_call(site, WorkKind::Fs, call, done)
    }

    /// Reads a whole file.
    #[track_caller]
    pub fn read(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Vec<u8>>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::read(path), done)
    }

    /// Reads a whole file of UTF-8 text; `InvalidData` for other bytes.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(String::new()).build()?;
    /// event_loop.main(|cx| cx.fs().read_to_string("Cargo.toml", |cx, text| *cx.state = text.unwrap_or_default()));
    /// event_loop.run(Mode::Default)?;
    /// assert!(event_loop.into_state().contains("[package]"));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn read_to_string(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<String>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::read_to_string(path), done)
    }

    /// Writes a whole file: makes it, or replaces what is in it.
    #[track_caller]
    pub fn write(
        self,
        path: impl Into<PathBuf>,
        bytes: impl Into<Vec<u8>>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let (path, bytes) = (path.into(), bytes.into());
        self.call(Location::caller(), move || fs::write(path, bytes), done)
    }

    /// Opens a file as the options say.
    #[track_caller]
    pub fn open(
        self,
        path: impl Into<PathBuf>,
        options: &OpenOptions,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Arc<File>>) + 'static,
    ) -> Key {
        let (path, options) = (path.into(), options.clone());
        self.call(Location::caller(), move || options.open(path).map(Arc::new), done)
    }

    /// Reads at most `count` bytes from a place in a file: fewer at its end, none behind it.
    #[track_caller]
    pub fn read_at(
        self,
        file: &Arc<File>,
        offset: u64,
        count: usize,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Vec<u8>>) + 'static,
    ) -> Key {
        let file = file.clone();
        self.call(Location::caller(), move || read_up_to(&file, offset, count), done)
    }

    /// Writes all bytes to a place in a file. On an error, such as `StorageFull`, some may have been written.
    #[track_caller]
    pub fn write_at(
        self,
        file: &Arc<File>,
        offset: u64,
        bytes: impl Into<Vec<u8>>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let (file, bytes) = (file.clone(), bytes.into());
        self.call(Location::caller(), move || file.write_all_at(&bytes, offset), done)
    }

    /// Waits until what was written to a file is on the disk, its length and times too (`fsync`).
    #[track_caller]
    pub fn sync(self, file: &Arc<File>, done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static) -> Key {
        let file = file.clone();
        self.call(Location::caller(), move || file.sync_all(), done)
    }

    /// Cuts a file or fills it up with zeros to this length in bytes.
    #[track_caller]
    pub fn set_len(
        self,
        file: &Arc<File>,
        length: u64,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let file = file.clone();
        self.call(Location::caller(), move || file.set_len(length), done)
    }

    /// Tells about what is at a path, or at the end of its symbolic links.
    #[track_caller]
    pub fn stat(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Metadata>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::metadata(path), done)
    }

    /// Tells about what is at a path, also where that is a symbolic link.
    #[track_caller]
    pub fn lstat(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Metadata>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::symlink_metadata(path), done)
    }

    /// Lists a folder, in the order of its names.
    #[track_caller]
    pub fn read_dir(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<Vec<FolderEntry>>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || list(&path), done)
    }

    /// Makes a folder and those above it that are missing.
    #[track_caller]
    pub fn create_dir_all(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::create_dir_all(path), done)
    }

    /// Removes a file or symbolic link.
    #[track_caller]
    pub fn remove_file(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::remove_file(path), done)
    }

    /// Removes an empty folder.
    #[track_caller]
    pub fn remove_dir(
        self,
        path: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let path = path.into();
        self.call(Location::caller(), move || fs::remove_dir(path), done)
    }

    /// Gives a file or folder another path on the same file system, in place of what is there.
    #[track_caller]
    pub fn rename(
        self,
        from: impl Into<PathBuf>,
        to: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<()>) + 'static,
    ) -> Key {
        let (from, to) = (from.into(), to.into());
        self.call(Location::caller(), move || fs::rename(from, to), done)
    }

    /// Copies a file with its permissions; tells how many bytes it had.
    #[track_caller]
    pub fn copy(
        self,
        from: impl Into<PathBuf>,
        to: impl Into<PathBuf>,
        done: impl FnOnce(&mut Cx<'_, S>, io::Result<u64>) + 'static,
    ) -> Key {
        let (from, to) = (from.into(), to.into());
        self.call(Location::caller(), move || fs::copy(from, to), done)
    }
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &File, offset: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn list(path: &std::path::Path) -> io::Result<Vec<FolderEntry>> {
    let entries = fs::read_dir(path)?.map(|entry| {
        let entry = entry?;
        Ok(FolderEntry { name: entry.file_name(), kind: entry.file_type()? })
    });
    let mut entries = entries.collect::<io::Result<Vec<FolderEntry>>>()?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}
