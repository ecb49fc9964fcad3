//! Other threads: posts, wakes of local futures, and the pool.

use loopscope_loop::{Hook, Loop, LoopClosed, Mode, PanicPolicy, SharedPool, WorkError};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::time::Duration;

type Log = Vec<String>;

fn real_loop<S: 'static>(state: S) -> Loop<S> {
    Loop::builder(state).pool_threads(1).on_panic(PanicPolicy::Propagate).build().unwrap()
}

/// Ends a test that hangs, without keeping the loop alive.
fn give_up<S: 'static>(event_loop: &mut Loop<S>) {
    event_loop.main(|cx| {
        let key = cx.after(Duration::from_secs(60), |_| panic!("nothing happened for a minute"));
        cx.unref(key);
    });
}

#[test]
fn a_post_from_another_thread_wakes_a_loop_that_waits() {
    let mut event_loop = real_loop(Log::new());
    give_up(&mut event_loop);
    let post = event_loop.post_handle();
    let keeper = event_loop.main(|cx| cx.on(Hook::Check, |_| {}));
    let thread = std::thread::spawn(move || {
        for number in 0..100 {
            post.post(move |cx| cx.state.push(number.to_string())).unwrap();
        }
        post.post(move |cx| {
            cx.close(keeper);
        })
        .unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    thread.join().unwrap();
    let expected: Vec<_> = (0..100).map(|number: i32| number.to_string()).collect();
    assert_eq!(event_loop.into_state(), expected);
}

#[test]
fn a_queued_post_keeps_the_loop_alive_until_it_has_run() {
    let mut event_loop = real_loop(Log::new());
    let post = event_loop.post_handle();
    post.post(|cx| cx.state.push("posted".into())).unwrap();
    assert_eq!(event_loop.backend_timeout(), Some(Duration::ZERO));
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["posted"]);
    assert_eq!(post.post(|_| {}), Err(LoopClosed));
}

#[test]
fn a_batch_of_posts_is_bounded_and_keeps_the_order() {
    let mut event_loop = real_loop(Vec::<(u64, usize)>::new());
    let post = event_loop.post_handle();
    for number in 0..2_500 {
        post.post(move |cx| {
            let iteration = cx.iteration();
            cx.state.push((iteration, number));
        })
        .unwrap();
    }
    assert!(!event_loop.run(Mode::Default).unwrap());
    let ran = event_loop.into_state();
    assert!(ran.iter().map(|(_, number)| *number).eq(0..2_500), "in the order of posting, none is lost");
    let batches: Vec<usize> = ran.chunk_by(|one, next| one.0 == next.0).map(<[_]>::len).collect();
    assert_eq!(batches, [1_000, 1_000, 500], "the loop polls in between");
}

#[test]
fn what_is_posted_while_others_wait_for_the_next_batch_runs_after_them() {
    let mut event_loop = real_loop(Vec::<usize>::new());
    let post = event_loop.post_handle();
    for number in 0..1_500 {
        let more = post.clone();
        post.post(move |cx| {
            cx.state.push(number);
            for number in (1_500..1_510).filter(|_| number == 0) {
                more.post(move |cx| cx.state.push(number)).unwrap();
            }
        })
        .unwrap();
    }
    assert!(!event_loop.run(Mode::Default).unwrap());
    let page = event_loop.page().unwrap().snapshot(event_loop.page_clock().unwrap());
    // Of those that were there together, one woke the loop.
    assert_eq!(page.wakes_coalesced, 1_499 + 9);
    assert!(event_loop.into_state().into_iter().eq(0..1_510), "in the order of posting");
}

#[test]
fn a_local_future_is_woken_from_another_thread() {
    let mut event_loop = real_loop(Log::new());
    give_up(&mut event_loop);
    let (wakers, received) = mpsc::channel::<Waker>();
    let thread = std::thread::spawn(move || received.recv().unwrap().wake());
    let keeper = event_loop.main(|cx| cx.on(Hook::Check, |_| {}));
    let post = event_loop.post_handle();
    let task = event_loop.main(|cx| {
        let mut polls = 0;
        cx.spawn_local(async move {
            poll_fn(|context| {
                polls += 1;
                if polls == 1 {
                    wakers.send(context.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            post.post(move |cx| {
                cx.state.push("woken".into());
                cx.close(keeper);
            })
            .unwrap();
        })
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    thread.join().unwrap();
    assert!(task.is_done());
    assert_eq!(event_loop.into_state(), ["woken"]);
}

#[test]
fn futures_are_polled_as_microtasks_in_the_order_of_their_wakes() {
    let mut event_loop = Loop::builder(()).virtual_time().build().unwrap();
    let log = Rc::new(RefCell::new(Vec::new()));
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let (note, slot) = (log.clone(), waker.clone());
    event_loop.main(|cx| {
        let future_note = note.clone();
        cx.spawn_local(async move {
            future_note.borrow_mut().push("first poll");
            let mut is_second = false;
            poll_fn(|context| {
                *slot.borrow_mut() = Some(context.waker().clone());
                if std::mem::replace(&mut is_second, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            future_note.borrow_mut().push("second poll");
        });
        let (a, b, c, tick) = (note.clone(), note.clone(), note.clone(), note.clone());
        cx.microtask(move |_| {
            a.borrow_mut().push("a");
            waker.borrow().as_ref().unwrap().wake_by_ref();
            waker.borrow().as_ref().unwrap().wake_by_ref();
        });
        cx.microtask(move |cx| {
            b.borrow_mut().push("b");
            cx.microtask(move |_| c.borrow_mut().push("c"));
        });
        cx.next_tick(move |_| tick.borrow_mut().push("tick"));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(*log.borrow(), ["tick", "first poll", "a", "b", "second poll", "c"]);
}

#[test]
fn a_cancelled_future_is_dropped_and_a_detached_one_goes_on() {
    let held = Rc::new(());
    let mut event_loop = Loop::builder(()).virtual_time().build().unwrap();
    let task = event_loop.main(|cx| {
        let in_future = held.clone();
        cx.spawn_local(async move {
            std::future::pending::<()>().await;
            drop(in_future);
        })
    });
    assert!(!task.is_done());
    task.cancel();
    event_loop.main(|_| {});
    assert_eq!(Rc::strong_count(&held), 1);
    let done = Rc::new(RefCell::new(false));
    let flag = done.clone();
    event_loop.main(|cx| drop(cx.spawn_local(async move { *flag.borrow_mut() = true })));
    assert!(*done.borrow());
}

#[test]
fn results_of_pool_jobs_come_back_in_the_order_the_jobs_ended() {
    let mut event_loop = real_loop(Log::new());
    give_up(&mut event_loop);
    event_loop.main(|cx| {
        for number in 0..50 {
            cx.work(
                move || number * 2,
                move |cx, result| {
                    assert_eq!(cx.phase().name(), "poll");
                    cx.state.push(format!("{number}:{}", result.unwrap()));
                },
            );
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let expected: Vec<_> = (0..50).map(|number| format!("{number}:{}", number * 2)).collect();
    assert_eq!(event_loop.into_state(), expected);
}

#[test]
fn every_thread_comes_where_there_is_work_for_all() {
    const THREADS: usize = 8;
    let mut event_loop = Loop::builder(0).pool_threads(THREADS).build().unwrap();
    give_up(&mut event_loop);
    // Each job ends only when all run; between the rounds the threads fall asleep.
    for round in 1..=50 {
        let all_run = Arc::new(Barrier::new(THREADS));
        event_loop.main(|cx| {
            for _ in 0..THREADS {
                let all_run = all_run.clone();
                cx.work(move || _ = all_run.wait(), |cx, ended| *cx.state += usize::from(ended.is_ok()));
            }
        });
        assert!(!event_loop.run(Mode::Default).unwrap());
        assert_eq!(*event_loop.state(), round * THREADS);
    }
}

#[test]
fn a_job_can_be_cancelled_while_it_is_queued_and_not_later() {
    let mut event_loop = real_loop(Log::new());
    give_up(&mut event_loop);
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel::<()>();
    event_loop.main(|cx| {
        let running = cx.work(
            move || {
                started.send(()).unwrap();
                held.recv().unwrap();
            },
            |cx, result| cx.state.push(format!("running {result:?}")),
        );
        let queued = cx.work(|| (), |cx, result| cx.state.push(format!("queued {result:?}")));
        starts.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(!cx.cancel(running), "it runs");
        assert!(cx.cancel(queued));
        assert!(!cx.cancel(queued), "it is not queued any more");
        assert!(!cx.close(running) && !cx.unref(running) && cx.has_ref(running));
        let immediate = cx.immediate(|_| {});
        assert!(!cx.cancel(immediate), "not a job");
        let release = RefCell::new(Some(release));
        cx.on(Hook::Check, move |cx| {
            if cx.state.len() == 1
                && release.borrow_mut().take().is_some_and(|release| release.send(()).is_ok())
            {
                cx.state.push("released".into());
            }
            if cx.state.len() == 3 {
                cx.stop();
            }
        });
    });
    event_loop.run(Mode::Default).unwrap();
    assert_eq!(event_loop.into_state(), ["queued Err(Cancelled)", "released", "running Ok(())"]);
}

#[test]
fn a_job_that_panics_gives_its_error_and_the_thread_goes_on() {
    let mut event_loop = real_loop(Vec::new());
    give_up(&mut event_loop);
    event_loop.main(|cx| {
        cx.work(|| -> u32 { panic!("in the pool") }, |cx, result| cx.state.push(result));
        cx.work(|| 7, |cx, result| cx.state.push(result));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [Err(WorkError::Panicked), Ok(7)]);
}

#[test]
fn a_loop_can_be_dropped_with_jobs_in_its_pool() {
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel::<()>();
    let (token, dropped) = mpsc::channel::<()>();
    let mut event_loop = real_loop(());
    event_loop.main(|cx| {
        cx.work(
            move || {
                started.send(()).unwrap();
                held.recv()
            },
            |_, _| panic!("the loop is gone"),
        );
        cx.work(move || token.send(()), |_, _| panic!("the loop is gone"));
    });
    starts.recv_timeout(Duration::from_secs(60)).unwrap();
    // Does not wait for the job that runs, and drops the one that is queued, unrun.
    drop(event_loop);
    assert_eq!(dropped.recv_timeout(Duration::from_secs(60)), Err(mpsc::RecvTimeoutError::Disconnected));
    release.send(()).unwrap();
}

/// A result that cannot even be dropped without a panic.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("a destructor's");
    }
}

#[test]
fn a_result_that_nobody_takes_and_that_panics_leaves_the_thread_to_the_other_loops() {
    let pool = SharedPool::new(Some(1));
    let built = || Loop::builder(Vec::new()).pool(&pool).on_panic(PanicPolicy::Propagate).build().unwrap();
    let (mut gone, mut stays) = (built(), built());
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel::<()>();
    gone.main(|cx| {
        let job = move || {
            started.send(()).unwrap();
            let _ = held.recv();
            Grenade
        };
        cx.work(job, |_, _| panic!("the loop is gone"))
    });
    starts.recv_timeout(Duration::from_secs(60)).unwrap();
    drop(gone);
    release.send(()).unwrap();
    give_up(&mut stays);
    stays.main(|cx| cx.work(|| 7, |cx, result| cx.state.push(result)));
    assert!(!stays.run(Mode::Default).unwrap());
    assert_eq!(stays.into_state(), [Ok(7)]);
}
