//! The same things with `await`.
//!
//! A future that is spawned on the loop is polled as a microtask, on the loop's thread, so it need not be `Send`. It
//! cannot hold a [`Cx`](crate::Cx), which lives only as long as a callback; it holds a
//! [`LoopHandle`](crate::LoopHandle), which can ask for everything:
//!
//! ```
//! use loopscope_loop::{Connection, Loop, Mode};
//! use std::io;
//! use std::time::Duration;
//!
//! async fn echo(connection: Connection) -> io::Result<()> {
//!     let mut buffer = [0; 4096];
//!     loop {
//!         match connection.read(&mut buffer).await? {
//!             0 => return Ok(()),
//!             count => connection.write(&buffer[..count]).await?,
//!         }
//!     }
//! }
//!
//! let mut event_loop = Loop::new()?;
//! let task = event_loop.main(|cx| {
//!     let incoming = cx.incoming(([127, 0, 0, 1], 0).into())?;
//!     let address = cx.local_addr(incoming.key()).unwrap();
//!     cx.spawn_async(|here| async move {
//!         let connection = incoming.accept().await?;
//!         here.within(Duration::from_secs(30), echo(connection)).await;
//!         io::Result::Ok(())
//!     });
//!     Ok::<_, io::Error>(cx.spawn_async(|here| async move {
//!         let connection = here.connect(address).await?;
//!         connection.write("hello").await?;
//!         let mut answer = [0; 5];
//!         let count = connection.read(&mut answer).await?;
//!         io::Result::Ok(answer[..count].to_vec())
//!     }))
//! })?;
//! event_loop.run(Mode::Default)?;
//! assert!(task.is_done());
//! # std::io::Result::Ok(())
//! ```
//!
//! # What begins when
//! A [`Promise`](crate::Promise) stands for something that has begun with the call, as in JavaScript: two sleeps, jobs
//! or writes that are made before the first is awaited go on side by side. `connection.read` and `incoming.accept` are
//! futures as Rust has them: they begin with their first poll.
//!
//! # Dropping is cancelling
//! | dropped | what becomes of it |
//! |---|---|
//! | `here.sleep(..)` | the timer is cleared |
//! | `here.work(..)`, `here.fs()`, `here.resolve(..)` | a job that is queued is cancelled; the result of one that runs is dropped |
//! | `connection.read(..)`, `incoming.accept()` | nothing is lost: what arrives is for the next one |
//! | `connection.write(..)` | the bytes are on their way, and are still sent |
//! | `here.connect(..)` | the connection is given up |
//! | `here.with(..)`, `here.promise(..)` | it still runs; the result is dropped |
//! | a [`Connection`](crate::Connection), an [`Incoming`](crate::Incoming) | closed |
//! | a [`Task`](crate::Task) | goes on, unless [`cancel_on_drop`](crate::Task::cancel_on_drop) was asked for |
//!
//! So [`LoopHandle::within`](crate::LoopHandle::within) can give any of them a time limit.
//!
//! # Back-pressure
//! A connection is read only while a future waits for that, and a write is done when the kernel has all of it. The
//! echo above therefore needs no line about slow clients. Connections that nobody awaits wait in the kernel's queue.
//!
//! # Between the two worlds
//! - The state: `here.with(|cx| cx.state.count += 1).await`, with everything that a callback can do.
//! - Anything with a callback: `here.promise(|cx, done| cx.fs().stat(path, done)).await`; Node's `util.promisify`.
//! - A stream's key to a connection and back: [`Cx::connection`](crate::Cx::connection),
//!   [`Connection::into_key`](crate::Connection::into_key).
//! - Wakers work from any thread; channels, `async` locks and `select` of other crates do, too.
//!
//! # Protocols of other libraries
//! With the feature `futures-io` a connection is an `AsyncRead` and an `AsyncWrite`, and an [`Incoming`](crate::Incoming) a
//! `Stream`: what is written against these traits runs on this loop, such as TLS by `futures-rustls`, or hyper behind a
//! page of code. `examples/https.rs` has both. A write takes its bytes at once there, and `flush` waits until the kernel has
//! them; a read that was asked for keeps the loop alive until something comes, also where its future was dropped.
//!
//! # What it costs
//! An operation is its callback, two small allocations and one more poll. A future by itself keeps no loop alive: what
//! it waits for does.
