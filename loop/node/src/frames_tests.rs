//! The JavaScript part of a stack from samples and answers that are made.

use super::*;
use crate::found::sampled;

fn js(function: &str, line: u32) -> JsFrame {
    JsFrame { function: function.into(), script: "/app.js".into(), line, column: 1, is_start: false }
}

const LATER: Later = Later {
    is_at_once: false,
    did_run: false,
    is_same_call: None,
    is_same_code: Some(false),
    may_miss_caller: false,
    is_inside: false,
    has_returned: false,
};
const AT_ONCE: Later = Later { is_at_once: true, did_run: true, ..LATER };
const SAME_CALL: Later = Later { is_same_call: Some(true), is_same_code: Some(true), ..LATER };

/// What was sampled, all of it with names.
fn known(frames: &[JsFrame]) -> Vec<Option<JsFrame>> {
    frames.iter().cloned().map(Some).collect()
}

#[test]
fn lines_are_the_interrupts_where_both_saw_the_same_function() {
    let told = vec![js("spin", 7), js("handle", 40)];
    assert_eq!(join(known(&[js("spin", 2), js("handle", 30)]), told.clone(), LATER), told);
}

#[test]
fn a_native_block_is_the_samples_with_lines_of_what_is_on_both_stacks() {
    let begins = |function: &str, line| JsFrame { is_start: true, ..js(function, line) };
    let sampled = known(&[begins("parse", 3), begins("handle", 30), begins("listener", 60)]);
    let told = vec![js("after", 9), js("handle", 44), js("listener", 66)];
    let joined = join(sampled, told, LATER);
    assert_eq!(joined, [begins("parse", 3), js("handle", 44), js("listener", 66)]);
    let frames: Vec<bool> = joined.into_iter().map(|one| frame(one).is_function_start).collect();
    assert_eq!(frames, [true, false, false], "of which line ran nothing is known of the innermost");
}

#[test]
fn inlined_functions_are_known_where_the_answer_came_at_once() {
    let (sampled, told) = (known(&[js("ticks", 90)]), vec![js("again", 8), js("ticks", 95)]);
    assert_eq!(join(sampled.clone(), told.clone(), AT_ONCE), told);
    assert_eq!(join(sampled, told, LATER), [js("ticks", 95)], "it may have run after a native call");
    // Also where a caller has no name, or the function was called again since, by another one.
    let sampled = vec![Some(js("parse", 3)), None, Some(js("listener", 60))];
    let told = vec![js("after", 9), js("parse", 4), js("handle", 44), js("listener", 66)];
    let joined = join(sampled, told, LATER);
    assert_eq!(joined, [js("parse", 3), js("listener", 66)]);
    let told = vec![js("parse", 4), js("other", 7), js("listener", 66)];
    let joined = join(known(&[js("parse", 3), js("handle", 30), js("listener", 60)]), told, LATER);
    assert_eq!(joined, [js("parse", 3), js("handle", 30), js("listener", 66)]);
}

/// V8 does not tell of what it had compiled for a loop that ran before the map of its code was made.
#[test]
fn a_function_without_a_name_is_the_one_of_the_answer_where_the_others_are_the_same() {
    let sampled = vec![None, Some(js("timers", 90))];
    let told = vec![js("spin", 8), js("timers", 95)];
    assert_eq!(join(sampled.clone(), told.clone(), SAME_CALL), told);
    let other_code = Later { is_same_code: Some(false), ..SAME_CALL };
    let unknown_code = Later { is_same_code: None, ..SAME_CALL };
    assert_eq!(
        join(sampled.clone(), told.clone(), unknown_code),
        [],
        "neither is told of: it may be another one"
    );
    // Where native code may have run, nothing says so: see `javascript_of`.
    let unknown_and_ran = Later { did_run: true, ..unknown_code };
    assert_eq!(join(sampled.clone(), told.clone(), unknown_and_ran), told);
    assert_eq!(join(sampled.clone(), told.clone(), other_code), [], "another one, from the same place");
    let at_once = Later { is_at_once: true, ..other_code };
    assert_eq!(join(sampled.clone(), told.clone(), at_once), [], "native code may just have returned");
    assert_eq!(join(sampled.clone(), told, LATER), [], "it may have returned, and another have come");
    let other = vec![js("after", 8), js("immediates", 95)];
    assert_eq!(join(sampled, other, AT_ONCE), [], "it is not of the same stack");
}

