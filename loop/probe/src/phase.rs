//! The phases of an event loop, with numbers that are part of the page's layout.

/// What part of an iteration the loop is in: a number below [`Phase::COUNT`].
///
/// The first eight are those of an event loop as libuv has it, and have names. A runtime with other phases takes numbers from
/// 8 on, or names these anew, in its [description](crate::description).
///
/// # Source
/// `uv_run` in libuv's `src/unix/core.c`: timers, pending, idle, prepare, poll, check, close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phase(u8);

impl Phase {
    /// Code that runs outside the others: the main script and before-exit listeners.
    pub const MAIN: Phase = Phase(0);
    /// Expired timers.
    pub const TIMERS: Phase = Phase(1);
    /// Callbacks deferred from the previous iteration.
    pub const PENDING: Phase = Phase(2);
    /// Idle hooks.
    pub const IDLE: Phase = Phase(3);
    /// Prepare hooks, right before the poll.
    pub const PREPARE: Phase = Phase(4);
    /// Waiting for and dispatching I/O, pool completions and wake-ups.
    pub const POLL: Phase = Phase(5);
    /// Check hooks and immediates.
    pub const CHECK: Phase = Phase(6);
    /// Close callbacks.
    pub const CLOSE: Phase = Phase(7);

    /// How many phases there can be.
    pub const COUNT: usize = 16;

    /// The phases that have a name without a description, in the order of their numbers.
    pub const STANDARD: [Phase; 8] = [
        Phase::MAIN,
        Phase::TIMERS,
        Phase::PENDING,
        Phase::IDLE,
        Phase::PREPARE,
        Phase::POLL,
        Phase::CHECK,
        Phase::CLOSE,
    ];

    /// Returns the phase's name where no description names it: as metrics, flamegraphs and documents write it.
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; Phase::COUNT] = [
            "main", "timers", "pending", "idle", "prepare", "poll", "check", "close", "phase_8", "phase_9",
            "phase_10", "phase_11", "phase_12", "phase_13", "phase_14", "phase_15",
        ];
        NAMES[self.index()]
    }

    /// Returns the phase with this number; `None` from [`Phase::COUNT`] on.
    pub const fn from_index(index: usize) -> Option<Phase> {
        if index < Phase::COUNT { Some(Phase(index as u8)) } else { None }
    }

    /// Returns the phase in the low bits of a packed word.
    #[inline(always)]
    pub(crate) const fn of_bits(bits: u64) -> Phase {
        Phase(bits as u8 & (Phase::COUNT as u8 - 1))
    }

    /// Returns the phase's number, below [`Phase::COUNT`].
    #[inline(always)]
    pub const fn index(self) -> usize {
        // Always below; said so that an array of that length needs no check.
        self.0 as usize & (Phase::COUNT - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_the_number_of_its_place() {
        for (index, phase) in Phase::STANDARD.into_iter().enumerate() {
            assert_eq!(phase.index(), index);
        }
        for index in 0..Phase::COUNT {
            assert_eq!(Phase::from_index(index).map(Phase::index), Some(index));
        }
        assert_eq!(Phase::from_index(Phase::COUNT), None);
        assert_eq!(Phase::from_index(9).unwrap().name(), "phase_9");
    }
}
