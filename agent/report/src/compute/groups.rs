//! Many small or one big: what a busy period consisted of, by kind and site.

use crate::duration::show_ns;
use crate::words::{kind_many, kind_word, says_kind, thousands};
use loopscope_probe::description::{Description, Term};
use loopscope_probe::raw::clock::Scale;
use loopscope_probe::raw::record::CallbackRecord;
use loopscope_probe::{Kind, NowValues, SiteId, Ticks};
use std::collections::HashMap;

/// Kinds and sites told apart within one busy period; what comes after is counted, but in no group.
const GROUPS_MAX: usize = 256;

/// What ran at one site within a busy period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSum {
    pub kind: Kind,
    pub site: SiteId,
    /// For drained jobs, the callback after which the longest part of them ran.
    pub parent: SiteId,
    /// How many ran, as far as that is known; about, where that is more than `seen`.
    pub count: u64,
    /// False where some were told as one, a batch or a drain, without their number.
    pub is_counted: bool,
    /// How long they took together, in nanoseconds; about, where that is more than `seen_ns`.
    pub total_ns: u64,
    /// Of `count` and `total_ns`, what was seen before the recorder overwrote it.
    pub seen: u64,
    pub seen_ns: u64,
    /// The longest that was told by itself; 0 where all were told as batches or drains.
    pub longest_ns: u64,
}

impl GroupSum {
    fn empty(kind: Kind, site: SiteId, parent: SiteId) -> GroupSum {
        let (count, total_ns, seen, seen_ns, longest_ns) = (0, 0, 0, 0, 0);
        GroupSum { kind, site, parent, count, is_counted: true, total_ns, seen, seen_ns, longest_ns }
    }
}

/// Adds up the callbacks of one busy period, look by look.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    sums: HashMap<(Kind, SiteId), (GroupSum, u64)>,
    /// Records added, those without a group included.
    counted: u64,
    /// Records that were passed over before anybody saw them, at most; `None` where nobody knows.
    passed_over: Option<u64>,
    /// Of them, those that lay between two records of this group.
    between: HashMap<(Kind, SiteId), u64>,
    /// The group of the last record.
    last: Option<(Kind, SiteId)>,
}

/// What one record, or what runs, adds to its group.
#[derive(Clone, Copy)]
struct GroupedRun {
    kind: Kind,
    site: SiteId,
    parent: SiteId,
    /// For many told as one: how many, 0 where not known.
    many: Option<u64>,
    ns: u64,
}

impl Groups {
    /// Adds callbacks that have ended, of each the part from `begin` on.
    pub fn add(&mut self, records: &[CallbackRecord], begin: Ticks, scale: Scale) {
        for record in records {
            let CallbackRecord { kind, site, parent, many, .. } = *record;
            let ns = scale.duration_ns(record.end.since(record.start.max(begin)));
            self.add_one(GroupedRun { kind, site, parent, many, ns });
        }
    }

    /// Says how many records more were passed over, where it is known of all of them; `next` is the one behind them.
    pub fn pass_over(&mut self, records: u64, next: Option<&CallbackRecord>) {
        self.passed_over = Some(self.passed_over.unwrap_or(0).saturating_add(records));
        let next = next.map(|record| (record.kind, record.site));
        // Of those before the first one, it is the only neighbour.
        if let Some(group) = next.filter(|next| self.last.is_none_or(|last| last == *next)) {
            let between = self.between.entry(group).or_default();
            *between = between.saturating_add(records);
        }
    }

    fn add_one(&mut self, GroupedRun { kind, site, parent, many, ns }: GroupedRun) {
        self.counted += 1;
        self.last = Some((kind, site));
        if self.sums.len() >= GROUPS_MAX && !self.sums.contains_key(&(kind, site)) {
            return;
        }
        let (sum, parent_ns) =
            self.sums.entry((kind, site)).or_insert((GroupSum::empty(kind, site, parent), 0));
        sum.seen = sum.seen.saturating_add(many.unwrap_or(1));
        sum.is_counted &= many != Some(0);
        sum.seen_ns = sum.seen_ns.saturating_add(ns);
        (sum.count, sum.total_ns) = (sum.seen, sum.seen_ns);
        if matches!(many, None | Some(1)) {
            sum.longest_ns = sum.longest_ns.max(ns);
        }
        // The parent of most time, by the majority vote that needs no table.
        if sum.parent == parent {
            *parent_ns = parent_ns.saturating_add(ns);
        } else if *parent_ns < ns {
            (sum.parent, *parent_ns) = (parent, ns - *parent_ns);
        } else {
            *parent_ns -= ns;
        }
    }

