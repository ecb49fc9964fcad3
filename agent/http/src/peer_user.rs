//! Which user of this machine has the other end of a TCP connection, by the kernel's own table of sockets.
//!
//! One question over netlink (`NETLINK_SOCK_DIAG`) for the peer's socket: its source is the peer's address, its
//! destination is ours. The kernel answers while it takes the question, in about 20 µs, so nobody waits.
//!
//! Anything but a clear answer is `None`: an error, no such socket, sockets that cannot be asked for (`tcp_diag` is
//! missing, a sandbox forbids netlink), or a user namespace other than the machine's own, where users of others look like
//! one (65534). A socket that no process has open any more counts as nobody's: one in TIME_WAIT is told with user 0, so
//! who connects and closes at once would be root.
//!
//! # Source
//! sock_diag(7); `net/ipv4/inet_diag.c` of Linux 6.1 (`inet_diag_find_one_icsk` looks up IPv4-mapped addresses as IPv4).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::FromRawFd;

/// Stands for every user that has no number in this user namespace. In the machine's own all have one, and this is nobody's.
pub(crate) const OVERFLOW_USER: u32 = 65_534;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`: the type of question and answer.
const BY_FAMILY: u16 = 20;

/// Bytes of `nlmsghdr`, `inet_diag_req_v2` and `inet_diag_msg`.
const HEADER: usize = 16;
const QUESTION: usize = 56;
const ANSWER: usize = 72;

/// Where both structures have the socket's ends (`inet_diag_sockid`), and how many of its bytes tell them: two ports and
/// two addresses.
const ENDS_IN_QUESTION: usize = 8;
const ENDS_IN_ANSWER: usize = 4;
const ENDS: usize = 36;

/// Where `inet_diag_msg` has the state, the user and the inode.
const STATE: usize = 1;
const USER: usize = 64;
const INODE: usize = 68;

/// States in which a process still has its end and waits for our answer: ESTABLISHED, and FIN_WAIT1 and 2, where it has
/// said all it wants to say (`shutdown(SHUT_WR)`, as `nc -N` does).
const WAITING_STATES: [u8; 3] = [1, 4, 5];

/// Returns the user who has the other end of the connection between `peer` and our own end `own`, both of this machine;
/// `None` where that is not certain.
pub(crate) fn user_of(peer: SocketAddr, own: SocketAddr) -> Option<u32> {
    let is_local = [peer, own].iter().all(|end| end.ip().to_canonical().is_loopback());
    if !is_local || !is_machines_own_namespace() {
        return None;
    }
    let ends = ends(peer, own)?;
    let mut answer = [0; 512];
    let length = ask(&question(peer.ip(), &ends), &mut answer).ok()?;
    owner(answer.get(..length)?, &ends)
}

/// Tells whether users have the same numbers here as everywhere on the machine.
pub(crate) fn is_machines_own_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_of_machine(&map))
}

/// Tells whether a map of users (user_namespaces(7)) gives each its own number.
fn is_of_machine(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

/// Writes both ends as the kernel has them: ports, then addresses of 16 bytes. `None` where they are of two families.
fn ends(peer: SocketAddr, own: SocketAddr) -> Option<[u8; ENDS]> {
    let mut ends = [0; ENDS];
    ends[..2].copy_from_slice(&peer.port().to_be_bytes());
    ends[2..4].copy_from_slice(&own.port().to_be_bytes());
    match (peer.ip().to_canonical(), own.ip().to_canonical()) {
        (IpAddr::V4(peer), IpAddr::V4(own)) => {
            ends[4..8].copy_from_slice(&peer.octets());
            ends[20..24].copy_from_slice(&own.octets());
        }
        (IpAddr::V6(peer), IpAddr::V6(own)) => {
            ends[4..20].copy_from_slice(&peer.octets());
            ends[20..].copy_from_slice(&own.octets());
        }
        _ => return None,
    }
    Some(ends)
}

/// Writes the ends of an IPv6 socket that speaks IPv4 as those of an IPv4 socket: both are found by the same question.
fn plain(mut ends: [u8; ENDS]) -> [u8; ENDS] {
    let mapped = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
    for at in [4, 20] {
        if ends[at..].starts_with(&mapped[..12]) {
            ends.copy_within(at + 12..at + 16, at);
            ends[at + 4..at + 16].fill(0);
        }
    }
    ends
}

fn question(peer: IpAddr, ends: &[u8; ENDS]) -> [u8; HEADER + QUESTION] {
    let mut message = [0; HEADER + QUESTION];
    let length = (HEADER + QUESTION) as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    message[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    let question = &mut message[HEADER..];
    question[0] = if peer.to_canonical().is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    question[1] = libc::IPPROTO_TCP as u8;
    // All states; which ones count is judged by the answer.
    question[4..8].fill(0xff);
    question[ENDS_IN_QUESTION..][..ENDS].copy_from_slice(ends);
    // No cookie: INET_DIAG_NOCOOKIE in both halves. The interface before it is 0, which is any.
    question[QUESTION - 8..].fill(0xff);
    message
}

/// Asks the kernel. Returns how many bytes its answer has.
fn ask(question: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes numbers only and has no duties.
    let descriptor = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just now and nobody else has it.
    let mut kernel = unsafe { File::from_raw_fd(descriptor) };
    // An unconnected netlink socket writes to the kernel, and only the kernel and root can write to it.
    kernel.write_all(question)?;
    kernel.read(answer)
}

/// Reads the user from an answer; `None` where it is an error, of another socket, or of one that no process has open.
fn owner(answer: &[u8], ends: &[u8; ENDS]) -> Option<u32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let message = answer.get(HEADER..HEADER + ANSWER).filter(|_| kind == BY_FAMILY)?;
    let word = |at: usize| message[at..at + 4].try_into().map(u32::from_ne_bytes).ok();
    // The kernel answers with a listening socket where there is no connection.
    let told = plain(message[ENDS_IN_ANSWER..][..ENDS].try_into().ok()?);
    let is_the_peer = told == *ends && WAITING_STATES.contains(&message[STATE]);
    word(USER).filter(|_| is_the_peer && word(INODE) != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::raw::directory::own_user;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// Connects to a listener at `listen` by the address `to`; returns the client and its ends as the server sees them.
    fn connection(listen: &str, to: &str) -> (TcpStream, TcpStream, SocketAddr, SocketAddr) {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(SocketAddr::new(to.parse().unwrap(), port)).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let own = server.local_addr().unwrap();
        (client, server, peer, own)
    }

    #[test]
    fn the_user_of_a_connection_is_found_for_each_family() {
        if !is_machines_own_namespace() {
            println!("skipped: users of connections: this user namespace is not the machine's own");
            return;
        }
        for (listen, to) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
            ("[::1]:0", "::1"),
            ("[::]:0", "127.0.0.1"),
        ] {
            let (client, _server, peer, own) = connection(listen, to);
            assert_eq!(user_of(peer, own), Some(own_user()), "{listen} from {to}");
            // Said all it wants to say, and still there.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(user_of(peer, own), Some(own_user()), "{listen} from {to}");
        }
    }

    #[test]
    fn who_closed_is_nobody_also_in_time_wait_which_the_kernel_tells_as_roots() {
        for keep_server in [true, false] {
            let (client, server, peer, own) = connection("127.0.0.1:0", "127.0.0.1");
            // With the server's end open the client's is in FIN_WAIT2, without it in TIME_WAIT.
            drop(client);
            let server = Some(server).filter(|_| keep_server);
            assert_eq!(user_of(peer, own), None, "server kept: {keep_server}");
            drop(server);
        }
    }

    #[test]
    fn a_listener_on_the_peers_port_and_peers_elsewhere_are_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        assert_eq!(user_of(listening, "127.0.0.1:1".parse().unwrap()), None);
        let (_client, _server, peer, own) = connection("127.0.0.1:0", "127.0.0.1");
        for (peer, own) in [
            (SocketAddr::new("192.0.2.1".parse().unwrap(), peer.port()), own),
            (SocketAddr::new("::1".parse().unwrap(), peer.port()), own),
            (own, own),
        ] {
            assert_eq!(user_of(peer, own), None, "{peer} {own}");
        }
    }

    /// Makes the kernel refuse sockets of netlink to the calling thread, as a container's filter may.
    fn forbid_netlink() {
        let filter = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let mut filters = [
            // The number of the call, and the low half of its first argument: the family.
            filter(load, 0, 0, 0),
            filter(equals, 0, 3, libc::SYS_socket as u32),
            filter(load, 0, 0, 16),
            filter(equals, 0, 1, libc::AF_NETLINK as u32),
            filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_mut_ptr() };
        // SAFETY: takes numbers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
        // SAFETY: the program and its filters are live during the call.
        let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
        assert_eq!(set, 0);
    }

    #[test]
    fn where_the_kernel_is_not_to_be_asked_everybody_is_nobody() {
        let (_client, _server, peer, own) = connection("127.0.0.1:0", "127.0.0.1");
        let asked = std::thread::spawn(move || {
            forbid_netlink();
            (ask(&[0; HEADER], &mut [0; ANSWER]).unwrap_err().raw_os_error(), user_of(peer, own))
        });
        assert_eq!(asked.join().unwrap(), (Some(libc::EPERM), None));
    }

    #[test]
    fn in_another_user_namespace_everybody_is_nobody() {
        const NAME: &str = "peer_user::tests::in_another_user_namespace_everybody_is_nobody";
        const PART: &str = "LOOPSCOPE_TEST_IN_A_NAMESPACE";
        if std::env::var_os(PART).is_some() {
            let (_client, _server, peer, own) = connection("127.0.0.1:0", "127.0.0.1");
            assert_eq!((is_machines_own_namespace(), user_of(peer, own)), (false, None));
            return;
        }
        for (map, is_machines) in
            [("0 0 4294967295\n", true), ("", false), ("0 1000 1\n", false), ("0 0 65536\n", false)]
        {
            assert_eq!(is_of_machine(map), is_machines, "{map:?}");
        }
        // This program again, for this test alone, in a user namespace of its own.
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([NAME, "--exact", "--nocapture"]).env(PART, "1");
        let leave = || {
            // SAFETY: takes a number, and may be called between fork and exec.
            let left = unsafe { libc::unshare(libc::CLONE_NEWUSER) };
            if left == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        // SAFETY: `leave` makes one system call and allocates nothing.
        unsafe { command.pre_exec(leave) };
        match command.output() {
            Err(error) => println!("skipped: another user namespace: the system permits none ({error})"),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success() && said.contains("1 passed"), "{said}");
            }
        }
    }

    /// Prints what a look-up takes: with `--release -- --nocapture`, the row of `benches/RESULTS.md`.
    #[test]
    fn a_look_up_is_short_enough_for_every_connection() {
        let (_client, _server, peer, own) = connection("127.0.0.1:0", "127.0.0.1");
        let clock = loopscope_probe::Clock::monotonic();
        let mut all_ns: Vec<u64> = (0..2_000)
            .map(|_| {
                let begin = clock.now();
                assert!(user_of(peer, own).is_some());
                clock.ns_between(begin, clock.now())
            })
            .collect();
        all_ns.sort_unstable();
        let us = |part: f64| all_ns[(all_ns.len() as f64 * part) as usize] as f64 / 1e3;
        println!("look-up of a user: median {:.1} us, p99 {:.1} us", us(0.5), us(0.99));
    }

    #[test]
    fn only_a_clear_answer_names_a_user() {
        let ends = ends("127.0.0.1:5".parse().unwrap(), "127.0.0.1:6".parse().unwrap()).unwrap();
        let answer = |kind: u16, state: u8, user: u32, inode: u32| {
            let mut answer = [0; HEADER + ANSWER];
            answer[4..6].copy_from_slice(&kind.to_ne_bytes());
            answer[HEADER + STATE] = state;
            answer[HEADER + ENDS_IN_ANSWER..][..ENDS].copy_from_slice(&ends);
            answer[HEADER + USER..][..4].copy_from_slice(&user.to_ne_bytes());
            answer[HEADER + INODE..][..4].copy_from_slice(&inode.to_ne_bytes());
            answer
        };
        const ERROR: u16 = 2;
        const TIME_WAIT: u8 = 6;
        const LISTEN: u8 = 10;
        assert_eq!(owner(&answer(BY_FAMILY, 1, 1000, 7), &ends), Some(1000));
        assert_eq!(owner(&answer(BY_FAMILY, 1, 0, 7), &ends), Some(0));
        assert_eq!(owner(&answer(BY_FAMILY, 1, OVERFLOW_USER, 7), &ends), Some(OVERFLOW_USER));
        for (kind, state, user, inode) in [
            (ERROR, 1, 1000, 7),
            (BY_FAMILY, 1, 0, 0),
            (BY_FAMILY, TIME_WAIT, 0, 0),
            (BY_FAMILY, TIME_WAIT, 0, 7),
            (BY_FAMILY, LISTEN, 1000, 7),
        ] {
            assert_eq!(
                owner(&answer(kind, state, user, inode), &ends),
                None,
                "{kind} {state} {user} {inode}"
            );
        }
        let of_other = answer(BY_FAMILY, 1, 1000, 7);
        assert_eq!(owner(&of_other, &[0; ENDS]), None);
        assert_eq!(owner(&of_other[..HEADER + ANSWER - 1], &ends), None);
        assert_eq!(owner(&[], &ends), None);
    }
}
