//! A fixed amount of work on one loop, between two marks that a system call trace shows: `workload on|off`.
//!
//! Timers, immediates, ticks, microtasks, and a TCP echo with itself. `on` is with the probe and an agent in the process.
//! The marks are calls of getppid, which nothing else here makes.

use loopscope_agent::{Agent, Listen};
use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent};
use std::time::Duration;

const TURNS: u32 = 200;

fn main() {
    let is_on = std::env::args().nth(1).as_deref() == Some("on");
    let agent = is_on.then(|| Agent::builder().listen(Listen::Nowhere).start().expect("the agent starts"));
    let mut event_loop = Loop::builder(0u32).probe(is_on).build().expect("a loop can be made");
    // The first run warms up: allocations and the first sockets are not what is compared.
    work(&mut event_loop);
    let _ = std::os::unix::process::parent_id();
    work(&mut event_loop);
    let _ = std::os::unix::process::parent_id();
    drop(agent);
}

fn work(event_loop: &mut Loop<u32>) {
    *event_loop.state_mut() = 0;
    event_loop.main(|cx| {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let listener =
            cx.listen(loopback, |cx, stream| echo(cx, stream.expect("accept works"))).expect("a free port");
        let address = cx.local_addr(listener).expect("a listener has an address");
        cx.connect(address, move |cx, stream| talk(cx, stream.expect("the listener is there"), listener))
            .expect("a socket can be made");
        cx.every(Duration::from_millis(1), |cx| {
            cx.next_tick(|cx| cx.microtask(|_| {}));
            cx.immediate(|_| {});
        });
    });
    event_loop.run(Mode::Default).expect("the loop runs");
}

fn echo(cx: &mut Cx<'_, u32>, stream: Key) {
    cx.on_stream(stream, |cx, stream, event| match event {
        StreamEvent::Data(bytes) => drop(cx.write(stream, bytes).expect("the peer reads")),
        StreamEvent::End => drop(cx.close(stream)),
        _ => {}
    });
}

/// Sends a byte, waits for it, and so on; then stops the loop.
fn talk(cx: &mut Cx<'_, u32>, stream: Key, listener: Key) {
    cx.on_stream(stream, move |cx, stream, event| {
        let StreamEvent::Data(_) = event else { return };
        *cx.state += 1;
        if *cx.state < TURNS {
            cx.write(stream, b"x").expect("the peer reads");
        } else {
            cx.close(stream);
            cx.close(listener);
            cx.stop();
        }
    });
    cx.write(stream, b"x").expect("the peer reads");
}
