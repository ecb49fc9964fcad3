//! Without the feature `http` nobody is answered: the agent watches, logs, and keeps incidents in memory.

use crate::AgentError;
use crate::address_source::AddressSources;
use crate::environment::Environment;
use crate::thread::AgentHandle;
use crate::watch::log::LogSender;
use loopscope_probe::raw::agent_address::AgentAddress;

/// There is nothing to set.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSettings {}

impl ServerSettings {
    /// # Errors
    /// None; it is as in the module that has a server.
    pub(crate) fn apply(&mut self, _: &mut Environment) -> Result<(), AgentError> {
        Ok(())
    }
}

/// Listens nowhere.
pub(crate) struct OpenServer;

/// Answers nobody.
#[derive(Debug)]
pub(crate) struct Server;

impl OpenServer {
    /// # Errors
    /// None; it is as in the module that has a server.
    pub(crate) fn open(_: ServerSettings, _: &LogSender) -> Result<OpenServer, AgentError> {
        Ok(OpenServer)
    }

    /// Returns what pages tell other processes to call: nothing.
    pub(crate) fn address_on_page(&self) -> Option<AgentAddress> {
        None
    }

    /// Returns the socket file that pages tell: none.
    pub(crate) fn socket_on_page(&self) -> Option<AgentAddress> {
        None
    }

    /// # Errors
    /// None; it is as in the module that has a server.
    pub(crate) fn start(self, _: AgentHandle, _: AddressSources, _: LogSender) -> Result<Server, AgentError> {
        Ok(Server)
    }
}

impl Server {
    /// There is no thread to give up.
    pub(crate) fn forget(self) {}
}
