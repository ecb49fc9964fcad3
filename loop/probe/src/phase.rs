//! The phases of an event loop, with numbers that are part of the page's layout.

/// What part of an iteration the loop is in.
///
/// The discriminants are written to the page and never change meaning.
///
/// # Source
/// `uv_run` in libuv's `src/unix/core.c`: timers, pending, idle, prepare, poll, check, close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Code that runs outside `uv_run`'s phases: the main script and before-exit listeners.
    Main = 0,
    /// Expired timers.
    Timers = 1,
    /// Callbacks deferred from the previous iteration.
    Pending = 2,
    /// Idle hooks.
    Idle = 3,
    /// Prepare hooks, right before the poll.
    Prepare = 4,
    /// Waiting for and dispatching I/O, pool completions and wake-ups.
    Poll = 5,
    /// Check hooks and immediates.
    Check = 6,
    /// Close callbacks.
    Close = 7,
}

impl Phase {
    /// How many phases there are, `Main` included.
    pub const COUNT: usize = 8;

    /// Every phase in the order of its number.
    pub const ALL: [Phase; Phase::COUNT] = [
        Phase::Main,
        Phase::Timers,
        Phase::Pending,
        Phase::Idle,
        Phase::Prepare,
        Phase::Poll,
        Phase::Check,
        Phase::Close,
    ];

    /// Returns the phase's name as metrics, flamegraphs and documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Main => "main",
            Phase::Timers => "timers",
            Phase::Pending => "pending",
            Phase::Idle => "idle",
            Phase::Prepare => "prepare",
            Phase::Poll => "poll",
            Phase::Check => "check",
            Phase::Close => "close",
        }
    }

    /// Returns the phase with this number, or `None` for a number that no phase has.
    pub fn from_index(index: usize) -> Option<Phase> {
        Phase::ALL.get(index).copied()
    }

    /// Returns the phase's number, usable as an index below [`Phase::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_the_number_of_its_place() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase.index(), index);
            assert_eq!(Phase::from_index(index), Some(phase));
        }
        assert_eq!(Phase::from_index(Phase::COUNT), None);
    }
}
