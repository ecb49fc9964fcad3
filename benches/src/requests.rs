//! Requests to servers in processes of their own: CPU time of the whole process per request, in slices by turns.
//!
//! A contender is a word on the command line of the program itself, which starts itself as `serve SERVICE FLAVOR WORD`; the server
//! prints its address and goes when its standard input ends. The client keeps the connections of one server at a time busy, and a
//! slice ends when its last answer has come. Servers run on the last processor and the client on the first. The processes are
//! started anew from time to time, because where the memory of one lies makes up to a hundredth of its time.

use crate::cputime::process_cpu_ns;
use crate::flipflop::Spread;
use crate::processors;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// What a server process has besides its runtime: the word on its command line, and the name in the table. The first is what the
/// others are compared with, the second the same once more.
pub type Contenders = [(&'static str, &'static str)];

/// How long a server is watched, busy and idle.
const WATCHED: Duration = Duration::from_secs(10);

/// What it asks and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The 64 bytes that came.
    Echo,
    /// An HTTP response that says hello.
    Hello,
}

impl Service {
    fn of(word: &str) -> Service {
        match word {
            "echo" => Service::Echo,
            "hello" => Service::Hello,
            other => panic!("{other:?} is neither echo nor hello"),
        }
    }

    fn request(self) -> &'static [u8] {
        match self {
            Service::Echo => &[b'x'; 64],
            Service::Hello => b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        }
    }
}

/// What was asked for: `SERVICE [FLAVOR [GENERATIONS [ROUNDS [SLICE_MS [CONNECTIONS]]]]]`.
struct Asked {
    service: String,
    flavor: String,
    generations: u64,
    rounds: usize,
    slice: Duration,
    connections: usize,
}

impl Asked {
    fn of(arguments: &[String]) -> Asked {
        let word =
            |at: usize, default: &'static str| arguments.get(at).map_or(default, |word| word).to_owned();
        let number =
            |at: usize, default: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
        Asked {
            service: word(0, "hello"),
            flavor: word(1, "current"),
            generations: number(2, 6),
            rounds: number(3, 20) as usize,
            slice: Duration::from_millis(number(4, 50)),
            connections: number(5, 16) as usize,
        }
    }
}

/// Serves where this process is a server; else compares the contenders, prints the table, and what the agent's threads of those in
/// `watched` take of a core.
pub fn run(contenders: &Contenders, watched: &[&str], serve: impl FnOnce(Service, &mut Builder, &str)) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, service, flavor, contender] = &arguments[..]
        && word == "serve"
    {
        let mut builder = match &**flavor {
            "multi" => Builder::new_multi_thread(),
            _ => Builder::new_current_thread(),
        };
        end_with_standard_input();
        return serve(Service::of(service), builder.worker_threads(2).enable_all(), contender);
    }
    let asked = Asked::of(&arguments);
    // Noted before the first change.
    processors::use_all();
    let mut cost: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for _ in 0..asked.generations {
        generation(contenders, &asked, &mut cost);
    }
    let Asked { service, flavor, slice, connections, .. } = &asked;
    println!(
        "## {service}, {flavor}, {connections} connections, {} slices of {slice:?} each\n",
        cost[0].len()
    );
    report(contenders, &cost);
    watched.iter().for_each(|contender| watch(&asked, contender));
}

/// Ends the process with all that it has: there is nothing to be put in order.
fn end_with_standard_input() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}

/// Says where this server is found.
pub async fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound"));
    listener
}

/// Starts a process for each contender, and lets them take turns.
fn generation(contenders: &Contenders, asked: &Asked, cost: &mut [Vec<f64>]) {
    processors::use_last();
    let servers: Vec<Server> =
        contenders.iter().map(|(contender, _)| Server::start(asked, contender)).collect();
    processors::use_first();
    let mut clients: Vec<Client> = servers.iter().map(|server| Client::start(asked, server)).collect();
    for round in 0..asked.rounds + 2 {
        for turn in 0..servers.len() {
            // There and back, so that none has always the same one before it.
            let turn = if round % 2 == 0 { turn } else { servers.len() - turn };
            let at = (round + turn) % servers.len();
            let before = process_cpu_ns(servers[at].child.id());
            let requests = clients[at].ask(asked.slice);
            let cpu_ns = process_cpu_ns(servers[at].child.id()) - before;
            // Two rounds to warm up.
            if round >= 2 {
                cost[at].push(cpu_ns as f64 / requests.max(1) as f64);
            }
        }
    }
    drop(clients);
    servers.into_iter().for_each(Server::end);
    processors::use_all();
}

