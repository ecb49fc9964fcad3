//! Delays, intervals, time-outs of connections, and time in tests.
//!
//! # Once, and again and again
//! ```
//! use loopscope_loop::{Loop, Mode};
//! use std::time::Duration;
//!
//! let mut event_loop = Loop::builder(Vec::new()).virtual_time().build()?;
//! event_loop.main(|cx| {
//!     let ticker = cx.every(Duration::from_secs(2), |cx| cx.state.push("tick"));
//!     cx.after(Duration::from_secs(5), move |cx| {
//!         cx.close(ticker);
//!         cx.state.push("enough");
//!     });
//! });
//! event_loop.run(Mode::Default)?;
//! assert_eq!(event_loop.into_state(), ["tick", "tick", "enough"]);
//! # std::io::Result::Ok(())
//! ```
//! A delay is a minimum: a callback that computes makes every timer behind it late, and the metric of timer lateness
//! tells by how much. Time is in whole milliseconds. An interval counts from the start of its callback and never catches
//! up on what it missed.
//!
//! # The order is Node's
//! All timers of one duration are one list, and due lists run one after the other; so two timers that are due at once
//! do not run in the pure order of their deadlines when their durations differ. What a timer starts never runs in the
//! same pass. Between two callbacks the ticks and microtasks run.
//!
//! Starting and clearing a timer of a duration that is in use touches only the end of a list, whatever the number of
//! timers. A program with a million different durations pays for a heap of a million lists.
//!
//! # A time-out that is put off all the time
//! For a connection use [`Cx::on_idle`](crate::Cx::on_idle): reads and writes put it off with one store, and no timer is
//! touched. For something else keep a timer and refresh it:
//! ```
//! # use loopscope_loop::{Loop, Mode};
//! # use std::time::Duration;
//! # let mut event_loop = Loop::builder(0).virtual_time().build()?;
//! event_loop.main(|cx| {
//!     let deadline = cx.rearmable(Duration::from_secs(30), |cx| *cx.state += 1);
//!     // Whenever there is a sign of life:
//!     cx.after(Duration::from_secs(20), move |cx| assert!(cx.refresh(deadline)));
//!     cx.after(Duration::from_secs(45), move |cx| assert_eq!(*cx.state, 0));
//!     // Its slot is kept for the next refresh, until it is closed.
//!     cx.after(Duration::from_secs(60), move |cx| assert!(cx.close(deadline)));
//! });
//! event_loop.run(Mode::Default)?;
//! assert_eq!(event_loop.into_state(), 1);
//! # std::io::Result::Ok(())
//! ```
//!
//! # Timers that do not keep the loop alive
//! [`Cx::unref`](crate::Cx::unref) a timer that only watches: a loop with nothing else to do ends although it is set.
//! Until then it fires like any other.
//!
//! # Time in tests
//! [`Builder::virtual_time`](crate::Builder::virtual_time) makes a loop whose clock jumps to the next timer instead of
//! sleeping: the examples on this page take microseconds. [`simulate::advance`](crate::simulate::advance) stands for
//! computing, in a callback and in a pool job. The order is the same in every run, and it is the order of real time.
