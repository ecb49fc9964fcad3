//! Functions in a heap that is made here, laid out as V8 10 (a place behind the names) and 13 (before them) have it.

use super::*;
use std::collections::HashMap;

const SHARED_TYPE: u16 = 260;
const SCOPE_TYPE: u16 = 261;
const SCRIPT_TYPE: u16 = 167;
const UNDEFINED_TYPE: u16 = 131;
const BYTECODE_TYPE: u16 = 186;

fn layout(scope_head: u64) -> HeapLayout {
    HeapLayout {
        map: 0,
        map_type: 12,
        function_shared: 32,
        shared_scope: 24,
        shared_script: 40,
        script_name: 16,
        script_source: 8,
        string_length: 12,
        one_byte_chars: 16,
        two_byte_chars: 16,
        cons_first: 16,
        cons_second: 24,
        sliced_parent: 16,
        sliced_offset: 24,
        thin_actual: 16,
        external_resource: 16,
        function_types: [2065, 2081],
        bytecode_type: BYTECODE_TYPE,
        shared_type: SHARED_TYPE,
        scope_type: SCOPE_TYPE,
        script_type: SCRIPT_TYPE,
        scope_head,
    }
}

/// Memory by address, word by word.
#[derive(Clone, Debug, Default)]
struct Made {
    bytes: HashMap<u64, u8>,
    next: u64,
    head: u64,
}

fn smi(number: u64) -> u64 {
    number << 32
}

impl Made {
    fn new(head: u64) -> Made {
        Made { next: 0x1000, head, ..Made::default() }
    }

    fn put(&mut self, address: u64, bytes: &[u8]) {
        bytes.iter().enumerate().for_each(|(at, byte)| _ = self.bytes.insert(address + at as u64, *byte));
    }

    /// Makes an object of a type with these words behind its map, and returns the word that stands for it.
    fn object(&mut self, kind: u16, words: &[u64]) -> u64 {
        let map = self.next;
        self.put(map, &[0; 16]);
        self.put(map + 12, &kind.to_ne_bytes());
        let object = map + 16;
        self.next = object + 8 * (words.len() as u64 + 1);
        self.put(object, &(map | 1).to_ne_bytes());
        for (at, word) in words.iter().enumerate() {
            self.put(object + 8 * (at as u64 + 1), &word.to_ne_bytes());
        }
        object | 1
    }

    fn string(&mut self, kind: u16, length: usize, words: &[u64]) -> u64 {
        let all: Vec<u64> = std::iter::once((length as u64) << 32).chain(words.iter().copied()).collect();
        self.object(kind, &all)
    }

    fn one_byte(&mut self, text: &str) -> u64 {
        let words = vec![0; text.len().div_ceil(8)];
        let string = self.string(IS_ONE_BYTE, text.len(), &words);
        self.put(string - 1 + 16, text.as_bytes());
        string
    }

    fn two_byte(&mut self, text: &str) -> u64 {
        let chars: Vec<u8> = text.encode_utf16().flat_map(u16::to_ne_bytes).collect();
        let string = self.string(0, chars.len() / 2, &vec![0; chars.len().div_ceil(8)]);
        self.put(string - 1 + 16, &chars);
        string
    }

    fn undefined(&mut self) -> u64 {
        self.object(UNDEFINED_TYPE, &[])
    }

    fn script(&mut self, name: u64, source: u64, first: (u64, u64)) -> u64 {
        self.object(SCRIPT_TYPE, &[source, name, smi(first.0), smi(first.1)])
    }

    /// A scope with so many variables, whose function has a name and one that V8 made up, where they are given.
    fn scope(&mut self, variables: u64, name: Option<u64>, inferred: Option<u64>, begin: u64) -> u64 {
        let flags =
            u32::from(name.is_some()) * FUNCTION_VARIABLE + u32::from(inferred.is_some()) * HAS_INFERRED_NAME;
        let is_early = self.head == 5;
        let mut words =
            vec![if is_early { u64::from(flags) } else { smi(flags.into()) }, smi(1), smi(variables)];
        let place = [smi(begin), smi(begin + 10)];
        if is_early {
            words.extend(place);
        }
        let names = if variables < 75 { variables } else { 1 };
        let variable = self.one_byte("v");
        words.extend((0..names).map(|_| variable));
        words.extend((0..variables).map(|_| smi(7)));
        words.extend(name.into_iter().flat_map(|name| [name, smi(0xffff_ffff)]));
        words.extend(inferred);
        if !is_early {
            words.extend(place);
        }
        self.object(SCOPE_TYPE, &words)
    }

