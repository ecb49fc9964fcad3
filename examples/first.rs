//! You will see the program of the README: a loop that blocks for 300 ms after a second, and the line that says where.

use loopscope_loop::{Loop, Mode};
use std::time::Duration;
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The agent logs to `tracing` (or to `log` without a subscriber); your spans appear in flamegraphs.
    let lines = fmt::layer().with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(lines).with(loopscope_spans::SpanLayer::new()).init();
    // Watches every loop of this process; http://127.0.0.1:9464/, or the next free port.
    let _agent = loopscope_agent::Agent::builder().start()?;

    let mut app = Loop::builder(0u64).name("main").build()?;
    app.main(|cx| {
        cx.every(Duration::from_millis(10), |cx| *cx.state += 1);
        cx.after(Duration::from_secs(1), |_| std::thread::sleep(Duration::from_millis(300)));
    });
    app.run(Mode::Default)?;
    Ok(())
}
