//! The rules about blocking calls and hooks: what they say, and of which stacks nothing is said.

use super::*;
use crate::model::frame_owner::FrameOwner;
use loopscope_probe::description::Sign;

fn runtime() -> Arc<Description> {
    let runtime = Description::new().sign(Sign::Blocking, "AndWait").sign(Sign::Serving, "rt:server");
    Arc::new(runtime.remedy(Trouble::BlockingCall, "{other} in place of {call}"))
}

fn frame(owner: FrameOwner, function: &str, file: &str) -> Frame {
    Frame { owner, function: function.into(), file: Some(file.into()), line: Some(12), ..Frame::default() }
}

/// The frames of a request that reads a file, leaf first.
fn frames() -> Vec<Frame> {
    use FrameOwner::{Dependency, Program, Runtime};
    vec![
        frame(Runtime, "open", "rt:files"),
        frame(Runtime, "readAndWait", "rt:files"),
        frame(Dependency, "load", "/deps/config.x"),
        frame(Program, "handle", "/srv/app.x"),
        frame(Runtime, "onrequest", "rt:server"),
    ]
}

fn serving(frames: Vec<Frame>) -> LoopEvidence {
    with(well(), |evidence| {
        evidence.runtime = runtime();
        let guilty = frames.iter().position(|frame| frame.owner == FrameOwner::Program);
        let stack = StackCount { count: 4, frames, guilty, ..StackCount::default() };
        evidence.incidents = vec![Incident { stacks: vec![stack], ..incident(Class::Waiting) }];
    })
}

pub(super) fn blocking_call_cases() -> Vec<Case> {
    let at_start = frames()[..4].to_vec();
    let hooked = |hooks| {
        with(well(), |evidence| {
            let remedy = "leave them out";
            evidence.runtime = Arc::new(Description::new().remedy(Trouble::OperationHooks, remedy));
            evidence.hooks = hooks;
        })
    };
    let hooks = vec!["loop web calls 2 hooks for each asynchronous operation", "30 %", "leave them out"];
    let hooks = ("operation_hooks", hooked(2), hooks, with(hooked(2), |evidence| evidence.active_ns = S));
    assert_eq!(crate::diagnose::diagnose(&[hooked(0)]), []);
    vec![
        hooks,
        (
            "blocking_calls",
            serving(frames()),
            vec![
                "loop web calls readAndWait while it serves requests",
                "called by handle at /srv/app.x:12, in 4 stacks of 1 stall, the longest 300 ms",
                "read in place of readAndWait",
            ],
            serving(at_start),
        ),
    ]
}

fn without(is_left_out: impl Fn(&Frame) -> bool) -> LoopEvidence {
    serving(frames().into_iter().filter(|frame| !is_left_out(frame)).collect())
}

#[test]
fn a_blocking_call_is_told_only_where_a_stack_shows_that_a_request_waits_for_it() {
    let rule = RULES.iter().find(|rule| rule.name == "blocking_calls").unwrap();
    let silent = |evidence: &LoopEvidence, why: &str| assert_eq!(rule.apply(evidence), [], "{why}");
    silent(&without(|frame| frame.function == "onrequest"), "nobody is served: the start, or a script");
    silent(&without(|frame| frame.function == "readAndWait"), "the program called something else");
    silent(&without(|frame| frame.function == "handle"), "nobody of the program's called it");
    // A library's function of such a name, and one that the runtime called itself, for a call that does not block.
    let renamed = |from: &str, owner, to: &str| {
        let mut frames = frames();
        let frame = frames.iter_mut().find(|frame| frame.function == from).unwrap();
        (frame.owner, frame.function) = (owner, to.into());
        serving(frames)
    };
    silent(&renamed("readAndWait", FrameOwner::Dependency, "readAndWait"), "a library's");
    silent(&renamed("load", FrameOwner::Runtime, "require"), "the runtime's own use");
    silent(&renamed("readAndWait", FrameOwner::Runtime, "AndWait"), "no name is left");
    let plain = with(serving(frames()), |evidence| evidence.runtime = well().runtime);
    silent(&plain, "the runtime does not say what such calls look like");
    assert_eq!(rule.apply(&serving(frames()))[0].incidents, ["4711-3"]);
}
