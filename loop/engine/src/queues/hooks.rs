//! The lists of idle, prepare and check hooks, each in running order.

use crate::key::Key;
use loopscope_probe::{Kind, Phase};
use std::collections::VecDeque;

/// When a hook runs in each iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hook {
    /// Before the prepare hooks. While there is one, the poll does not wait.
    Idle,
    /// Right before the poll.
    Prepare,
    /// Right after the poll, before the immediates.
    Check,
}

impl Hook {
    /// Returns the kind that the probe counts its callbacks under.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Hook::Idle => Kind::Idle,
            Hook::Prepare => Kind::Prepare,
            Hook::Check => Kind::Check,
        }
    }

    pub(crate) fn phase(self) -> Phase {
        match self {
            Hook::Idle => Phase::IDLE,
            Hook::Prepare => Phase::PREPARE,
            Hook::Check => Phase::CHECK,
        }
    }
}

/// The hooks of each kind in running order. A closed hook leaves its stale key until the next pass.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) lists: [VecDeque<Key>; 3],
    pub(crate) open: [usize; 3],
}

impl Hooks {
    #[inline]
    pub(crate) fn has_idle(&self) -> bool {
        self.open[Hook::Idle as usize] > 0
    }

    pub(crate) fn closed(&mut self, hook: Hook) {
        self.open[hook as usize] -= 1;
    }
}
