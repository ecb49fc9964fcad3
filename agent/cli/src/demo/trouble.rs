//! What goes wrong in the demo on request, in functions whose names the flamegraph should show.

use super::service::Service;
use crate::args::Trouble;
use loopscope_loop::{Cx, simulate};
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
    if simulate::advance(POOL_JOB) {
        return;
    }
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
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    if simulate::advance(duration) {
        return sum;
    }
    let until = Deadline::after(duration);
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
    use super::super::routes::route;
    use super::*;
    use crate::args::DEMO_HELP;
    use loopscope_loop::{Loop, Mode};
    use loopscope_probe::Kind;
    use loopscope_report::compute::sites::totals;

    /// Lets it go wrong for so many seconds, in virtual time. Returns how often each timer ran, and how many jobs did.
    fn ran(trouble: Trouble, seconds: f64) -> (impl Fn(&str) -> u64, u64) {
        let service = Service::new(Default::default(), route);
        let mut event_loop = Loop::builder(service).virtual_time().build().unwrap();
        event_loop.main(|cx| {
            arm(cx, trouble);
            cx.after(Duration::from_secs_f64(seconds), |cx| cx.stop());
        });
        event_loop.run(Mode::Default).unwrap();
        let page = event_loop.page().unwrap().snapshot(event_loop.page_clock().unwrap());
        let (sites, jobs) =
            (totals(&page), page.pool.map_or(0, |pool| pool.run.iter().map(|run| run.count()).sum()));
        let calls_of = move |name: &str| {
            let named = sites.iter().filter(|site| {
                site.kind == Some(Kind::Timer) && site.label.starts_with(&format!("{name} ("))
            });
            named.map(|site| site.calls).sum()
        };
        (calls_of, jobs)
    }

    #[test]
    fn it_goes_wrong_every_two_seconds_as_the_help_says() {
        assert!(DEMO_HELP.contains("it misbehaves every two seconds"));
        let (calls_of, jobs) = ran(Trouble::Block, 20.9);
        assert_eq!((calls_of("parse_invoices"), jobs), (10, 0));
        let (calls_of, jobs) = ran(Trouble::Pool, 3.9);
        assert_eq!((calls_of("import_images"), jobs), (1, 40));
        let (calls_of, _) = ran(Trouble::Timers, 3.9);
        assert_eq!((calls_of("arm_session_timers"), calls_of("expire_session")), (1, 500));
        let (calls_of, _) = ran(Trouble::None, 10.0);
        assert_eq!(calls_of("parse_invoices"), 0);
        // One after the other, each in its turn.
        let (calls_of, jobs) = ran(Trouble::Mixed, 11.9);
        assert_eq!((calls_of("choose_trouble"), jobs), (5, 40));
        for name in
            ["parse_invoices", "start_retries", "start_deferring", "import_images", "arm_session_timers"]
        {
            assert_eq!(calls_of(name), 1, "{name}");
        }
    }

    #[test]
    fn the_help_has_the_figures_of_the_code() {
        let ms = |length: Duration| format!("{} ms", length.as_millis());
        for line in [
            format!("block       parse_invoices computes for {} ", ms(LENGTH)),
            format!("microtasks  retry_promise queues itself again, as a microtask, for {}", ms(LENGTH)),
            format!("nexttick    defer_again queues itself again, as a tick, for {}", ms(LENGTH)),
            format!("pool        {POOL_JOBS} jobs of resize_image, {} each", ms(POOL_JOB)),
            format!("timers      {SESSIONS} timers of expire_session, {} each", ms(SESSION_RUN)),
        ] {
            assert!(DEMO_HELP.contains(&line), "{line}");
        }
    }

    #[test]
    fn computing_takes_as_long_as_it_is_told() {
        let until = Deadline::after(Duration::from_millis(5));
        compute(Duration::from_millis(5));
        assert!(until.has_passed());
    }
}
