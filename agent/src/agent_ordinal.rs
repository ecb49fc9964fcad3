//! Which of the agents of a process this is: a program may have two versions of this crate in it, each with an agent of its own.
//!
//! They share no variable. What they share is the kernel: each holds a name of the process's own, an address of a Unix-domain socket
//! that is in no file system, until it ends, however it ends. Nothing is ever received there.
//!
//! The incidents of one process have one numbering, by which files, logs and commands tell them apart. So each agent has numbers of
//! its own: see [`numbers_before`].

use loopscope_probe::raw::incident_id::numbers_before;
use loopscope_probe::raw::process_id::ProcessId;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};

/// So many agents of a process are told apart.
const AGENTS_MAX: u32 = 16;

/// The ordinal that an agent of this version last had, and in which process: the next one has the same, and goes on counting.
static LAST: Mutex<(u32, u32)> = Mutex::new((0, 0));

/// An agent's ordinal within its process, given back when dropped.
#[derive(Debug)]
pub(crate) struct AgentOrdinal {
    number: u32,
    /// `None` where there can be no such socket: who cannot ask takes itself for the only one.
    _held: Option<UnixDatagram>,
}

impl AgentOrdinal {
    /// Takes the first that is free.
    pub(crate) fn take() -> AgentOrdinal {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        let first = if last.0 == pid { last.1 } else { 0 };
        let process = ProcessId::this_process();
        for number in std::iter::once(first).chain(0..AGENTS_MAX) {
            let name = format!("loopscope-agent-{process}-{number}");
            match SocketAddr::from_abstract_name(name).and_then(|name| UnixDatagram::bind_addr(&name)) {
                Ok(held) => {
                    // Nobody may fill a queue that nobody empties; where that is refused it is as long as any other.
                    let _ = held.shutdown(Shutdown::Read);
                    *last = (pid, number);
                    return AgentOrdinal { number, _held: Some(held) };
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(_) => break,
            }
        }
        AgentOrdinal { number: 0, _held: None }
    }

    /// Returns the number that all of its incidents are above.
    pub(crate) fn numbers_before(&self) -> u64 {
        numbers_before(self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_run_at_once_count_apart_and_the_next_one_goes_on() {
        let first = AgentOrdinal::take();
        // What an agent of another version holds.
        *LAST.lock().unwrap() = (0, 0);
        let second = AgentOrdinal::take();
        assert_eq!((first.numbers_before(), second.numbers_before()), (0, 1_000_000_000));
        drop(second);
        let (again, third) = (AgentOrdinal::take(), AgentOrdinal::take());
        assert_eq!(
            (again.number, third.number),
            (1, 2),
            "the first of this version was free, and the other not"
        );
        drop(first);
        assert_eq!(AgentOrdinal::take().number, 0);
        // Nobody else fills a queue.
        let address = third._held.as_ref().unwrap().local_addr().unwrap();
        let sent = UnixDatagram::unbound().unwrap().send_to_addr(b"anything", &address);
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
