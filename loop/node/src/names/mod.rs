//! What an entry into JavaScript is for: by the names of Node's own trace events, and by the resource that Node says it is for.
//!
//! Two of three entries of an HTTP request come without an event of their own: the parser calls JavaScript directly. Node tells
//! the id of the resource then, and the events of its birth and death tell which provider that is.

mod providers;
mod resources;

pub use providers::{Class, Provider, is_scoped, provider};
pub use resources::Resources;

pub use crate::sys::TraceName;
use loopscope_probe::Site;
use loopscope_probe::{SiteId, Writer};

/// Names that are told apart; of about a hundred that Node has. A power of two.
const NAMES: usize = 256;

/// A name's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameId(u8);

/// The names that trace events had, each resolved once, by the address of its constant text.
#[derive(Debug)]
pub struct Names {
    /// Each with the address of its text.
    table: Box<[Option<(usize, Named)>; NAMES]>,
}

/// What a name stands for, on the page of one loop.
// A word, so that it is copied as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(8))]
pub struct Named {
    /// What such an event is.
    pub class: Class,
    /// The kind of entry.
    pub kind: loopscope_probe::Kind,
    /// Its site on the page; none for what is no entry.
    pub site: SiteId,
    /// Node calls such a resource within a scope of its name.
    pub is_scoped: bool,
}

impl Names {
    /// Returns a table without names.
    pub fn new() -> Names {
        Names { table: Box::new([None; NAMES]) }
    }

    /// Returns what a name stands for. The first time its site is made. `None` where the table is full.
    #[inline]
    pub fn resolve(&mut self, writer: &mut Writer, name: TraceName) -> Option<(NameId, Named)> {
        let first = first_place(name);
        match &self.table[first] {
            Some((known, named)) if *known == name.address() => Some((NameId(first as u8), *named)),
            _ => self.search(writer, name),
        }
    }

    /// [`Names::resolve`] where the name is new, or has given way to another.
    #[inline(never)]
    fn search(&mut self, writer: &mut Writer, name: TraceName) -> Option<(NameId, Named)> {
        let (address, first) = (name.address(), first_place(name));
        for step in 0..NAMES {
            let index = (first + step) % NAMES;
            match &self.table[index] {
                Some((known, named)) if *known == address => return Some((NameId(index as u8), *named)),
                Some(_) => {}
                None => {
                    let named = named(writer, name);
                    self.table[index] = Some((address, named));
                    return Some((NameId(index as u8), named));
                }
            }
        }
        None
    }

    /// Returns what a name stands for that is needed before it is told.
    pub fn make(&mut self, writer: &mut Writer, name: TraceName) -> Named {
        self.resolve(writer, name).map_or_else(|| named(writer, name), |(_, named)| named)
    }

    /// Returns what a place of the table stands for.
    #[inline]
    pub fn get(&self, id: NameId) -> Option<Named> {
        self.table[usize::from(id.0)].map(|(_, named)| named)
    }
}

impl Default for Names {
    fn default() -> Self {
        Names::new()
    }
}

/// Returns the first place in the table for a name.
#[inline]
fn first_place(name: TraceName) -> usize {
    (name.address() >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - 8)
}

fn named(writer: &mut Writer, name: TraceName) -> Named {
    let Provider { class, kind, label } = provider(name.text());
    let site = match class {
        Class::Ignored | Class::Microtasks | Class::NativeImmediates => SiteId::NONE,
        _ => writer.foreign_site(Site {
            kind,
            name: label.into_owned(),
            file: String::new(),
            line: 0,
            column: 0,
        }),
    };
    Named { class, kind, site, is_scoped: is_scoped(name.text()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Kind;

    #[test]
    fn a_name_is_resolved_once_and_many_names_are_told_apart() {
        let mut writer = Writer::builder("names").private().build();
        let mut names = Names::new();
        let (id, first) = names.resolve(&mut writer, TraceName::constant(c"TCPWRAP_CALLBACK")).unwrap();
        assert_eq!((first.class, first.kind), (Class::Callback, Kind::IoRead));
        assert_eq!(names.get(id).unwrap().site, first.site);
        assert_eq!(writer.page().snapshot(writer.clock()).site(first.site).unwrap().name, "TCP socket");
        let texts: Vec<std::ffi::CString> =
            (0..NAMES).map(|number| std::ffi::CString::new(format!("X{number}")).unwrap()).collect();
        let texts: &'static [std::ffi::CString] = texts.leak();
        let known =
            texts.iter().filter(|text| names.resolve(&mut writer, TraceName::constant(text)).is_some());
        assert_eq!(known.count(), NAMES - 1, "a full table knows no more");
    }
}
