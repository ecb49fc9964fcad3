//! Virtual time, and the agent's part in it: what an agent asks observers, and writes to pages for them.

use loopscope_probe::observer::{Observer, Sighting};
use loopscope_probe::raw::registry::{self, Controller, LocalPage};
use loopscope_probe::{Builder, Clock, Ticks, VirtualClock, Writer};
use std::path::Path;
use std::sync::{Arc, Mutex};

const MS: u64 = 1_000_000;

/// How far apart an agent's looks are, in milliseconds.
const LOOK_MS: u64 = 10;

/// A moment at which the audience is called.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What is to be seen; `None` where only some time has passed.
    pub title: Option<&'a str>,
    /// The pages that are watched.
    pub pages: &'a [&'a LocalPage],
}

/// Who looks at the pages.
pub type Audience<'a> = dyn FnMut(Moment<'_>) + 'a;

/// Where adapters play.
pub struct Stage<'a> {
    time: VirtualClock,
    directory: &'a Path,
    watched: Vec<Watched>,
    audience: &'a mut Audience<'a>,
}

/// A page, and what its agent remembers of it.
struct Watched {
    page: LocalPage,
    control: Controller,
    turn: u64,
}

/// An observer that says what it was told last.
#[derive(Debug, Default)]
pub struct Told(Mutex<Sighting>);

impl Told {
    /// From now on, this is seen.
    pub fn say(&self, sighting: Sighting) {
        *self.0.lock().unwrap() = sighting;
    }
}

impl Observer for Told {
    fn look(&self, _at: Ticks) -> Sighting {
        *self.0.lock().unwrap()
    }
}

impl<'a> Stage<'a> {
    /// Makes a stage whose pages lie in this directory, a second after the beginning of time.
    pub fn new(directory: &'a Path, audience: &'a mut Audience<'a>) -> Stage<'a> {
        Stage { time: VirtualClock::starting_at(1_000 * MS), directory, watched: Vec::new(), audience }
    }

    /// Begins to make a page.
    pub fn builder(&self, name: &str) -> Builder {
        Writer::builder(name).clock(Clock::simulated(self.time.clone())).directory(self.directory)
    }

    /// Begins to watch a page, as the agent of a process does with each.
    pub fn watch(&mut self, writer: &Writer) {
        let is_it = |page: &LocalPage| std::ptr::eq(page.page(), writer.page());
        let page = registry::pages().into_iter().find(is_it).unwrap();
        let control = page.take_control().unwrap();
        self.watched.push(Watched { page, control, turn: 0 });
    }

    /// Returns the present moment.
    pub fn now(&self) -> Ticks {
        Ticks(self.time.now_ns())
    }

    /// So many milliseconds pass, in which the agent looks and asks the observers.
    pub fn pass(&mut self, mut ms: u64) {
        while ms > 0 {
            let step = ms.min(LOOK_MS);
            self.time.advance_ns(step * MS);
            ms -= step;
            self.look();
        }
    }

    /// The agent looks now.
    pub fn look(&mut self) {
        let now = self.now();
        for Watched { page, control, turn } in &mut self.watched {
            let Some(observer) = page.observer() else { continue };
            let sighting = observer.look(now);
            if std::mem::replace(turn, sighting.turn) != sighting.turn && sighting.turn != 0 {
                control.set_turned(now);
            }
            if let Some(observed) = sighting.observed {
                control.set_observed(observed);
            }
            if sighting.is_retired {
                control.retire(now);
            }
        }
        self.call(None);
    }

    /// This is to be seen.
    pub fn show(&mut self, title: &str) {
        self.call(Some(title));
    }

    fn call(&mut self, title: Option<&str>) {
        let pages: Vec<&LocalPage> = self.watched.iter().map(|watched| &watched.page).collect();
        (self.audience)(Moment { title, pages: &pages });
    }

    /// Makes an observer for a page.
    pub fn observer() -> Arc<Told> {
        Arc::default()
    }
}
