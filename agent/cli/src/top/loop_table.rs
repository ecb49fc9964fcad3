//! What is on the board: the view of now, which loops of it, in which order, and which one is chosen.

use crate::incidents::source::Found;
use loopscope_probe::raw::printable::printable;
use loopscope_report::live::{LoopView, ProcessView, StateKind, View};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::cmp::{Ordering, Reverse};

/// What the loops are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// What is wrong now first, then what is busiest.
    Trouble,
    Busy,
    Lag,
    Stalls,
    Name,
}

impl Sort {
    const ALL: [Sort; 5] = [Sort::Trouble, Sort::Busy, Sort::Lag, Sort::Stalls, Sort::Name];

    pub fn name(self) -> &'static str {
        match self {
            Sort::Trouble => "trouble",
            Sort::Busy => "busy",
            Sort::Lag => "lag p99",
            Sort::Stalls => "stalls",
            Sort::Name => "name",
        }
    }

    fn next(self) -> Sort {
        let at = Sort::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Sort::ALL[(at + 1) % Sort::ALL.len()]
    }
}

/// What fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Loops,
    /// Everything about the chosen loop, from this line on.
    Details(u16),
    Help,
}

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Go,
    Quit,
}

/// The board.
#[derive(Debug)]
pub struct LoopTable {
    pub view: View,
    /// Newest first.
    pub incidents: Vec<Found>,
    pub sort: Sort,
    pub is_reversed: bool,
    pub filter: String,
    pub is_typing: bool,
    pub is_paused: bool,
    /// The workers of runtimes have rows of their own.
    pub is_unfolded: bool,
    /// Processes that exited while idle are listed, too.
    pub lists_exited: bool,
    pub shown: Shown,
    /// How often it looks, in words.
    pub every: String,
    /// Id of the chosen loop.
    chosen: Option<String>,
}

/// A loop and its process.
pub type Row<'a> = (&'a ProcessView, &'a LoopView);

impl LoopTable {
    pub fn new(every: &str) -> LoopTable {
        LoopTable {
            view: View::default(),
            incidents: Vec::new(),
            sort: Sort::Trouble,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            is_unfolded: false,
            lists_exited: false,
            shown: Shown::Loops,
            every: every.to_owned(),
            chosen: None,
        }
    }

    /// Says of each page that cannot be read why.
    pub fn unreadable(&self) -> Vec<String> {
        let pages = self.view.processes.iter().flat_map(|process| &process.damaged);
        pages.map(|page| printable(&format!("{} {}", page.file, page.because)).into_owned()).collect()
    }

    /// Shows a newer view, unless it is paused.
    pub fn show(&mut self, view: View) {
        if !self.is_paused {
            self.view = view;
        }
    }

    /// Shows newer incidents, unless it is paused.
    pub fn tell(&mut self, incidents: Vec<Found>) {
        if !self.is_paused {
            self.incidents = incidents;
        }
    }

