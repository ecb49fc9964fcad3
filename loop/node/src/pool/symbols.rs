//! Where libuv's pool keeps its static variables: by the symbol table of the program's own file.
//!
//! Node as it is built by its project is not stripped. Local symbols follow the name of the source file that they are of, and
//! that of the pool is `threadpool.c`. Only local symbols are read, in pieces: a few hundred KiB to 3 MB of a file of 120 MB.

use crate::sys::PoolAddresses;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The source file that the variables are of.
const SOURCE: &[u8] = b"threadpool.c";
const SYMBOL_BYTES: usize = 24;
const SECTION_BYTES: usize = 64;
/// Symbols that are read at once.
const PIECE: usize = 4096;
/// Bytes of names that are read at once.
const WINDOW: usize = 1 << 16;
/// Longest name that is looked at.
const NAME_BYTES: usize = 32;

const TYPE_OBJECT: u8 = 1;
const TYPE_FILE: u8 = 4;
const SECTION_SYMBOLS: u32 = 2;
const FIXED: u16 = 2;

fn wrong(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap_or_default())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

/// Tells whether a program's file may have symbols of the pool: it is at fixed addresses, and not stripped. Reads a few KiB.
pub fn are_possible(program: &Path) -> bool {
    File::open(program).and_then(|file| Symbols::of(&file)).is_ok()
}

/// The symbol table of a file.
struct Symbols {
    /// The headers of the table's section, and of that with its names.
    table: [u8; SECTION_BYTES],
    names: [u8; SECTION_BYTES],
}

impl Symbols {
    fn of(file: &File) -> io::Result<Symbols> {
        let mut head = [0u8; 64];
        file.read_exact_at(&mut head, 0)?;
        if !head.starts_with(b"\x7fELF\x02\x01") {
            return Err(wrong("the executable is not 64-bit"));
        }
        if u16_at(&head, 16) != FIXED {
            return Err(wrong("the executable is not at a fixed address"));
        }
        let mut sections = vec![0u8; usize::from(u16_at(&head, 60)) * SECTION_BYTES];
        file.read_exact_at(&mut sections, u64_at(&head, 40))?;
        let sections: Vec<[u8; SECTION_BYTES]> =
            sections.chunks_exact(SECTION_BYTES).filter_map(|section| section.try_into().ok()).collect();
        let table = sections.iter().find(|section| u32_at(&section[..], 4) == SECTION_SYMBOLS);
        let Some(table) = table else { return Err(wrong("the executable is stripped")) };
        let names = sections.get(u32_at(table, 40) as usize).ok_or_else(|| wrong("symbols without names"))?;
        Ok(Symbols { table: *table, names: *names })
    }
}

/// Finds the variables in a program's file.
///
/// # Errors
/// The file cannot be read, is no 64-bit program at fixed addresses, or has no symbols of the pool.
pub fn locate(program: &Path) -> io::Result<PoolAddresses> {
    let file = File::open(program)?;
    let Symbols { table, names } = Symbols::of(&file)?;
    let mut names =
        NameWindow { file: &file, offset: u64_at(&names, 24), begin: u64::MAX, bytes: Vec::new() };
    // Local symbols come first; the section says how many there are.
    let (locals, all) = (u64::from(u32_at(&table, 44)), u64_at(&table, 32) / SYMBOL_BYTES as u64);
    let mut search = Search::default();
    let (mut at, end) = (0, locals.min(all));
    while at < end && !search.is_over {
        let number = (end - at).min(PIECE as u64);
        let mut symbols = vec![0u8; number as usize * SYMBOL_BYTES];
        file.read_exact_at(&mut symbols, u64_at(&table, 24) + at * SYMBOL_BYTES as u64)?;
        for symbol in symbols.chunks_exact(SYMBOL_BYTES) {
            search.look(symbol, &mut names)?;
        }
        at += number;
    }
    complete(search.found).ok_or_else(|| wrong("the executable has no symbols of libuv's pool"))
}

/// Names of symbols, of which neighbours are near each other in the file.
struct NameWindow<'a> {
    file: &'a File,
    offset: u64,
    begin: u64,
    bytes: Vec<u8>,
}

impl NameWindow<'_> {
    fn name(&mut self, at: u32) -> io::Result<&[u8]> {
        let at = u64::from(at);
        if at < self.begin || at + NAME_BYTES as u64 > self.begin + self.bytes.len() as u64 {
            self.bytes.resize(WINDOW, 0);
            let read = self.file.read_at(&mut self.bytes, self.offset + at)?;
            self.bytes[read..].fill(0);
            self.begin = at;
        }
        let rest = &self.bytes[(at - self.begin) as usize..];
        let rest = &rest[..NAME_BYTES.min(rest.len())];
        Ok(rest.split(|byte| *byte == 0).next().unwrap_or_default())
    }
}

#[derive(Default)]
struct Search {
    found: PoolAddresses,
    is_inside: bool,
    is_over: bool,
}

impl Search {
    fn look(&mut self, symbol: &[u8], names: &mut NameWindow<'_>) -> io::Result<()> {
        let kind = symbol[4] & 15;
        if kind == TYPE_FILE && !self.is_over {
            self.is_over = self.is_inside;
            self.is_inside = names.name(u32_at(symbol, 0))? == SOURCE;
        } else if self.is_inside && kind == TYPE_OBJECT {
            let (address, bytes) = (u64_at(symbol, 8) as usize, u64_at(symbol, 16));
            let found = &mut self.found;
            let field = match names.name(u32_at(symbol, 0))? {
                b"wq" if bytes == 16 => &mut found.queue,
                b"slow_io_pending_wq" if bytes == 16 => &mut found.slow_queue,
                b"run_slow_work_message" if bytes == 16 => &mut found.slow_marker,
                b"mutex" if bytes == 40 => &mut found.mutex,
                b"nthreads" if bytes == 4 => &mut found.threads,
                b"idle_threads" if bytes == 4 => &mut found.idle,
                _ => return Ok(()),
            };
            *field = address;
        }
        Ok(())
    }
}

/// Tells whether all were found, aligned as they must be.
fn complete(found: PoolAddresses) -> Option<PoolAddresses> {
    let PoolAddresses { queue, slow_queue, slow_marker, mutex, threads, idle } = found;
    let all = [queue, slow_queue, slow_marker, mutex, threads, idle];
    all.iter().all(|address| *address != 0 && address % 4 == 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_the_pool_says_why() {
        let own = std::env::current_exe().unwrap();
        let error = locate(&own).unwrap_err().to_string();
        // Test programs are at no fixed address, and have no libuv.
        assert!(error.contains("fixed") || error.contains("libuv"), "{error}");
        let error = locate(Path::new("/proc/self/status")).unwrap_err().to_string();
        assert!(error.contains("not 64-bit"), "{error}");
        assert!(locate(Path::new("/proc/self/nothing")).is_err());
        assert!(!are_possible(Path::new("/proc/self/status")));
    }
}
