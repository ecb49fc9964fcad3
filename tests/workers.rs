//! The workers of the examples: loops on one port, each on the agent's page, which post to each other and end together.

#[path = "../examples/workers/worker_group.rs"]
mod worker_group;

use loopscope_agent::{Agent, Listen};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const WORKERS: usize = 3;

/// Enough that no worker is left without one: the kernel chooses by a hash of the addresses.
const CLIENTS: usize = 64;

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    BufReader::new(stream)
}

fn ask(client: &mut BufReader<TcpStream>, request: &str) -> String {
    client.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn metrics(agent: SocketAddr) -> String {
    let mut stream = connect(agent);
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.get_mut().write_all(request).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn workers_share_a_port_and_a_pool_show_on_one_page_and_end_on_one_signal() {
    let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
    let agent = Agent::builder().listen(Listen::Exactly(anywhere)).start().unwrap();
    let workers = worker_group::start(WORKERS, anywhere).unwrap();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(workers.address)).collect();
    let mut busy = BTreeSet::new();
    for client in &mut clients {
        let answer = ask(client, "primes 1000");
        let (worker, count) = answer.split_once(": ").unwrap();
        assert_eq!(count, "168");
        busy.insert(worker.to_owned());
    }
    let all: BTreeSet<String> = (0..WORKERS).map(|number| format!("worker-{number}")).collect();
    assert_eq!(busy, all, "the kernel spreads connections over the workers");
    let counts = ask(&mut clients[0], "count");
    let numbers = counts.strip_prefix("answered: [").and_then(|rest| rest.strip_suffix(']')).unwrap();
    let numbers: Vec<usize> = numbers.split(", ").map(|number| number.parse().unwrap()).collect();
    assert_eq!((numbers.len(), numbers.iter().sum::<usize>()), (WORKERS, CLIENTS + 1));
    // What is asked for before the end of the asking is answered after it, in order.
    let mut last = connect(workers.address);
    last.get_mut().write_all(b"primes 300000\nprimes 10\n").unwrap();
    last.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    last.read_to_string(&mut answers).unwrap();
    let answers: Vec<&str> = answers.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    assert_eq!(answers, ["25997", "4"]);
    // One page shows every loop, and that it did something.
    let page = metrics(agent.address().unwrap());
    for worker in &all {
        let iterations = format!("loopscope_loop_iterations_total{{loop=\"{worker}\"");
        let line = page.lines().find(|line| line.starts_with(&iterations)).expect(worker);
        assert!(line.split(' ').nth(1).unwrap().parse::<f64>().unwrap() > 0.0, "{line}");
    }
    // As Ctrl-C does.
    let own = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &own]).status().unwrap().success());
    workers.join().unwrap();
    for client in &mut clients {
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "closed in order, and not reset");
    }
}