    /// Returns how many records of the busy period were overwritten before anybody saw them, as of `now`, as far as that is
    /// known.
    pub fn unseen(&self, now: &NowValues) -> u64 {
        let uncounted = now.busy_callbacks.saturating_sub(self.counted);
        // The page tells the number of a busy period only while that lasts.
        match self.passed_over {
            Some(passed_over) if now.busy_callbacks == 0 => passed_over,
            Some(passed_over) => passed_over.min(uncounted),
            None => uncounted,
        }
    }

    /// Returns the groups of a busy period of `busy_ns` as of `now`, whose running callback is added: the longest
    /// in sum first. Callbacks that the recorder forgot before anybody saw them ([`Groups::unseen`]) are of the group on both
    /// sides of them, and else shared out in proportion, also after the end: numbers and sums are an estimate then.
    pub fn sums(&self, now: &NowValues, busy_ns: u64) -> Vec<GroupSum> {
        let mut all = self.clone();
        if let Some(running) = now.running
            && let Some(kind) = running.kind
        {
            let (site, many) = (running.site, running.is_many.then_some(0));
            // What began before a poll that was not told has run for longer than the busy period.
            let ns = if now.busy_ns > 0 { now.running_ns.min(now.busy_ns) } else { now.running_ns };
            all.add_one(GroupedRun { kind, site, parent: SiteId::NONE, many, ns });
            if let Some((sum, _)) = all.sums.get_mut(&(kind, running.site))
                && let Some((before, _)) = self.sums.get(&(kind, running.site))
            {
                sum.parent = before.parent;
            }
        }
        let seen = self.counted.max(1);
        let forgotten = self.unseen(now);
        let mut sums: Vec<GroupSum> = all.sums.into_values().map(|(sum, _)| sum).collect();
        if forgotten > 0 {
            let seen_ns = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.total_ns));
            // All of them together took no longer than the busy period: the forgotten ones may have been shorter.
            let forgotten_ns = part(seen_ns, forgotten, seen).min(busy_ns.saturating_sub(seen_ns));
            let all_between = self.between.values().fold(0, |all: u64, between| all.saturating_add(*between));
            let between = all_between.min(forgotten);
            for sum in &mut sums {
                let own = self.between.get(&(sum.kind, sum.site)).copied().unwrap_or(0);
                let shared = part(sum.count, forgotten - between, seen);
                sum.count = sum.count.saturating_add(part(own, between, all_between)).saturating_add(shared);
                sum.total_ns = sum.total_ns.saturating_add(part(sum.total_ns, forgotten_ns, seen_ns));
            }
        }
        // Of equals the lowest number, so that the same busy period always reads alike.
        sums.sort_by_key(|sum| (std::cmp::Reverse(sum.total_ns), sum.kind.index(), sum.site));
        sums
    }
}

/// Returns `value * count / whole`, 0 of nothing, at most `u64::MAX`.
fn part(value: u64, count: u64, whole: u64) -> u64 {
    let part = u128::from(value) * u128::from(count) / u128::from(whole.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Says what a busy period of `busy_ns` consisted of: `1 callback of 203 ms`, or
/// `412 callbacks of 500 µs: 388 x io_read at src/x.rs:40`; of many that were told as one,
/// `an unknown number of callbacks in 2.0 s: microtask at src/x.rs:40`. Where not all were seen, it says so, and has no
/// length of those that were not: `40,000 callbacks, the 4,096 observed of 500 ns each: about 38,000 x ...`. What has no
/// known place is called by its kind: `150 ticks`. In the words of `runtime`; `label` names a site.
pub fn summary(
    sums: &[GroupSum],
    busy_ns: u64,
    runtime: &Description,
    label: impl FnOnce(SiteId) -> String,
) -> String {
    let callback = runtime.callback();
    let count = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.count));
    let Some(longest) = sums.iter().max_by_key(|sum| sum.longest_ns) else {
        // Who has a word for what runs between callbacks is not told of all of them: so none is not what is known.
        let (between, lasted) = (runtime.noun(Term::Between), show_ns(busy_ns));
        return match between == Description::new().noun(Term::Between) {
            true => format!("no {} for {lasted}", callback.one),
            false => format!("{} for {lasted}", between.one),
        };
    };
    if longest.longest_ns > busy_ns / 2 {
        let one = format!("1 {} of {}", callback.one, show_ns(longest.longest_ns));
        return match count.saturating_sub(1) {
            0 => one,
            1 => format!("{one} and a shorter one"),
            others => format!("{one} and {others} shorter ones"),
        };
    }
    let heaviest = &sums[0];
    let what = heaviest_words(heaviest, runtime, &label(heaviest.site));
    let seen = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.seen));
    let seen_ns = sums.iter().fold(0, |all: u64, sum| all.saturating_add(sum.seen_ns));
    let (number, noun, took) = (thousands(count), callback.of(count), show_ns(seen_ns));
    let mean = show_ns(seen_ns / seen.max(1));
    let has_all = seen == count && sums.iter().all(|sum| sum.seen_ns == sum.total_ns);
    match (sums.iter().all(|sum| sum.is_counted), heaviest.is_counted, has_all) {
        (true, _, true) => format!("{number} {noun} of {mean}: {what}"),
        (true, _, false) => {
            format!("{number} {noun}, the {} observed of {mean} each: {what}", thousands(seen))
        }
        (false, true, true) => format!("at least {number} {noun} in {took}: {what}"),
        (false, false, true) => format!("an unknown number of {} in {took}: {what}", callback.many),
        // How many a drain stands for that was not seen, nobody knows either.
        (false, _, false) => {
            format!("an unknown number of {}, {took} of them observed: {what}", callback.many)
        }
    }
}

