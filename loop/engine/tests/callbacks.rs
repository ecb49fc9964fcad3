//! What callbacks may do to the loop and to themselves, and what stale keys cannot do.

use loopscope_loop::{Cx, Hook, Key, Loop, Mode, PanicPolicy, Phase, simulate};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

type Log = Vec<&'static str>;

/// A loop in virtual time that writes a log. A failed assertion in a callback fails the test.
fn virtual_loop<S: 'static>(state: S) -> Loop<S> {
    Loop::builder(state).virtual_time().on_panic(PanicPolicy::Propagate).build().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_stale_key_does_nothing() {
    let mut event_loop = virtual_loop(Log::new());
    let keys = event_loop.main(|cx| {
        [cx.after(ms(1), |_| {}), cx.immediate(|_| {}), cx.on(Hook::Check, |_| {}), cx.work(|| (), |_, _| {})]
    });
    event_loop.main(|cx| assert!(cx.close(keys[2])));
    assert!(!event_loop.run(Mode::Default).unwrap());
    event_loop.main(|cx| {
        // New tenants of the same slots.
        let fresh =
            [cx.after(ms(1), |cx| cx.state.push("timer")), cx.immediate(|cx| cx.state.push("immediate"))];
        for key in keys {
            assert!(!cx.is_open(key) && !cx.has_ref(key));
            assert!(!cx.close(key) && !cx.cancel(key) && !cx.refresh(key));
            assert!(!cx.close_with(key, |_| panic!("there was nothing to close")));
            assert!(!cx.unref(key) && !cx.ref_(key) && !cx.name(key, "ghost"));
            assert!(!cx.pause(key) && !cx.resume(key) && !cx.shutdown(key) && cx.write(key, b"x").is_err());
            assert!(cx.local_addr(key).is_none() && cx.peer_addr(key).is_none());
        }
        assert!(fresh.iter().all(|key| cx.is_open(*key) && cx.has_ref(*key)));
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), ["immediate", "timer"]);
}

#[test]
fn an_interval_may_close_itself_and_start_others() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let own = Rc::new(Cell::new(None::<Key>));
        let key = own.clone();
        let interval = cx.every(ms(5), move |cx| {
            cx.state.push("interval");
            assert!(cx.close(key.get().unwrap()));
            assert!(!cx.is_open(key.get().unwrap()));
            cx.after(ms(1), |cx| {
                cx.state.push("after it");
                cx.immediate(|cx| cx.state.push("nested"));
            });
        });
        own.set(Some(interval));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["interval", "after it", "nested"]);
}

#[test]
fn an_interval_counts_from_before_its_own_callback_and_after_those_before_it() {
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        // The same list: this one runs first, and blocks.
        cx.after(ms(10), |_| assert!(simulate::advance(ms(20))));
        let interval = cx.every(ms(10), |cx| {
            let now_ms = cx.now().as_millis();
            cx.state.push(now_ms);
            simulate::advance(ms(4));
        });
        cx.after(ms(55), move |cx| {
            cx.close(interval);
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [30, 40, 50]);
}

#[test]
fn a_hook_closed_by_an_earlier_one_does_not_run() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let first = cx.on(Hook::Prepare, |_| panic!("it was closed by the one started after it"));
        cx.on(Hook::Prepare, move |cx| {
            assert_eq!(cx.phase(), Phase::PREPARE);
            cx.state.push("last started");
            cx.close(first);
            cx.stop();
        });
    });
    assert!(event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["last started"]);
}

#[test]
fn hooks_run_last_started_first_and_new_ones_wait_a_round() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let has_added = Rc::new(Cell::new(false));
        cx.on(Hook::Check, |cx| cx.state.push("a"));
        cx.on(Hook::Check, move |cx| {
            cx.state.push("b");
            if !has_added.replace(true) {
                cx.on(Hook::Check, |cx| cx.state.push("c"));
            }
        });
        cx.on(Hook::Idle, |cx| {
            if cx.iteration() == 1 {
                cx.stop();
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), ["b", "a", "c", "b", "a"]);
}

#[test]
fn close_callbacks_of_timers_and_immediates_run_in_the_close_phase() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let timer = cx.after(ms(1), |_| panic!("cleared"));
        let immediate = cx.immediate(|_| panic!("cleared"));
        assert!(cx.close_with(timer, |cx| cx.state.push("timer")));
        assert!(cx.close_with(immediate, |cx| {
            assert_eq!(cx.phase(), Phase::CLOSE);
            cx.state.push("immediate");
        }));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["immediate", "timer"], "last closed first");
}

#[test]
fn what_is_unreferenced_does_not_keep_the_loop_alive() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let keys = [
            cx.every(ms(1), |_| panic!("nothing keeps the loop alive")),
            cx.immediate(|_| panic!("nothing keeps the loop alive")),
            cx.on(Hook::Check, |_| panic!("nothing keeps the loop alive")),
        ];
        for key in keys {
            assert!(cx.has_ref(key) && cx.unref(key) && cx.unref(key) && !cx.has_ref(key));
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.main(|cx| cx.iteration()), 0);
}

#[test]
fn an_unreferenced_timer_that_is_referenced_again_runs() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let key = cx.after(ms(3), |cx| cx.state.push("ran"));
        assert!(cx.unref(key) && cx.ref_(key));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["ran"]);
}

#[test]
fn dropping_a_loop_drops_what_it_holds() {
    let held = Rc::new(());
    let mut event_loop = virtual_loop(());
    event_loop.main(|cx| {
        let clones: Vec<_> = (0..7).map(|_| held.clone()).collect();
        let [a, b, c, d, e, f, g] = clones.try_into().unwrap();
        cx.after(ms(9), move |_| drop(a));
        cx.every(ms(9), move |_| assert!(Rc::strong_count(&b) > 0));
        cx.immediate(move |_| drop(c));
        cx.on(Hook::Idle, move |_| assert!(Rc::strong_count(&d) > 0));
        cx.before_exit(move |_| drop(e));
        let hook = cx.on(Hook::Check, |_| {});
        cx.close_with(hook, move |_| drop(f));
        cx.spawn_local(async move {
            std::future::pending::<()>().await;
            drop(g);
        });
    });
    assert_eq!(Rc::strong_count(&held), 8);
    drop(event_loop);
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn callbacks_change_the_state_and_the_loop_at_once() {
    fn countdown(cx: &mut Cx<'_, u32>) {
        *cx.state -= 1;
        if *cx.state > 0 {
            cx.immediate(countdown);
        }
    }
    let mut event_loop = virtual_loop(1_000);
    event_loop.main(countdown);
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.main(|cx| cx.iteration()), 999);
}