    /// Returns the loops to show, in their order.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let all = self
            .listed()
            .into_iter()
            .flat_map(|process| process.loops.iter().map(move |entry| (process, entry)));
        let mut rows: Vec<Row<'_>> = all.filter(|row| self.fits(row)).collect();
        rows.sort_by(|a, b| {
            let order = self.order(a, b);
            if self.is_reversed { order.reverse() } else { order }
        });
        match self.is_unfolded {
            false => rows,
            // Workers stand below their runtime, whatever the order.
            true => rows.into_iter().flat_map(with_workers).collect(),
        }
    }

    /// Returns the processes to list: without those that exited while idle, unless they are wanted, or there are no others.
    pub fn listed(&self) -> Vec<&ProcessView> {
        let all = &self.view.processes;
        let is_whole = self.lists_exited || all.iter().all(exited_idle);
        all.iter().filter(|process| is_whole || !exited_idle(process)).collect()
    }

    /// Returns how many processes are not listed.
    pub fn left_out(&self) -> usize {
        self.view.processes.len() - self.listed().len()
    }

    /// Returns how many loops are stalled, whether or not they are shown.
    pub fn stalled(&self) -> usize {
        let loops = self.view.processes.iter().flat_map(|process| &process.loops);
        loops.filter(|entry| entry.state.kind == StateKind::Stalled).count()
    }

    /// Returns the place of the chosen loop among `rows`; the first where the chosen one is not there.
    pub fn chosen_at(&self, rows: &[Row<'_>]) -> usize {
        rows.iter().position(|(_, entry)| Some(&entry.id) == self.chosen.as_ref()).unwrap_or(0)
    }

    fn fits(&self, (process, entry): &Row<'_>) -> bool {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        let has_worker = entry.workers.iter().any(|worker| has(&worker.name));
        has(&process.name) || has(&entry.name) || has_worker || process.pid.to_string().starts_with(&wanted)
    }

    fn order(&self, a: &Row<'_>, b: &Row<'_>) -> Ordering {
        let by_name = || (&a.0.name, a.0.pid, &a.1.name).cmp(&(&b.0.name, b.0.pid, &b.1.name));
        // What is not known comes last.
        let busy = |row: &Row<'_>| row.1.utilization_ratio.unwrap_or(-1.0);
        let lag = |row: &Row<'_>| row.1.lag.as_ref().map(|lag| lag.p99_ns);
        let order = match self.sort {
            Sort::Trouble => trouble(b.1).cmp(&trouble(a.1)).then_with(|| busy(b).total_cmp(&busy(a))),
            Sort::Busy => busy(b).total_cmp(&busy(a)),
            Sort::Lag => lag(b).cmp(&lag(a)),
            Sort::Stalls => Reverse(a.1.stalls.warning_count).cmp(&Reverse(b.1.stalls.warning_count)),
            Sort::Name => Ordering::Equal,
        };
        order.then_with(by_name)
    }

    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent) -> Step {
        if key.kind == KeyEventKind::Release {
            return Step::Go;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Step::Quit;
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Step::Go;
        }
        match (key.code, self.shown) {
            (KeyCode::Char('q'), Shown::Loops) => return Step::Quit,
            (KeyCode::Char('q') | KeyCode::Esc, _) if self.shown != Shown::Loops => self.shown = Shown::Loops,
            (KeyCode::Esc, _) => self.filter.clear(),
            (KeyCode::Char('?' | 'h'), Shown::Help) => self.shown = Shown::Loops,
            (KeyCode::Char('?' | 'h'), _) => self.shown = Shown::Help,
            (KeyCode::Char(' ' | 'p'), _) => self.is_paused = !self.is_paused,
            (KeyCode::Char('a'), Shown::Loops) => self.lists_exited = !self.lists_exited,
            (KeyCode::Char('w'), Shown::Loops) => self.is_unfolded = !self.is_unfolded,
            (KeyCode::Char('s'), Shown::Loops) => self.sort = self.sort.next(),
            (KeyCode::Char('r'), Shown::Loops) => self.is_reversed = !self.is_reversed,
            (KeyCode::Char('/'), Shown::Loops) => self.is_typing = true,
            (KeyCode::Enter, Shown::Loops) => self.open(),
            (KeyCode::Enter, _) => self.shown = Shown::Loops,
            (code, shown) => self.move_by(code, shown),
        }
        Step::Go
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if !letter.is_control() => self.filter.push(letter),
            _ => {}
        }
    }

    /// Opens the details of the chosen loop: from now on that very loop, whatever the order.
    fn open(&mut self) {
        self.move_by(KeyCode::Null, Shown::Loops);
        if self.chosen.is_some() {
            self.shown = Shown::Details(0);
        }
    }

    fn move_by(&mut self, code: KeyCode, shown: Shown) {
        let far = match code {
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::PageDown => 10,
            KeyCode::PageUp => -10,
            KeyCode::Home | KeyCode::Char('g') => isize::MIN,
            KeyCode::End | KeyCode::Char('G') => isize::MAX,
            KeyCode::Null => 0,
            _ => return,
        };
        if let Shown::Details(line) = shown {
            let line = isize::try_from(line).unwrap_or(0).saturating_add(far).clamp(0, 500);
            self.shown = Shown::Details(line as u16);
            return;
        }
        let rows = self.rows();
        let last = rows.len().saturating_sub(1) as isize;
        let at = (self.chosen_at(&rows) as isize).saturating_add(far).clamp(0, last);
        let chosen = rows.get(at as usize).map(|(_, entry)| entry.id.clone());
        self.chosen = chosen;
    }
}

fn with_workers<'a>((process, entry): Row<'a>) -> impl Iterator<Item = Row<'a>> {
    std::iter::once((process, entry)).chain(entry.workers.iter().map(move |worker| (process, worker)))
}

/// Tells whether a process has ended while none of its loops did anything: nothing is to be learned from it.
fn exited_idle(process: &ProcessView) -> bool {
    let was_idle = |entry: &LoopView| entry.state.kind == StateKind::Ended && entry.state.busy_ns == 0;
    !process.is_alive && process.damaged.is_empty() && process.loops.iter().all(was_idle)
}

/// Tells whether a row is one worker of a runtime.
pub fn is_worker(entry: &LoopView) -> bool {
    entry.worker.is_some() && entry.workers.is_empty()
}

/// How bad it is, the worse the larger.
fn trouble(entry: &LoopView) -> (u8, u64) {
    let state = &entry.state;
    match state.kind {
        StateKind::Stalled if state.is_critical => (4, state.busy_ns),
        StateKind::Stalled => (3, state.busy_ns),
        StateKind::Stopped => (2, state.busy_ns),
        _ if entry.stalls.warning_count_new > 0 => (2, 0),
        StateKind::Ended => (0, 0),
        _ => (1, 0),
    }
}

#[cfg(test)]
#[path = "loop_table_tests.rs"]
pub mod tests;
