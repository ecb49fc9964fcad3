//! Symbols of a program's file: where a function or a variable is that the file has a name for.
//!
//! They are read in pieces: those of Node have 30 MB, and of its local ones a few hundred KiB are enough to find some. No process is
//! looked at: addresses are those of the file.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

const HEADER_BYTES: usize = 64;
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
/// Symbols that are read at once.
const PIECE: u64 = 2048;
/// Bytes of names that are read at once, where neighbours are near each other.
const WINDOW: usize = 1 << 16;
/// Names are this long at most, in bytes; of longer ones the begin is given.
const NAME_BYTES: usize = 256;
/// A table of names is at most this long, in bytes.
const NAMES_MAX: u64 = 256 << 20;

const SECTION_SYMBOLS: u32 = 2;
const SECTION_EXPORTS: u32 = 11;
/// `e_type` of a program that is where its file says.
const FIXED: u16 = 2;

/// Which symbols are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolTable {
    /// What other files can take.
    Exported,
    /// All that was left in the file: nothing, where it is stripped.
    All,
    /// Those of `All` that belong to one source file each; they follow the symbol that names it.
    Local,
}

/// What a symbol stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SymbolKind {
    /// A variable.
    Object,
    /// A function.
    Function,
    /// No place: the name of the source file that the local symbols after it are of.
    SourceFile,
    /// Anything else.
    Other,
}

/// A symbol, while it is looked at.
#[derive(Debug)]
pub struct ElfSymbol<'a> {
    raw: &'a [u8],
    names: &'a mut Names,
    file: &'a File,
}

impl ElfSymbol<'_> {
    /// Returns what it stands for.
    pub fn kind(&self) -> SymbolKind {
        match self.raw[4] & 15 {
            1 => SymbolKind::Object,
            2 => SymbolKind::Function,
            4 => SymbolKind::SourceFile,
            _ => SymbolKind::Other,
        }
    }

    /// Tells whether it is in this file, and not taken from another one.
    pub fn is_defined(&self) -> bool {
        self.raw[6..8] != [0, 0]
    }

    /// Returns its address, as the file has it.
    pub fn address(&self) -> u64 {
        u64_at(self.raw, 8)
    }

    /// Returns how many bytes it has.
    pub fn bytes(&self) -> u64 {
        u64_at(self.raw, 16)
    }

    /// Returns its name, of which at most 256 bytes are read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn name(&mut self) -> io::Result<&[u8]> {
        self.names.name(self.file, u32_at(self.raw, 0))
    }
}

/// The symbols of a file.
#[derive(Debug)]
pub struct ElfSymbols {
    file: File,
    is_fixed: bool,
    /// Where the table begins in the file, and how many symbols are read of it.
    begin: u64,
    count: u64,
    names: Names,
}

impl ElfSymbols {
    /// Opens a file, and finds the table in it. Reads a few KiB; and all names, where neighbours need not be near each other.
    ///
    /// # Errors
    /// It cannot be read, is no program or library for 64-bit processors, or has no such table.
    pub fn open(path: &Path, table: SymbolTable) -> io::Result<ElfSymbols> {
        let file = File::open(path)?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        // 64 bits, little-endian.
        if !header.starts_with(b"\x7fELF\x02\x01") {
            return Err(wrong("the file is not a 64-bit executable"));
        }
        let mut sections = vec![0; usize::from(u16_at(&header, 60)) * SECTION_BYTES];
        file.read_exact_at(&mut sections, u64_at(&header, 40))?;
        let wanted = if table == SymbolTable::Exported { SECTION_EXPORTS } else { SECTION_SYMBOLS };
        let sections: Vec<&[u8]> = sections.chunks_exact(SECTION_BYTES).collect();
        let found = sections.iter().find(|section| u32_at(section, 4) == wanted);
        let found = found.ok_or_else(|| wrong("the file is stripped"))?;
        let names = sections
            .get(u32_at(found, 40) as usize)
            .ok_or_else(|| wrong("symbols of the file have no names"))?;
        let (offset, bytes) = (u64_at(names, 24), u64_at(names, 32));
        let names = match table {
            SymbolTable::Local => Names { offset, begin: u64::MAX, bytes: Vec::new(), is_whole: false },
            _ if bytes > NAMES_MAX => {
                return Err(wrong("the symbol table of the file is damaged: its names are too large"));
            }
            _ => {
                let mut all = vec![0; bytes as usize];
                file.read_exact_at(&mut all, offset)?;
                Names { offset, begin: 0, bytes: all, is_whole: true }
            }
        };
        // Local symbols come first, and the section says how many there are.
        let all = u64_at(found, 32) / SYMBOL_BYTES as u64;
        let count = if table == SymbolTable::Local { all.min(u64::from(u32_at(found, 44))) } else { all };
        Ok(ElfSymbols {
            is_fixed: u16_at(&header, 16) == FIXED,
            begin: u64_at(found, 24),
            count,
            names,
            file,
        })
    }

