//! You will see forty jobs wait for four pool threads while the loop itself is idle, and the agent tell the two apart.

use loopscope_loop::{Cx, Loop, Mode, WorkError};
use std::io;
use std::time::{Duration, Instant};

const JOBS: u32 = 40;
const THREADS: usize = 4;
const JOB: Duration = Duration::from_millis(200);

/// How many jobs are done.
#[derive(Default)]
struct Import {
    done: u32,
}

fn main() -> io::Result<()> {
    let agent = loopscope_examples::watched();
    let mut import = Loop::builder(Import::default()).name("import").pool_threads(THREADS).build()?;
    import.main(|cx| {
        println!("{JOBS} jobs of {} ms on {THREADS} threads:", JOB.as_millis());
        for number in 1..=JOBS {
            let submitted = Instant::now();
            // The job runs on a pool thread; what it returns comes back to the loop.
            let job = cx.work(
                move || {
                    let waited = submitted.elapsed();
                    resize_image();
                    (number, waited)
                },
                report,
            );
            cx.name(job, "resize_image");
        }
    });
    import.run(Mode::Default)?;

    println!("All {} done. The loop was free all the time; the jobs were not:", import.state().done);
    let address = agent.address().unwrap();
    for family in ["loopscope_loop_utilization_ratio{", "loopscope_pool_saturated_seconds_total{"] {
        println!("{}", loopscope_examples::metrics(address, family)?);
    }
    println!(
        "More threads (UV_THREADPOOL_SIZE, or Builder::pool_threads) shorten the wait of jobs that only wait."
    );
    Ok(())
}

/// Waits, as a read from a slow disk would.
fn resize_image() {
    let start = Instant::now();
    while start.elapsed() < JOB {
        std::thread::park_timeout(JOB);
    }
}

fn report(cx: &mut Cx<'_, Import>, result: Result<(u32, Duration), WorkError>) {
    cx.state.done += 1;
    match result {
        Ok((number, waited)) if number % 10 == 0 || number == 1 => {
            println!("  job {number:2} waited {:4} ms for a thread", waited.as_millis());
        }
        Ok(_) => {}
        Err(error) => println!("  a job failed: {error:?}"),
    }
}
