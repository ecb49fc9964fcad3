//! What the watching agent tells the loop and other processes: thresholds, and where the agent listens.

use crate::agent_address::AgentAddress;
use crate::clock::Ticks;
use crate::limits::{UNIX_NS_MAX, count};
use crate::observed::{Observed, ObservedWords};
use crate::shared_u64::{AgentOwned, SharedU64, WriteToken};
use crate::site::{load_text, store_text};

/// As many bytes as a socket file's path may have (unix(7)), and its scheme.
const ADDRESS_WORDS: usize = 15;

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
    /// A busy period longer than this many nanoseconds is a stall; 0 means [`WARNING_NS`].
    warning_ns: SharedU64<AgentOwned>,
    /// A stall longer than this many nanoseconds is critical; 0 means [`CRITICAL_NS`].
    critical_ns: SharedU64<AgentOwned>,
    /// Wall-clock time of the agent's last tick, nanoseconds since 1970; 0 before the first.
    tick_unix_ns: SharedU64<AgentOwned>,
    /// Where the agent's server is, as [`AgentAddress::page_text`] writes it; empty where it serves nothing.
    address: [SharedU64<AgentOwned>; ADDRESS_WORDS],
    /// Where its socket file beside the pages is, in the same way; empty where it has none.
    socket: [SharedU64<AgentOwned>; ADDRESS_WORDS],
    /// The number of the last incident of the process; 0 before the first. It stays when the agent ends.
    incidents: SharedU64<AgentOwned>,
    /// How many stalls of this loop had ended when `incidents` was stored: further ones are counted by nobody.
    stalls_counted: SharedU64<AgentOwned>,
    /// When the agent last saw that the loop had polled within its busy period, in ticks; 0 where it never did.
    turned: SharedU64<AgentOwned>,
    /// When the agent saw that the thread had ceased to run this loop, in ticks; 0 while it has not.
    retired: SharedU64<AgentOwned>,
    /// When it was busy and when it waited, of a loop whose thread does not tell.
    observed: ObservedWords,
}

#[cfg(all(test, not(loom)))]
crate::layout_check::layout!(
    ControlWords,
    "control",
    warning_ns,
    critical_ns,
    tick_unix_ns,
    address,
    socket,
    incidents,
    stalls_counted,
    turned,
    retired,
    observed
);

impl ControlWords {
    /// Returns from when on the loop has not polled, of a busy period that began at `since`: later than that where the agent
    /// saw it poll without telling.
    #[inline(always)]
    pub fn since_turn(&self, since: Ticks) -> Ticks {
        if since == Ticks::NONE { since } else { Ticks(since.0.max(self.turned.get())) }
    }

    /// Returns when the thread was seen to have ceased to run this loop; [`Ticks::NONE`] while it has not.
    pub fn retired(&self) -> Ticks {
        Ticks(self.retired.observe())
    }

    /// Returns what an observer saw, and how many stalls it saw end, by severity.
    pub(crate) fn observed(&self) -> (Observed, [u64; 2]) {
        self.observed.read()
    }

    pub(crate) fn set_turned(&self, pen: &WriteToken<AgentOwned>, at: Ticks) {
        self.turned.set(pen, at.0);
    }

    pub(crate) fn set_retired(&self, pen: &WriteToken<AgentOwned>, at: Ticks) {
        self.retired.publish(pen, at.0);
    }

    /// Returns the word that tells since when an observer has seen the loop busy.
    pub(crate) fn observed_busy_word(&self) -> &SharedU64<AgentOwned> {
        &self.observed.busy
    }

    /// Tells what an observer saw. A stall that has ended is counted; `ns` makes nanoseconds of ticks.
    pub(crate) fn set_observed(&self, pen: &WriteToken<AgentOwned>, seen: Observed, ns: impl Fn(u64) -> u64) {
        let (before, _) = self.observed();
        if before == seen {
            return;
        }
        let has_ended = before.busy_since != Ticks::NONE && before.busy_since != seen.busy_since;
        let length_ns = ns(seen.parked_since.since(self.since_turn(before.busy_since)));
        let is_stall =
            [self.warning_ns(), self.critical_ns()].map(|over_ns| has_ended && length_ns > over_ns);
        self.observed.store(pen, seen, is_stall);
    }

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

    /// Returns where the agent's socket file is, for programs that see files as the agent's own does; `None` where it has
    /// none, and where the words are no path of a file.
    pub fn socket(&self) -> Option<AgentAddress> {
        let address = load_text(&self.socket).parse().ok()?;
        matches!(address, AgentAddress::SocketFile(_)).then_some(address)
    }

    /// Returns the number of the last incident that an agent of the process has counted, 0 before the first.
    pub fn incidents(&self) -> u64 {
        count(self.incidents.get())
    }

    /// Returns how many stalls of this loop had ended when an agent last counted.
    pub fn stalls_counted(&self) -> u64 {
        count(self.stalls_counted.get())
    }

    /// Stores the numbers in this order: were the process killed between the two, a number would be left out, and none
    /// given twice.
    pub(crate) fn set_incidents(&self, pen: &WriteToken<AgentOwned>, incidents: u64, stalls_counted: u64) {
        self.incidents.set(pen, incidents);
        self.stalls_counted.set(pen, stalls_counted);
    }

    pub(crate) fn set_thresholds(&self, pen: &WriteToken<AgentOwned>, warning_ns: u64, critical_ns: u64) {
        self.warning_ns.set(pen, warning_ns);
        self.critical_ns.set(pen, critical_ns);
    }

    pub(crate) fn set_tick(&self, pen: &WriteToken<AgentOwned>, unix_ns: u64) {
        self.tick_unix_ns.set(pen, unix_ns);
    }

    pub(crate) fn set_address(&self, pen: &WriteToken<AgentOwned>, address: Option<&AgentAddress>) {
        let text = address.map(AgentAddress::page_text).unwrap_or_default();
        store_text(pen, &self.address, &text, false);
    }

    pub(crate) fn set_socket(&self, pen: &WriteToken<AgentOwned>, socket: Option<&AgentAddress>) {
        let text = socket.map(AgentAddress::page_text).unwrap_or_default();
        store_text(pen, &self.socket, &text, false);
    }
}
