//! From samples to files: 10,000 real stacks of a busy thread, named with lines and inlined calls, and written in every
//! format; with the memory that it takes.

use loopscope_report::profiles::{Code, Format, Module, Of, Profile, ProfileFrame};
use loopscope_stacks::{Capturer, Detail, NativeFrame, RawStack, Symbolizer, Target, Unwinder};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const SAMPLES: u64 = 10_000;

fn main() {
    let (is_over, (send, target)) = (Arc::new(AtomicBool::new(false)), channel());
    let told = is_over.clone();
    let worker = std::thread::spawn(move || {
        send.send(Target::this_thread()).expect("the main thread waits for it");
        while !told.load(Ordering::Relaxed) {
            (0..24).for_each(|depth| {
                black_box(descend(depth, 17 * depth));
            });
        }
    });
    let mut capturer = Capturer::attach(target.recv().expect("the thread says")).expect("captures work here");
    let mut unwinder = Unwinder::new();
    let mut stacks: HashMap<Vec<u64>, u64> = HashMap::new();
    let mut taken = 0;
    while taken < SAMPLES {
        let Ok(sample) = capturer.capture(Duration::from_secs(1)) else { continue };
        *stacks.entry(unwinder.unwind(&sample).addresses).or_default() += 1;
        taken += 1;
    }
    is_over.store(true, Ordering::Relaxed);
    worker.join().expect("it only computes");
    let before_kib = status_kib("VmRSS:");
    println!("{taken} samples, {} different stacks; resident before: {before_kib} KiB\n", stacks.len());

    let begun = Instant::now();
    let (profile, mapped_kib) = named(&stacks, &unwinder);
    let naming_ms = begun.elapsed().as_secs_f64() * 1e3;
    println!("| step | ms | bytes |\n|---|---|---|\n| names, with lines | {naming_ms:.1} | |");
    for format in [Format::Svg, Format::Folded, Format::Pprof, Format::Speedscope, Format::Firefox] {
        let begun = Instant::now();
        let file = profile.write(format, "bench").expect("the profile is not empty");
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        println!("| {} | {ms:.1} | {} |", format.name(), file.len());
        if format == Format::Svg {
            let total_ms = naming_ms + ms;
            let peak_kib = status_kib("VmHWM:");
            println!(
                "| **samples to SVG** | **{total_ms:.1}** | peak resident {peak_kib} KiB: {before_kib} before, \
                 {mapped_kib} pages of files |"
            );
        }
    }
}

/// Names every different stack, as a session does at its end, and drops the debug information. Also returns how much of
/// what was resident then are pages of files, which the kernel can take back at any time.
fn named(stacks: &HashMap<Vec<u64>, u64>, unwinder: &Unwinder) -> (Profile, u64) {
    let mut symbolizer = Symbolizer::new(Detail::Lines);
    let mut profile = Profile::new(Of::Cpu);
    let mut modules: HashMap<Arc<str>, Arc<Module>> = HashMap::new();
    for (addresses, count) in stacks {
        let raw = RawStack { addresses: addresses.clone(), ..RawStack::default() };
        let native = symbolizer.name(&raw, unwinder.modules());
        let layout = ["bench", "poll", "io_read bench.rs:1"].map(ProfileFrame::plain);
        let frames: Vec<ProfileFrame> = native.iter().rev().map(|frame| code(frame, &mut modules)).collect();
        profile.add(layout.into_iter().chain(frames), count * 1_000_000, *count);
    }
    (profile, status_kib("RssFile:"))
}

fn code(native: &NativeFrame, modules: &mut HashMap<Arc<str>, Arc<Module>>) -> ProfileFrame {
    let module = native.module.as_ref().map(|name| {
        let module = || Arc::new(Module { path: name.to_string(), build_id: String::new() });
        modules.entry(name.clone()).or_insert_with(module).clone()
    });
    let code = Code { module, offset: native.offset, is_inlined: native.is_inlined };
    let file = native.file.as_deref().unwrap_or("");
    ProfileFrame {
        code: Some(code),
        ..ProfileFrame::placed(&native.function, file, native.line.unwrap_or(0))
    }
}

#[inline(never)]
fn descend(depth: u64, seed: u64) -> u64 {
    let sum: u64 = match seed % 4 {
        0 => (0..40).map(|number: u64| number.wrapping_mul(seed)).fold(seed, |sum, number| sum ^ number),
        1 => format!("{seed:x}").bytes().map(u64::from).sum(),
        2 => {
            let mut numbers: Vec<u64> = (0..24).map(|number| seed.rotate_left(number)).collect();
            numbers.sort_unstable();
            numbers[seed as usize % 24]
        }
        _ => (1..60).filter(|number| seed.is_multiple_of(*number)).count() as u64,
    };
    if depth == 0 { sum } else { black_box(descend(depth - 1, black_box(sum ^ depth)) + 1) }
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the kernel writes this field");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("it is a number")
}
