//! What pprof is given, read back by a reader that shares nothing with the writer.

use super::*;
use crate::profiles::kind::Of;
use std::io::Read;
use std::sync::Arc;

/// A field of a message: its number, and what it holds.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (inner, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(inner.to_vec())
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number longer than ten bytes")
}

fn messages(all: &[(u64, Field)], number: u64) -> Vec<Vec<(u64, Field)>> {
    let bytes = |field: &Field| match field {
        Field::Bytes(bytes) => fields(bytes),
        Field::Number(_) => panic!("field {number} is no message"),
    };
    all.iter().filter(|(found, _)| *found == number).map(|(_, field)| bytes(field)).collect()
}

fn number(message: &[(u64, Field)], field: u64) -> u64 {
    message.iter().find(|(found, _)| *found == field).map_or(0, |(_, field)| match field {
        Field::Number(number) => *number,
        Field::Bytes(_) => panic!("a message"),
    })
}

fn list(message: &[(u64, Field)], field: u64) -> Vec<u64> {
    let Some((_, Field::Bytes(bytes))) = message.iter().find(|(found, _)| *found == field) else {
        return Vec::new();
    };
    let (mut rest, mut numbers) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        numbers.push(varint(&mut rest));
    }
    numbers
}

/// A sample as a viewer sees it: stack (function:line, with the function's own line in brackets where it is known, the innermost first; inlined calls joined by `<`), values,
/// labels.
type Sample = (Vec<String>, Vec<u64>, Vec<(String, String)>);

/// A profile as a viewer sees it.
struct Decoded {
    types: Vec<(String, String)>,
    samples: Vec<Sample>,
    mappings: Vec<(String, String)>,
    comments: Vec<String>,
}

fn read(profile: &Profile) -> Decoded {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&profile.pprof().unwrap()[..]).read_to_end(&mut bytes).unwrap();
    let all = fields(&bytes);
    let strings: Vec<String> = all
        .iter()
        .filter_map(|(found, field)| match (found, field) {
            (6, Field::Bytes(bytes)) => Some(String::from_utf8(bytes.clone()).unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(strings[0], "", "the first string must be empty");
    let text = |number: u64| strings[number as usize].clone();
    let pair = |message: &[(u64, Field)]| (text(number(message, 1)), text(number(message, 2)));
    let functions = messages(&all, 5);
    let function =
        |id: u64| functions.iter().find(|function| number(function, 1) == id).expect("its function");
    let mappings = messages(&all, 3);
    let locations = messages(&all, 4);
    let location = |id: u64| -> String {
        let location = locations.iter().find(|location| number(location, 1) == id).expect("its location");
        if let mapping @ 1.. = number(location, 2) {
            let mapping = mappings.iter().find(|found| number(found, 1) == mapping).expect("its mapping");
            assert!(
                (number(mapping, 2)..number(mapping, 3)).contains(&number(location, 3)),
                "address in its module"
            );
        }
        let line = |line: &Vec<(u64, Field)>| {
            let function = function(number(line, 1));
            let start = number(function, 5);
            let begins = if start > 0 { format!("({start})") } else { String::new() };
            format!("{}{begins}:{}", text(number(function, 2)), number(line, 2))
        };
        messages(location, 4).iter().map(line).collect::<Vec<_>>().join("<")
    };
    let sample = |sample: &Vec<(u64, Field)>| {
        let stack = list(sample, 1).into_iter().map(location).collect();
        (stack, list(sample, 2), messages(sample, 3).iter().map(|label| pair(label)).collect())
    };
    let comments = all.iter().filter(|(found, _)| *found == 13).map(|(_, field)| match field {
        Field::Number(comment) => text(*comment),
        Field::Bytes(_) => panic!("comments are numbers of strings"),
    });
    Decoded {
        types: messages(&all, 1).iter().map(|message| pair(message)).collect(),
        samples: messages(&all, 2).iter().map(sample).collect(),
        mappings: mappings.iter().map(|found| (text(number(found, 5)), text(number(found, 6)))).collect(),
        comments: comments.collect(),
    }
}

fn code(text: &str, line: u32, module: &Arc<Module>, offset: u64, is_inlined: bool) -> ProfileFrame {
    let code = Code { module: Some(module.clone()), offset, is_inlined };
    ProfileFrame { column: line + 1, code: Some(code), ..ProfileFrame::placed(text, "src/a.rs", line) }
}

/// Two sampled stacks, one of them with an inlined call.
pub(crate) fn sampled() -> Profile {
    let module = Arc::new(Module { path: "/bin/app".to_owned(), build_id: "abcd".to_owned() });
    let layout = ["main", "poll", "read a.rs:1", "query"].map(ProfileFrame::plain);
    let mut profile = Profile::new(Of::Cpu);
    let outer = code("outer", 3, &module, 0x10, false);
    let inner = code("inner", 9, &module, 0x10, true);
    profile.add([&layout[..], &[outer, inner]].concat(), 30_000, 3);
    profile.add([&layout[..], &[code("other", 5, &module, 0x20, false)]].concat(), 10_000, 1);
    profile.interval_ns = 10_101_010;
    profile.notes.push("2 samples lost".to_owned());
    profile
}

#[test]
fn samples_have_values_labels_lines_and_inlined_calls() {
    let read = read(&sampled());
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(read.types, [pair("samples", "count"), pair("cpu", "nanoseconds")]);
    assert_eq!(read.mappings, [pair("/bin/app", "abcd")]);
    assert_eq!(read.comments, ["2 samples lost"]);
    let (stack, values, labels) = &read.samples[1];
    assert_eq!(
        *stack,
        ["inner:9<outer:3", "query:0", "read a.rs:1:0", "poll:0", "main:0"].map(str::to_owned)
    );
    assert_eq!(*values, [3, 30_000]);
    assert_eq!(*labels, [pair("loop", "main"), pair("phase", "poll"), pair("site", "read a.rs:1")]);
    assert_eq!(read.samples[0].0[0], "other:5");
    assert_eq!(read.samples.len(), 2);
}

/// The frame of `other` is where that function begins.
pub(crate) fn with_a_function_start() -> Profile {
    let module = Arc::new(Module { path: "/bin/app".to_owned(), build_id: String::new() });
    let mut profile = Profile::new(Of::Cpu);
    let begins = ProfileFrame { is_function_start: true, ..code("other", 5, &module, 0x20, false) };
    profile.add([ProfileFrame::plain("main"), begins], 10_000, 1);
    profile
}

#[test]
fn a_line_that_is_not_known_to_have_run_is_the_functions() {
    assert_eq!(read(&with_a_function_start()).samples[0].0, ["other(5):0", "main:0"]);
}

#[test]
fn exact_times_are_calls_and_nanoseconds() {
    let profile = Profile::parse_folded("main;timers;t 7\n").unwrap();
    let read = read(&profile);
    assert_eq!(read.types[0].0, "calls");
    assert_eq!(read.samples[0].1, [1, 7_000]);
    assert!(matches!(Profile::new(Of::Cpu).pprof(), Err(FlameError::Empty)));
}
