//! Scopes in which Node calls callbacks: open within each other, each closed in its turn.

use crate::names::NameId;

/// Scopes within each other that are kept apart; deeper ones are counted only.
const SCOPES: usize = 64;

/// A scope in which Node calls callbacks. Its fields are read one by one, never copied as a whole: it was mostly written just now,
/// and what is read at once must have been written so, or the processor waits for it.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) name: NameId,
    /// The resource that is called; 0 for none.
    pub(super) id: u64,
    /// Entries so far, since the batch that runs in it went on after an exception.
    pub(super) entries: u32,
    /// Node has emptied its list of resources, so it need not shorten it.
    pub(super) has_no_list: bool,
}

/// Where an entry begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// In no scope.
    Outside,
    /// As the first one of a scope, for this resource.
    First(u64),
    /// As a later one, of this number.
    Again(u32),
    /// In a scope that Node did not tell, or beside it.
    Untold,
}

/// The scopes that are open.
#[derive(Debug)]
pub(super) struct Scopes {
    open: Vec<Scope>,
    /// Scopes that found no room.
    deeper: u32,
    /// The outermost is that of immediates, and Node did not tell it.
    is_outermost_untold: bool,
}

impl Scopes {
    pub(super) fn new() -> Scopes {
        Scopes { open: Vec::with_capacity(SCOPES), deeper: 0, is_outermost_untold: false }
    }

    /// Returns the innermost.
    #[inline]
    pub(super) fn last(&self) -> Option<&Scope> {
        self.open.last()
    }

    /// Counts an entry of the innermost, and returns which it is. In one that Node did not tell there may be entries that are none of
    /// it: there nothing is counted, before it is known ([`Scopes::count`]).
    #[inline]
    pub(super) fn enter(&mut self) -> Entered {
        match self.is_untold() {
            true => Entered::Untold,
            false => self.count(),
        }
    }

    /// [`Scopes::enter`] of one that Node did not tell, once it is known that the entry is its.
    #[inline]
    pub(super) fn count(&mut self) -> Entered {
        let Some(scope) = self.open.last_mut() else { return Entered::Outside };
        scope.entries += 1;
        if scope.entries == 1 { Entered::First(scope.id) } else { Entered::Again(scope.entries) }
    }

    /// Returns the innermost, to be changed.
    pub(super) fn last_mut(&mut self) -> Option<&mut Scope> {
        self.open.last_mut()
    }

    /// Begins one that Node does not tell: it ends with [`Scopes::forget`].
    pub(super) fn begin_untold(&mut self, name: NameId) {
        self.is_outermost_untold = self.open.is_empty();
        self.begin(name, 0);
    }

    /// Tells whether the innermost is one that Node did not tell.
    #[inline]
    pub(super) fn is_untold(&self) -> bool {
        self.is_outermost_untold && self.open.len() == 1
    }

    /// Tells whether one is open that Node did not tell.
    pub(super) fn has_untold(&self) -> bool {
        self.is_outermost_untold
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn begin(&mut self, name: NameId, id: u64) {
        match self.open.len() < SCOPES {
            true => self.open.push(Scope { name, id, entries: 0, has_no_list: false }),
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
        self.is_outermost_untold = false;
    }
}
