//! What a loop's start costs its thread: the first `Writer::builder().build()` of a fresh process, and how exact its clock is.

use loopscope_probe::Clock;
use loopscope_probe::Writer;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the rate of a process's clock is checked against the monotonic clock; the check is exact to some 0.5 parts in a
/// million then.
const CHECKED: Duration = Duration::from_millis(300);

fn main() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "one" {
        return one();
    }
    let runs = argument.parse().unwrap_or(20);
    let this = std::env::current_exe().expect("this program has a path");
    let (mut starts_us, mut errors_ppm): (Vec<f64>, Vec<f64>) = (0..runs).map(|_| fresh(&this)).unzip();
    println!("| fresh processes | first build, us | error of the clock's rate, parts in a million |");
    println!("|---|---|---|");
    println!("| {runs} | {} | {} |", quartiles(&mut starts_us), quartiles(&mut errors_ppm));
}

/// Runs a fresh process; returns its figures.
fn fresh(this: &std::path::Path) -> (f64, f64) {
    let told = Command::new(this).arg("one").output().expect("it runs").stdout;
    let told = String::from_utf8(told).expect("it prints text");
    let (start_us, error_ppm) = told.trim().split_once(' ').expect("it prints two figures");
    (start_us.parse().expect("a number"), error_ppm.parse().expect("a number"))
}

fn one() {
    let begin = Instant::now();
    let writer = Writer::builder("startup").build();
    let start_us = begin.elapsed().as_secs_f64() * 1e6;
    println!("{start_us} {}", error_ppm(writer.clock()));
}

/// Compares the clock with the monotonic clock.
fn error_ppm(clock: &Clock) -> f64 {
    // The tightest of many pairs: a thread that is stopped between the two readings is in none of those.
    let pair = || {
        let at = |_| {
            let (before, monotonic, after) = (clock.now().0, Instant::now(), clock.now().0);
            (after - before, before + (after - before) / 2, monotonic)
        };
        let (_, ticks, monotonic) =
            (0..1_000).map(at).min_by_key(|(width, ..)| *width).expect("a thousand pairs");
        (ticks, monotonic)
    };
    let (first, begin) = pair();
    std::thread::sleep(CHECKED);
    let (last, end) = pair();
    let (ours, true_ns) = (clock.scale().ns(last - first) as f64, (end - begin).as_nanos() as f64);
    ((ours / true_ns - 1.0) * 1e6).abs()
}

/// Returns the median, the quartiles in brackets, and the greatest.
fn quartiles(figures: &mut [f64]) -> String {
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| figures[(figures.len() - 1) * part / 4];
    format!("{:.1} [{:.1}, {:.1}], at most {:.1}", at(2), at(1), at(3), at(4))
}
