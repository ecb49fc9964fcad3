//! What keeps a loop alive, and how a server ends in order.
//!
//! [`Loop::run`](crate::Loop::run) in the default mode returns when nothing keeps the loop alive:
//!
//! | keeps it alive | does not |
//! |---|---|
//! | timers, immediates, hooks, listeners, datagram sockets, adopted sources, signals, children, wake handles | the same after [`Cx::unref`](crate::Cx::unref) |
//! | a stream that reads | one that is paused, ended or has no callback |
//! | bytes that are queued, connects under way, pool jobs | a time-out of [`Cx::on_idle`](crate::Cx::on_idle) |
//! | posts that have not run, handles that are closing | a [`RemoteHandle`](crate::RemoteHandle), a waker, a future by itself |
//!
//! So the orderly end is to close what waits for more, and to let the rest finish:
//!
//! ```
//! use loopscope_loop::{Key, Loop, Mode, signals};
//!
//! #[derive(Default)]
//! struct Server { duties: Vec<Key> }
//!
//! let mut server = Loop::builder(Server::default()).build()?;
//! server.main(|cx| {
//!     let listener = cx.listen(([127, 0, 0, 1], 0).into(), |_, _| { /* ... */ })?;
//!     let term = cx.on_signal(signals::SIGTERM, |cx| {
//!         // No new connections; those that are open may finish, and then the loop ends by itself.
//!         for key in std::mem::take(&mut cx.state.duties) {
//!             cx.close(key);
//!         }
//!     })?;
//!     cx.state.duties = vec![listener, term];
//!     std::io::Result::Ok(())
//! })?;
//! # let mut kill = std::process::Command::new("kill");
//! # kill.arg(std::process::id().to_string()).status().expect("the program kill is installed");
//! assert!(!server.run(Mode::Default)?, "nothing is left");
//! # std::io::Result::Ok(())
//! ```
//!
//! For those who do not finish, set a time limit that does not keep the loop alive by itself:
//! `let limit = cx.after(seconds, |cx| cx.stop()); cx.unref(limit);`.
//!
//! # Stopping at once
//! [`Cx::stop`](crate::Cx::stop) ends the run after the present iteration; what is registered stays, and the next `run`
//! goes on with it. Dropping the loop closes everything: descriptors, queued bytes and queued jobs go, callbacks do not
//! run any more, futures are dropped. Jobs that run are not waited for; their results are dropped.
//!
//! # Before the end
//! [`Cx::before_exit`](crate::Cx::before_exit) runs when nothing is left, and may begin something new, which revives
//! the loop. It does not run after `stop`.
//!
//! # Panics
//! By default a panic in a callback is counted, and the loop goes on; the registration stays. The loop prints
//! nothing: std's panic hook says where the panic was, and [`Builder::panic_hook`](crate::Builder::panic_hook) gets
//! the callback, for your log. [`PanicPolicy::Stop`](crate::PanicPolicy::Stop) makes `run` return an error that names
//! the site, and [`PanicPolicy::Propagate`](crate::PanicPolicy::Propagate) lets the panic through, which is what
//! tests want.
