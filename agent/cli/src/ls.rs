//! `loopscope ls`: every instrumented process of this machine, and what its loops are doing now.

use crate::args::LsArguments;
use crate::duration::show_ns;
use crate::error::Failure;
use crate::output::print;
use crate::pages::{self, LoopPage, Process};
use loopscope_probe::directory::runtime_directory;
use loopscope_probe::now::Running;
use loopscope_probe::{Kind, NowValues, Page, Queue};
use serde_json::{Value, json};

/// Prints the list.
///
/// # Errors
/// The runtime directory cannot be read.
pub fn run(options: &LsArguments) -> Result<(), Failure> {
    let processes = pages::processes()?;
    let text = match options.json {
        true => format!("{:#}\n", json!({ "processes": processes.iter().map(as_json).collect::<Vec<_>>() })),
        false if processes.is_empty() => nothing(),
        false => table(&processes),
    };
    print(text.as_bytes())
}

fn nothing() -> String {
    format!(
        "No instrumented process: there are no pages in {}.\n\
         Start one, such as `loopscope demo` in another terminal. Processes of other users are not listed.\n",
        runtime_directory().display()
    )
}

/// What a loop does, or did last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Running,
    Stalled,
    Ended,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Running => "running",
            State::Stalled => "stalled",
            State::Ended => "ended",
        }
    }
}

/// One loop as it was read.
struct Row {
    state: State,
    now: NowValues,
    /// `timer parse (src/x.rs:40)`; empty where nothing ran.
    what: String,
    /// Busy time as part of all time since the loop began, 0 to 1.
    utilization: f64,
    agent: Option<String>,
}

fn row(process: &Process, entry: &LoopPage, page: &Page) -> Row {
    let at = if process.is_alive { entry.clock().now() } else { entry.last_moment(page) };
    let snapshot = page.snapshot_at(entry.clock(), at);
    let now = snapshot.now;
    let state = match (process.is_alive, now.busy_ns) {
        (false, _) => State::Ended,
        (true, 0) => State::Idle,
        (true, busy_ns) if busy_ns > snapshot.warning_ns => State::Stalled,
        (true, _) => State::Running,
    };
    let all_ns = snapshot.active_ns.saturating_add(snapshot.idle_ns).max(1);
    let agent = page.control().address().filter(|_| process.is_alive);
    let what = now.running.map(|running| describe(&running, page)).unwrap_or_default();
    Row { state, now, what, utilization: snapshot.active_ns as f64 / all_ns as f64, agent }
}

/// Reads a page; a few times where the loop is busy between two callbacks, for a reading that names one.
fn read(entry: &LoopPage) -> std::io::Result<Box<Page>> {
    let mut page = entry.read()?;
    for _ in 0..4 {
        let now = page.now_values(entry.clock().now(), entry.clock());
        if now.running.is_none_or(|running| running.kind.is_some()) {
            break;
        }
        page = entry.read()?;
    }
    Ok(page)
}

/// Says what runs: `timer parse (src/x.rs:40)`, or the phase where the loop is between two callbacks.
pub fn describe(running: &Running, page: &Page) -> String {
    let Some(kind) = running.kind else { return format!("phase {}", running.phase.name()) };
    let label = page.sites().read_one(running.site).map_or_else(|| "?".to_owned(), |site| site.label());
    // A queue's job is called by its queue, as in metrics and flamegraphs.
    let kind = kind.queue().map_or(kind.name(), Queue::name);
    format!("{kind} {label}")
}

impl Row {
    fn text(&self) -> String {
        let what = match self.what.as_str() {
            "" => "?",
            what => what,
        };
        let now = &self.now;
        match self.state {
            State::Idle => "idle".to_owned(),
            State::Running => format!("running {what} for {}", show_ns(now.running_ns)),
            State::Stalled => format!("STALLED {} in {what}{}", show_ns(now.busy_ns), drain(now)),
            State::Ended if now.busy_ns == 0 => "ended; was idle".to_owned(),
            State::Ended => {
                let busy = show_ns(now.busy_ns);
                format!("ended; was in {what}{}, busy for at least {busy}", drain(now))
            }
        }
    }

    fn json(&self, entry: &LoopPage, page: &Page) -> Value {
        let (facts, now) = (&entry.facts, &self.now);
        let seconds = |ns: u64| ns as f64 / 1e9;
        let site = now.running.filter(|running| running.kind.is_some());
        let site = site.and_then(|running| page.sites().read_one(running.site));
        json!({
            "name": facts.name,
            "runtime": facts.runtime,
            "backend": facts.backend,
            "tid": facts.tid,
            "state": self.state.name(),
            "busy_seconds": seconds(now.busy_ns),
            "running_seconds": seconds(now.running_ns),
            "phase": now.running.map(|running| running.phase.name()),
            "kind": now.running.and_then(|running| running.kind).map(Kind::name),
            "site": site.map(|site| json!({ "name": site.name, "file": site.file, "line": site.line })),
            "utilization_ratio": self.utilization,
            "stall_threshold_seconds": seconds(page.control().warning_ns()),
        })
    }
}

