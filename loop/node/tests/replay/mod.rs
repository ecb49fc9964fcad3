//! Plays a recording of events to the state machine, in virtual time.

use loopscope_node::entries::{Entries, Event, Runtime, TraceEvent};
use loopscope_node::names::TraceName;
use loopscope_probe::{Clock, VirtualClock, Writer};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::rc::Rc;

/// Where virtual time begins, in nanoseconds: not at 0, which stands for no time.
const BEGIN_NS: u64 = 1_000_000_000;

/// What the page was told.
pub struct Played {
    pub writer: Writer,
    pub unnamed: u64,
}

/// Answers as was recorded.
#[derive(Clone, Debug, Default)]
pub struct Answers(Rc<RefCell<VecDeque<Option<u64>>>>, Rc<Cell<(u64, u64)>>);

impl Answers {
    fn next(&self) -> Option<u64> {
        self.0.borrow_mut().pop_front().expect("no more was asked when it was recorded")
    }
}

impl Runtime for Answers {
    fn idle_ns(&mut self) -> u64 {
        self.next().unwrap_or(0)
    }

    fn events(&mut self) -> Option<u64> {
        self.next()
    }

    fn async_id(&mut self) -> Option<u64> {
        self.next()
    }

    fn time_ms(&mut self) -> u64 {
        self.1.get().0
    }

    fn time_age_ns(&mut self) -> Option<u64> {
        Some(self.1.get().1)
    }
}

/// Names, each a constant text of its own.
#[derive(Default)]
struct Texts(HashMap<String, &'static CStr>);

impl Texts {
    fn name(&mut self, text: &str) -> TraceName {
        let constant = self
            .0
            .entry(text.to_owned())
            .or_insert_with(|| Box::leak(CString::new(text).unwrap().into_boxed_c_str()));
        TraceName::constant(constant)
    }
}

fn event_of(text: &str, texts: &mut Texts) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["poll"] => Event::PollBegins,
        ["check"] => Event::CheckBegins,
        ["immediates"] => Event::Immediates,
        ["checked"] => Event::CheckEnds,
        ["enter"] => Event::EntryBegins,
        ["left"] => Event::EntryEnds,
        ["checkpoint"] => Event::Checkpoint,
        ["trace", phase, name, id, value] => Event::Trace(TraceEvent {
            phase: phase.as_bytes()[0],
            name: texts.name(name),
            id: id.parse().unwrap(),
            value: value.parse().unwrap(),
        }),
        ["ends", name] => Event::TraceEnds(texts.name(name)),
        _ => panic!("no event: {text}"),
    }
}

/// Plays it, and ends the loop. Beside what a recording has, `label NAME`, `module`, `pause` and `resume` are calls of the
/// program's, `threw` is an exception that nobody caught, and `blocks` is an interrupt of what blocks. `time MS AGE` is libuv's own
/// time from here on, and how old that is at the next event, in nanoseconds.
pub fn replay(events: &str) -> Played {
    replay_with(events, true)
}

/// [`replay`], of a Node with or without traces.
pub fn replay_with(events: &str, has_traces: bool) -> Played {
    let (time, answers, mut texts) =
        (VirtualClock::starting_at(BEGIN_NS), Answers::default(), Texts::default());
    // What is asked before the first event: how many events there were.
    let first = events.lines().take_while(|line| line.starts_with("= ")).count();
    let lines: Vec<&str> = events.lines().collect();
    answers.0.borrow_mut().extend(lines[..first].iter().map(|line| line[2..].parse().ok()));
    let writer = Writer::builder("replay").clock(Clock::simulated(time.clone())).build();
    let mut entries = Entries::begin(writer, answers.clone(), has_traces, None);
    if lines.iter().any(|line| line.ends_with(" checkpoint")) {
        entries.tells_checkpoints();
    }
    let mut at = first;
    while at < lines.len() {
        let (ns, event) = lines[at].split_once(' ').unwrap();
        let after = lines[at + 1..].iter().take_while(|line| line.starts_with("= ")).count();
        answers
            .0
            .borrow_mut()
            .extend(lines[at + 1..at + 1 + after].iter().map(|line| line[2..].parse().ok()));
        time.advance_to_ns(BEGIN_NS + ns.parse::<u64>().unwrap());
        match event.split_once(' ') {
            Some(("label", name)) => drop(entries.label(name)),
            Some(("time", words)) => {
                let (ms, age_ns) = words.split_once(' ').unwrap();
                answers.1.set((ms.parse().unwrap(), age_ns.parse().unwrap()));
            }
            _ if event == "module" => entries.main_is_module(),
            _ if event == "pause" => entries.pause(),
            _ if event == "resume" => entries.resume(),
            _ if event == "blocks" => entries.part_what_blocks(),
            _ if event == "threw" => entries.threw(),
            _ => entries.tell(event_of(event, &mut texts)),
        }
        assert!(answers.0.borrow().is_empty(), "more was asked when it was recorded: line {}", at + 1);
        at += 1 + after;
    }
    let unnamed = entries.counts().0;
    Played { writer: entries.end(), unnamed }
}
