//! You will see a loop block three times, and the agent name the guilty line while the block still lasts.

use loopscope_loop::{Cx, Loop, Mode};
use std::io;
use std::time::{Duration, Instant};

const BLOCKS: u32 = 3;

fn main() -> io::Result<()> {
    let agent = loopscope_examples::watched();
    let address = agent.address().unwrap();

    // The main thread asks the agent for its page; the loop, which will not answer anybody, is on another.
    let running = std::thread::spawn(|| -> io::Result<()> {
        let mut blocked = Loop::builder(0).name("blocked").build()?;
        blocked.main(|cx| {
            let timer = cx.every(Duration::from_secs(1), parse_invoices);
            cx.name(timer, "parse_invoices");
        });
        blocked.run(Mode::Default)?;
        Ok(())
    });

    let mut last = String::new();
    while !running.is_finished() {
        let stall = loopscope_examples::metrics(address, "loopscope_loop_stall_seconds{")?;
        if stall != last && !stall.ends_with(" 0") {
            println!("{stall}");
        }
        last = stall;
        std::thread::park_timeout(Duration::from_millis(150));
    }
    running.join().unwrap()
}

/// Blocks the loop for 1.2 s: nothing else of it runs meanwhile.
fn parse_invoices(cx: &mut Cx<'_, u32>) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1200) {
        std::hint::spin_loop();
    }
    *cx.state += 1;
    if *cx.state == BLOCKS {
        cx.stop();
    }
}
