//! Which users of this machine an agent tells what, however they reach it, and who is told to have changed it.

#[path = "../agent/tests/support/mod.rs"]
mod support;

use loopscope_agent::{Agent, Listen};
use loopscope_host::Host;
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::directory::{Owner, agent_socket, runtime_directory};
use loopscope_probe::raw::registry;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use support::agent_process::{AgentProcess, run_if_asked};
use support::{
    DEADLINE, HandLoop, any_port, builder, connect, connect_to, get, get_at, turn, until, value,
    within_deadline,
};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tracing_subscriber::layer::SubscriberExt;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const INCIDENTS: &str = "/debug/loopscope/incidents";
/// A capture that is refused only after the question who asks for it: it takes no time.
const STACKS: &str = "/debug/loopscope/flamegraph?of=cpu&seconds=0";
const THRESHOLDS: &str = "/debug/loopscope/thresholds?warning=40ms";

/// Users that need not exist: the one that the agent runs as, and another one.
const OWN: u32 = 20_001;
const OTHER: u32 = 20_002;

fn is_root() -> bool {
    // Its own effective user is the owner of what a process makes.
    fs::metadata("/proc/self/fd").is_ok_and(|found| found.uid() == 0)
}

/// Does something as another user: on a thread that becomes this one alone, so that its connections are that user's. Nothing
/// that is ours runs there, since a process of ours is one user's ([`start`]); what `act` waits for has deadlines.
fn as_user<T: Send + 'static>(user: u32, act: impl FnOnce() -> T + Send + 'static) -> T {
    let run = move || {
        // SAFETY: this call changes the credentials of the calling thread only, which ends after `act`. The function of
        // the C library would change those of all threads.
        let failed = unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, user, u32::MAX) };
        assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
        act()
    };
    std::thread::spawn(run).join().unwrap()
}

/// How an agent is reached.
#[derive(Clone, Debug)]
enum Way {
    Tcp(SocketAddr),
    Tls(SocketAddr, Arc<ureq::Agent>),
    File(PathBuf),
}

impl Way {
    /// Asks, and returns the status; `None` where there is no way in.
    fn ask(&self, method: &'static str, path: &'static str, header: &str) -> Option<u16> {
        let (way, header) = (self.clone(), header.to_owned());
        // A thread of the same user.
        within_deadline(move || way.exchange(method, path, &header))
    }

    fn exchange(&self, method: &str, path: &str, header: &str) -> Option<u16> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Loopscope: 1\r\n{header}Connection: close\r\n\r\n"
        );
        match self {
            Way::Tcp(at) => exchange(connect_to(*at), &request),
            Way::File(path) => match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
                stream => exchange(stream.unwrap(), &request),
            },
            Way::Tls(at, client) => {
                let url = format!("https://localhost:{}{path}", at.port());
                let header = header.trim_end().split_once(": ").unwrap_or(("X-Nothing", "1"));
                let answer = match method {
                    "POST" => {
                        client.post(url).header("X-Loopscope", "1").header(header.0, header.1).send_empty()
                    }
                    _ => client.get(url).header(header.0, header.1).call(),
                };
                Some(answer.unwrap().status().as_u16())
            }
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Option<u16> {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1)?.parse().ok()
}

/// What there is to ask for, and what the answer is to those who may.
const QUESTIONS: [(&str, &str, u16); 6] = [
    ("GET", "/-/healthy", 200),
    ("GET", "/live", 200),
    ("GET", "/metrics", 200),
    ("GET", INCIDENTS, 200),
    ("GET", STACKS, 400),
    ("POST", THRESHOLDS, 200),
];

/// The first so many are answered to everybody.
const FOR_ALL: usize = 3;

/// Asks everything as this user. Returns the statuses.
fn all_as(user: Option<u32>, way: &Way, header: &'static str) -> [Option<u16>; 6] {
    let way = way.clone();
    let ask = move || QUESTIONS.map(|(method, path, _)| way.ask(method, path, header));
    match user {
        Some(user) => as_user(user, ask),
        None => ask(),
    }
}

fn everything() -> [Option<u16>; 6] {
    QUESTIONS.map(|(.., status)| Some(status))
}

