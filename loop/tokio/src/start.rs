//! `start`: the agent and the watch in one line.

use crate::attach::{Watch, attach};
use std::fmt;
use tokio::runtime::Handle;

/// Starts an agent for this process, where it has none, and watches the runtime that it is called in, under `name`.
/// For an existing `#[tokio::main]`:
///
/// ```
/// #[tokio::main]
/// async fn main() -> Result<(), loopscope_tokio::StartError> {
///     let _watch = loopscope_tokio::start("web")?;
///     Ok(())
/// }
/// ```
///
/// The agent has its defaults, and what the environment asks of it (`LOOPSCOPE_LISTEN`, `LOOPSCOPE_THRESHOLDS`, ...):
/// who wants others starts it with `loopscope_agent::Agent::builder()` and calls [`attach`]. Until the result is
/// dropped. With `LOOPSCOPE=off`, and on other systems than Linux, it does nothing.
///
/// # Errors
/// The call is outside a runtime, or the agent does not start; the message says why.
pub fn start(name: &str) -> Result<Watch, StartError> {
    let handle = Handle::try_current().map_err(|_| StartError::OutsideRuntime)?;
    start_on(&handle, name)
}

#[cfg(target_os = "linux")]
fn start_on(handle: &Handle, name: &str) -> Result<Watch, StartError> {
    use loopscope_agent::{Agent, AgentError};
    let agent = match Agent::builder().start() {
        Ok(agent) => Some(agent),
        Err(AgentError::AlreadyRunning) => None,
        Err(error) => return Err(StartError::Agent(error)),
    };
    let mut watch = attach(handle, name);
    watch.agent = agent;
    Ok(watch)
}

#[cfg(not(target_os = "linux"))]
fn start_on(handle: &Handle, name: &str) -> Result<Watch, StartError> {
    Ok(attach(handle, name))
}

#[cfg(target_os = "linux")]
impl Watch {
    /// Returns the agent that [`start`] started; `None` where the process had one before.
    pub fn agent(&self) -> Option<&loopscope_agent::Agent> {
        self.agent.as_ref()
    }
}

/// Why [`start`] did not.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// There is no runtime around the call: call it in `async fn main`, or `attach` with a `Handle`.
    OutsideRuntime,
    /// The agent did not start.
    #[cfg(target_os = "linux")]
    Agent(loopscope_agent::AgentError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::OutsideRuntime => {
                f.write_str("not in a Tokio runtime: call start from an async function that runs on it")
            }
            #[cfg(target_os = "linux")]
            StartError::Agent(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::OutsideRuntime => None,
            // Its message is ours.
            #[cfg(target_os = "linux")]
            StartError::Agent(error) => error.source(),
        }
    }
}
