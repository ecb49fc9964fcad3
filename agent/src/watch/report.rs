//! One thing worth a line in the program's log, and the words for it.

use crate::compute::starvation::{Cause, Verdict};
use loopscope_probe::site::Site;

/// What happened to a loop or its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The loop has not polled for longer than the threshold.
    StallBegan,
    /// It still has not; this many times the threshold.
    StallLasts(u64),
    /// It polls again.
    StallEnded,
    /// It was over before the agent looked.
    StallMissed,
    /// All threads of the pool have been busy with jobs waiting for longer than the threshold.
    PoolBegan { threads: u64, queued: u64, oldest_wait_ns: u64 },
    /// They still are; this many times the threshold.
    PoolLasts { times: u64, threads: u64, queued: u64, oldest_wait_ns: u64 },
    /// A thread is free or the queue is empty again.
    PoolEnded,
}

/// Who or what is to blame for a stall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    pub cause: Cause,
    /// `timer at src/main.rs:40`.
    pub culprit: String,
    /// How many runs share the stretch; 1 for a single long one.
    pub runs: u64,
}

/// One line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub event: Event,
    /// The label of the loop.
    pub subject: String,
    pub blame: Option<Blame>,
    /// How long it has lasted, or did last, in nanoseconds.
    pub age_ns: u64,
    /// Past the critical threshold.
    pub is_critical: bool,
}

impl Blame {
    /// Puts a verdict into words; `site` is the verdict's site where the page knows it.
    pub(crate) fn new(verdict: &Verdict, site: Option<&Site>) -> Self {
        let place = site.map(Site::label).filter(|label| label != "?");
        let culprit = match (verdict.kind, place) {
            (None, _) => "code outside any callback".to_owned(),
            (Some(kind), None) => format!("{} at an unknown place", kind.name()),
            (Some(kind), Some(place)) if site.is_some_and(|site| !site.name.is_empty()) => {
                format!("{} {place}", kind.name())
            }
            (Some(kind), Some(place)) => format!("{} at {place}", kind.name()),
        };
        Blame { cause: verdict.cause, culprit, runs: verdict.runs }
    }

    /// Returns what the stall is, up to its duration.
    pub(crate) fn words(&self) -> String {
        if self.cause == Cause::Callback && self.runs <= 1 {
            return format!("blocked by {}", self.culprit);
        }
        let flood = match self.cause {
            Cause::Microtask => "microtasks",
            Cause::NextTick => "nextTick jobs",
            Cause::Immediate => "immediates",
            Cause::Timer => "timers",
            Cause::Io => "I/O callbacks",
            Cause::Callback => "callbacks",
        };
        format!("starved by {} {flood}, most of the time in {}", self.runs, self.culprit)
    }
}

impl Report {
    /// Returns the line for people.
    pub(crate) fn message(&self) -> String {
        let (subject, age) = (&self.subject, age_text(self.age_ns));
        let blame = self.blame.as_ref().map_or_else(|| "blocked".to_owned(), Blame::words);
        match &self.event {
            Event::StallBegan => format!("loop {subject} {blame} for {age}"),
            Event::StallLasts(times) => {
                format!("loop {subject} still {blame} for {age}, {times} times the threshold")
            }
            Event::StallEnded => format!("loop {subject} polls again after {age}; it was {blame}"),
            Event::StallMissed => format!("loop {subject} was {blame} for about {age}"),
            Event::PoolBegan { threads, queued, oldest_wait_ns } => format!(
                "pool of loop {subject} saturated for {age}: {threads} threads busy, {queued} jobs waiting, the oldest for {}",
                age_text(*oldest_wait_ns)
            ),
            Event::PoolLasts { times, threads, queued, oldest_wait_ns } => format!(
                "pool of loop {subject} still saturated for {age}, {times} times the threshold: {threads} threads busy, {queued} jobs waiting, the oldest for {}",
                age_text(*oldest_wait_ns)
            ),
            Event::PoolEnded => format!("pool of loop {subject} no longer saturated after {age}"),
        }
    }

    /// Tells whether the line is good news.
    pub(crate) fn is_end(&self) -> bool {
        matches!(self.event, Event::StallEnded | Event::PoolEnded)
    }
}

/// Returns a duration for people: `203 ms`, `1.25 s`.
pub(crate) fn age_text(ns: u64) -> String {
    match ns {
        0..10_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..60_000_000_000 => format!("{:.2} s", ns as f64 / 1e9),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Kind, SiteId};

    fn site(name: &str) -> Site {
        Site { kind: Kind::Timer, name: name.into(), file: "src/x.rs".into(), line: 40, column: 9 }
    }

    fn verdict(cause: Cause, runs: u64) -> Verdict {
        Verdict { cause, kind: Some(Kind::Timer), site: SiteId(1), runs, longest_ns: 0 }
    }

    fn message(event: Event, blame: Option<Blame>) -> String {
        Report { event, subject: "main".into(), blame, age_ns: 203_400_000, is_critical: false }.message()
    }

    #[test]
    fn a_block_names_its_callback() {
        let blame = Blame::new(&verdict(Cause::Callback, 1), Some(&site("")));
        assert_eq!(
            message(Event::StallBegan, Some(blame)),
            "loop main blocked by timer at src/x.rs:40 for 203 ms"
        );
        let blame = Blame::new(&verdict(Cause::Callback, 1), Some(&site("flush")));
        assert_eq!(
            message(Event::StallEnded, Some(blame)),
            "loop main polls again after 203 ms; it was blocked by timer flush (src/x.rs:40)"
        );
    }

    #[test]
    fn starvation_names_the_flood_and_its_site() {
        let blame = Blame::new(&verdict(Cause::Microtask, 18_234), Some(&site("")));
        assert_eq!(
            message(Event::StallLasts(2), Some(blame)),
            "loop main still starved by 18234 microtasks, most of the time in timer at src/x.rs:40 for 203 ms, 2 times the threshold"
        );
    }

    #[test]
    fn unknown_culprits_are_said_to_be_unknown() {
        let nobody = Verdict { kind: None, ..verdict(Cause::Callback, 0) };
        assert_eq!(Blame::new(&nobody, None).culprit, "code outside any callback");
        assert_eq!(Blame::new(&verdict(Cause::Callback, 1), None).culprit, "timer at an unknown place");
    }

    #[test]
    fn ages_are_short() {
        for (ns, text) in [(1_400_000, "1.4 ms"), (203_999_999, "203 ms"), (1_250_000_000, "1.25 s")] {
            assert_eq!(age_text(ns), text);
        }
        assert_eq!(age_text(125_000_000_000), "125 s");
    }
}
