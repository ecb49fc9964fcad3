//! Async twins: the loop's own operations as futures, for code that reads better from top to bottom.
//!
//! ```text
//!   a future, in its poll                    the loop, right after that poll
//!   here.sleep(d)  -- an errand, queued -->  cx.after(d, callback)
//!        ^                                        | the timers phase, much later
//!        +------ woken, polled as a microtask ----+ callback: the promise is resolved
//! ```
//!
//! Nothing new waits or reads underneath: each twin is the callback of the same name, on a key, and the callback wakes
//! the future. A future cannot hold [`Cx`](crate::Cx), which exists only while a callback runs; it holds a [`Local`]
//! instead, and what it asks for travels as an errand that the loop runs as soon as the present poll returns.
//!
//! Dropping a future takes back what it stands for: the timer is cleared, the queued job cancelled, the read given up.
//! Bytes that had arrived stay with the [`Connection`], and bytes that were given to it are still sent.
//!
//! Cost: an operation is two small allocations and one more poll; a callback that waits for nothing else is cheaper.

mod local;

mod calls;
mod promise;

mod connection;
mod gate;
mod incoming;
mod unsettled;

#[cfg(feature = "futures-io")]
mod futures_io;

mod files;

pub use connection::Connection;
pub use files::LocalFs;
pub use incoming::Incoming;
pub use local::Local;
pub use promise::Promise;
