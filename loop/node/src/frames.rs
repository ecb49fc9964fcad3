//! The JavaScript part of a stack, for incidents and flamegraphs: what V8 sampled at the instant of the native stack, with the
//! lines that an interrupt told where both saw the same functions.
//!
//! | what ran | the sample | the interrupt | what is told |
//! |---|---|---|---|
//! | JavaScript | functions, without inlined ones | all, with lines, within a ms | the interrupt's, where all of the sample is in it |
//! | native code | functions | comes when it has ended | the sample's, with lines of outer functions that are in both |
//! | code that V8 did not tell of, as what it compiled for a loop that runs | all but that one | all, with lines | the interrupt's, where that code still runs, called from the same place |
//! | a wait in the kernel, V8's collector | none: what is on the copy of the stack | comes when it has ended | as with native code |
//!
//! What an interrupt tells after native code has ended is what ran next, which is often a function that was called from the same
//! place. So it names nobody by itself: only where JavaScript ran in the sample, and when it was asked for, by the processor time that
//! the thread has used until it answered. Native code that ends as soon as that is told from JavaScript by where the thread was in the
//! sample: its next instruction was of C++, or V8's own function, or V8 has collected garbage since.
//!
//! Lines of scripts that have source maps are those of what a person wrote.
//!
//! A sample is named from V8's events of code, else from V8's heap (`found`), before the loop answers; what is known by then is reported
//! early. Only where nothing is, and for flamegraphs, an interrupt completes the map of V8's code.

use crate::code_map::{CodeMap, JsFrame};
use crate::copied_stack::INTERPRETER;
use crate::found::{Found, innermost};
use crate::source_map::{Places, SourceMaps, path_of};
use crate::sys::{self, Answer, AskedLoop, Captured, Question};
use loopscope_agent::{AddressSource, AddressStack, Frame, FrameSource, Moment};
use loopscope_probe::Kind;
use loopscope_probe::raw::registry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How long lines are waited for where the functions are known.
const LINES_WITHIN: Duration = Duration::from_millis(60);
/// How long JavaScript that runs is waited for before anything else is looked at.
const SOON: Duration = Duration::from_millis(2);
/// So often, where its thread had no processor to answer on.
const SOON_TRIES: u32 = 10;
/// How long the first answer is waited for, while the loop is blocked; what comes so late joins the incident.
const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// How long the map of one loop's code is waited for, and of how many loops.
const MAP_WITHIN: Duration = Duration::from_millis(50);
const WAITED_FOR: usize = 4;

/// Places of one function are mostly not further apart.
const NEAR_BYTES: u64 = 1024;

/// Tells the agent of JavaScript.
#[derive(Debug)]
pub(crate) struct JavaScript {
    places: Places,
}

impl JavaScript {
    /// Begins to map places to what was written, with what V8 said of the scripts of these loops.
    fn maps(&self, loops: &[Arc<AskedLoop>]) -> SourceMaps<'_> {
        let urls = loops.iter().fold(HashMap::new(), |mut urls, one| {
            urls.extend(lock(&one.mappings).iter().map(|(script, url)| (script.clone(), url.clone())));
            urls
        });
        SourceMaps::new(&self.places, urls)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells without names whether a function that was sampled runs on where the same walk had `told` a moment later: it is near where
/// it was, and the functions that called it stand where they stood. Or the innermost was one of V8's own that has returned to it.
fn runs_on(sampled: &[u64], told: &[u64]) -> bool {
    let is_near = |inner: usize| {
        let (function, callers) =
            sampled.get(inner..)?.split_first().filter(|(_, callers)| !callers.is_empty())?;
        let outer = told.len().checked_sub(callers.len() + 1)?;
        let is_same = told[outer + 1..] == *callers && told[outer].abs_diff(*function) < NEAR_BYTES;
        is_same.then_some(outer)
    };
    is_near(0).is_some() || is_near(1) == Some(0)
}

/// Tells whether a sampled function may be the one that was told. V8 does not tell names that are symbols with its code.
fn is_same(sampled: &JsFrame, told: &JsFrame) -> bool {
    let is_symbol = sampled.function.is_empty() && told.function.starts_with('[');
    sampled.script == told.script && (sampled.function == told.function || is_symbol)
}

/// Tells whether all functions of `sampled` are in `told`, in their order: V8's walk does not see those that are inlined.
fn is_part(sampled: &[JsFrame], told: &[JsFrame]) -> bool {
    let mut told = told.iter();
    let mut functions = sampled.iter().filter(|frame| !frame.script.is_empty());
    functions.all(|frame| told.any(|known| is_same(frame, known)))
}

/// How what was told goes together with the sample before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Later {
    /// It was told so soon after that JavaScript ran: what was told later may be what came after a native call.
    is_at_once: bool,
    /// JavaScript ran in the sample, without having called V8's own, and when it was asked for, however long that was after it.
    did_run: bool,
    /// What called the innermost function of the sample was at the same place still, and inside of a call. `None` where that
    /// cannot be compared.
    is_same_call: Option<bool>,
    /// What it called there then is of the code that the innermost function of the sample was in; `None` where V8 told of
    /// neither, so that nobody knows.
    is_same_code: Option<bool>,
    /// The innermost function of the sample itself was at the same place still, and inside of a call there: V8's walk misses a
    /// function whose frame is being made, or that of who called one of V8's own that has none.
    is_inside: bool,
}

