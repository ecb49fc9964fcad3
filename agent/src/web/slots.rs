//! The captures under way: few at once, and each can be ended early by its name.

use loopscope_probe::{Clock, Ticks};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// At most this many captures run at once.
pub(crate) const AT_ONCE: usize = 2;

/// Knows the captures under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    name: Option<String>,
    end: Arc<Notify>,
}

/// One capture under way; ends when dropped, also where the client went away.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Slots,
    number: u64,
    end: Arc<Notify>,
    clock: Clock,
    begun: Ticks,
}

impl Slots {
    /// Returns `None` where enough are under way.
    pub(crate) fn take(&self, name: Option<String>) -> Option<Slot> {
        let mut held = self.held();
        if held.taken.len() >= AT_ONCE {
            return None;
        }
        held.next += 1;
        let (number, end) = (held.next, Arc::new(Notify::new()));
        held.taken.push(Taken { number, name, end: end.clone() });
        let clock = Clock::monotonic();
        Some(Slot { slots: self.clone(), number, end, begun: clock.now(), clock })
    }

    /// Ends the captures of this name early: they answer with what they have. Returns whether there was one.
    pub(crate) fn end(&self, name: &str) -> bool {
        let held = self.held();
        let called = held.taken.iter().filter(|taken| taken.name.as_deref() == Some(name));
        called.map(|taken| taken.end.notify_one()).count() > 0
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Waits for so long, or until the capture is ended.
    pub(crate) async fn wait(&self, length: Duration) {
        // Either way it is over.
        let _ = timeout(length, self.end.notified()).await;
    }

    /// Returns how long the capture has lasted, in nanoseconds.
    pub(crate) fn lasted_ns(&self) -> u64 {
        self.clock.now().since(self.begun)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.held().taken.retain(|taken| taken.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_dropped() {
        let slots = Slots::default();
        let (first, second) = (slots.take(None), slots.take(None));
        assert!(first.is_some() && second.is_some() && slots.take(None).is_none());
        drop(first);
        assert!(slots.take(None).is_some());
    }

    #[test]
    fn a_capture_is_ended_by_its_name_also_before_it_waits() {
        let slots = Slots::default();
        let slot = slots.take(Some("mine".to_owned())).unwrap();
        assert!(!slots.end("yours") && slots.end("mine"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(slot.wait(Duration::from_secs(3_600)));
        drop(slot);
        assert!(!slots.end("mine"));
    }
}
