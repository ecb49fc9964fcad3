//! An executable model of Node's order, slow and plain: what the loop is held to on programs that nobody ran on Node.
//!
//! It follows the rules of Node v20 and libuv 1.46 as they read, with lists that are searched and maps that are scanned,
//! and shares no code with the loop. It is itself held to the 441 programs that Node did run. Time is virtual and costs
//! what the loop's own virtual time costs: a microsecond a step, a poll likewise.

mod pool;
mod steps;
mod timers;

use crate::schedule::interpret::Line;
use crate::schedule::program::{Body, Program, Via};
use pool::Workers;
use std::collections::{HashMap, VecDeque};
use timers::Timers;

/// Why a program has no order in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoOrder {
    /// It does not end within as many steps as the model is patient for.
    TooLong,
    /// It waits for something that never comes.
    WaitsForever,
}

/// Something that will run.
#[derive(Clone, Debug)]
enum Callback {
    /// A callback of the loop, or a job of the queue with this letter.
    Run(char, Body),
    /// One hop of a chain; so many are left after it.
    Hop(Via, u64, Body),
}

/// A handle that a program knows by name.
#[derive(Clone, Copy, Debug)]
enum Handle {
    Timer(usize),
    Immediate(usize),
    Job(usize),
}

#[derive(Clone, Debug)]
struct Immediate {
    callback: Callback,
    is_referenced: bool,
    /// It ran, or was cleared.
    is_dead: bool,
}

/// The whole of Node, as far as a schedule program can see it.
struct Model {
    now_ns: u64,
    /// libuv's cached time, in whole milliseconds.
    loop_ms: u64,
    patience: u64,
    lines: Vec<Line>,
    phase: char,
    queue: char,
    iteration: u64,
    handles: HashMap<String, Handle>,
    ticks: VecDeque<Callback>,
    microtasks: VecDeque<Callback>,
    timers: Timers,
    /// Every immediate that ever was.
    immediates: Vec<Immediate>,
    /// Those that wait for the check phase.
    waiting: Vec<usize>,
    workers: Workers,
    wakes: VecDeque<Callback>,
    closing: Vec<Body>,
    before_exit: Vec<Body>,
}

const MS_NS: u64 = 1_000_000;

/// What a step takes, and a poll.
const STEP_NS: u64 = 1_000;

/// Returns the lines that a program prints.
///
/// # Errors
/// It does not end after about `patience` steps, or never wakes up.
pub fn run(program: &Program, patience: u64) -> Result<Vec<Line>, NoOrder> {
    let mut model = Model {
        now_ns: 0,
        loop_ms: 0,
        patience,
        lines: Vec::new(),
        phase: 'm',
        queue: '-',
        iteration: 0,
        handles: HashMap::new(),
        ticks: VecDeque::new(),
        microtasks: VecDeque::new(),
        timers: Timers::default(),
        immediates: Vec::new(),
        waiting: Vec::new(),
        workers: Workers::new(program.pool),
        wakes: VecDeque::new(),
        closing: Vec::new(),
        before_exit: Vec::new(),
    };
    model.perform(&program.main)?;
    model.drain()?;
    model.spin()?;
    Ok(model.lines)
}

impl Model {
    /// `SpinEventLoop` of Node: the loop, and again as long as before-exit listeners revive it.
    fn spin(&mut self) -> Result<(), NoOrder> {
        loop {
            self.uv_run()?;
            for body in std::mem::take(&mut self.before_exit) {
                self.phase = 'b';
                self.call(Callback::Run('-', body))?;
            }
            self.drain()?;
            if !self.is_alive() {
                return Ok(());
            }
        }
    }

    fn is_alive(&self) -> bool {
        self.timers.keeps_alive()
            || self.referenced_immediates() > 0
            || self.workers.unfinished() > 0
            || !self.wakes.is_empty()
            || !self.closing.is_empty()
    }

    fn referenced_immediates(&self) -> usize {
        self.immediates.iter().filter(|immediate| immediate.is_referenced && !immediate.is_dead).count()
    }

    fn refresh(&mut self) {
        self.loop_ms = self.now_ns / MS_NS;
    }

    fn uv_run(&mut self) -> Result<(), NoOrder> {
        let mut is_alive = self.is_alive();
        self.refresh();
        if is_alive {
            self.run_timers()?;
        }
        while is_alive {
            self.poll()?;
            self.check()?;
            self.phase = 'c';
            // Taken whole, and from the last to the first.
            for body in std::mem::take(&mut self.closing).into_iter().rev() {
                self.call(Callback::Run('-', body))?;
                self.drain()?;
            }
            self.refresh();
            self.run_timers()?;
            is_alive = self.is_alive();
        }
        Ok(())
    }

    /// Returns how long the poll may last, in nanoseconds; `None` is without end.
    fn poll_timeout(&mut self) -> Option<u64> {
        self.refresh();
        let must_turn = self.referenced_immediates() > 0 || !self.closing.is_empty();
        if must_turn || !self.is_alive() {
            return Some(0);
        }
        self.timers.alarm_ms().map(|at_ms| (at_ms * MS_NS).saturating_sub(self.now_ns))
    }

    fn poll(&mut self) -> Result<(), NoOrder> {
        let timeout = self.poll_timeout();
        self.phase = 'p';
        self.iteration += 1;
        self.wait(timeout)?;
        self.refresh();
        // The pool's own handle comes first, and a wake from a completion is seen in the same scan.
        for (callback, _) in self.workers.take_finished() {
            self.call(callback)?;
            self.drain()?;
        }
        for callback in std::mem::take(&mut self.wakes) {
            self.call(callback)?;
            self.drain()?;
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<u64>) -> Result<(), NoOrder> {
        let end_ns = timeout.map(|timeout| self.now_ns.saturating_add(timeout));
        self.pass(STEP_NS)?;
        loop {
            let is_over = end_ns.is_some_and(|end_ns| end_ns <= self.now_ns);
            if is_over || self.workers.has_finished() || !self.wakes.is_empty() {
                return Ok(());
            }
            let next_ns = self.workers.next_ns().into_iter().chain(end_ns).min();
            let next_ns = next_ns.ok_or(NoOrder::WaitsForever)?;
            self.pass(next_ns - self.now_ns)?;
        }
    }

    /// Lets time pass, with what the pool does meanwhile.
    fn pass(&mut self, ns: u64) -> Result<(), NoOrder> {
        self.patience = self.patience.checked_sub(1).ok_or(NoOrder::TooLong)?;
        self.now_ns += ns;
        self.workers.run_until(self.now_ns);
        Ok(())
    }

    fn check(&mut self) -> Result<(), NoOrder> {
        self.phase = 'k';
        for number in std::mem::take(&mut self.waiting) {
            if !self.immediates[number].is_dead {
                self.immediates[number].is_dead = true;
                self.call(self.immediates[number].callback.clone())?;
                self.drain()?;
            }
        }
        Ok(())
    }

    /// All ticks, then all microtasks, again while there are ticks.
    fn drain(&mut self) -> Result<(), NoOrder> {
        while !self.ticks.is_empty() || !self.microtasks.is_empty() {
            while let Some(job) = self.ticks.pop_front() {
                self.call(job)?;
            }
            while let Some(job) = self.microtasks.pop_front() {
                self.call(job)?;
            }
        }
        Ok(())
    }
}
