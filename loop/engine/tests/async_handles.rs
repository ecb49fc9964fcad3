//! Wake handles, several loops, one pool for all, and another loop that drives ours.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::mio::unix::SourceFd;
use loopscope_loop::mio::{Events, Interest, Poll, Token};
use loopscope_loop::{Loop, Mode, PanicPolicy, RemoteHandle, SharedPool, WorkError};
use real_loop::{guarded, real_loop};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

type Log = Vec<&'static str>;

#[test]
fn wakes_are_merged_and_none_is_lost() {
    const WAKES: usize = 100_000;
    let told = Arc::new(AtomicUsize::new(0));
    let mut event_loop = real_loop((0_usize, 0_usize));
    let (seen, wake) = (told.clone(), event_loop.main(|cx| cx.wake_handle(|_| {}).1));
    drop(wake);
    let wake = event_loop.main(|cx| {
        let handle = cx.wake_handle(move |cx| {
            cx.state.0 += 1;
            // What was written before the wake is seen by the callback.
            cx.state.1 = seen.load(Ordering::Relaxed);
            if cx.state.1 == WAKES {
                cx.stop();
            }
        });
        handle.1
    });
    let thread = std::thread::spawn(move || {
        for number in 1..=WAKES {
            told.store(number, Ordering::Relaxed);
            wake.wake();
        }
    });
    event_loop.run(Mode::Default).unwrap();
    thread.join().unwrap();
    let (callbacks, last) = event_loop.into_state();
    assert!(last == WAKES && (1..=WAKES).contains(&callbacks));
}

