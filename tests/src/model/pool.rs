//! The model's thread pool: one queue, so many threads, and jobs that last as long as they say.

use super::Callback;
use std::collections::VecDeque;

/// A job that was handed over.
#[derive(Debug)]
struct Job {
    number: usize,
    length_ns: u64,
    done: Callback,
    cancelled: Callback,
}

/// What happens on a thread, at a moment.
#[derive(Debug)]
enum Event {
    /// It looks for a job.
    Look,
    /// It ends one.
    End(Job),
}

/// The threads.
#[derive(Debug)]
pub(super) struct Workers {
    idle: usize,
    queue: VecDeque<Job>,
    /// In the order in which they were planned.
    events: Vec<(u64, Event)>,
    finished: Vec<(Callback, usize)>,
    submitted: usize,
    delivered: usize,
}

impl Workers {
    pub(super) fn new(threads: usize) -> Workers {
        let (queue, events, finished) = (VecDeque::new(), Vec::new(), Vec::new());
        Workers { idle: threads, queue, events, finished, submitted: 0, delivered: 0 }
    }

    /// Hands a job over; returns its number.
    pub(super) fn submit(
        &mut self,
        now_ns: u64,
        length_ns: u64,
        done: Callback,
        cancelled: Callback,
    ) -> usize {
        let number = self.submitted;
        self.submitted += 1;
        self.queue.push_back(Job { number, length_ns, done, cancelled });
        if self.idle > 0 {
            self.idle -= 1;
            self.events.push((now_ns, Event::Look));
        }
        number
    }

    /// Cancels a job if no thread has taken it.
    pub(super) fn cancel(&mut self, number: usize) {
        if let Some(index) = self.queue.iter().position(|job| job.number == number)
            && let Some(job) = self.queue.remove(index)
        {
            self.finished.push((job.cancelled, number));
        }
    }

    /// Does what happens until then.
    pub(super) fn run_until(&mut self, now_ns: u64) {
        while let Some(at_ns) = self.next_ns().filter(|at_ns| *at_ns <= now_ns) {
            let index = self.events.iter().position(|(ns, _)| *ns == at_ns).unwrap_or(0);
            let (_, event) = self.events.remove(index);
            match event {
                Event::End(job) => {
                    self.finished.push((job.done.clone(), job.number));
                    self.events.push((at_ns, Event::Look));
                }
                Event::Look => match self.queue.pop_front() {
                    Some(job) => self.events.push((at_ns + job.length_ns, Event::End(job))),
                    None => self.idle += 1,
                },
            }
        }
    }

    pub(super) fn next_ns(&self) -> Option<u64> {
        self.events.iter().map(|(ns, _)| *ns).min()
    }

    pub(super) fn has_finished(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Takes what has ended, in the order in which it did.
    pub(super) fn take_finished(&mut self) -> Vec<(Callback, usize)> {
        self.delivered += self.finished.len();
        std::mem::take(&mut self.finished)
    }

    /// Returns how many jobs have not been given back.
    pub(super) fn unfinished(&self) -> usize {
        self.submitted - self.delivered
    }
}
