//! Rules of Node's and libuv's loop that the conformance programs cannot tell, each by its number in the notes on order.
//!
//! | rule | what | where |
//! |---|---|---|
//! | 2a-1 | a loop that is not alive runs nothing | here |
//! | 2a-2 | modes and stop | `run_modes.rs`, here |
//! | 2a-3 | what keeps a loop alive | `callbacks.rs`, here |
//! | 2a-4 | unreferenced timers shorten the sleep | here |
//! | 2a-5 | timers are never early, and delays saturate | `run_modes.rs`, here |
//! | 2a-6 | a timer that starts itself is bounded | `run_modes.rs` |
//! | 2a-7 | hooks: last started first | `callbacks.rs`, here |
//! | 2a-8 | closing: off the lists at once, requests before the close callback | `callbacks.rs`, `tcp.rs` |
//! | 2a-9 | pending: at the head, and eight rounds after the poll | `local_streams.rs`, here |
//! | 2a-10 | poll: events of closed handles are dropped, signals come last | `tcp.rs`, `adopted.rs`, here |
//! | 2a-11 | wakes: merged, in the order of creation, new ones wait | `async_handles.rs` |
//! | 2a-12 | pool: its size, its slow lane | `src/pool.rs`, `src/lanes_tests.rs`, `files.rs` |
//! | 2a-13 | cancel: only what is queued, in the order of the cancelling | `threads.rs`, here |
//! | 2b-10 | completions: one batch, a drain after each | here |

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Hook, Loop, Mode, PanicPolicy, StreamEvent, WorkError, signals, simulate};
use real_loop::real_loop;
use rustix::process::{Signal, getpid, kill_process};
use std::os::unix::net::UnixStream;
use std::time::Duration;

type Log = Vec<&'static str>;

fn virtual_loop<S: 'static>(state: S) -> Loop<S> {
    Loop::builder(state).virtual_time().pool_threads(4).on_panic(PanicPolicy::Propagate).build().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_due_unreferenced_timer_alone_never_runs() {
    for mode in [Mode::Default, Mode::Once, Mode::NoWait] {
        let mut event_loop = virtual_loop(());
        event_loop.main(|cx| {
            let key = cx.after(ms(1), |_| panic!("the loop is not alive"));
            cx.unref(key);
            simulate::advance(ms(10));
        });
        assert!(!event_loop.run(mode).unwrap(), "{mode:?}");
        assert_eq!(event_loop.main(|cx| cx.iteration()), 0);
    }
}

#[test]
fn a_loop_that_is_stopped_in_an_iteration_does_not_sleep_in_its_poll() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.after(Duration::from_secs(3600), |cx| cx.state.push("an hour later"));
        cx.on(Hook::Prepare, |cx| cx.stop());
        cx.on(Hook::Check, |cx| cx.state.push("the iteration goes on"));
    });
    assert!(event_loop.run(Mode::Default).unwrap());
    assert!(event_loop.main(|cx| cx.now()) < ms(1));
    assert_eq!(event_loop.into_state(), ["the iteration goes on"]);
}

#[test]
fn a_closing_handle_keeps_the_loop_alive_even_if_it_was_unreferenced() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        let key = cx.on(Hook::Check, |_| panic!("closed"));
        cx.unref(key);
        cx.close_with(key, |cx| cx.state.push("closed"));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["closed"]);
}

#[test]
fn an_unreferenced_timer_shortens_the_sleep_and_fires_while_others_live() {
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        let watch = cx.every(ms(10), |cx| {
            let entry = (cx.now().as_millis(), cx.iteration());
            cx.state.push(entry);
        });
        cx.unref(watch);
        // The job alone keeps the loop alive, and would let it sleep for 25 ms.
        cx.work(|| simulate::advance(ms(25)), |_, _| {});
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [(10, 1), (20, 2)]);
}

