//! Which module a path leads to: the one that defines what it names, through every re-export on the way.

use super::modules::Tree;

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a module itself.
    Module(usize),
    /// To something that is defined in this module.
    Item(usize),
    /// Out of the crate.
    Foreign,
}

/// The imports that are being followed, each a module and a name, so that a circle of them ends.
type Followed = Vec<(usize, String)>;

impl Tree {
    /// Returns where `path`, named in module `from`, leads; none for names that are not ours, such as a variable's.
    pub fn resolve(&self, from: usize, path: &[String]) -> Option<Target> {
        self.follow(from, path, &mut Vec::new())
    }

    fn follow(&self, from: usize, path: &[String], followed: &mut Followed) -> Option<Target> {
        let (mut at, mut rest) = (from, path);
        let mut is_explicit = false;
        while let Some((first, after)) = rest.split_first() {
            at = match first.as_str() {
                "crate" => 0,
                "self" => at,
                "super" => self.modules[at].parent?,
                _ => break,
            };
            (rest, is_explicit) = (after, true);
        }
        while let Some((name, after)) = rest.split_first() {
            match self.lookup(at, name, after.is_empty(), followed) {
                Some(Target::Module(module)) => (at, rest) = (module, after),
                Some(found) => return Some(found),
                // Defined by a macro.
                None if is_explicit => return Some(Target::Item(at)),
                None => return None,
            }
            is_explicit = true;
        }
        Some(Target::Module(at))
    }

    /// Returns what `name` is in a module. Where both a module and something else has the name, the last part of a path
    /// is the latter.
    fn lookup(&self, at: usize, name: &str, is_last: bool, followed: &mut Followed) -> Option<Target> {
        let module = &self.modules[at];
        let child = module.children.get(name).map(|child| Target::Module(*child));
        let item = module.items.contains(name).then_some(Target::Item(at));
        let own = if is_last { item.or(child) } else { child.or(item) };
        if own.is_some() || followed.iter().any(|known| known.0 == at && known.1 == name) {
            return own;
        }
        followed.push((at, name.to_owned()));
        let found = self.imported(at, name, is_last, followed);
        followed.pop();
        found
    }

    fn imported(&self, at: usize, name: &str, is_last: bool, followed: &mut Followed) -> Option<Target> {
        let imports = &self.modules[at].imports;
        let named: Vec<_> = imports.iter().filter(|import| import.name.as_deref() == Some(name)).collect();
        if let Some(found) = named.iter().find_map(|import| self.follow(at, &import.path, followed)) {
            return Some(found);
        }
        if !named.is_empty() {
            return Some(Target::Foreign);
        }
        let globs = imports.iter().filter(|import| import.name.is_none());
        for glob in globs {
            if let Some(Target::Module(module)) = self.follow(at, &glob.path, followed)
                && let Some(found) = self.lookup(module, name, is_last, followed)
            {
                return Some(found);
            }
        }
        None
    }
}
