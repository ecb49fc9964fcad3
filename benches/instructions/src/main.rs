//! Instructions per operation of the loop and the probe, counted by valgrind: exact where times are not.
//!
//! `--check` compares with `known.tsv` beside this crate's manifest and fails where an operation takes over 5 % more;
//! `--write` writes that file. Without either the table is printed. The counts are of one compiler and one target,
//! which the file names; with others there is nothing to compare, and the check says so and ends with 77.

use futures_io::{AsyncRead, AsyncWrite};
use loopscope_loop::{Connection, Cx, Key, Loop, Mode, StreamEvent};
use loopscope_probe::{Kind, Phase, Probe, TaskTimes, Writer, site, spans};
use loopscope_tokio::Hooks;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Left to run.
type Left = u64;

/// One operation, done so many times.
type Work = fn(u64);

const CASES: &[(&str, Work)] = &[
    ("probe: one callback", probe_callback),
    ("probe: one poll, park and unpark", probe_poll),
    ("probe: an iteration of one callback", probe_iteration),
    ("probe: a callback with two spans", probe_spans),
    ("probe handle: a callback's guard", handle_callback),
    ("probe handle: one poll, park and unpark", handle_poll),
    ("Tokio: one worker's park and unpark", tokio_park),
    ("Tokio: the same around a wrapped poll", tokio_poll),
    ("immediate, probe off", |ops| run(false, ops, immediates)),
    ("immediate, probe on", |ops| run(true, ops, immediates)),
    ("nextTick, probe off", |ops| run(false, ops, |cx, _| tick(cx))),
    ("nextTick, probe on", |ops| run(true, ops, |cx, _| tick(cx))),
    ("microtask, probe off", |ops| run(false, ops, |cx, _| microtask(cx))),
    ("microtask, probe on", |ops| run(true, ops, |cx, _| microtask(cx))),
    ("local future, wake and poll, probe off", |ops| run(false, ops, future)),
    ("local future, wake and poll, probe on", |ops| run(true, ops, future)),
    ("iteration of one immediate, probe off", |ops| run(false, ops, |cx, _| turn(cx))),
    ("iteration of one immediate, probe on", |ops| run(true, ops, |cx, _| turn(cx))),
    ("timer start and fire, probe off", |ops| run(false, ops, timers)),
    ("timer start and fire, probe on", |ops| run(true, ops, timers)),
    ("timer start and cancel, probe on", |ops| run(true, ops, cancelled_timers)),
    ("message, one a poll, probe off", |ops| run(false, ops, |cx, _| bounce(cx, 1))),
    ("message, one a poll, probe on", |ops| run(true, ops, |cx, _| bounce(cx, 1))),
    ("message, ten a poll, probe off", |ops| run(false, ops, |cx, _| bounce(cx, 10))),
    ("message, ten a poll, probe on", |ops| run(true, ops, |cx, _| bounce(cx, 10))),
    ("message between futures, probe off", |ops| run(false, ops, |cx, ops| converse(cx, ops, by_promises))),
    ("message by futures-io, probe off", |ops| run(false, ops, |cx, ops| converse(cx, ops, by_traits))),
];

/// Operations of the shorter run; the longer one does twice as many, and the difference leaves out what begins and ends.
const OPS: u64 = 20_000;

/// More than this, times the known count, is a failure.
const TOLERANCE: f64 = 1.05;

/// What a check that was not made ends with, by which `tests/run` counts it as skipped.
const NOT_MADE: u8 = 77;

/// What the table was counted with, and where it lies.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/known.tsv");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["work", case, ops] => {
            let (case, ops) = (case.parse::<usize>(), ops.parse());
            measured_work(CASES[case.expect("a number")].1, ops.expect("a number"));
            ExitCode::SUCCESS
        }
        [] => finish(count_all().map(|counts| print!("{}", table(&counts)))),
        ["--write"] => finish(count_all().and_then(|counts| write(&counts))),
        ["--check"] => check().unwrap_or_else(failed),
        _ => finish(Err("usage: instructions [--check | --write]".to_owned())),
    }
}

fn finish(result: Result<(), String>) -> ExitCode {
    result.map_or_else(failed, |()| ExitCode::SUCCESS)
}

fn failed(message: String) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

/// The only function whose instructions are counted.
#[inline(never)]
fn measured_work(work: Work, ops: u64) {
    work(std::hint::black_box(ops));
}

fn count_all() -> Result<Vec<f64>, String> {
    (0..CASES.len()).map(|case| Ok((count(case, 2 * OPS)? - count(case, OPS)?) / OPS as f64)).collect()
}

/// Returns the instructions of one run.
fn count(case: usize, ops: u64) -> Result<f64, String> {
    let this = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured_work*"])
        .arg(this)
        .args(["work", &case.to_string(), &ops.to_string()])
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}; install the package valgrind"))?;
    let told = String::from_utf8_lossy(&run.stderr);
    let counted = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    counted.ok_or_else(|| format!("valgrind counted nothing:\n{told}"))
}