#[test]
fn a_timer_counts_from_its_own_start_and_not_from_that_of_the_callback() {
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        cx.after(ms(5), |cx| {
            cx.after(ms(30), |cx| cx.state.push(cx.now().as_millis()));
            simulate::advance(ms(20));
            cx.after(ms(30), |cx| cx.state.push(cx.now().as_millis()));
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [35, 55]);
}

#[test]
fn a_hook_that_was_started_in_its_phase_waits_a_round_and_then_keeps_its_place() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.on(Hook::Prepare, |cx| {
            cx.state.push("first");
            if cx.iteration() == 0 {
                cx.on(Hook::Prepare, |cx| cx.state.push("made in the phase"));
            }
        });
        cx.on(Hook::Prepare, |cx| cx.state.push("last"));
        cx.on(Hook::Idle, |cx| {
            if cx.iteration() == 2 {
                cx.stop();
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    // Started at the head of the list, behind which the phase puts back what it has run.
    let first_round = ["last", "first"];
    let later = ["made in the phase", "last", "first"];
    assert_eq!(event_loop.into_state(), [&first_round[..], &later, &later].concat());
}

#[test]
fn what_is_deferred_runs_at_the_head_and_in_eight_rounds_after_the_poll() {
    fn fail_again(cx: &mut loopscope_loop::Cx<'_, Vec<u64>>, left: usize) {
        let made = cx.connect_unix("/no/such/socket", move |cx, made| {
            assert!(made.is_err());
            let iteration = cx.iteration();
            cx.state.push(iteration);
            if left > 1 {
                fail_again(cx, left - 1);
            }
        });
        made.unwrap();
    }
    let mut event_loop = real_loop(Vec::new());
    event_loop.main(|cx| fail_again(cx, 12));
    assert!(!event_loop.run(Mode::Default).unwrap());
    // One at the head of the first iteration, eight after its poll, one at the head of the second, the rest after that.
    let expected = [&[0][..], &[1; 8], &[1], &[2; 2]].concat();
    assert_eq!(event_loop.into_state(), expected);
}

#[test]
fn signals_run_after_all_other_events_of_their_poll() {
    let mut event_loop = real_loop(Log::new());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    event_loop.main(|cx| {
        let signal = cx.on_signal(signals::SIGUSR1, |cx| cx.state.push("signal")).unwrap();
        let stream = cx.open_unix(ours).unwrap();
        cx.on_stream(stream, |cx, _, event| {
            if let StreamEvent::Data(_) = event {
                cx.state.push("stream");
            }
        });
        let post = cx.post_handle();
        // All of it is ready before the poll, the signal first.
        cx.immediate(move |cx| {
            kill_process(getpid(), Signal::USR1).unwrap();
            std::io::Write::write_all(&mut theirs, b"x").unwrap();
            post.post(|cx| cx.state.push("post")).unwrap();
            cx.after(ms(50), move |cx| {
                cx.close(signal);
                cx.close(stream);
                drop(theirs);
            });
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["post", "stream", "signal"]);
}

#[test]
fn completions_of_one_batch_are_drained_one_by_one_before_any_immediate_or_timer() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        for (done, tick, microtask) in [("a", "tick a", "micro a"), ("b", "tick b", "micro b")] {
            cx.work(
                || simulate::advance(ms(2)),
                move |cx, _| {
                    cx.state.push(done);
                    cx.microtask(move |cx| cx.state.push(microtask));
                    cx.next_tick(move |cx| cx.state.push(tick));
                    cx.immediate(|cx| cx.state.push("immediate"));
                },
            );
        }
        cx.after(ms(3), |cx| cx.state.push("timer"));
        // Both have ended when the loop polls.
        simulate::advance(ms(10));
        let hook = cx.on(Hook::Check, |_| {});
        cx.close_with(hook, |cx| cx.state.push("closed"));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let batch = ["a", "tick a", "micro a", "b", "tick b", "micro b"];
    // The timers pass before the first iteration is the one exception.
    let expected = [&["timer"][..], &batch, &["immediate", "immediate", "closed"]].concat();
    assert_eq!(event_loop.into_state(), expected);
}

#[test]
fn posts_of_one_batch_are_drained_one_by_one() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        for (post, tick) in [("a", "tick a"), ("b", "tick b")] {
            let run = move |cx: &mut loopscope_loop::Cx<'_, Log>| {
                cx.state.push(post);
                cx.next_tick(move |cx| cx.state.push(tick));
            };
            cx.post_handle().post(run).unwrap();
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["a", "tick a", "b", "tick b"]);
}

#[test]
fn cancelled_jobs_complete_in_the_order_of_the_cancelling_before_those_that_run() {
    let mut event_loop = Loop::builder(Log::new())
        .virtual_time()
        .pool_threads(1)
        .on_panic(PanicPolicy::Propagate)
        .build()
        .unwrap();
    event_loop.main(|cx| {
        cx.work(|| simulate::advance(ms(5)), |cx, _| cx.state.push("ran"));
        let queued = ["first", "second", "third"].map(|name| {
            cx.work(
                || (),
                move |cx, outcome| {
                    cx.state.push(name);
                    assert_eq!(outcome.is_err(), name != "second");
                    if name != "second" {
                        assert_eq!(outcome.unwrap_err(), WorkError::Cancelled);
                    }
                },
            )
        });
        cx.after(ms(1), move |cx| {
            assert!(cx.cancel(queued[2]) && cx.cancel(queued[0]));
            assert!(!cx.cancel(queued[2]), "it is not queued any more");
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["third", "first", "ran", "second"]);
}
