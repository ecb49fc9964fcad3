//! The captures under way: few at once, each known by who asked for it, and ended early by its name.

use loopscope_probe::{Clock, Ticks};
use loopscope_report::duration::show_ns;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// At most this many captures run at once.
pub(crate) const AT_ONCE: usize = 2;

/// Knows the captures under way.
#[derive(Clone, Debug, Default)]
pub struct CaptureSlots(Arc<Mutex<RunningCaptures>>);

#[derive(Debug, Default)]
struct RunningCaptures {
    next: u64,
    taken: Vec<Taken>,
}

#[derive(Debug)]
struct Taken {
    number: u64,
    holder: Holder,
    begun: Ticks,
    end: Arc<Notify>,
}

/// What a capture is, for those who have to wait for it.
#[derive(Clone, Debug, Default)]
pub struct Holder {
    /// By which it can be ended.
    pub name: Option<String>,
    /// What is captured: `cpu`.
    pub what: &'static str,
    /// Who asked for it: `user alice (uid 1000)`.
    pub who: String,
    /// How long it takes, in nanoseconds.
    pub length_ns: u64,
}

/// Why there is no slot: who has them, and when the first is free.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    /// A sentence for people.
    pub message: String,
    /// At least 1.
    pub free_in_s: u64,
}

/// One capture under way; ends when dropped, also where the client went away.
#[derive(Debug)]
pub struct CapturePermit {
    slots: CaptureSlots,
    number: u64,
    end: Arc<Notify>,
    clock: Clock,
    begun: Ticks,
}

impl CaptureSlots {
    /// Takes a slot.
    ///
    /// # Errors
    /// Enough captures are under way.
    pub fn take(&self, holder: Holder) -> Result<CapturePermit, Full> {
        let mut held = self.held();
        let clock = Clock::monotonic();
        let begun = clock.now();
        if held.taken.len() >= AT_ONCE {
            return Err(full(&held.taken, begun));
        }
        held.next += 1;
        let (number, end) = (held.next, Arc::new(Notify::new()));
        held.taken.push(Taken { number, holder, begun, end: end.clone() });
        Ok(CapturePermit { slots: self.clone(), number, end, begun, clock })
    }

    /// Ends the captures of this name early: they answer with what they have. Returns whether there was one.
    pub fn end(&self, name: &str) -> bool {
        let held = self.held();
        let called = held.taken.iter().filter(|taken| taken.holder.name.as_deref() == Some(name));
        called.map(|taken| taken.end.notify_one()).count() > 0
    }

    fn held(&self) -> MutexGuard<'_, RunningCaptures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells who holds the slots, since when and until when.
fn full(taken: &[Taken], now: Ticks) -> Full {
    let left_ns = |taken: &Taken| taken.holder.length_ns.saturating_sub(now.since(taken.begun));
    let tell = |taken: &Taken| {
        let Holder { name, what, who, .. } = &taken.holder;
        let name = name.as_ref().map_or(String::new(), |name| format!(", called {name}"));
        let (since, left) = (show_ns(now.since(taken.begun)), show_ns(left_ns(taken)));
        format!("{what} for {who}, started {since} ago, done in {left}{name}")
    };
    let told: Vec<String> = taken.iter().map(tell).collect();
    let free_in_s = taken.iter().map(left_ns).min().unwrap_or(0).div_ceil(1_000_000_000).max(1);
    let message =
        format!("{AT_ONCE} captures in progress: {}. Try again in {free_in_s} s\n", told.join("; "));
    Full { message, free_in_s }
}

impl CapturePermit {
    /// Waits for so long, or until the capture is ended.
    pub async fn wait(&self, length: Duration) {
        // Either way it is over.
        let _ = timeout(length, self.end.notified()).await;
    }

    /// Returns how long the capture has lasted, in nanoseconds.
    pub fn lasted_ns(&self) -> u64 {
        self.clock.now().since(self.begun)
    }
}

impl Drop for CapturePermit {
    fn drop(&mut self) {
        self.slots.held().taken.retain(|taken| taken.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_free_again_when_dropped() {
        let slots = CaptureSlots::default();
        let take = || slots.take(Holder::default());
        let (first, second) = (take(), take());
        assert!(first.is_ok() && second.is_ok() && take().is_err());
        drop(first);
        assert!(take().is_ok());
    }

    #[test]
    fn who_has_to_wait_is_told_for_whom_and_for_how_long() {
        let held = |number, name: Option<&str>, begun_s: u64, length_s: u64| Taken {
            number,
            holder: Holder {
                name: name.map(str::to_owned),
                what: "cpu",
                who: format!("user alice (uid {number})"),
                length_ns: length_s * 1_000_000_000,
            },
            begun: Ticks(begun_s * 1_000_000_000),
            end: Arc::default(),
        };
        let told = full(&[held(1, Some("mine"), 1, 30), held(2, None, 4, 5)], Ticks(5_500_000_000));
        assert_eq!(told.free_in_s, 4);
        assert_eq!(
            told.message,
            "2 captures in progress: cpu for user alice (uid 1), started 4.5 s ago, done in 26 s, called mine; \
             cpu for user alice (uid 2), started 1.5 s ago, done in 3.5 s. Try again in 4 s\n"
        );
        // One that is drawing its picture is over any moment.
        assert_eq!(full(&[held(1, None, 0, 1)], Ticks(9_000_000_000)).free_in_s, 1);
    }

    #[test]
    fn a_capture_is_ended_by_its_name_also_before_it_waits() {
        let slots = CaptureSlots::default();
        let slot = slots.take(Holder { name: Some("mine".to_owned()), ..Holder::default() }).unwrap();
        assert!(!slots.end("yours") && slots.end("mine"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(slot.wait(Duration::from_secs(3_600)));
        drop(slot);
        assert!(!slots.end("mine"));
    }
}
