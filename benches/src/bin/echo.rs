//! What probe and agent add to a TCP echo: CPU time per request of a server loop with both, against the same loop
//! without, and against itself (A/A).
//!
//! Three server loops live on one thread and take turns in short slices; one client loop on another thread keeps the
//! 50 connections of the loop whose turn it is busy with 64-byte messages. The agent's own CPU time is counted to the
//! slices of the instrumented loop.

use loopscope_agent::{Agent, Listen};
use loopscope_benches::cputime::{this_thread, thread_cpu_ns, thread_named};
use loopscope_benches::echo::{Client, Server, server};
use loopscope_benches::flipflop::Spread;
use loopscope_loop::{Loop, Mode};
use std::net::SocketAddr;
use std::time::Duration;

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
    let client = Client::start(servers.iter().map(|(_, address)| *address).collect(), connections);

    let mut cost: Vec<Vec<Slice>> = vec![Vec::new(); servers.len()];
    for round in 0..rounds as usize + 2 {
        for turn in 0..servers.len() {
            let at = (round + turn) % servers.len();
            client.begin(at);
            let done =
                slice(&mut servers[at].0, Duration::from_millis(slice_ms), (at == 2).then_some(agent_tid));
            // Two rounds to connect and to warm up.
            if round >= 2 {
                cost[at].push(done);
            }
        }
    }
    client.end();
    report(&names, &cost, connections);
    drop(client);
    drop(agent);
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
