//! Blocks a real loop in one named way, under a real agent, and prints the incident: one case of the block matrix.
//!
//! `blocks CASE` prints `ready` when the loop is about to be blocked, then each incident that is over as one line of
//! JSON, and ends. The cases are listed in [`CASES`].

use loopscope_agent::{Action, Agent, Listen};
use loopscope_loop::{Cx, Loop, Mode};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Every case is a stall at this threshold, and blocks for several times as long.
const THRESHOLD: Duration = Duration::from_millis(50);
const BLOCK: Duration = Duration::from_millis(400);

type Block = fn(&mut Cx<'_, ()>);

const CASES: &[(&str, Block)] = &[
    ("spin", |_| spin_hard()),
    ("sleep", |_| sleep_long()),
    ("read", |_| read_pipe()),
    ("connect", |_| connect_full()),
    ("mutex", |_| lock_held()),
    ("faults", |_| touch_pages()),
    ("many", many_small),
    ("microtasks", |cx| flood_microtasks(cx, Instant::now())),
    ("ticks", |cx| flood_ticks(cx, Instant::now())),
    ("immediates", flood_immediates),
    ("pool", wait_for_pool),
    ("recursion", |_| recurse_deep()),
    ("panics", |_| unwind_over_and_over()),
    ("stop", |_| sleep_long()),
];

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((name, block)) = CASES.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
        eprintln!("blocks: no case {wanted:?}; there are: {}", names.join(", "));
        std::process::exit(2);
    };
    if *name == "panics" {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let (over, is_over) = channel();
    let agent = start(over);
    let mut main_loop = Loop::builder(()).name("main").build().expect("a loop");
    let block = *block;
    main_loop.main(|cx| {
        // Later than the start, so that it is a callback of its own.
        cx.after(Duration::from_millis(20), move |cx| {
            println!("ready");
            block(cx);
        });
    });
    main_loop.run(Mode::Default).expect("nothing of it fails");
    // The incident is told when its names have come; a full pool is one of its own.
    let expected = if *name == "pool" { 2 } else { 1 };
    let told = (0..expected).try_for_each(|_| is_over.recv_timeout(Duration::from_secs(60)));
    drop(main_loop);
    agent.stop();
    std::process::exit(i32::from(told.is_err()));
}

fn start(over: Sender<()>) -> Agent {
    let print = move |incident: &loopscope_report::incident::Incident| {
        if incident.is_over {
            let mut line = incident.to_json();
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&line).and_then(|()| out.flush());
            let _ = over.send(());
        }
    };
    let agent = Agent::builder()
        .listen(Listen::Nowhere)
        .thresholds(THRESHOLD, Duration::from_secs(30))
        .on_incident(Action::Call(Arc::new(print)));
    agent.start().expect("the first agent of this process")
}

#[inline(never)]
fn spin_hard() {
    spin_until(Instant::now() + BLOCK);
    std::hint::black_box(());
}

#[inline(never)]
fn spin_until(end: Instant) {
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn sleep_long() {
    std::thread::sleep(BLOCK);
    // Not the last thing it does, or it would have jumped there and left no frame.
    std::hint::black_box(());
}

#[inline(never)]
fn read_pipe() {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let later = std::thread::spawn(move || {
        std::thread::sleep(BLOCK);
        writer.write_all(b"x").expect("the reader waits");
    });
    let mut byte = [0];
    reader.read_exact(&mut byte).expect("the writer writes");
    later.join().expect("it only writes");
}

/// A connection to a listener whose queue is full waits until somebody accepts.
#[inline(never)]
fn connect_full() {
    let path = std::env::temp_dir().join(format!("loopscope-blocks-{}", std::process::id()));
    let address = SockAddr::unix(&path).expect("a short path");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    listener.bind(&address).and_then(|()| listener.listen(0)).expect("a free path");
    let first = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    first.connect(&address).expect("there is room for one");
    let later = std::thread::spawn(move || {
        std::thread::sleep(BLOCK);
        let accepted = (listener.accept(), listener.accept());
        (accepted, listener)
    });
    let second = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    second.connect(&address).expect("it is accepted in the end");
    drop(later.join());
    let _ = std::fs::remove_file(path);
}

#[inline(never)]
fn lock_held() {
    let lock = Arc::new(Mutex::new(0));
    let (held, is_held) = channel();
    let other = lock.clone();
    let later = std::thread::spawn(move || {
        let mut guard = other.lock().expect("nobody panics under it");
        held.send(()).expect("the loop waits for it");
        std::thread::sleep(BLOCK);
        *guard += 1;
    });
    is_held.recv().expect("the thread sends");
    *lock.lock().expect("nobody panics under it") += 1;
    later.join().expect("it only sleeps");
}

#[inline(never)]
fn touch_pages() {
    let end = Instant::now() + BLOCK;
    while Instant::now() < end {
        let mut pages = vec![0u8; 64 << 20];
        for at in (0..pages.len()).step_by(4096) {
            pages[at] = 1;
        }
        std::hint::black_box(&pages);
    }
}

fn many_small(cx: &mut Cx<'_, ()>) {
    for _ in 0..400 {
        cx.immediate(|_| one_of_many());
    }
}

#[inline(never)]
fn one_of_many() {
    spin_until(Instant::now() + BLOCK / 400);
}

fn flood_microtasks(cx: &mut Cx<'_, ()>, since: Instant) {
    spin_until(Instant::now() + Duration::from_micros(50));
    if since.elapsed() < BLOCK {
        cx.microtask(move |cx| flood_microtasks(cx, since));
    }
}

fn flood_ticks(cx: &mut Cx<'_, ()>, since: Instant) {
    spin_until(Instant::now() + Duration::from_micros(50));
    if since.elapsed() < BLOCK {
        cx.next_tick(move |cx| flood_ticks(cx, since));
    }
}

fn flood_immediates(cx: &mut Cx<'_, ()>) {
    for _ in 0..8_000 {
        cx.immediate(|_| spin_until(Instant::now() + Duration::from_micros(50)));
    }
}

/// The pool is full, and the callback waits for a job that therefore does not begin.
#[inline(never)]
fn wait_for_pool(cx: &mut Cx<'_, ()>) {
    for _ in 0..4 {
        cx.work(|| std::thread::sleep(BLOCK), |_, _| {});
    }
    let (done, is_done) = channel();
    cx.work(move || done.send(()), |_, _| {});
    is_done.recv().expect("the job sends");
}

fn recurse_deep() {
    std::hint::black_box(recurse(1_500, Instant::now() + BLOCK));
}

#[inline(never)]
fn recurse(depth: u32, end: Instant) -> u64 {
    if depth == 0 {
        spin_until(end);
        return 1;
    }
    std::hint::black_box(recurse(depth - 1, end)) + 1
}

#[inline(never)]
fn unwind_over_and_over() {
    let end = Instant::now() + BLOCK;
    while Instant::now() < end {
        let caught = std::panic::catch_unwind(|| std::panic::panic_any(7u8));
        assert!(caught.is_err());
    }
}
