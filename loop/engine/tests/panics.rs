//! Panicking callbacks: the user chooses what they do to the loop, and every kind of callback is covered.

use loopscope_loop::{Builder, CallbackPanicked, Cx, Hook, Loop, Mode, PanicPolicy};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

type Log = Vec<&'static str>;

/// One way to have a callback that panics, named after its kind.
type Setup = (&'static str, fn(&mut Cx<'_, Log>));

fn boom(_: &mut Cx<'_, Log>) {
    panic!("boom");
}

fn kinds() -> Vec<Setup> {
    vec![
        ("timer", |cx| {
            cx.after(Duration::from_millis(1), boom);
        }),
        ("timer", |cx| {
            cx.rearmable(Duration::from_millis(1), boom);
        }),
        ("immediate", |cx| {
            cx.immediate(boom);
        }),
        ("tick", |cx| cx.next_tick(boom)),
        ("microtask", |cx| cx.microtask(boom)),
        ("microtask", |cx| drop(cx.spawn_local(async { panic!("boom") }))),
        ("work_done", |cx| {
            cx.work(|| (), |cx, _| boom(cx));
        }),
        ("async", |cx| cx.post_handle().post(boom).unwrap()),
        ("close", |cx| {
            let hook = cx.on(Hook::Idle, |_| {});
            cx.close_with(hook, boom);
        }),
        ("prepare", |cx| one_turn(cx, Hook::Prepare)),
        ("check", |cx| one_turn(cx, Hook::Check)),
        ("idle", |cx| one_turn(cx, Hook::Idle)),
        ("other", |cx| cx.before_exit(boom)),
    ]
}

/// A hook that panics in its first turn only, and is closed after a while.
fn one_turn(cx: &mut Cx<'_, Log>, hook: Hook) {
    let mut turns = 0;
    let key = cx.on(hook, move |cx| {
        turns += 1;
        if turns == 1 {
            boom(cx);
        }
    });
    cx.after(Duration::from_millis(3), move |cx| {
        cx.close(key);
    });
}

