//! Who is at the other end of a connection: which user of this machine, found once and when it first matters.

use crate::web::peer_user::{self, OVERFLOW_USER};
use loopscope_probe::directory::own_user;
use std::fs;
use std::net::SocketAddr;
use std::sync::OnceLock;

/// The superuser, who could read the process's memory anyway.
const ROOT: u32 = 0;

/// A client, among the extensions of its requests.
#[derive(Debug, Default)]
pub(crate) struct Client {
    connection: Connection,
    /// `None` where it is not certain.
    user: OnceLock<Option<u32>>,
}

/// How it reached us.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Connection {
    /// Nothing is known of it.
    #[default]
    Unknown,
    /// From the address `peer` to our address `own`.
    Tcp { peer: SocketAddr, own: SocketAddr },
    /// By a socket file, as the user and the process that the system tells.
    Unix { user: u32, pid: Option<i32> },
}

impl Client {
    pub(crate) fn new(connection: Connection) -> Client {
        Client { connection, user: OnceLock::new() }
    }

    /// Returns the user of this machine who has the other end; `None` where that is not certain.
    pub(crate) fn user(&self) -> Option<u32> {
        *self.user.get_or_init(|| match self.connection {
            Connection::Unknown => None,
            Connection::Tcp { peer, own } => peer_user::user_of(peer, own),
            Connection::Unix { user, .. } => Some(user).filter(|user| *user != OVERFLOW_USER),
        })
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
            (None, Connection::Tcp { peer, .. }) => write!(f, "somebody at {peer}"),
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
        assert_eq!(by_file(own_user()).is_own_user(), own_user() != OVERFLOW_USER);
        assert!(!by_file(own_user() + 1).is_own_user());
        assert!(!by_file(OVERFLOW_USER).is_own_user(), "any user without a number here");
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
        let (peer, own) = ("192.0.2.1:5".parse().unwrap(), "127.0.0.1:6".parse().unwrap());
        assert_eq!(Client::new(Connection::Tcp { peer, own }).to_string(), "somebody at 192.0.2.1:5");
        assert_eq!(Client::default().to_string(), "an unknown user");
    }
}
