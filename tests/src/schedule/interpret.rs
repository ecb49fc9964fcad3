//! Runs a schedule program on the loop, in virtual or in real time, and notes every label with where it was printed.

use super::program::{Body, JobKind, Operation, Program, Step, Via};
use loopscope_loop::{Cx, Hook, Key, Loop, Mode, PanicPolicy, Phase, WorkError, WorkKind, simulate};
use loopscope_probe::Clock;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Which clock, poller and pool a program runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Simulated: exact and fast.
    Virtual,
    /// The machine's own.
    Real,
}

/// A printed label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The label.
    pub label: String,
    /// The callback it was printed in or behind: `m`ain, `t`imers, `p`oll, chec`k`, `c`lose, `b`efore exit.
    pub phase: char,
    /// `-` in the callback itself, `n` in a tick, `u` in a microtask.
    pub queue: char,
    /// How often the loop had polled.
    pub iteration: u64,
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// What the loop says when it cannot be built or run.
pub fn run(program: &Program, time: Time) -> Result<Vec<Line>, String> {
    let state = World { lines: Vec::new(), queue: '-', outside: 'm', handles: HashMap::new() };
    let builder = Loop::builder(state).name("schedule").pool_threads(program.pool);
    let builder = builder.on_panic(PanicPolicy::Propagate);
    let builder = if time == Time::Virtual { builder.virtual_time() } else { builder };
    let mut event_loop = builder.build().map_err(|error| format!("the loop cannot be built: {error}"))?;
    let main = program.main.clone();
    event_loop.main(|cx| perform(cx, &main));
    event_loop.run(Mode::Default).map_err(|error| format!("the loop failed: {error}"))?;
    Ok(event_loop.into_state().lines)
}

/// The state of a running program.
struct World {
    lines: Vec<Line>,
    queue: char,
    /// The letter for code outside the loop's phases.
    outside: char,
    handles: HashMap<String, Handle>,
}

#[derive(Clone, Copy)]
enum Handle {
    Timer(Key),
    Immediate(Key),
    Job(Key),
}

type Context<'a> = Cx<'a, World>;

/// What a step takes in virtual time, so that two things that a program does one after the other are not at one moment.
const STEP: Duration = Duration::from_micros(1);

/// Runs a body as a callback of the loop.
fn callback(body: Body) -> impl Fn(&mut Context<'_>) + Send {
    job('-', body)
}

/// Runs a body as a job of the queue with this letter.
fn job(queue: char, body: Body) -> impl Fn(&mut Context<'_>) + Send {
    move |cx| {
        cx.state.queue = queue;
        perform(cx, &body);
    }
}

fn perform(cx: &mut Context<'_>, body: &Body) {
    for step in body.0.iter() {
        simulate::advance(STEP);
        match step {
            Step::Label(label) => print(cx, label),
            Step::Do(operation) => operate(cx, operation),
        }
    }
}

fn print(cx: &mut Context<'_>, label: &str) {
    let phase = match cx.phase() {
        Phase::MAIN => cx.state.outside,
        Phase::TIMERS => 't',
        Phase::POLL => 'p',
        Phase::CHECK => 'k',
        Phase::CLOSE => 'c',
        _ => '?',
    };
    let (queue, iteration) = (cx.state.queue, cx.iteration());
    cx.state.lines.push(Line { label: label.to_owned(), phase, queue, iteration });
}

fn operate(cx: &mut Context<'_>, operation: &Operation) {
    match operation {
        Operation::Timeout { id, ms, body } => {
            let key = cx.rearmable_ms(*ms, callback(body.clone()));
            bind(cx, id, Handle::Timer(key));
        }
        Operation::Interval { id, ms, n, body } => {
            let key = interval(cx, *ms, *n, body.clone());
            bind(cx, id, Handle::Timer(key));
        }
        Operation::Immediate { id, body } => {
            let key = cx.immediate(callback(body.clone()));
            bind(cx, id, Handle::Immediate(key));
        }
        Operation::Pool { id, kind, ms, body, cancelled } => {
            let key = submit(cx, *kind, *ms, body.clone(), cancelled.clone());
            if *kind == JobKind::Sleep {
                bind(cx, id, Handle::Job(key));
            }
        }
        Operation::Tick { body } => cx.next_tick(job('n', body.clone())),
        Operation::Micro { body } => cx.microtask(job('u', body.clone())),
        Operation::Chain { via, n, body } => chain(cx, *via, *n, body.clone()),
        Operation::Wake { body } => wake(cx, callback(body.clone())),
        Operation::Close { body } => {
            let inert = cx.on(Hook::Check, |_| {});
            cx.close_with(inert, callback(body.clone()));
        }
        Operation::Busy { ms } => compute(milliseconds(*ms)),
        Operation::BeforeExit { body } => {
            let run = callback(body.clone());
            cx.before_exit(move |cx| {
                cx.state.outside = 'b';
                run(cx);
            });
        }
        Operation::Cancel { id }
        | Operation::Clear { id }
        | Operation::Refresh { id }
        | Operation::Ref { id }
        | Operation::Unref { id } => {
            if let Some(handle) = cx.state.handles.get(id) {
                change(cx, operation, *handle);
            }
        }
    }
}

