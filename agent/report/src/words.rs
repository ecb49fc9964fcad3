//! Figures in words: shares, counts, and what a runtime calls the way out.

use loopscope_probe::description::{Description, Fact, Noun, Term, Trouble};
use loopscope_probe::{Kind, Phase, Queue};
use serde::{Deserialize, Serialize};

/// What a runtime calls things, for whoever shows a loop or an incident and has not its page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuntimeWords {
    /// One entry of the loop into user code: `callback`.
    pub callback: String,
    /// Several: `callbacks`.
    pub callbacks: String,
    /// One turn of the loop, from poll to poll: `iteration`.
    pub iteration: String,
    /// Several: `iterations`.
    pub iterations: String,
    /// What a page is about: `loop`.
    pub lane: String,
    /// Several: `loops`.
    pub lanes: String,
    /// A job of the pool: `job`.
    pub job: String,
    /// Several: `jobs`.
    pub jobs: String,
    /// What runs where nothing that is told runs: `code outside any callback`.
    pub between: String,
    /// What the page is of, where its name does not say so: `the workers' timers and I/O`; else empty.
    pub about: String,
    /// What one does that waits for events: `polls`.
    pub parks: String,
    /// What one has done then: `polled`.
    pub parked: String,
}

impl RuntimeWords {
    /// Returns the words of a runtime.
    pub fn of(runtime: &Description) -> RuntimeWords {
        let pair = |term| {
            let noun = runtime.noun(term);
            (noun.one, noun.many)
        };
        let (callback, callbacks) = pair(Term::Callback);
        let (iteration, iterations) = pair(Term::Iteration);
        let (lane, lanes) = pair(Term::Lane);
        let (job, jobs) = pair(Term::PoolJob);
        RuntimeWords {
            callback,
            callbacks,
            iteration,
            iterations,
            lane,
            lanes,
            job,
            jobs,
            between: pair(Term::Between).0,
            about: pair(Term::About).0,
            parks: runtime.parks_word().to_owned(),
            parked: runtime.parked_word().to_owned(),
        }
    }
}

impl Default for RuntimeWords {
    /// The words of a loop that says nothing of itself.
    fn default() -> RuntimeWords {
        RuntimeWords::of(&Description::new())
    }
}

/// Returns the label of a phase; `None` where the runtime does not tell of phases.
pub fn known_phase(runtime: &Description, phase: Phase) -> Option<&str> {
    runtime.knows(Fact::Phases).then(|| runtime.phase_label(phase))
}

/// Returns a word as sentences begin with it.
pub fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Returns what a runtime calls a kind of callback on displays: a job by its queue.
pub fn kind_word(runtime: &Description, kind: Kind) -> &str {
    kind.queue().map_or_else(|| runtime.kind_label(kind), |queue| runtime.queue_label(queue))
}

/// Returns what people call so many runs of a kind, of which no place is known: `promise job`, `promise jobs`.
pub fn kind_many(runtime: &Description, kind: Kind, number: u64) -> String {
    runtime.kind_noun(kind, number)
}

/// Returns what runs, for displays: its kind and place, `timer flush (src/x.rs:40)`, or where no place is known (`?`), what
/// people call it; `is_many` where it stands for many.
pub fn kind_and_place(runtime: &Description, kind: Kind, place: &str, is_many: bool) -> String {
    match place {
        "" | "?" => kind_many(runtime, kind, if is_many { u64::MAX } else { 1 }),
        place if says_kind(kind_word(runtime, kind), place) => place.to_owned(),
        place => format!("{} {place}", kind_word(runtime, kind)),
    }
}

/// Tells whether a name says by itself of which kind it is, as `nextTick queue` does of `nexttick`. One with a place in code
/// has its kind before it all the same: `timer timer_flush (src/x.rs:40)`.
pub fn says_kind(kind: &str, name: &str) -> bool {
    let begin = name.get(..kind.len()).filter(|begin| !begin.is_empty());
    !name.contains([':', '(']) && begin.is_some_and(|begin| begin.eq_ignore_ascii_case(kind))
}

