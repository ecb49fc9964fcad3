//! Where results go: stdout, or a file that is replaced as a whole or not at all.

use crate::error::Failure;
use crate::paint::emphasis;
use loopscope_probe::printable::{is_hidden, printable, printable_json};
use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

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
/// As [`print`].
pub fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print_bytes(&printable_json(format!("{value:#}\n").into_bytes()))
}

/// Writes JSON that has been serialized as one line, as [`print_json`] does.
///
/// # Errors
/// As [`print`].
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

/// Writes to stdout what is not text.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Output { path: "stdout".into(), error })
        }
        _ => Ok(()),
    }
}

/// A file to be written in the end, whose path is known to be writable from the beginning.
///
/// Regular files are replaced by renaming, so a reader sees the old or the new content, never half of it. Dropping
/// without [`Destination::write`] leaves what was there.
#[derive(Debug)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A regular file, or one that does not exist yet.
    File { path: PathBuf, temporary: PathBuf, file: File },
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
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        Ok(Destination::File { path: path.to_owned(), temporary, file })
    }

    /// Writes everything, and puts the file into its place.
    ///
    /// # Errors
    /// The disk is full, or somebody changed the directory meanwhile.
    pub fn write(mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self {
            Destination::Stdout => print_bytes(bytes),
            Destination::Special { path, file } => {
                file.write_all(bytes).map_err(|error| Failure::Output { path: path.clone(), error })
            }
            Destination::File { path, temporary, file } => {
                let written = file.write_all(bytes).and_then(|()| fs::rename(&*temporary, &*path));
                written.map_err(|error| Failure::Output { path: path.clone(), error })
            }
        }
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Destination::File { temporary, .. } = self {
            // After the renaming it is not there, which is fine.
            let _ = fs::remove_file(temporary);
        }
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
        Destination::open(&path).unwrap().write(b"new").unwrap();
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
