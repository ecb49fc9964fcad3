//! Programs whose truth is known, because they measure it themselves: `truth CASE` runs one.
//!
//! It reads commands from its input, a line each: `tell` prints what was measured as one line of JSON, `act` does what
//! the case is about, `release` lets the jobs go that the pool holds. It ends with its input.

use loopscope_agent::{Agent, Listen};
use loopscope_loop::{Cx, Loop, Mode, RemoteHandle};
use serde_json::{Value, json};
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than a machine with other work keeps a thread from running that computes for a moment.
const THRESHOLD: Duration = Duration::from_millis(400);
/// Processor time that the guilty callback takes: where it has to wait for that, it still computes for longer than the
/// threshold.
const BLOCK: Duration = Duration::from_millis(500);
const THREADS: usize = 4;
/// Jobs for the pool, which hold it until they are released.
const JOBS: u64 = 12;

/// What callbacks of one kind, or jobs, took.
#[derive(Default)]
struct Measured {
    begun: AtomicU64,
    ended: AtomicU64,
    ns: AtomicU64,
    longest_ns: AtomicU64,
}

/// What is measured of one loop.
#[derive(Default)]
struct Truth {
    /// Before it was made and when it ran.
    made: OnceLock<(Instant, Instant)>,
    /// The accounts of its thread.
    sched: OnceLock<String>,
    /// The callback that keeps coming, and is short.
    calm: Measured,
    /// The callback that does what the case is about.
    guilty: Measured,
    jobs: Measured,
    /// Microtasks that have run.
    microtasks: AtomicU64,
    /// Jobs of the pool whose completion has run.
    delivered: AtomicU64,
}

/// A loop on its thread.
struct Running {
    truth: Arc<Truth>,
    handle: RemoteHandle<()>,
}

type Act = fn(&Arc<Truth>, &mut Cx<'_, ()>);

impl Measured {
    fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        self.begun.fetch_add(1, SeqCst);
        let begin = Instant::now();
        let result = run();
        self.has_ended(begin);
        result
    }

    fn has_ended(&self, begin: Instant) {
        let ns = begin.elapsed().as_nanos() as u64;
        self.ns.fetch_add(ns, SeqCst);
        self.longest_ns.fetch_max(ns, SeqCst);
        self.ended.fetch_add(1, SeqCst);
    }

    fn told(&self) -> Value {
        // What has ended is read first: it is the least that a reader may find, and what has begun the most.
        json!({
            "ended": self.ended.load(SeqCst),
            "ns": self.ns.load(SeqCst),
            "longest_ns": self.longest_ns.load(SeqCst),
            "begun": self.begun.load(SeqCst),
        })
    }
}

impl Truth {
    fn told(&self) -> Value {
        let (before, after) = self.made.get().expect("it runs");
        let (ran_ns, waited_ns) = sched(self.sched.get().expect("it runs"));
        json!({
            "least_ns": after.elapsed().as_nanos() as u64,
            "most_ns": before.elapsed().as_nanos() as u64,
            // On a processor, and waiting for one.
            "thread_ns": ran_ns + waited_ns,
            "calm": self.calm.told(),
            "guilty": self.guilty.told(),
            "jobs": self.jobs.told(),
            "microtasks": self.microtasks.load(SeqCst),
            "delivered": self.delivered.load(SeqCst),
        })
    }
}

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let agent = Agent::builder().listen(Listen::Exactly(any)).thresholds(THRESHOLD, 100 * THRESHOLD);
    let agent = agent.start().expect("the first agent of this process");
    let (ms, short) = (Duration::from_millis, Duration::from_millis(20));
    let loops = match case.as_str() {
        "idle" => vec![start("idle", None)],
        "work" => vec![start("work", Some((ms(10), ms(1))))],
        "twins" => {
            vec![start("twin", Some((short, Duration::ZERO))), start("twin", Some((short, Duration::ZERO)))]
        }
        "stall" | "flood" | "pool" | "hold" => vec![start(&case, Some((short, Duration::ZERO)))],
        other => panic!("no case {other:?}"),
    };
    let act: Act = match case.as_str() {
        "flood" => |truth, cx| flood(truth, cx),
        "pool" => |truth, cx| fill(truth, cx),
        "hold" => |truth, _| truth.guilty.during(|| thread::sleep(Duration::from_secs(3600))),
        _ => |truth, _| truth.guilty.during(compute),
    };
    println!("agent {}", agent.address().expect("it listens"));
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.as_str() {
            "tell" => {
                println!("{}", Value::from(loops.iter().map(|one| one.truth.told()).collect::<Vec<_>>()))
            }
            "act" => loops.last().expect("there is one").act(act),
            "release" => release(),
            other => panic!("no command {other:?}"),
        }
    }
    std::process::exit(0);
}

