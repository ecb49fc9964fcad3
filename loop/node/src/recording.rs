//! What a loop was told, as text: for a test that plays it again, and for a report of something that was told wrongly.
//!
//! ```text
//!   1250300 check            nanoseconds since the begin, and what happened
//!   1251000 trace b TCPWRAP_CALLBACK 17 0
//!   = 4711                   what the runtime answered to a question of that event
//! ```

use crate::sys::Event;
use loopscope_probe::{Clock, Ticks};
use std::fmt::{self, Write};

/// Lines that are kept; what comes later is left out.
const LINES: usize = 1 << 17;

/// A recording that grows.
#[derive(Debug)]
pub struct Recording {
    begin: Ticks,
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    Event(u64, Event),
    Answer(Option<u64>),
}

impl Recording {
    /// Begins to record.
    pub fn new(begin: Ticks) -> Recording {
        Recording { begin, lines: Vec::new() }
    }

    /// Notes an event.
    pub fn event(&mut self, clock: &Clock, event: Event) {
        let ns = clock.ns_between(self.begin, clock.now());
        self.push(Line::Event(ns, event));
    }

    /// Notes what the runtime answered.
    pub fn answer(&mut self, answer: Option<u64>) {
        self.push(Line::Answer(answer));
    }

    fn push(&mut self, line: Line) {
        if self.lines.len() < LINES {
            self.lines.push(line);
        }
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            match *line {
                Line::Event(ns, event) => writeln!(f, "{ns} {}", text_of(event))?,
                Line::Answer(Some(number)) => writeln!(f, "= {number}")?,
                Line::Answer(None) => f.write_str("= -\n")?,
            }
        }
        Ok(())
    }
}

fn text_of(event: Event) -> String {
    let mut text = String::new();
    let _ = match event {
        Event::PollBegins => text.write_str("poll"),
        Event::CheckBegins => text.write_str("check"),
        Event::Immediates => text.write_str("immediates"),
        Event::CheckEnds => text.write_str("checked"),
        Event::EntryBegins => text.write_str("enter"),
        Event::EntryEnds => text.write_str("left"),
        Event::Checkpoint => text.write_str("checkpoint"),
        Event::Trace(event) => {
            let phase = char::from(event.phase);
            write!(text, "trace {phase} {} {} {}", event.name.text(), event.id, event.value)
        }
        Event::TraceEnds(name) => write!(text, "ends {}", name.text()),
    };
    text
}