fn numbers() -> [Option<u16>; 6] {
    std::array::from_fn(|number| Some(if number < FOR_ALL { QUESTIONS[number].2 } else { 403 }))
}

/// Starts an agent in a process of its own, as its own user where this one may become another.
fn start(ip: impl Into<IpAddr>, web_config: Option<&Path>) -> AgentProcess {
    let user = is_root().then_some(OWN);
    AgentProcess::start("an_agent_of_another_process_is_that_users_alone", user, ip.into(), web_config)
}

#[test]
fn an_agent_of_another_process_is_that_users_alone() {
    if run_if_asked() {
        return;
    }
    let mut agent = start(Ipv4Addr::LOCALHOST, None);
    let own = fs::metadata("/proc/self/fd").unwrap().uid();
    let expected = if is_root() { OWN } else { own };
    let status = fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert!(users.split_whitespace().all(|user| user == expected.to_string()), "{users}");
    assert_eq!(fs::metadata(&agent.file).unwrap().uid(), expected);
    agent.stop();
}

/// Checks who is told what by this way.
fn check(way: &Way) {
    if !is_root() {
        println!("skipped in part: what other users are told: only root can become them");
        assert_eq!(all_as(None, way, ""), everything(), "{way:?}");
        return;
    }
    for user in [OWN, 0] {
        assert_eq!(all_as(Some(user), way, ""), everything(), "{way:?} as {user}");
        for header in ["Forwarded: for=192.0.2.1\r\n", "X-Forwarded-For: 192.0.2.1\r\n", "Via: 1.1 proxy\r\n"]
        {
            assert_eq!(all_as(Some(user), way, header), numbers(), "{way:?} as {user} with {header}");
        }
    }
    let told = match way {
        Way::File(_) => [None; 6],
        _ => numbers(),
    };
    assert_eq!(all_as(Some(OTHER), way, ""), told, "{way:?}");
}

#[test]
fn its_own_user_and_root_are_told_everything_and_others_numbers() {
    for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        if TcpListener::bind((ip, 0)).is_err() {
            println!("skipped in part: clients at {ip}: this machine has no such address");
            continue;
        }
        let mut agent = start(ip, None);
        check(&Way::Tcp(agent.address));
        assert_eq!(fs::metadata(&agent.file).unwrap().permissions().mode() & 0o777, 0o600);
        check(&Way::File(agent.file.clone()));
        agent.stop();
        assert!(!agent.file.exists(), "it goes with the agent");
    }
}

/// A directory that everybody can read, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("loopscope-users-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn over_tls_users_count_as_they_do_without() {
    let scratch = Scratch::new("tls");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    scratch.write("server.crt", &made.cert.pem());
    scratch.write("server.key", &made.signing_key.serialize_pem());
    let text = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";
    let mut agent = start(Ipv4Addr::LOCALHOST, Some(&scratch.write("web.yml", text)));
    let root = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let tls = TlsConfig::builder().root_certs(RootCerts::from([root])).build();
    // A connection of each thread's own: one that another user made stays that user's.
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).tls_config(tls).max_idle_connections(0);
    let client = Arc::new(ureq::Agent::new_with_config(config.build()));
    check(&Way::Tls(agent.address, client));
    // The file beside the pages needs no certificate.
    check(&Way::File(agent.file.clone()));
    agent.stop();
}

#[test]
fn on_another_address_nobody_is_told_more_than_numbers() {
    // Sends nothing; only asks which address would be used.
    let own = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Some(own) = own.ok().filter(|own| !own.ip().is_loopback()) else {
        println!("skipped: clients at another address: this machine has none besides loopback");
        return;
    };
    let mut agent = start(own.ip(), None);
    let way = Way::Tcp(agent.address);
    let users: &[Option<u32>] = if is_root() { &[Some(OWN), Some(0), Some(OTHER)] } else { &[None] };
    for user in users {
        assert_eq!(all_as(*user, &way, ""), numbers(), "{user:?}");
    }
    check(&Way::File(agent.file.clone()));
    agent.stop();
}

/// So many close while the agent's thread is on its way to them.
const CLOSERS: u32 = 100;

