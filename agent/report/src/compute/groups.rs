//! Many small or one big: what a busy stretch consisted of, by kind and site.

use crate::duration::show_ns;
use loopscope_probe::clock::Scale;
use loopscope_probe::record::Record;
use loopscope_probe::{Kind, NowValues, SiteId};
use std::collections::HashMap;

/// Kinds and sites told apart within one stretch; what comes after is counted, but in no group.
const GROUPS_MAX: usize = 256;

/// What ran at one site within a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSum {
    pub kind: Kind,
    pub site: SiteId,
    /// For drained jobs, the callback after which the longest part of them ran.
    pub parent: SiteId,
    pub count: u64,
    pub total_ns: u64,
    pub longest_ns: u64,
}

/// Adds up the callbacks of one stretch, look by look.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    sums: HashMap<(Kind, SiteId), (GroupSum, u64)>,
    /// Callbacks added, those without a group included.
    counted: u64,
}

impl Groups {
    /// Adds callbacks that have ended.
    pub fn add(&mut self, records: &[Record], scale: Scale) {
        for record in records {
            self.add_one(
                record.kind,
                record.site,
                record.parent,
                scale.duration_ns(record.end.since(record.start)),
            );
        }
    }

    fn add_one(&mut self, kind: Kind, site: SiteId, parent: SiteId, ns: u64) {
        self.counted += 1;
        if self.sums.len() >= GROUPS_MAX && !self.sums.contains_key(&(kind, site)) {
            return;
        }
        let new = GroupSum { kind, site, parent, count: 0, total_ns: 0, longest_ns: 0 };
        let (sum, parent_ns) = self.sums.entry((kind, site)).or_insert((new, 0));
        sum.count += 1;
        sum.total_ns = sum.total_ns.saturating_add(ns);
        sum.longest_ns = sum.longest_ns.max(ns);
        // The parent of most time, by the majority vote that needs no table.
        if sum.parent == parent {
            *parent_ns = parent_ns.saturating_add(ns);
        } else if *parent_ns < ns {
            (sum.parent, *parent_ns) = (parent, ns - *parent_ns);
        } else {
            *parent_ns -= ns;
        }
    }

    /// Returns the groups as of `now`, whose running callback is added: the longest in sum first. Callbacks that the
    /// recorder forgot before anybody saw them are shared out in proportion.
    pub fn sums(&self, now: &NowValues) -> Vec<GroupSum> {
        let mut all = self.clone();
        if let Some(running) = now.running
            && let Some(kind) = running.kind
        {
            all.add_one(kind, running.site, SiteId::NONE, now.running_ns);
            if let Some((sum, _)) = all.sums.get_mut(&(kind, running.site))
                && let Some((before, _)) = self.sums.get(&(kind, running.site))
            {
                sum.parent = before.parent;
            }
        }
        let seen = self.counted.max(1);
        let forgotten = now.stretch_callbacks.saturating_sub(self.counted);
        let mut sums: Vec<GroupSum> = all.sums.into_values().map(|(sum, _)| sum).collect();
        if forgotten > 0 {
            let seen_ns = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.total_ns));
            // All of them together took no longer than the stretch: the forgotten ones may have been shorter.
            let forgotten_ns = part(seen_ns, forgotten, seen).min(now.busy_ns.saturating_sub(seen_ns));
            for sum in &mut sums {
                sum.count = sum.count.saturating_add(part(sum.count, forgotten, seen));
                sum.total_ns = sum.total_ns.saturating_add(part(sum.total_ns, forgotten_ns, seen_ns));
            }
        }
        // Of equals the lowest number, so that the same stretch always reads alike.
        sums.sort_by_key(|sum| (std::cmp::Reverse(sum.total_ns), sum.kind.index(), sum.site));
        sums
    }
}

