//! The bound on a line of the program's log: what one that would be too long does without, and how its names become shorter.

use loopscope_probe::raw::incident_id::IncidentId;
use loopscope_report::short_names::{one_line, short_names, without_middle};

/// Letters of a line, its incident's id included: so much fits a terminal that is wide.
pub(crate) const LINE_MAX: usize = 160;

/// How much a line says. Each has what the next one has, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Without what a flood follows, and what a pool's longest job calls with which arguments.
    Shortest,
    /// Without how long the thread did what.
    Least,
    /// Without the function in which the thread was found.
    WithoutFrame,
    /// Without what the busy period consisted of, and how often it had lasted for the threshold.
    WithoutSummary,
    Whole,
}

/// How names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Whole,
    /// Of long names of functions, where they are from and what they are called.
    Short,
    /// The same, and places without their directories.
    WithoutDirectories,
    /// The same, and of each name and each place so many letters at most.
    AtMost(usize),
}

/// For how much a line has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRoom {
    pub detail: Detail,
    names: Names,
}

/// What is tried, in this order: names become shorter first, then there is less detail, then names lose their middle.
const ROOMS: [LineRoom; 9] = [
    LineRoom::new(Detail::Whole, Names::Short),
    LineRoom::new(Detail::Whole, Names::WithoutDirectories),
    LineRoom::new(Detail::WithoutSummary, Names::WithoutDirectories),
    LineRoom::new(Detail::WithoutFrame, Names::WithoutDirectories),
    LineRoom::new(Detail::Least, Names::WithoutDirectories),
    LineRoom::new(Detail::Shortest, Names::WithoutDirectories),
    LineRoom::new(Detail::Shortest, Names::AtMost(24)),
    LineRoom::new(Detail::Shortest, Names::AtMost(16)),
    LEAST,
];

/// For no less: with names of eight letters, there is room for the words of all lines in a runtime's usual words.
const LEAST: LineRoom = LineRoom::new(Detail::Shortest, Names::AtMost(8));

impl LineRoom {
    /// For all that there is to say.
    pub(crate) const WHOLE: LineRoom = LineRoom::new(Detail::Whole, Names::Whole);

    const fn new(detail: Detail, names: Names) -> LineRoom {
        LineRoom { detail, names }
    }

    /// Returns the name of a loop, a function, a site or a call, as long as there is room for.
    pub(crate) fn name(self, text: &str) -> String {
        match self.names {
            Names::Whole => text.to_owned(),
            Names::Short => short_names(text),
            Names::WithoutDirectories => one_line(text),
            Names::AtMost(most) => match one_line(text).rsplit_once(" (") {
                Some((name, place)) => {
                    format!("{} ({}", without_middle(name, most), without_middle(place, most))
                }
                None => without_middle(&one_line(text), most),
            },
        }
    }

    /// Returns words that are more than a name, such as how full a pool is.
    pub(crate) fn words(self, text: &str) -> String {
        match self.names {
            Names::AtMost(most) => without_middle(&one_line(text), 2 * most),
            _ => self.name(text),
        }
    }
}

/// Returns words about an incident as a line of the log, never longer than [`LINE_MAX`]. The incident has all that is left
/// out.
pub(crate) fn line(words: impl Fn(LineRoom) -> String, id: IncidentId) -> String {
    let with_id = |words: String| format!("{words} [{id}]");
    let fits = |line: &String| line.chars().count() <= LINE_MAX;
    let mut tried = [LineRoom::WHOLE].into_iter().chain(ROOMS).map(|room| with_id(words(room)));
    tried.find(fits).unwrap_or_else(|| {
        // A runtime has words of its own, which may be anything.
        let room = LINE_MAX.saturating_sub(with_id(String::new()).chars().count());
        with_id(without_middle(&words(LEAST), room))
    })
}
