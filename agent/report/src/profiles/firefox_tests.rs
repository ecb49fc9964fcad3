//! What the Firefox profiler is given: every index leads to an entry, and the stacks read back are those that went in.

use crate::profiles::FlameError;
use crate::profiles::kind::Of;
use crate::profiles::profile::{Profile, ProfileSample};
use serde_json::Value;

fn array<'a>(table: &'a Value, column: &str) -> &'a Vec<Value> {
    table[column].as_array().unwrap_or_else(|| panic!("no column {column} in {table}"))
}

/// Every column is as long as its table says.
fn is_even(table: &Value) {
    let length = table["length"].as_u64().unwrap() as usize;
    for (name, column) in table.as_object().unwrap() {
        assert!(column.as_array().is_none_or(|column| column.len() == length), "column {name} of {table}");
    }
}

/// Returns each sample of a thread: its stack by function names, the root first, its moment and its weight in ms.
fn samples(file: &Value, thread: &Value) -> Vec<(String, f64, f64)> {
    for table in
        ["frameTable", "funcTable", "stackTable", "resourceTable", "nativeSymbols", "samples", "markers"]
    {
        is_even(&thread[table]);
    }
    let (frames, functions, stacks) = (&thread["frameTable"], &thread["funcTable"], &thread["stackTable"]);
    let categories = array(&file["meta"], "categories").len();
    let index = |value: &Value| value.as_u64().expect("an index") as usize;
    let text = |number: &Value| thread["stringArray"][index(number)].as_str().expect("a string");
    for category in array(frames, "category") {
        assert!(index(category) < categories);
    }
    for lib in array(&thread["resourceTable"], "lib") {
        assert!(index(lib) < file["libs"].as_array().unwrap().len());
    }
    for resource in array(functions, "resource").iter().filter(|resource| **resource != -1) {
        assert!(index(resource) < array(&thread["resourceTable"], "lib").len());
    }
    let mut at = 0.0;
    let rows = array(&thread["samples"], "stack").iter().enumerate();
    rows.map(|(row, stack)| {
        let (mut names, mut stack) = (Vec::new(), stack.clone());
        while !stack.is_null() {
            let function = &array(frames, "func")[index(&array(stacks, "frame")[index(&stack)])];
            names.push(text(&array(functions, "name")[index(function)]));
            let prefix = array(stacks, "prefix")[index(&stack)].clone();
            assert!(prefix.is_null() || index(&prefix) < index(&stack), "a prefix comes before its stack");
            stack = prefix;
        }
        names.reverse();
        let delta = array(&thread["samples"], "timeDeltas")[row].as_f64().unwrap();
        assert!(delta >= 0.0);
        at += delta;
        (names.join(";"), at, array(&thread["samples"], "weight")[row].as_f64().unwrap())
    })
    .collect()
}

fn read(profile: &Profile) -> Value {
    serde_json::from_slice(&profile.firefox().unwrap()).unwrap()
}

#[test]
fn sampled_stacks_come_back_with_their_moments_lines_and_modules() {
    let mut profile = super::super::pprof::tests::sampled();
    for (at_ns, stack) in [(5_000_000, 0), (25_000_000, 1), (15_000_000, 0)] {
        profile.note_moment(ProfileSample { at_ns, stack, ns: 10_000 });
    }
    let file = read(&profile);
    assert_eq!(file["meta"]["preprocessedProfileVersion"], 55);
    let thread = &file["threads"][0];
    let found = samples(&file, thread);
    let moments: Vec<(f64, f64)> = found.iter().map(|(_, at, weight)| (*at, *weight)).collect();
    assert_eq!(moments, [(5.0, 0.01), (15.0, 0.01), (25.0, 0.01)]);
    assert_eq!(found[0].0, "main;poll;read a.rs:1;query;outer;inner");
    assert_eq!(found[2].0, "main;poll;read a.rs:1;query;other");
    assert_eq!(file["libs"][0]["codeId"], "abcd");
    let (lines, depths) = (array(&thread["frameTable"], "line"), array(&thread["frameTable"], "inlineDepth"));
    assert_eq!((&lines[5], &depths[5], &depths[4]), (&9.into(), &1.into(), &0.into()));
    assert_eq!(array(&thread["frameTable"], "column")[5], 10);
}

#[test]
fn a_line_that_is_not_known_to_have_run_is_the_functions() {
    let thread = &read(&super::super::pprof::tests::with_a_function_start())["threads"][0];
    let of = |table: &str, column: &str| array(&thread[table], column)[1].clone();
    assert_eq!((of("frameTable", "line"), of("frameTable", "column")), (Value::Null, Value::Null));
    assert_eq!((of("funcTable", "lineNumber"), of("funcTable", "columnNumber")), (5.into(), 6.into()));
}

#[test]
fn sums_of_two_loops_are_two_threads_with_fractions_of_milliseconds() {
    let profile = Profile::parse_folded("a;poll;x 1500\na;timers;y 7\nb;poll;x 3\n").unwrap();
    let file = read(&profile);
    let threads = file["threads"].as_array().unwrap();
    assert_eq!((threads.len(), &threads[1]["name"]), (2, &"loop b".into()));
    let found = samples(&file, &threads[0]);
    assert_eq!(found[0], ("a;poll;x".to_owned(), 0.0, 1.5));
    assert_eq!(found[1], ("a;timers;y".to_owned(), 1.5, 0.007));
    assert!(matches!(Profile::new(Of::Cpu).firefox(), Err(FlameError::Empty)));
}
