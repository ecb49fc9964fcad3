//! How long a run lasts: modes, stop, before-exit, and what keeps a loop alive.

use loopscope_loop::{Hook, Loop, Mode, PanicPolicy, WaitsForever, simulate};
use std::time::Duration;

type Log = Vec<&'static str>;

fn virtual_loop<S: 'static>(state: S) -> Loop<S> {
    Loop::builder(state).virtual_time().on_panic(PanicPolicy::Propagate).build().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_default_run_makes_one_timers_pass_before_its_first_iteration() {
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        cx.after(ms(1), |cx| {
            let iteration = cx.iteration();
            cx.state.push(iteration);
        });
        assert!(simulate::advance(ms(5)));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [0]);
}

#[test]
fn once_and_no_wait_run_due_timers_at_the_end_of_their_iteration() {
    for mode in [Mode::Once, Mode::NoWait] {
        let mut event_loop = virtual_loop(Vec::new());
        event_loop.main(|cx| {
            cx.after(ms(1), |cx| {
                let iteration = cx.iteration();
                cx.state.push(iteration);
            });
            simulate::advance(ms(5));
        });
        assert!(!event_loop.run(mode).unwrap());
        assert_eq!(event_loop.into_state(), [1], "{mode:?}");
    }
}

#[test]
fn no_wait_does_not_wait_and_once_does() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.after(ms(50), |cx| cx.state.push("timer"));
    });
    assert!(event_loop.run(Mode::NoWait).unwrap(), "still alive");
    assert!(event_loop.state().is_empty());
    assert!(!event_loop.run(Mode::Once).unwrap());
    assert_eq!(event_loop.into_state(), ["timer"]);
}

#[test]
fn once_does_not_wait_where_an_idle_hook_is() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.after(ms(50), |cx| cx.state.push("timer"));
        cx.on(Hook::Idle, |cx| cx.state.push("idle"));
    });
    assert!(event_loop.run(Mode::Once).unwrap());
    assert_eq!(event_loop.into_state(), ["idle"]);
}

#[test]
fn a_loop_with_nothing_to_do_returns_at_once() {
    let mut event_loop = virtual_loop(());
    for mode in [Mode::Default, Mode::Once, Mode::NoWait] {
        assert!(!event_loop.run(mode).unwrap());
    }
    assert_eq!(event_loop.main(|cx| cx.iteration()), 0);
}

#[test]
fn stop_ends_the_run_after_the_present_pass() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.after(ms(1), |cx| {
            cx.state.push("first");
            cx.stop();
        });
        cx.after(ms(1), |cx| cx.state.push("second, of the same pass"));
        cx.after(ms(20), |cx| cx.state.push("later"));
        cx.before_exit(|cx| cx.state.push("before exit"));
    });
    assert!(event_loop.run(Mode::Default).unwrap(), "stopped while alive");
    assert_eq!(*event_loop.state(), ["first", "second, of the same pass"]);
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state()[2..], ["later", "before exit"]);
}

#[test]
fn a_stop_before_a_run_makes_that_run_do_nothing() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.immediate(|cx| cx.state.push("immediate"));
        cx.stop();
    });
    assert!(event_loop.run(Mode::Default).unwrap());
    assert!(event_loop.state().is_empty());
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["immediate"]);
}

#[test]
fn before_exit_revives_the_loop_and_runs_again_only_where_asked() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.before_exit(|cx| {
            cx.state.push("before exit");
            cx.after(ms(5), |cx| {
                cx.state.push("revived");
                cx.before_exit(|cx| {
                    cx.state.push("again");
                    // A tick runs, but revives nothing.
                    cx.next_tick(|cx| cx.state.push("tick"));
                });
            });
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["before exit", "revived", "again", "tick"]);
}

#[test]
fn a_timer_that_starts_itself_anew_does_not_keep_others_from_the_poll() {
    fn again(cx: &mut loopscope_loop::Cx<'_, u64>) {
        *cx.state += 1;
        simulate::advance(ms(2));
        if *cx.state < 100 {
            cx.after(Duration::ZERO, again);
        }
    }
    let mut event_loop = virtual_loop(0);
    event_loop.main(|cx| {
        cx.after(Duration::ZERO, again);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let (polls, timers) = event_loop.main(|cx| (cx.iteration(), *cx.state));
    assert!(timers == 100 && polls >= 98, "{polls} polls for {timers} timers");
}

#[test]
fn a_tick_that_blocks_and_starts_timers_does_not_keep_the_loop_from_its_poll() {
    fn again(cx: &mut loopscope_loop::Cx<'_, u64>) {
        *cx.state += 1;
        cx.next_tick(|cx| {
            simulate::advance(ms(3));
            if *cx.state < 100 {
                cx.after(ms(1), again);
                simulate::advance(ms(3));
                cx.after(ms(500), |_| {});
            }
        });
    }
    let mut event_loop = virtual_loop(0);
    event_loop.main(|cx| {
        cx.after(ms(1), again);
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let (polls, timers) = event_loop.main(|cx| (cx.iteration(), *cx.state));
    assert!(timers == 100 && polls >= 100 / 8 - 1, "{polls} polls for {timers} timers");
}

#[test]
fn virtual_time_jumps_over_hours() {
    let mut event_loop = virtual_loop(0);
    event_loop.main(|cx| {
        cx.every(Duration::from_secs(1), |cx| {
            *cx.state += 1;
            if cx.now() >= Duration::from_secs(3_600) {
                cx.stop();
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), 3_600);
}

#[test]
fn a_wait_without_end_in_virtual_time_is_an_error() {
    let mut event_loop = virtual_loop(());
    event_loop.main(|cx| cx.on(Hook::Check, |_| {}));
    let error = event_loop.run(Mode::Default).unwrap_err();
    assert_eq!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(&WaitsForever));
}

#[test]
fn a_timer_far_in_the_future_neither_fires_nor_overflows() {
    for event_loop in [virtual_loop(()), Loop::new().unwrap()] {
        let mut event_loop = event_loop;
        event_loop.main(|cx| {
            cx.after(Duration::from_millis(u64::MAX), |_| panic!("not yet"));
            cx.every(Duration::MAX, |_| panic!("not yet"));
        });
        assert!(event_loop.run(Mode::NoWait).unwrap());
        assert!(event_loop.backend_timeout().unwrap() > Duration::from_secs(3_000_000));
    }
}

#[test]
fn a_timer_that_no_clock_can_reach_is_waited_for_for_ever() {
    for has_probe in [true, false] {
        let mut event_loop = Loop::builder(()).probe(has_probe).virtual_time().build().unwrap();
        event_loop.main(|cx| cx.after(Duration::MAX, |_| panic!("it is due")));
        let error = event_loop.run(Mode::Default).unwrap_err();
        assert_eq!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(&WaitsForever));
    }
}
