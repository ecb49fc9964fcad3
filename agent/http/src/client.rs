//! Who is at the other end of a connection: which user of this machine, found when the connection comes in.

use crate::peer_user::{OVERFLOW_USER, is_machines_own_namespace};
use loopscope_probe::raw::directory::own_user;
use std::fs;
use std::net::SocketAddr;

/// The superuser, who could read the process's memory anyway.
const ROOT: u32 = 0;

/// A client, among the extensions of its requests.
#[derive(Debug, Default)]
pub(crate) struct Client {
    connection: Connection,
}

/// What is known of a client before it has said anything; among the extensions of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// It showed a certificate that one of our authorities signed.
    pub has_certificate: bool,
}

/// How it reached us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Connection {
    /// Nothing is known of it.
    #[default]
    Unknown,
    /// From an address, by a user of this machine; `None` where that is not certain.
    Tcp { peer: SocketAddr, user: Option<u32> },
    /// By a socket file, as the user and the process that the system tells.
    Unix { user: u32, pid: Option<i32> },
}

impl Client {
    pub(crate) fn new(connection: Connection) -> Client {
        Client { connection }
    }

    /// Returns the user of this machine who has the other end; `None` where that is not certain.
    pub(crate) fn user(&self) -> Option<u32> {
        match self.connection {
            Connection::Unknown => None,
            Connection::Tcp { user, .. } => user,
            // Elsewhere this number stands for every user without one.
            Connection::Unix { user: OVERFLOW_USER, .. } if !is_machines_own_namespace() => None,
            Connection::Unix { user, .. } => Some(user),
        }
    }

    /// Tells whether it is the user that this process runs as now, or root.
    pub(crate) fn is_own_user(&self) -> bool {
        self.user().is_some_and(|user| user == ROOT || user == own_user())
    }
}

impl std::fmt::Display for Client {
    /// Writes who it is, for the log: the user and, where known, the process, else the address.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.user(), self.connection) {
            (Some(user), Connection::Unix { pid: Some(pid), .. }) => {
                write!(f, "{} in process {pid}", user_words(user))
            }
            (Some(user), _) => f.write_str(&user_words(user)),
            (None, Connection::Tcp { peer, .. }) => write!(f, "an unknown user at {peer}"),
            (None, _) => f.write_str("an unknown user"),
        }
    }
}

/// Names a user: `user alice (uid 1000)`.
pub(crate) fn user_words(user: u32) -> String {
    // Not getpwuid: that may ask a directory service, and this thread must go on.
    let known = fs::read_to_string("/etc/passwd").ok().and_then(|text| name_of(&text, user));
    known.map_or_else(|| format!("uid {user}"), |name| format!("user {name} (uid {user})"))
}

/// Finds the name of a user in the text of passwd(5).
fn name_of(text: &str, user: u32) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        (is_plain && id.parse() == Ok(user)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_runs_this_and_root_are_its_own_users_and_nobody_else_is() {
        let by_file = |user| Client::new(Connection::Unix { user, pid: Some(7) });
        assert!(by_file(0).is_own_user());
        assert!(by_file(own_user()).is_own_user() || !is_machines_own_namespace());
        assert!(!by_file(own_user() + 1).is_own_user());
        // A user as any other, whom the system calls nobody, or any user without a number here.
        let nobody = is_machines_own_namespace().then_some(OVERFLOW_USER);
        assert_eq!(by_file(OVERFLOW_USER).user(), nobody);
        assert!(!Client::default().is_own_user());
    }

    #[test]
    fn a_client_is_told_by_name_process_or_address() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\na\u{1b}b:x:7:7::/:/\nalice:x:1000:1000::/:/\n";
        assert_eq!(name_of(passwd, 1000).as_deref(), Some("alice"));
        for user in [7, 1, 100] {
            assert_eq!(name_of(passwd, user), None);
        }
        let told = Client::new(Connection::Unix { user: 4_000_000, pid: Some(7) }).to_string();
        assert_eq!(told, "uid 4000000 in process 7");
        let by_address = |user| Client::new(Connection::Tcp { peer: "192.0.2.1:5".parse().unwrap(), user });
        assert_eq!(by_address(None).to_string(), "an unknown user at 192.0.2.1:5");
        assert_eq!(by_address(Some(4_000_000)).to_string(), "uid 4000000");
        assert_eq!(Client::default().to_string(), "an unknown user");
    }
}
