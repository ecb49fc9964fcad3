//! A file in memory, as the standard input of a command: whoever does not read it holds nobody up.

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
