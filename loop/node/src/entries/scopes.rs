//! Scopes in which Node calls callbacks: open within each other, each closed in its turn.

use crate::names::NameId;

/// Scopes within each other that are kept apart; deeper ones are counted only.
const SCOPES: usize = 64;

/// A scope in which Node calls callbacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) name: NameId,
    /// The resource that is called; 0 for none.
    pub(super) id: u64,
    /// Entries so far.
    pub(super) entries: u32,
}

/// The scopes that are open.
#[derive(Debug)]
pub(super) struct Scopes {
    open: Vec<Scope>,
    /// Scopes that found no room.
    deeper: u32,
}

impl Scopes {
    pub(super) fn new() -> Scopes {
        Scopes { open: Vec::with_capacity(SCOPES), deeper: 0 }
    }

    /// Returns the innermost.
    #[inline]
    pub(super) fn last(&self) -> Option<&Scope> {
        self.open.last()
    }

    /// Returns the innermost, for counting its entries.
    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<&mut Scope> {
        self.open.last_mut()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn begin(&mut self, name: NameId, id: u64) {
        match self.open.len() < SCOPES {
            true => self.open.push(Scope { name, id, entries: 0 }),
            false => self.deeper += 1,
        }
    }

    pub(super) fn end(&mut self) {
        match self.deeper {
            0 => drop(self.open.pop()),
            _ => self.deeper -= 1,
        }
    }

    /// libuv is between two callbacks, so no scope is open: the end of one is not told where a trace of the program's own ends
    /// inside of it.
    pub(super) fn forget(&mut self) {
        self.open.clear();
        self.deeper = 0;
    }
}