    fn function(&mut self, scope: u64, script: u64) -> u64 {
        let shared = self.object(SHARED_TYPE, &[0, 0, scope, 0, script]);
        self.object(2065, &[0, 0, 0, shared])
    }

    fn read(&self, function: u64) -> Option<JsFrame> {
        let layout = layout(self.head);
        let read = |address: u64, bytes: &mut [u8]| {
            bytes
                .iter_mut()
                .zip(address..)
                .all(|(byte, at)| self.bytes.get(&at).map(|found| *byte = *found).is_some())
        };
        Heap::new(&layout, &read).function(function)
    }
}

fn frame(function: &str, script: &str, line: u32, column: u32) -> JsFrame {
    JsFrame { function: function.into(), script: script.into(), line, column, is_start: true }
}

const SOURCE: &str = "one\ntwo\r\nthree\rfour\u{2028}function five(){}";

#[test]
fn a_function_has_its_name_or_the_one_that_v8_made_up_and_its_place_in_both_layouts() {
    for head in [3, 5] {
        for variables in [0, 3, 74, 75, 200] {
            let mut made = Made::new(head);
            let (script_name, source) = (made.one_byte("/app.js"), made.two_byte(SOURCE));
            let script = made.script(script_name, source, (0, 0));
            let (own, made_up, undefined) =
                (made.one_byte("five"), made.two_byte("o.füñf"), made.undefined());
            // Behind the fourth end of a line, and 13 characters further.
            let begin = SOURCE.encode_utf16().count() as u64 - 4;
            for (name, inferred, expected) in [
                (Some(own), Some(undefined), "five"),
                (Some(own), Some(made_up), "five"),
                (Some(0), Some(made_up), "o.füñf"),
                (Some(0), Some(undefined), ""),
                (Some(own), None, "five"),
                (None, None, ""),
            ] {
                let scope = made.scope(variables, name, inferred, begin);
                let function = made.function(scope, script);
                assert_eq!(
                    made.read(function),
                    Some(frame(expected, "/app.js", 5, 14)),
                    "{head} {variables}"
                );
            }
        }
    }
}

#[test]
fn lines_are_counted_from_where_the_script_begins() {
    let mut made = Made::new(5);
    let (name, source) = (made.one_byte("/app.js"), made.one_byte("a(b)\r\nc"));
    let script = made.script(name, source, (10, 3));
    for (begin, line, column) in [(0, 11, 4), (2, 11, 6), (6, 12, 1)] {
        let scope = made.scope(0, Some(0), None, begin);
        let function = made.function(scope, script);
        assert_eq!(made.read(function), Some(frame("", "/app.js", line, column)), "{begin}");
    }
    // Many lines, over several pieces, and the first of them again.
    let long = "x\n".repeat(40_000);
    let source = made.one_byte(&long);
    let script = made.script(name, source, (0, 0));
    let layout = layout(5);
    let functions: Vec<u64> = [79_999, 70_001, 1, 2]
        .map(|begin| {
            let scope = made.scope(0, Some(0), None, begin);
            made.function(scope, script)
        })
        .to_vec();
    let read = |address: u64, bytes: &mut [u8]| {
        bytes
            .iter_mut()
            .zip(address..)
            .all(|(byte, at)| made.bytes.get(&at).map(|found| *byte = *found).is_some())
    };
    let heap = Heap::new(&layout, &read);
    let places: Vec<(u32, u32)> = functions
        .into_iter()
        .filter_map(|one| heap.function(one))
        .map(|one| (one.line, one.column))
        .collect();
    assert_eq!(places, [(40_000, 2), (35_001, 2), (1, 2), (2, 1)]);
}

