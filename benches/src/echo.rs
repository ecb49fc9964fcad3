//! A TCP echo server and the client that keeps its connections busy: 64 bytes, one request under way on each.

use loopscope_loop::{Cx, Key, Loop, Mode, RemoteHandle, StreamEvent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const MESSAGE: [u8; 64] = [b'x'; 64];

/// No server is kept busy.
const NOBODY: usize = usize::MAX;

/// The state of a server.
#[derive(Debug, Default)]
pub struct Server {
    /// How many messages it has sent back.
    pub requests: u64,
}

/// Makes a server that listens on a free port. The first connection that ends stops its loop.
///
/// # Panics
/// Where the machine has no descriptors or ports left.
pub fn server(name: &str, probe: bool) -> (Loop<Server>, SocketAddr) {
    let mut server =
        Loop::builder(Server::default()).name(name).probe(probe).build().expect("a loop can be made");
    let address = server.main(|cx| {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let listener =
            cx.listen(loopback, |cx, stream| accept(cx, stream.expect("accept works"))).expect("a free port");
        cx.local_addr(listener).expect("a listener has an address")
    });
    (server, address)
}

fn accept(cx: &mut Cx<'_, Server>, stream: Key) {
    cx.on_stream(stream, |cx, stream, event| match event {
        StreamEvent::Data(bytes) => {
            cx.state.requests += 1;
            cx.write(stream, bytes).expect("the client reads");
        }
        StreamEvent::Drained => {}
        StreamEvent::End | StreamEvent::Error(_) => cx.stop(),
    });
}

/// A client of several servers: one loop without a probe, on a thread of its own.
#[derive(Debug)]
pub struct Client {
    post: RemoteHandle<Connections>,
    thread: Option<JoinHandle<()>>,
    /// The server that is kept busy.
    active: Arc<AtomicUsize>,
    is_idle: Receiver<u64>,
}

struct Connections {
    /// Of each server, those that wait for nothing.
    idle: Vec<Vec<Key>>,
    /// How many there are of each server.
    count: usize,
    /// Answers since this was last told.
    answers: u64,
    /// Gets the number of answers when the last connection of a server that is no longer active has its own.
    to_owner: Sender<u64>,
}

impl Client {
    /// Connects `count` times to each server, and returns when all connections are made.
    ///
    /// # Panics
    /// Where a server does not accept.
    pub fn start(servers: Vec<SocketAddr>, count: usize) -> Client {
        let ((sender, receiver), (to_owner, is_idle)) = (channel(), channel());
        let active = Arc::new(AtomicUsize::new(NOBODY));
        let shared = active.clone();
        let thread = std::thread::spawn(move || {
            let idle = vec![Vec::new(); servers.len()];
            let connections = Connections { idle, count, answers: 0, to_owner };
            let mut client = Loop::builder(connections).name("client").probe(false).build();
            let client = client.as_mut().expect("a loop can be made");
            sender.send(client.post_handle()).expect("the owner waits for it");
            client.main(|cx| {
                // Keeps the loop alive between slices.
                cx.every(Duration::from_secs(3600), |_| {});
                for (server, address) in servers.iter().enumerate() {
                    (0..count).for_each(|_| connect(cx, server, *address, shared.clone()));
                }
            });
            client.run(Mode::Default).expect("the loop runs");
        });
        Client { post: receiver.recv().expect("the client starts"), thread: Some(thread), active, is_idle }
    }

    /// Keeps the connections of one server busy from now on.
    pub fn begin(&self, server: usize) {
        self.active.store(server, Ordering::SeqCst);
        self.post.post(move |cx| send_all(cx, server)).expect("the client lives");
    }

    /// Sends nothing more, without waiting for what is under way.
    pub fn end(&self) {
        self.active.store(NOBODY, Ordering::SeqCst);
    }

    /// Sends nothing more, and waits for the last answer. Returns how many answers came since the last time.
    ///
    /// # Panics
    /// Where a server has stopped to answer.
    pub fn finish(&self) -> u64 {
        self.end();
        self.is_idle.recv_timeout(Duration::from_secs(30)).expect("the server answers")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It is gone already only where it panicked, and that was printed.
        let _ = self.post.post(|cx| cx.stop());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn send_all(cx: &mut Cx<'_, Connections>, server: usize) {
    for key in std::mem::take(&mut cx.state.idle[server]) {
        cx.write(key, &MESSAGE).expect("the server reads");
    }
}

fn connect(cx: &mut Cx<'_, Connections>, server: usize, address: SocketAddr, active: Arc<AtomicUsize>) {
    let connected = move |cx: &mut Cx<'_, Connections>, stream: std::io::Result<Key>| {
        let stream = stream.expect("the server listens");
        let mut received = 0;
        cx.on_stream(stream, move |cx, stream, event| {
            let StreamEvent::Data(bytes) = event else { return };
            received += bytes.len();
            if received < MESSAGE.len() {
                return;
            }
            received = 0;
            cx.state.answers += 1;
            if active.load(Ordering::Relaxed) == server {
                cx.write(stream, &MESSAGE).expect("the server reads");
            } else {
                rest(cx.state, server, stream);
            }
        });
        cx.write(stream, &MESSAGE).expect("the server reads");
    };
    cx.connect(address, connected).expect("a socket can be made");
}

/// A connection waits for nothing.
fn rest(connections: &mut Connections, server: usize, stream: Key) {
    connections.idle[server].push(stream);
    if connections.idle[server].len() == connections.count {
        // Nobody listens where the owner does not wait for the last answer.
        let _ = connections.to_owner.send(std::mem::take(&mut connections.answers));
    }
}
