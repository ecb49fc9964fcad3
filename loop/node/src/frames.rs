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
//! the thread has used until it answered. By that time alone, native code that ends just as the loop is asked looks like JavaScript. The
//! sample tells them apart: the next instruction was of C++, or of one of V8's own functions that has returned since, or V8 has
//! collected garbage.
//!
//! Lines of scripts that have source maps are those of what a person wrote.
//!
//! A sample is named from V8's events of code, else from V8's heap (`found`), before the loop answers; what is known by then is reported
//! early. Only where nothing is, and for flamegraphs, an interrupt completes the map of V8's code.

use crate::code_map::{CodeMap, JsFrame};
use crate::copied_stack::INTERPRETER;
use crate::found::{Found, innermost, who_called};
use crate::source_map::{Places, SourceMaps, path_of};
use crate::sys::{self, Answer, AskedLoop, Captured, Question};
use loopscope_agent::{AddressCall, AddressSource, AddressStack, Frame, FrameSource, Moment};
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
/// it was, and the functions that called it stand where they stood.
fn runs_on(sampled: &[u64], told: &[u64]) -> bool {
    let Some((function, callers)) = sampled.split_first().filter(|(_, callers)| !callers.is_empty()) else {
        return false;
    };
    let outer = told.len().checked_sub(callers.len() + 1);
    outer.is_some_and(|at| told[at + 1..] == *callers && told[at].abs_diff(*function) < NEAR_BYTES)
}

/// Tells whether V8's own function on top of a sample may have returned where this was told: something else stands on its callers.
fn may_have_returned(sampled: &[u64], told: &[u64], code: &CodeMap) -> bool {
    let at = told.len().checked_sub(sampled.len());
    at.zip(sampled.first())
        .is_some_and(|(at, own)| code.is_one_piece(*own as usize, told[at] as usize) == Some(false))
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
    /// The innermost function of the sample is one of V8's own, and who called it may be missing.
    may_miss_caller: bool,
    /// The innermost function of the sample was at the same place still, and inside of a call there: V8's walk misses a function whose
    /// frame is being made.
    is_inside: bool,
    /// One of V8's own functions was on top of the sample, and may have returned since: what was told is in a call of who called it.
    has_returned: bool,
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
        let is_inside = innermost == Some(0) && told.len() > sampled.len() && told.ends_with(sampled);
        let called = told.len().checked_sub(callers.len() + 1).and_then(|at| told.get(at));
        let is_same_code = from_innermost
            .first()
            .zip(called)
            .map_or(Some(false), |(then, now)| code.is_one_piece(*then as usize, *now as usize));
        let is_same_call = can_be_compared.then_some(is_same_call);
        Later {
            is_at_once,
            did_run: is_at_once,
            is_same_call,
            is_same_code,
            is_inside,
            may_miss_caller: false,
            has_returned: false,
        }
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

/// A function of a script that nothing has named.
fn unknown() -> JsFrame {
    JsFrame { function: Frame::UNKNOWN.to_owned(), ..JsFrame::default() }
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
    let is_at_once = later.is_at_once;
    let innermost = sampled.iter().find(|frame| !frame.script.is_empty());
    if later.is_inside || later.may_miss_caller {
        // Later it may be what native code has called at its end: whether that or a function ran that the walk has missed,
        // nobody knows, and who is known is not to blame.
        let is_same = !later.may_miss_caller
            && innermost.zip(told.first()).is_some_and(|(one, other)| is_same(one, other));
        let is_it = (is_at_once || is_same) && is_part(&sampled, &told);
        return if is_it { told } else { vec![unknown()] };
    }
    match (innermost, told.first()) {
        (None, _) if is_at_once && !later.has_returned => told,
        (Some(innermost), Some(first)) if is_same(innermost, first) && is_part(&sampled, &told) => told,
        _ if is_at_once && !later.has_returned && is_part(&sampled, &told) => told,
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
    let had_rested = asked.collecting.may_have_rested_since(moment.at_ns);
    let came_at_once = is_of_javascript && told.is_at_once(&captured);
    // Where names are known, they say whether it runs on. Where V8 has collected since, native code ran.
    if !found.is_known() && since.is_none() && came_at_once && !told.frames.is_empty() {
        if did_run && had_rested && !found.is_v8s_own() && runs_on(&found.addresses, &told.addresses) {
            return told.frames;
        }
        // Such an answer does not wait for the map, which is made after it, and before the next one.
        asked.ask(FIRST_WITHIN, None, || sys::loop_of(moment.tid).is_none());
    }
    // By what V8 has told of its code since, where a name was missing.
    let found = if found.is_known() { found } else { found.or(Found::of(asked, moment, since)) };
    let ran = Ran { did_run, had_rested, is_at_once: did_run && came_at_once };
    let later = later_of(&found, &told, ran, &sys::lock_code(&asked.code));
    join(found.names, told.frames, later)
}

/// What the thread did between a sample and an answer.
#[derive(Clone, Copy, Debug)]
struct Ran {
    /// JavaScript ran in the sample.
    did_run: bool,
    /// V8 has collected nothing since, as far as it tells.
    had_rested: bool,
    /// The answer came at once, and JavaScript ran in the sample.
    is_at_once: bool,
}

/// Compares what was `told` with what was `found` in the sample.
fn later_of(found: &Found, told: &Answer, ran: Ran, code: &CodeMap) -> Later {
    let later = Later::of(ran.is_at_once, innermost(&found.names), &found.addresses, &told.addresses, code);
    Later {
        did_run: ran.did_run && told.did_run() && !found.is_v8s_own() && ran.had_rested,
        // Where C++ ran, V8's walk misses nobody.
        is_inside: later.is_inside && ran.did_run,
        may_miss_caller: found.may_miss_caller(),
        has_returned: found.is_v8s_own() && may_have_returned(&found.addresses, &told.addresses, code),
        ..later
    }
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
    for (index, number) in interpreted {
        let known = functions.get(number).filter(|_| are_known);
        names[index] = Some(known.cloned().unwrap_or_else(unknown));
    }
    // One of V8's own that has no frame stands for who called it, where that is not on the stack.
    let is_v8s_own = |call: &AddressCall<'_>| call.function.is_some() && words.first() == Some(&call.address);
    let is_missing = |place: u64| stack.calls.get(1).is_none_or(|call| call.address != place);
    if !names.is_empty()
        && is_v8s_own(&stack.calls[0])
        && sys::sample_caller(stack.foreign).is_some_and(is_missing)
    {
        names[0] = who_called(stack.foreign, find).or(names[0].take());
    }
    names
}

/// Returns the source, for the agent. Scripts and source maps that are younger than this call are not taken for what was loaded.
pub(crate) fn source() -> Arc<JavaScript> {
    Arc::new(JavaScript { places: Places::new(SystemTime::now()) })
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