    /// Tells whether the file is mapped at its own addresses, and not at others.
    pub fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Has each symbol looked at, in their order, until one of them ends that.
    ///
    /// # Errors
    /// The file cannot be read; or what `look` returns.
    pub fn each(
        &mut self,
        mut look: impl FnMut(ElfSymbol<'_>) -> io::Result<ControlFlow<()>>,
    ) -> io::Result<()> {
        let mut piece = vec![0; self.count.min(PIECE) as usize * SYMBOL_BYTES];
        let mut at = 0;
        while at < self.count {
            piece.truncate((self.count - at).min(PIECE) as usize * SYMBOL_BYTES);
            self.file.read_exact_at(&mut piece, self.begin + at * SYMBOL_BYTES as u64)?;
            for raw in piece.chunks_exact(SYMBOL_BYTES) {
                let symbol = ElfSymbol { raw, names: &mut self.names, file: &self.file };
                if look(symbol)?.is_break() {
                    return Ok(());
                }
            }
            at += PIECE;
        }
        Ok(())
    }

    /// Returns the address of the first symbol in this file whose name fits, as the file has it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn address_of(&mut self, fits: impl Fn(&[u8]) -> bool) -> io::Result<Option<u64>> {
        let mut found = None;
        self.each(|mut symbol| {
            if symbol.is_defined() && fits(symbol.name()?) {
                found = Some(symbol.address());
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Names, of which a part is in memory: all, or the neighbourhood of the one that was asked for last.
#[derive(Debug)]
struct Names {
    offset: u64,
    begin: u64,
    bytes: Vec<u8>,
    is_whole: bool,
}

impl Names {
    fn name(&mut self, file: &File, at: u32) -> io::Result<&[u8]> {
        let at = u64::from(at);
        let end = self.begin.saturating_add(self.bytes.len() as u64);
        if !self.is_whole && (at < self.begin || at + NAME_BYTES as u64 > end) {
            self.bytes.resize(WINDOW, 0);
            let read = file.read_at(&mut self.bytes, self.offset + at)?;
            self.bytes[read..].fill(0);
            self.begin = at;
        }
        let rest = self.bytes.get((at - self.begin) as usize..).unwrap_or_default();
        let rest = &rest[..NAME_BYTES.min(rest.len())];
        Ok(rest.split(|byte| *byte == 0).next().unwrap_or_default())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_has_no_symbols() {
        for file in ["/proc/self/status", "/nowhere", "/proc/self/cmdline"] {
            assert!(ElfSymbols::open(Path::new(file), SymbolTable::All).is_err(), "{file}");
        }
    }

    #[test]
    fn a_symbol_of_each_table_is_found_and_one_that_is_not_there_is_not() {
        let own = std::env::current_exe().unwrap();
        let find = |table, name: &str| {
            let mut symbols = ElfSymbols::open(&own, table).unwrap();
            symbols.address_of(|found| found == name.as_bytes()).unwrap()
        };
        assert!(find(SymbolTable::All, "main").is_some_and(|address| address != 0));
        for table in [SymbolTable::Exported, SymbolTable::All, SymbolTable::Local] {
            assert_eq!(find(table, "no_such_symbol_in_here"), None, "{table:?}");
        }
    }

    #[test]
    fn names_are_the_same_however_they_are_read() {
        let own = std::env::current_exe().unwrap();
        let names = |table| {
            let mut all = Vec::new();
            let mut symbols = ElfSymbols::open(&own, table).unwrap();
            symbols
                .each(|mut symbol| {
                    all.push((symbol.kind(), symbol.address(), symbol.bytes(), symbol.name()?.to_vec()));
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
            all
        };
        let (local, all) = (names(SymbolTable::Local), names(SymbolTable::All));
        assert!(local.len() > PIECE as usize && local.len() < all.len(), "{} of {}", local.len(), all.len());
        assert!(local == all[..local.len()]);
        assert!(local.iter().any(|(kind, ..)| *kind == SymbolKind::SourceFile));
    }
}
