//! What running a command on an incident needs of the system: a file in memory as its standard input, and killing it
//! together with what it started.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

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

/// Has the command begin with no signal blocked: our threads have all of them blocked, and it inherits that. Not by unblocking them
/// here: a signal that the host waits for elsewhere (`sigwait`, a signalfd) would be taken by our thread, and end the process.
pub(crate) fn unblock_signals(command: &mut Command) {
    let unblock = || {
        // SAFETY: a set of signals is plain data, for which zeros are valid.
        let mut none: libc::sigset_t = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: `none` is room for a set.
        unsafe { libc::sigemptyset(&mut none) };
        // SAFETY: the set is initialized; the old one is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: what is called between fork and exec, sigemptyset and sigprocmask, is async-signal-safe, and nothing is allocated.
    unsafe { command.pre_exec(unblock) };
}

// Killing a command together with what it started.

/// Kills every process of the group of `leader`, which must be a child that was not waited for yet.
pub(crate) fn kill_group(leader: u32) {
    let Some(group) = i32::try_from(leader).ok().filter(|group| *group > 1) else { return };
    // SAFETY: kill takes two numbers and touches no memory of ours. The group is that of a child which nobody has waited
    // for, so its number is not another's.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::file_limit::without_signals;
    use std::io::Read;

    /// Returns which signals a program blocks, as `/proc` has it: sixteen digits.
    fn blocked(status: &str) -> String {
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap_or_default();
        line.trim().to_owned()
    }

    #[test]
    fn a_command_has_no_signal_blocked_and_the_thread_that_starts_it_keeps_all() {
        let start = || {
            let mut command = Command::new("cat");
            command.arg("/proc/self/status");
            unblock_signals(&mut command);
            let output = command.output().unwrap();
            (output, std::fs::read_to_string("/proc/thread-self/status").unwrap())
        };
        let (output, own) = without_signals(start);
        assert_eq!(blocked(&String::from_utf8_lossy(&output.stdout)), "0".repeat(16));
        assert_ne!(blocked(&own), "0".repeat(16));
    }

    #[test]
    fn it_is_read_from_its_begin() {
        let mut text = String::new();
        memory_file(b"{}\n").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}\n");
    }
}
