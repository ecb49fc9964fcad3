//! Posting, several loops, another program's loop.
//!
//! A loop and its keys stay on one thread. What crosses threads is [`RemoteHandle`](crate::RemoteHandle),
//! [`AsyncHandle`](crate::AsyncHandle), wakers of futures, and [`SharedPool`](crate::SharedPool).
//!
//! # Posting
//! ```
//! use loopscope_loop::{Loop, Mode};
//!
//! let mut event_loop = Loop::builder(Vec::new()).build()?;
//! let post = event_loop.post_handle();
//! let thread = std::thread::spawn(move || {
//!     // A closure, run by the loop in its next poll, with its context.
//!     post.post(|cx| {
//!         cx.state.push("from another thread");
//!         cx.stop();
//!     })
//! });
//! // A way to post keeps no loop alive, what is posted does; here something else has to.
//! event_loop.main(|cx| cx.after(std::time::Duration::from_secs(60), |_| {}));
//! event_loop.run(Mode::Default)?;
//! assert!(thread.join().unwrap().is_ok());
//! assert_eq!(event_loop.into_state(), ["from another thread"]);
//! # std::io::Result::Ok(())
//! ```
//! No post is lost, and they run in the order of posting. For "something changed, look" use
//! [`Cx::wake_handle`](crate::Cx::wake_handle), libuv's `uv_async_t`: wakes that come before the callback runs are merged.
//!
//! # A loop on each thread
//! Build each loop on its own thread, give it a name, and let it listen on the same port with
//! [`Listening::reuse_port`](crate::Listening::reuse_port): the kernel spreads connections over them. Each has its own
//! page, so one scrape shows every worker. `examples/workers.rs` is the whole of it: workers on one port, with one pool,
//! that ask each other by posting and end on one signal.
//!
//! # Inside another loop
//! ```
//! use loopscope_loop::mio::{Events, Interest, Poll, Token, unix::SourceFd};
//! use loopscope_loop::{Loop, Mode};
//! use std::os::fd::AsRawFd;
//! use std::time::Duration;
//!
//! let mut inner = Loop::builder(false).build()?;
//! inner.main(|cx| cx.after(Duration::from_millis(2), |cx| *cx.state = true));
//! // Any loop that can wait on a descriptor for a time: epoll, glib, winit.
//! let mut outer = Poll::new()?;
//! outer.registry().register(&mut SourceFd(&inner.as_raw_fd()), Token(0), Interest::READABLE)?;
//! let mut events = Events::with_capacity(4);
//! while inner.run(Mode::NoWait)? {
//!     outer.poll(&mut events, inner.backend_timeout())?;
//! }
//! assert!(inner.into_state());
//! # std::io::Result::Ok(())
//! ```
//! Run the inner loop before the first wait, too, and ask for the time-out right before each: what ran may have changed
//! it. `examples/embedded.rs` has frames of its own between.
