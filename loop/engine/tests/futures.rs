//! The loop's operations as futures: begun by the call, resolved in the loop's own order, taken back by a drop.

use loopscope_loop::{Loop, LoopHandle, Mode, PanicPolicy, Promise, WorkError, simulate};
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

type Log = Vec<&'static str>;

/// A loop in virtual time. A failed assertion in a callback or future fails the test.
fn virtual_loop<S: 'static>(state: S) -> Loop<S> {
    Loop::builder(state).virtual_time().pool_threads(2).on_panic(PanicPolicy::Propagate).build().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Notes a word in the loop's state.
fn note(here: &LoopHandle<Log>, word: &'static str) -> Promise<(), Log> {
    here.with(move |cx| cx.state.push(word))
}

/// Polls a future once.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn sleeps_and_timers_are_in_one_order() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            here.sleep(ms(5)).await;
            note(&here, "sleep of 5").await;
        });
        cx.spawn_async(|here| async move {
            here.sleep(ms(3)).await;
            note(&here, "sleep of 3").await;
            // Rounded up to the 2 ms that are left, which is when the first one ends, too.
            here.sleep(Duration::from_nanos(1_000_001)).await;
            note(&here, "sleep of 3 and 2").await;
        });
        cx.immediate(|cx| {
            cx.after(ms(5), |cx| cx.state.push("timer of 5"));
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["sleep of 3", "sleep of 5", "timer of 5", "sleep of 3 and 2"]);
}

#[test]
fn a_sleep_counts_from_the_call() {
    let mut event_loop = virtual_loop(());
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let slept = here.sleep(ms(10));
            here.sleep(ms(4)).await;
            slept.await;
            here.with(|cx| cx.now()).await
        })
    });
    let ended = Rc::new(Cell::new(Duration::ZERO));
    let slot = ended.clone();
    event_loop.main(|cx| cx.spawn_local(async move { slot.set(task.await.unwrap()) }));
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(ended.get().as_millis(), 10);
}

#[test]
fn what_is_begun_together_goes_on_side_by_side() {
    let mut event_loop = virtual_loop(Duration::ZERO);
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let job = |ms_long| move || simulate::advance(ms(ms_long));
            let (slow, quick) = (here.work(job(30)), here.work(job(20)));
            assert!(quick.await.unwrap() && slow.await.unwrap());
            here.with(|cx| *cx.state = cx.now()).await;
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state().as_millis(), 30, "two threads, two jobs");
}

#[test]
fn commands_are_done_right_after_the_poll_in_the_order_of_the_calls() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let first = note(&here, "first command");
            let second = note(&here, "second command");
            drop(second);
            here.with(|cx| cx.next_tick(|cx| cx.state.push("tick"))).await;
            first.await;
            note(&here, "awake").await;
        });
        cx.microtask(|cx| cx.state.push("microtask"));
    });
    // A closure runs although nobody awaits it, and a tick waits for all microtasks.
    assert_eq!(*event_loop.state(), ["first command", "second command", "microtask", "awake", "tick"]);
}

