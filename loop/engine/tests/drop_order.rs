//! What callbacks and loops hold is let go in time: before the drain, within the policy on panics, and for good.

use loopscope_loop::{Cx, Hook, Key, Loop, Mode, PanicPolicy, StreamEvent};
use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// When the future was done.
type Done = Option<Duration>;

/// Wakes a future when it is dropped.
struct Wakes(Rc<Cell<Option<Waker>>>);

impl Drop for Wakes {
    fn drop(&mut self) {
        self.0.take().expect("the future was polled before").wake();
    }
}

/// Has the callback of one kind of handle hold something, and close the handle.
type Closes = fn(&mut Cx<'_, Done>, Wakes);

fn kinds() -> Vec<(&'static str, Closes)> {
    fn hook(cx: &mut Cx<'_, Done>, hook: Hook, held: Wakes) {
        let own = Rc::new(Cell::new(None));
        let at = own.clone();
        own.set(Some(cx.on(hook, move |cx| {
            let _held = &held;
            assert!(cx.close(at.get().unwrap()));
        })));
    }
    vec![
        ("interval", |cx, held| {
            let own = Rc::new(Cell::new(None));
            let at = own.clone();
            let close = move |cx: &mut Cx<'_, Done>| {
                let _held = &held;
                assert!(cx.close(at.get().unwrap()));
            };
            own.set(Some(cx.every(Duration::from_millis(1), close)));
        }),
        ("idle hook", |cx, held| hook(cx, Hook::Idle, held)),
        ("prepare hook", |cx, held| hook(cx, Hook::Prepare, held)),
        ("check hook", |cx, held| {
            hook(cx, Hook::Check, held);
            // Check hooks do not keep the poll from waiting.
            cx.immediate(|_| {});
        }),
        ("wake handle", |cx, held| {
            let own = Rc::new(Cell::new(None::<Key>));
            let at = own.clone();
            let (key, handle) = cx.wake_handle(move |cx| {
                let _held = &held;
                assert!(cx.close(at.get().unwrap()));
            });
            own.set(Some(key));
            handle.wake();
        }),
        ("stream", |cx, held| {
            let (one, other) = cx.memory_pair().unwrap();
            cx.on_stream(other, move |cx, key, event| {
                let _held = &held;
                if let StreamEvent::End = event {
                    assert!(cx.close(key));
                }
            });
            cx.shutdown(one);
        }),
        ("idle time-out", |cx, held| {
            let (one, _) = cx.memory_pair().unwrap();
            cx.on_idle(one, Duration::from_millis(1), move |cx, key| {
                let _held = &held;
                assert!(cx.close(key));
            });
        }),
    ]
}

#[test]
fn what_a_callback_lets_go_with_its_handle_is_dealt_with_at_once() {
    for (kind, close) in kinds() {
        let mut event_loop =
            Loop::builder(Done::None).virtual_time().on_panic(PanicPolicy::Propagate).build().unwrap();
        event_loop.main(|cx| {
            let waker = Rc::new(Cell::new(None));
            let held = Wakes(waker.clone());
            let here = cx.post_handle();
            let mut is_first = true;
            cx.spawn_local(poll_fn(move |context| {
                if std::mem::take(&mut is_first) {
                    waker.set(Some(context.waker().clone()));
                    return Poll::Pending;
                }
                here.post(|cx| *cx.state = Some(cx.now())).unwrap();
                Poll::Ready(())
            }));
            // Nothing else happens for an hour.
            cx.after(Duration::from_secs(3600), |_| {});
            cx.after(Duration::from_millis(2), move |cx| close(cx, held));
        });
        event_loop.run(Mode::Default).unwrap();
        let done = event_loop.into_state().unwrap_or_else(|| panic!("{kind}: the future was never woken"));
        assert!(done < Duration::from_secs(1), "{kind}: {done:?}");
    }
}

/// Panics when it is dropped.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("let go");
    }
}

fn closes_and_panics(cx: &mut Cx<'_, u32>) {
    let own = Rc::new(Cell::new(None));
    let (at, held) = (own.clone(), Panics);
    own.set(Some(cx.on(Hook::Check, move |cx| {
        let _held = &held;
        assert!(cx.close(at.get().unwrap()));
    })));
    cx.after(Duration::from_millis(5), |cx| *cx.state += 1);
}

#[test]
fn a_destructor_that_panics_is_treated_as_its_callback() {
    let with = |policy| {
        let mut event_loop = Loop::builder(0).virtual_time().on_panic(policy).build().unwrap();
        event_loop.main(closes_and_panics);
        event_loop
    };
    let mut goes_on = with(PanicPolicy::Continue);
    goes_on.run(Mode::Default).unwrap();
    assert_eq!(goes_on.into_state(), 1);
    let mut stops = with(PanicPolicy::Stop);
    let error = stops.run(Mode::Default).unwrap_err().to_string();
    assert!(error.contains("check") && error.contains("drop_order.rs"), "{error}");
    assert_eq!(stops.into_state(), 0);
}

#[test]
fn an_idle_time_out_of_nothing_does_not_hold_the_loop() {
    let mut event_loop = Loop::builder(0).virtual_time().build().unwrap();
    event_loop.main(|cx| {
        let (one, _) = cx.memory_pair().unwrap();
        cx.on_idle(one, Duration::ZERO, |cx, key| {
            *cx.state += 1;
            cx.touch(key);
        });
        cx.after(Duration::from_millis(10), |cx| cx.stop());
    });
    event_loop.run(Mode::Default).unwrap();
    assert!((5..=11).contains(event_loop.state()), "{}", event_loop.state());
}
