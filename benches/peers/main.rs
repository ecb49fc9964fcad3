//! The loop against its peers: libuv, Tokio, raw mio and Node, in one interleaved run a row.
//!
//! `peers` lists the rows; `peers NAME... [--rounds N]` runs rows, `peers all` all of them; `peers scale FILE` draws cost
//! as work grows. Peers are processes of their own that take turns in short slices. What counts is their processor time, which the kernel keeps: on a machine with
//! other work it says more than throughput. The loop takes part twice, as a control: where the two differ, that is
//! noise, and a goal that noise could decide is neither met nor missed.

mod chart;
mod contest;
mod load;
mod mio_peer;
mod ours;
mod ours_server;
mod peer;
mod report;
mod rounds;
mod rows;
mod scale;
mod tokio_peer;
mod verdict;

use rows::{ROWS, Row};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["peer", peer, row, ref arguments @ ..] => take_part(peer, row, arguments),
        ["scale", file] => scale::draw_to(file.as_ref()),
        [] => {
            ROWS.iter().for_each(|row| println!("{:18} {}; {}", row.name, row.title, report::method(row)));
            Ok(())
        }
        _ => chosen(&words).and_then(|(rows, rounds)| compare(&rows, rounds)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Is one of the peers.
fn take_part(peer: &str, row: &str, arguments: &[&str]) -> Result<(), String> {
    let number = arguments.first().and_then(|text| text.parse().ok());
    let (is_http, has_probe) = (row == "http", peer == "ours");
    let done = match peer {
        "ours" | "ours-off" if matches!(row, "http" | "connection-memory") || row.starts_with("echo") => {
            ours_server::serve(is_http, has_probe);
            Some(())
        }
        "ours" | "ours-off" => ours::run(row, has_probe, number),
        "tokio" => tokio_peer::run(server_row(row)),
        "mio" => mio_peer::run(server_row(row)),
        _ => None,
    };
    done.ok_or_else(|| format!("{peer} does not take part in {row}"))
}

/// All rows of echo servers are one row to a server.
fn server_row(row: &str) -> &str {
    if row.starts_with("echo") || row == "connection-memory" { "echo" } else { row }
}

fn chosen(words: &[&str]) -> Result<(Vec<&'static Row>, Option<usize>), String> {
    let (names, rounds) = match words {
        [names @ .., "--rounds", count] => {
            (names, Some(count.parse().map_err(|_| format!("{count} is not a number of rounds"))?))
        }
        names => (names, None),
    };
    let named = |name: &&str| {
        let found: Vec<&Row> = ROWS.iter().filter(|row| *name == "all" || row.name == *name).collect();
        if found.is_empty() {
            Err(format!("there is no row {name}: without arguments all are listed"))
        } else {
            Ok(found)
        }
    };
    Ok((names.iter().map(named).collect::<Result<Vec<_>, _>>()?.concat(), rounds))
}

fn compare(rows: &[&Row], rounds: Option<usize>) -> Result<(), String> {
    for row in rows {
        let before = load_average();
        let outcome = contest::run(row, rounds.unwrap_or(row.rounds))?;
        println!("{}", report::report(row, &outcome, &format!("{before} to {}", load_average())));
    }
    Ok(())
}

/// Returns the machine's load of the last minute.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
