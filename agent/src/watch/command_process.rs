//! Running a command on an incident: a file in memory as its standard input, its start, and killing it together with what it
//! started.

use loopscope_probe::raw::file_limit::set_of;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Returns a file without a name that has these bytes, to be read from its begin.
///
/// # Errors
/// There is no descriptor or no memory left.
pub(crate) fn memory_file(bytes: &[u8]) -> io::Result<File> {
    // SAFETY: the name is a string that ends with a zero byte; the kernel copies it.
    let descriptor = unsafe { libc::memfd_create(c"loopscope-incident".as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nothing else owns it.
    let mut file = unsafe { File::from_raw_fd(descriptor) };
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A command that runs: a child of this process, which leads a group of processes of its own.
#[derive(Debug)]
pub(crate) struct CommandProcess(libc::pid_t);

impl CommandProcess {
    /// Starts a program, found as a shell would, with this file as its standard input and nothing else of this process's.
    ///
    /// By `posix_spawn`, which copies no page tables: a fork would hold up the threads of a large program for milliseconds. The
    /// command begins with no signal blocked, although the calling thread has all of them blocked. They are never unblocked
    /// here: a signal that the host waits for elsewhere (`sigwait`, a signalfd) would be taken by our thread, and end the process.
    ///
    /// # Errors
    /// There is no such program, it may not be run, or the system has no room for it.
    pub fn start(program: &str, args: &[String], input: &File) -> io::Result<CommandProcess> {
        let zero = |_| io::Error::new(io::ErrorKind::InvalidInput, "it has a zero byte");
        let words = std::iter::once(program).chain(args.iter().map(String::as_str));
        let mut words: Vec<CString> =
            words.map(|word| CString::new(word).map_err(zero)).collect::<Result<_, _>>()?;
        let pid = match spawn(&words, input) {
            // A script that does not say by what it is read.
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                words.insert(0, c"/bin/sh".to_owned());
                spawn(&words, input)?
            }
            spawned => spawned?,
        };
        Ok(CommandProcess(pid))
    }

    /// Returns how it ended; `None` while it runs.
    ///
    /// # Errors
    /// Somebody else has waited for it: the program itself, for every child.
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut status = 0;
        // SAFETY: `status` is room for the answer.
        match unsafe { libc::waitpid(self.0, &mut status, libc::WNOHANG) } {
            0 => Ok(None),
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(Some(ExitStatus::from_raw(status))),
        }
    }

    /// Kills it, which nobody has waited for yet, together with what it started, and waits for its end.
    pub fn kill(self) {
        // SAFETY: kill takes two numbers and touches no memory of ours. The group is that of a child which nobody has waited
        // for, so its number is not another's.
        unsafe { libc::kill(-self.0, libc::SIGKILL) };
        // SAFETY: a null status is not asked for.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
    }
}

/// Starts the first of these words with all of them as its arguments, and returns its pid.
fn spawn(words: &[CString], input: &File) -> io::Result<libc::pid_t> {
    // By the standard library, which keeps others from changing the environment meanwhile.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok());
    let variables: Vec<CString> = variables.collect();
    let (words, variables) = (pointers(words), pointers(&variables));
    let (actions, attributes) = (FileActions::new(input)?, Attributes::new()?);
    let mut pid = 0;
    // SAFETY: both lists are pointers to strings that live through the call, and end with null; the name is the first of them;
    // actions and attributes are initialized.
    let error = unsafe {
        libc::posix_spawnp(
            &mut pid,
            words[0],
            &raw const actions.0,
            &raw const attributes.0,
            words.as_ptr().cast(),
            variables.as_ptr().cast(),
        )
    };
    of_call(error).map(|()| pid)
}

/// Returns pointers to strings, with a null behind them.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Makes a result of what functions of posix_spawn return: an error's number, or 0.
fn of_call(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// What the command has open: its input, and nowhere to write to.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new(input: &File) -> io::Result<FileActions> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: there is room for it.
        of_call(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: the call has initialized it.
        let mut actions = FileActions(unsafe { actions.assume_init() });
        // SAFETY: it is initialized, and takes two numbers.
        of_call(unsafe { libc::posix_spawn_file_actions_adddup2(&mut actions.0, input.as_raw_fd(), 0) })?;
        for output in [1, 2] {
            let (nowhere, flags) = (c"/dev/null".as_ptr(), libc::O_WRONLY);
            // SAFETY: it is initialized, and copies the name, which ends with a zero.
            of_call(unsafe {
                libc::posix_spawn_file_actions_addopen(&mut actions.0, output, nowhere, flags, 0)
            })?;
        }
        Ok(actions)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: it is initialized, and not used any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// What the command begins with: a group of its own, no signal blocked, and SIGPIPE as by default, which Rust programs ignore.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Attributes> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: there is room for it.
        of_call(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: the call has initialized it.
        let mut attributes = Attributes(unsafe { attributes.assume_init() });
        let (none, pipe) = (set_of(&[]), set_of(&[libc::SIGPIPE]));
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETPGROUP;
        // SAFETY: both are initialized.
        of_call(unsafe { libc::posix_spawnattr_setsigmask(&mut attributes.0, &none) })?;
        // SAFETY: as above.
        of_call(unsafe { libc::posix_spawnattr_setsigdefault(&mut attributes.0, &pipe) })?;
        // SAFETY: it is initialized; group 0 is one of the command's own.
        of_call(unsafe { libc::posix_spawnattr_setpgroup(&mut attributes.0, 0) })?;
        // SAFETY: it is initialized.
        of_call(unsafe { libc::posix_spawnattr_setflags(&mut attributes.0, flags as libc::c_short) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: it is initialized, and not used any more.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::file_limit::without_signals;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    /// Returns which signals a program blocks, as `/proc` has it: sixteen digits.
    fn blocked(status: &str) -> String {
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or_default();
        line.trim().to_owned()
    }

    /// Waits for the end of a command.
    fn ended(command: &CommandProcess) -> ExitStatus {
        loop {
            match command.try_wait().unwrap() {
                Some(status) => break status,
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_command_has_no_signal_blocked_and_the_thread_that_starts_it_keeps_all() {
        let path = std::env::temp_dir().join(format!("loopscope-command-{}", std::process::id()));
        let script = format!("exec cat /proc/self/status - > {}", path.display());
        let input = memory_file(b"what it reads\n").unwrap();
        let start = || {
            let command = CommandProcess::start("sh", &["-c".to_owned(), script.clone()], &input);
            (command.unwrap(), std::fs::read_to_string("/proc/thread-self/status").unwrap())
        };
        let (command, own) = without_signals(start);
        let status = ended(&command);
        let told = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(status.success() && told.ends_with("what it reads\n"), "{status}: {told}");
        assert_eq!(blocked(&told), "0".repeat(16));
        assert_ne!(blocked(&own), "0".repeat(16));
        assert!(command.try_wait().is_err(), "it was waited for");
    }

    #[test]
    fn a_script_that_does_not_say_by_what_it_is_read_is_the_shells() {
        let path = std::env::temp_dir().join(format!("loopscope-script-{}", std::process::id()));
        std::fs::write(&path, "exit $1\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let input = memory_file(b"").unwrap();
        let command = CommandProcess::start(path.to_str().unwrap(), &["7".to_owned()], &input).unwrap();
        let status = ended(&command);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error() {
        let input = memory_file(b"").unwrap();
        let error = CommandProcess::start("/nonexistent/x", &[], &input).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(CommandProcess::start("a\0b", &[], &input).is_err());
    }

    #[test]
    fn it_is_read_from_its_begin() {
        let mut text = String::new();
        memory_file(b"{}\n").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}\n");
    }
}