fn drain(now: &NowValues) -> String {
    now.drain.map_or(String::new(), |(_, jobs)| format!(" (draining, {jobs} jobs so far)"))
}

fn table(processes: &[Process]) -> String {
    let mut rows = vec![["PID", "NAME", "LOOP", "RUNTIME", "BUSY", "AGENT", "STATE"].map(str::to_owned)];
    for process in processes {
        let (pid, name) = (process.owner.pid.to_string(), process.name().to_owned());
        for entry in &process.loops {
            let (busy, agent, state) = match read(entry) {
                Ok(page) => {
                    let row = row(process, entry, &page);
                    let agent =
                        row.agent.clone().map_or("-".to_owned(), |address| format!("http://{address}"));
                    (format!("{:.1}%", row.utilization * 100.0), agent, row.text())
                }
                Err(error) => ("-".to_owned(), "-".to_owned(), format!("its page {error}")),
            };
            let facts = &entry.facts;
            let who = [pid.clone(), name.clone(), facts.name.clone(), facts.runtime.clone()];
            let [pid, name, name_of_loop, runtime] = who;
            rows.push([pid, name, name_of_loop, runtime, busy, agent, state]);
        }
        for damaged in &process.damaged {
            let dash = || "-".to_owned();
            let text = format!("not readable: {} {}", damaged.path.display(), damaged.because);
            rows.push([pid.clone(), name.clone(), dash(), dash(), dash(), dash(), text]);
        }
    }
    align(&rows)
}

/// Pads all columns but the last one to their widest cell.
fn align(rows: &[[String; 7]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (cell, width) in row[..6].iter().zip(widths) {
            text += &format!("{cell:width$}  ");
        }
        text = text + &row[6] + "\n";
    }
    text
}

fn as_json(process: &Process) -> Value {
    let mut agent = None;
    let loops: Vec<Value> = process
        .loops
        .iter()
        .filter_map(|entry| {
            let page = read(entry).ok()?;
            let row = row(process, entry, &page);
            agent = agent.take().or_else(|| row.agent.clone());
            Some(row.json(entry, &page))
        })
        .collect();
    let damaged: Vec<Value> = process
        .damaged
        .iter()
        .map(|damaged| json!({ "file": damaged.path.to_string_lossy(), "reason": damaged.because }))
        .collect();
    json!({
        "pid": process.owner.pid,
        "name": process.name(),
        "alive": process.is_alive,
        "agent": agent.map(|address| format!("http://{address}")),
        "loops": loops,
        "damaged": damaged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Phase, SiteId, Ticks};

    fn row_of(state: State, busy_ns: u64) -> Row {
        let running = Running {
            phase: Phase::Timers,
            kind: Some(Kind::Timer),
            site: SiteId(1),
            queue: None,
            since: Ticks(1),
        };
        let now = NowValues { busy_ns, running_ns: 3_000_000, running: Some(running), ..NowValues::IDLE };
        Row { state, now, what: "timer src/x.rs:40".to_owned(), utilization: 0.5, agent: None }
    }

    #[test]
    fn a_state_is_told_with_its_duration_and_place() {
        for (state, busy_ns, text) in [
            (State::Idle, 0, "idle"),
            (State::Running, 9, "running timer src/x.rs:40 for 3.0 ms"),
            (State::Stalled, 1_200_000_000, "STALLED 1.2 s in timer src/x.rs:40"),
            (State::Ended, 0, "ended; was idle"),
            (State::Ended, 2_000_000_000, "ended; was in timer src/x.rs:40, busy for at least 2.0 s"),
        ] {
            assert_eq!(row_of(state, busy_ns).text(), text);
        }
    }

    #[test]
    fn a_drain_that_stalls_tells_its_jobs() {
        let mut row = row_of(State::Stalled, 400_000_000);
        row.now.drain = Some((400_000_000, 12_345));
        assert_eq!(row.text(), "STALLED 400 ms in timer src/x.rs:40 (draining, 12345 jobs so far)");
    }

    #[test]
    fn columns_line_up() {
        let cells = |first: &str, last: &str| [first, "b", "c", "d", "e", "f", last].map(str::to_owned);
        let text = align(&[cells("PID", "STATE"), cells("1234567", "idle")]);
        let columns: Vec<usize> = text.lines().map(|line| line.find('b').unwrap()).collect();
        assert_eq!(columns, [9, 9]);
    }
}
