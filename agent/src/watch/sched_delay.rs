//! How the agent's own thread spent the time between two looks: late, starved, or gone with the whole machine.

use crate::watch::stall_accounting::Gap;
use loopscope_probe::raw::cgroup::CpuQuota;
use loopscope_probe::raw::proc::Sched;
use std::fs::{self, File};

/// How often the hypervisor's share is read while a loop is busy, in nanoseconds: the kernel writes a line for every
/// processor.
const STEAL_EVERY_NS: u64 = 1_000_000_000;

/// Follows the agent's own thread.
#[derive(Debug, Default)]
pub(crate) struct SchedDelay {
    schedstat: Option<File>,
    last: Option<Moment>,
    /// When the next look was planned; `None` where the agent slept until it was woken.
    planned_ns: Option<u64>,
    /// By how much the looks between two ticks were late, since the last tick.
    late_between_ns: u64,
    steal: Steal,
    throttled: Throttled,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    now_ns: u64,
    runqueue_ns: u64,
    /// By how much the clock that counts suspension is ahead of the one that does not.
    boot_offset_ns: u64,
}

impl SchedDelay {
    /// On the agent's thread.
    pub(crate) fn of_this_thread() -> Self {
        SchedDelay { schedstat: File::open("/proc/thread-self/schedstat").ok(), ..SchedDelay::default() }
    }

    /// A look begins at `now_ns`, when the clock that counts suspension showed `boot_ns`.
    pub(crate) fn look(&mut self, now_ns: u64, boot_ns: u64) -> Gap {
        let runqueue_ns = self.schedstat.as_ref().and_then(Sched::read).map_or(0, |sched| sched.runqueue_ns);
        let now = Moment { now_ns, runqueue_ns, boot_offset_ns: boot_ns.saturating_sub(now_ns) };
        self.look_between(now_ns);
        let late_ns = std::mem::take(&mut self.late_between_ns);
        let Some(last) = self.last.replace(now) else { return Gap::default() };
        let suspended_ns = now.boot_offset_ns.saturating_sub(last.boot_offset_ns);
        Gap {
            length_ns: now_ns.saturating_sub(last.now_ns),
            late_ns,
            runqueue_ns: runqueue_ns.saturating_sub(last.runqueue_ns),
            // The two clocks are read one after the other.
            suspended_ns: if suspended_ns > 1_000_000 { suspended_ns } else { 0 },
        }
    }

    /// A look between two ticks begins, at which nothing is asked of the kernel.
    pub(crate) fn look_between(&mut self, now_ns: u64) {
        let late_ns = self.planned_ns.take().map_or(0, |planned_ns| now_ns.saturating_sub(planned_ns));
        self.late_between_ns = self.late_between_ns.max(late_ns);
    }

    /// The next look is planned for this moment, `None` for whenever a loop becomes busy.
    pub(crate) fn plan(&mut self, planned_ns: Option<u64>) {
        self.planned_ns = planned_ns;
    }

    /// Returns for how long the CPU quota of the process's cgroup has held it back, in nanoseconds: at the reading before the last,
    /// and at the last. Read as often as [`SchedDelay::steal_ratio`] reads.
    pub(crate) fn throttled_ns(&mut self, now_ns: u64, is_wanted: bool) -> (u64, u64) {
        let age_ns = now_ns.saturating_sub(self.throttled.read_ns);
        if age_ns >= STEAL_EVERY_NS || is_wanted && age_ns >= STEAL_EVERY_NS / 50 {
            let throttled_ns = CpuQuota::own().map_or(0, |quota| quota.throttled_ns);
            self.throttled.take(now_ns, is_wanted, throttled_ns);
        }
        (self.throttled.before_ns, self.throttled.now_ns)
    }

    /// Returns the share of the machine's busy time that the hypervisor gave to others lately, 0 to 1. Reads the
    /// kernel's accounts at most once a second, or at once where `is_wanted`.
    pub(crate) fn steal_ratio(&mut self, now_ns: u64, is_wanted: bool) -> f64 {
        let age_ns = now_ns.saturating_sub(self.steal.read_ns);
        if age_ns >= STEAL_EVERY_NS || is_wanted && age_ns >= STEAL_EVERY_NS / 50 {
            let accounts = fs::read_to_string("/proc/stat").ok().and_then(|text| parse_accounts(&text));
            self.steal.take(now_ns, accounts);
        }
        self.steal.ratio
    }
}

