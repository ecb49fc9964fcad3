//! Where results go: stdout, or a file that is replaced as a whole or not at all.

use crate::error::Failure;
use crate::paint::emphasis;
use loopscope_probe::raw::printable::{is_hidden, printable, printable_json};
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes text to stdout, as [`shown`] returns it. A reader that has gone away (`| head`) is no failure.
///
/// # Errors
/// Stdout cannot be written for another reason.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(shown(text).as_bytes())
}

/// Writes JSON to stdout, and a line break. What reads it gets the texts as they are; a terminal shows escapes in place of
/// what it would act on.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print_bytes(&printable_json(format!("{value:#}\n").into_bytes()))
}

/// Writes JSON that has been serialized as one line, as [`print_json`] does.
///
/// # Errors
/// As [`print()`].
pub fn print_line(mut json: String) -> Result<(), Failure> {
    json.push('\n');
    print_bytes(&printable_json(json.into_bytes()))
}

/// Writes text to stderr, as [`shown`] returns it. Nobody can be told where that fails.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(shown(text).as_bytes());
}

/// Returns a text for a terminal: with escapes in place of characters that are not to be shown, save line breaks and the
/// emphasis of [`Paint`](crate::paint::Paint). Names of programs, files and agents are in it, which may hold anything.
fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| c != '\n' && is_hidden(c)) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len() + 64), text);
    while let Some(at) = rest.find(|c| c != '\n' && is_hidden(c)) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = emphasis(rest).or_else(|| rest.chars().next().map(char::len_utf8)).unwrap_or(1);
        match emphasis(rest) {
            Some(_) => shown.push_str(&rest[..length]),
            None => shown.push_str(&printable(&rest[..length])),
        }
        rest = &rest[length..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Writes bytes to stdout as they are. It is no failure if the reader has closed its end.
///
/// # Errors
/// As [`print()`].
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(explain) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Output { path: "stdout".into(), error })
        }
        _ => Ok(()),
    }
}

/// A file to be written in the end, whose path is known to be writable from the beginning.
///
/// Regular files are replaced by renaming, so a reader sees the old or the new content, never half of it. Until
/// [`Destination::write`] there is nothing of it: a command that is killed in the middle of a capture leaves no temporary.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A regular file, or one that does not exist yet.
    File { path: PathBuf },
    /// A pipe or a device: written directly.
    Special { path: PathBuf, file: File },
}

impl Destination {
    /// Makes sure that `path` can be written (`-` is stdout).
    ///
    /// # Errors
    /// It cannot be.
    pub fn open(path: &Path) -> Result<Destination, Failure> {
        if path == Path::new("-") {
            return Ok(Destination::Stdout);
        }
        let refused = |error| Failure::Output { path: path.to_owned(), error };
        let opened = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Destination::beside(path),
            // A symbolic link stays, and what it points to is replaced.
            Ok(facts) if facts.is_file() => {
                fs::canonicalize(path).and_then(|real| Destination::beside(&real))
            }
            _ => OpenOptions::new()
                .write(true)
                .open(path)
                .map(|file| Destination::Special { path: path.to_owned(), file }),
        };
        opened.map_err(refused)
    }

    fn beside(path: &Path) -> io::Result<Destination> {
        Temporary::beside(path)?;
        Ok(Destination::File { path: path.to_owned() })
    }

    /// Writes everything, and puts the file into its place.
    ///
    /// # Errors
    /// The disk is full, the limit on the size of files too low, or somebody changed the directory meanwhile.
    pub fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        let (path, written) = match self {
            Destination::Stdout => return print_bytes(bytes),
            Destination::Special { path, mut file } => (path, file.write_all(bytes)),
            Destination::File { path } => {
                let written =
                    Temporary::beside(&path).and_then(|temporary| temporary.become_file(&path, bytes));
                (path, written)
            }
        };
        written.map_err(|error| Failure::Output { path, error: explain(error) })
    }
}

/// Makes the limit on the size of files (`ulimit -f`) an error of the write that reaches it. Without this it also sends
/// SIGXFSZ, which ends the command in the middle of whatever it does. A handler, because children inherit no handlers.
///
/// # Errors
/// The system has no room for a handler.
pub fn survive_file_limit() -> Result<(), Failure> {
    let handled = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    handled.map(drop).map_err(|error| Failure::system("handle SIGXFSZ", error))
}

/// Names the limit, where that is what refused a write.
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            io::Error::new(error.kind(), "it would exceed the file size limit (ulimit -f)")
        }
        _ => error,
    }
}

/// A hidden file beside the one that it is to become; removed when dropped before that.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Temporary> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let path = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Temporary { path, file })
    }

    fn become_file(mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the renaming it is not there, which is fine.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("loopscope-output-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn a_terminal_acts_on_our_own_emphasis_only() {
        for (text, expected) in [
            ("plain é 中文\n", "plain é 中文\n"),
            ("\u{1b}[1;31mSTALLED\u{1b}[0m web\n", "\u{1b}[1;31mSTALLED\u{1b}[0m web\n"),
            ("a\u{1b}]0;x\u{7}\u{1b}[2Jb\rc\u{202e}\n", "a\\u{1b}]0;x\\u{7}\\u{1b}[2Jb\\rc\\u{202e}\n"),
            ("\u{1b}", "\\u{1b}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_file_is_replaced_only_by_writing() {
        let directory = scratch("replace");
        let path = directory.join("out.svg");
        fs::write(&path, "old").unwrap();
        drop(Destination::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let destination = Destination::open(&path).unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "who is killed now leaves nothing");
        destination.write(b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        let left: Vec<_> = fs::read_dir(&directory).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_written_is_told_at_once() {
        let directory = scratch("refuse");
        for path in [directory.join("missing/out.svg"), directory.clone()] {
            let failure = Destination::open(&path).unwrap_err();
            assert!(failure.to_string().contains(path.to_str().unwrap()), "{failure}");
            assert_eq!(failure.exit_code(), 1);
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        Destination::open(Path::new("/dev/null")).unwrap().write(b"gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