impl Later {
    /// Compares the addresses of the sample, of which `innermost` is that of its innermost function, with those of the same walk
    /// when it was told.
    fn of(
        is_at_once: bool,
        innermost: Option<usize>,
        sampled: &[u64],
        told: &[u64],
        code: &CodeMap,
    ) -> Later {
        let callers = innermost.and_then(|at| sampled.get(at + 1..)).unwrap_or_default();
        let is_same_call = told.len() > callers.len() && told.ends_with(callers);
        let can_be_compared = !callers.is_empty() && !told.is_empty();
        let from_innermost = innermost.and_then(|at| sampled.get(at..)).unwrap_or_default();
        let is_inside =
            !from_innermost.is_empty() && told.len() > from_innermost.len() && told.ends_with(from_innermost);
        let called = told.len().checked_sub(callers.len() + 1).and_then(|at| told.get(at));
        let is_same_code = from_innermost
            .first()
            .zip(called)
            .map_or(Some(false), |(then, now)| code.is_one_piece(*then as usize, *now as usize));
        let is_same_call = can_be_compared.then_some(is_same_call);
        Later { is_at_once, did_run: is_at_once, is_same_call, is_same_code, is_inside }
    }
}

/// Tells whether all functions of `callers` are in `told`, in their order from the root on, and something inside of them.
fn is_called_by(callers: &[JsFrame], told: &[JsFrame]) -> bool {
    let mut inner = told;
    for caller in callers.iter().rev().filter(|frame| !frame.script.is_empty()) {
        let Some(at) = inner.iter().rposition(|known| is_same(caller, known)) else { return false };
        inner = &inner[..at];
    }
    !inner.is_empty()
}

/// Joins what was sampled with what was told in the same busy period, leaf first. Of a function that has no name the sample
/// tells nothing; where that is the innermost one, neither its callers are blamed for it, nor what they called after it.
fn join(sampled: Vec<Option<JsFrame>>, told: Vec<JsFrame>, later: Later) -> Vec<JsFrame> {
    let is_innermost_known = innermost(&sampled).is_none_or(|at| sampled[at].is_some());
    let mut sampled: Vec<JsFrame> = sampled.into_iter().flatten().collect();
    if !is_innermost_known {
        let runs_still = match later.is_same_call {
            Some(is_same_call) => is_same_call && later.is_same_code.unwrap_or(later.did_run),
            None => later.is_at_once && is_called_by(&sampled, &told),
        };
        return if runs_still { told } else { Vec::new() };
    }
    if later.is_inside {
        // Later it may be what native code has called at its end: whether that or a function ran that the walk has missed,
        // nobody knows.
        return if later.is_at_once { told } else { Vec::new() };
    }
    let is_at_once = later.is_at_once;
    let mut functions = sampled.iter().filter(|frame| !frame.script.is_empty());
    match (functions.next(), told.first()) {
        (None, _) if is_at_once => told,
        (Some(innermost), Some(first)) if is_same(innermost, first) && is_part(&sampled, &told) => told,
        _ if is_at_once && is_part(&sampled, &told) => told,
        _ => {
            // From the root on, both are at the same place as long as they are in the same function.
            for (frame, known) in sampled.iter_mut().rev().zip(told.iter().rev()) {
                if !is_same(frame, known) {
                    break;
                }
                (frame.line, frame.column, frame.is_start) = (known.line, known.column, known.is_start);
            }
            sampled
        }
    }
}

