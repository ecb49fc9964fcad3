//! Symbols of a program's file: whether it has a function, and where a variable is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of a table that are read at most: those of Node have 30 MB.
const TABLE_MAX: u64 = 256 << 20;
const SYMTAB: u32 = 2;
const DYNSYM: u32 = 11;
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
/// `e_type` of a program that is where its file says.
const FIXED: u16 = 2;

/// Tells whether a file exports a function of this name.
pub fn has_function(file: &Path, name: &str) -> bool {
    let is_it = |found: &[u8]| found == name.as_bytes();
    File::open(file).ok().and_then(|file| value(&file, DYNSYM, is_it)).is_some()
}

/// Where a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its address as the file has it.
    pub address: u64,
    /// The file is mapped at its own addresses, not at others.
    pub is_fixed: bool,
}

/// Finds a variable of this name, exported or not; compilers append a dot and a number to some.
pub fn variable(file: &Path, name: &str) -> Option<Variable> {
    let file = File::open(file).ok()?;
    let is_it = |found: &[u8]| {
        let rest = found.strip_prefix(name.as_bytes());
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'.'))
    };
    let address = value(&file, SYMTAB, is_it)?;
    let mut kind = [0; 2];
    file.read_exact_at(&mut kind, 16).ok()?;
    Some(Variable { address, is_fixed: u16::from_le_bytes(kind) == FIXED })
}

/// Returns the value of the first defined symbol, in a table of this kind, whose name fits.
fn value(file: &File, kind: u32, fits: impl Fn(&[u8]) -> bool) -> Option<u64> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    // 64 bits, little-endian.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = usize::from(u16::from_le_bytes(header[60..62].try_into().ok()?));
    let sections = read(file, word(&header, 40)?, (number * SECTION_BYTES) as u64)?;
    let section = |index: usize| sections.get(index * SECTION_BYTES..)?.get(..SECTION_BYTES);
    let table = (0..number).filter_map(section).find(|section| half(section, 4) == Some(kind))?;
    let names = section(half(table, 40)? as usize)?;
    let symbols = read(file, word(table, 24)?, word(table, 32)?)?;
    let names = read(file, word(names, 24)?, word(names, 32)?)?;
    let found = symbols.chunks_exact(SYMBOL_BYTES).find(|symbol| {
        let name = half(symbol, 0).and_then(|at| names.get(at as usize..)).unwrap_or_default();
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        symbol[6..8] != [0, 0] && fits(&name[..end])
    })?;
    word(found, 8)
}

fn read(file: &File, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut table = vec![0; usize::try_from(bytes).ok().filter(|_| bytes <= TABLE_MAX)?];
    file.read_exact_at(&mut table, offset).ok()?;
    Some(table)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_has_no_symbols() {
        for file in ["/proc/self/status", "/nowhere", "/proc/self/cmdline"] {
            assert!(!has_function(Path::new(file), "main"), "{file}");
        }
        let own = std::env::current_exe().unwrap();
        assert!(variable(&own, "no_such_variable_in_here").is_none());
        assert!(variable(&own, "main").is_some(), "a symbol of the tests' own");
    }
}