#[test]
fn who_closes_at_once_does_not_become_root() {
    let mut agent = start(Ipv4Addr::LOCALHOST, None);
    let address = agent.address;
    let send = move || {
        // With a body still to come, the server does not look whether the connection has ended before it asks whose it is.
        let head = "Host: localhost\r\nX-Loopscope: 1\r\nContent-Length: 9\r\n\r\n";
        let request = format!("POST {THRESHOLDS} HTTP/1.1\r\n{head}");
        for _ in 0..CLOSERS {
            connect_to(address).write_all(request.as_bytes()).unwrap();
        }
    };
    if !is_root() {
        println!("skipped: clients of another user: only root can become one");
        return;
    }
    as_user(OTHER, send);
    let page = || get_at(address, "/metrics").body;
    let answers = |code: u16| {
        let series = format!(
            "loopscope_agent_http_requests_total{{path=\"/debug/loopscope/thresholds\",code=\"{code}\"}}"
        );
        value(&page(), &series).unwrap_or_default()
    };
    // A connection that has ended before its request was read needs no answer.
    until("some of them", || answers(403) + answers(200) > 0.0);
    assert_eq!(answers(200), 0.0);
    assert_eq!(value(&page(), "loopscope_agent_threshold_changes_total"), Some(0.0));
    agent.stop();
}

/// Connects from this port, or from any; what is dropped is reset.
async fn connect_from(port: u16, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    let stream = socket.connect(to).await.unwrap();
    stream.set_zero_linger().unwrap();
    stream
}

#[test]
fn who_resets_does_not_become_the_next_one_at_its_port() {
    if !is_root() {
        println!("skipped: who resets a connection: only root can become another user");
        return;
    }
    let mut agent = start(Ipv4Addr::LOCALHOST, None);
    let address = agent.address;
    let runtime = Arc::new(Builder::new_current_thread().enable_io().build().unwrap());
    let request = format!("POST {THRESHOLDS} HTTP/1.1\r\nHost: localhost\r\nX-Loopscope: 1\r\n\r\n");
    let (most, rest) = request.split_at(request.len() - 1);
    for _ in 0..CLOSERS {
        let of_thread = runtime.clone();
        let first = as_user(OTHER, move || of_thread.block_on(connect_from(0, address)));
        runtime.block_on(first.writable()).unwrap();
        assert_eq!(first.try_write(most.as_bytes()).unwrap(), most.len());
        // Whoever came before has been accepted then.
        get_at(address, "/-/healthy");
        let port = first.local_addr().unwrap().port();
        assert_eq!(first.try_write(rest.as_bytes()).unwrap(), rest.len());
        drop(first);
        let _roots = runtime.block_on(connect_from(port, address));
        get_at(address, "/-/healthy");
    }
    let changes = value(&get_at(address, "/metrics").body, "loopscope_agent_threshold_changes_total");
    assert_eq!(changes, Some(0.0));
    agent.stop();
}

#[test]
fn what_an_address_was_given_is_asked_there_and_not_beside_the_pages() {
    let (_turn, scratch) = (turn(), Scratch::new("token"));
    let token = scratch.write("token", TOKEN);
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let beside = agent_socket(&runtime_directory(), Owner::this_process());
    let own = scratch.0.join("own.sock");
    for listen in [any_port(), Listen::Unix(own.clone())] {
        let agent = Agent::builder().listen(listen).token_file(&token).start().unwrap();
        let way = agent.address().map_or(Way::File(own.clone()), Way::Tcp);
        let right = format!("Authorization: Bearer {TOKEN}\r\n");
        for (way, header, status) in [
            (&way, "", 401),
            (&way, right.as_str(), 200),
            (&Way::File(beside.clone()), "", 200),
            (&Way::File(beside.clone()), right.as_str(), 200),
            (&Way::File(beside.clone()), "Authorization: Bearer wrong\r\n", 401),
            (&Way::File(beside.clone()), "Via: 1.1 proxy\r\n", 401),
        ] {
            assert_eq!(way.ask("GET", INCIDENTS, header), Some(status), "{way:?} {header}");
        }
        agent.stop();
    }
}