fn table(counts: &[f64]) -> String {
    let line = |((name, _), count): (&(&str, Work), &f64)| format!("{name}\t{count:.0}\n");
    CASES.iter().zip(counts).map(line).collect()
}

/// Says which compiler and target the counts are of.
fn build() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told =
        Command::new(rustc).arg("-Vv").output().map_err(|error| format!("cannot run rustc: {error}"))?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let field = |name| told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    Ok(format!("# rustc {} {}\n", field("release:"), field("host:")))
}

fn write(counts: &[f64]) -> Result<(), String> {
    let text = build()? + &table(counts);
    std::fs::write(TABLE, text).map_err(|error| format!("{TABLE}: {error}"))
}

fn check() -> Result<ExitCode, String> {
    let known = std::fs::read_to_string(TABLE).map_err(|error| format!("{TABLE}: {error}"))?;
    let mut lines = known.lines();
    if lines.next() != Some(build()?.trim_end()) {
        println!("the known counts are of another compiler or target: nothing to compare");
        return Ok(ExitCode::from(NOT_MADE));
    }
    let counts = count_all()?;
    let mut faults = String::new();
    for ((name, _), count) in CASES.iter().zip(&counts) {
        let known = lines.next().and_then(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let known = known.ok_or_else(|| format!("{TABLE} does not know {name:?}: write it anew"))?;
        println!("{name}: {count:.0} instructions, known {known:.0}");
        if *count > known * TOLERANCE {
            faults += &format!("{name} takes {count:.0} instructions instead of {known:.0}\n");
        }
    }
    if faults.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(faults) }
}

fn probe_callback(ops: u64) {
    let mut writer = Writer::builder("counted").private().build();
    let site = writer.site(std::panic::Location::caller(), Kind::Timer);
    writer.resume();
    for _ in 0..ops {
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        writer.end();
        writer.drained();
    }
    writer.suspend();
}

/// A callback in which a span is entered, and one inside it, both without fields.
fn probe_spans(ops: u64) {
    let mut writer = Writer::builder("counted").private().build();
    let site = writer.site(std::panic::Location::caller(), Kind::Timer);
    let _installed = writer.install_spans();
    let (outer, inner) = (spans::site("outer", "spans.rs", 1), spans::site("inner", "spans.rs", 2));
    // Not a constant, or a compiler makes a function of its own for spans without fields.
    let enter = |site: Option<_>| site.and_then(|site| spans::enter(site, std::hint::black_box("")));
    writer.resume();
    for _ in 0..ops {
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        let entered = [enter(outer), enter(inner)];
        entered.into_iter().rev().flatten().for_each(spans::leave);
        writer.end();
        writer.drained();
    }
    writer.suspend();
}

/// Polls between which nothing runs.
fn probe_poll(ops: u64) {
    let mut writer = Writer::builder("counted").private().build();
    writer.resume();
    for _ in 0..ops {
        writer.park();
        writer.unpark(1);
    }
    writer.suspend();
}

/// A callback of a loop that one had already.
fn handle_callback(ops: u64) {
    let probe = Probe::from(Writer::builder("counted").private().build());
    for _ in 0..ops {
        drop(probe.callback(site!("counted", Timer)));
    }
}

/// Polls of such a loop, between which nothing runs.
fn handle_poll(ops: u64) {
    let probe = Probe::from(Writer::builder("counted").private().build());
    for _ in 0..ops {
        probe.park();
        probe.unpark();
    }
}

/// What a loop says in an iteration whose poll returned one event.
fn probe_iteration(ops: u64) {
    let mut writer = Writer::builder("counted").private().build();
    let site = writer.site(std::panic::Location::caller(), Kind::IoRead);
    writer.resume();
    for _ in 0..ops {
        writer.phase(Phase::POLL);
        writer.gauges(1, 0, 0);
        writer.iteration();
        writer.park();
        writer.unpark(1);
        let ready = writer.last();
        writer.begin(Kind::IoRead, site, TaskTimes::ready_at(ready));
        writer.end();
        writer.drained();
    }
    writer.suspend();
}

/// What the hooks of a Tokio runtime do around a wait, between which nothing runs that is told.
fn tokio_park(ops: u64) {
    on_tokio(ops, |ops, hooks| {
        for _ in 0..ops {
            hooks.park();
            hooks.unpark();
        }
    });
}

/// A wait and a poll that is wrapped.
fn tokio_poll(ops: u64) {
    on_tokio(ops, |ops, hooks| {
        let mut polled = std::pin::pin!(loopscope_tokio::named("counted", poll_fn(|_| Poll::<()>::Pending)));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..ops {
            hooks.park();
            hooks.unpark();
            let _ = polled.as_mut().poll(&mut cx);
        }
    });
}

/// Runs `work` on the thread of a runtime whose hooks it calls itself.
fn on_tokio(ops: u64, work: fn(u64, &Hooks)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
    let hooks = loopscope_tokio::hooks("counted");
    runtime.block_on(async { work(ops, &hooks) });
}

