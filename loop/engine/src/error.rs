//! What can go wrong in a loop, besides what the operating system reports.

use std::fmt;
use std::io;

/// Why a pool job gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkError {
    /// It was cancelled while it waited in the queue.
    Cancelled,
    /// It panicked; the panic hook has printed where.
    Panicked,
    /// The system refused to start even one pool thread.
    NoThread,
}

impl fmt::Display for WorkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            WorkError::Cancelled => "the pool job was cancelled before it began",
            WorkError::Panicked => "the pool job panicked; the panic's message says where",
            WorkError::NoThread => "cannot start a pool thread; raise the limit on threads (ulimit -u)",
        })
    }
}

impl std::error::Error for WorkError {}

impl From<WorkError> for io::Error {
    fn from(error: WorkError) -> io::Error {
        io::Error::other(error)
    }
}

/// A listener cannot accept for lack of descriptors or memory. Connections wait in the kernel's queue, and the loop tries
/// again by itself. A listener's callback gets it inside an [`io::Error`] of kind `Other`, once until a connection is
/// accepted again:
///
/// ```
/// use loopscope_loop::OutOfDescriptors;
///
/// fn is_starved(error: &std::io::Error) -> bool {
///     error.get_ref().is_some_and(|inner| inner.is::<OutOfDescriptors>())
/// }
/// # let full = || std::io::Error::from_raw_os_error(24);
/// # assert!(!is_starved(&full()));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct OutOfDescriptors {
    /// What the operating system said, such as `EMFILE`.
    pub error: io::Error,
}

impl fmt::Display for OutOfDescriptors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "cannot accept connections: {}; close some descriptors, or raise the limit (ulimit -n)",
            self.error
        )
    }
}

impl std::error::Error for OutOfDescriptors {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<OutOfDescriptors> for io::Error {
    fn from(starved: OutOfDescriptors) -> io::Error {
        io::Error::other(starved)
    }
}

/// The loop that a closure was posted to no longer exists; the closure was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopClosed;

impl fmt::Display for LoopClosed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the loop is closed")
    }
}

impl std::error::Error for LoopClosed {}

/// A callback panicked and the loop was told to stop then. [`run`](crate::Loop::run) returns it inside an
/// [`std::io::Error`] of kind `Other`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallbackPanicked {
    /// What kind of callback it was, such as `timer`.
    pub kind: &'static str,
    /// Where it was registered: `file:line:column`.
    pub site: String,
    /// The panic's message, empty where it had none.
    pub message: String,
}

impl fmt::Display for CallbackPanicked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the {} callback registered at {} panicked: {}", self.kind, self.site, self.message)
    }
}

impl std::error::Error for CallbackPanicked {}

/// In virtual time the loop waits for something that can never happen: no timer, no pool job and no posted closure is
/// left, yet a referenced handle keeps it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitsForever;

impl fmt::Display for WaitsForever {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "the loop in virtual time would wait forever: close or unref the handle that keeps it alive",
        )
    }
}

impl std::error::Error for WaitsForever {}
