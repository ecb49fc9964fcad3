//! Random schedule programs, and how to show one.

use loopscope_tests::schedule::interpret::Line;
use loopscope_tests::schedule::program::{Body, JobKind, Operation, Program, Step, Via};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

/// Names of handles: few, so that steps find each other's.
const NAMES: usize = 4;

/// Programs of every operation.
pub fn any() -> impl Strategy<Value = Program> {
    program(|inner| Union::new_weighted(all_steps(inner)).boxed())
}

/// Programs of timers mostly, where the rules are the thinnest covered.
pub fn of_timers() -> impl Strategy<Value = Program> {
    program(|inner| {
        let mut steps = timer_steps(inner.clone());
        steps.extend([(1, tick(inner)), (2, busy())]);
        Union::new_weighted(steps).boxed()
    })
}

fn program(
    step: impl Fn(BoxedStrategy<Body>) -> BoxedStrategy<Step> + 'static,
) -> impl Strategy<Value = Program> {
    let leaf = vec(label(), 0..2).prop_map(body).boxed();
    let bodies = leaf.prop_recursive(4, 32, 5, move |inner| {
        vec(prop_oneof![2 => label(), 5 => step(inner.boxed())], 0..6).prop_map(body)
    });
    (bodies, 1usize..5).prop_map(|(main, pool)| {
        let mut number = 0;
        let (id, expect) = (String::new(), Vec::new());
        let (ph, q) = (String::new(), String::new());
        Program { id, pool, main: renumber(&main, &mut number), expect, ph, q, it: None }
    })
}

fn body(steps: Vec<Step>) -> Body {
    Body(steps.into())
}

fn label() -> BoxedStrategy<Step> {
    Just(Step::Label(String::new())).boxed()
}

fn name() -> BoxedStrategy<Option<String>> {
    prop_oneof![1 => Just(None), 2 => handle().prop_map(Some)].boxed()
}

fn handle() -> BoxedStrategy<String> {
    (0..NAMES).prop_map(|number| format!("h{number}")).boxed()
}

/// Delays that meet: the same ones, and multiples.
fn delay() -> BoxedStrategy<f64> {
    let odd = prop::sample::select(vec![0.0, 1.0, 1.7, -5.0, f64::from(i32::MAX) + 1.0]);
    prop_oneof![2 => odd, 5 => (1..7u32).prop_map(|n| f64::from(n) * 2.0)].boxed()
}

fn do_step(operation: impl Strategy<Value = Operation> + 'static) -> BoxedStrategy<Step> {
    operation.prop_map(Step::Do).boxed()
}

fn tick(inner: BoxedStrategy<Body>) -> BoxedStrategy<Step> {
    do_step(inner.prop_map(|body| Operation::Tick { body }))
}

fn busy() -> BoxedStrategy<Step> {
    do_step(prop::sample::select(vec![0.4, 1.0, 3.0, 8.0]).prop_map(|ms| Operation::Busy { ms }))
}

fn timer_steps(inner: BoxedStrategy<Body>) -> Vec<(u32, BoxedStrategy<Step>)> {
    let timeout = (name(), delay(), inner.clone());
    let timeout = timeout.prop_map(|(id, ms, body)| Operation::Timeout { id, ms, body });
    let interval = (name(), delay(), 1..4u64, inner);
    let interval = interval.prop_map(|(id, ms, n, body)| Operation::Interval { id, ms, n, body });
    vec![
        (6, do_step(timeout)),
        (3, do_step(interval)),
        (2, do_step(handle().prop_map(|id| Operation::Clear { id }))),
        (2, do_step(handle().prop_map(|id| Operation::Refresh { id }))),
        (1, do_step(handle().prop_map(|id| Operation::Ref { id }))),
        (2, do_step(handle().prop_map(|id| Operation::Unref { id }))),
    ]
}

fn all_steps(inner: BoxedStrategy<Body>) -> Vec<(u32, BoxedStrategy<Step>)> {
    let via = prop::sample::select(vec![Via::Tick, Via::Micro, Via::Immediate, Via::Wake]);
    let kind = prop::sample::select(vec![JobKind::Sleep, JobKind::Sleep, JobKind::Fs, JobKind::Cpu]);
    let chain = (via, 1..6u64, inner.clone()).prop_map(|(via, n, body)| Operation::Chain { via, n, body });
    let immediate = (name(), inner.clone()).prop_map(|(id, body)| Operation::Immediate { id, body });
    let job =
        (name(), kind, 0..6u32, inner.clone(), inner.clone()).prop_map(|(id, kind, ms, body, cancelled)| {
            Operation::Pool { id, kind, ms: f64::from(ms), body, cancelled }
        });
    let mut steps = timer_steps(inner.clone());
    steps.extend([
        (5, do_step(immediate)),
        (3, tick(inner.clone())),
        (3, do_step(inner.clone().prop_map(|body| Operation::Micro { body }))),
        (2, do_step(chain)),
        (2, do_step(inner.clone().prop_map(|body| Operation::Wake { body }))),
        (3, do_step(job)),
        (1, do_step(handle().prop_map(|id| Operation::Cancel { id }))),
        (2, do_step(inner.clone().prop_map(|body| Operation::Close { body }))),
        (1, do_step(inner.prop_map(|body| Operation::BeforeExit { body }))),
        (1, busy()),
    ]);
    steps
}

/// Gives every label a number of its own, in the order of the text.
fn renumber(body: &Body, number: &mut usize) -> Body {
    let steps = body.0.iter().map(|step| match step {
        Step::Label(_) => {
            *number += 1;
            Step::Label(number.to_string())
        }
        Step::Do(operation) => {
            let mut operation = operation.clone();
            for body in bodies_of(&mut operation) {
                *body = renumber(body, number);
            }
            Step::Do(operation)
        }
    });
    Body(steps.collect())
}

fn bodies_of(operation: &mut Operation) -> Vec<&mut Body> {
    match operation {
        Operation::Timeout { body, .. }
        | Operation::Interval { body, .. }
        | Operation::Immediate { body, .. }
        | Operation::Tick { body }
        | Operation::Micro { body }
        | Operation::Chain { body, .. }
        | Operation::Wake { body }
        | Operation::Close { body }
        | Operation::BeforeExit { body } => vec![body],
        Operation::Pool { body, cancelled, .. } => vec![body, cancelled],
        Operation::Cancel { .. }
        | Operation::Clear { .. }
        | Operation::Refresh { .. }
        | Operation::Ref { .. }
        | Operation::Unref { .. }
        | Operation::Busy { .. } => vec![],
    }
}

/// Shows a program.
pub fn text(program: &Program) -> String {
    format!("pool of {}: {:?}", program.pool, program.main)
}

/// Shows what a program printed.
pub fn trace(lines: &[Line]) -> String {
    let line = |line: &Line| format!("{}{}{}{}", line.label, line.phase, line.queue, line.iteration);
    lines.iter().map(line).collect::<Vec<_>>().join(" ")
}
