//! The socket file that every agent has beside the pages of its process, for the `loopscope` command.
//!
//! It lies in the private runtime directory (mode 0700) under a name that a page's own name tells, so whoever may read a
//! page finds its agent without believing an address, and the system tells each end who the other one is. Where there can
//! be no such directory there is no page for others either, and no file. A program that has two versions of loopscope
//! in it has two agents: the second one's file has a number in its name, which the pages that it watches tell.

use loopscope_probe::raw::directory::{self, Owner, agent_socket, agent_socket_owner, further_agent_socket};
use loopscope_probe::raw::socket_file::SocketFile;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

/// Agents of one process that have files, each of another version of loopscope.
const AGENTS_MAX: u32 = 8;

/// The file, and who listens on it. Removed when dropped.
#[derive(Debug)]
pub struct AgentSocket {
    /// Before the listener, see [`SocketFile`].
    pub file: SocketFile,
    pub listener: UnixListener,
}

impl AgentSocket {
    /// Listens in the runtime directory of this user, and removes what agents of ended processes left there.
    ///
    /// # Errors
    /// There can be no such file; in words, with its path.
    pub fn open() -> Result<AgentSocket, String> {
        AgentSocket::open_in(&directory::runtime_directory(), Owner::this_process())
    }

    fn open_in(directory: &Path, owner: Owner) -> Result<AgentSocket, String> {
        let first = agent_socket(directory, owner);
        let refused = |path: &Path, because: &str| format!("{}: {because}", path.display());
        directory::make_private(directory).map_err(|because| refused(&first, &because))?;
        remove_leftovers(directory);
        let further = (2..=AGENTS_MAX).map(|number| further_agent_socket(directory, owner, number));
        for path in std::iter::once(first.clone()).chain(further) {
            match listen(&path) {
                Ok(Some(socket)) => return Ok(socket),
                // Of another agent of this process.
                Ok(None) => {}
                Err(error) => return Err(refused(&path, &error.to_string())),
            }
        }
        Err(refused(&first, &format!("{AGENTS_MAX} agents of this process listen there, and beside it")))
    }
}

/// Listens at a path; `None` where somebody does so already.
fn listen(path: &Path) -> io::Result<Option<AgentSocket>> {
    // The program that this one replaced (execve) had the same pid and start, and its agent ended with it.
    if path.symlink_metadata().is_ok() && !remove_dead(path) {
        return Ok(None);
    }
    let listener = match UnixListener::bind(path) {
        // Another agent starts at the same moment.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
        listener => listener?,
    };
    let socket = AgentSocket { file: SocketFile::made(path), listener };
    socket.listener.set_nonblocking(true)?;
    // The directory keeps others out; this also holds where it is opened to a group later.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Some(socket))
}

/// Removes the socket files of agents whose processes have ended.
fn remove_leftovers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if agent_socket_owner(&path).is_some_and(|owner| !owner.is_alive()) {
            remove_dead(&path);
        }
    }
}

/// Removes a socket file on which nobody listens; tells whether it was one. A process of another container that shares the
/// directory is not seen by its pid, but it listens.
pub(crate) fn remove_dead(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    is_socket && is_refused(path) && fs::remove_file(path).is_ok()
}

/// Tells whether nobody listens at a socket file, without becoming a connection that somebody has to take: a datagram
/// socket fits no listener, and is told so at once.
fn is_refused(path: &Path) -> bool {
    let asked = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::DirBuilder;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::PathBuf;

    /// A runtime directory of a test's own, removed when dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = PathBuf::from(format!("/dev/shm/loopscope-socket-{}-{name}", std::process::id()));
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// The path of this test's process in the directory.
    fn open(scratch: &Scratch) -> Result<AgentSocket, String> {
        AgentSocket::open_in(&scratch.0, Owner::this_process())
    }

    #[test]
    fn it_is_private_and_goes_with_the_agent() {
        let scratch = Scratch::new("private");
        let socket = open(&scratch).unwrap();
        let path = agent_socket(&scratch.0, Owner::this_process());
        assert_eq!(path.symlink_metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(agent_socket_owner(&path), Some(Owner::this_process()));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn each_agent_of_a_process_has_a_file_of_its_own() {
        let scratch = Scratch::new("several");
        let owner = Owner::this_process();
        let mut sockets: Vec<AgentSocket> = (0..AGENTS_MAX).map(|_| open(&scratch).unwrap()).collect();
        let paths: Vec<_> = sockets.iter().map(|socket| socket.file.path().to_owned()).collect();
        assert_eq!(paths[0], agent_socket(&scratch.0, owner));
        assert_eq!(paths[1], further_agent_socket(&scratch.0, owner, 2));
        assert!(paths.iter().all(|path| agent_socket_owner(path) == Some(owner)), "{paths:?}");
        let refused = open(&scratch).unwrap_err();
        assert!(refused.contains("8 agents of this process"), "{refused}");
        // Whoever starts next takes what is free, also what a killed program left.
        drop(sockets.remove(1));
        drop(UnixListener::bind(&paths[1]).unwrap());
        assert_eq!(open(&scratch).unwrap().file.path(), paths[1]);
        drop(sockets);
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
    }

    #[test]
    fn a_successors_file_stays() {
        let scratch = Scratch::new("successor");
        let socket = open(&scratch).unwrap();
        let path = socket.file.path().to_owned();
        fs::rename(&path, scratch.0.join("old")).unwrap();
        let _successor = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists(), "it is not ours any more");
    }

    #[test]
    fn what_ended_agents_left_is_removed_and_nothing_else() {
        let scratch = Scratch::new("left");
        // No process has this pid: the largest one is below it.
        let gone = |start| agent_socket(&scratch.0, Owner { pid: u32::MAX, start });
        drop(UnixListener::bind(gone(1)).unwrap());
        let gone_too = further_agent_socket(&scratch.0, Owner { pid: u32::MAX, start: 1 }, 2);
        drop(UnixListener::bind(&gone_too).unwrap());
        // As of a process in another pid namespace.
        let _alive = UnixListener::bind(gone(2)).unwrap();
        fs::write(gone(3), "no socket").unwrap();
        drop(UnixListener::bind(scratch.0.join("other.sock")).unwrap());
        // Of the program that this one replaced.
        drop(UnixListener::bind(agent_socket(&scratch.0, Owner::this_process())).unwrap());
        let socket = open(&scratch).unwrap();
        assert!(!gone(1).exists() && !gone_too.exists() && gone(2).exists() && gone(3).exists());
        assert!(scratch.0.join("other.sock").exists() && socket.file.path().exists());
    }

    #[test]
    fn where_there_can_be_none_the_path_is_told() {
        let refused = AgentSocket::open_in(Path::new("/proc/nowhere"), Owner::this_process()).unwrap_err();
        assert!(refused.starts_with("/proc/nowhere/agent-"), "{refused}");
        let scratch = Scratch::new("long");
        let long = scratch.0.join("a".repeat(100));
        let refused = AgentSocket::open_in(&long, Owner::this_process()).unwrap_err();
        assert!(refused.contains("agent-"), "{refused}");
    }
}
