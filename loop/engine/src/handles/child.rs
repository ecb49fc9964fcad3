//! Child processes, and those that run on after the loop has let go of them.

use crate::callback::State;
use crate::key::Key;
use std::io;
use std::process::{self, ExitStatus};
use std::sync::{Mutex, PoisonError};

/// A callback for the end of a child.
pub(crate) type OnExit<S> = Box<dyn FnOnce(&mut <S as State>::Cx<'_>, io::Result<ExitStatus>)>;

/// Children that run on without a key.
static ORPHANS: Mutex<Vec<process::Child>> = Mutex::new(Vec::new());

/// A child process that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Its key: until its callback has run, or it is closed.
    pub key: Key,
    /// Its process id.
    pub pid: u32,
    /// The stream to its standard input, where the command says [`Stdio::piped`](process::Stdio::piped).
    pub stdin: Option<Key>,
    /// The stream of its standard output, likewise.
    pub stdout: Option<Key>,
    /// The stream of its standard error, likewise.
    pub stderr: Option<Key>,
}

/// The loop's half of a child.
pub(crate) struct ChildProcess<S: State> {
    pub(crate) process: Option<process::Child>,
    pub(crate) run: Option<OnExit<S>>,
}

impl<S: State> Drop for ChildProcess<S> {
    /// The key was closed, or the loop is gone: the child is reaped all the same.
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            adopt_orphan(process);
        }
    }
}

pub(crate) fn adopt_orphan(process: process::Child) {
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.push(process);
    orphans.retain_mut(is_running);
}

pub(crate) fn reap_orphans() {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(is_running);
}

fn is_running(child: &mut process::Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}
