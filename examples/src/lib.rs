//! What every example begins with: an agent in the process, and its warnings on the terminal.

use loopscope_agent::Agent;
use loopscope_spans::SpanLayer;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The programs of the guide for adopting the probe, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adopting.md")]
struct Adopting;

/// The programs of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// Starts the agent, and says where it is. It finds every loop of the process by itself; dropping it stops it.
///
/// # Panics
/// None of the ports from 9464 on is free.
pub fn watched() -> Agent {
    // The messages say it all; their fields are for machines.
    let only_message = debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{value:?}"),
        _ => Ok(()),
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(io::stdout().is_terminal())
        .fmt_fields(only_message)
        .with_target(false)
        .without_time()
        .with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(SpanLayer::new()).with(lines).init();
    let agent = Agent::builder().start().unwrap();
    let pid = std::process::id();
    if let Some(address) = agent.address() {
        println!("Watch it (pid {pid}): curl -s http://{address}/metrics | grep loopscope_");
    }
    agent
}

/// Returns the lines of the agent's page that begin with `prefix`.
///
/// # Errors
/// The agent does not answer.
pub fn metrics(agent: SocketAddr, prefix: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(agent)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page.lines().filter(|line| line.starts_with(prefix)).collect::<Vec<_>>().join("\n"))
}