fn prepared(policy: PanicPolicy, setup: fn(&mut Cx<'_, Log>)) -> Loop<Log> {
    prepared_by(Loop::builder(Log::new()).virtual_time().on_panic(policy), setup)
}

fn prepared_by(builder: Builder<Log>, setup: fn(&mut Cx<'_, Log>)) -> Loop<Log> {
    let mut event_loop = builder.build().unwrap();
    // From a callback, so that queues of the main script are not drained by `main` itself.
    event_loop.main(|cx| {
        cx.immediate(move |cx| {
            setup(cx);
            cx.after(Duration::from_millis(20), |cx| {
                cx.state.push("later");
            });
        });
    });
    event_loop
}

#[test]
fn by_default_the_loop_goes_on_and_counts_the_panic() {
    for (kind, setup) in kinds() {
        let mut event_loop = prepared(PanicPolicy::Continue, setup);
        while event_loop.run(Mode::Default).unwrap() {}
        assert_eq!(*event_loop.state(), ["later"], "{kind}");
    }
}

#[test]
fn stop_returns_an_error_that_names_kind_and_site() {
    for (kind, setup) in kinds() {
        let mut event_loop = prepared(PanicPolicy::Stop, setup);
        let error = loop {
            match event_loop.run(Mode::Default) {
                Ok(true) => {}
                Ok(false) => panic!("{kind}: no error"),
                Err(error) => break error,
            }
        };
        let panicked = error.get_ref().and_then(|inner| inner.downcast_ref::<CallbackPanicked>()).unwrap();
        assert_eq!((panicked.kind, panicked.message.as_str()), (kind, "boom"));
        assert!(panicked.site.contains("panics.rs:"), "{}", panicked.site);
        assert!(error.to_string().contains(&panicked.site));
    }
}

#[test]
fn propagate_lets_the_panic_through_and_the_loop_can_run_again() {
    for (kind, setup) in kinds() {
        let mut event_loop = prepared(PanicPolicy::Propagate, setup);
        let payload = loop {
            match catch_unwind(AssertUnwindSafe(|| event_loop.run(Mode::Default))) {
                Ok(Ok(true)) => {}
                Ok(other) => panic!("{kind}: no panic but {other:?}"),
                Err(payload) => break payload,
            }
        };
        assert_eq!(payload.downcast_ref(), Some(&"boom"), "{kind}");
        for _ in 0..3 {
            let _ = catch_unwind(AssertUnwindSafe(|| event_loop.run(Mode::Default)));
        }
        assert_eq!(*event_loop.state(), ["later"], "{kind}");
    }
}

#[test]
fn what_a_panic_left_in_its_queue_runs_in_the_next_run() {
    let mut event_loop =
        Loop::builder(Log::new()).virtual_time().on_panic(PanicPolicy::Stop).build().unwrap();
    event_loop.main(|cx| {
        cx.immediate(|cx| {
            cx.next_tick(boom);
            cx.next_tick(|cx| cx.state.push("tick"));
            cx.microtask(|cx| cx.state.push("microtask"));
        });
        cx.immediate(|cx| cx.state.push("immediate"));
        let hooks = [cx.on(Hook::Check, |_| {}), cx.on(Hook::Check, |_| {})];
        for key in hooks {
            cx.close_with(key, |cx| cx.state.push("closed"));
        }
    });
    assert!(event_loop.run(Mode::Default).is_err());
    assert!(event_loop.state().is_empty());
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["tick", "microtask", "immediate", "closed", "closed"]);
}

#[test]
fn a_panic_of_the_main_script_always_reaches_its_caller() {
    for policy in [PanicPolicy::Continue, PanicPolicy::Stop, PanicPolicy::Propagate] {
        let mut event_loop = Loop::builder(Log::new()).virtual_time().on_panic(policy).build().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| event_loop.main(boom)));
        assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"boom"), "{policy:?}");
        assert!(!event_loop.run(Mode::Default).unwrap());
    }
}

#[test]
fn the_hook_gets_every_panic_whatever_the_policy() {
    for policy in [PanicPolicy::Continue, PanicPolicy::Stop, PanicPolicy::Propagate] {
        for (kind, setup) in kinds() {
            let (tell, told) = mpsc::channel();
            let hook = move |panicked: &CallbackPanicked| {
                tell.send(panicked.clone()).unwrap();
                // A hook that panics ends nothing.
                panic!("of the hook");
            };
            let builder = Loop::builder(Log::new()).virtual_time().on_panic(policy).panic_hook(hook);
            let mut event_loop = prepared_by(builder, setup);
            for _ in 0..6 {
                let _ = catch_unwind(AssertUnwindSafe(|| event_loop.run(Mode::Default)));
            }
            assert_eq!(*event_loop.state(), ["later"], "{kind} {policy:?}");
            let told: Vec<CallbackPanicked> = told.try_iter().collect();
            assert_eq!(told.len(), 1, "{kind} {policy:?}: {told:?}");
            assert_eq!((told[0].kind, told[0].message.as_str()), (kind, "boom"));
            assert!(told[0].site.contains("panics.rs:"), "{told:?}");
        }
    }
}

/// Says that a process of this test is to run the loop.
const IS_CASE: &str = "LOOPSCOPE_TEST_PANIC_LINE";

#[test]
fn a_loop_whose_callback_panicked_prints_nothing_itself() {
    if std::env::var_os(IS_CASE).is_some() {
        // As a program has it that logs panics itself.
        std::panic::set_hook(Box::new(|_| {}));
        let mut event_loop = prepared(PanicPolicy::Continue, |cx| cx.microtask(boom));
        while event_loop.run(Mode::Default).unwrap() {}
        assert_eq!(*event_loop.state(), ["later"]);
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let this = "a_loop_whose_callback_panicked_prints_nothing_itself";
    let output = command.args(["--exact", this, "--nocapture"]).env(IS_CASE, "yes").output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