#[test]
fn a_callback_may_begin_what_a_future_awaits() {
    let mut event_loop = virtual_loop(Log::new());
    event_loop.main(|cx| {
        cx.after(ms(2), |cx| {
            let here = cx.local();
            let slept = here.sleep(ms(3));
            cx.microtask(|cx| cx.state.push("before the command's own microtask ends"));
            cx.spawn_local(async move {
                slept.await;
                note(&here, "slept").await;
            });
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["before the command's own microtask ends", "slept"]);
}

#[test]
fn a_dropped_sleep_clears_its_timer() {
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            // Never begun, begun and polled, and begun without a poll.
            drop(here.sleep(Duration::from_secs(1)));
            assert!(poll_once(here.sleep(Duration::from_secs(2))).await.is_none());
            let unpolled = here.sleep(Duration::from_secs(3));
            here.sleep(ms(1)).await;
            drop(unpolled);
            here.with(|cx| cx.state.push(cx.now().as_millis())).await;
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    let ended = event_loop.main(|cx| cx.now().as_millis());
    assert_eq!((event_loop.into_state(), ended), (vec![1], 1), "no timer kept the loop alive");
}

#[test]
fn a_dropped_job_is_cancelled_while_it_is_queued_and_its_result_dropped_while_it_runs() {
    let held = std::sync::Arc::new(());
    let (ran, never) = (held.clone(), held.clone());
    let mut event_loop =
        Loop::builder(()).virtual_time().pool_threads(1).on_panic(PanicPolicy::Propagate).build().unwrap();
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let running = here.work(move || {
                simulate::advance(ms(10));
                ran
            });
            let queued = here.work(move || panic!("cancelled, with what it holds: {:?}", never));
            here.sleep(ms(1)).await;
            drop((running, queued));
            here.sleep(ms(20)).await;
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(std::sync::Arc::strong_count(&held), 1);
}

#[test]
fn a_future_gets_so_much_time_and_is_dropped_then() {
    let held = Rc::new(());
    let in_future = held.clone();
    let mut event_loop = virtual_loop(());
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let never = async move {
                pending::<()>().await;
                drop(in_future);
            };
            assert_eq!(here.within(ms(5), never).await, None);
            let slept = here.sleep(ms(2));
            assert_eq!(here.within(ms(3600), slept).await, Some(()));
            here.with(|cx| cx.now().as_millis()).await
        })
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(task.is_done());
    assert_eq!(Rc::strong_count(&held), 1);
    assert_eq!(event_loop.main(|cx| cx.now().as_millis()), 7, "the time-out that was not needed is cleared");
}

#[test]
fn a_task_gives_what_it_returned_or_nothing() {
    let mut event_loop =
        Loop::builder(Vec::new()).virtual_time().on_panic(PanicPolicy::Continue).build().unwrap();
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let sleeper = here.clone();
            let returned = here.spawn_local(async move {
                sleeper.sleep(ms(5)).await;
                "slept"
            });
            let panicked = here.spawn_local(async { panic!("on purpose") });
            let (cancelled, owned) = (here.spawn_local(pending::<()>()), here.spawn_local(pending::<()>()));
            assert!(!returned.is_done() && poll_once(cancelled).await.is_none());
            drop(owned.cancel_on_drop());
            let panicked: Option<()> = panicked.await;
            let outcome = (returned.await, panicked);
            here.with(move |cx| cx.state.push(outcome)).await;
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [(Some("slept"), None)]);
}

#[test]
fn a_task_that_is_cancelled_drops_what_it_awaits() {
    let mut event_loop = virtual_loop(());
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let _owned = here.spawn_local(async { pending::<()>().await }).cancel_on_drop();
            here.sleep(Duration::from_secs(9)).await;
        })
    });
    event_loop.main(|cx| cx.after(ms(2), move |_| task.cancel()));
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.main(|cx| cx.now().as_millis()), 2, "its timer is cleared");
}

#[test]
fn a_dropped_loop_drops_its_futures_and_resolves_nothing() {
    let held = Rc::new(());
    let (in_future, in_command, outside) = (held.clone(), held.clone(), RefCell::new(None));
    let mut event_loop = virtual_loop(());
    let here = event_loop.main(|cx| cx.local());
    event_loop.main(|cx| {
        let here = cx.local();
        outside.replace(Some(here.sleep(ms(1))));
        cx.spawn_local(async move {
            let _slept = here.sleep(ms(5));
            pending::<()>().await;
            drop(in_future);
        });
    });
    // A command that is queued when the loop goes.
    let queued = here.with(move |_| drop(in_command));
    drop(event_loop);
    assert_eq!(Rc::strong_count(&held), 1);
    let late = held.clone();
    drop(here.with(move |_| drop(late)));
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!queued.is_resolved() && !outside.take().unwrap().is_resolved());
}

#[test]
fn a_panic_in_a_closure_is_one_of_the_future_that_asked_and_of_no_other() {
    let mut event_loop =
        Loop::builder(Log::new()).virtual_time().on_panic(PanicPolicy::Continue).build().unwrap();
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here: LoopHandle<Log>| async move {
            let boom = here.with(|_| panic!("on purpose"));
            let after = note(&here, "the command after it");
            let _: () = boom.await;
            after.await;
        })
    });
    event_loop.main(|cx| {
        // Outside a future it is a microtask of its own.
        let here = cx.local();
        drop(here.with(|_| panic!("on purpose")));
        drop(note(&here, "the next one"));
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(task.is_done());
    assert_eq!(event_loop.into_state(), ["the command after it", "the next one"]);
}

#[test]
fn anything_with_a_callback_for_one_result_can_be_awaited() {
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let kind = loopscope_loop::WorkKind::Crypto;
            let job = || Err::<u32, _>("not today");
            let outcome = here.promise(move |cx, done| cx.work_kind(kind, job, done)).await;
            here.with(move |cx| cx.state.push(outcome)).await;
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), [Ok::<_, WorkError>(Err("not today"))]);
}

