//! Scopes in which Node calls callbacks: open within each other, each closed in its turn.

use crate::names::Named;

/// Scopes within each other that are kept apart; deeper ones are counted only.
const SCOPES: u16 = 64;

/// A scope in which Node calls callbacks. Its fields are read one by one, never copied as a whole: it was mostly written just now,
/// and what is read at once must have been written so, or the processor waits for it.
#[derive(Debug)]
pub(super) struct Scope {
    /// The resource that is called; 0 for none.
    pub(super) id: u64,
    /// Entries so far, since the batch that runs in it went on after an exception.
    pub(super) entries: u32,
    /// What its name stands for.
    pub(super) named: Named,
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
}

/// The scopes that are open.
// In this order: of most programs one is open at most, and it is with what every entry needs.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Scopes {
    /// Those around the innermost, the outermost first.
    outer: Vec<Scope>,
    /// So many are open and kept apart.
    depth: u16,
    /// The outermost is that of immediates, and Node did not tell it.
    is_outermost_untold: bool,
    /// Scopes that found no room.
    deeper: u32,
    /// What has begun last, where one is open.
    innermost: Scope,
}

/// Where in it begins what every entry needs.
pub(super) const HOT: usize = std::mem::offset_of!(Scopes, depth);

impl Scopes {
    /// None is open; `named` is of no use.
    pub(super) fn new(named: Named) -> Scopes {
        let innermost = Scope { id: 0, entries: 0, named, has_no_list: false };
        let outer = Vec::with_capacity(usize::from(SCOPES));
        Scopes { depth: 0, is_outermost_untold: false, deeper: 0, innermost, outer }
    }

    /// Returns the innermost.
    #[inline]
    pub(super) fn last(&self) -> Option<&Scope> {
        (self.depth != 0).then_some(&self.innermost)
    }

    /// Counts an entry of the innermost, and returns which it is. In one that Node did not tell there may be entries that are none of
    /// it: they are not to be counted.
    #[inline]
    pub(super) fn count(&mut self) -> Entered {
        let Some(scope) = self.last_mut() else { return Entered::Outside };
        scope.entries += 1;
        if scope.entries == 1 { Entered::First(scope.id) } else { Entered::Again(scope.entries) }
    }

    /// Returns the innermost, to be changed.
    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<&mut Scope> {
        (self.depth != 0).then_some(&mut self.innermost)
    }

    /// Begins one that Node does not tell: it ends with [`Scopes::forget`].
    pub(super) fn begin_untold(&mut self, named: Named) {
        self.is_outermost_untold = self.is_empty();
        self.begin(named, 0);
    }

    /// Tells whether the innermost is one that Node did not tell.
    #[inline]
    pub(super) fn is_untold(&self) -> bool {
        self.is_outermost_untold && self.depth == 1
    }

    /// Tells whether one is open that Node did not tell.
    #[inline]
    pub(super) fn has_untold(&self) -> bool {
        self.is_outermost_untold
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    #[inline]
    pub(super) fn begin(&mut self, named: Named, id: u64) {
        let scope = Scope { id, entries: 0, named, has_no_list: false };
        match self.depth {
            0 => self.innermost = scope,
            SCOPES => return self.deeper += 1,
            _ => self.begin_within(scope),
        }
        self.depth += 1;
    }

    #[inline(never)]
    fn begin_within(&mut self, scope: Scope) {
        self.outer.push(std::mem::replace(&mut self.innermost, scope));
    }

    #[inline]
    pub(super) fn end(&mut self) {
        match (self.deeper, self.depth) {
            (0, 0) => {}
            (0, 1) => self.depth = 0,
            _ => self.end_within(),
        }
    }

    #[inline(never)]
    fn end_within(&mut self) {
        if self.deeper > 0 {
            self.deeper -= 1;
        } else if let Some(scope) = self.outer.pop() {
            self.innermost = scope;
            self.depth -= 1;
        }
    }

    /// libuv is between two callbacks, so no scope is open: the end of one is not told where a trace of the program's own ends
    /// inside of it.
    #[inline]
    pub(super) fn forget(&mut self) {
        if self.depth > 1 {
            self.outer.clear();
        }
        (self.depth, self.deeper, self.is_outermost_untold) = (0, 0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Class;
    use loopscope_probe::{Kind, SiteId};

    #[test]
    fn scopes_are_closed_in_their_turn_and_the_deepest_are_counted() {
        let named =
            Named { class: Class::Callback, kind: Kind::IoRead, site: SiteId::NONE, is_scoped: false };
        let mut scopes = Scopes::new(named);
        scopes.end();
        assert_eq!((scopes.is_empty(), scopes.count()), (true, Entered::Outside));
        let last = u64::from(SCOPES);
        for id in 1..=last + 3 {
            scopes.begin(named, id);
            let innermost = id.min(last);
            let expected =
                if id > last { Entered::Again((id - last) as u32 + 1) } else { Entered::First(id) };
            assert_eq!((scopes.count(), scopes.last().unwrap().id), (expected, innermost));
        }
        for left in (0..last + 3).rev() {
            scopes.end();
            assert_eq!(scopes.last().map_or(0, |scope| scope.id), left.min(last));
        }
        scopes.begin_untold(named);
        assert!(scopes.is_untold() && scopes.has_untold());
        scopes.begin(named, 7);
        assert_eq!(
            (scopes.is_untold(), scopes.has_untold(), scopes.count()),
            (false, true, Entered::First(7))
        );
        scopes.forget();
        assert!(scopes.is_empty() && !scopes.has_untold() && scopes.outer.is_empty());
    }
}
