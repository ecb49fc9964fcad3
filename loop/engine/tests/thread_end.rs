//! A loop in a thread-local variable outlives the engine's own: here it is shown that it can be dropped, run and built
//! then. A panic there aborts, so each case is a process of its own.

use loopscope_loop::{Loop, Mode, simulate};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::process::Command;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Names the case that a process of this test runs.
const CASE: &str = "LOOPSCOPE_TEST_THREAD_END";

/// What a thread keeps: a loop, and what its end does with it.
struct Kept {
    event_loop: Option<Loop<u32>>,
    at_end: fn(Option<Loop<u32>>),
}

impl Drop for Kept {
    fn drop(&mut self) {
        (self.at_end)(self.event_loop.take());
        println!("dropped");
    }
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
    static WAKER: Cell<Option<Waker>> = const { Cell::new(None) };
}

fn build(is_virtual: bool) -> Loop<u32> {
    let builder = Loop::builder(0).name("kept");
    if is_virtual { builder.virtual_time().build().unwrap() } else { builder.build().unwrap() }
}

/// Uses timers, futures, wakes and virtual time, and returns how many callbacks ran.
fn run(event_loop: &mut Loop<u32>) -> u32 {
    *event_loop.state_mut() = 0;
    event_loop.main(|cx| {
        cx.after(Duration::from_millis(1), |cx| {
            simulate::advance(Duration::from_millis(1));
            *cx.state += 1;
        });
        let has_run = Rc::new(Cell::new(false));
        drop(cx.spawn_local(poll_fn(move |context| match has_run.replace(true) {
            true => Poll::Ready(()),
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })));
        cx.microtask(|cx| *cx.state += 1);
    });
    event_loop.run(Mode::Default).unwrap();
    let _ = event_loop.backend_timeout();
    *event_loop.state()
}

fn drop_it(event_loop: Option<Loop<u32>>) {
    drop(event_loop);
}

fn run_it(event_loop: Option<Loop<u32>>) {
    assert_eq!(run(&mut event_loop.unwrap()), 2);
}

fn build_more(event_loop: Option<Loop<u32>>) {
    drop(event_loop);
    assert_eq!(run(&mut build(false)), 2);
    assert_eq!(run(&mut build(true)), 2);
}

/// The variable is there before the engine's own ones, so that it is dropped after them.
fn keep(at_end: fn(Option<Loop<u32>>), is_virtual: bool) {
    KEPT.set(Some(Kept { event_loop: None, at_end }));
    let mut event_loop = build(is_virtual);
    assert_eq!(run(&mut event_loop), 2);
    // A wake that nobody takes any more.
    event_loop.main(|cx| {
        drop(cx.spawn_local(poll_fn(|context| {
            WAKER.set(Some(context.waker().clone()));
            Poll::<()>::Pending
        })));
    });
    WAKER.take().unwrap().wake();
    KEPT.with_borrow_mut(|kept| kept.as_mut().unwrap().event_loop = Some(event_loop));
}

fn run_case(case: &str) {
    let run: fn() = match case {
        "dropped" => || keep(drop_it, false),
        "run" => || keep(run_it, false),
        "run in virtual time" => || keep(run_it, true),
        "built" => || keep(build_more, false),
        case => panic!("no case {case}"),
    };
    std::thread::spawn(run).join().unwrap();
    println!("ended");
}

#[test]
fn a_loop_in_a_thread_local_can_be_dropped_run_and_built_when_its_thread_ends() {
    if let Some(case) = std::env::var_os(CASE) {
        return run_case(case.to_str().unwrap());
    }
    for case in ["dropped", "run", "run in virtual time", "built"] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let this = "a_loop_in_a_thread_local_can_be_dropped_run_and_built_when_its_thread_ends";
        let output = command.args(["--exact", this, "--nocapture"]).env(CASE, case).output().unwrap();
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{case}: {}, {errors}", output.status);
        assert!(said.contains("dropped\n") && said.contains("ended\n"), "{case}: {said}");
    }
}
