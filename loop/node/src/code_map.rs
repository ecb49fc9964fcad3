//! Which function an address of V8's own code is in: kept up to date by V8's events, for one isolate.
//!
//! V8 tells of code that is new or moved, and not of code that is gone. So what new code lies upon is forgotten: a name that is
//! missing is better than one of a function that was there before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Pieces of code that are kept, and bytes of their names. Of a program that compiles more the older half is forgotten: V8 has
/// thrown most of it away, and does not say so.
const PIECES: usize = 1 << 16;
const TEXT_BYTES: usize = 4 << 20;
/// Changes that wait for the map, and how often one tries to get at their list.
const LATE: usize = 1 << 16;
const LATE_TRIES: u32 = 1000;

/// The script of what was compiled from a text that has no name, by `new Function` for instance, as V8's own traces have it.
pub(crate) const ANONYMOUS: &str = "<anonymous>";

/// A JavaScript function, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsFrame {
    /// Its name; empty for one that has none.
    pub function: String,
    /// Path or URL of its script; empty where V8 has none.
    pub script: String,
    /// Line, from 1; 0 where not known.
    pub line: u32,
    /// Column, from 1; 0 where not known.
    pub column: u32,
    /// The place is where the function begins, and not what runs in it.
    pub is_start: bool,
}

/// A piece of code.
#[derive(Debug)]
struct Piece {
    bytes: u32,
    /// They are counted as they come.
    number: u32,
    name: Box<str>,
}

/// What happened to a piece of code.
#[derive(Debug)]
pub(crate) enum Change<'a> {
    Added {
        start: usize,
        bytes: usize,
        name: Cow<'a, str>,
    },
    Moved {
        from: usize,
        to: usize,
    },
    Removed(usize),
    /// V8 has told of all that it will tell of what there was.
    Made,
}

impl Change<'_> {
    pub(crate) fn apply(self, map: &mut CodeMap) {
        match self {
            Change::Added { start, bytes, name } => map.add(start, bytes, &name),
            Change::Moved { from, to } => map.moved(from, to),
            Change::Removed(start) => map.removed(start),
            Change::Made => map.is_followed = true,
        }
    }

    pub(crate) fn into_owned(self) -> Change<'static> {
        match self {
            Change::Added { start, bytes, name } => {
                Change::Added { start, bytes, name: name.into_owned().into() }
            }
            Change::Moved { from, to } => Change::Moved { from, to },
            Change::Removed(start) => Change::Removed(start),
            Change::Made => Change::Made,
        }
    }
}

/// Changes that are not in the map yet: it was read when they came, or another thread than the loop's told of them.
///
/// Whoever locks the map takes them; whoever adds one waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct LateChanges {
    changes: Mutex<Vec<Change<'static>>>,
    /// Some did not fit, or were not waited for. Set after the others were added, and read after they were taken.
    is_lost: AtomicBool,
}

impl LateChanges {
    /// Adds a change, from any thread. The list is locked for as long as it takes to add to it or to empty it; a thread that holds it
    /// and does not run is not waited for.
    pub(crate) fn add(&self, change: Change<'static>) {
        for _ in 0..LATE_TRIES {
            if let Ok(mut changes) = self.changes.try_lock() {
                if changes.len() < LATE {
                    return changes.push(change);
                }
                break;
            }
            std::hint::spin_loop();
        }
        self.lose();
    }

    /// Of all that came until now nothing is known.
    pub(crate) fn lose(&self) {
        // Release: pairs with the Acquire in `CodeMap::catch_up`.
        self.is_lost.store(true, Ordering::Release);
    }
}

/// The code of one isolate.
#[derive(Debug, Default)]
pub struct CodeMap {
    pieces: BTreeMap<usize, Piece>,
    /// Bytes of all names.
    text_bytes: usize,
    count: u32,
    /// V8 has told of the code that there was, as far as it was asked, and tells of new code.
    pub is_followed: bool,
    late: Arc<LateChanges>,
}