#[test]
fn strings_are_read_however_they_are_stored() {
    let mut made = Made::new(5);
    let (first, second) = (made.one_byte("/some/"), made.two_byte("päth.js"));
    let joined = made.string(CONS, 13, &[first, second]);
    let thin = made.string(THIN, 13, &[joined]);
    let sliced = made.string(SLICED, 9, &[joined, smi(4)]);
    let place = made.next;
    made.put(place, b"/external.js");
    made.next += 16;
    let external = made.string(EXTERNAL | IS_ONE_BYTE, 12, &[0, place]);
    let uncached = made.string(EXTERNAL | IS_ONE_BYTE | IS_UNCACHED, 12, &[0, place]);
    let empty = made.one_byte("");
    let flat = made.string(CONS | IS_ONE_BYTE, 6, &[first, empty]);
    let source = made.one_byte("()");
    for (name, expected) in [
        (joined, Some("/some/päth.js")),
        (thin, Some("/some/päth.js")),
        (sliced, Some("e/päth.js")),
        (external, Some("/external.js")),
        (flat, Some("/some/")),
        (uncached, None),
    ] {
        let script = made.script(name, source, (0, 0));
        let scope = made.scope(0, Some(0), None, 0);
        let function = made.function(scope, script);
        let script = made.read(function).map(|frame| frame.script);
        assert_eq!(script.as_deref(), expected);
    }
    // Strings within each other without an end.
    let endless = made.string(THIN, 13, &[0]);
    made.put(endless - 1 + 16, &endless.to_ne_bytes());
    let script = made.script(endless, source, (0, 0));
    let scope = made.scope(0, Some(0), None, 0);
    let function = made.function(scope, script);
    assert_eq!(made.read(function), None);
}

#[test]
fn a_script_without_a_name_or_source_is_one_and_whatever_is_not_as_expected_is_no_function() {
    let mut made = Made::new(3);
    let (undefined, source, name) = (made.undefined(), made.one_byte("()"), made.one_byte("/app.js"));
    let scope = made.scope(1, Some(name), None, 0);
    let nameless = made.script(undefined, source, (0, 0));
    let function = made.function(scope, nameless);
    assert_eq!(made.read(function), Some(frame("/app.js", "<anonymous>", 1, 1)));
    let sourceless = made.script(name, undefined, (0, 0));
    let function = made.function(scope, sourceless);
    let unplaced = JsFrame { line: 0, column: 0, is_start: false, ..frame("/app.js", "/app.js", 0, 0) };
    assert_eq!(made.read(function), Some(unplaced));
    let script = made.script(name, source, (0, 0));
    let of_v8 = made.function(scope, undefined);
    let not_compiled = made.function(name, script);
    let no_scope = made.function(smi(3), script);
    let backwards = made.object(SCOPE_TYPE, &[smi(0), smi(0), smi(0), smi(9), smi(4)]);
    let backwards = made.function(backwards, script);
    let countless = made.object(SCOPE_TYPE, &[smi(0), smi(0), smi(u64::from(u32::MAX)), smi(0), smi(4)]);
    let countless = made.function(countless, script);
    // It has what a function has, and is none.
    let shared = made.object(SHARED_TYPE, &[0, 0, scope, 0, script]);
    let similar = made.object(2082, &[0, 0, 0, shared]);
    let long_name = made.one_byte(&"x".repeat(513));
    let long_named = made.script(long_name, source, (0, 0));
    let long_named = made.function(scope, long_named);
    for word in [similar, long_named] {
        assert_eq!(made.read(word), None, "{word:#x}");
    }
    let misnamed = made.scope(0, Some(script), None, 0);
    let misnamed = made.function(misnamed, script);
    for word in
        [of_v8, not_compiled, no_scope, backwards, countless, misnamed, name, smi(4), 0, 0xffff_ffff_ffff]
    {
        assert_eq!(made.read(word), None, "{word:#x}");
    }
    // Any field of a whole function that points to nowhere, or to itself.
    let function = made.function(scope, script);
    assert!(made.read(function).is_some());
    for (object, fields) in [(function, 5), (scope, 6), (script, 5)] {
        for field in 0..fields {
            for wrong in [0xdead_0001, function, smi(1 << 30)] {
                let mut broken = made.clone();
                broken.put(object - 1 + field * 8, &wrong.to_ne_bytes());
                let read = broken.read(function);
                assert!(
                    read.is_none_or(|frame| ["/app.js", "<anonymous>"].contains(&&*frame.script)),
                    "{field}"
                );
            }
        }
    }
}