/// Says what the agent's threads take of a core while a server is busy, and while it is idle.
fn watch(asked: &Asked, contender: &str) {
    processors::use_last();
    let server = Server::start(asked, contender);
    processors::use_first();
    let mut client = Client::start(asked, &server);
    client.ask(Duration::from_secs(1));
    let share = |watched: &mut dyn FnMut()| {
        let (begun, before) = (Instant::now(), server.agent_cpu_ns());
        watched();
        (server.agent_cpu_ns() - before) as f64 / begun.elapsed().as_nanos() as f64 * 100.0
    };
    let busy = share(&mut || _ = client.ask(WATCHED));
    std::thread::sleep(Duration::from_secs(2));
    let idle = share(&mut || std::thread::sleep(WATCHED));
    println!("\nthe agent's threads, {contender}: {busy:.3} % of a core busy, {idle:.4} % idle");
    drop(client);
    server.end();
    processors::use_all();
}

/// A server process.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(asked: &Asked, contender: &str) -> Server {
        let this = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(this);
        command.args(["serve", &asked.service, &asked.flavor, contender]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("its standard output is a pipe"));
        output.read_line(&mut line).expect("the server says where it listens");
        Server { child, address: line.trim().parse().expect("an address") }
    }

    /// Returns the CPU time of its threads that are ours.
    fn agent_cpu_ns(&self) -> u64 {
        let threads =
            std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs").flatten();
        let read = |thread: &std::fs::DirEntry, file: &str| {
            std::fs::read_to_string(thread.path().join(file)).unwrap_or_default()
        };
        threads
            .filter(|thread| read(thread, "comm").starts_with("loopscope-"))
            .filter_map(|thread| read(&thread, "schedstat").split(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Closes its standard input, which ends it.
    fn end(mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Connections to one server, each with one request under way.
struct Client {
    runtime: Runtime,
    service: Service,
    streams: Vec<TcpStream>,
    answer_len: usize,
}

impl Client {
    fn start(asked: &Asked, server: &Server) -> Client {
        let service = Service::of(&asked.service);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (streams, answer_len) = runtime.block_on(async {
            let mut streams = Vec::new();
            let mut answer_len = 0;
            for _ in 0..asked.connections {
                let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
                stream.set_nodelay(true).expect("it is a TCP socket");
                let mut bytes = [0; 1024];
                stream.write_all(service.request()).await.expect("the server reads");
                // So small an answer comes whole.
                answer_len = stream.read(&mut bytes).await.expect("the server answers");
                streams.push(stream);
            }
            (streams, answer_len)
        });
        Client { runtime, service, streams, answer_len }
    }

    /// Keeps all connections busy for so long. Returns how many requests were answered.
    fn ask(&mut self, duration: Duration) -> u64 {
        let Client { runtime, service, streams, answer_len } = self;
        let (end, request, answer_len) = (Instant::now() + duration, service.request(), *answer_len);
        let tasks = tokio::task::LocalSet::new();
        let mut asking = Vec::new();
        for mut stream in std::mem::take(streams) {
            asking.push(tasks.spawn_local(async move {
                let (mut requests, mut bytes) = (0, vec![0; answer_len]);
                while Instant::now() < end {
                    stream.write_all(request).await.expect("the server reads");
                    stream.read_exact(&mut bytes).await.expect("the server answers");
                    requests += 1;
                }
                (stream, requests)
            }));
        }
        tasks.block_on(runtime, async {
            let mut sum = 0;
            for one in asking {
                let (stream, requests): (_, u64) = one.await.expect("it does not panic");
                streams.push(stream);
                sum += requests;
            }
            sum
        })
    }
}

fn report(contenders: &Contenders, cost: &[Vec<f64>]) {
    println!("| server | CPU ns/request, median [quartiles] | ratio to off, paired, median [95 % of it] |");
    println!("|---|---|---|");
    for ((_, name), own) in contenders.iter().zip(cost) {
        let spread = Spread::of(own.clone());
        let mut ratios: Vec<f64> = own.iter().zip(&cost[0]).map(|(own, base)| own / base).collect();
        ratios.sort_by(f64::total_cmp);
        // Ranks between which the true median lies in 95 of 100 cases.
        let (count, half) = (ratios.len(), ratios.len() as f64 / 2.0);
        let reach = 0.98 * (count as f64).sqrt();
        let at = |rank: f64| ratios[(rank as usize).min(count - 1)];
        println!(
            "| {name} | {:.0} [{:.0}, {:.0}] | {:.3} [{:.3}, {:.3}] |",
            spread.median,
            spread.low,
            spread.high,
            at(half),
            at((half - reach).max(0.0)),
            at(half + reach)
        );
    }
}
