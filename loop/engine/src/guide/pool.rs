//! Work that blocks, files, names, cancelling.
//!
//! The loop does one thing at a time. What computes for long or waits for the disk goes to the pool: a job runs on
//! another thread, and its result comes back to a callback in the poll phase.
//!
//! ```
//! use loopscope_loop::{Loop, Mode};
//!
//! let mut event_loop = Loop::builder(0).build()?;
//! event_loop.main(|cx| {
//!     let job = cx.work(
//!         || (1..=1_000_u64).sum::<u64>(),       // on a pool thread: must be Send, and has no loop
//!         |cx, sum| *cx.state = sum.unwrap_or(0), // on the loop
//!     );
//!     cx.name(job, "sum");                        // in metrics and flamegraphs
//! });
//! event_loop.run(Mode::Default)?;
//! assert_eq!(event_loop.into_state(), 500_500);
//! # std::io::Result::Ok(())
//! ```
//!
//! The pool has four threads unless [`Builder::pool_threads`](crate::Builder::pool_threads) or `UV_THREADPOOL_SIZE` says
//! otherwise, started by the first job. One queue, first in, first out; completions come in the order in which the jobs
//! ended, each followed by a drain. Watch the pool's wait before its depth: jobs that wait are what users feel.
//!
//! # Files
//! [`Cx::fs`](crate::Cx::fs) has the calls on files; each is a job. Calls of one file may run side by side: chain them
//! where the order matters, or [`await`](super::futures) one after the other.
//!
//! # Names
//! [`Cx::resolve`](crate::Cx::resolve) asks the system's resolver, which may wait for seconds. Such jobs take at most
//! half of the threads, so that files go on. [`Cx::connect_host`](crate::Cx::connect_host) resolves and connects.
//!
//! # Cancelling, panics, and the end
//! [`Cx::cancel`](crate::Cx::cancel) takes a job out of the queue; one that runs goes on. The callback comes either way,
//! then with [`WorkError::Cancelled`](crate::WorkError::Cancelled). A job that panics gives
//! [`WorkError::Panicked`](crate::WorkError::Panicked), and its thread goes on. A job keeps the loop alive until its
//! callback has run. A loop that is dropped drops its queued jobs and waits for none that run.
//!
//! # One pool for several loops
//! ```
//! use loopscope_loop::{Loop, Mode, SharedPool};
//!
//! let pool = SharedPool::new(Some(2));
//! let threads: Vec<_> = (0..3)
//!     .map(|number| {
//!         let pool = pool.clone();
//!         std::thread::spawn(move || {
//!             let mut worker = Loop::builder(0).name(&format!("worker-{number}")).pool(&pool).build()?;
//!             worker.main(|cx| cx.work(move || number * 2, |cx, twice| *cx.state = twice.unwrap()));
//!             worker.run(Mode::Default)?;
//!             Ok::<_, std::io::Error>(worker.into_state())
//!         })
//!     })
//!     .collect();
//! for (number, thread) in threads.into_iter().enumerate() {
//!     assert_eq!(thread.join().unwrap()?, number * 2);
//! }
//! # std::io::Result::Ok(())
//! ```
