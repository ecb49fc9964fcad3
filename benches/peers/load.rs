//! The client of the server rows: one thread that keeps the connections of one server at a time busy.
//!
//! Each connection has one request under way during its server's slice, and none otherwise: a slice ends when the last
//! answer of its server has come.

use loopscope_loop::{Cx, Key, Loop, Mode, RemoteHandle, StreamEvent};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const MESSAGE: &[u8] = &[b'x'; 64];
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const BODY: &[u8] = b"\r\n\r\nhello\n";

const SLICE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(30);

/// The client's side of all servers.
struct Servers {
    connections: Vec<Vec<Key>>,
    /// The server whose slice it is.
    active: Option<usize>,
    under_way: usize,
    answers: u64,
    is_http: bool,
    /// Connections that are not made yet.
    missing: usize,
    /// Gets a line when all connections are made, and for each slice the number of answers.
    to_owner: Sender<u64>,
}

impl Servers {
    fn request(&self) -> &'static [u8] {
        if self.is_http { REQUEST } else { MESSAGE }
    }
}

/// A client with its connections made.
pub struct Load {
    post: RemoteHandle<Servers>,
    thread: Option<JoinHandle<()>>,
    from_client: Receiver<u64>,
}

impl Load {
    /// Connects so often to each server.
    ///
    /// # Errors
    /// A server does not accept.
    pub fn start(ports: &[u16], connections: usize, is_http: bool) -> Result<Load, String> {
        let ((sender, receiver), (to_owner, from_client)) = (channel(), channel());
        let ports = ports.to_vec();
        let thread = std::thread::spawn(move || {
            let servers = Servers {
                connections: vec![Vec::new(); ports.len()],
                active: None,
                under_way: 0,
                answers: 0,
                is_http,
                missing: ports.len() * connections,
                to_owner,
            };
            let mut client = Loop::builder(servers).probe(false).build().expect("a loop can be made");
            client.main(|cx| {
                // Keeps the loop alive between slices.
                cx.every(Duration::from_secs(3600), |_| {});
                for (server, port) in ports.iter().enumerate() {
                    connect(cx, server, *port, connections);
                }
            });
            sender.send(client.post_handle()).expect("the owner waits for it");
            client.run(Mode::Default).expect("the loop runs");
        });
        let post = receiver.recv().expect("the client starts");
        let load = Load { post, thread: Some(thread), from_client };
        load.next().ok_or("not all connections could be made")?;
        Ok(load)
    }

    fn next(&self) -> Option<u64> {
        self.from_client.recv_timeout(PATIENCE).ok()
    }

    /// Keeps one server busy for a while. Returns how many answers came.
    ///
    /// # Errors
    /// The server stopped to answer.
    pub fn slice(&mut self, server: usize) -> Result<u64, String> {
        self.post.post(move |cx| begin(cx, server)).map_err(|error| error.to_string())?;
        std::thread::sleep(SLICE);
        self.post.post(|cx| cx.state.active = None).map_err(|error| error.to_string())?;
        self.next().ok_or_else(|| format!("server {server} does not answer any more"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It is gone already only where it panicked, and that was printed.
        let _ = self.post.post(|cx| cx.stop());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Makes one connection after the other, as many as are left.
fn connect(cx: &mut Cx<'_, Servers>, server: usize, port: u16, left: usize) {
    if left == 0 {
        return;
    }
    let connected = move |cx: &mut Cx<'_, Servers>, stream: std::io::Result<Key>| {
        let stream = stream.expect("the server listens");
        cx.set_nodelay(stream, true).expect("a fresh connection takes options");
        let mut received = 0;
        cx.on_stream(stream, move |cx, stream, event| {
            let StreamEvent::Data(bytes) = event else { return };
            received += bytes.len();
            if is_whole(bytes, received, cx.state.is_http) {
                received = 0;
                answered(cx, server, stream);
            }
        });
        cx.state.connections[server].push(stream);
        cx.state.missing -= 1;
        if cx.state.missing == 0 {
            cx.state.to_owner.send(0).expect("the owner waits for it");
        }
        connect(cx, server, port, left - 1);
    };
    cx.connect(([127, 0, 0, 1], port).into(), connected).expect("a socket can be made");
}

/// Tells whether the bytes that came last end an answer.
fn is_whole(bytes: &[u8], received: usize, is_http: bool) -> bool {
    if is_http { bytes.ends_with(BODY) } else { received == MESSAGE.len() }
}

fn begin(cx: &mut Cx<'_, Servers>, server: usize) {
    let request = cx.state.request();
    let connections = std::mem::take(&mut cx.state.connections[server]);
    (cx.state.active, cx.state.under_way, cx.state.answers) = (Some(server), connections.len(), 0);
    for key in &connections {
        cx.write(*key, request).expect("the server reads");
    }
    cx.state.connections[server] = connections;
}

fn answered(cx: &mut Cx<'_, Servers>, server: usize, stream: Key) {
    cx.state.answers += 1;
    if cx.state.active == Some(server) {
        cx.write(stream, cx.state.request()).expect("the server reads");
        return;
    }
    cx.state.under_way -= 1;
    if cx.state.under_way == 0 {
        cx.state.to_owner.send(cx.state.answers).expect("the owner waits for it");
    }
}
