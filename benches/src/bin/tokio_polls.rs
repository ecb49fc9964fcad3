//! What a poll costs on a watched Tokio runtime, against one that is not watched, and that one against itself (A/A).
//!
//! 32 tasks yield in turn: nothing but polls. Each variant has a thread and a `current_thread` runtime of its own that stay; they run
//! one after the other, in another order each round, and the processor time of the thread is compared pair by pair.

use loopscope_benches::cputime::{this_thread, thread_cpu_ns};
use std::sync::mpsc::{Receiver, Sender, channel};

const TASKS: usize = 32;
const POLLS: usize = 3_000;
const WARM_UP: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Plain,
    PlainAgain,
    Hooks,
    Probed,
}

const VARIANTS: [Variant; 4] = [Variant::Plain, Variant::PlainAgain, Variant::Hooks, Variant::Probed];

async fn work() {
    for _ in 0..POLLS {
        tokio::task::yield_now().await;
    }
}

/// Starts the thread of a variant: one run for each message, answered with nanoseconds of processor time per poll.
fn start(variant: Variant) -> (Sender<()>, Receiver<f64>) {
    let ((ask, asked), (tell, told)) = (channel::<()>(), channel());
    std::thread::spawn(move || {
        let thread = this_thread();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = match variant {
            Variant::Plain | Variant::PlainAgain => builder.enable_all().build(),
            Variant::Hooks | Variant::Probed => loopscope_tokio::build(builder.enable_all(), "bench"),
        }
        .unwrap();
        // The page is made at the first park.
        runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
        while asked.recv().is_ok() {
            let begun = thread_cpu_ns(thread);
            runtime.block_on(async {
                let spawn = |_| match variant {
                    Variant::Probed => loopscope_tokio::spawn(work()),
                    _ => tokio::spawn(work()),
                };
                let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            tell.send((thread_cpu_ns(thread) - begun) as f64 / (TASKS * POLLS) as f64).unwrap();
        }
    });
    (ask, told)
}

fn main() {
    let rounds: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(40);
    let threads = VARIANTS.map(start);
    let mut figures = VARIANTS.map(|_| Vec::new());
    for round in 0..rounds + WARM_UP {
        for at in 0..VARIANTS.len() {
            let which = (at + round) % VARIANTS.len();
            threads[which].0.send(()).unwrap();
            let ns = threads[which].1.recv().unwrap();
            if round >= WARM_UP {
                figures[which].push(ns);
            }
        }
    }
    println!("| variant | ns per poll, least | median of differences to plain | quartiles |");
    println!("|---|---|---|---|");
    for (variant, ns) in VARIANTS.iter().zip(&figures) {
        let mut more: Vec<f64> = ns.iter().zip(&figures[0]).map(|(own, plain)| own - plain).collect();
        more.sort_by(f64::total_cmp);
        let least = ns.iter().copied().fold(f64::MAX, f64::min);
        let at = |part: usize| more[more.len() * part / 4];
        println!("| {variant:?} | {least:.1} | {:+.1} | {:+.1} to {:+.1} |", at(2), at(1), at(3));
    }
}
