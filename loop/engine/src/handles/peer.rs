//! Who is at the other end of a datagram.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The other side of a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An internet address.
    Internet(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
    /// A Unix-domain socket without a path.
    Unnamed,
}
