//! What a runtime tells the agent of its process, because the thread of its loop does not.

use crate::clock::Ticks;
pub use crate::observed::Observed;

/// Tells what the thread of a loop does not tell itself. Given to [`Builder::observer`](crate::Builder::observer).
///
/// ```
/// use loopscope_probe::observer::{Observer, Sighting};
/// use loopscope_probe::{Ticks, Writer};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// /// Counts the polls that the loop does not tell.
/// #[derive(Debug, Default)]
/// struct Polls(AtomicU64);
///
/// impl Observer for Polls {
///     fn look(&self, _at: Ticks) -> Sighting {
///         Sighting::nothing().turn(self.0.load(Relaxed))
///     }
/// }
/// let writer = Writer::builder("web").observer(Arc::new(Polls::default())).build();
/// # drop(writer);
/// ```
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// Says what is true at `at`, a moment on the page's clock. Called by the agent at each of its ticks, on its thread, before
    /// it reads the page, and between two ticks where an observer asks for that ([`Sighting::again_within`]); also the place to bring [pools](crate::PoolWriter::observe) and
    /// [gauges](crate::GaugeWriter) up to date. Must neither block nor wait for the loop's thread: while it does, no
    /// stall is noticed. A panic in it is caught, and costs that look.
    fn look(&self, at: Ticks) -> Sighting;

    /// The loop's thread was found outside the runtime, by its whole stack, in the busy period that lasts: what it does there is
    /// no stall of the loop. Called by the agent between two looks, on its thread, where the page's description has a remedy for
    /// [`Trouble::Outside`](crate::description::Trouble::Outside). A panic in it is caught.
    fn found_outside(&self) {}
}

/// What an [`Observer`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sighting {
    /// 0 where the loop has not polled since its busy period began, else a number that changes with each poll: of a runtime that
    /// polls between two tasks without telling its page.
    pub turn: u64,
    /// When the poll of that number was, as late as it can have been, where that is known; `None` for the moment of the look.
    pub turned_at: Option<Ticks>,
    /// The thread has ceased to run this loop, although its page's writer lives on. Not taken back.
    pub is_retired: bool,
    /// For a page that is [`observed`](crate::Builder::observed): when it was busy and when it waited.
    pub observed: Option<Observed>,
    /// In how many nanoseconds the agent should look again, where that is earlier than it would; 0 for no wish. With a wish it
    /// does not sleep while all loops wait, as it otherwise does until one of them wakes it: for threads that never do.
    pub again_ns: u64,
    /// The loop waits, and when it goes on can be known otherwise: how the agent may sleep meanwhile.
    pub asleep: Option<Asleep>,
}

/// How a loop that waits is known to go on, where its thread never wakes the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asleep {
    /// The descriptor that the loop's poll waits for (an epoll instance): the next event on it wakes the agent, too, also where the
    /// loop has taken it by then. The agent asks the observer once more after it has made sure of that; so what is said here must be
    /// true at each call. `None` where something of the runtime wakes the agent (`registry::note_change`).
    pub descriptor: Option<i32>,
    /// In how many nanoseconds the agent should look, if nothing wakes it.
    pub within_ns: u64,
}

impl Sighting {
    /// Nothing is to be told.
    pub fn nothing() -> Sighting {
        Sighting::default()
    }

    /// The loop has polled without telling; see [`Sighting::turn`].
    pub fn turn(mut self, number: u64) -> Sighting {
        self.turn = number;
        self
    }

    /// The loop has polled without telling, and at this moment or before, on the page's clock; see [`Sighting::turn`].
    pub fn turn_at(mut self, number: u64, at: Ticks) -> Sighting {
        (self.turn, self.turned_at) = (number, Some(at));
        self
    }

    /// The thread has ceased to run the loop.
    pub fn retired(mut self) -> Sighting {
        self.is_retired = true;
        self
    }

    /// When the loop was busy, and when it waited.
    pub fn observed(mut self, observed: Observed) -> Sighting {
        self.observed = Some(observed);
        self
    }

    /// The loop waits, and what wakes it will wake the agent.
    pub fn asleep(mut self, asleep: Asleep) -> Sighting {
        self.asleep = Some(asleep);
        self
    }

    /// The agent should look again within so many nanoseconds.
    pub fn again_within(mut self, ns: u64) -> Sighting {
        self.again_ns = ns;
        self
    }
}
