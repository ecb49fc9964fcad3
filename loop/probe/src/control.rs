//! What the watching agent tells the loop and other processes: thresholds, and where the agent listens.

use crate::agent_address::AgentAddress;
use crate::limits::UNIX_NS_MAX;
use crate::site::{load_text, store_text};
use crate::word::{AgentOwned, Pen, Word};

const ADDRESS_WORDS: usize = 12;

/// Length in bytes of the longest address that a page has room for; what is longer is cut off.
pub const ADDRESS_BYTES_MAX: usize = ADDRESS_WORDS * 8;

/// Stall threshold for a warning where nobody set one: 100 ms.
pub const WARNING_NS: u64 = 100_000_000;
/// Stall threshold for critical where nobody set one: 1 s.
pub const CRITICAL_NS: u64 = 1_000_000_000;

/// The part of the page that the agent writes.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct ControlWords {
    /// A busy stretch longer than this many nanoseconds is a stall; 0 means [`WARNING_NS`].
    warning_ns: Word<AgentOwned>,
    /// A stall longer than this many nanoseconds is critical; 0 means [`CRITICAL_NS`].
    critical_ns: Word<AgentOwned>,
    /// Wall-clock time of the agent's last tick, nanoseconds since 1970; 0 before the first.
    tick_unix_ns: Word<AgentOwned>,
    /// Where the agent's server is, as [`AgentAddress::page_text`] writes it; empty where it serves nothing.
    address: [Word<AgentOwned>; ADDRESS_WORDS],
}

impl ControlWords {
    /// Returns the warning threshold in nanoseconds.
    #[inline(always)]
    pub fn warning_ns(&self) -> u64 {
        match self.warning_ns.get() {
            0 => WARNING_NS,
            ns => ns,
        }
    }

    /// Returns the critical threshold in nanoseconds.
    #[inline(always)]
    pub fn critical_ns(&self) -> u64 {
        match self.critical_ns.get() {
            0 => CRITICAL_NS,
            ns => ns,
        }
    }

    /// Returns when the agent last ticked, nanoseconds since 1970; 0 where no agent watches.
    pub fn tick_unix_ns(&self) -> u64 {
        self.tick_unix_ns.get().min(UNIX_NS_MAX)
    }

    /// Returns where the agent listens, `None` where nowhere, and where the words are no address.
    pub fn address(&self) -> Option<AgentAddress> {
        load_text(&self.address).parse().ok()
    }

    pub(crate) fn set_thresholds(&self, pen: &Pen<AgentOwned>, warning_ns: u64, critical_ns: u64) {
        self.warning_ns.set(pen, warning_ns);
        self.critical_ns.set(pen, critical_ns);
    }

    pub(crate) fn set_tick(&self, pen: &Pen<AgentOwned>, unix_ns: u64) {
        self.tick_unix_ns.set(pen, unix_ns);
    }

    pub(crate) fn set_address(&self, pen: &Pen<AgentOwned>, address: Option<&AgentAddress>) {
        let text = address.map(AgentAddress::page_text).unwrap_or_default();
        store_text(pen, &self.address, &text, false);
    }
}
