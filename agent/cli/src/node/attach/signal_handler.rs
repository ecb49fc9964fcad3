//! Whether a program handles SIGUSR1 itself: Node does too, and /proc tells only that somebody does.
//!
//! Handlers of programs are libuv's, which keeps them in a tree, in a static variable. It is read from the process's memory, where
//! the file has symbols and the kernel permits it; else it is not known.

use loopscope_stacks::{ElfSymbols, SymbolTable};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

const TREE: &[u8] = b"uv__signal_tree";
/// Where fields of `uv_signal_t` are, in all versions 1.x on 64-bit systems: the signal, and the tree's children.
const NUMBER: u64 = 104;
const CHILDREN: [u64; 2] = [112, 120];
/// Handlers that are looked at, at most.
const HANDLERS_MAX: usize = 1_000;
const SIGUSR1: u32 = 10;

/// The tree of a process.
#[derive(Debug)]
pub struct SignalTree {
    memory: File,
    root: u64,
}

impl SignalTree {
    /// Finds it, in the process that `node` is a part of; `None` where that cannot be.
    pub fn find(pid: u32, node: &Path) -> Option<SignalTree> {
        let mut symbols = ElfSymbols::open(node, SymbolTable::All).ok()?;
        // Compilers append a dot and a number to some.
        let is_it = |name: &[u8]| name.strip_prefix(TREE).is_some_and(|rest| matches!(rest, [] | [b'.', ..]));
        let address = symbols.address_of(is_it).ok()??;
        let base = if symbols.is_fixed() { 0 } else { base_of(pid, node)? };
        Some(SignalTree { memory: File::open(format!("/proc/{pid}/mem")).ok()?, root: base + address })
    }

    /// Tells whether the program handles SIGUSR1 now; `None` where it cannot be known.
    pub fn has_own_handler(&self) -> Option<bool> {
        let read = |address: u64| {
            let mut word = [0; 8];
            self.memory.read_exact_at(&mut word, address).ok()?;
            Some(u64::from_le_bytes(word))
        };
        has(read, self.root, SIGUSR1)
    }
}

/// Walks the tree whose root is at this address.
fn has(read: impl Fn(u64) -> Option<u64>, root: u64, signal: u32) -> Option<bool> {
    let mut coming = vec![read(root)?];
    for _ in 0..HANDLERS_MAX {
        let Some(handler) = coming.pop() else { return Some(false) };
        if handler == 0 {
            continue;
        }
        if read(handler + NUMBER)? as u32 == signal {
            return Some(true);
        }
        for child in CHILDREN {
            coming.push(read(handler + child)?);
        }
    }
    None
}

/// Returns where the begin of the file is mapped.
fn base_of(pid: u32, node: &Path) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.ends_with(node.to_str().unwrap_or("?")))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_handler_anywhere_in_the_tree_is_found() {
        let mut memory = HashMap::from([(8, 1000)]);
        for (handler, signal, children) in
            [(1000, 15, [2000, 3000]), (2000, 2, [0, 0]), (3000, 28, [0, 4000]), (4000, 10, [0, 0])]
        {
            memory.insert(handler + NUMBER, signal);
            memory.extend(CHILDREN.into_iter().zip(children).map(|(at, child)| (handler + at, child)));
        }
        let read = |address| memory.get(&address).copied();
        assert_eq!(has(read, 8, 10), Some(true));
        assert_eq!(has(read, 8, 1), Some(false));
        assert_eq!(has(read, 16, 10), None, "what cannot be read is not known");
    }
}