#[test]
fn what_an_answer_says_once_the_function_has_returned_is_not_told() {
    let sampled = vec![None, Some(js("onMessage", 3)), Some(js("emit", 90))];
    let (after, other) = ([js("onMessage", 4), js("emit", 90)], js("after", 9));
    let other_call = Later { is_same_call: Some(false), ..AT_ONCE };
    for later in [AT_ONCE, LATER, other_call] {
        assert_eq!(join(sampled.clone(), after.to_vec(), later), [], "its caller: {later:?}");
    }
    let [caller, root] = after;
    let told = vec![other, caller, root];
    assert_eq!(join(sampled.clone(), told.clone(), other_call), [], "what came after it");
    assert_eq!(join(sampled, told.clone(), SAME_CALL), told);
}

#[test]
fn a_function_that_calls_itself_is_inside_of_its_own_call() {
    let told = vec![js("walk", 3), js("walk", 4), js("walk", 4)];
    let sampled = vec![None, Some(js("walk", 1)), Some(js("walk", 1))];
    assert_eq!(join(sampled.clone(), told.clone(), AT_ONCE), told);
    assert_eq!(join(sampled, told[1..].to_vec(), AT_ONCE), []);
}

#[test]
fn a_function_whose_name_is_a_symbol_has_none_in_the_sample_and_is_the_same() {
    assert!(is_same(&js("", 3), &js("[nodejs.internal.kHybridDispatch]", 5)));
    assert!(is_same(&js("", 3), &js("", 5)) && !is_same(&js("", 3), &js("spin", 5)));
    assert!(!is_same(&js("spin", 3), &js("[spin]", 5)));
}

#[test]
fn a_function_that_the_walk_has_missed_is_not_its_caller() {
    let builtin = JsFrame { function: "Builtin:DateNow".into(), ..JsFrame::default() };
    let sampled = known(&[js("onMessage", 3), js("emit", 90)]);
    let told = vec![js("spin", 7), js("onMessage", 4), js("emit", 90)];
    let code = CodeMap::default();
    let of = |told: &[u64]| Later::of(true, innermost(&sampled), &[20, 30], told, &code);
    assert_eq!(join(sampled.clone(), told.clone(), of(&[7, 20, 30])), told);
    let later = Later { is_at_once: false, ..of(&[7, 20, 30]) };
    assert!(later.is_inside);
    let joined = join(sampled.clone(), told.clone(), later);
    assert_eq!(joined, [unknown()], "native code may have called it at its end");
    let again = vec![js("onMessage", 9), js("onMessage", 4), js("emit", 90)];
    assert_eq!(join(sampled, again.clone(), later), again, "by itself, so it is the one either way");

    let sampled = known(&[builtin, js("onMessage", 3), js("emit", 90)]);
    let of = |told: &[u64]| Later::of(true, innermost(&sampled), &[99, 20, 30], told, &code);
    let later = Later { is_at_once: false, ..of(&[7, 99, 20, 30]) };
    assert_eq!(
        join(sampled.clone(), told.clone(), later)[1].function,
        "onMessage",
        "V8's own has called spin at its end"
    );
    let may_miss_caller = |later: Later| Later { may_miss_caller: true, ..later };
    let missing = |told: &[JsFrame], later| join(sampled.clone(), told.to_vec(), may_miss_caller(later));
    assert_eq!(missing(&[], LATER), [unknown()], "onMessage may have called what calls V8's own");
    assert_eq!(missing(&told[1..], LATER), [unknown()]);
    assert_eq!(missing(&told[1..], AT_ONCE), told[1..], "it called it itself");
    assert_eq!(missing(&[js("after", 1)], AT_ONCE), [unknown()]);
    let later = of(&[24, 30]);
    assert_eq!(join(sampled.clone(), told.clone(), later)[1].function, "onMessage", "it called V8's own");
    assert_eq!(join(sampled.clone(), told, of(&[7, 24, 30]))[1].function, "onMessage");
}

