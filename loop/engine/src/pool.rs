//! Jobs of the thread pool on their way there and back, and how many threads it has.
//!
//! # Source
//! `src/threadpool.c` of libuv 1.46.

use crate::callback::State;
use crate::error::WorkError;
use crate::key::Key;
use loopscope_probe::{SiteId, Ticks, WorkKind};
use std::any::Any;
use std::collections::VecDeque;

/// The result of a job whose type is forgotten until its completion runs.
pub(crate) type Outcome = Result<Box<dyn Any + Send>, WorkError>;

/// A job without its type.
pub(crate) type Run = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// A completion callback.
pub(crate) type WorkDone<S> = Box<dyn FnOnce(&mut <S as State>::Cx<'_>, Outcome)>;

/// A job on its way to a thread.
pub(crate) struct Job {
    /// The loop it came from, among those that share the pool; given by the pool.
    pub(crate) client: Key,
    pub(crate) key: Key,
    pub(crate) kind: WorkKind,
    pub(crate) site: SiteId,
    pub(crate) run: Run,
}

/// A job on its way back.
pub(crate) struct Finished {
    pub(crate) key: Key,
    pub(crate) outcome: Outcome,
    pub(crate) submitted: Ticks,
    /// When it ended, or was cancelled.
    pub(crate) finished: Ticks,
}

/// Something that runs jobs beside the loop: threads, or a simulation of them.
pub(crate) trait Pool {
    /// Queues a job.
    fn submit(&mut self, job: Job);
    /// Turns a queued job into a cancelled completion; `false` where it is not queued any more.
    fn cancel(&mut self, key: Key) -> bool;
    /// Moves the completions to `into`, in the order the jobs ended.
    fn take_finished(&mut self, into: &mut VecDeque<Finished>);
}

/// Where the number of threads comes from when the builder does not say.
const SIZE_VARIABLE: &str = "UV_THREADPOOL_SIZE";

const SIZE_DEFAULT: usize = 4;

const SIZE_MAX: usize = 1024;

/// Returns how many threads a pool has: `wanted`, else by [`SIZE_VARIABLE`], else four.
pub(crate) fn size(wanted: Option<usize>) -> usize {
    let from_environment = || std::env::var_os(SIZE_VARIABLE).map(|text| parse_size(&text.to_string_lossy()));
    wanted.or_else(from_environment).unwrap_or(SIZE_DEFAULT).clamp(1, SIZE_MAX)
}

/// Reads a number as C's `atoi` does: the digits at the start, 0 where there are none.
fn parse_size(text: &str) -> usize {
    let text = text.trim_start();
    let digits = text.find(|digit: char| !digit.is_ascii_digit()).map_or(text, |end| &text[..end]);
    digits
        .bytes()
        .fold(0, |size: usize, digit| size.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_libuv_reads_them() {
        let read = |text| size(Some(parse_size(text)));
        let cases = [("8", 8), ("0", 1), ("", 1), ("many", 1), ("-3", 1), ("4096", 1024), (" 6x", 6)];
        assert!(cases.iter().all(|(text, threads)| read(text) == *threads));
        assert_eq!(read("99999999999999999999999"), 1024);
    }
}