#[test]
fn handles_run_in_the_order_they_were_made_and_once_in_a_poll() {
    let mut event_loop =
        Loop::builder(Log::new()).virtual_time().on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        let (a, wake_a) = cx.wake_handle(|cx| cx.state.push("a"));
        let (again, twice) = (wake_a.clone(), wake_a.clone());
        let (c, wake_c) = {
            let (b, wake_b) = cx.wake_handle(move |cx| {
                cx.state.push("b");
                again.wake();
            });
            wake_b.wake();
            wake_b.wake();
            cx.unref(b);
            cx.wake_handle(|cx| cx.state.push("c"))
        };
        wake_c.wake();
        twice.wake();
        cx.post_handle().post(|cx| cx.state.push("post")).unwrap();
        cx.work(|| (), |cx, _| cx.state.push("job"));
        cx.after(Duration::from_millis(2), move |cx| {
            cx.state.push("timer");
            assert!(cx.close(a) && cx.close(c));
            // Nothing comes of these, and nothing keeps the loop from its sleep.
            wake_a.wake();
            wake_c.wake();
            cx.after(Duration::from_millis(2), |cx| cx.state.push("end"));
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["job", "a", "b", "c", "post", "a", "timer", "end"]);
}

#[test]
fn a_handle_closed_with_a_wake_under_way_leaves_the_loop_asleep() {
    let mut event_loop = real_loop(());
    event_loop.main(|cx| {
        let (key, wake) = cx.wake_handle(|_| panic!("it was closed"));
        wake.wake();
        assert!(cx.close(key));
        wake.wake();
        cx.after(Duration::from_millis(30), |_| {});
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let polls = event_loop.main(|cx| cx.iteration());
    assert!(polls < 6, "{polls} polls in 30 ms");
}

#[test]
fn loops_on_threads_of_their_own_post_to_each_other() {
    type Chain = (Option<RemoteHandle<Sum>>, u32);
    struct Sum(Chain);
    fn pass(cx: &mut loopscope_loop::Cx<'_, Sum>, left: u32) {
        let (next, count) = &mut cx.state.0;
        *count += 1;
        if left > 0 {
            let _ = next.as_ref().unwrap().post(move |cx| pass(cx, left - 1));
        }
        if left < 3 {
            cx.stop();
        }
    }
    let (posts, received) = mpsc::channel();
    let loops: Vec<_> = (0..3)
        .map(|_| {
            let posts = posts.clone();
            let (give, next) = mpsc::channel::<RemoteHandle<Sum>>();
            let thread = std::thread::spawn(move || {
                let mut event_loop = real_loop(Sum((None, 0)));
                posts.send((event_loop.post_handle(), give)).unwrap();
                event_loop.state_mut().0.0 = Some(next.recv().unwrap());
                event_loop.main(|cx| cx.every(Duration::from_secs(3600), |_| {}));
                event_loop.run(Mode::Default).unwrap();
                event_loop.into_state().0.1
            });
            (thread, received.recv().unwrap())
        })
        .map(|(thread, (post, give))| (thread, post, give))
        .collect::<Vec<_>>();
    for (index, (_, _, give)) in loops.iter().enumerate() {
        give.send(loops[(index + 1) % loops.len()].1.clone()).unwrap();
    }
    loops[0].1.post(|cx| pass(cx, 299)).unwrap();
    let counts: Vec<u32> = loops.into_iter().map(|(thread, ..)| thread.join().unwrap()).collect();
    assert_eq!(counts, [100, 100, 100]);
}

#[test]
fn loops_share_one_pool_and_each_gets_its_own_results() {
    let pool = SharedPool::new(Some(3));
    let threads: Vec<_> = (0..4_u64)
        .map(|number| {
            let pool = pool.clone();
            std::thread::spawn(move || {
                let builder = Loop::builder(0).pool(&pool).on_panic(PanicPolicy::Propagate);
                let mut event_loop = guarded(builder.build().unwrap());
                event_loop.main(|cx| {
                    for job in 0..200 {
                        cx.work(
                            move || number * 1000 + job,
                            move |cx, outcome| {
                                assert_eq!(outcome.unwrap(), number * 1000 + job);
                                *cx.state += 1;
                            },
                        );
                    }
                });
                assert!(!event_loop.run(Mode::Default).unwrap());
                let page = event_loop.page().unwrap().snapshot(event_loop.page_clock().unwrap());
                let values = page.pool.unwrap();
                assert_eq!((values.threads, values.queued, values.running), (Some(3), Some(0), Some(0)));
                assert_eq!(values.submitted.iter().sum::<u64>(), 200, "its own jobs alone");
                event_loop.into_state()
            })
        })
        .collect();
    let done: Vec<u64> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(done, [200; 4]);
}

#[test]
fn a_loop_that_goes_takes_its_queued_jobs_out_of_the_shared_pool_and_no_others() {
    let pool = SharedPool::new(Some(1));
    let builder = || Loop::builder(Vec::new()).pool(&pool).on_panic(PanicPolicy::Propagate);
    let (mut first, mut second) = (guarded(builder().build().unwrap()), guarded(builder().build().unwrap()));
    let (release, held) = mpsc::channel::<()>();
    let (token, dropped) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel::<()>();
    first.main(|cx| {
        let wait = move || {
            started.send(()).unwrap();
            held.recv().unwrap();
        };
        cx.work(wait, |_, _| panic!("its loop is gone"));
        cx.work(move || token.send(()), |_, _| panic!("its loop is gone"));
    });
    second.main(|cx| {
        let job = cx.work(|| 1, |cx, outcome| cx.state.push(outcome));
        assert!(cx.cancel(job));
        cx.work(|| 2, |cx, outcome| cx.state.push(outcome));
    });
    starts.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(first);
    assert_eq!(dropped.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    release.send(()).unwrap();
    assert!(!second.run(Mode::Default).unwrap());
    assert_eq!(second.into_state(), [Err(WorkError::Cancelled), Ok(2)]);
}

#[test]
fn another_loop_drives_ours_by_its_descriptor_and_time_out() {
    let mut ours = real_loop(Log::new());
    let post = ours.post_handle();
    let wake = ours.main(|cx| {
        cx.after(Duration::from_millis(20), |cx| cx.state.push("timer"));
        cx.work(|| (), |cx, _| cx.state.push("job"));
        let (key, wake) = cx.wake_handle(|cx| cx.state.push("wake"));
        cx.unref(key);
        wake
    });
    let thread = std::thread::spawn(move || {
        post.post(|cx| cx.state.push("post")).unwrap();
        wake.wake();
    });
    // The outer loop: an epoll of its own that knows nothing but the descriptor.
    let mut outer = Poll::new().unwrap();
    let descriptor = ours.as_raw_fd();
    outer.registry().register(&mut SourceFd(&descriptor), Token(7), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(4);
    let mut turns = 0;
    while ours.run(Mode::NoWait).unwrap() || ours.state().len() < 4 {
        turns += 1;
        assert!(turns < 1_000, "the outer loop spins: {:?}", ours.state());
        match outer.poll(&mut events, ours.backend_timeout()) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => outcome.unwrap(),
        }
    }
    thread.join().unwrap();
    let mut told = ours.into_state();
    told.sort_unstable();
    assert_eq!(told, ["job", "post", "timer", "wake"]);
}
