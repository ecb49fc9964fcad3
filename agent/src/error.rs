//! What can go wrong for users of the agent, and what to do about it.

use crate::server_error::ServerError;
use loopscope_report::duration::show_exactly;
use loopscope_report::model::thresholds::THRESHOLD_NS_MIN;
use std::fmt;
use std::io;

/// Why an agent did not start. What a program prints that hands it out of `main` is its message, too.
#[non_exhaustive]
pub enum AgentError {
    /// The server did not start: its address, its socket file or its credentials cannot be had.
    Server(ServerError),
    /// This process has an agent already, and one watches all loops of a process: stop it first, or use it.
    AlreadyRunning,
    /// The thresholds make no sense: warning must be at least 2 ms and not above critical.
    Thresholds {
        /// The warning threshold asked for, in nanoseconds.
        warning_ns: u64,
        /// The critical threshold asked for, in nanoseconds.
        critical_ns: u64,
    },
    /// A variable of the environment has a value that means nothing, and the agent would answer elsewhere, or to
    /// others, without it.
    Setting {
        /// The variable's name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: String,
    },
    /// The system refused a thread, an eventfd or an epoll instance.
    System(&'static str, io::Error),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Server(error) => error.fmt(f),
            AgentError::AlreadyRunning => f.write_str(
                "this process already has an agent, which watches all its loops; stop that one first",
            ),
            AgentError::Thresholds { warning_ns, critical_ns } => write!(
                f,
                "stall thresholds of {} (warning) and {} (critical): warning must be at least {} and not above critical",
                show_exactly(*warning_ns),
                show_exactly(*critical_ns),
                show_exactly(THRESHOLD_NS_MIN)
            ),
            AgentError::Setting { variable, value, expected } => {
                write!(f, "{variable}={value} is not valid; expected: {expected}")
            }
            AgentError::System(what, error) => write!(f, "cannot create {what} for the agent: {error}"),
        }
    }
}

impl fmt::Debug for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<ServerError> for AgentError {
    fn from(error: ServerError) -> AgentError {
        AgentError::Server(error)
    }
}

impl std::error::Error for AgentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its message is ours.
            AgentError::Server(error) => error.source(),
            AgentError::System(_, error) => Some(error),
            _ => None,
        }
    }
}