impl CodeMap {
    /// Returns where changes go for which the map is not waited for.
    pub(crate) fn late(&self) -> Arc<LateChanges> {
        self.late.clone()
    }

    /// Takes the changes that were late: before anything is read.
    #[inline(never)]
    pub(crate) fn catch_up(&mut self) {
        let mut changes = take(&mut *self.late.changes.lock().unwrap_or_else(PoisonError::into_inner));
        // Acquire: pairs with the Release in `LateChanges::lose`.
        if self.late.is_lost.load(Ordering::Acquire) && self.late.is_lost.swap(false, Ordering::AcqRel) {
            // A name that is missing is better than one of code that has moved.
            self.forget_all();
            self.is_followed |= changes.iter().any(|change| matches!(change, Change::Made));
            changes.clear();
        }
        changes.into_iter().for_each(|change| change.apply(self));
    }

    /// There is new code, with the name that V8 gives it.
    pub fn add(&mut self, start: usize, bytes: usize, name: &str) {
        let bytes = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        let end = start.saturating_add(bytes as usize);
        // No two pieces lie upon each other, so of those that begin before this one only the last can reach into it.
        let before = self.pieces.range(..start).next_back();
        let reaching = before.filter(|(at, piece)| **at + piece.bytes as usize > start);
        let mut covered: Vec<usize> = reaching.map(|(at, _)| *at).into_iter().collect();
        covered.extend(self.pieces.range(start..end).map(|(at, _)| *at));
        covered.into_iter().for_each(|at| self.removed(at));
        self.count = self.count.wrapping_add(1);
        self.text_bytes += name.len();
        self.pieces.insert(start, Piece { bytes, number: self.count, name: name.into() });
        if self.pieces.len() > PIECES || self.text_bytes > TEXT_BYTES {
            self.forget_older_half();
        }
    }

    #[cold]
    fn forget_older_half(&mut self) {
        let age = |piece: &Piece| self.count.wrapping_sub(piece.number);
        let mut ages: Vec<u32> = self.pieces.values().map(age).collect();
        let middle = ages.len() / 2;
        let (_, &mut middle, _) = ages.select_nth_unstable(middle);
        let count = self.count;
        self.pieces.retain(|_, piece| count.wrapping_sub(piece.number) < middle);
        self.text_bytes = self.pieces.values().map(|piece| piece.name.len()).sum();
    }

    /// Nothing is known any more of the code that there is.
    pub fn forget_all(&mut self) {
        self.pieces.clear();
        self.text_bytes = 0;
    }

    /// Code has moved.
    pub fn moved(&mut self, from: usize, to: usize) {
        if let Some(piece) = self.pieces.remove(&from) {
            self.text_bytes -= piece.name.len();
            self.add(to, piece.bytes as usize, &piece.name);
        }
    }

    /// Code is gone.
    pub fn removed(&mut self, start: usize) {
        if let Some(piece) = self.pieces.remove(&start) {
            self.text_bytes -= piece.name.len();
        }
    }

    /// Returns the function of an address; `None` for what V8 told nothing of.
    pub fn function(&self, address: usize) -> Option<JsFrame> {
        let (start, piece) = self.pieces.range(..=address).next_back()?;
        (address < start + piece.bytes as usize).then(|| parse(&piece.name))
    }

    /// Returns what tells code that comes from now on from what there is.
    pub fn moment(&self) -> u32 {
        self.count
    }

    /// Returns the function of an address, as [`CodeMap::function`], where that was already there at this [moment](CodeMap::moment).
    pub fn function_since(&self, address: usize, moment: u32) -> Option<JsFrame> {
        let (_, piece) = self.pieces.range(..=address).next_back()?;
        let is_younger = piece.number.wrapping_sub(moment).wrapping_sub(1) < u32::MAX / 2;
        if is_younger { None } else { self.function(address) }
    }

