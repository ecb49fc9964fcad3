//! What can go wrong for users of the agent, and what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an agent did not start.
#[derive(Debug)]
pub enum AgentError {
    /// The exact address that was asked for is in use: choose another one, port 0, or
    /// [`Listen::NextFree`](crate::Listen::NextFree).
    AddressInUse(SocketAddr),
    /// None of the ports that were tried is free.
    NoFreePort {
        /// The first that was tried.
        first: SocketAddr,
        /// How many were tried.
        tried: u16,
    },
    /// The address cannot be listened on for another reason.
    Listen(SocketAddr, io::Error),
    /// There can be no socket file at this path; the text says why and what helps.
    Socket(PathBuf, String),
    /// The token file or the web configuration cannot be used; the text says why and what helps.
    Credentials(String),
    /// This process has an agent already, and one watches all loops of a process: stop it first, or use it.
    AlreadyRunning,
    /// The thresholds make no sense: the warning must be at least 2 ms and not above the critical one.
    Thresholds {
        /// The warning threshold asked for, in nanoseconds.
        warning_ns: u64,
        /// The critical threshold asked for, in nanoseconds.
        critical_ns: u64,
    },
    /// The system refused a thread, an eventfd or an epoll instance.
    System(&'static str, io::Error),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::AddressInUse(address) => {
                write!(
                    f,
                    "address {address} is in use; listen on port 0 for any free one, or let the agent take the next free port"
                )
            }
            AgentError::NoFreePort { first, tried } => {
                write!(
                    f,
                    "none of the {tried} ports from {first} is free; choose another port, or port 0 for any free one"
                )
            }
            AgentError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            AgentError::Socket(path, why) => write!(f, "cannot listen on unix:{}: {why}", path.display()),
            AgentError::Credentials(why) => f.write_str(why),
            AgentError::AlreadyRunning => {
                f.write_str("this process already has an agent, which watches all its loops; stop it first")
            }
            AgentError::Thresholds { warning_ns, critical_ns } => write!(
                f,
                "stall thresholds of {warning_ns} ns (warning) and {critical_ns} ns (critical): the warning must be at least 2 ms and not above the critical one"
            ),
            AgentError::System(what, error) => write!(f, "cannot make {what} for the agent: {error}"),
        }
    }
}

impl std::error::Error for AgentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AgentError::Listen(_, error) | AgentError::System(_, error) => Some(error),
            _ => None,
        }
    }
}

/// Why there is no flamegraph.
#[derive(Debug)]
pub enum FlameError {
    /// Nothing ran, or was sampled, in the period: there is nothing to draw.
    Empty,
    /// There was something to sample, and no stack of it could be taken; the text says why.
    NoStacks(String),
    /// Folded stacks that cannot be read.
    Malformed {
        /// The first faulty line, from 1.
        line: usize,
        /// What is wrong with it.
        because: String,
    },
    /// Stacks cannot be sampled here; the text says why and what helps.
    Unavailable(String),
    /// A profile has sums and no order of events: a trace is made from a [`Timeline`](crate::flame::Timeline).
    NoTimeline,
    /// The drawing library failed.
    Draw(io::Error),
}

impl fmt::Display for FlameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlameError::Empty => f.write_str(
                "nothing to draw: nothing ran in that period; give the loop work, or capture for longer",
            ),
            FlameError::NoStacks(why) => write!(f, "nothing to draw, because no stack was taken: {why}"),
            FlameError::Malformed { line, because } => {
                write!(f, "line {line} of the folded stacks: {because}")
            }
            FlameError::Unavailable(because) => write!(f, "stacks cannot be sampled: {because}"),
            FlameError::NoTimeline => {
                f.write_str("a profile has no order of events to write a trace of; choose another format")
            }
            FlameError::Draw(error) => write!(f, "cannot draw the flamegraph: {error}"),
        }
    }
}

impl std::error::Error for FlameError {}
