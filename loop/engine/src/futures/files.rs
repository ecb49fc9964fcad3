//! Files as futures see them: each call of [`Fs`], awaited.

use crate::cx::Cx;
use crate::futures::loop_handle::LoopHandle;
use crate::futures::promise::{Promise, Undo};
use crate::key::Key;
use crate::operations::fs::{FolderEntry, Fs};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;

/// What a call is finished with.
type FileDone<S, T> = Box<dyn FnOnce(&mut Cx<'_, S>, io::Result<T>)>;

/// A promise of what a call on files gives.
type OfCall<T, S> = Promise<io::Result<T>, S>;

/// The calls on files, awaited; get it from [`LoopHandle::fs`]. Each begins when its method is called, as a job of the pool;
/// calls that must follow each other are awaited in between. Dropping the promise cancels a call that is still queued,
/// and drops the result of one that runs.
///
/// Errors are those of the calls of the same name of [`Fs`].
pub struct LoopFs<S: 'static = ()> {
    here: LoopHandle<S>,
}

impl<S: 'static> LoopHandle<S> {
    /// Returns the calls on files.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    ///
    /// let mut event_loop = Loop::builder(0).build()?;
    /// event_loop.main(|cx| {
    ///     cx.spawn_async(|here| async move {
    ///         let length = here.fs().stat("Cargo.toml").await.map_or(0, |found| found.len());
    ///         here.with(move |cx| *cx.state = length).await;
    ///     });
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert!(event_loop.into_state() > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn fs(&self) -> LoopFs<S> {
        LoopFs { here: self.clone() }
    }
}

impl<S: 'static> LoopFs<S> {
    fn call<T: 'static>(
        &self,
        at: &'static Location<'static>,
        call: impl FnOnce(Fs<'_, '_, S>, FileDone<S, T>) -> Key + 'static,
    ) -> OfCall<T, S> {
        Promise::begin(&self.here, at, Undo::Cancel, move |cx, promised| {
            Some(call(cx.fs_at(at), Box::new(move |_, outcome| promised.resolve(outcome))))
        })
    }

    /// Reads a whole file.
    #[track_caller]
    pub fn read(&self, path: impl Into<PathBuf>) -> OfCall<Vec<u8>, S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.read(path, done))
    }

    /// Reads a whole file of UTF-8 text; `InvalidData` for other bytes.
    #[track_caller]
    pub fn read_to_string(&self, path: impl Into<PathBuf>) -> OfCall<String, S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.read_to_string(path, done))
    }

    /// Writes a whole file: makes it, or replaces what is in it.
    #[track_caller]
    pub fn write(&self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> OfCall<(), S> {
        let (path, bytes) = (path.into(), bytes.into());
        self.call(Location::caller(), move |fs, done| fs.write(path, bytes, done))
    }

    /// Opens a file as the options say.
    #[track_caller]
    pub fn open(&self, path: impl Into<PathBuf>, options: &OpenOptions) -> OfCall<Arc<File>, S> {
        let (path, options) = (path.into(), options.clone());
        self.call(Location::caller(), move |fs, done| fs.open(path, &options, done))
    }

    /// Reads at most `count` bytes from a place in a file: fewer at its end, none behind it.
    #[track_caller]
    pub fn read_at(&self, file: &Arc<File>, offset: u64, count: usize) -> OfCall<Vec<u8>, S> {
        let file = file.clone();
        self.call(Location::caller(), move |fs, done| fs.read_at(&file, offset, count, done))
    }

    /// Writes all bytes to a place in a file. On an error, such as `StorageFull`, some may have been written.
    #[track_caller]
    pub fn write_at(&self, file: &Arc<File>, offset: u64, bytes: impl Into<Vec<u8>>) -> OfCall<(), S> {
        let (file, bytes) = (file.clone(), bytes.into());
        self.call(Location::caller(), move |fs, done| fs.write_at(&file, offset, bytes, done))
    }

    /// Waits until what was written to a file is on the disk, its length and times too (`fsync`).
    #[track_caller]
    pub fn sync(&self, file: &Arc<File>) -> OfCall<(), S> {
        let file = file.clone();
        self.call(Location::caller(), move |fs, done| fs.sync(&file, done))
    }

    /// Cuts a file or fills it up with zeros to this length in bytes.
    #[track_caller]
    pub fn set_len(&self, file: &Arc<File>, length: u64) -> OfCall<(), S> {
        let file = file.clone();
        self.call(Location::caller(), move |fs, done| fs.set_len(&file, length, done))
    }

    /// Tells about what is at a path, or at the end of its symbolic links.
    #[track_caller]
    pub fn stat(&self, path: impl Into<PathBuf>) -> OfCall<Metadata, S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.stat(path, done))
    }

    /// Tells about what is at a path, also where that is a symbolic link.
    #[track_caller]
    pub fn lstat(&self, path: impl Into<PathBuf>) -> OfCall<Metadata, S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.lstat(path, done))
    }

    /// Lists a folder, in the order of its names.
    #[track_caller]
    pub fn read_dir(&self, path: impl Into<PathBuf>) -> OfCall<Vec<FolderEntry>, S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.read_dir(path, done))
    }

    /// Makes a folder and those above it that are missing.
    #[track_caller]
    pub fn create_dir_all(&self, path: impl Into<PathBuf>) -> OfCall<(), S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.create_dir_all(path, done))
    }

    /// Removes a file or symbolic link.
    #[track_caller]
    pub fn remove_file(&self, path: impl Into<PathBuf>) -> OfCall<(), S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.remove_file(path, done))
    }

    /// Removes an empty folder.
    #[track_caller]
    pub fn remove_dir(&self, path: impl Into<PathBuf>) -> OfCall<(), S> {
        let path = path.into();
        self.call(Location::caller(), move |fs, done| fs.remove_dir(path, done))
    }

    /// Gives a file or folder another path on the same file system, in place of what is there.
    #[track_caller]
    pub fn rename(&self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> OfCall<(), S> {
        let (from, to) = (from.into(), to.into());
        self.call(Location::caller(), move |fs, done| fs.rename(from, to, done))
    }

    /// Copies a file with its permissions; tells how many bytes it had.
    #[track_caller]
    pub fn copy(&self, from: impl Into<PathBuf>, to: impl Into<PathBuf>) -> OfCall<u64, S> {
        let (from, to) = (from.into(), to.into());
        self.call(Location::caller(), move |fs, done| fs.copy(from, to, done))
    }
}
