//! Signals, sent to this very process; each test has signals of its own, as all tests share the process.

#[path = "support/real_loop.rs"]
mod real_loop;

use loopscope_loop::{Mode, signals};
use real_loop::real_loop;
use signal_hook::low_level::raise;
use std::cell::Cell;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;

type Log = Vec<&'static str>;

#[test]
fn every_listener_of_a_signal_runs_in_the_order_they_were_made() {
    let mut event_loop = real_loop(Log::new());
    event_loop.main(|cx| {
        let mut is_first_time = true;
        let first = cx.on_signal(signals::SIGUSR1, move |cx| {
            cx.state.push("first");
            if !std::mem::take(&mut is_first_time) {
                raise(signals::SIGUSR2).unwrap();
            }
        });
        let slot = Rc::new(Cell::new(None));
        let own = slot.clone();
        let second = cx.on_signal(signals::SIGUSR1, move |cx| {
            assert_eq!(cx.phase().name(), "poll");
            cx.state.push("second");
            assert!(cx.close(own.get().unwrap()), "it may close itself");
            raise(signals::SIGUSR1).unwrap();
        });
        slot.set(Some(second.unwrap()));
        let other = Rc::new(Cell::new(None));
        let (own, first) = (other.clone(), first.unwrap());
        let last = cx.on_signal(signals::SIGUSR2, move |cx| {
            cx.state.push("other");
            assert!(cx.close(first) && cx.close(own.get().unwrap()));
        });
        other.set(Some(last.unwrap()));
        raise(signals::SIGUSR1).unwrap();
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert_eq!(event_loop.into_state(), ["first", "second", "first", "other"]);
}

#[test]
fn a_signal_reaches_every_loop_that_listens_and_wakes_it() {
    let ready = std::sync::Arc::new(std::sync::Barrier::new(3));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let ready = ready.clone();
            std::thread::spawn(move || {
                let mut event_loop = real_loop(0);
                event_loop.main(|cx| {
                    let listen = |cx: &mut loopscope_loop::Cx<'_, u32>| {
                        *cx.state += 1;
                        cx.stop();
                    };
                    cx.on_signal(signals::SIGWINCH, listen).unwrap();
                });
                ready.wait();
                event_loop.run(Mode::Default).unwrap();
                event_loop.into_state()
            })
        })
        .collect();
    ready.wait();
    raise(signals::SIGWINCH).unwrap();
    let told: Vec<u32> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(told, [1, 1]);
}

#[test]
fn an_unreferenced_listener_lets_the_loop_end() {
    let mut event_loop = real_loop(());
    let key = event_loop.main(|cx| cx.on_signal(signals::SIGURG, |_| {}).unwrap());
    assert!(event_loop.run(Mode::NoWait).unwrap());
    event_loop.main(|cx| assert!(cx.unref(key) && cx.is_open(key)));
    assert!(!event_loop.run(Mode::Default).unwrap());
}

#[test]
fn signals_that_cannot_be_caught_and_numbers_that_are_none_are_refused() {
    let mut event_loop = real_loop(());
    event_loop.main(|cx| {
        for signal in [signals::SIGKILL, signals::SIGSTOP, signals::SIGSEGV, 0, -1, 4711] {
            assert_eq!(cx.on_signal(signal, |_| {}).unwrap_err().kind(), ErrorKind::InvalidInput, "{signal}");
        }
    });
    assert!(!event_loop.run(Mode::Default).unwrap());
}

/// Tells the child of the test below that it is one.
const CHILD: &str = "LOOPSCOPE_TEST_SIGNAL_CHILD";

#[test]
fn a_signal_without_listeners_has_its_usual_action_again() {
    if std::env::var_os(CHILD).is_some() {
        let mut event_loop = real_loop(0);
        let key = event_loop.main(|cx| cx.on_signal(signals::SIGTERM, |cx| *cx.state += 1).unwrap());
        raise(signals::SIGTERM).unwrap();
        event_loop.run(Mode::Once).unwrap();
        assert_eq!(*event_loop.state(), 1, "listened to, it does no harm");
        event_loop.main(|cx| cx.close(key));
        raise(signals::SIGTERM).unwrap();
        unreachable!("the signal ends the process");
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_signal_without_listeners_has_its_usual_action_again"]).env(CHILD, "1");
    let status = child.stdout(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.signal(), Some(signals::SIGTERM));
}
