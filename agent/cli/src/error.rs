//! What can go wrong in a command, and the exit code that says so to scripts.

use loopscope_agent::ServerError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// No process, or none that fits the target.
    NotFound(String),
    /// Several processes fit the target; they are listed.
    Ambiguous(String),
    /// An argument that cannot be used, beyond what the parser of arguments can tell.
    Usage(String),
    /// The loop did nothing while it was watched.
    NothingCaptured(String),
    /// Something takes more time than before, and was not to.
    Grown(String),
    /// A URL did not answer, or not with what was asked for.
    Remote { url: String, because: String },
    /// A file cannot be written.
    Output { path: PathBuf, error: io::Error },
    /// A file or directory that was given cannot be read.
    Input { path: PathBuf, error: io::Error },
    /// The runtime directory cannot be read.
    Directory { path: PathBuf, error: io::Error },
    /// A server cannot listen.
    Listen { address: SocketAddr, error: io::Error },
    /// Anything that the machine refused, with what we wanted of it.
    System { wanted: String, because: String },
}

impl Failure {
    /// Returns what a system call refused.
    pub fn system(wanted: &str, because: impl fmt::Display) -> Failure {
        Failure::System { wanted: wanted.to_owned(), because: because.to_string() }
    }

    /// Returns why a server did not start.
    pub fn of_server(error: &ServerError) -> Failure {
        match error {
            ServerError::AddressInUse(address) => {
                Failure::Listen { address: *address, error: io::Error::from(io::ErrorKind::AddrInUse) }
            }
            ServerError::Listen(address, error) => {
                Failure::Listen { address: *address, error: io::Error::new(error.kind(), error.to_string()) }
            }
            error => Failure::system("start the server", error),
        }
    }

    /// Returns the exit code: 1 failed, 2 usage, 3 target not found or nothing captured, 4 something is wrong with
    /// the target.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Grown(_) => 4,
            Failure::NotFound(_) | Failure::NothingCaptured(_) => 3,
            Failure::Ambiguous(_) | Failure::Usage(_) => 2,
            Failure::Remote { .. }
            | Failure::Output { .. }
            | Failure::Input { .. }
            | Failure::Directory { .. }
            | Failure::Listen { .. }
            | Failure::System { .. } => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotFound(text)
            | Failure::Ambiguous(text)
            | Failure::Usage(text)
            | Failure::NothingCaptured(text)
            | Failure::Grown(text) => f.write_str(text),
            Failure::Remote { url, because } => write!(f, "{url}: {because}"),
            Failure::Output { path, error } => {
                write!(f, "cannot write {}: {error}; choose another file with -o", path.display())
            }
            Failure::Input { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Failure::Directory { path, error } => write!(
                f,
                "cannot read the runtime directory {}: {error}; run as the user of the watched program, or set \
                 LOOPSCOPE_RUNTIME_DIR to a directory that you own",
                path.display()
            ),
            Failure::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{address} is in use by another program; choose another port with --listen, or port 0 for any free one"
            ),
            Failure::Listen { address, error } => write!(f, "cannot listen on {address}: {error}"),
            Failure::System { wanted, because } => write!(f, "cannot {wanted}: {because}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_names_the_address_and_the_way_out() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let failure = Failure::Listen { address, error: io::Error::from(io::ErrorKind::AddrInUse) };
        let text = failure.to_string();
        assert!(text.contains("127.0.0.1:8080") && text.contains("--listen"), "{text}");
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn exit_codes_tell_not_found_from_usage() {
        assert_eq!(Failure::NotFound(String::new()).exit_code(), 3);
        assert_eq!(Failure::NothingCaptured(String::new()).exit_code(), 3);
        assert_eq!(Failure::Ambiguous(String::new()).exit_code(), 2);
        assert_eq!(Failure::system("x", "y").exit_code(), 1);
    }
}
