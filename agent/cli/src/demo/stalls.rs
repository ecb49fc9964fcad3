//! The stalls of the demo's loop as they happen, for the summary: how long, and in what.
//!
//! The page is looked at every few milliseconds, which finds the guilty place; the exact length comes from the page's
//! own books when the stall has ended.

use crate::ls::describe;
use loopscope_probe::registry::LocalPage;
use std::time::Duration;

/// How often to look: a fraction of the shortest stall.
pub const LOOK: Duration = Duration::from_millis(25);

/// A stall that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    pub ns: u64,
    pub what: String,
}

/// Watches one loop.
#[derive(Debug, Default)]
pub struct Stalls {
    /// What was seen running in the present stall; `None` outside one.
    present: Option<String>,
    ended_count: u64,
    ended_ns: u64,
    pub count: u64,
    pub worst: Option<Stall>,
}

impl Stalls {
    /// Looks at the page. Returns the stall that has ended since the last look.
    pub fn look(&mut self, page: &LocalPage) -> Option<Stall> {
        let now = page.page().now_values(page.clock().now(), page.clock());
        let is_stalled = now.busy_ns > page.page().control().warning_ns();
        if is_stalled {
            let named = now.running.filter(|running| running.kind.is_some());
            if let Some(running) = named.filter(|_| self.present.is_none()) {
                self.present = Some(describe(&running, page.page()));
            }
            return None;
        }
        let what = self.present.take()?;
        let books = page.page().snapshot(page.clock()).blocked_duration;
        let (count, ns) = (books.count() - self.ended_count, books.sum_ns.wrapping_sub(self.ended_ns));
        (self.ended_count, self.ended_ns) = (books.count(), books.sum_ns);
        self.ended(count, ns, what)
    }

    /// Books `count` stalls that ended, of `ns` nanoseconds together.
    pub fn ended(&mut self, count: u64, ns: u64, what: String) -> Option<Stall> {
        self.count += count;
        let stall = Stall { ns: ns.checked_div(count)?, what };
        if self.worst.as_ref().is_none_or(|worst| worst.ns < stall.ns) {
            self.worst = Some(stall.clone());
        }
        Some(stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_stall_is_kept_with_its_place() {
        let mut stalls = Stalls::default();
        assert_eq!(stalls.ended(0, 0, "nothing".to_owned()), None);
        stalls.ended(1, 300, "a".to_owned());
        stalls.ended(1, 200, "b".to_owned());
        assert_eq!((stalls.count, stalls.worst), (2, Some(Stall { ns: 300, what: "a".to_owned() })));
    }
}