fn frame(JsFrame { function, script, line, column, is_start }: JsFrame) -> Frame {
    let file = Some(path_of(&script).into_owned());
    let known = |number: u32| Some(number).filter(|number| *number > 0);
    Frame {
        function: if function.is_empty() { "(anonymous)".to_owned() } else { function },
        file: file.filter(|file| !file.is_empty()),
        line: known(line),
        column: known(column),
        is_function_start: is_start,
        runtime: Some("node".to_owned()),
        ..Frame::default()
    }
}

impl FrameSource for JavaScript {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        let Some(asked) = sys::loop_of(moment.tid) else { return Vec::new() };
        let shown = |frames: Vec<JsFrame>| {
            let mut maps = self.maps(std::slice::from_ref(&asked));
            let of_scripts = frames.into_iter().filter(|frame| *frame != JsFrame::default());
            of_scripts.map(|one| frame(maps.apply(one))).collect()
        };
        shown(javascript_of(&asked, moment, |early| moment.tell_early(shown(early))))
    }

    /// A microtask is known by how many have ended before it, a tick by its id: Node has one for each.
    fn job_of(&self, moment: &Moment) -> Option<u64> {
        let page = registry::pages().into_iter().find(|page| page.thread().tid == moment.tid)?;
        let running = page.page().now_values(page.clock().now(), page.clock()).running?;
        let (finished, id) = sys::sample_jobs(moment.foreign.as_deref());
        match running.kind.filter(|_| page.page().busy_since() == moment.busy_since)? {
            Kind::Microtask => finished,
            // Between two ticks it is 0.
            Kind::Tick => id.filter(|id| *id > 0),
            _ => None,
        }
    }
}

/// Waits for as long as JavaScript that runs needs to answer: its thread may have no processor for that.
fn answer_soon(
    asked: &AskedLoop,
    question: Question,
    answer: impl Fn(Duration) -> Option<Answer>,
) -> Option<Answer> {
    (0..SOON_TRIES).find_map(|number| {
        let is_late = number > 0 && asked.would_have_answered(question);
        if is_late { None } else { answer(SOON) }
    })
}