fn bind(cx: &mut Context<'_>, id: &Option<String>, handle: Handle) {
    if let Some(id) = id {
        cx.state.handles.insert(id.clone(), handle);
    }
}

/// Does an operation on a handle; one on the wrong kind of handle does nothing.
fn change(cx: &mut Context<'_>, operation: &Operation, handle: Handle) {
    match (operation, handle) {
        (Operation::Cancel { .. }, Handle::Job(key)) => cx.cancel(key),
        (Operation::Refresh { .. }, Handle::Timer(key)) => cx.refresh(key),
        (Operation::Clear { .. }, Handle::Timer(key) | Handle::Immediate(key)) => cx.close(key),
        (Operation::Ref { .. }, Handle::Timer(key) | Handle::Immediate(key)) => cx.ref_(key),
        (Operation::Unref { .. }, Handle::Timer(key) | Handle::Immediate(key)) => cx.unref(key),
        _ => false,
    };
}

/// Starts an interval that clears itself right after its `count`-th run.
fn interval(cx: &mut Context<'_>, ms: f64, count: u64, body: Body) -> Key {
    let (run, mut runs, own) = (callback(body), 0, Rc::new(Cell::new(None)));
    let own_key = own.clone();
    let key = cx.every_ms(ms, move |cx| {
        runs += 1;
        run(cx);
        if runs >= count
            && let Some(key) = own_key.get()
        {
            cx.close(key);
        }
    });
    own.set(Some(key));
    key
}

fn chain(cx: &mut Context<'_>, via: Via, hops: u64, body: Body) {
    simulate::advance(STEP);
    let queue = match via {
        Via::Tick => 'n',
        Via::Micro => 'u',
        Via::Immediate | Via::Wake => '-',
    };
    let hop = move |cx: &mut Context<'_>| {
        if hops > 1 {
            chain(cx, via, hops - 1, body);
        } else {
            job(queue, body)(cx);
        }
    };
    match via {
        Via::Tick => cx.next_tick(hop),
        Via::Micro => cx.microtask(hop),
        Via::Immediate => {
            cx.immediate(hop);
        }
        Via::Wake => wake(cx, hop),
    }
}

fn wake(cx: &mut Context<'_>, run: impl FnOnce(&mut Context<'_>) + Send + 'static) {
    cx.post_handle().post(run).expect("the loop is running this very step");
}

fn submit(cx: &mut Context<'_>, kind: JobKind, ms: f64, done: Body, cancelled: Body) -> Key {
    let (work, label): (Box<dyn FnOnce() + Send>, _) = match kind {
        JobKind::Sleep => (Box::new(move || hold(milliseconds(ms))), WorkKind::User),
        JobKind::Fs => (Box::new(stat), WorkKind::Fs),
        JobKind::Cpu => (Box::new(|| compute(Duration::from_micros(300))), WorkKind::Crypto),
    };
    cx.work_kind(label, work, move |cx, result| {
        let body = if result == Err(WorkError::Cancelled) { cancelled } else { done };
        callback(body)(cx);
    })
}

fn milliseconds(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1000.0)
}

/// What handing a sleeping job back takes, about.
const HAND_OVER: Duration = Duration::from_micros(60);

/// Holds a pool thread for a time without computing.
fn hold(duration: Duration) {
    if !simulate::advance(duration + HAND_OVER) {
        let time_left = timer(duration);
        // Parking may end early, and nobody unparks a pool's thread.
        while let Some(left) = time_left() {
            std::thread::park_timeout(left);
        }
    }
}

/// Returns what tells how much of `duration` is left, and `None` once it is over.
fn timer(duration: Duration) -> impl Fn() -> Option<Duration> {
    let clock = Clock::monotonic();
    let start = clock.now();
    move || {
        let gone = Duration::from_nanos(clock.ns_between(start, clock.now()));
        duration.checked_sub(gone).filter(|left| !left.is_zero())
    }
}

fn stat() {
    if !simulate::advance(Duration::from_micros(20)) {
        // Only the call counts, not its answer.
        let _ = std::fs::metadata("/");
    }
}

/// Keeps the calling thread computing for a time.
fn compute(duration: Duration) {
    if !simulate::advance(duration) {
        let time_left = timer(duration);
        while time_left().is_some() {
            std::hint::spin_loop();
        }
    }
}
