//! What goes wrong in the demo on request, in functions whose names the flamegraph should show.

use super::service::Service;
use crate::args::Trouble;
use loopscope_loop::Cx;
use loopscope_probe::Clock;
use std::time::Duration;

/// How often it goes wrong, as the help says.
const PERIOD: Duration = Duration::from_secs(2);

/// How long one trouble lasts, about.
const LENGTH: Duration = Duration::from_millis(300);

const POOL_JOBS: usize = 40;
const POOL_JOB: Duration = Duration::from_millis(150);

const SESSIONS: usize = 500;
const SESSION_RUN: Duration = Duration::from_millis(1);

/// Arms the trouble. `None` arms nothing.
pub fn arm(cx: &mut Cx<'_, Service>, trouble: Trouble) {
    match trouble {
        Trouble::None => {}
        Trouble::Block => again(cx, parse_invoices, "parse_invoices"),
        Trouble::Microtasks => again(cx, start_retries, "start_retries"),
        Trouble::NextTick => again(cx, start_deferring, "start_deferring"),
        Trouble::Pool => again(cx, import_images, "import_images"),
        Trouble::Timers => again(cx, arm_session_timers, "arm_session_timers"),
        Trouble::Mixed => {
            let mut turns = (0..5).cycle();
            again(cx, move |cx| next(cx, turns.next().unwrap_or(0)), "choose_trouble");
        }
    }
}

/// Runs the trouble whose turn it is, in a timer of its own name.
fn next(cx: &mut Cx<'_, Service>, turn: u32) {
    match turn {
        0 => once(cx, parse_invoices, "parse_invoices"),
        1 => once(cx, start_retries, "start_retries"),
        2 => once(cx, start_deferring, "start_deferring"),
        3 => once(cx, import_images, "import_images"),
        _ => once(cx, arm_session_timers, "arm_session_timers"),
    }
}

/// Arms an interval. The site is the caller's line, not this one.
#[track_caller]
fn again(cx: &mut Cx<'_, Service>, run: impl FnMut(&mut Cx<'_, Service>) + 'static, name: &'static str) {
    let timer = cx.every(PERIOD, run);
    cx.name(timer, name);
}

/// Arms a timer that is due at once; the site as in [`again`].
#[track_caller]
fn once(cx: &mut Cx<'_, Service>, run: fn(&mut Cx<'_, Service>), name: &'static str) {
    let timer = cx.after(Duration::ZERO, run);
    cx.name(timer, name);
}

/// Blocks the loop: one callback that computes.
fn parse_invoices(_cx: &mut Cx<'_, Service>) {
    let _span = tracing::info_span!("parse_invoices").entered();
    for (name, part) in [("read_lines", 2), ("sum_amounts", 5), ("format_ledger", 3)] {
        let _part = match name {
            "read_lines" => tracing::info_span!("read_lines"),
            "sum_amounts" => tracing::info_span!("sum_amounts"),
            _ => tracing::info_span!("format_ledger"),
        }
        .entered();
        std::hint::black_box(compute(LENGTH * part / 10));
    }
}

/// Floods the microtask queue: no I/O is served until it ends.
fn start_retries(cx: &mut Cx<'_, Service>) {
    let until = Deadline::after(LENGTH);
    cx.microtask(move |cx| retry_promise(cx, until));
}

fn retry_promise(cx: &mut Cx<'_, Service>, until: Deadline) {
    let _span = tracing::info_span!("retry_promise").entered();
    if !until.has_passed() {
        cx.microtask(move |cx| retry_promise(cx, until.clone()));
    }
}

/// Floods the nextTick queue.
fn start_deferring(cx: &mut Cx<'_, Service>) {
    let until = Deadline::after(LENGTH);
    cx.next_tick(move |cx| defer_again(cx, until));
}

fn defer_again(cx: &mut Cx<'_, Service>, until: Deadline) {
    let _span = tracing::info_span!("defer_again").entered();
    if !until.has_passed() {
        cx.next_tick(move |cx| defer_again(cx, until));
    }
}

/// Fills the thread pool, so that every other job waits.
fn import_images(cx: &mut Cx<'_, Service>) {
    for _ in 0..POOL_JOBS {
        let job = cx.work(resize_image, |_cx, _result| {});
        cx.name(job, "resize_image");
    }
}

/// A job that waits, as one on a slow disk would.
fn resize_image() {
    let until = Deadline::after(POOL_JOB);
    while !until.has_passed() {
        std::thread::park_timeout(POOL_JOB);
    }
}

/// Makes timers late: each is short, and all are due at once.
fn arm_session_timers(cx: &mut Cx<'_, Service>) {
    for _ in 0..SESSIONS {
        let timer = cx.after(Duration::from_millis(10), expire_session);
        cx.name(timer, "expire_session");
    }
}

fn expire_session(_cx: &mut Cx<'_, Service>) {
    let _span = tracing::info_span!("expire_session").entered();
    std::hint::black_box(compute(SESSION_RUN));
}

/// Computes for so long, and returns something that depends on it.
pub fn compute(duration: Duration) -> u64 {
    let until = Deadline::after(duration);
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    while !until.has_passed() {
        for byte in 0..1_000u64 {
            sum = (sum ^ byte).wrapping_mul(0x0100_0000_01b3);
        }
    }
    sum
}

/// A moment to stop at.
#[derive(Clone, Debug)]
struct Deadline {
    clock: Clock,
    start: loopscope_probe::Ticks,
    length: Duration,
}

impl Deadline {
    fn after(length: Duration) -> Deadline {
        let clock = Clock::monotonic();
        let start = clock.now();
        Deadline { clock, start, length }
    }

    fn has_passed(&self) -> bool {
        u128::from(self.clock.ns_between(self.start, self.clock.now())) >= self.length.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_takes_as_long_as_it_is_told() {
        let until = Deadline::after(Duration::from_millis(5));
        compute(Duration::from_millis(5));
        assert!(until.has_passed());
    }
}