#[test]
fn who_half_closes_is_still_there() {
    let _turn = turn();
    let agent = builder().start().unwrap();
    let mut stream = connect(&agent);
    write!(stream, "GET {INCIDENTS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // Whether a request is answered to the end then is up to the server; that it is not refused is what counts.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn what_others_are_told_says_who_may_ask() {
    if !is_root() {
        println!("skipped: clients of another user: only root can become one");
        return;
    }
    let mut agent = start(Ipv4Addr::LOCALHOST, None);
    let address = agent.address;
    let answer = as_user(OTHER, move || {
        let mut stream = connect_to(address);
        write!(stream, "GET {INCIDENTS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    for part in [format!("uid {OWN}"), "root".to_owned(), format!("you are uid {OTHER}"), "token".to_owned()]
    {
        assert!(answer.contains(&part), "{answer}");
    }
    agent.stop();
}

/// Keeps the messages of the log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Kept {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
}

#[test]
fn a_change_of_thresholds_is_logged_with_who_made_it_and_told_in_the_metrics() {
    let _turn = turn();
    let kept = Kept::default();
    let subscriber = tracing_subscriber::registry().with(kept.clone());
    tracing::subscriber::with_default(subscriber, || {
        let agent = builder().start().unwrap();
        let _loop = HandLoop::start("main");
        let threshold = |page: &str, severity: &str| {
            let series =
                format!("loopscope_stall_threshold_seconds{{loop=\"main\",severity=\"{severity}\"}}");
            value(page, &series)
        };
        let page = get(&agent, "/metrics").body;
        assert_eq!((threshold(&page, "warning"), threshold(&page, "critical")), (Some(0.1), Some(1.0)));
        assert_eq!(value(&page, "loopscope_agent_threshold_changes_total"), Some(0.0));
        let file = agent_socket(&runtime_directory(), Owner::this_process());
        assert_eq!(Way::File(file).ask("POST", THRESHOLDS, ""), Some(200));
        let page = get(&agent, "/metrics").body;
        assert_eq!((threshold(&page, "warning"), threshold(&page, "critical")), (Some(0.04), Some(1.0)));
        assert_eq!(value(&page, "loopscope_agent_threshold_changes_total"), Some(1.0));
        let line = "stall thresholds of all loops changed from 100 ms (critical 1.0 s) to 40 ms (critical 1.0 s) by ";
        let process = format!("in process {}", std::process::id());
        until("the log", || {
            let lines = kept.0.lock().unwrap();
            lines
                .iter()
                .any(|text| text.starts_with(line) && text.contains("uid ") && text.ends_with(&process))
        });
    });
}

#[test]
fn whoever_took_a_dead_agents_port_is_shown_no_token() {
    let (_turn, scratch) = (turn(), Scratch::new("thief"));
    let _loop = HandLoop::start("left");
    let thief = TcpListener::bind("127.0.0.1:0").unwrap();
    // As an agent that was killed left it: its page names an address, where now somebody else listens.
    let page = registry::pages().into_iter().find(|page| page.page().loop_name() == "left").unwrap();
    let control = page.take_control().unwrap();
    control.set_address(Some(&AgentAddress::Tcp(thief.local_addr().unwrap())));
    let token = scratch.write("token", TOKEN);
    fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
    let (say, heard) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = thief.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap();
        say.send(String::from_utf8(head).unwrap()).unwrap();
    });
    let host =
        Host::builder().agents_token_file(&token).token_file(&token).listen(any_port()).start().unwrap();
    let url = format!("{}/process/{}{INCIDENTS}", host.url(), std::process::id());
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE));
    let client = config.build().new_agent();
    let mut answer = client.get(url).header("Authorization", format!("Bearer {TOKEN}")).call().unwrap();
    let told = answer.body_mut().read_to_string().unwrap();
    let heard = heard.recv_timeout(DEADLINE).expect("the host asks at the address of the page");
    assert!(heard.starts_with("GET ") && !heard.to_lowercase().contains("authorization"), "{heard}");
    let file = agent_socket(&runtime_directory(), Owner::this_process());
    assert!(told.contains("only over TLS") && told.contains(&file.display().to_string()), "{told}");
}
