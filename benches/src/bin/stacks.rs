//! What a capture costs: the handler by depth of the stack, names by detail, and a busy loop while it is sampled.
//!
//! `stacks [ROUNDS]`. The program is its own large binary: built with `CARGO_PROFILE_RELEASE_DEBUG=full` it has the debug
//! information that the figures for lines are about.

use loopscope_agent::{Agent, Listen};
use loopscope_benches::cputime::{this_thread, thread_cpu_ns};
use loopscope_benches::flipflop::Spread;
use loopscope_loop::{Cx, Loop, Mode};
use loopscope_probe::raw::barrier;
use loopscope_stacks::{CaptureSupport, Capturer, Detail, Sample, Symbolizer, Target, Unwinder, prepare};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(5);

fn main() {
    let rounds = std::env::args().nth(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(24);
    assert!(matches!(prepare(), CaptureSupport::Ready { .. }), "{:?}", prepare());
    let size = std::env::current_exe().and_then(std::fs::metadata).map_or(0, |facts| facts.len());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("program of {:.1} MB, load {load}", size as f64 / 1e6);
    handler();
    barriers();
    names(Detail::Symbols);
    names(Detail::Lines);
    slow_down(rounds);
}

/// Below `depth` calls, runs something.
#[inline(never)]
fn below(depth: usize, run: &mut dyn FnMut()) {
    if depth == 0 {
        run();
        return;
    }
    below(black_box(depth - 1), run);
    black_box(depth);
}

fn frames_of(unwinder: &mut Unwinder, sample: &Sample) -> usize {
    unwinder.unwind(sample).addresses.len()
}

/// The handler's own time, and that of unwinding. The thread signals itself, so that nothing is waited for.
fn handler() {
    const SAMPLES: usize = 3000;
    println!(
        "\n| frames | bytes copied | handler ns median [quartiles] | unwinding ns median [quartiles] |\n|---|---|---|---|"
    );
    let mut capturer = Capturer::attach(Target::this_thread()).expect("the self-test passed");
    let mut unwinder = Unwinder::new();
    let mut capture = || capturer.capture(WITHIN).expect("a signal to oneself arrives");
    let mut base = 0;
    below(0, &mut || base = frames_of(&mut unwinder, &capture()));
    for frames in [base.max(9), 25, 70, 200] {
        let (mut spent, mut unwound, mut bytes, mut found) = (Vec::new(), Vec::new(), 0, 0);
        below(frames - base, &mut || {
            for _ in 0..SAMPLES {
                let sample = capture();
                spent.push(sample.handler_ns as f64);
                bytes = sample.stack.len();
                let begin = Instant::now();
                found = frames_of(&mut unwinder, &sample);
                unwound.push(begin.elapsed().as_nanos() as f64);
            }
        });
        let (spent, unwound) = (Spread::of(spent), Spread::of(unwound));
        println!(
            "| {found} | {bytes} | {:.0} [{:.0}, {:.0}] | {:.0} [{:.0}, {:.0}] |",
            spent.median, spent.low, spent.high, unwound.median, unwound.low, unwound.high
        );
    }
}

/// The barrier before a signal, with so many threads that run.
fn barriers() {
    const BARRIERS: usize = 3000;
    println!("\n| running threads | one barrier for all, ns median [quartiles] |\n|---|---|");
    barrier::of_agent();
    for threads in [1, 2, 8] {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let mut spent = Vec::new();
            for _ in 0..BARRIERS {
                let begin = Instant::now();
                barrier::all_threads();
                spent.push(begin.elapsed().as_nanos() as f64);
            }
            is_over.store(true, Ordering::Relaxed);
            let spent = Spread::of(spent);
            println!("| {threads} | {:.0} [{:.0}, {:.0}] |", spent.median, spent.low, spent.high);
        });
    }
}