/// For how long a CPU quota held this process back, as it was read.
#[derive(Clone, Copy, Debug, Default)]
struct Throttled {
    read_ns: u64,
    before_ns: u64,
    now_ns: u64,
}

impl Throttled {
    /// Takes a reading: one that is not of trouble is what the next trouble is compared with.
    fn take(&mut self, now_ns: u64, is_wanted: bool, throttled_ns: u64) {
        self.before_ns = if is_wanted { self.now_ns } else { throttled_ns };
        (self.read_ns, self.now_ns) = (now_ns, throttled_ns);
    }
}

/// The machine's accounts, in ticks since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SelfMetrics {
    stolen: u64,
    used: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Steal {
    read_ns: u64,
    accounts: Option<SelfMetrics>,
    ratio: f64,
}

impl Steal {
    fn take(&mut self, now_ns: u64, accounts: Option<SelfMetrics>) {
        if let (Some(before), Some(now)) = (self.accounts, accounts) {
            let (stolen, used) =
                (now.stolen.saturating_sub(before.stolen), now.used.saturating_sub(before.used));
            // A few ticks prove nothing.
            self.ratio = if stolen >= 5 { stolen as f64 / (stolen + used) as f64 } else { 0.0 };
        }
        (self.read_ns, self.accounts) = (now_ns, accounts);
    }
}

/// Reads the first line of proc(5)'s `stat`: user nice system idle iowait irq softirq steal.
fn parse_accounts(text: &str) -> Option<SelfMetrics> {
    let fields: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _, _, irq, softirq, stolen, ..] = fields[..] else { return None };
    Some(SelfMetrics { stolen, used: user + nice + system + irq + softirq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_told_where_a_look_was_planned() {
        let mut wake = SchedDelay::default();
        assert_eq!(wake.look(1_000, 1_000), Gap::default());
        wake.plan(Some(5_000));
        assert_eq!(wake.look(7_000, 7_000), Gap { length_ns: 6_000, late_ns: 2_000, ..Gap::default() });
        assert_eq!(wake.look(9_000, 9_000).late_ns, 0, "asleep until woken");
        wake.plan(Some(9_100));
        wake.look_between(9_150);
        wake.plan(Some(9_300));
        assert_eq!(
            wake.look(9_320, 9_320).late_ns,
            50,
            "the greatest of all looks since the last tick: small ones do not add up"
        );
        let woken = wake.look(10_000, 3_600_000_010_000);
        assert_eq!(woken.suspended_ns, 3_600_000_000_000);
    }

    #[test]
    fn a_quota_is_compared_with_the_last_reading_before_the_trouble() {
        let mut throttled = Throttled::default();
        // Calm, calm, found in trouble, trouble again.
        let told = [(false, 50), (false, 60), (true, 150), (true, 240)].map(|(is_wanted, ns)| {
            throttled.take(1, is_wanted, ns);
            (throttled.before_ns, throttled.now_ns)
        });
        assert_eq!(told, [(50, 50), (60, 60), (60, 150), (150, 240)]);
    }

    #[test]
    fn the_hypervisor_s_share_is_that_of_busy_time() {
        let accounts = |text: &str| parse_accounts(text).unwrap();
        let before = accounts("cpu  100 0 50 9000 10 0 0 40 0 0\ncpu0 1 2 3\n");
        let after = accounts("cpu  120 0 60 9500 10 5 5 100 0 0\n");
        let mut steal = Steal::default();
        steal.take(1, Some(before));
        assert_eq!(steal.ratio, 0.0);
        steal.take(2, Some(after));
        assert_eq!(steal.ratio, 0.6);
        steal.take(3, None);
        steal.take(4, Some(after));
        assert_eq!(steal.ratio, 0.6, "no two readings to compare");
        assert_eq!(parse_accounts("cpu  1 2"), None);
    }
}
