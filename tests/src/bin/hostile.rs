//! A loop whose callbacks do what signal handlers fear, while another thread samples its stack 997 times a second.
//!
//! `hostile [--for 12s] [--hz 997] [WORKLOAD...]`: allocation, libraries loaded and unloaded, panics that unwind, fork and
//! exec, threads that come and go, backtraces by the unwinder that the program itself uses. Samples are unwound and named
//! all the while. It ends with an error when the loop stops making progress, when a wait of the loop is cut short by a
//! signal, or when stacks cannot be unwound. `--for 10m` is the long run, for before a release:
//!
//! ```text
//! cargo run --release -p loopscope-tests --bin hostile -- --for 10m
//! ```

use loopscope_loop::{Cx, Loop, Mode};
use loopscope_stacks::{CaptureError, Capturer, Detail, RawStack, Symbolizer, Target, Unwinder};
use std::ffi::CStr;
use std::hint::black_box;
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A slice of hostile work; how often it ran so far is passed.
type Work = fn(u64);

const WORKLOADS: &[(&str, Work)] = &[
    ("malloc", allocate),
    ("library", load_and_unload),
    ("panic", unwind_a_panic),
    ("fork", fork_and_exec),
    ("threads", start_and_join),
    ("backtrace", take_a_backtrace),
];

/// A loop that stands still for this long hangs. Far more than a busy machine needs for one slice.
const HANG: Duration = Duration::from_secs(60);

/// What the loop's thread and the sampling one share.
#[derive(Default)]
struct Shared {
    slices: AtomicU64,
    is_over: AtomicBool,
}

/// What the sampling thread found.
#[derive(Default)]
struct Found {
    samples: u64,
    in_flight: u64,
    incomplete: u64,
    guessed: u64,
    off_stack: u64,
    cut: u64,
    frames: u64,
    handler_ns_max: u64,
    nameless: u64,
}

fn main() -> ExitCode {
    // Thousands of panics are on purpose here.
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().downcast_ref::<OnPurpose>().is_none() {
            eprintln!("{panic}");
        }
    }));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("hostile: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (mut total, mut hz, mut chosen) = (Duration::from_secs(12), 997, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--for" => {
                total = duration(&arguments.next().unwrap_or_default()).ok_or("--for takes 90s or 10m")?
            }
            "--hz" => {
                hz = arguments.next().and_then(|hz| hz.parse().ok()).ok_or("--hz takes a number")?;
            }
            name => {
                let known = WORKLOADS.iter().find(|(known, _)| *known == name);
                chosen.push(*known.ok_or_else(|| format!("no workload {name}: see WORKLOADS"))?);
            }
        }
    }
    if chosen.is_empty() {
        chosen = WORKLOADS.to_vec();
    }
    let each = total / chosen.len() as u32;
    chosen.iter().try_for_each(|(name, work)| sampled(name, *work, each, hz))
}

fn duration(text: &str) -> Option<Duration> {
    let number = |text: &str| text.parse().ok();
    let minutes = text.strip_suffix('m').and_then(number).map(|minutes: u64| minutes * 60);
    minutes.or_else(|| text.strip_suffix('s').and_then(number)).map(Duration::from_secs)
}

/// Runs one workload on a loop while another thread samples it, and judges what came of it.
fn sampled(name: &str, work: Work, each: Duration, hz: u32) -> Result<(), String> {
    let shared = Arc::new(Shared::default());
    let (theirs, target) = (shared.clone(), Target::this_thread());
    let sampler = std::thread::Builder::new().name("sampler".to_owned());
    let sampler = sampler.spawn(move || sample(&theirs, target, hz)).map_err(|error| error.to_string())?;
    let interrupted = drive(work, each, &shared).map_err(|error| format!("{name}: the loop failed: {error}"));
    shared.is_over.store(true, Ordering::Release);
    let found = sampler.join().map_err(|_| format!("{name}: the sampling thread panicked"))?;
    let found = found.map_err(|error| format!("{name}: {error}"))?;
    let (interrupted, slices) = (interrupted?, shared.slices.load(Ordering::Relaxed));
    println!(
        "{name}: {slices} slices, {} samples, {} frames each, {} still in flight when the next was due, {} not to the \
         root, {} guessed, {} cut, {} off stack, {} addresses without a name, handler at most {} ns, EINTR {interrupted}",
        found.samples,
        found.frames / found.samples.max(1),
        found.in_flight,
        found.incomplete,
        found.guessed,
        found.cut,
        found.off_stack,
        found.nameless,
        found.handler_ns_max,
    );
    if slices == 0 || found.samples == 0 {
        return Err(format!("{name}: nothing was done or nothing was sampled"));
    }
    if interrupted > 0 {
        return Err(format!("{name}: {interrupted} waits of the loop were cut short by a signal"));
    }
    // Some hand-written code of the C library and the kernel's has no table; a broken unwinder fails everywhere.
    if found.incomplete * 100 > found.samples {
        return Err(format!(
            "{name}: {} of {} stacks do not reach the root",
            found.incomplete, found.samples
        ));
    }
    Ok(())
}