/// Leaves out the directories of the place in a text about a site: `flush (src/app/x.rs:40)` is `flush (x.rs:40)`. What is a
/// name stays: `GET /items (src/x.rs:1)` is `GET /items (x.rs:1)`.
pub fn without_directories(text: &str) -> String {
    let ends_with_line = |word: &str| {
        let line = word.trim_end_matches(')').rsplit_once(':').map(|(_, line)| line);
        line.is_some_and(|line| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_place = |word: &str| ends_with_line(word) || (word.starts_with('(') && word.ends_with(')'));
    let short = |whole: &str| {
        let (word, mark) = whole.split_at(whole.trim_end_matches([',', ';', ':']).len());
        if !is_place(word) {
            return whole.to_owned();
        }
        let (lead, path) = word.split_at(usize::from(word.starts_with('(')));
        format!("{lead}{}{mark}", path.rsplit('/').next().unwrap_or(path))
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// Returns the label value of the queue that is drained; empty between two jobs.
pub(crate) fn queue_label(runtime: &Description, queue: Option<Queue>) -> &str {
    queue.map_or("", |queue| runtime.queue_label(queue))
}

/// Writes a count with one of a runtime's nouns: `1 poll`, `12,345 polls`.
pub(crate) fn count_of(number: u64, noun: &Noun) -> String {
    format!("{} {}", thousands(number), noun.of(number))
}

/// Writes a share, 0 to 1, in percent: `62 %`, `0.4 %`.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 9.95 || percent == 0.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// Returns `part` of `whole`, 0 to 1; 0 of nothing.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64).min(1.0) }
}

/// Writes a count with its noun: `1 stall`, `5 stalls`, `2 processes`, `12,345 jobs`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = match number {
        1 => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", thousands(number))
}

/// Writes a rate with its noun: `340 timers/s`.
pub(crate) fn rate(number: u64, over_ns: u64) -> String {
    let per_second = number as f64 * 1e9 / over_ns.max(1) as f64;
    if per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", thousands(per_second.round() as u64))
    }
}

/// Writes a count: `12,345`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns where a runtime's programs put work that takes long.
pub(crate) fn elsewhere(runtime: &Description) -> &str {
    runtime.remedy_for(Trouble::Computing).unwrap_or("another thread")
}

/// Returns where a runtime's programs put a call that blocks.
pub(crate) fn elsewhere_to_wait(runtime: &Description) -> &str {
    runtime.remedy_for(Trouble::Waiting).unwrap_or_else(|| elsewhere(runtime))
}

/// Returns how a runtime's pool gets another number of threads; `None` where nobody knows how many it has.
pub(crate) fn pool_size(runtime: &Description, threads: Option<u64>) -> String {
    let text = runtime.remedy_for(Trouble::PoolSize).unwrap_or("give it {threads} threads");
    match threads {
        Some(threads) => text.replace("{threads}", &threads.to_string()),
        None => text.replace("{threads} threads", "more threads").replace("{threads}", "a higher number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_says_its_kind_has_it_once() {
        for (kind, name, says) in [
            ("nexttick", "nextTick queue", true),
            ("timer", "timers", true),
            ("timer", "timer_flush (src/x.rs:40)", false),
            ("timer", "timer.js:40", false),
            ("timer", "flush", false),
            ("timer", "tim", false),
            ("", "flush", false),
            ("ti", "t\u{ef}mers", false),
        ] {
            assert_eq!(says_kind(kind, name), says, "{kind} {name}");
        }
        let runtime = Description::new();
        assert_eq!(kind_and_place(&runtime, Kind::Timer, "timers", true), "timers");
        assert_eq!(kind_and_place(&runtime, Kind::Timer, "flush", true), "timer flush");
    }

    #[test]
    fn directories_are_left_out_of_places_and_not_of_names() {
        for (text, shown) in [
            ("timer flush (src/app/x.rs:40)", "timer flush (x.rs:40)"),
            ("microtask agent/cli/src/demo/routes.rs:34", "microtask routes.rs:34"),
            ("412 x io_read src/x.rs:40", "412 x io_read x.rs:40"),
            ("poll GET /items (src/routes.rs:12)", "poll GET /items (routes.rs:12)"),
            ("poll GET /items", "poll GET /items"),
            ("script main (app/server.js)", "script main (server.js)"),
            (
                "timer flush (src/app/x.rs:40), computing in src/y.rs:7: 2 x",
                "timer flush (x.rs:40), computing in y.rs:7: 2 x",
            ),
            ("", ""),
        ] {
            assert_eq!(without_directories(text), shown);
        }
    }

    #[test]
    fn a_pool_whose_size_nobody_knows_gets_no_number() {
        let runtime = Description::new().remedy(Trouble::PoolSize, "raise THREADS to {threads}");
        assert_eq!(pool_size(&runtime, None), "raise THREADS to a higher number");
        assert_eq!(pool_size(&Description::new(), None), "give it more threads");
        assert_eq!(pool_size(&Description::new(), Some(8)), "give it 8 threads");
    }

    #[test]
    fn figures_are_short() {
        let shown = [percent(0.0), percent(0.0042), percent(0.623), percent(share(5, 0))];
        assert_eq!(shown, ["0 %", "0.4 %", "62 %", "0 %"]);
        assert_eq!(
            [count(1, "stall"), count(12_345, "job"), count(0, "job")],
            ["1 stall", "12,345 jobs", "0 jobs"]
        );
        assert_eq!([rate(5, 2_000_000_000), rate(12_345, 1_000_000_000)], ["2.5/s", "12,345/s"]);
    }
}
