//! Cost as work grows: 1 to 10,000 connections and 10 to 1,000,000 timers, drawn as an SVG.

use crate::chart::{Line, Panel, draw};
use crate::contest::{Outcome, run};
use crate::peer::Peer::{self, Libuv, Mio, Ours, OursAgain};
use crate::rows::{Row, Work};
use crate::verdict::Estimate;
use std::path::Path;

const CONNECTIONS: &[usize] = &[1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000];
const TIMERS: &[u64] = &[10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// Connections of all servers together, for which the client surely has descriptors and ports.
const CONNECTIONS_AT_ONCE: usize = 16_000;

/// Of each number of connections, and of timers beside which one is started.
const ROUNDS: usize = 12;
/// Of each number of timers that fire, which takes a second.
const FIRE_ROUNDS: usize = 5;

/// Measures, prints the numbers and writes the drawing.
///
/// # Errors
/// A peer ended early, or the file cannot be written.
pub fn draw_to(path: &Path) -> Result<(), String> {
    let echo = panel("TCP echo, 64 bytes", "connections", "CPU µs a request", 1e-3);
    let echo = measure(echo, CONNECTIONS.iter().map(|count| (*count as f64, echo_row(*count))), ROUNDS)?;
    let fire = panel("Timers of 1 to 1,000 ms: start and fire", "timers", "CPU ns a timer", 1.0);
    let fire = measure(fire, TIMERS.iter().map(|count| (*count as f64, fire_row(*count))), FIRE_ROUNDS)?;
    let cancel = panel("Timer start and cancel", "timers pending beside it", "CPU ns a timer", 1.0);
    let pending = TIMERS.iter().map(|count| (*count as f64, cancel_row(*count)));
    let cancel = measure(cancel, pending, ROUNDS)?;
    std::fs::write(path, draw(&[echo, fire, cancel])).map_err(|error| format!("{}: {error}", path.display()))
}

/// A panel without lines, and what its values are multiplied by.
fn panel(title: &str, below: &str, left: &str, factor: f64) -> (Panel, f64) {
    let [title, below, left] = [title, below, left].map(str::to_owned);
    (Panel { title, below, left, lines: Vec::new() }, factor)
}

const fn row(
    program: &'static str,
    name: &'static str,
    arguments: &'static [&'static str],
    work: Work,
) -> Row {
    let peers: &[Peer] = match work {
        Work::Serve { .. } => &[Ours, OursAgain, Libuv, Mio],
        _ => &[Ours, OursAgain, Libuv],
    };
    Row { name, title: name, program, arguments, work, peers, goals: &[], rounds: 0 }
}

fn echo_row(connections: usize) -> Row {
    row("server", "echo", &["echo"], Work::Serve { connections, is_http: false })
}

fn fire_row(count: u64) -> Row {
    row("timers", "timers-random", &[], Work::Cpu(count))
}

fn cancel_row(pending: u64) -> Row {
    let arguments: &[&str] = match pending {
        10 => &["10"],
        100 => &["100"],
        1_000 => &["1000"],
        10_000 => &["10000"],
        100_000 => &["100000"],
        _ => &["1000000"],
    };
    row("timers", "cancel-random", arguments, Work::Cpu(200_000))
}

/// Runs a row for each number, and makes the medians into lines.
fn measure(
    (mut panel, factor): (Panel, f64),
    rows: impl Iterator<Item = (f64, Row)>,
    rounds: usize,
) -> Result<Panel, String> {
    println!("### {}\n", panel.title);
    for (count, row) in rows {
        let outcome = run_together_or_alone(&row, rounds)?;
        println!("- {count} {}: {}", panel.below, told(&outcome, factor));
        for (peer, values) in outcome.values.into_iter().filter(|(peer, _)| *peer != OursAgain) {
            let point = (count, Estimate::of(values).median * factor);
            match panel.lines.iter_mut().find(|line| line.name == peer.name()) {
                Some(line) => line.points.push(point),
                None => panel.lines.push(Line { name: peer.name().to_owned(), points: vec![point] }),
            }
        }
    }
    println!();
    Ok(panel)
}

/// Runs a row, one peer after the other where all their connections were too many at once.
fn run_together_or_alone(row: &Row, rounds: usize) -> Result<Outcome, String> {
    match row.work {
        Work::Serve { connections, .. } if connections * row.peers.len() > CONNECTIONS_AT_ONCE => {
            let mut all = Outcome { values: Vec::new(), skipped: Vec::new() };
            for peer in row.peers.chunks(1) {
                let Outcome { values, skipped } = run(&Row { peers: peer, ..*row }, rounds)?;
                all.values.extend(values);
                all.skipped.extend(skipped);
            }
            Ok(all)
        }
        _ => run(row, rounds),
    }
}

fn told(outcome: &Outcome, factor: f64) -> String {
    let told = outcome.values.iter().map(|(peer, values)| {
        let estimate = Estimate::of(values.clone());
        format!("{} {:.1}", peer.name(), estimate.median * factor)
    });
    told.collect::<Vec<_>>().join(", ")
}