impl Running {
    fn act(&self, act: Act) {
        let truth = self.truth.clone();
        let queue = move |cx: &mut Cx<'_, ()>| {
            let key = cx.after(Duration::ZERO, move |cx| act(&truth, cx));
            cx.name(key, "guilty");
        };
        self.handle.post(queue).expect("the loop runs");
    }
}

/// Starts a loop whose callback `calm` runs at intervals, and computes for a while each time.
fn start(name: &str, calm: Option<(Duration, Duration)>) -> Running {
    let truth = Arc::new(Truth::default());
    let (send, handle) = channel();
    let (name, own) = (name.to_owned(), truth.clone());
    let run = move || run(&name, calm, own, &send);
    thread::Builder::new().name("measured".to_owned()).spawn(run).expect("a thread");
    // The second of two with one name begins when the first has begun.
    Running { truth, handle: handle.recv().expect("the loop is made") }
}

fn run(name: &str, calm: Option<(Duration, Duration)>, truth: Arc<Truth>, send: &Sender<RemoteHandle<()>>) {
    let before = Instant::now();
    let own = std::fs::read_link("/proc/thread-self").expect("Linux has it");
    truth.sched.set(format!("/proc/{}/schedstat", own.display())).expect("once");
    let mut this = Loop::builder(()).name(name).pool_threads(THREADS).build().expect("a loop");
    let handle = this.post_handle();
    this.main(|cx| {
        let measured = truth.clone();
        let (every, length) = calm.unwrap_or((Duration::from_secs(3600), Duration::ZERO));
        let key = cx.every(every, move |_| measured.calm.during(|| spin(length)));
        cx.name(key, "calm");
    });
    truth.made.set((before, Instant::now())).expect("once");
    send.send(handle).expect("the starter waits");
    this.run(Mode::Default).expect("nothing of it fails");
}

/// Returns for how long a thread ran, and waited for a processor, in nanoseconds.
fn sched(path: &str) -> (u64, u64) {
    let text = std::fs::read_to_string(path).expect("the kernel has statistics of its scheduler");
    let mut times = text.split(' ').map(|number| number.parse().expect("numbers"));
    (times.next().expect("three of them"), times.next().expect("three of them"))
}

/// Returns how much processor time this thread has had.
fn own_ns() -> u64 {
    sched("/proc/thread-self/schedstat").0
}

fn compute() {
    let end_ns = own_ns() + BLOCK.as_nanos() as u64;
    while own_ns() < end_ns {
        spin(Duration::from_millis(5));
    }
}

fn spin(length: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < length {
        std::hint::spin_loop();
    }
}

/// Runs microtasks for a while: they are drained behind the callback, which itself is short.
fn flood(truth: &Arc<Truth>, cx: &mut Cx<'_, ()>) {
    truth.guilty.begun.fetch_add(1, SeqCst);
    one_of_many(truth.clone(), cx, (Instant::now(), own_ns() + BLOCK.as_nanos() as u64));
}

fn one_of_many(truth: Arc<Truth>, cx: &mut Cx<'_, ()>, (begin, end_ns): (Instant, u64)) {
    cx.microtask(move |cx| {
        let count = truth.microtasks.fetch_add(1, SeqCst);
        if count.is_multiple_of(1024) && own_ns() >= end_ns {
            truth.guilty.has_ended(begin);
            return;
        }
        one_of_many(truth, cx, (begin, end_ns));
    });
}

/// Whether jobs of the pool may end.
static RELEASED: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn release() {
    *RELEASED.0.lock().expect("nobody panics under it") = true;
    RELEASED.1.notify_all();
}

fn wait_for_release() {
    let mut is_released = RELEASED.0.lock().expect("nobody panics under it");
    while !*is_released {
        is_released = RELEASED.1.wait(is_released).expect("nobody panics under it");
    }
}

/// Fills the pool.
fn fill(truth: &Arc<Truth>, cx: &mut Cx<'_, ()>) {
    truth.guilty.during(|| {
        for _ in 0..JOBS {
            let (job, done) = (truth.clone(), truth.clone());
            let key = cx.work(
                move || job.jobs.during(wait_for_release),
                move |_, _| _ = done.delivered.fetch_add(1, SeqCst),
            );
            cx.name(key, "held");
        }
    });
}
