//! Where libuv's pool keeps its static variables: by the symbol table of the program's own file.
//!
//! Node as it is built by its project is not stripped. Local symbols follow the name of the source file that they are of, and
//! that of the pool is `threadpool.c`. Only local symbols are read, in pieces: a few hundred KiB to 3 MB of a file of 120 MB.

use crate::sys::PoolAddresses;
use loopscope_stacks::{ElfSymbol, ElfSymbols, SymbolKind, SymbolTable};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::Path;

/// The source file that the variables are of.
const SOURCE: &[u8] = b"threadpool.c";
/// Bytes of a link in a ring.
const LINK_BYTES: u64 = 2 * size_of::<usize>() as u64;

fn wrong(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}

fn open(program: &Path) -> io::Result<ElfSymbols> {
    let symbols = ElfSymbols::open(program, SymbolTable::Local)?;
    match symbols.is_fixed() {
        true => Ok(symbols),
        false => Err(wrong("the file is not at a fixed address")),
    }
}

/// Tells whether a program's file may have symbols of the pool: it is at fixed addresses, and not stripped. Reads a few KiB.
pub fn are_possible(program: &Path) -> bool {
    open(program).is_ok()
}

/// Finds the variables in a program's file.
///
/// # Errors
/// The file cannot be read, is no 64-bit program at fixed addresses, or has no symbols of the pool.
pub fn locate(program: &Path) -> io::Result<PoolAddresses> {
    let mut search = Search::default();
    open(program)?.each(|symbol| search.look(symbol))?;
    complete(search.found).ok_or_else(|| wrong("the file has no symbols of libuv's pool"))
}

#[derive(Default)]
struct Search {
    found: PoolAddresses,
    is_inside: bool,
}

impl Search {
    fn look(&mut self, mut symbol: ElfSymbol<'_>) -> io::Result<ControlFlow<()>> {
        let (kind, address, bytes) = (symbol.kind(), symbol.address() as usize, symbol.bytes());
        if kind == SymbolKind::SourceFile {
            if self.is_inside {
                return Ok(ControlFlow::Break(()));
            }
            self.is_inside = symbol.name()? == SOURCE;
        } else if self.is_inside && kind == SymbolKind::Object {
            let found = &mut self.found;
            let field = match symbol.name()? {
                b"wq" if bytes == LINK_BYTES => &mut found.queue,
                b"slow_io_pending_wq" if bytes == LINK_BYTES => &mut found.slow_queue,
                b"run_slow_work_message" if bytes == LINK_BYTES => &mut found.slow_marker,
                b"slow_io_work_running" if bytes == 4 => &mut found.slow_running,
                b"nthreads" if bytes == 4 => &mut found.threads,
                b"idle_threads" if bytes == 4 => &mut found.idle,
                _ => return Ok(ControlFlow::Continue(())),
            };
            *field = address;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Tells whether all were found, aligned as they must be.
fn complete(found: PoolAddresses) -> Option<PoolAddresses> {
    let PoolAddresses { queue, slow_queue, slow_marker, slow_running, threads, idle } = found;
    let all = [queue, slow_queue, slow_marker, slow_running, threads, idle];
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
        assert!(error.contains("not a 64-bit executable"), "{error}");
        assert!(locate(Path::new("/proc/self/nothing")).is_err());
        assert!(!are_possible(Path::new("/proc/self/status")));
    }
}