/// Runs the loop for some time: work in immediates, and a timer for which it waits in its poll. Returns how many of its
/// waits ended with EINTR.
fn drive(work: Work, each: Duration, shared: &Arc<Shared>) -> io::Result<u64> {
    let mut event_loop = Loop::builder(shared.clone()).build()?;
    event_loop.main(|cx| {
        // Two slices, and then a wait of a millisecond.
        cx.every(Duration::from_millis(1), move |cx| {
            slice(cx, work);
            cx.immediate(move |cx| slice(cx, work));
        });
    });
    let (begin, mut interrupted) = (Instant::now(), 0);
    while begin.elapsed() < each {
        match event_loop.run(Mode::Once) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupted += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(interrupted)
}

fn slice(cx: &mut Cx<'_, Arc<Shared>>, work: Work) {
    let count = cx.state.slices.load(Ordering::Relaxed);
    work(count);
    cx.state.slices.store(count + 1, Ordering::Relaxed);
}

/// Samples until it is over.
fn sample(shared: &Shared, target: Target, hz: u32) -> Result<Found, CaptureError> {
    let mut capturer = Capturer::attach(target)?;
    let (mut unwinder, mut found) = (Unwinder::new(), Found::default());
    let (mut symbols, mut lines) = (Symbolizer::new(Detail::Symbols), Symbolizer::new(Detail::Lines));
    let (step, mut due) = (Duration::from_secs(1) / hz, Instant::now());
    let (mut slices, mut moved) = (0, Instant::now());
    while !shared.is_over.load(Ordering::Acquire) {
        let now = shared.slices.load(Ordering::Relaxed);
        if now != slices {
            (slices, moved) = (now, Instant::now());
        } else if moved.elapsed() > HANG {
            hung(&mut capturer, &mut unwinder, &mut symbols);
        }
        match capturer.ask() {
            Err(CaptureError::InFlight) => found.in_flight += 1,
            asked => asked?,
        }
        due += step;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Behind by more than a tick: the machine is busy, and catching up would only be a burst.
        due = due.max(Instant::now() - step);
        let Some(sample) = capturer.take() else { continue };
        let stack = unwinder.unwind(&sample);
        found.handler_ns_max = found.handler_ns_max.max(sample.handler_ns);
        found.off_stack += u64::from(sample.is_off_stack);
        found.count(&stack, sample.is_off_stack);
        // Debug information is read as well, now and then.
        let symbolizer = if found.samples.is_multiple_of(100) { &mut lines } else { &mut symbols };
        let names = symbolizer.name(&stack, unwinder.modules());
        found.nameless += names.iter().filter(|frame| frame.function.contains("+0x")).count() as u64;
    }
    Ok(found)
}

impl Found {
    fn count(&mut self, stack: &RawStack, is_off_stack: bool) {
        self.samples += 1;
        self.frames += stack.addresses.len() as u64;
        self.cut += u64::from(stack.is_cut);
        self.guessed += u64::from(stack.is_guessed);
        self.incomplete += u64::from(!stack.is_complete && !stack.is_cut && !is_off_stack);
    }
}

/// Says where the loop hangs, and ends the program.
fn hung(capturer: &mut Capturer, unwinder: &mut Unwinder, symbols: &mut Symbolizer) -> ! {
    eprintln!("hostile: the loop has stood still for {HANG:?}, in:");
    match capturer.capture(Duration::from_secs(5)) {
        Ok(sample) => {
            let stack = unwinder.unwind(&sample);
            for frame in symbols.name(&stack, unwinder.modules()) {
                eprintln!("  {}", frame.function);
            }
        }
        Err(error) => eprintln!("  {error}"),
    }
    exit(1)
}

/// Blocks of all sizes, so that the allocator splits, merges, and asks the kernel.
fn allocate(count: u64) {
    let mut seed = count;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as usize
    };
    let mut blocks: Vec<Vec<u8>> = (0..300).map(|_| vec![1; next() % 20_000]).collect();
    (0..300).for_each(|_| drop(blocks.swap_remove(next() % blocks.len())));
    blocks.push(vec![0; 4 << 20]);
    black_box(&blocks);
}

/// Loads a library that the program does not need, and unloads it.
fn load_and_unload(_count: u64) {
    const LIBRARIES: &[&CStr] =
        &[c"libresolv.so.2", c"libBrokenLocale.so.1", c"libutil.so.1", c"libanl.so.1"];
    for library in LIBRARIES {
        // SAFETY: these libraries of the C library's have no constructors that depend on anything of ours.
        let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
        if !handle.is_null() {
            // SAFETY: the handle was just opened, and nothing of the library is used.
            unsafe { libc::dlclose(handle) };
        }
    }
}

/// The payload of the panics that are on purpose.
struct OnPurpose;

/// Panics below some frames that have something to drop, and catches it.
fn unwind_a_panic(_count: u64) {
    #[inline(never)]
    fn deep(depth: u32) -> usize {
        let held = Box::new([depth; 4]);
        if depth == 0 {
            std::panic::panic_any(OnPurpose);
        }
        deep(black_box(depth - 1)) + held.len()
    }
    for _ in 0..5 {
        assert!(catch_unwind(AssertUnwindSafe(|| deep(20))).is_err());
    }
}

/// Starts a program, by posix_spawn and by fork.
fn fork_and_exec(count: u64) {
    let mut command = Command::new("true");
    command.stdin(Stdio::null());
    if count.is_multiple_of(2) {
        // SAFETY: the closure does nothing, which is allowed after fork. Its presence makes std fork.
        unsafe { command.pre_exec(|| Ok(())) };
    }
    let status = command.status().unwrap_or_else(|error| panic!("`true` cannot be started: {error}"));
    assert!(status.success());
}

/// Threads that live for a moment.
fn start_and_join(_count: u64) {
    std::thread::scope(|scope| {
        (0..8).for_each(|index| drop(scope.spawn(move || black_box(vec![index; 100]))))
    });
}

/// The program's own unwinder, interrupted anywhere; now and then with names, which takes its locks.
fn take_a_backtrace(count: u64) {
    let backtrace = std::backtrace::Backtrace::force_capture();
    if count.is_multiple_of(64) {
        black_box(backtrace.to_string());
    }
}
