//! The model's programs: what each step does, and how long it takes.

use super::{Callback, Handle, Immediate, Model, NoOrder, STEP_NS};
use crate::schedule::interpret::Line;
use crate::schedule::program::{Body, JobKind, Operation, Step, Via};

/// What handing a sleeping job back takes, a file-system job, and a computing one: as in the loop's virtual time.
const HAND_OVER_NS: u64 = 60_000;
const FS_NS: u64 = 20_000;
const CPU_NS: u64 = 300_000;

fn ns(ms: f64) -> u64 {
    (ms.max(0.0) * 1e6).round() as u64
}

impl Model {
    /// Runs a callback or a job, without the drain after it.
    pub(super) fn call(&mut self, callback: Callback) -> Result<(), NoOrder> {
        match callback {
            Callback::Run(queue, body) => {
                self.queue = queue;
                self.perform(&body)
            }
            Callback::Hop(via, left, body) if left > 0 => self.hop(via, left, body),
            Callback::Hop(via, _, body) => {
                self.queue = match via {
                    Via::Tick => 'n',
                    Via::Micro => 'u',
                    Via::Immediate | Via::Wake => '-',
                };
                self.perform(&body)
            }
        }
    }

    /// Schedules the next of `left` hops.
    fn hop(&mut self, via: Via, left: u64, body: Body) -> Result<(), NoOrder> {
        self.pass(STEP_NS)?;
        let next = Callback::Hop(via, left.saturating_sub(1), body);
        match via {
            Via::Tick => self.ticks.push_back(next),
            Via::Micro => self.microtasks.push_back(next),
            Via::Wake => self.wakes.push_back(next),
            Via::Immediate => {
                self.add_immediate(next);
            }
        }
        Ok(())
    }

    fn add_immediate(&mut self, callback: Callback) -> usize {
        let number = self.immediates.len();
        self.immediates.push(Immediate { callback, is_referenced: true, is_dead: false });
        self.waiting.push(number);
        number
    }

    pub(super) fn perform(&mut self, body: &Body) -> Result<(), NoOrder> {
        for step in body.0.iter() {
            self.pass(STEP_NS)?;
            match step {
                Step::Label(label) => {
                    let (phase, queue, iteration) = (self.phase, self.queue, self.iteration);
                    self.lines.push(Line { label: label.clone(), phase, queue, iteration });
                }
                Step::Do(operation) => self.operate(operation)?,
            }
        }
        Ok(())
    }

    fn operate(&mut self, operation: &Operation) -> Result<(), NoOrder> {
        let run = |body: &Body| Callback::Run('-', body.clone());
        match operation {
            Operation::Timeout { id, ms, body } => {
                let number = self.start_timer(*ms, run(body), None);
                self.bind(id, Handle::Timer(number));
            }
            Operation::Interval { id, ms, n, body } => {
                let number = self.start_timer(*ms, run(body), Some(*n));
                self.bind(id, Handle::Timer(number));
            }
            Operation::Immediate { id, body } => {
                let number = self.add_immediate(run(body));
                self.bind(id, Handle::Immediate(number));
            }
            Operation::Pool { id, kind, ms, body, cancelled } => {
                let length_ns = match kind {
                    JobKind::Sleep => ns(*ms) + HAND_OVER_NS,
                    JobKind::Fs => FS_NS,
                    JobKind::Cpu => CPU_NS,
                };
                let number = self.workers.submit(self.now_ns, length_ns, run(body), run(cancelled));
                if *kind == JobKind::Sleep {
                    self.bind(id, Handle::Job(number));
                }
            }
            Operation::Tick { body } => self.ticks.push_back(Callback::Run('n', body.clone())),
            Operation::Micro { body } => self.microtasks.push_back(Callback::Run('u', body.clone())),
            Operation::Chain { via, n, body } => self.hop(*via, *n, body.clone())?,
            Operation::Wake { body } => self.wakes.push_back(run(body)),
            Operation::Close { body } => self.closing.push(body.clone()),
            Operation::Busy { ms } => self.pass(ns(*ms))?,
            Operation::BeforeExit { body } => self.before_exit.push(body.clone()),
            Operation::Cancel { id }
            | Operation::Clear { id }
            | Operation::Refresh { id }
            | Operation::Ref { id }
            | Operation::Unref { id } => {
                if let Some(handle) = self.handles.get(id).copied() {
                    self.change(operation, handle);
                }
            }
        }
        Ok(())
    }

    fn bind(&mut self, id: &Option<String>, handle: Handle) {
        if let Some(id) = id {
            self.handles.insert(id.clone(), handle);
        }
    }

    /// Does an operation on a handle; one on the wrong kind of handle does nothing.
    fn change(&mut self, operation: &Operation, handle: Handle) {
        match (operation, handle) {
            (Operation::Cancel { .. }, Handle::Job(number)) => self.workers.cancel(number),
            (Operation::Refresh { .. }, Handle::Timer(number)) => self.refresh_timer(number),
            (Operation::Clear { .. }, Handle::Timer(number)) => self.timers.clear(number),
            (Operation::Ref { .. }, Handle::Timer(number)) => self.timers.set_referenced(number, true),
            (Operation::Unref { .. }, Handle::Timer(number)) => self.timers.set_referenced(number, false),
            (Operation::Clear { .. }, Handle::Immediate(number)) => self.immediates[number].is_dead = true,
            (Operation::Ref { .. }, Handle::Immediate(number)) => {
                self.immediates[number].is_referenced = true
            }
            (Operation::Unref { .. }, Handle::Immediate(number)) => {
                self.immediates[number].is_referenced = false;
            }
            _ => {}
        }
    }
}