/// Returns `value * count / whole`, 0 of nothing, at most `u64::MAX`.
fn part(value: u64, count: u64, whole: u64) -> u64 {
    let part = u128::from(value) * u128::from(count) / u128::from(whole.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Says what a stretch of `stretch_ns` consisted of: `1 callback of 203 ms`, or `412 callbacks of 500 µs: 388 x io_read
/// at src/x.rs:40`. `label` names a site.
pub fn summary(sums: &[GroupSum], stretch_ns: u64, label: impl FnOnce(SiteId) -> String) -> String {
    let count = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.count));
    let Some(longest) = sums.iter().max_by_key(|sum| sum.longest_ns) else {
        return format!("no callback for {}", show_ns(stretch_ns));
    };
    if longest.longest_ns > stretch_ns / 2 {
        let one = format!("1 callback of {}", show_ns(longest.longest_ns));
        return match count.saturating_sub(1) {
            0 => one,
            1 => format!("{one} and a shorter one"),
            others => format!("{one} and {others} shorter ones"),
        };
    }
    let total_ns = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.total_ns));
    let heaviest = &sums[0];
    let place = label(heaviest.site);
    let at = if place.contains(" (") { " " } else { " at " };
    let what = format!("{} x {}{at}{place}", heaviest.count, heaviest.kind.name());
    format!("{count} callbacks of {}: {what}", show_ns(total_ns / count.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::now::Running;
    use loopscope_probe::{Phase, Ticks};

    const MS: u64 = 1_000_000;

    fn record(kind: Kind, site: u16, parent: u16, ns: u64) -> Record {
        Record {
            number: 0,
            kind,
            site: SiteId(site),
            parent: SiteId(parent),
            phase: Phase::POLL,
            many: None,
            ready: Ticks::NONE,
            start: Ticks(1_000),
            end: Ticks(1_000 + ns),
        }
    }

    fn running(kind: Kind, site: u16, ns: u64, stretch_callbacks: u64) -> NowValues {
        let running = Running {
            phase: Phase::POLL,
            kind: Some(kind),
            site: SiteId(site),
            queue: None,
            is_many: false,
            since: Ticks(1),
        };
        NowValues { running: Some(running), running_ns: ns, stretch_callbacks, ..NowValues::IDLE }
    }

    fn groups(records: &[Record]) -> Groups {
        let mut groups = Groups::default();
        groups.add(records, Scale::NANOSECONDS);
        groups
    }

    fn words(sums: &[GroupSum], stretch_ms: u64) -> String {
        summary(sums, stretch_ms * MS, |site| format!("src/x.rs:{}", site.0))
    }

    #[test]
    fn one_big_callback_is_told_from_many_small_ones() {
        let sums = groups(&[]).sums(&running(Kind::Timer, 4, 203 * MS, 0));
        assert_eq!(words(&sums, 203), "1 callback of 203 ms");
        let before = vec![record(Kind::IoRead, 2, 0, MS); 37];
        let sums = groups(&before).sums(&running(Kind::Timer, 4, 170 * MS, 37));
        assert_eq!(words(&sums, 210), "1 callback of 170 ms and 37 shorter ones");
        let mut many = vec![record(Kind::IoRead, 40, 0, MS / 2); 387];
        many.extend(vec![record(Kind::Timer, 9, 0, MS / 2); 24]);
        let sums = groups(&many).sums(&running(Kind::IoRead, 40, MS / 2, 411));
        assert_eq!(words(&sums, 206), "412 callbacks of 500 µs: 388 x io_read at src/x.rs:40");
        assert_eq!((sums[1].count, sums[1].total_ns), (24, 12 * MS));
        assert_eq!(words(&groups(&[]).sums(&NowValues::IDLE), 300), "no callback for 300 ms");
    }

    #[test]
    fn what_the_recorder_forgot_is_shared_out() {
        let mut seen = vec![record(Kind::Tick, 3, 8, MS / 100); 3_000];
        seen.extend(vec![record(Kind::Microtask, 5, 8, MS / 100); 1_000]);
        // The forgotten ones cannot have taken longer than there was time.
        for (busy_ms, total_ms) in [(400, [300, 100]), (500, [300, 100]), (200, [150, 50]), (0, [30, 10])] {
            let now = NowValues { stretch_callbacks: 40_000, busy_ns: busy_ms * MS, ..NowValues::IDLE };
            let sums = groups(&seen).sums(&now);
            assert_eq!((sums[0].kind, sums[0].count, sums[1].count), (Kind::Tick, 30_000, 10_000));
            assert_eq!([sums[0].total_ns, sums[1].total_ns], total_ms.map(|ms| ms * MS));
        }
    }

    #[test]
    fn the_parent_is_the_one_of_most_time() {
        let mut seen = vec![record(Kind::Microtask, 3, 1, MS)];
        seen.extend(vec![record(Kind::Microtask, 3, 8, MS); 5]);
        seen.push(record(Kind::Microtask, 3, 2, MS));
        assert_eq!(groups(&seen).sums(&running(Kind::Microtask, 3, MS, 7))[0].parent, SiteId(8));
    }
}
