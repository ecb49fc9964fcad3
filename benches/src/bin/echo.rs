//! What probe and agent add to a TCP echo: CPU time per request of a server loop with both, against the same loop
//! without, and against itself (A/A).
//!
//! Three server loops live on one thread and take turns in short slices; one client loop on another thread keeps the
//! 50 connections of the loop whose turn it is busy with 64-byte messages. The agent's own CPU time is counted to the
//! slices of the instrumented loop.

use loopscope_agent::{Agent, Listen};
use loopscope_benches::cputime::{this_thread, thread_cpu_ns, thread_named};
use loopscope_benches::flipflop::Spread;
use loopscope_loop::{Cx, Key, Loop, Mode, StreamEvent};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MESSAGE: [u8; 64] = [b'x'; 64];
const NOBODY: usize = usize::MAX;

struct Server {
    requests: u64,
}

fn main() {
    let argument = |at: usize, default: u64| {
        std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (connections, rounds, slice_ms) = (argument(1, 50) as usize, argument(2, 200), argument(3, 20));
    let agent =
        Agent::builder().listen(Listen::Nowhere).start().expect("an agent that listens nowhere starts");
    let agent_tid = thread_named("loopscope-agent").expect("the agent's thread is named");
    let names = ["off", "off (A/A)", "probe and agent on"];
    let mut servers: Vec<(Loop<Server>, SocketAddr)> =
        names.iter().enumerate().map(|(at, name)| server(name, at == 2)).collect();
    let active = Arc::new(AtomicUsize::new(NOBODY));
    let addresses = servers.iter().map(|(_, address)| *address).collect();
    let client = client::start(addresses, connections, active.clone());

    let mut cost: Vec<Vec<Slice>> = vec![Vec::new(); servers.len()];
    for round in 0..rounds as usize + 2 {
        for turn in 0..servers.len() {
            let at = (round + turn) % servers.len();
            active.store(at, Ordering::SeqCst);
            client.kick(at);
            let done =
                slice(&mut servers[at].0, Duration::from_millis(slice_ms), (at == 2).then_some(agent_tid));
            // Two rounds to connect and to warm up.
            if round >= 2 {
                cost[at].push(done);
            }
        }
    }
    active.store(NOBODY, Ordering::SeqCst);
    report(&names, &cost, connections);
    client.stop();
    drop(agent);
}

fn server(name: &str, probe: bool) -> (Loop<Server>, SocketAddr) {
    let mut server =
        Loop::builder(Server { requests: 0 }).name(name).probe(probe).build().expect("a loop can be made");
    let address = server.main(|cx| {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let listener =
            cx.listen(loopback, |cx, stream| accept(cx, stream.expect("accept works"))).expect("a free port");
        cx.local_addr(listener).expect("a listener has an address")
    });
    (server, address)
}

fn accept(cx: &mut Cx<'_, Server>, stream: Key) {
    cx.on_stream(stream, |cx, stream, event| {
        if let StreamEvent::Data(bytes) = event {
            cx.state.requests += 1;
            cx.write(stream, bytes).expect("the client reads");
        }
    });
}

/// What one slice came to.
#[derive(Clone, Copy)]
struct Slice {
    cpu_ns: u64,
    requests: u64,
}

impl Slice {
    fn ns_per_request(self) -> f64 {
        self.cpu_ns as f64 / self.requests.max(1) as f64
    }
}

/// Runs a server for one slice.
fn slice(server: &mut Loop<Server>, length: Duration, agent_tid: Option<i32>) -> Slice {
    let tid = this_thread();
    let cpu = || thread_cpu_ns(tid) + agent_tid.map_or(0, thread_cpu_ns);
    let (requests, before) = (server.state().requests, cpu());
    server.main(|cx| cx.after(length, |cx| cx.stop()));
    server.run(Mode::Default).expect("the loop runs");
    Slice { cpu_ns: cpu() - before, requests: server.state().requests - requests }
}

fn report(names: &[&str], cost: &[Vec<Slice>], connections: usize) {
    println!("## TCP echo, {connections} connections, 64 bytes, {} slices each\n", cost[0].len());
    println!("| server | CPU ns/request median [quartiles] | ratio to off, paired | ratio to off, pooled |");
    println!("|---|---|---|---|");
    let pooled = |slices: &[Slice]| {
        let sum = |part: fn(&Slice) -> u64| slices.iter().map(part).sum::<u64>() as f64;
        sum(|slice| slice.cpu_ns) / sum(|slice| slice.requests)
    };
    for (name, own) in names.iter().zip(cost) {
        let spread = Spread::of(own.iter().map(|slice| slice.ns_per_request()).collect());
        let pairs = own.iter().zip(&cost[0]);
        let ratio =
            Spread::of(pairs.map(|(own, base)| own.ns_per_request() / base.ns_per_request()).collect());
        println!(
            "| {name} | {:.0} [{:.0}, {:.0}] | {:.3} [{:.3}, {:.3}] | {:.3} |",
            spread.median,
            spread.low,
            spread.high,
            ratio.median,
            ratio.low,
            ratio.high,
            pooled(own) / pooled(&cost[0])
        );
    }
}

/// The client: one loop without a probe, on a thread of its own.
mod client {
    use super::MESSAGE;
    use loopscope_loop::{Cx, Key, Loop, Mode, Post, StreamEvent};
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread::JoinHandle;

    /// Connections of each server that wait for nothing.
    type Idle = Vec<Vec<Key>>;

    pub struct Client {
        post: Post<Idle>,
        thread: JoinHandle<()>,
    }

    impl Client {
        /// Sends on every connection of a server that waits for nothing.
        pub fn kick(&self, server: usize) {
            self.post.post(move |cx| send_all(cx, server)).expect("the client lives");
        }

        pub fn stop(self) {
            self.post.post(|cx| cx.stop()).expect("the client lives");
            self.thread.join().expect("the client did not panic");
        }
    }

    fn send_all(cx: &mut Cx<'_, Idle>, server: usize) {
        for key in std::mem::take(&mut cx.state[server]) {
            cx.write(key, &MESSAGE).expect("the server reads");
        }
    }

    pub fn start(servers: Vec<SocketAddr>, connections: usize, active: Arc<AtomicUsize>) -> Client {
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            let idle: Idle = vec![Vec::new(); servers.len()];
            let mut client =
                Loop::builder(idle).name("client").probe(false).build().expect("a loop can be made");
            sender.send(client.post_handle()).expect("the server waits for it");
            client.main(|cx| {
                // Keeps the loop alive between slices.
                cx.every(std::time::Duration::from_secs(3600), |_| {});
                for (server, address) in servers.iter().enumerate() {
                    (0..connections).for_each(|_| connect(cx, server, *address, active.clone()));
                }
            });
            client.run(Mode::Default).expect("the loop runs");
        });
        Client { post: receiver.recv().expect("the client starts"), thread }
    }

    fn connect(cx: &mut Cx<'_, Idle>, server: usize, address: SocketAddr, active: Arc<AtomicUsize>) {
        let connected = move |cx: &mut Cx<'_, Idle>, stream: std::io::Result<Key>| {
            let stream = stream.expect("the server listens");
            let mut received = 0;
            cx.on_stream(stream, move |cx, stream, event| {
                let StreamEvent::Data(bytes) = event else { return };
                received += bytes.len();
                if received < MESSAGE.len() {
                    return;
                }
                received = 0;
                if active.load(Ordering::Relaxed) == server {
                    cx.write(stream, &MESSAGE).expect("the server reads");
                } else {
                    cx.state[server].push(stream);
                }
            });
            cx.write(stream, &MESSAGE).expect("the server reads");
        };
        cx.connect(address, connected).expect("a socket can be made");
    }
}
