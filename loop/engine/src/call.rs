//! The one way from the loop into user code: stamped, named, and with panics caught.
//!
//! Every callback, queued job and future goes through [`Cx::enter`]. With the probe off that is one branch; with it on,
//! one clock read.

use crate::callback::{Halt, PanicPolicy, Site};
use crate::core::Core;
use crate::cx::Cx;
use crate::error::CallbackPanicked;
use loopscope_probe::{Kind, TaskTimes};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<S: 'static> Cx<'_, S> {
    /// Runs user code as a callback of this kind; `None` where it panicked.
    #[inline(always)]
    pub(crate) fn enter<R>(
        &mut self,
        kind: Kind,
        site: Site,
        life: TaskTimes,
        run: impl FnOnce(&mut Cx<'_, S>) -> R,
    ) -> Option<R> {
        if let Some(probe) = &mut self.core.probe {
            probe.begin(kind, site.id, life);
        }
        // The state is the user's: whether it is still sound after a panic is what the policy decides.
        match catch_unwind(AssertUnwindSafe(|| run(self))) {
            Ok(value) => {
                self.core.leave();
                Some(value)
            }
            Err(payload) => {
                self.core.panicked(kind, site, payload);
                None
            }
        }
    }

    /// Drops a callback that closed its own handle: before the drain, in which what it held and let go is dealt with. A
    /// destructor that panics is treated as the callback that it belongs to.
    #[cold]
    pub(crate) fn discard(&mut self, kind: Kind, site: Site, orphan: impl Sized) {
        match catch_unwind(AssertUnwindSafe(|| drop(orphan))) {
            Ok(()) => self.core.leave(),
            Err(payload) => self.core.panicked(kind, site, payload),
        }
    }

    /// Tells whether the phase may go on with its next callback.
    #[inline(always)]
    pub(crate) fn goes_on(&self) -> bool {
        self.core.halt.is_none()
    }
}

impl<S: 'static> Core<S> {
    #[inline(always)]
    fn leave(&mut self) {
        if let Some(probe) = &mut self.probe {
            let end = probe.end();
            self.immediates.stamp(end);
        }
    }

    #[cold]
    fn panicked(&mut self, kind: Kind, site: Site, payload: Box<dyn Any + Send>) {
        if let Some(probe) = &mut self.probe {
            probe.panicked();
        }
        self.leave();
        let (kind, site) = (kind.name(), site.at.to_string());
        let panicked = CallbackPanicked { kind, site, message: message_of(&*payload) };
        if let Some(hook) = &self.panic_hook {
            hook.call(&panicked);
        }
        match self.policy {
            PanicPolicy::Continue => {}
            PanicPolicy::Stop => self.halt = Some(Halt::Stop(panicked)),
            PanicPolicy::Propagate => self.halt = Some(Halt::Propagate(payload)),
        }
    }
}

/// Returns the text that a panic was raised with, where it was text.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}
