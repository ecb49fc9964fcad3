//! Where an agent's server is reached: a TCP address, one with TLS, or a socket file.
//!
//! It stands on the page as text, and everybody who reads it there, prints it or asks at it has this type in between: nobody
//! else puts `http://` before something.
//!
//! ```text
//!   on the page            as a URL                    what curl takes
//!   127.0.0.1:9464         http://127.0.0.1:9464       http://127.0.0.1:9464/metrics
//!   https://[::1]:9464     the same                    https://[::1]:9464/metrics
//!   unix:/run/app.sock     the same                    --unix-socket /run/app.sock http://localhost/metrics
//! ```

use crate::printable::shell_word;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

const HTTP: &str = "http://";
const HTTPS: &str = "https://";
const UNIX: &str = "unix:";

/// Where an agent's server is reached. Its text is a URL without a slash at its end, and is read back as the same address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AgentAddress {
    /// HTTP on this address.
    Tcp(SocketAddr),
    /// HTTP over TLS on this address.
    Tls(SocketAddr),
    /// HTTP on this socket file.
    SocketFile(SocketPath),
}

/// The whole path of a socket file, in UTF-8: it can be told by a page, and read in any directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketPath(String);

impl SocketPath {
    /// Takes a path.
    ///
    /// # Errors
    /// It does not begin at the root, or is no UTF-8.
    pub fn new(path: &Path) -> Result<SocketPath, AddressError> {
        match path.to_str() {
            Some(text) if text.starts_with('/') && !text.contains('\0') => Ok(SocketPath(text.to_owned())),
            _ => Err(AddressError { text: path.display().to_string(), because: NO_PATH }),
        }
    }

    /// Returns the path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl AgentAddress {
    /// Returns the text that a page has: as a URL, but `host:port` alone for plain TCP.
    pub fn page_text(&self) -> String {
        match self {
            AgentAddress::Tcp(at) => at.to_string(),
            address => address.to_string(),
        }
    }

    /// Returns the address by which a process of the same machine reaches it: where the server listens on all addresses,
    /// that is the machine's own.
    #[must_use]
    pub fn local(&self) -> AgentAddress {
        let own = |at: &SocketAddr| {
            let mut own = *at;
            match at.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => own.set_ip(Ipv4Addr::LOCALHOST.into()),
                IpAddr::V6(ip) if ip.is_unspecified() => own.set_ip(Ipv6Addr::LOCALHOST.into()),
                _ => {}
            }
            own
        };
        match self {
            AgentAddress::Tcp(at) => AgentAddress::Tcp(own(at)),
            AgentAddress::Tls(at) => AgentAddress::Tls(own(at)),
            AgentAddress::SocketFile(path) => AgentAddress::SocketFile(path.clone()),
        }
    }

    /// Returns the arguments by which curl asks for a path of this server; `path` begins with a slash.
    ///
    /// ```
    /// use loopscope_probe::raw::agent_address::AgentAddress;
    /// let address: AgentAddress = "unix:/run/app.sock".parse()?;
    /// assert_eq!(address.curl_args("/metrics"), ["--unix-socket", "/run/app.sock", "http://localhost/metrics"]);
    /// # Ok::<(), loopscope_probe::raw::agent_address::AddressError>(())
    /// ```
    pub fn curl_args(&self, path: &str) -> Vec<String> {
        match self.local() {
            AgentAddress::SocketFile(SocketPath(file)) => {
                vec!["--unix-socket".to_owned(), file, format!("http://localhost{path}")]
            }
            address => vec![format!("{address}{path}")],
        }
    }

    /// Returns the same as words of a shell.
    pub fn curl_words(&self, path: &str) -> String {
        let words: Vec<String> =
            self.curl_args(path).iter().map(|word| shell_word(word).into_owned()).collect();
        words.join(" ")
    }
}

impl fmt::Display for AgentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentAddress::Tcp(at) => write!(f, "{HTTP}{at}"),
            AgentAddress::Tls(at) => write!(f, "{HTTPS}{at}"),
            AgentAddress::SocketFile(SocketPath(path)) => write!(f, "{UNIX}{path}"),
        }
    }
}

impl FromStr for AgentAddress {
    type Err = AddressError;

    /// Reads an address as a page or [`Display`](fmt::Display) writes it.
    fn from_str(text: &str) -> Result<AgentAddress, AddressError> {
        let refused = |because| AddressError { text: text.to_owned(), because };
        if let Some(path) = text.strip_prefix(UNIX) {
            return SocketPath::new(&PathBuf::from(path))
                .map(AgentAddress::SocketFile)
                .map_err(|_| refused(NO_PATH));
        }
        let (of, at): (fn(SocketAddr) -> AgentAddress, &str) = match text.strip_prefix(HTTPS) {
            Some(at) => (AgentAddress::Tls, at),
            None => (AgentAddress::Tcp, text.strip_prefix(HTTP).unwrap_or(text)),
        };
        at.strip_suffix('/').unwrap_or(at).parse().map(of).map_err(|_| refused(NO_SOCKET))
    }
}

const NO_PATH: &str = "give the full path of the socket file in UTF-8, as unix:/run/app.sock";
const NO_SOCKET: &str = "expected an IP address and port, as http://127.0.0.1:9464, or unix:/run/app.sock";

/// Why a text is no address of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    because: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the address of an agent: {}", self.text, self.because)
    }
}

impl std::error::Error for AddressError {}

#[cfg(test)]
#[path = "agent_address_tests.rs"]
mod tests;