/// Says what took most of a busy period: `388 x io_read at src/x.rs:40`.
fn heaviest_words(sum: &GroupSum, runtime: &Description, place: &str) -> String {
    let about = if sum.count > sum.seen { "about " } else { "" };
    let times = |by: &str| {
        if sum.is_counted { format!("{about}{}{by}", thousands(sum.count)) } else { String::new() }
    };
    if place == "?" {
        let number = if sum.is_counted { sum.count } else { u64::MAX };
        return format!("{}{}", times(" "), kind_many(runtime, sum.kind, number));
    }
    if says_kind(kind_word(runtime, sum.kind), place) {
        return format!("{}{place}", times(" x "));
    }
    let at = if place.contains(" (") { " " } else { " at " };
    format!("{}{}{at}{place}", times(" x "), kind_word(runtime, sum.kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::Phase;
    use loopscope_probe::Queue;
    use loopscope_probe::raw::now::Running;

    const MS: u64 = 1_000_000;

    fn record(kind: Kind, site: u16, parent: u16, ns: u64) -> CallbackRecord {
        CallbackRecord {
            number: 0,
            kind,
            site: SiteId::from(site),
            parent: SiteId::from(parent),
            phase: Phase::POLL,
            many: None,
            ready: Ticks::NONE,
            start: Ticks(1_000),
            end: Ticks(1_000 + ns),
        }
    }

    fn running(kind: Kind, site: u16, ns: u64, busy_callbacks: u64) -> NowValues {
        let running = Running {
            phase: Phase::POLL,
            kind: Some(kind),
            site: SiteId::from(site),
            queue: None,
            is_many: false,
            since: Ticks(1),
        };
        NowValues { running: Some(running), running_ns: ns, busy_callbacks, ..NowValues::IDLE }
    }

    fn groups(records: &[CallbackRecord]) -> Groups {
        let mut groups = Groups::default();
        groups.add(records, Ticks::NONE, Scale::NANOSECONDS);
        groups
    }

    fn words(sums: &[GroupSum], busy_ms: u64) -> String {
        words_of(sums, busy_ms, &Description::new())
    }

    fn words_of(sums: &[GroupSum], busy_ms: u64, runtime: &Description) -> String {
        summary(sums, busy_ms * MS, runtime, |site| format!("src/x.rs:{}", site.as_u16()))
    }

    #[test]
    fn one_big_callback_is_told_from_many_small_ones() {
        let sums = groups(&[]).sums(&running(Kind::Timer, 4, 203 * MS, 0), 0);
        assert_eq!(words(&sums, 203), "1 callback of 203 ms");
        let before = vec![record(Kind::IoRead, 2, 0, MS); 37];
        let sums = groups(&before).sums(&running(Kind::Timer, 4, 170 * MS, 37), 0);
        assert_eq!(words(&sums, 210), "1 callback of 170 ms and 37 shorter ones");
        let mut many = vec![record(Kind::IoRead, 40, 0, MS / 2); 387];
        many.extend(vec![record(Kind::Timer, 9, 0, MS / 2); 24]);
        let sums = groups(&many).sums(&running(Kind::IoRead, 40, MS / 2, 411), 0);
        assert_eq!(words(&sums, 206), "412 callbacks of 500 µs: 388 x io_read at src/x.rs:40");
        assert_eq!((sums[1].count, sums[1].total_ns), (24, 12 * MS));
        assert_eq!(words(&groups(&[]).sums(&NowValues::IDLE, 0), 300), "no callback for 300 ms");
    }

    #[test]
    fn what_the_recorder_forgot_is_shared_out() {
        let mut seen = vec![record(Kind::Tick, 3, 8, MS / 100); 3_000];
        seen.extend(vec![record(Kind::Microtask, 5, 8, MS / 100); 1_000]);
        // The forgotten ones cannot have taken longer than there was time.
        for (busy_ms, total_ms) in [(400, [300, 100]), (500, [300, 100]), (200, [150, 50]), (0, [30, 10])] {
            let now = NowValues { busy_callbacks: 40_000, busy_ns: busy_ms * MS, ..NowValues::IDLE };
            let sums = groups(&seen).sums(&now, now.busy_ns);
            assert_eq!((sums[0].kind, sums[0].count, sums[1].count), (Kind::Tick, 30_000, 10_000));
            assert_eq!([sums[0].total_ns, sums[1].total_ns], total_ms.map(|ms| ms * MS));
        }
    }

    #[test]
    fn the_parent_is_the_one_of_most_time() {
        let mut seen = vec![record(Kind::Microtask, 3, 1, MS)];
        seen.extend(vec![record(Kind::Microtask, 3, 8, MS); 5]);
        seen.push(record(Kind::Microtask, 3, 2, MS));
        assert_eq!(groups(&seen).sums(&running(Kind::Microtask, 3, MS, 7), 0)[0].parent, SiteId::from(8));
    }

    #[test]
    fn a_drain_told_as_a_whole_is_as_many_as_it_says_and_none_of_them_long() {
        let drain = |number| CallbackRecord { many: Some(number), ..record(Kind::Microtask, 3, 1, 190 * MS) };
        let words = |records: &[CallbackRecord]| words(&groups(records).sums(&NowValues::IDLE, 0), 200);
        let timer = record(Kind::Timer, 4, 0, 10 * MS);
        assert_eq!(
            words(&[drain(1_000), timer]),
            "1,001 callbacks of 200 µs: 1,000 x microtask at src/x.rs:3"
        );
        assert_eq!(
            words(&[drain(0), timer]),
            "an unknown number of callbacks in 200 ms: microtask at src/x.rs:3"
        );
        assert_eq!(words(&[drain(1), timer]), "1 callback of 190 ms and a shorter one", "a drain of one job");
        let mut now = running(Kind::Immediate, 7, 190 * MS, 0);
        now.running = now.running.map(|running| Running { is_many: true, ..running });
        let sums = groups(&[]).sums(&now, now.busy_ns);
        assert_eq!((sums[0].is_counted, sums[0].longest_ns), (false, 0));
        let text = words_of(&sums, 200, &Description::new());
        assert_eq!(text, "an unknown number of callbacks in 190 ms: immediate at src/x.rs:7");
    }

    #[test]
    fn what_has_no_place_is_called_by_its_kind() {
        let runtime = Description::new().queue(Queue::NextTick, "tick", "tick", "ticks");
        let words = |records: &[CallbackRecord]| {
            summary(&groups(records).sums(&NowValues::IDLE, 0), 200 * MS, &runtime, |_| "?".to_owned())
        };
        let ticks = vec![record(Kind::Tick, 0, 0, MS); 150];
        assert_eq!(words(&ticks), "150 callbacks of 1.0 ms: 150 ticks");
        let batch = CallbackRecord { many: Some(0), ..record(Kind::Timer, 4, 0, 0) };
        assert_eq!(words(&[ticks, vec![batch]].concat()), "at least 150 callbacks in 150 ms: 150 ticks");
        let drain = CallbackRecord { many: Some(0), ..record(Kind::Tick, 0, 0, 190 * MS) };
        assert_eq!(words(&[drain]), "an unknown number of callbacks in 190 ms: ticks");
    }

    #[test]
    fn a_queue_that_is_named_so_is_named_once() {
        let drain = CallbackRecord { many: Some(0), ..record(Kind::Tick, 3, 0, 190 * MS) };
        let told = |records: &[CallbackRecord]| {
            let sums = groups(records).sums(&NowValues::IDLE, 0);
            summary(&sums, 200 * MS, &Description::new(), |_| "nextTick queue".to_owned())
        };
        assert_eq!(told(&[drain]), "an unknown number of callbacks in 190 ms: nextTick queue");
        let ticks = vec![record(Kind::Tick, 3, 0, MS); 150];
        assert_eq!(told(&ticks), "150 callbacks of 1.0 ms: 150 x nextTick queue");
    }

    #[test]
    fn what_was_forgotten_is_counted_after_the_end_too() {
        let mut seen = groups(&vec![record(Kind::Microtask, 3, 0, 500); 16_254]);
        seen.pass_over(470_959, None);
        let sums = seen.sums(&NowValues::IDLE, 300 * MS);
        assert_eq!((sums[0].count, sums[0].total_ns), (487_213, 243_606_500));
        assert_eq!((sums[0].seen, sums[0].seen_ns), (16_254, 8_127_000));
        assert_eq!(
            words(&sums, 300),
            "487,213 callbacks, the 16,254 observed of 500 ns each: about 487,213 x microtask at src/x.rs:3"
        );
    }

    /// A flood is looked at again and again, and what runs once at its end is seen for sure: it stands for no others.
    #[test]
    fn what_was_forgotten_between_two_of_a_flood_is_of_the_flood() {
        let (job, other) = (record(Kind::Microtask, 3, 2, 500), record(Kind::Timer, 4, 0, 500));
        let mut seen = Groups::default();
        seen.pass_over(1_000, Some(&job));
        for forgotten in [0, 90_000, 9_000] {
            seen.pass_over(forgotten, Some(&job));
            seen.add(&[job; 100], Ticks::NONE, Scale::NANOSECONDS);
        }
        seen.add(&[other], Ticks::NONE, Scale::NANOSECONDS);
        let count = |seen: &Groups| -> Vec<_> {
            seen.sums(&NowValues::IDLE, 300 * MS).iter().map(|sum| (sum.kind, sum.count)).collect()
        };
        assert_eq!(count(&seen), [(Kind::Microtask, 100_300), (Kind::Timer, 1)]);
        // Of what lies between two kinds nobody knows.
        seen.pass_over(301, Some(&job));
        assert_eq!(count(&seen), [(Kind::Microtask, 100_600), (Kind::Timer, 2)]);
    }

    #[test]
    fn no_length_is_told_of_what_nobody_saw() {
        // There was no time for as many as long as those that were seen: the others were shorter, by how much nobody knows.
        let mut seen = groups(&vec![record(Kind::Tick, 3, 0, 10_000); 4_096]);
        seen.pass_over(35_904, None);
        let sums = seen.sums(&NowValues::IDLE, 200 * MS);
        assert_eq!(
            words(&sums, 200),
            "40,000 callbacks, the 4,096 observed of 10 µs each: about 40,000 x nexttick at src/x.rs:3"
        );
        let drain = CallbackRecord { many: Some(0), ..record(Kind::Microtask, 3, 0, 10 * MS) };
        let mut seen = groups(&[drain]);
        seen.pass_over(9, None);
        let sums = seen.sums(&NowValues::IDLE, 200 * MS);
        assert_eq!(
            words(&sums, 200),
            "an unknown number of callbacks, 10 ms of them observed: microtask at src/x.rs:3"
        );
    }

    #[test]
    fn a_runtime_has_its_own_words() {
        let runtime = Description::new()
            .term(Term::Callback, "poll", "polls")
            .term(Term::Between, "a poll that no hook tells of", "")
            .kind(Kind::Task, "task poll", "poll", "polls");
        let words = |sums: &[GroupSum], ms| words_of(sums, ms, &runtime);
        assert_eq!(words(&[], 300), "a poll that no hook tells of for 300 ms");
        let one = groups(&[]).sums(&running(Kind::Task, 4, 203 * MS, 0), 0);
        assert_eq!(words(&one, 203), "1 poll of 203 ms");
        let many = groups(&vec![record(Kind::Task, 4, 0, MS); 200]).sums(&NowValues::IDLE, 0);
        assert_eq!(words(&many, 203), "200 polls of 1.0 ms: 200 x task poll at src/x.rs:4");
    }

    #[test]
    fn what_was_before_a_hidden_poll_was_not_forgotten() {
        let mut seen = groups(&[record(Kind::Task, 4, 0, MS)]);
        let now = NowValues { busy_callbacks: 900, busy_ns: 50 * MS, ..NowValues::IDLE };
        assert_eq!(seen.sums(&now, now.busy_ns)[0].count, 900);
        seen.pass_over(0, None);
        assert_eq!(seen.sums(&now, now.busy_ns)[0].count, 1);
        seen.pass_over(9, None);
        assert_eq!(seen.sums(&now, now.busy_ns)[0].count, 10);
    }
}