fn run(probe: bool, ops: u64, start: fn(&mut Cx<'_, Left>, u64)) {
    let mut event_loop = Loop::builder(ops).probe(probe).build().expect("a loop can be made");
    event_loop.main(|cx| start(cx, ops));
    event_loop.run(Mode::Default).expect("the loop runs");
}

fn immediates(cx: &mut Cx<'_, Left>, _ops: u64) {
    (0..1000).for_each(|_| immediate(cx));
}

fn immediate(cx: &mut Cx<'_, Left>) {
    cx.immediate(|cx| {
        if *cx.state > 1000 {
            immediate(cx);
        }
        is_over(cx);
    });
}

fn tick(cx: &mut Cx<'_, Left>) {
    cx.next_tick(|cx| {
        if !is_over(cx) {
            tick(cx);
        }
    });
}

fn microtask(cx: &mut Cx<'_, Left>) {
    cx.microtask(|cx| {
        if !is_over(cx) {
            microtask(cx);
        }
    });
}

/// A future that wakes itself and is polled again.
fn future(cx: &mut Cx<'_, Left>, ops: u64) {
    let mut left = ops;
    cx.spawn_local(poll_fn(move |cx| {
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
}

/// An immediate an iteration, each of which polls without a wait.
fn turn(cx: &mut Cx<'_, Left>) {
    cx.immediate(|cx| {
        if !is_over(cx) {
            turn(cx);
        }
    });
}

fn timers(cx: &mut Cx<'_, Left>, ops: u64) {
    for _ in 0..ops {
        cx.after(Duration::from_millis(1), |_| {});
    }
}

fn cancelled_timers(cx: &mut Cx<'_, Left>, ops: u64) {
    for _ in 0..ops {
        let timer = cx.after(Duration::from_millis(500), |_| {});
        cx.close(timer);
    }
}

/// Messages on so many connections, which both ends send back: each is one poll's event and one callback.
fn bounce(cx: &mut Cx<'_, Left>, connections: usize) {
    let accept =
        |cx: &mut Cx<'_, Left>, stream: io::Result<Key>| send_back(cx, stream.expect("accept works"));
    let listener = cx.listen(([127, 0, 0, 1], 0).into(), accept).expect("a free port");
    let address = cx.local_addr(listener).expect("a listener has an address");
    for _ in 0..connections {
        let connected = |cx: &mut Cx<'_, Left>, stream: io::Result<Key>| {
            let stream = stream.expect("the listener is there");
            send_back(cx, stream);
            cx.write(stream, &[b'x'; 64]).expect("nothing is queued");
        };
        cx.connect(address, connected).expect("a socket can be made");
    }
}

fn send_back(cx: &mut Cx<'_, Left>, stream: Key) {
    cx.on_stream(stream, |cx, stream, event| {
        let StreamEvent::Data(bytes) = event else { return };
        if is_over(cx) {
            return cx.stop();
        }
        cx.write(stream, bytes).expect("nothing is queued");
    });
}

/// A message on one connection, which both ends send back, each in a future.
fn converse<F: Future<Output = ()> + 'static>(
    cx: &mut Cx<'_, Left>,
    ops: u64,
    send_back: fn(Connection<Left>, Rc<Cell<u64>>) -> F,
) {
    let incoming = cx.incoming(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = cx.local_addr(incoming.key()).expect("a listener has an address");
    let left = Rc::new(Cell::new(ops));
    let own = left.clone();
    cx.spawn_async(move |_| async move {
        let connection = incoming.accept().await.expect("accept works");
        drop(incoming);
        send_back(connection, own).await;
    });
    cx.spawn_async(move |here| async move {
        let connection = here.connect(address).await.expect("the listener is there");
        connection.write([b'x'; 64]).await.expect("nothing is queued");
        send_back(connection, left).await;
    });
}

async fn by_promises(connection: Connection<Left>, left: Rc<Cell<u64>>) {
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) = connection.read(&mut buffer).await
        && left.replace(left.get().saturating_sub(1)) > 1
    {
        connection.write(&buffer[..count]).await.expect("nothing is queued");
    }
}

async fn by_traits(mut connection: Connection<Left>, left: Rc<Cell<u64>>) {
    let mut buffer = [0; 64];
    while let Ok(count @ 1..) =
        poll_fn(|cx| AsyncRead::poll_read(Pin::new(&mut connection), cx, &mut buffer)).await
        && left.replace(left.get().saturating_sub(1)) > 1
    {
        let written = poll_fn(|cx| Pin::new(&mut connection).poll_write(cx, &buffer[..count])).await;
        written.expect("nothing is queued");
        poll_fn(|cx| Pin::new(&mut connection).poll_flush(cx)).await.expect("nothing is queued");
    }
}

fn is_over(cx: &mut Cx<'_, Left>) -> bool {
    *cx.state = cx.state.saturating_sub(1);
    *cx.state == 0
}
