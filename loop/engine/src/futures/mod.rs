//! Futures: the loop's operations for `async` code, which reads from top to bottom.
//!
//! ```text
//!   a future, in its poll                    the loop, right after that poll
//!   here.sleep(d)  -- a command, queued -->  cx.after(d, callback)
//!        ^                                        | the timers phase, much later
//!        +------ woken, polled as a microtask ----+ callback: the promise is resolved
//! ```
//!
//! Nothing new waits or reads underneath: each future registers the callback operation of the same name, and the
//! callback wakes the future. A future cannot hold [`Cx`](crate::Cx), which exists only while a callback runs; it
//! holds a [`LoopHandle`] instead, and what it asks for travels as a command that the loop runs as soon as the
//! present poll returns.
//!
//! Dropping a future takes back what it stands for: the timer is cleared, the queued job cancelled, the read given up.
//! Bytes that had arrived stay with the [`Connection`], and bytes that were given to it are still sent.
//!
//! Cost: an operation is two small allocations and one more poll; a callback that waits for nothing else is cheaper.

mod loop_handle;

mod calls;
mod promise;

mod connection;
mod incoming;
mod read_readiness;
mod unsettled;

#[cfg(feature = "futures-io")]
mod futures_io;

mod files;

pub use connection::Connection;
pub use files::LoopFs;
pub use incoming::Incoming;
pub use loop_handle::LoopHandle;
pub use promise::Promise;
