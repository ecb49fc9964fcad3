//! How long a loop's thread was ready and had no processor: on the page of an agent and on that of a host, by the kernel's
//! account of that thread.

#[path = "../agent/tests/support/mod.rs"]
mod support;

use loopscope_host::Host;
use loopscope_probe::{Kind, SiteId, TaskTimes, Writer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, available_parallelism};
use support::{any_port, builder, get_at, turn, until};

/// More than a thread waits for a processor by the way.
const ENOUGH_NS: u64 = 30_000_000;

/// Returns what the kernel has counted for the calling thread, in nanoseconds; `None` where it counts nothing.
fn own_delay_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').nth(1)?.trim().parse().ok()
}

/// Runs a loop: when it is told to, a callback computes until its thread has waited for a processor for long enough. Says
/// what the kernel had counted before and after that.
fn run(begin: &Receiver<()>, say: &Sender<Option<(u64, u64)>>) {
    let mut writer = Writer::builder("crowded").build();
    writer.resume();
    writer.park();
    say.send(None).unwrap();
    let _ = begin.recv();
    writer.unpark(1);
    writer.begin(Kind::Timer, SiteId::NONE, TaskTimes::UNKNOWN);
    let before_ns = own_delay_ns();
    while own_delay_ns().zip(before_ns).is_some_and(|(now_ns, before_ns)| now_ns < before_ns + ENOUGH_NS) {}
    say.send(before_ns.zip(own_delay_ns())).unwrap();
    let _ = begin.recv();
    writer.end();
}

#[test]
fn both_pages_have_the_kernel_s_account_of_the_loop_s_thread() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let host = Host::builder().listen(any_port()).start().unwrap();
    let addresses = [agent.address().unwrap(), host.address().unwrap()];
    let told = |address| {
        let page = get_at(address, "/metrics").body;
        let name = "loopscope_thread_run_delay_seconds_total{";
        let is_it = |line: &&str| line.starts_with(name) && line.contains("loop=\"crowded\"");
        page.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    let ((begin, begun), (say, said)) = (channel(), channel());
    let looped = thread::spawn(move || run(&begun, &say));
    said.recv().unwrap();
    until("both know the loop", || addresses.iter().all(|address| told(*address).is_some()));
    let is_over = AtomicBool::new(false);
    let delay = thread::scope(|scope| {
        for _ in 0..4 * available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        begin.send(()).unwrap();
        let delay = said.recv().unwrap();
        is_over.store(true, Ordering::Relaxed);
        delay
    });
    match delay {
        None => println!("skipped: run delay: the kernel does not count it (CONFIG_SCHED_INFO)"),
        Some((before_ns, after_ns)) => {
            for address in addresses {
                let (least, most) = ((after_ns - before_ns) as f64 / 1e9, after_ns as f64 / 1e9);
                let told = told(address).unwrap();
                // The thread goes on to wait until it is told to end.
                assert!((least..most + 1.0).contains(&told), "{least} to {most}: {told}");
            }
        }
    }
    drop(begin);
    looped.join().unwrap();
    agent.stop();
}
