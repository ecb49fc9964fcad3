//! A row is run: all peers take turns in short slices, so that what disturbs the machine disturbs them alike.

use crate::load::Load;
use crate::peer::{Peer, Running};
use crate::rows::{Row, Work};
use loopscope_benches::processors;

/// What each peer took for an operation, slice by slice. Values with the same index are of the same round.
pub struct Outcome {
    pub values: Vec<(Peer, Vec<f64>)>,
    /// Peers that could not take part, and why.
    pub skipped: Vec<(Peer, String)>,
}

impl Outcome {
    pub fn of(&self, peer: Peer) -> Option<&[f64]> {
        self.values.iter().find(|(other, _)| *other == peer).map(|(_, values)| values.as_slice())
    }

    /// Returns the ratios of two peers' slices of the same rounds.
    pub fn ratios(&self, of: Peer, against: Peer) -> Option<Vec<f64>> {
        let pairs = self.of(of)?.iter().zip(self.of(against)?);
        Some(pairs.map(|(of, against)| of / against).collect())
    }
}

/// Runs a row.
///
/// # Errors
/// A peer that had started ended early.
pub fn run(row: &Row, rounds: usize) -> Result<Outcome, String> {
    match row.work {
        Work::Cpu(operations) => {
            interleave(row, rounds, |peer| Ok(peer.round(operations)?.cpu_ns as f64 / operations as f64))
        }
        Work::Wall(operations) => {
            interleave(row, rounds, |peer| Ok(peer.round(operations)?.wall_ns as f64 / operations as f64))
        }
        Work::Serve { connections, is_http } => serve(row, rounds, connections, is_http),
        Work::TimerMemory(count) => afresh(row, rounds, |peer| {
            let before = peer.resident_bytes();
            peer.round(count)?;
            Ok(growth(before, peer) / count as f64)
        }),
        Work::ConnectionMemory(connections) => afresh(row, rounds, |peer| {
            let port = port(peer)?;
            let before = peer.resident_bytes();
            let mut load = Load::start(&[port], connections, false)?;
            load.slice(0)?;
            Ok(growth(before, peer) / connections as f64)
        }),
    }
}

/// Returns by how many bytes the memory of a peer grew; pages that it gave back meanwhile may make that negative.
fn growth(before: u64, peer: &Running) -> f64 {
    peer.resident_bytes() as f64 - before as f64
}

/// Starts every peer that can run here.
fn start(row: &Row) -> (Vec<Running>, Vec<(Peer, String)>) {
    let (mut running, mut skipped) = (Vec::new(), Vec::new());
    for peer in row.peers {
        let arguments: Vec<&str> = match (peer, row.program) {
            // The server programs take what they serve, the others the row and what it says besides.
            (_, "server") => row.arguments.to_vec(),
            _ => [&[row.name], row.arguments].concat(),
        };
        match Running::start(*peer, row.name, row.program, &arguments) {
            Ok(started) => running.push(started),
            Err(reason) => skipped.push((*peer, reason)),
        }
    }
    (running, skipped)
}

/// Lets all peers take turns, in an order that rotates. The first round warms up and is not kept.
fn interleave(
    row: &Row,
    rounds: usize,
    mut turn: impl FnMut(&mut Running) -> Result<f64, String>,
) -> Result<Outcome, String> {
    let (mut running, skipped) = start(row);
    take_turns(&mut running, rounds, |_, peer| turn(peer)).map(|values| Outcome { values, skipped })
}

fn take_turns(
    running: &mut [Running],
    rounds: usize,
    mut turn: impl FnMut(usize, &mut Running) -> Result<f64, String>,
) -> Result<Vec<(Peer, Vec<f64>)>, String> {
    let mut values: Vec<(Peer, Vec<f64>)> = running.iter().map(|peer| (peer.peer, Vec::new())).collect();
    let count = running.len();
    for round in 0..=rounds {
        for at in (0..count).map(|turn| (round + turn) % count) {
            let value = turn(at, &mut running[at])?;
            if round > 0 {
                values[at].1.push(value);
            }
        }
    }
    Ok(values)
}

/// Reads the port that a server prints.
fn port(peer: &mut Running) -> Result<u16, String> {
    let line = peer.line()?;
    line.parse().map_err(|_| format!("{} printed {line:?} in place of its port", peer.peer.name()))
}

/// One server after the other gets requests from the same client, and is idle otherwise.
fn serve(row: &Row, rounds: usize, connections: usize, is_http: bool) -> Result<Outcome, String> {
    processors::use_first();
    let (mut running, skipped) = start(row);
    processors::use_last();
    let ports: Vec<u16> = running.iter_mut().map(port).collect::<Result<_, _>>()?;
    let mut load = Load::start(&ports, connections, is_http)?;
    let values = take_turns(&mut running, rounds, |at, peer| {
        let before = peer.cpu_ns();
        let answers = load.slice(at)?;
        Ok((peer.cpu_ns() - before) as f64 / answers as f64)
    });
    processors::use_all();
    Ok(Outcome { values: values?, skipped })
}

/// Starts the peers anew for each value: memory that was freed is not given back.
fn afresh(
    row: &Row,
    rounds: usize,
    mut turn: impl FnMut(&mut Running) -> Result<f64, String>,
) -> Result<Outcome, String> {
    let mut outcome: Option<Outcome> = None;
    for _ in 0..rounds {
        let (mut running, skipped) = start(row);
        let once = running.iter_mut().map(|peer| Ok((peer.peer, vec![turn(peer)?])));
        let values = once.collect::<Result<Vec<_>, String>>()?;
        match &mut outcome {
            None => outcome = Some(Outcome { values, skipped }),
            Some(outcome) => {
                for ((_, all), (_, more)) in outcome.values.iter_mut().zip(values) {
                    all.extend(more);
                }
            }
        }
    }
    outcome.ok_or_else(|| "a row needs at least one round".to_owned())
}
