//! You will see microtasks that queue themselves starve a timer, and the agent name the cause while it lasts.

use loopscope_loop::{Cx, Loop, Mode};
use std::io;
use std::time::{Duration, Instant};

const FLOOD: Duration = Duration::from_millis(1500);
const INTERVAL: Duration = Duration::from_millis(100);

/// When the interval fired last.
struct Ticker {
    last: Duration,
}

fn main() -> io::Result<()> {
    let agent = loopscope_examples::watched();
    let mut flooded = Loop::builder(Ticker { last: Duration::ZERO }).name("flooded").build()?;
    flooded.main(|cx| {
        cx.state.last = cx.now();
        let interval = cx.every(INTERVAL, tick);
        cx.name(interval, "tick");
        cx.after(Duration::from_millis(450), |cx| {
            println!("The flood begins: every microtask queues the next one.");
            let start = Instant::now();
            cx.microtask(move |cx| flood(cx, start, 1));
        });
        cx.after(Duration::from_millis(2500), |cx| cx.stop());
    });
    flooded.run(Mode::Default)?;

    let address = agent.address().unwrap();
    println!("{}", loopscope_examples::metrics(address, "loopscope_starvation_total{")?);
    println!("{}", loopscope_examples::metrics(address, "loopscope_microtask_jobs_total{")?);
    Ok(())
}

/// Reports how late the interval is: the loop serves no timer before the microtask queue is empty.
fn tick(cx: &mut Cx<'_, Ticker>) {
    let gap = cx.now() - cx.state.last;
    cx.state.last = cx.now();
    let remark = if gap > INTERVAL * 2 { "   <- starved" } else { "" };
    println!("  a tick after {:4} ms{remark}", gap.as_millis());
}

/// One resolved promise after the other, as in a retry that never yields.
fn flood(cx: &mut Cx<'_, Ticker>, start: Instant, count: u64) {
    if start.elapsed() < FLOOD {
        cx.microtask(move |cx| flood(cx, start, count + 1));
    } else {
        println!("The flood ends after {count} microtasks.");
    }
}
