//! Why there is no server.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server did not start, and what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// The exact address that was asked for is in use: choose another one, port 0, or
    /// [`Listen::NextFree`](crate::Listen::NextFree).
    AddressInUse(SocketAddr),
    /// The address cannot be listened on for another reason.
    Listen(SocketAddr, io::Error),
    /// There can be no socket file at this path; the text says why and what helps.
    Socket(PathBuf, String),
    /// The token file or the web configuration cannot be used; the text says why and what helps.
    Credentials(String),
    /// The system refused a thread, an eventfd or an epoll instance.
    System(&'static str, io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::AddressInUse(address) => {
                write!(
                    f,
                    "address {address} is in use; use port 0 for any free port, or let the agent take the next free one"
                )
            }
            ServerError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            ServerError::Socket(path, why) => write!(f, "cannot listen on unix:{}: {why}", path.display()),
            ServerError::Credentials(why) => f.write_str(why),
            ServerError::System(what, error) => write!(f, "cannot create {what}: {error}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServerError::Listen(_, error) | ServerError::System(_, error) => Some(error),
            _ => None,
        }
    }
}
