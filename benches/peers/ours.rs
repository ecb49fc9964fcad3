//! The loop itself, doing what its peers do.

use crate::rounds::{Random, answer};
use loopscope_loop::{AsyncHandle, Cx, Key, Loop, Mode};
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

/// A number that the rounds count with: left to do, or done.
type Count = u64;

/// What begins a round.
type Begin = fn(&mut Cx<'_, Count>);

const PENDING: usize = 100_000;
const OUTSTANDING: usize = 1024;

/// Runs one row, with so many of what it is about; `None` where it is not one of these.
pub fn run(row: &str, has_probe: bool, number: Option<usize>) -> Option<()> {
    let pending = number.unwrap_or(PENDING);
    match row {
        "timers-random" => start_and_fire(has_probe, Random::any_ms),
        "timers-few" => start_and_fire(has_probe, Random::few_ms),
        "cancel-random" => start_and_cancel(has_probe, pending, Random::far_ms),
        "cancel-few" => start_and_cancel(has_probe, pending, Random::few_far_ms),
        "refresh" => refresh(has_probe),
        "touch" => touch(has_probe),
        "rearm" => rearm(has_probe),
        "timer-memory" => hold(has_probe),
        "immediates" => repeat(has_probe, |cx| (0..1000).for_each(|_| immediate(cx))),
        "ticks" => repeat(has_probe, tick),
        "microtasks" => repeat(has_probe, microtask),
        "futures" => futures(has_probe),
        "wake" => wake(has_probe),
        "pool-1" => pool(has_probe, 1),
        "pool-64" => pool(has_probe, 64),
        _ => return None,
    }
    Some(())
}

fn event_loop(has_probe: bool) -> Loop<Count> {
    Loop::builder(0).name("peer").probe(has_probe).build().expect("a loop can be made")
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Runs until nothing is left, or until it is stopped.
fn run_loop(event_loop: &mut Loop<Count>) {
    event_loop.run(Mode::Default).expect("the loop runs");
}

fn start_and_fire(has_probe: bool, duration_ms: fn(&mut Random) -> u64) {
    let (mut event_loop, mut random) = (event_loop(has_probe), Random::new());
    answer(|count| {
        *event_loop.state_mut() = 0;
        event_loop.main(|cx| {
            for _ in 0..count {
                cx.after(ms(duration_ms(&mut random)), |cx| *cx.state += 1);
            }
        });
        run_loop(&mut event_loop);
        assert_eq!(*event_loop.state(), count, "every timer fires once");
    });
}

/// Beside many that are pending, always the oldest of a thousand is cancelled and a new one started.
fn start_and_cancel(has_probe: bool, pending: usize, duration_ms: fn(&mut Random) -> u64) {
    let (mut event_loop, mut random) = (event_loop(has_probe), Random::new());
    let start = |cx: &mut Cx<'_, Count>, random: &mut Random| cx.after(ms(duration_ms(random)), |_| {});
    let mut ring: Vec<Key> = event_loop.main(|cx| {
        (0..pending).for_each(|_| _ = start(cx, &mut random));
        (0..OUTSTANDING).map(|_| start(cx, &mut random)).collect()
    });
    answer(|count| {
        event_loop.main(|cx| {
            for at in 0..count as usize {
                let oldest = &mut ring[at % OUTSTANDING];
                assert!(cx.close(*oldest), "a timer of a minute is still pending");
                *oldest = start(cx, &mut random);
            }
        });
    });
}

fn refresh(has_probe: bool) {
    let mut event_loop = event_loop(has_probe);
    let timers: Vec<Key> =
        event_loop.main(|cx| (0..10_000).map(|_| cx.rearmable(ms(60_000), |_| {})).collect());
    answer(|count| {
        event_loop.main(|cx| {
            for key in timers.iter().cycle().take(count as usize) {
                cx.refresh(*key);
            }
        });
    });
}

/// Puts off the time-outs of connections, as each read and write does.
fn touch(has_probe: bool) {
    let mut event_loop = event_loop(has_probe);
    let streams = Rc::new(RefCell::new(Vec::new()));
    event_loop.main(|cx| {
        let kept = streams.clone();
        let accept = move |cx: &mut Cx<'_, Count>, stream: std::io::Result<Key>| {
            kept.borrow_mut().push(stream.expect("accept works"));
            if kept.borrow().len() == 1000 {
                cx.stop();
            }
        };
        let listener = cx.listen(([127, 0, 0, 1], 0).into(), accept).expect("a free port");
        let address = cx.local_addr(listener).expect("a listener has an address");
        for _ in 0..1000 {
            cx.connect(address, |_, stream| _ = stream.expect("it listens")).expect("a socket can be made");
        }
    });
    run_loop(&mut event_loop);
    let streams = streams.take();
    event_loop.main(|cx| {
        for stream in &streams {
            cx.on_idle(*stream, ms(60_000), |_, _| {});
        }
    });
    answer(|count| {
        event_loop.main(|cx| {
            for key in streams.iter().cycle().take(count as usize) {
                cx.touch(*key);
            }
        });
    });
}

fn rearm(has_probe: bool) {
    let (mut event_loop, mut random) = (event_loop(has_probe), Random::new());
    event_loop.main(|cx| {
        for _ in 0..PENDING {
            cx.every(ms(random.period_ms()), |cx| {
                if is_last(cx) {
                    cx.stop();
                }
            });
        }
    });
    answer(|count| {
        *event_loop.state_mut() = count;
        run_loop(&mut event_loop);
    });
}

fn hold(has_probe: bool) {
    let (mut event_loop, mut random) = (event_loop(has_probe), Random::new());
    answer(|count| {
        event_loop.main(|cx| {
            for _ in 0..count {
                cx.after(ms(random.far_ms()), |_| {});
            }
        });
    });
}

/// Runs one job after another, each begun by the one before.
fn repeat(has_probe: bool, begin: Begin) {
    let mut event_loop = event_loop(has_probe);
    answer(|count| {
        *event_loop.state_mut() = count;
        event_loop.main(begin);
        run_loop(&mut event_loop);
    });
}

/// Counts one down; tells whether it was the last.
fn is_last(cx: &mut Cx<'_, Count>) -> bool {
    *cx.state = cx.state.saturating_sub(1);
    *cx.state == 0
}

fn immediate(cx: &mut Cx<'_, Count>) {
    cx.immediate(|cx| {
        if *cx.state > 1000 {
            immediate(cx);
        }
        is_last(cx);
    });
}

fn tick(cx: &mut Cx<'_, Count>) {
    cx.next_tick(|cx| {
        if !is_last(cx) {
            tick(cx);
        }
    });
}

fn microtask(cx: &mut Cx<'_, Count>) {
    cx.microtask(|cx| {
        if !is_last(cx) {
            microtask(cx);
        }
    });
}

/// One future that wakes itself and is polled again.
fn futures(has_probe: bool) {
    let mut event_loop = event_loop(has_probe);
    answer(|count| {
        event_loop.main(|cx| {
            let mut left = count;
            cx.spawn_local(poll_fn(move |cx| {
                left -= 1;
                if left == 0 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
        });
    });
}

/// Two loops on two threads that wake each other in turn.
fn wake(has_probe: bool) {
    let mut here = event_loop(has_probe);
    let there = Rc::new(OnceCell::<AsyncHandle>::new());
    let to_there = there.clone();
    let on_wake = move |cx: &mut Cx<'_, Count>| match is_last(cx) {
        true => cx.stop(),
        false => to_there.get().expect("the other loop came before the first round").wake(),
    };
    let (_, wake_here) = here.main(|cx| cx.wake_handle(on_wake));
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut other = event_loop(has_probe);
        let (_, wake_there) = other.main(|cx| cx.wake_handle(move |_| wake_here.wake()));
        sender.send(wake_there).expect("the first thread waits for it");
        run_loop(&mut other);
    });
    let wake_there = there.get_or_init(|| receiver.recv().expect("the other thread starts"));
    answer(|count| {
        *here.state_mut() = count;
        wake_there.wake();
        run_loop(&mut here);
    });
}

fn pool(has_probe: bool, outstanding: u64) {
    let mut event_loop = event_loop(has_probe);
    answer(|count| {
        *event_loop.state_mut() = count;
        event_loop.main(|cx| (0..outstanding).for_each(|_| submit(cx)));
        run_loop(&mut event_loop);
    });
}

fn submit(cx: &mut Cx<'_, Count>) {
    if *cx.state > 0 {
        *cx.state -= 1;
        cx.work(|| (), |cx, _| submit(cx));
    }
}
