//! The loop from the top, for those who know Node.js or libuv.
//!
//! # The model
//! A [`Loop`](crate::Loop) owns a state of your own type and runs callbacks, one at a time, on the thread that built
//! it. Each callback gets a [`Cx`](crate::Cx): `cx.state` is your state, and everything else on it is the loop.
//!
//! ```
//! use loopscope_loop::{Cx, Loop, Mode};
//! use std::time::Duration;
//!
//! #[derive(Default)]
//! struct Game { ticks: u32 }
//!
//! fn tick(cx: &mut Cx<'_, Game>) {
//!     cx.state.ticks += 1;                       // the state ...
//!     if cx.state.ticks < 3 {
//!         cx.after(Duration::from_secs(1), tick); // ... and the loop, both mutable at once
//!     }
//! }
//!
//! let mut event_loop = Loop::builder(Game::default()).virtual_time().build()?;
//! event_loop.main(|cx| cx.after(Duration::from_secs(1), tick));
//! event_loop.run(Mode::Default)?;                // returns when nothing keeps it alive
//! assert_eq!(event_loop.state().ticks, 3);
//! # std::io::Result::Ok(())
//! ```
//!
//! Three habits of C and of JavaScript are not needed here:
//! - **No handle to own.** What you register is named by a [`Key`](crate::Key): plain data that may be copied, kept and
//!   compared. A key of something that is gone does nothing, so there is no use after `uv_close`, and no need to
//!   remember in which order things go.
//! - **No `data` pointer.** A closure holds what belongs to one registration, `cx.state` what belongs to all.
//! - **No `Rc<RefCell>`.** A callback borrows the loop only while it runs; it may close itself, and register others.
//!
//! # The order
//! ```text
//!   timers -> pending -> idle -> prepare -> poll -> check -> close -> timers -> ...
//!   due        deferred   hooks   hooks      |       immediates, hooks
//!                                            +- pool completions, wakes, posts, sockets, signals
//! ```
//! After every callback: all ticks, then all microtasks (futures are microtasks), again while ticks are left. This is
//! Node's order since v11, and it is tested on 441 programs whose order real Node printed.
//!
//! # In Node, in libuv, here
//! | in Node | in libuv | here |
//! |---|---|---|
//! | the event loop | `uv_loop_t`, `uv_run` | [`Loop`](crate::Loop), [`Loop::run`](crate::Loop::run) with a [`Mode`](crate::Mode) |
//! | the main script | what comes before `uv_run` | [`Loop::main`](crate::Loop::main) |
//! | `setTimeout(f, ms)` | `uv_timer_start(h, f, ms, 0)` | [`Cx::after`](crate::Cx::after) |
//! | `setInterval(f, ms)` | `uv_timer_start(h, f, ms, ms)` | [`Cx::every`](crate::Cx::every) |
//! | `timeout.refresh()` | `uv_timer_again` | [`Cx::rearmable`](crate::Cx::rearmable), [`Cx::refresh`](crate::Cx::refresh) |
//! | `clearTimeout`, `clearImmediate` | `uv_timer_stop`, `uv_close` | [`Cx::close`](crate::Cx::close) |
//! | `setImmediate(f)` | `uv_check_t` and `uv_idle_t` | [`Cx::immediate`](crate::Cx::immediate) |
//! | `process.nextTick(f)` | | [`Cx::next_tick`](crate::Cx::next_tick) |
//! | `queueMicrotask(f)`, `promise.then` | | [`Cx::microtask`](crate::Cx::microtask), futures |
//! | | `uv_idle_t`, `uv_prepare_t`, `uv_check_t` | [`Cx::on`](crate::Cx::on) a [`Hook`](crate::Hook) |
//! | `handle.unref()`, `handle.ref()` | `uv_unref`, `uv_ref` | [`Cx::unref`](crate::Cx::unref), [`Cx::ref_`](crate::Cx::ref_) |
//! | `net.createServer(f).listen(a)` | `uv_listen`, `uv_accept` | [`Cx::listen`](crate::Cx::listen): accepted already |
//! | `net.connect(a)` | `uv_tcp_connect` | [`Cx::connect`](crate::Cx::connect), [`Cx::connect_host`](crate::Cx::connect_host) |
//! | `socket.on('data', f)` | `uv_read_start` and an allocator | [`Cx::on_stream`](crate::Cx::on_stream): the buffer is lent |
//! | `socket.pause()` | `uv_read_stop` | [`Cx::pause`](crate::Cx::pause), [`Cx::resume`](crate::Cx::resume) |
//! | `write()` gives `false`, `'drain'` | `uv_try_write`, `uv_write`, its request | [`Cx::write`](crate::Cx::write), [`Wrote::Full`](crate::Wrote::Full), [`StreamEvent::Drained`](crate::StreamEvent::Drained) |
//! | `socket.end()` | `uv_shutdown` | [`Cx::shutdown`](crate::Cx::shutdown) |
//! | `socket.destroy()`, `'close'` | `uv_close(h, f)` | [`Cx::close`](crate::Cx::close), [`Cx::close_with`](crate::Cx::close_with) |
//! | `socket.setTimeout(ms, f)` | a timer of one's own | [`Cx::on_idle`](crate::Cx::on_idle): putting it off costs nothing |
//! | `dgram.createSocket` | `uv_udp_t` | [`Cx::udp`](crate::Cx::udp), [`Cx::send_to`](crate::Cx::send_to) |
//! | | `uv_pipe_t`, `uv_poll_t` | [`Cx::pipe`](crate::Cx::pipe), [`Cx::adopt`](crate::Cx::adopt) |
//! | `process.on('SIGINT', f)` | `uv_signal_t` | [`Cx::on_signal`](crate::Cx::on_signal) |
//! | `child_process.spawn` | `uv_spawn` | [`Cx::spawn`](crate::Cx::spawn) |
//! | `fs.readFile(path, f)` | `uv_fs_open`, `uv_fs_read`, ... | [`Cx::fs`](crate::Cx::fs) |
//! | `dns.lookup(host, f)` | `uv_getaddrinfo` | [`Cx::resolve`](crate::Cx::resolve) |
//! | `crypto.pbkdf2`, `zlib.gzip`, ... | `uv_queue_work`, `uv_cancel` | [`Cx::work`](crate::Cx::work), [`Cx::cancel`](crate::Cx::cancel) |
//! | `worker.postMessage` | `uv_async_send` | [`RemoteHandle`](crate::RemoteHandle), none lost; [`AsyncHandle`](crate::AsyncHandle), merged |
//! | `await`, `new Promise` | | [`LoopHandle`](crate::LoopHandle), [`Promise`](crate::Promise) |
//! | `process.on('beforeExit', f)` | | [`Cx::before_exit`](crate::Cx::before_exit) |
//! | `'uncaughtException'` | | [`PanicPolicy`](crate::PanicPolicy) |
//! | `cluster` | | [`Listening::reuse_port`](crate::Listening::reuse_port), a loop on each thread |
//! | | `uv_backend_fd`, `uv_backend_timeout` | `AsRawFd`, [`Loop::backend_timeout`](crate::Loop::backend_timeout) |
//!
//! # The guides
//! - [`timers`]: delays, intervals, time-outs of connections, and time in tests.
//! - [`streams`]: a server, back-pressure, ends and errors.
//! - [`pool`]: work that blocks, files, names, cancelling.
//! - [`futures`]: the same things with `await`.
//! - [`threads`]: posting, several loops, another program's loop.
//! - [`shutting_down`]: what keeps a loop alive, and how a server ends in order.
//!
//! A server of some size that was ported by this page is `examples/chat.rs`; the same echo server twice, with callbacks
//! and with futures, are `examples/echo.rs` and `examples/futures_echo.rs`.
//!
//! # What differs, and why
//! | here | there | why |
//! |---|---|---|
//! | The clock is refreshed before the poll's length is computed. | Raw libuv sleeps too long after a callback that blocked; Node does not. | A timer should not be late twice. |
//! | The timers phase makes at most eight passes. | libuv 1.46 runs a 0 ms timer that starts itself for ever. | Sockets get their turn. |
//! | `after` rounds a delay up to whole milliseconds; `after_ms` reads it as Node does. | Node cuts the fraction off. | Never before its time, unless the port needs Node's reading. |
//! | A one-shot timer that fired is gone; [`Cx::rearmable`](crate::Cx::rearmable) can be refreshed. | Every `Timeout` can. | A key that is stale stays stale. |
//! | A socket gets a bounded turn in each poll, then the next one does. | libuv is level-triggered and reads up to 32 times. | mio reports edges; so no busy socket starves the others. |
//! | A wait that ends with nothing but events of closed or paused sockets is an iteration. | libuv sleeps on. | Whoever wakes up looks at everything. |
//! | A listener without descriptors waits, and says so once. | libuv accepts and closes; Node gives `EMFILE`. | Nobody who waits is thrown out. |
//! | A thread that posts writes to the wake descriptor only while the loop sleeps. | `uv_async_send` always may. | A busy loop needs no system call to be told. |
//! | Dropping a loop drops queued jobs unrun and waits for none. | `uv_loop_close` fails while something is open. | A drop cannot fail. |
//! | A panic is caught in each callback, and the loop goes on. | An exception that nobody catches ends the process. | The policy is yours: [`PanicPolicy`](crate::PanicPolicy). |
//! | After a `fork` without `exec` the child must drop its copy of the loop, and not run it. | `uv_loop_fork` | Both would take events from one epoll. |

pub mod futures;
pub mod pool;
pub mod shutting_down;
pub mod streams;
pub mod threads;
pub mod timers;
