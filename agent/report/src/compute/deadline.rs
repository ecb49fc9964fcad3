//! When a loop must be looked at again, so that a stall is found when it becomes one, and an idle loop is left alone.
//!
//! ```text
//!   look          busy begins                    look   look                 look
//!    |--- threshold -->|                          |      |                    |
//!    t                 b . . . . . . . . . . . . t+T    b+T (found here)     b+2T
//! ```
//!
//! A busy period that begins right after a look cannot be a stall before a threshold has passed, so nothing is missed by
//! sleeping that long; one that is under way becomes a stall at a moment that is known.

/// A busy period is looked at this long after it crosses a line, in nanoseconds: the page's clock and the one that wakes
/// the agent differ by some millionths, and a look just before the line would be one too many.
const GRACE_NS: u64 = 10_000;

/// A loop that is busy or was recently is not left alone for longer, in nanoseconds, however long its threshold:
/// utilization is told from these looks.
pub const LONGEST_REST_NS: u64 = 250_000_000;

/// While a pool is saturated, in nanoseconds: its end shows only while no job waits, which may be short.
const POOL_NS: u64 = 25_000_000;

/// What is known of a loop at a look. All in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// Age of the busy period without its expected part; 0 while the loop polls.
    pub age_ns: u64,
    /// The age does not grow now: the busy period is within an expected block.
    pub is_expected: bool,
    /// How long the loop has been in its poll; 0 while it is busy.
    pub parked_ns: u64,
    pub warning_ns: u64,
    pub critical_ns: u64,
    /// The age at which a stall under way is to be told again.
    pub next_ns: Option<u64>,
    /// Jobs wait for the pool.
    pub has_waiting_jobs: bool,
    /// The pool is saturated for so long; 0 while it is not.
    pub saturated_ns: u64,
}

/// Returns how long a loop can be left alone, by its threshold, that is not busy now and wakes nobody when it becomes so.
pub fn longest_rest_ns(warning_ns: u64) -> u64 {
    warning_ns.min(LONGEST_REST_NS) + GRACE_NS
}

/// Returns how long the loop can be left alone; `None` where it is idle: it will ring. `idle_after_ns` is how long a
/// loop must have been in its poll to be idle.
pub fn next_look_ns(outlook: &Outlook, idle_after_ns: u64) -> Option<u64> {
    let is_busy = outlook.age_ns > 0 || outlook.is_expected;
    if !is_busy && outlook.parked_ns >= idle_after_ns && !outlook.has_waiting_jobs {
        return None;
    }
    let mut wait_ns = outlook.warning_ns.min(LONGEST_REST_NS);
    if is_busy && !outlook.is_expected {
        let lines = [Some(outlook.warning_ns), Some(outlook.critical_ns), outlook.next_ns];
        let ahead = lines.into_iter().flatten().filter(|line| *line >= outlook.age_ns);
        wait_ns = ahead.map(|line| line - outlook.age_ns).fold(wait_ns, u64::min);
    }
    if outlook.saturated_ns > 0 {
        let until_ns = outlook.warning_ns.checked_sub(outlook.saturated_ns).unwrap_or(POOL_NS);
        wait_ns = wait_ns.min(until_ns).min(POOL_NS);
    }
    Some(wait_ns + GRACE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    const PARKED: Outlook = Outlook {
        age_ns: 0,
        is_expected: false,
        parked_ns: 1,
        warning_ns: 100 * MS,
        critical_ns: 1_000 * MS,
        next_ns: None,
        has_waiting_jobs: false,
        saturated_ns: 0,
    };

    fn wait_ms(outlook: Outlook) -> Option<u64> {
        next_look_ns(&outlook, 100 * MS).map(|ns| (ns - GRACE_NS) / MS)
    }

    #[test]
    fn looks_fall_on_the_lines() {
        let busy = |age_ms: u64, next_ms: Option<u64>| Outlook {
            age_ns: age_ms * MS,
            parked_ns: 0,
            next_ns: next_ms.map(|ms| ms * MS),
            ..PARKED
        };
        for (outlook, ms) in [
            (PARKED, Some(100)),
            (Outlook { parked_ns: 100 * MS, ..PARKED }, None),
            (Outlook { parked_ns: 100 * MS, has_waiting_jobs: true, ..PARKED }, Some(100)),
            (
                Outlook { parked_ns: 100 * MS, has_waiting_jobs: true, saturated_ns: 90 * MS, ..PARKED },
                Some(10),
            ),
            (Outlook { saturated_ns: 500 * MS, ..PARKED }, Some(25)),
            (busy(1, None), Some(99)),
            (busy(99, None), Some(1)),
            (busy(103, Some(200)), Some(97)),
            (busy(203, Some(400)), Some(100)),
            (busy(960, Some(1_600)), Some(40)),
            (busy(1_590, Some(1_600)), Some(10)),
            (Outlook { is_expected: true, ..busy(99, None) }, Some(100)),
            (Outlook { warning_ns: 5_000 * MS, critical_ns: 9_000 * MS, ..PARKED }, Some(250)),
        ] {
            assert_eq!(wait_ms(outlook), ms, "{outlook:?}");
        }
    }

    proptest! {
        /// Whatever a loop does between two looks, a busy period is seen at the latest a grace after it became a stall.
        #[test]
        fn no_stall_is_found_late(
            warning in 2 * MS..300 * MS,
            busy_and_idle in prop::collection::vec((1..400 * MS, 0..150 * MS), 1..30),
        ) {
            let mut begin = 10 * MS;
            let mut look = 0;
            for (busy, idle) in busy_and_idle {
                let end = begin + busy;
                let mut found = None;
                // The agent looks as told; asleep, it is woken at the begin.
                while look < end + idle {
                    let is_in = (begin..end).contains(&look);
                    let age = if is_in { (look - begin).max(1) } else { 0 };
                    if age > warning && found.is_none() {
                        found = Some(age);
                    }
                    let since_park = if look >= end { look - end } else { 1 };
                    let outlook = Outlook {
                        age_ns: age,
                        parked_ns: if is_in { 0 } else { since_park },
                        warning_ns: warning,
                        critical_ns: warning * 10,
                        next_ns: found.map(|_| (age / warning + 1).next_power_of_two() * warning),
                        ..PARKED
                    };
                    let next = if look < begin { begin } else { end + idle };
                    look = match next_look_ns(&outlook, 100 * MS) {
                        Some(wait) => look + wait,
                        None => next,
                    };
                }
                if busy > warning + GRACE_NS {
                    prop_assert!(found.is_some_and(|age| age <= warning + GRACE_NS), "{found:?} of {busy}");
                }
                begin = end + idle;
            }
        }
    }
}