/// Returns the functions that this loop was in at this moment, leaf first. Tells what is known before the loop answers.
fn javascript_of(
    asked: &Arc<AskedLoop>,
    moment: &Moment,
    tell_early: impl FnOnce(Vec<JsFrame>),
) -> Vec<JsFrame> {
    let (thread, addresses) = sys::sample_parts(moment.foreign.as_deref());
    let captured = Captured { at_ns: moment.at_ns, thread };
    // A thread that slept, or collected garbage, was in native code, however soon it answers.
    let is_of_javascript = !addresses.is_empty();
    // Native code that it had called may have ended when it was asked.
    let did_run = is_of_javascript && asked.was_in_javascript(moment.foreign.as_deref());
    let since = {
        let code = sys::lock_code(&asked.code);
        code.is_followed.then(|| code.moment())
    };
    let page = registry::pages().into_iter().find(|page| page.thread().tid == moment.tid);
    let is_over = || page.as_ref().is_none_or(|page| page.page().busy_since() != moment.busy_since);
    if asked.was_answering_at(moment.at_ns) {
        return Vec::new();
    }
    // Before anything else is done: JavaScript that runs answers as it is now.
    let Some(question) = asked.request(Some(captured)) else { return Vec::new() };
    let answer = |within: Duration| {
        let answer = asked.wait(question, within, is_over)?;
        Some(answer).filter(|answer| answer.busy_since == moment.busy_since)
    };
    let is_at_once = |told: &Answer| did_run && told.is_at_once(&captured);
    let soon = if is_of_javascript { answer_soon(asked, question, answer) } else { None };
    let found = Found::of(asked, moment, since);
    let names = found.names.iter().flatten().cloned();
    let told = soon.unwrap_or_else(|| {
        // The loop may be asked about the next stack, too.
        tell_early(if found.is_sure() { names.collect() } else { Vec::new() });
        // What V8 has moved is known to the next stack.
        if !found.is_known() && since.is_none() && asked.collecting.may_have_rested_since(moment.at_ns) {
            asked.want_map();
        }
        // Lines come with the answer: of native code when it has returned, which is waited for once in a stall.
        let is_waited_for = !found.is_sure() || asked.begins_to_name(moment.busy_since);
        answer(if is_waited_for { FIRST_WITHIN } else { LINES_WITHIN }).unwrap_or_default()
    });
    // Where names are known, they say whether it runs on. Where V8 has collected since, native code ran.
    if !found.is_known() && since.is_none() && is_at_once(&told) && !told.frames.is_empty() {
        if asked.collecting.may_have_rested_since(moment.at_ns) && runs_on(addresses, &told.addresses) {
            return told.frames;
        }
        // Such an answer does not wait for the map, which is made after it, and before the next one.
        asked.ask(FIRST_WITHIN, None, || sys::loop_of(moment.tid).is_none());
    }
    // By what V8 has told of its code since, where a name was missing.
    let found = if found.is_known() { found } else { found.or(Found::of(asked, moment, since)) };
    let did_run = did_run
        && told.did_run()
        && !found.is_v8s_own()
        && asked.collecting.may_have_rested_since(moment.at_ns);
    let Found { addresses, names, .. } = found;
    let later = Later::of(
        is_at_once(&told),
        innermost(&names),
        &addresses,
        &told.addresses,
        &sys::lock_code(&asked.code),
    );
    join(names, told.frames, Later { did_run, ..later })
}

