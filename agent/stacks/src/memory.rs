//! Reading this process's memory by system call, so that an address that is not mapped any more is an error and not a
//! crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// This process's memory: by `process_vm_readv`, or by `/proc/self/mem` where a filter on system calls forbids that.
///
/// A forked child that inherits the file would read its parent, so it is never kept for long.
#[derive(Debug)]
pub struct Memory {
    file: Option<File>,
}

impl Memory {
    /// Tries the call once, and opens the file only where it is refused.
    ///
    /// # Errors
    /// Neither can be had.
    pub fn open() -> io::Result<Memory> {
        let known = 0_u8;
        let called = call((&raw const known).addr() as u64, &mut [1]);
        let file = if called.is_ok() { None } else { Some(File::open("/proc/self/mem")?) };
        Ok(Memory { file })
    }

    /// Reads `N` bytes at an address; all or nothing.
    pub fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read_into(address, &mut bytes).ok().map(|()| bytes)
    }

    /// Fills `bytes` from an address on; what they hold after an error is unspecified.
    ///
    /// # Errors
    /// What the kernel says, `EFAULT` or `EIO` where not all of it is mapped.
    pub fn read_into(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(bytes, address),
            None => call(address, bytes),
        }
    }
}

/// Fills `bytes` by `process_vm_readv`.
fn call(address: u64, bytes: &mut [u8]) -> io::Result<()> {
    let to = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let from =
        libc::iovec { iov_base: std::ptr::without_provenance_mut(address as usize), iov_len: bytes.len() };
    // SAFETY: getpid takes nothing and returns a number.
    let own = unsafe { libc::getpid() };
    // SAFETY: the kernel writes at most `iov_len` bytes into `bytes`, which is borrowed mutably; what it reads from it
    // checks itself.
    let read = unsafe { libc::process_vm_readv(own, &to, 1, &from, 1, 0) };
    match usize::try_from(read) {
        Ok(read) if read == bytes.len() => Ok(()),
        // The rest is not mapped.
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_mapped_and_refuses_the_rest() {
        let by_file = Memory { file: Some(File::open("/proc/self/mem").unwrap()) };
        for memory in [Memory::open().unwrap(), by_file] {
            let value = 0x0123_4567_89ab_cdef_u64;
            assert_eq!(memory.read((&raw const value).addr() as u64), Some(value.to_ne_bytes()));
            assert_eq!(memory.read::<8>(8), None);
        }
    }
}
