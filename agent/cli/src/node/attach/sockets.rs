//! Ports that a process listens on, from /proc.

use std::collections::BTreeSet;
use std::fs;

/// State of a socket that listens.
const LISTENS: &str = "0A";

/// Who listens on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    No,
    ByIt,
    ByAnother,
}

/// Returns the ports on which the process listens, at any address.
pub fn listening(pid: u32) -> BTreeSet<u16> {
    own(pid).map(|(port, _)| port).collect()
}

/// Returns the sockets by which the process listens on a port, for [`has_any`].
pub fn listeners(pid: u32, port: u16) -> BTreeSet<String> {
    own(pid).filter(|(at, _)| *at == port).map(|(_, socket)| socket).collect()
}

/// Tells whether the process still has one of these sockets, by its descriptors: the kernel's table of all sockets may leave one out
/// while others come and go.
pub fn has_any(pid: u32, listeners: &BTreeSet<String>) -> bool {
    !sockets(pid).is_disjoint(listeners)
}

/// Tells who listens on a port where the process is; nobody on port 0, which stands for any.
pub fn owner_of(pid: u32, port: u16) -> Taken {
    let own = sockets(pid);
    let found: Vec<bool> =
        all(pid).iter().filter(|(at, _)| *at == port).map(|(_, socket)| own.contains(socket)).collect();
    match (found.iter().any(|is_own| *is_own), found.is_empty()) {
        (true, _) => Taken::ByIt,
        (false, false) => Taken::ByAnother,
        (false, true) => Taken::No,
    }
}

/// Port and inode of all by which the process listens.
fn own(pid: u32) -> impl Iterator<Item = (u16, String)> {
    let own = sockets(pid);
    all(pid).into_iter().filter(move |(_, socket)| own.contains(socket))
}

/// The inodes of its sockets.
fn sockets(pid: u32) -> BTreeSet<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

/// Port and inode of all that listens in the network namespace of the process.
fn all(pid: u32) -> Vec<(u16, String)> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    [read("tcp"), read("tcp6")].iter().flat_map(|table| parse(table)).collect()
}

fn parse(table: &str) -> Vec<(u16, String)> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = fields.get(1)?.rsplit_once(':')?;
        let is_listening = *fields.get(3)? == LISTENS;
        is_listening.then_some((u16::from_str_radix(port, 16).ok()?, (*fields.get(9)?).to_owned()))
    };
    table.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_of_this_process_is_found_and_is_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, pid) = (listener.local_addr().unwrap().port(), std::process::id());
        assert!(listening(pid).contains(&port));
        assert_eq!(owner_of(pid, port), Taken::ByIt);
        let its = listeners(pid, port);
        assert!(its.len() == 1 && has_any(pid, &its));
        drop(listener);
        assert!(!has_any(pid, &its));
        assert_ne!(owner_of(pid, port), Taken::ByIt);
        assert_eq!(owner_of(pid, 0), Taken::No);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert_eq!(parse("  sl  local_address\n 0: 0100007F:240D\n\n"), vec![]);
    }
}
