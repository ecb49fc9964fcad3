//! What probe and agent add to a TCP echo, each server in a process of its own: CPU time of the whole process per request.
//!
//! The servers take turns in short slices; the client in this process keeps the connections of one at a time busy, and a
//! slice ends when its last answer has come. `echo` is the same with all servers on one thread of one process. There,
//! every server pays for what the agent's thread does to a process by being there; here, only the one that has it does.
//! The contenders in between tell how much that is.
//!
//! Where the memory of a process happens to lie makes up to a hundredth of its time. So the processes are started anew from
//! time to time.
//!
//! `echo_processes [CONNECTIONS [GENERATIONS [ROUNDS [SLICE_MS]]]]`; with `pinned` at the end servers run on the last
//! processor and the client on the first.

use loopscope_agent::{Agent, Listen};
use loopscope_benches::cputime::process_cpu_ns;
use loopscope_benches::echo::{Client, server};
use loopscope_benches::flipflop::Spread;
use loopscope_benches::{descriptors, processors};
use loopscope_loop::Mode;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a server process has besides its loop: the word on its command line, and the name in the table.
const CONTENDERS: [(&str, &str); 6] = [
    ("off", "off"),
    ("off", "off (A/A)"),
    ("thread", "off, with a thread that sleeps"),
    ("apart", "off, with a thread with descriptors of its own"),
    ("probe", "probe on, no agent"),
    ("agent", "probe and agent on"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, contender] = &arguments[..]
        && word == "serve"
    {
        return serve(contender);
    }
    let number =
        |at: usize, default: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (connections, generations, rounds) = (number(0, 50) as usize, number(1, 12), number(2, 20) as usize);
    let slice_ms = number(3, 20);
    let is_pinned = arguments.last().is_some_and(|last| last == "pinned");
    // Noted before the first change.
    processors::use_all();
    let mut cost: Vec<Vec<Slice>> = vec![Vec::new(); CONTENDERS.len()];
    for _ in 0..generations {
        generation(connections, rounds, Duration::from_millis(slice_ms), is_pinned, &mut cost);
    }
    report(&cost, connections);
}

/// Starts a process for each contender, and lets them take turns.
fn generation(connections: usize, rounds: usize, slice: Duration, is_pinned: bool, cost: &mut [Vec<Slice>]) {
    if is_pinned {
        processors::use_last();
    }
    let servers: Vec<Process> = CONTENDERS.iter().map(|(word, _)| Process::start(word)).collect();
    if is_pinned {
        processors::use_first();
    }
    let client = Client::start(servers.iter().map(|server| server.address).collect(), connections);
    // The first message of each connection.
    servers.iter().for_each(|_| _ = client.finish());
    for round in 0..rounds + 2 {
        for turn in 0..servers.len() {
            let at = (round + turn) % servers.len();
            let before = process_cpu_ns(servers[at].child.id());
            client.begin(at);
            std::thread::sleep(slice);
            let requests = client.finish();
            let cpu_ns = process_cpu_ns(servers[at].child.id()) - before;
            // Two rounds to warm up.
            if round >= 2 {
                cost[at].push(Slice { cpu_ns, requests });
            }
        }
    }
    drop(client);
    servers.into_iter().for_each(Process::wait);
    processors::use_all();
}

fn sleep() {
    std::thread::sleep(Duration::MAX);
}

/// Serves until the client goes.
fn serve(contender: &str) {
    let agent = (contender == "agent").then(|| {
        Agent::builder().listen(Listen::Nowhere).start().expect("an agent that listens nowhere starts")
    });
    match contender {
        "thread" => _ = std::thread::spawn(sleep),
        "apart" => {
            std::thread::spawn(|| {
                descriptors::use_own();
                sleep();
            });
        }
        _ => {}
    }
    let has_probe = matches!(contender, "probe" | "agent");
    let (mut server, address) = server(contender, has_probe);
    println!("{address}");
    server.run(Mode::Default).expect("the loop runs");
    drop(agent);
}

/// A server process.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(contender: &str) -> Process {
        let this = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(this);
        command.args(["serve", contender]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its standard output is a pipe"));
        output.read_line(&mut line).expect("the server says where it listens");
        Process { child, address: line.trim().parse().expect("an address") }
    }
}

impl Process {
    /// Waits for its end, which comes with that of the client.
    fn wait(mut self) {
        let _ = self.child.wait();
    }
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

fn report(cost: &[Vec<Slice>], connections: usize) {
    println!(
        "## TCP echo in processes, {connections} connections, 64 bytes, {} slices each\n",
        cost[0].len()
    );
    println!("| server | CPU ns/request median [quartiles] | ratio to off, paired | ratio to off, pooled |");
    println!("|---|---|---|---|");
    let pooled = |slices: &[Slice]| {
        let sum = |part: fn(&Slice) -> u64| slices.iter().map(part).sum::<u64>() as f64;
        sum(|slice| slice.cpu_ns) / sum(|slice| slice.requests)
    };
    for ((_, name), own) in CONTENDERS.iter().zip(cost) {
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