#[test]
fn what_is_told_is_of_the_sample_only_where_nothing_else_can_have_come_between() {
    let code = CodeMap::default();
    let v8s_own = || Some(JsFrame::default());
    let found = |names: Vec<Option<JsFrame>>, addresses: &[u64]| Found::made(addresses, names, true);
    let told = |addresses: &[u64]| Answer { addresses: addresses.to_vec(), ..Answer::default() };
    let ran = Ran { did_run: true, had_rested: true, is_at_once: true };
    let of_code = || found(vec![None, Some(js("timers", 90))], &[5, 20]);
    let later = |ran| later_of(&of_code(), &told(&[7, 20]), ran, &code);
    assert!(later(ran).did_run);
    assert!(!later(Ran { did_run: false, ..ran }).did_run, "C++ ran in the sample");
    assert!(!later(Ran { had_rested: false, ..ran }).did_run, "V8 has collected since");
    let inside = |ran| later_of(&of_code(), &told(&[7, 5, 20]), ran, &code).is_inside;
    assert!(inside(ran) && !inside(Ran { did_run: false, ..ran }));

    let handler = || vec![v8s_own(), Some(js("handler", 3)), Some(js("timers", 90))];
    let names = |addresses: &[u64], frames: &[JsFrame]| {
        let found = found(handler(), &[0x90_0000, 20, 30]);
        let later = later_of(&found, &told(addresses), ran, &code);
        assert!(!later.did_run, "it may have returned");
        join(found.names, frames.to_vec(), later).into_iter().map(|frame| frame.function).collect::<Vec<_>>()
    };
    let after = [js("after", 1), js("handler", 3), js("timers", 90)];
    assert_eq!(names(&[0x5000, 20, 30], &after), ["", "handler", "timers"], "V8's own has returned");
    assert_eq!(
        names(&[0x5000, 0x90_0040, 20, 30], &after),
        ["after", "handler", "timers"],
        "it has called it"
    );
    assert_eq!(
        names(&[24, 30], &after),
        ["after", "handler", "timers"],
        "inlined in who has called V8's own"
    );
}

#[test]
fn a_call_is_the_same_while_its_callers_stand_where_they_stood() {
    let code = CodeMap::default();
    let same = |sampled: &[u64], told: &[u64]| Later::of(false, Some(0), sampled, told, &code).is_same_call;
    assert_eq!(same(&[5, 20, 30], &[7, 20, 30]), Some(true), "it has run on");
    assert_eq!(same(&[5, 20, 30], &[90, 7, 20, 30]), Some(true), "it has called something");
    assert_eq!(same(&[5, 20, 30], &[20, 30]), Some(false), "it has returned just now");
    assert_eq!(same(&[5, 20, 30], &[24, 30]), Some(false));
    assert_eq!(same(&[5, 20, 30], &[7, 24, 30]), Some(false), "another call");
    assert_eq!((same(&[5], &[7]), same(&[5, 20], &[]), same(&[], &[7])), (None, None, None));
    let below_v8 = Later::of(false, Some(1), &[99, 5, 20], &[7, 20], &code);
    assert_eq!(below_v8.is_same_call, Some(true));
    let none = Later::of(true, None, &[1, 2], &[1, 2], &code);
    assert_eq!(none, AT_ONCE, "nothing in the sample is of a script");
}

#[test]
fn what_is_called_from_the_same_place_is_the_same_where_it_is_the_same_code() {
    let mut code = CodeMap::default();
    code.add(0x1000, 0x100, "JS:~sibling /app.js:9:1");
    let same = |told: &[u64]| Later::of(false, Some(0), &[0x5000, 20, 30], told, &code).is_same_code;
    assert_eq!(same(&[0x5040, 20, 30]), None, "it may have run on");
    assert_eq!(same(&[90, 0x5000, 20, 30]), Some(true), "it has called something");
    assert_eq!(same(&[0x1000, 20, 30]), Some(false));
    assert_eq!((same(&[20, 30]), same(&[])), (Some(false), Some(false)));
}

#[test]
fn without_names_a_function_runs_on_where_its_callers_stand_where_they_stood() {
    assert!(runs_on(&[5, 20, 30], &[7, 20, 30]) && runs_on(&[5, 20, 30], &[9000, 7, 20, 30]));
    assert!(
        !runs_on(&[9900, 5, 20, 30], &[7, 20, 30]),
        "V8's own has returned: to it, or to who then called another"
    );
    assert!(!runs_on(&[5, 20, 30], &[7, 24, 32]) && !runs_on(&[5, 20, 30], &[30]), "it has returned");
    assert!(!runs_on(&[5, 20, 30], &[9000, 20, 30]), "another one");
    assert!(!runs_on(&[5], &[7]) && !runs_on(&[], &[7]) && !runs_on(&[5, 20], &[]), "nothing to compare");
}