    /// Tells whether two addresses are of one piece of code; `None` where V8 told of neither, and nothing that it told of lies
    /// between them, so that they may be.
    pub fn is_one_piece(&self, one: usize, other: usize) -> Option<bool> {
        /// Longer code of a loop is rare.
        const BYTES: usize = 16 << 10;
        let (first, last) = (one.min(other), one.max(other));
        let begin_of = |address: usize| {
            let (start, piece) = self.pieces.range(..=address).next_back()?;
            (address < start + piece.bytes as usize).then_some(*start)
        };
        match (begin_of(first), begin_of(last)) {
            (None, None) if first == last => Some(true),
            (None, None) => {
                let may_be = last - first < BYTES && self.pieces.range(first..last).next().is_none();
                if may_be { None } else { Some(false) }
            }
            (begin, end) => Some(begin == end),
        }
    }
}

/// Kinds of code that are functions of JavaScript, as V8 calls them in all versions.
const JAVASCRIPT: [&str; 5] = ["JS", "LazyCompile", "Function", "Script", "Eval"];

/// Reads the name that V8 gives code: `JS:~spin /x/t.js:2:43`, `LazyCompile:*spin /x/t.js:2`, `Builtin:RegExpPrototypeTest`.
fn parse(name: &str) -> JsFrame {
    let is_kind = |kind: &str| !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let rest = match name.split_once(':') {
        Some((kind, rest)) if JAVASCRIPT.contains(&kind) => rest,
        // V8's own code, and that of a regular expression.
        Some((kind, _)) if is_kind(kind) => {
            return JsFrame { function: name.to_owned(), ..JsFrame::default() };
        }
        _ => name,
    };
    // How far it is optimised.
    let rest = rest.trim_start_matches(['~', '*', '^', '+', '-', '\'']);
    let rest = rest.strip_prefix("o*").or_else(|| rest.strip_prefix("o+")).unwrap_or(rest);
    let named = |function: &str| JsFrame { function: function.trim_end().to_owned(), ..JsFrame::default() };
    let Some((function, place)) = rest.split_once(' ') else { return named(rest) };
    // Of a function with `get ` or `set ` before its name.
    let (function, place) = match (function, place.split_once(' ')) {
        ("get" | "set" | "async", Some((name, place))) => (format!("{function} {name}"), place),
        _ => (function.to_owned(), place),
    };
    let number = |text: &str| text.parse::<u32>().ok();
    let Some((before, last)) =
        place.rsplit_once(':').and_then(|(before, last)| Some((before, number(last)?)))
    else {
        return named(&function);
    };
    // Node 18 tells no column.
    let (script, line, column) = match before.rsplit_once(':').and_then(|(s, line)| Some((s, number(line)?)))
    {
        Some((script, line)) => (script, line, last),
        None => (before, last, 0),
    };
    let script = if script.is_empty() { ANONYMOUS } else { script };
    JsFrame { function, script: script.to_owned(), line, column, is_start: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_v8_are_taken_apart() {
        let frame = |function: &str, script: &str, line, column| JsFrame {
            function: function.into(),
            script: script.into(),
            line,
            column,
            is_start: line > 0,
        };
        for (name, expected) in [
            ("JS:~spin /x/t.js:2:43", frame("spin", "/x/t.js", 2, 43)),
            ("LazyCompile:*spin /x/t.js:2", frame("spin", "/x/t.js", 2, 0)),
            ("JS:^get path node:url:12:3", frame("get path", "node:url", 12, 3)),
            ("JS:* /x/t.js:9:1", frame("", "/x/t.js", 9, 1)),
            ("JS:+spin file:///x/my%20t.mjs:2:43", frame("spin", "file:///x/my%20t.mjs", 2, 43)),
            ("JS:~made :3:20", frame("made", "<anonymous>", 3, 20)),
            ("LazyCompile:~made :3", frame("made", "<anonymous>", 3, 0)),
            ("Builtin:RegExpPrototypeTest", frame("Builtin:RegExpPrototypeTest", "", 0, 0)),
            ("RegExp:^(a+)+$", frame("RegExp:^(a+)+$", "", 0, 0)),
            ("BytecodeHandler:StarHandler", frame("BytecodeHandler:StarHandler", "", 0, 0)),
            ("", frame("", "", 0, 0)),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }

    #[test]
    fn new_code_makes_forgotten_what_it_lies_upon() {
        let mut map = CodeMap::default();
        map.add(0x1000, 0x100, "JS:~old /a.js:1:1");
        map.add(0x1200, 0x100, "JS:~kept /a.js:2:1");
        map.add(0x1080, 0x100, "JS:~new /a.js:3:1");
        let name = |map: &CodeMap, at| map.function(at).map(|frame| frame.function);
        assert_eq!(name(&map, 0x1010), None, "a wrong name is worse than none");
        assert_eq!(name(&map, 0x1080).as_deref(), Some("new"));
        assert_eq!(name(&map, 0x1250).as_deref(), Some("kept"));
        map.moved(0x1080, 0x1280);
        assert_eq!(name(&map, 0x1250), None);
        assert_eq!(name(&map, 0x12ff).as_deref(), Some("new"));
        map.removed(0x1280);
        assert_eq!(name(&map, 0x12ff), None);
    }

    #[test]
    fn addresses_of_one_piece_are_told_from_those_of_two() {
        let mut map = CodeMap::default();
        map.add(0x1000, 0x100, "JS:~one /a.js:1:1");
        map.add(0x1100, 0x100, "JS:~other /a.js:2:1");
        let is_one = |one, other| map.is_one_piece(one, other);
        assert_eq!((is_one(0x1000, 0x10ff), is_one(0x10ff, 0x1000)), (Some(true), Some(true)));
        assert_eq!(is_one(0x10ff, 0x1100), Some(false), "the next one");
        assert_eq!(
            (is_one(0x2000, 0x1100), is_one(0xfff, 0x1000)),
            (Some(false), Some(false)),
            "one is not told of"
        );
        assert_eq!(
            (is_one(0x2000, 0x2000), is_one(0x2000, 0x2100)),
            (Some(true), None),
            "what is not told of may be two"
        );
        assert_eq!(is_one(0xf00, 0x2000), Some(false), "two lie between");
        assert_eq!(is_one(0x2000, 0x2000_0000), Some(false), "it would be too long");
    }

    #[test]
    fn code_that_came_later_is_not_that_of_before() {
        let mut map = CodeMap::default();
        map.add(0x1000, 0x100, "JS:~one /a.js:1:1");
        map.add(0x2000, 0x100, "JS:~two /a.js:2:1");
        let moment = map.moment();
        map.add(0x1000, 0x100, "JS:~new /a.js:3:1");
        map.moved(0x2000, 0x3000);
        let then = |address| map.function_since(address, moment).map(|frame| frame.function);
        assert_eq!((then(0x1010), then(0x2010), then(0x3010)), (None, None, None));
        assert_eq!(map.function_since(0x3010, map.moment()).unwrap().function, "two");
        map.add(0x4000, 0x100, "JS:~four /a.js:4:1");
        assert_eq!(map.function_since(0x3010, map.moment() - 1).unwrap().function, "two", "before it");
    }

    #[test]
    fn of_more_code_than_there_is_room_for_the_newest_is_known() {
        let mut map = CodeMap::default();
        let name = format!("JS:~f /{}.js:1:1", "x".repeat(100));
        for piece in 0..PIECES * 3 {
            map.add(piece * 64, 64, &name);
            assert!(map.pieces.len() <= PIECES && map.text_bytes <= TEXT_BYTES);
        }
        assert!(map.function(0).is_none() && map.function(PIECES * 3 * 64 - 1).is_some());
        assert!(map.pieces.len() > PIECES / 4);
        assert_eq!(map.text_bytes, map.pieces.values().map(|piece| piece.name.len()).sum::<usize>());
    }
}
