//! A function of JavaScript, as V8's heap has it: its name, script and place, read without a call into V8, so also while its thread is in
//! native code or asleep.
//!
//! ```text
//!   frame on the stack -> function -> shared -> scope: flags, counts, names of variables, [name], [inferred name], begin and end
//!                                            -> script: name, source, offsets of its first line
//! ```
//!
//! Where the fields are Node says itself, in symbols that it has for debuggers (`v8dbg_...`, see `sys::heap_layout`); how a scope is
//! laid out behind its counts, and the bits of its flags, are the same in V8 10 to 14. Nothing is taken for what it should be: each
//! object has a type, which must be the expected one, and what does not fit makes the function unknown.
//!
//! The caller sees to it that V8 has moved nothing meanwhile.

use crate::code_map::{ANONYMOUS, JsFrame};
use std::cell::RefCell;

/// Where V8 has what, in bytes from an object's address; its types, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeapLayout {
    pub(crate) map: u64,
    pub(crate) map_type: u64,
    pub(crate) function_shared: u64,
    pub(crate) shared_scope: u64,
    pub(crate) shared_script: u64,
    pub(crate) script_name: u64,
    pub(crate) script_source: u64,
    pub(crate) string_length: u64,
    pub(crate) one_byte_chars: u64,
    pub(crate) two_byte_chars: u64,
    pub(crate) cons_first: u64,
    pub(crate) cons_second: u64,
    pub(crate) sliced_parent: u64,
    pub(crate) sliced_offset: u64,
    pub(crate) thin_actual: u64,
    pub(crate) external_resource: u64,
    /// The first and the last type of functions.
    pub(crate) function_types: [u16; 2],
    pub(crate) bytecode_type: u16,
    pub(crate) shared_type: u16,
    pub(crate) scope_type: u16,
    pub(crate) script_type: u16,
    /// Words of a scope before its variables, without its map: 5 where the function's place is among them, and 3 where it is behind.
    pub(crate) scope_head: u64,
}

const WORD: u64 = 8;
/// Types of strings are below this one; the bits of such a type: how it is stored, and whether its characters have one byte.
const STRINGS_END: u16 = 0x80;
const STORED: u16 = 7;
const IS_ONE_BYTE: u16 = 8;
/// An external string of which V8 does not keep where the characters are.
const IS_UNCACHED: u16 = 16;
const PLAIN: u16 = 0;
const CONS: u16 = 1;
const EXTERNAL: u16 = 2;
const SLICED: u16 = 3;
const THIN: u16 = 5;
/// So many strings within each other are followed.
const DEPTH: u32 = 64;
/// Characters that are read of a name, and of a script until its function.
const NAME_CHARS: u64 = 512;
const SOURCE_CHARS: u64 = 32 << 20;
const CHUNK_CHARS: u64 = 32 << 10;

/// Bits of a scope's flags that say what it has.
const HAS_CLASS_VARIABLE: u32 = 1 << 10;
const FUNCTION_VARIABLE: u32 = 3 << 12;
const HAS_INFERRED_NAME: u32 = 1 << 14;
/// Names of so many variables, and more, are in a table instead.
const INLINED_NAMES_END: u64 = 75;
const VARIABLES_MAX: u64 = 1 << 20;
/// A script keeps the offsets of its first line and column behind its name.
const FIRST_LINE: u64 = WORD;
const FIRST_COLUMN: u64 = 2 * WORD;

/// V8's heap, in this process.
pub(crate) struct Heap<'a> {
    layout: &'a HeapLayout,
    /// Reads all bytes from an address on; false where that cannot be.
    read: &'a dyn Fn(u64, &mut [u8]) -> bool,
    /// The lines of scripts at each so many characters, as far as they are counted.
    lines: RefCell<Vec<(u64, Vec<Lines>)>>,
}

/// What a scope says of its function.
struct Scope {
    name: String,
    begin: u64,
}

