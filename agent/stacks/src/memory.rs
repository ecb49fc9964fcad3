//! Reading this process's memory by system call, so that an address that is not mapped any more is an error and not a
//! crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// `/proc/self/mem`, opened once. A forked child that inherits it would read its parent, so it is never kept for long.
pub(crate) struct Memory(File);

impl Memory {
    pub fn open() -> io::Result<Memory> {
        File::open("/proc/self/mem").map(Memory)
    }

    /// Reads up to `N` bytes at an address; all or nothing.
    pub fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact_at(&mut bytes, address).ok().map(|()| bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_mapped_and_refuses_the_rest() {
        let memory = Memory::open().unwrap();
        let value = 0x0123_4567_89ab_cdef_u64;
        assert_eq!(memory.read((&raw const value).addr() as u64), Some(value.to_ne_bytes()));
        assert_eq!(memory.read::<8>(8), None);
    }
}
