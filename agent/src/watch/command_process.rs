//! What running a command on an incident needs of the system: a file in memory as its standard input, and killing it
//! together with what it started.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::FromRawFd;

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
    use std::io::Read;

    #[test]
    fn it_is_read_from_its_begin() {
        let mut text = String::new();
        memory_file(b"{}\n").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}\n");
    }
}