impl<'a> Heap<'a> {
    pub(crate) fn new(layout: &'a HeapLayout, read: &'a dyn Fn(u64, &mut [u8]) -> bool) -> Heap<'a> {
        Heap { layout, read, lines: RefCell::default() }
    }

    /// Returns the function that this word is; `None` for anything else, for one of V8's own, which is of no script, and where something
    /// is not as expected.
    pub(crate) fn function(&self, function: u64) -> Option<JsFrame> {
        let [first, last] = self.layout.function_types;
        self.type_of(function).filter(|kind| (first..=last).contains(kind))?;
        let shared = self.field(function, self.layout.function_shared)?;
        self.is_of(shared, self.layout.shared_type)?;
        let script = self.field(shared, self.layout.shared_script)?;
        self.is_of(script, self.layout.script_type)?;
        let scope = self.scope(self.field(shared, self.layout.shared_scope)?)?;
        let name = self.field(script, self.layout.script_name)?;
        let script_name = if self.is_string(name) { self.whole_text(name)? } else { String::new() };
        let script_name = if script_name.is_empty() { ANONYMOUS.to_owned() } else { script_name };
        let place = self.place(script, scope.begin);
        let (line, column) = place.unwrap_or_default();
        let is_start = place.is_some();
        Some(JsFrame { function: scope.name, script: script_name, line, column, is_start })
    }

    fn bytes<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read)(address, &mut bytes).then_some(bytes)
    }

    /// Returns a field of an object, whose address has its lowest bit set.
    fn field(&self, object: u64, offset: u64) -> Option<u64> {
        if object.is_multiple_of(2) {
            None
        } else {
            self.bytes((object - 1).wrapping_add(offset)).map(u64::from_ne_bytes)
        }
    }

    fn type_of(&self, object: u64) -> Option<u16> {
        let map = self.field(object, self.layout.map).filter(|map| map % 2 == 1)?;
        self.bytes((map - 1).wrapping_add(self.layout.map_type)).map(u16::from_ne_bytes)
    }

    fn is_of(&self, object: u64, kind: u16) -> Option<()> {
        (self.type_of(object)? == kind).then_some(())
    }

    fn is_string(&self, object: u64) -> bool {
        self.type_of(object).is_some_and(|kind| kind < STRINGS_END)
    }

    fn scope(&self, scope: u64) -> Option<Scope> {
        self.is_of(scope, self.layout.scope_type)?;
        let word = |index: u64| self.field(scope, index * WORD);
        let head = self.layout.scope_head;
        let is_placed_early = head == 5;
        // A plain number, or one of JavaScript's.
        let flags = if is_placed_early { word(1)? as u32 } else { number(word(1)?)? as u32 };
        let variables = number(word(3)?).filter(|count| *count <= VARIABLES_MAX)?;
        let names = if variables < INLINED_NAMES_END { variables } else { 1 };
        let mut at = 1 + head + names + variables + u64::from(flags & HAS_CLASS_VARIABLE != 0);
        let mut name = String::new();
        if flags & FUNCTION_VARIABLE != 0 {
            name = self.name(word(at)?)?;
            number(word(at + 1)?)?;
            at += 2;
        }
        if flags & HAS_INFERRED_NAME != 0 {
            let inferred = word(at)?;
            if name.is_empty() && self.is_string(inferred) {
                name = self.text(inferred)?;
            }
            at += 1;
        }
        let begin_at = if is_placed_early { head - 1 } else { at };
        let (begin, end) = (number(word(begin_at)?)?, number(word(begin_at + 1)?)?);
        (begin <= end).then_some(Scope { name, begin })
    }

    /// Returns a name; an empty one for a function that has none, which has 0 there.
    fn name(&self, word: u64) -> Option<String> {
        if word == 0 { Some(String::new()) } else { self.text(word) }
    }

    fn length(&self, string: u64) -> Option<u64> {
        let address = (string - 1).wrapping_add(self.layout.string_length);
        self.bytes(address).map(|bytes| u64::from(u32::from_ne_bytes(bytes)))
    }

    /// Tells whether this word is the bytecode of a function.
    pub(crate) fn is_bytecode(&self, word: u64) -> bool {
        self.type_of(word) == Some(self.layout.bytecode_type)
    }

    /// Returns a string; `None` for a longer one than is read.
    fn whole_text(&self, string: u64) -> Option<String> {
        if self.length(string)? > NAME_CHARS { None } else { self.text(string) }
    }

    /// Returns the first characters of a string.
    fn text(&self, string: u64) -> Option<String> {
        if !self.is_string(string) {
            return None;
        }
        let mut chars = Vec::new();
        self.append(string, 0, self.length(string)?.min(NAME_CHARS), DEPTH, &mut chars)?;
        Some(String::from_utf16_lossy(&chars))
    }

    /// Appends so many characters of a string from one on.
    fn append(&self, string: u64, from: u64, count: u64, depth: u32, to: &mut Vec<u16>) -> Option<()> {
        let kind = self.type_of(string).filter(|kind| *kind < STRINGS_END)?;
        let depth = depth.checked_sub(1)?;
        if from.checked_add(count)? > self.length(string)? {
            return None;
        }
        let layout = self.layout;
        match kind & STORED {
            CONS => {
                let (first, second) =
                    (self.field(string, layout.cons_first)?, self.field(string, layout.cons_second)?);
                let of_first = if self.is_string(first) { self.length(first)? } else { return None };
                let here = of_first.saturating_sub(from).min(count);
                if here > 0 {
                    self.append(first, from, here, depth, to)?;
                }
                if here == count {
                    return Some(());
                }
                self.append(second, from.saturating_sub(of_first), count - here, depth, to)
            }
            SLICED => {
                let offset = number(self.field(string, layout.sliced_offset)?)?;
                self.append(self.field(string, layout.sliced_parent)?, from + offset, count, depth, to)
            }
            THIN => self.append(self.field(string, layout.thin_actual)?, from, count, depth, to),
            PLAIN if kind & IS_ONE_BYTE != 0 => {
                self.chars(string - 1 + layout.one_byte_chars, kind, from, count, to)
            }
            PLAIN => self.chars(string - 1 + layout.two_byte_chars, kind, from, count, to),
            // Where the characters are is kept behind the owner.
            EXTERNAL if kind & IS_UNCACHED == 0 => {
                self.chars(self.field(string, layout.external_resource + WORD)?, kind, from, count, to)
            }
            _ => None,
        }
    }

    /// Appends characters that lie in a row.
    fn chars(&self, begin: u64, kind: u16, from: u64, count: u64, to: &mut Vec<u16>) -> Option<()> {
        let size = if kind & IS_ONE_BYTE != 0 { 1 } else { 2 };
        let mut bytes = vec![0; (count * size) as usize];
        if !(self.read)(begin.wrapping_add(from * size), &mut bytes) {
            return None;
        }
        match size {
            1 => to.extend(bytes.into_iter().map(u16::from)),
            _ => to.extend(bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))),
        }
        Some(())
    }

    /// Returns line and column, from 1, of a character of a script.
    fn place(&self, script: u64, position: u64) -> Option<(u32, u32)> {
        let offset = |behind: u64| number(self.field(script, self.layout.script_name + behind)?);
        let (first_line, first_column) = (offset(FIRST_LINE)?, offset(FIRST_COLUMN)?);
        let lines = self.lines_until(script, position)?;
        let column = position - lines.begin + if lines.count == 0 { first_column } else { 0 };
        Some((u32::try_from(first_line + lines.count + 1).ok()?, u32::try_from(column + 1).ok()?))
    }

    /// Counts the lines of a script's source until a character. Once it is counted, so is what another function needs of it.
    fn lines_until(&self, script: u64, position: u64) -> Option<Lines> {
        let source = self.field(script, self.layout.script_source)?;
        if position > SOURCE_CHARS {
            return None;
        }
        let mut scripts = self.lines.borrow_mut();
        let at = scripts.iter().position(|(of, _)| *of == script).unwrap_or_else(|| {
            scripts.push((script, vec![Lines::default()]));
            scripts.len() - 1
        });
        let (_, known) = &mut scripts[at];
        let mut chars = Vec::new();
        let mut count = |lines: &mut Lines, until: u64| {
            chars.clear();
            self.append(source, lines.at, until - lines.at, DEPTH, &mut chars)?;
            chars.iter().for_each(|char| lines.pass(*char));
            Some(())
        };
        while (known.len() as u64) <= position / CHUNK_CHARS {
            let mut lines = *known.last()?;
            let until = lines.at + CHUNK_CHARS;
            count(&mut lines, until)?;
            known.push(lines);
        }
        let mut lines = *known.get((position / CHUNK_CHARS) as usize)?;
        count(&mut lines, position)?;
        Some(lines)
    }
}

/// The lines of a source up to one of its characters, which is not passed yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    at: u64,
    /// Ends of lines so far.
    count: u64,
    /// Where this line begins.
    begin: u64,
    before: u16,
}

impl Lines {
    fn pass(&mut self, char: u16) {
        self.at += 1;
        // The second half of one end of a line is none more.
        let is_second_half = std::mem::replace(&mut self.before, char) == CR && char == LF;
        if is_second_half {
            self.begin = self.at;
        } else if [LF, CR, LINE_SEPARATOR, PARAGRAPH_SEPARATOR].contains(&char) {
            (self.count, self.begin) = (self.count + 1, self.at);
        }
    }
}

const LF: u16 = 0x0a;
const CR: u16 = 0x0d;
const LINE_SEPARATOR: u16 = 0x2028;
const PARAGRAPH_SEPARATOR: u16 = 0x2029;

/// Returns a number of JavaScript's that a word is: in its upper half, and not negative, or -1 for 0xffff_ffff.
fn number(word: u64) -> Option<u64> {
    (word as u32 == 0).then_some(word >> 32)
}

#[cfg(test)]
#[path = "heap_function_tests.rs"]
mod tests;
