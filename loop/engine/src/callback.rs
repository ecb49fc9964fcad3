//! Callbacks as the loop stores them: what they are called with, where they were registered, and what a panic in one does.
//!
//! Queues and handles store callbacks, and a callback is called with [`Cx`](crate::Cx), which borrows all queues and
//! handles. So that the stored data need not know what stores it, the argument's type is taken from the state's:
//! [`State::Cx`] is a name here, and only [`cx`](crate::cx) says what it stands for. After compilation nothing is left
//! of it.

use crate::error::CallbackPanicked;
use loopscope_probe::SiteId;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

/// The user's state, by whose type the callbacks of its loop know what they are called with. Every type without
/// borrows is one.
pub(crate) trait State: 'static {
    /// What a callback gets.
    type Cx<'a>;
}

/// A callback that runs once.
pub(crate) type Once<S> = Box<dyn FnOnce(&mut <S as State>::Cx<'_>)>;

/// A callback that runs again and again. It is taken out of its slot while it runs, so that it may close itself.
pub(crate) type Many<S> = Box<dyn FnMut(&mut <S as State>::Cx<'_>)>;

/// Where a callback is registered, and what it is: what its site is found and named by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) at: &'static Location<'static>,
    /// The name of the callback's type, which holds that of its function; empty where it is not known.
    pub(crate) type_name: &'static str,
}

impl Origin {
    /// Where this function's caller was called, with this callback.
    #[track_caller]
    #[inline(always)]
    pub(crate) fn of<F>(callback: &F) -> Origin {
        Origin::with(Location::caller(), callback)
    }

    /// This place, with this callback.
    #[inline(always)]
    pub(crate) fn with<F>(at: &'static Location<'static>, _callback: &F) -> Origin {
        Origin { at, type_name: std::any::type_name::<F>() }
    }

    /// Returns what tells this from other places and callbacks: two addresses of static data.
    #[inline(always)]
    pub(crate) fn address(self) -> (usize, usize) {
        let function = match self.type_name {
            "" => 0,
            known => known.as_ptr() as usize,
        };
        (std::ptr::from_ref(self.at) as usize, function)
    }
}

impl From<&'static Location<'static>> for Origin {
    /// A place without a callback of the program's, such as that of an awaited promise.
    fn from(at: &'static Location<'static>) -> Origin {
        Origin { at, type_name: "" }
    }
}

/// Where a callback was registered, and the number that the probe knows it by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) at: &'static Location<'static>,
    pub(crate) id: SiteId,
}

/// What the loop does when a callback panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Count it, and go on with the next callback.
    #[default]
    Continue,
    /// Stop: [`run`](crate::Loop::run) returns an error that names the site. What was not run yet stays queued.
    Stop,
    /// Stop, and let the panic go on through [`run`](crate::Loop::run).
    Propagate,
}

/// What the program does about each callback that panicked, besides what the policy says.
#[derive(Clone)]
pub(crate) struct PanicHook(Arc<dyn Fn(&CallbackPanicked) + Send + Sync>);

impl PanicHook {
    pub(crate) fn new(hook: impl Fn(&CallbackPanicked) + Send + Sync + 'static) -> PanicHook {
        PanicHook(Arc::new(hook))
    }

    /// Calls it. A panic in it is the program's own fault, and no reason for the loop to end.
    pub(crate) fn call(&self, panicked: &CallbackPanicked) {
        let _ = catch_unwind(AssertUnwindSafe(|| (self.0)(panicked)));
    }
}

impl fmt::Debug for PanicHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PanicHook")
    }
}

/// Why the loop stops in the middle of a phase.
pub(crate) enum Halt {
    Stop(CallbackPanicked),
    Propagate(Box<dyn Any + Send>),
}