#[test]
fn a_sample_without_its_innermost_function_blames_no_caller_of_it() {
    let sampled = |code: &CodeMap, addresses: &[u64]| sampled(code, addresses, &[], |_| false);
    let mut code = CodeMap::default();
    code.add(0x1000, 0x100, "JS:~next /app.js:40:1");
    let next = JsFrame { is_start: true, ..js("next", 40) };
    let unnamed = sampled(&code, &[0x9000, 0x1010]);
    assert_eq!(unnamed, [None, Some(next.clone())]);
    assert_eq!(sampled(&code, &[0x1010]), [Some(next)]);
    let told = vec![js("spin", 7), js("next", 44)];
    assert_eq!(join(unnamed.clone(), told.clone(), SAME_CALL), told);
    assert_eq!(join(unnamed.clone(), vec![js("after", 9)], AT_ONCE), []);
    assert_eq!(join(unnamed, Vec::new(), AT_ONCE), []);
    code.add(0x2000, 0x100, "Builtin:DateNow");
    let below_v8 = sampled(&code, &[0x2010, 0x9000, 0x1010]);
    assert_eq!(join(below_v8, Vec::new(), AT_ONCE), []);
}

#[test]
fn without_a_function_in_the_sample_only_an_answer_at_once_says_what_ran() {
    assert_eq!(join(Vec::new(), vec![js("exec", 15)], AT_ONCE), [js("exec", 15)]);
    assert_eq!(join(Vec::new(), vec![js("after", 15)], LATER), [], "it may have come after native code");
    assert_eq!(join(known(&[js("parse", 3)]), Vec::new(), LATER), [js("parse", 3)]);
}

#[test]
fn an_interpreted_function_that_nobody_knows_is_said_to_be_unknown() {
    let mut code = CodeMap::default();
    code.add(0x1000, 0x100, "JS:^caller /app.js:40:1");
    code.add(0x2000, 0x100, "JS:~known /app.js:7:1");
    let code = [Arc::new(Mutex::new(code))];
    let call = |(address, function)| {
        let mut call = AddressCall::default();
        (call.address, call.function) = (address, function);
        call
    };
    let names = |calls: &[(u64, Option<&'static str>)], foreign: &[u64]| {
        let mut stack = AddressStack::default();
        stack.calls = calls.iter().copied().map(call).collect();
        stack.foreign = Some(foreign);
        let names = names_of(&stack, &code).into_iter();
        names.map(|name| name.map(|frame| frame.function)).collect::<Vec<_>>()
    };
    let some = |name: &str| Some(name.to_owned());
    let calls = [(0x9000, Some(INTERPRETER)), (0x1041, None), (0x8000, Some("main"))];
    let foreign = |bytecode| [0, 5, 6, 7, 8, 9, 10, 11, bytecode, 0x1040];
    assert_eq!(names(&calls, &foreign(0x2014)), [some("known"), some("caller"), None]);
    assert_eq!(
        names(&calls, &foreign(0x7014)),
        [some(Frame::UNKNOWN), some("caller"), None],
        "V8 did not tell of it"
    );
    // One of V8's own without a frame, which the known one has called.
    let foreign = |place| [0, 5, 6, 7, 8, 9, 10, place, 0x9010, 0x1040];
    let calls = [(0x9010, Some("Builtins_NumberToString")), (0x1041, None)];
    assert_eq!(names(&calls, &foreign(0x2015)), [some("known"), some("caller")]);
    assert_eq!(names(&calls, &foreign(0x7015)), [None, some("caller")], "something else lies there");
    let whole = [calls[0], (0x2015, None), calls[1]];
    assert_eq!(names(&whole, &foreign(0x2015)), [None, some("known"), some("caller")], "it was unwound");
    let elsewhere = [(0x9900, Some("memcpy")), calls[1]];
    assert_eq!(names(&elsewhere, &foreign(0x2015)), [None, some("caller")], "C++ has frames");
}

#[test]
fn files_are_paths_and_unknown_numbers_are_none() {
    let told = frame(JsFrame { script: "file:///x%20y/a.mjs".into(), line: 3, ..JsFrame::default() });
    assert_eq!((told.function.as_str(), told.file.as_deref()), ("(anonymous)", Some("/x y/a.mjs")));
    assert_eq!((told.line, told.column), (Some(3), None));
}