#[test]
fn files_and_names_are_awaited() {
    let mut event_loop = Loop::builder(()).on_panic(PanicPolicy::Propagate).build().unwrap();
    let folder = std::env::temp_dir().join(format!("loopscope-futures-{}", std::process::id()));
    let path = folder.clone();
    let task = event_loop.main(|cx| {
        cx.spawn_async(|here| async move {
            let fs = here.fs();
            fs.create_dir_all(path.join("deep")).await?;
            fs.write(path.join("one"), "contents").await?;
            fs.rename(path.join("one"), path.join("two")).await?;
            assert_eq!(fs.copy(path.join("two"), path.join("deep/copy")).await?, 8);
            let mut options = std::fs::OpenOptions::new();
            let file = fs.open(path.join("two"), options.read(true).write(true)).await?;
            fs.write_at(&file, 3, *b"TENT").await?;
            fs.sync(&file).await?;
            fs.set_len(&file, 7).await?;
            assert_eq!(fs.read_at(&file, 2, 100).await?, b"nTENT");
            assert_eq!(fs.read(path.join("two")).await?, b"conTENT");
            assert_eq!(fs.read_to_string(path.join("deep/copy")).await?, "contents");
            assert!(
                fs.stat(path.join("deep")).await?.is_dir() && fs.lstat(path.join("two")).await?.is_file()
            );
            let names: Vec<_> = fs.read_dir(&path).await?.into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, ["deep", "two"]);
            fs.remove_file(path.join("deep/copy")).await?;
            fs.remove_dir(path.join("deep")).await?;
            let missing = fs.read(path.join("deep")).await.unwrap_err();
            assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
            let found = here.resolve("127.0.0.1", 80).await?;
            assert_eq!(found, [([127, 0, 0, 1], 80).into()]);
            std::io::Result::Ok(())
        })
    });
    event_loop.main(|cx| cx.spawn_local(async move { task.await.unwrap().unwrap() }));
    let outcome = event_loop.run(Mode::Default);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!outcome.unwrap());
}

#[test]
fn connections_in_memory_are_read_and_written_in_virtual_time() {
    // More than a buffer in memory holds, so that the writer waits for the reader.
    const COUNT: usize = 1 << 20;
    let mut event_loop = virtual_loop(Vec::new());
    event_loop.main(|cx| {
        let (one, other) = cx.memory_pair().unwrap();
        let (client, server) = (cx.connection(one).unwrap(), cx.connection(other).unwrap());
        cx.spawn_async(|here| async move {
            let sent = client.write(vec![b'x'; COUNT]);
            assert!(poll_once(here.sleep(ms(1))).await.is_none() && !sent.is_resolved());
            sent.await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = [0; 16];
            let count = client.read(&mut answer).await.unwrap();
            here.with(move |cx| cx.state.extend_from_slice(&answer[..count])).await;
        });
        cx.spawn_async(|here| async move {
            let (mut buffer, mut received) = ([0; 1000], 0);
            // Given up before anything came, which loses nothing.
            assert!(poll_once(server.read(&mut buffer)).await.is_none());
            loop {
                match server.read(&mut buffer).await.unwrap() {
                    0 => break,
                    count => received += count,
                }
                if received % 7 == 0 {
                    here.sleep(ms(1)).await;
                }
            }
            assert_eq!(received, COUNT);
            server.write("got it").await.unwrap();
        });
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), b"got it");
}

#[test]
fn what_is_asked_while_the_loop_does_not_run_shows_in_its_time_out() {
    let mut event_loop = virtual_loop(Log::new());
    let here = event_loop.main(|cx| {
        let key = cx.after(Duration::from_secs(3600), |_| panic!("nobody waits that long"));
        cx.spawn_async(|here| async move { here.with(|cx| cx.state.push("first")).await });
        (cx.local(), key)
    });
    assert!(event_loop.run(Mode::NoWait).unwrap());
    assert!(event_loop.backend_timeout().unwrap() > ms(1_000));
    // From the loop's own thread, as an outer loop's callback may do.
    let asked = here.0.with(move |cx| cx.close(here.1));
    assert_eq!(event_loop.backend_timeout(), Some(Duration::ZERO));
    assert!(!event_loop.run(Mode::NoWait).unwrap());
    assert!(asked.is_resolved());
    assert_eq!(event_loop.into_state(), ["first"]);
}
