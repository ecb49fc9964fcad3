//! A server, back-pressure, ends and errors.
//!
//! # A whole server
//! ```
//! use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent, Wrote};
//! use std::io::{Read, Write};
//!
//! fn on_event(cx: &mut Cx<'_>, key: Key, event: StreamEvent<'_>) {
//!     match event {
//!         // At least one byte, at most 64 KiB, lent: copy what must outlive the callback.
//!         StreamEvent::Data(bytes) => {
//!             if let Ok(wrote) = cx.write(key, bytes)
//!                 && wrote != Wrote::All
//!             {
//!                 cx.pause(key); // they send faster than they read
//!             }
//!         }
//!         StreamEvent::Drained => {
//!             cx.resume(key);
//!         }
//!         // Their end is read, too, so it does not come while the stream is paused: nothing is queued here.
//!         StreamEvent::End | StreamEvent::Error(_) => {
//!             cx.close(key);
//!             # cx.stop();
//!         }
//!     }
//! }
//!
//! let mut event_loop = Loop::new()?;
//! let address = event_loop.main(|cx| {
//!     let listener = cx.listen(([127, 0, 0, 1], 0).into(), |cx, connection| match connection {
//!         Ok(key) => {
//!             cx.on_stream(key, on_event); // nothing is read before this
//!         }
//!         Err(error) => eprintln!("one connection failed: {error}"),
//!     })?;
//!     Ok::<_, std::io::Error>(cx.local_addr(listener).unwrap())
//! })?;
//! # let client = std::thread::spawn(move || {
//! #     let mut client = std::net::TcpStream::connect(address)?;
//! #     client.write_all(b"hello")?;
//! #     client.shutdown(std::net::Shutdown::Write)?;
//! #     let mut answer = String::new();
//! #     client.read_to_string(&mut answer)?;
//! #     std::io::Result::Ok(answer)
//! # });
//! event_loop.run(Mode::Default)?;
//! # assert_eq!(client.join().unwrap()?, "hello");
//! # std::io::Result::Ok(())
//! ```
//! Compared with libuv there is no buffer to allocate, no write request to keep, and no handle to free. The key of a
//! connection stays the same from `listen` or `connect` until it is closed: use it as the key of a `HashMap` for what
//! belongs to one connection, or let the closure hold it.
//!
//! # Writing
//! [`Cx::write`](crate::Cx::write) hands bytes to the kernel at once and queues what the kernel does not take. Nothing is
//! refused, and nothing is lost while the connection lives; so the program has to stop. [`Wrote`](crate::Wrote) says
//! where the bytes went: `All`, `Queued` (a busy network) or `Full` (from the high-water mark on, 64 KiB unless
//! [set](crate::Cx::set_high_water)). After the last two, `Drained` follows. What was written before a connection is made
//! is sent after.
//!
//! # Pausing
//! A paused stream is not read: bytes wait in the kernel, the other side's kernel, and in the end in the other program.
//! Pause what feeds a queue that is full, and resume it at `Drained`. Two streams make a proxy of it: each one's `Full`
//! pauses the other. `examples/chat.rs` does it for a whole room. A server that answers on the stream it reads may pause
//! it from the first queued byte on, as the one above does: then `End` comes when all is sent. A listener can be paused,
//! too: connections then wait in the kernel's queue.
//!
//! # Ends
//! A connection has two directions. `End` says that the other side will send nothing more; this side may still write.
//! [`Cx::shutdown`](crate::Cx::shutdown) ends this side, once everything queued is sent.
//! [`Cx::close`](crate::Cx::close) ends both and drops what is queued. So who reads on while bytes wait, up to `Full`,
//! asks [`Cx::queued_bytes`](crate::Cx::queued_bytes) at `End`, and where there are some closes at `Drained`. Answers
//! that are still being computed are owed after `End`, too.
//!
//! For a polite end from this side: `shutdown`, wait for `End`, and set a time limit for those who never send it.
//! [`Cx::on_idle`](crate::Cx::on_idle) is one for those who fall silent, [`Cx::after`](crate::Cx::after) also for those
//! who talk on.
//!
//! # Errors
//! A call that cannot begin returns an [`io::Error`](std::io::Error); what fails later comes as an event, with the
//! operating system's number in it. A refused connect is the callback's `Err`. A listener that lacks descriptors says so
//! once ([`OutOfDescriptors`](crate::OutOfDescriptors)), leaves connections in the kernel's queue and tries again by itself.
//!
//! # Fairness
//! In one poll a stream gets at most sixteen reads and sixteen writes, a listener 64 accepts; then the next one has its
//! turn. A client that sends without end slows itself down, and nobody else.