/// From asking a busy thread to a stack with names: with everything new, and once more.
fn names(detail: Detail) {
    let is_over = Arc::new(AtomicBool::new(false));
    let (theirs, (send, receive)) = (is_over.clone(), std::sync::mpsc::channel());
    let busy = std::thread::spawn(move || {
        let _ = send.send(Target::this_thread());
        below(40, &mut || while !theirs.load(Ordering::Relaxed) {});
    });
    let target = receive.recv().expect("the thread sends itself first");
    let mut capturer = Capturer::attach(target).expect("the thread lives");
    let (mut cold, mut warm, mut captured, mut frames) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut cpu = Vec::new();
    for _ in 0..15 {
        let begin = Instant::now();
        let sample = capturer.capture(WITHIN).expect("a busy thread takes signals");
        captured.push(begin.elapsed().as_secs_f64() * 1e6);
        let used = thread_cpu_ns(this_thread());
        let mut unwinder = Unwinder::new();
        let mut symbolizer = Symbolizer::new(detail);
        let stack = unwinder.unwind(&sample);
        frames = symbolizer.name(&stack, unwinder.modules()).len();
        cold.push(begin.elapsed().as_secs_f64() * 1e3);
        cpu.push((thread_cpu_ns(this_thread()) - used) as f64 / 1e6);
        let begin = Instant::now();
        let sample = capturer.capture(WITHIN).expect("a busy thread takes signals");
        let stack = unwinder.unwind(&sample);
        black_box(symbolizer.name(&stack, unwinder.modules()));
        warm.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    is_over.store(true, Ordering::Relaxed);
    busy.join().expect("it only spins");
    let (cold, warm, captured) = (Spread::of(cold), Spread::of(warm), Spread::of(captured));
    let cpu = Spread::of(cpu);
    println!(
        "\n{detail:?}, {frames} frames: first names after {:.1} ms [{:.1}, {:.1}], fastest {:.1}, of \
         processor time {:.1} ms [{:.1}, {:.1}]; again after {:.0} us \
         [{:.0}, {:.0}]; of this the sample {:.0} us [{:.0}, {:.0}]",
        cold.median,
        cold.low,
        cold.high,
        cold.fastest,
        cpu.median,
        cpu.low,
        cpu.high,
        warm.median,
        warm.low,
        warm.high,
        captured.median,
        captured.low,
        captured.high
    );
}

/// Work of some 5 us that computes and allocates, in a loop with its probe.
fn work(cx: &mut Cx<'_, u64>) {
    let mut words: Vec<u64> = (0..500).collect();
    for word in &mut words {
        *word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ *cx.state;
    }
    words.sort_unstable();
    *cx.state += black_box(words[7]) & 1;
}

/// Samples at the rate that is set, until it is over; returns how many samples.
fn sampler(target: Target, hz: Arc<AtomicU32>, is_over: Arc<AtomicBool>, samples: Arc<AtomicU64>) {
    let mut capturer = Capturer::attach(target).expect("the loop's thread lives");
    let mut unwinder = Unwinder::new();
    while !is_over.load(Ordering::Relaxed) {
        let rate = hz.load(Ordering::Relaxed);
        if rate == 0 {
            std::thread::park_timeout(Duration::from_millis(2));
            continue;
        }
        let _ = capturer.ask();
        std::thread::sleep(Duration::from_secs(1) / rate);
        if let Some(sample) = capturer.take() {
            black_box(unwinder.unwind(&sample));
            samples.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Processor time per callback of a busy loop, sampled at several rates in turns. The first two are the same: not sampled.
fn slow_down(rounds: usize) {
    const CALLBACKS: u64 = 10_000;
    const RATES: [u32; 5] = [0, 0, 99, 499, 997];
    let agent = Agent::builder().listen(Listen::Nowhere).start().expect("the agent starts");
    let (hz, is_over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let samples = Arc::new(AtomicU64::new(0));
    let target = Target::this_thread();
    let theirs = (hz.clone(), is_over.clone(), samples.clone());
    let sampling = std::thread::spawn(move || sampler(target, theirs.0, theirs.1, theirs.2));
    let mut event_loop = Loop::builder(0_u64).build().expect("a loop can be made");
    let mut costs = vec![Vec::new(); RATES.len()];
    let (mut counts, mut walls) = ([0_u64; RATES.len()], [0.0; RATES.len()]);
    for round in 0..=rounds {
        for turn in 0..RATES.len() {
            let index = (round + turn) % RATES.len();
            hz.store(RATES[index], Ordering::Relaxed);
            let (begin, before) = (Instant::now(), samples.load(Ordering::Relaxed));
            let cpu = thread_cpu_ns(this_thread());
            event_loop.main(|cx| repeat(cx, CALLBACKS));
            event_loop.run(Mode::Default).expect("the loop runs");
            let spent = (thread_cpu_ns(this_thread()) - cpu) as f64;
            // The first round warms up.
            if round > 0 {
                costs[index].push(spent / CALLBACKS as f64);
                counts[index] += samples.load(Ordering::Relaxed) - before;
                walls[index] += begin.elapsed().as_secs_f64();
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    sampling.join().expect("the sampling thread ends");
    drop(agent);
    println!(
        "\n| sampled at | samples/s | cpu ns/callback median | slower, % median [quartiles] |\n|---|---|---|---|"
    );
    let base = costs[0].clone();
    for (index, rate) in RATES.iter().enumerate() {
        let slower = costs[index].iter().zip(&base).map(|(own, base)| (own / base - 1.0) * 100.0);
        let (own, slower) = (Spread::of(costs[index].clone()), Spread::of(slower.collect()));
        println!(
            "| {rate} Hz | {:.0} | {:.0} | {:+.2} [{:+.2}, {:+.2}] |",
            counts[index] as f64 / walls[index],
            own.median,
            slower.median,
            slower.low,
            slower.high
        );
    }
}

fn repeat(cx: &mut Cx<'_, u64>, left: u64) {
    work(cx);
    if left > 1 {
        cx.immediate(move |cx| repeat(cx, left - 1));
    }
}