impl AddressSource for JavaScript {
    fn names_of(&self, stacks: &[AddressStack<'_>]) -> Vec<Vec<Option<Frame>>> {
        let loops = sys::all_loops();
        make_maps(&loops);
        let code: Vec<Arc<Mutex<CodeMap>>> = loops.iter().map(|one| one.code.clone()).collect();
        let mut maps = self.maps(&loops);
        let mut mapped = |name: Option<JsFrame>| name.map(|name| frame(maps.apply(name)));
        let names = stacks.iter().map(|stack| names_of(stack, &code));
        names.map(|names| names.into_iter().map(&mut mapped).collect()).collect()
    }
}

/// Has maps made of the code of loops that have none: before the first stall, for a flamegraph. Of a few loops they are waited
/// for, for a moment; a loop that waits for events makes its own when it runs.
fn make_maps(loops: &[Arc<AskedLoop>]) {
    let without = loops.iter().filter(|one| !sys::lock_code(&one.code).is_followed);
    for (number, one) in without.enumerate() {
        one.ask(if number < WAITED_FOR { MAP_WITHIN } else { Duration::ZERO }, None, || false);
    }
}

/// Names the calls of one stack. Functions that are interpreted are those that V8 sampled, in their order: known only where
/// both count the same calls. Others are said to be unknown: who called one is not to blame for it.
fn names_of(stack: &AddressStack<'_>, code: &[Arc<Mutex<CodeMap>>]) -> Vec<Option<JsFrame>> {
    // Held for one address at a time: a loop that compiles takes this lock, too.
    let find = |address: u64| code.iter().find_map(|code| sys::lock_code(code).function(address as usize));
    let (_, words) = sys::sample_parts(stack.foreign);
    let functions: Vec<JsFrame> =
        words.iter().filter_map(|address| find(*address)).filter(|frame| !frame.script.is_empty()).collect();
    let mut names: Vec<Option<JsFrame>> = Vec::with_capacity(stack.calls.len());
    let mut interpreted = Vec::new();
    let mut javascript = 0;
    for (index, call) in stack.calls.iter().enumerate() {
        // Of a return address, the code is that of the call before it.
        let address = if index == 0 { call.address } else { call.address.saturating_sub(1) };
        let found = if call.function.is_none() { find(address) } else { None };
        let is_interpreter = call.function.is_some_and(|function| function.contains(INTERPRETER))
            || found.as_ref().is_some_and(|frame| frame.function.contains(INTERPRETER));
        if is_interpreter {
            interpreted.push((index, javascript));
            javascript += 1;
        } else if found.as_ref().is_some_and(|frame| !frame.script.is_empty()) {
            javascript += 1;
        }
        names.push(found);
    }
    let are_known = javascript == functions.len();
    let unknown = JsFrame { function: Frame::UNKNOWN.to_owned(), ..JsFrame::default() };
    for (index, number) in interpreted {
        let known = functions.get(number).filter(|_| are_known);
        names[index] = Some(known.unwrap_or(&unknown).clone());
    }
    names
}

/// Returns the source, for the agent. Scripts and source maps that are younger than this call are not taken for what was loaded.
pub(crate) fn source() -> Arc<JavaScript> {
    Arc::new(JavaScript { places: Places::new(SystemTime::now()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::found::sampled;
    use loopscope_agent::AddressCall;

    fn js(function: &str, line: u32) -> JsFrame {
        JsFrame { function: function.into(), script: "/app.js".into(), line, column: 1, is_start: false }
    }

    const LATER: Later = Later {
        is_at_once: false,
        did_run: false,
        is_same_call: None,
        is_same_code: Some(false),
        is_inside: false,
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
        let sampled = known(&[builtin, js("onMessage", 3), js("emit", 90)]);
        let told = vec![js("spin", 7), js("onMessage", 4), js("emit", 90)];
        let code = CodeMap::default();
        let of = |told: &[u64]| Later::of(true, innermost(&sampled), &[99, 20, 30], told, &code);
        assert_eq!(join(sampled.clone(), told.clone(), of(&[7, 20, 30])), told);
        let later = Later { is_at_once: false, ..of(&[7, 20, 30]) };
        assert_eq!(
            join(sampled.clone(), told.clone(), later),
            [],
            "native code may have called it at its end"
        );
        let later = of(&[24, 30]);
        assert_eq!(join(sampled.clone(), told.clone(), later)[1].function, "onMessage", "it called V8's own");
        assert_eq!(join(sampled.clone(), told, of(&[7, 24, 30]))[1].function, "onMessage");
    }

    #[test]
    fn a_call_is_the_same_while_its_callers_stand_where_they_stood() {
        let code = CodeMap::default();
        let same =
            |sampled: &[u64], told: &[u64]| Later::of(false, Some(0), sampled, told, &code).is_same_call;
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
        assert!(runs_on(&[9900, 5, 20, 30], &[7, 20, 30]), "it had called one of V8's own");
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
        let names = |bytecode: u64| {
            let foreign = [0, 5, 6, 7, 8, 9, 10, bytecode, 0x1040];
            let mut stack = AddressStack::default();
            stack.calls =
                [(0x9000, Some(INTERPRETER)), (0x1041, None), (0x8000, Some("main"))].map(call).to_vec();
            stack.foreign = Some(&foreign);
            names_of(&stack, &code)
                .into_iter()
                .map(|name| name.map(|frame| frame.function))
                .collect::<Vec<_>>()
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(names(0x2014), [some("known"), some("caller"), None]);
        assert_eq!(names(0x7014), [some(Frame::UNKNOWN), some("caller"), None], "V8 did not tell of it");
    }

    #[test]
    fn files_are_paths_and_unknown_numbers_are_none() {
        let told = frame(JsFrame { script: "file:///x%20y/a.mjs".into(), line: 3, ..JsFrame::default() });
        assert_eq!((told.function.as_str(), told.file.as_deref()), ("(anonymous)", Some("/x y/a.mjs")));
        assert_eq!((told.line, told.column), (Some(3), None));
    }
}
