//! `loopscope ls`: every instrumented process of this machine, and what its loops are doing now.

use crate::args::LsArguments;
use crate::error::Failure;
use crate::output::{print, tell};
use crate::pages::{LoopPage, Process};
use crate::paint::Paint;
use crate::view::read;
use crate::{pages, view};
use loopscope_probe::agent_address::AgentAddress;
use loopscope_probe::description::{Description, Fact, Term};
use loopscope_probe::directory::{passed_over, runtime_directory};
use loopscope_probe::now::Running;
use loopscope_probe::{NowValues, Page};
use loopscope_report::duration::show_ns;
use loopscope_report::live::Observer;
use loopscope_report::words::kind_word;

/// Prints the list.
///
/// # Errors
/// The runtime directory cannot be read.
pub fn run(options: &LsArguments) -> Result<(), Failure> {
    let processes = pages::processes()?;
    passed_over().iter().for_each(|why| {
        tell(&format!(
            "loopscope: {why}
"
        ))
    });
    match options.json {
        true => view::print(&view::observe(&mut Observer::new(), &processes)),
        false if processes.is_empty() => print(&nothing()),
        false => print(&table(Paint::stdout(), &processes)),
    }
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
    /// Busy for longer than the threshold, as the program announced.
    Expected,
    Stalled,
    Ended,
}

/// One loop as it was read.
struct Row {
    state: State,
    now: NowValues,
    /// `timer parse (src/x.rs:40)`; empty where nothing ran.
    what: String,
    /// The drain that runs, in words.
    drain: String,
    /// The innermost span that is open inside: its name and fields.
    inside: Option<(String, String)>,
    /// The expected block that is open.
    expected: Option<String>,
    /// Busy time as part of all time since the loop began, 0 to 1; `None` where its runtime cannot know.
    utilization: Option<f64>,
    agent: Option<AgentAddress>,
}

fn row(process: &Process, entry: &LoopPage, page: &Page) -> Row {
    let at = if process.is_alive { entry.clock().now() } else { entry.last_moment(page) };
    let snapshot = page.snapshot_at(entry.clock(), at);
    let now = snapshot.now;
    let state = match (process.is_alive, now.busy_ns) {
        (false, _) => State::Ended,
        (true, 0) => State::Idle,
        _ if now.unexpected_ns() > snapshot.warning_ns => State::Stalled,
        _ if now.expected.is_some() => State::Expected,
        _ => State::Running,
    };
    let all_ns = snapshot.active_ns.saturating_add(snapshot.idle_ns).max(1);
    let agent = page.control().address().filter(|_| process.is_alive);
    let what = now.running.map(|running| describe(&running, page)).unwrap_or_default();
    let inside = page.open_spans().pop().filter(|_| now.busy_ns > 0);
    let inside = inside.and_then(|span| Some((page.sites().read_one(span.site)?.name, span.fields)));
    let expected = now.expected.and_then(|site| page.sites().read_one(site)).map(|site| site.label());
    let runtime = &snapshot.facts.description;
    let utilization = runtime.knows(Fact::Time).then_some(snapshot.active_ns as f64 / all_ns as f64);
    Row { state, now, what, drain: drain(&now, runtime), inside, expected, utilization, agent }
}

/// Says what runs: `timer parse (src/x.rs:40)`, or the phase where the loop is between two callbacks.
pub fn describe(running: &Running, page: &Page) -> String {
    let runtime = page.description();
    let Some(kind) = running.kind else {
        return match runtime.knows(Fact::Phases) {
            true => format!("phase {}", runtime.phase_label(running.phase)),
            false => runtime.noun(Term::Between).one,
        };
    };
    let label = page.sites().label(running.site);
    format!("{} {label}", kind_word(&runtime, kind))
}

impl Row {
    /// Tells the state in a few words, and what there is to say of it.
    fn text(&self) -> (String, String) {
        let what = match self.what.as_str() {
            "" => "?",
            what => what,
        };
        let (now, inside) = (&self.now, self.inside_words());
        match self.state {
            State::Idle => ("idle".to_owned(), String::new()),
            State::Running => {
                ("running".to_owned(), format!("{what} for {}{inside}", show_ns(now.running_ns)))
            }
            State::Expected => {
                let name = self.expected.as_deref().unwrap_or("?");
                let lasted = show_ns(now.expected_ns);
                ("expected block".to_owned(), format!("{name} for {lasted}, in {what}{inside}"))
            }
            State::Stalled => {
                (format!("{STALLED} {}", show_ns(now.busy_ns)), format!("in {what}{}{inside}", self.drain))
            }
            State::Ended if now.busy_ns == 0 => ("ended".to_owned(), "was idle".to_owned()),
            State::Ended => {
                let busy = show_ns(now.busy_ns);
                let text = format!("was in {what}{}{inside}, busy for at least {busy}", self.drain);
                ("ended".to_owned(), text)
            }
        }
    }

    fn inside_words(&self) -> String {
        match &self.inside {
            None => String::new(),
            Some((name, fields)) if fields.is_empty() => format!(", inside {name}"),
            Some((name, fields)) => format!(", inside {name} {fields}"),
        }
    }
}

/// Says that a queue is drained, and how many jobs that had so far, where they are told one by one.
fn drain(now: &NowValues, runtime: &Description) -> String {
    let is_told = runtime.knows(Fact::DrainedJobs) && !now.running.is_some_and(|running| running.is_many);
    match now.drain {
        None => String::new(),
        Some((_, jobs)) if is_told => format!(" (draining, {jobs} jobs so far)"),
        Some(_) => " (draining)".to_owned(),
    }
}

/// One line of the table; what does not fit beside it goes below.
struct Line {
    cells: [String; 7],
    detail: String,
}

/// How the state of a stalled loop begins.
const STALLED: &str = "STALLED";

/// The column where details begin that do not fit beside their line.
const DETAIL_INDENT: usize = 7;

fn table(paint: Paint, processes: &[Process]) -> String {
    let head = ["PID", "NAME", "LOOP", "RUNTIME", "BUSY", "AGENT", "STATE"].map(str::to_owned);
    let mut lines = vec![Line { cells: head, detail: String::new() }];
    let mut busy_ends: Vec<String> = Vec::new();
    for process in processes {
        let (pid, name) = (process.owner.pid.to_string(), process.name().to_owned());
        for entry in &process.loops {
            let (busy, agent, (state, detail)) = match read(entry) {
                Ok(page) => {
                    let row = row(process, entry, &page);
                    if row.state == State::Ended && row.now.busy_ns > 0 && !busy_ends.contains(&pid) {
                        busy_ends.push(pid.clone());
                    }
                    let agent =
                        row.agent.as_ref().map_or("-".to_owned(), |address| address.local().to_string());
                    let busy =
                        row.utilization.map_or("-".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0));
                    (busy, agent, row.text())
                }
                Err(error) => ("-".to_owned(), "-".to_owned(), ("?".to_owned(), format!("its page {error}"))),
            };
            let who = [pid.clone(), name.clone(), entry.label.clone(), entry.facts.runtime.clone()];
            let [pid, name, name_of_loop, runtime] = who;
            lines.push(Line { cells: [pid, name, name_of_loop, runtime, busy, agent, state], detail });
        }
        for damaged in &process.damaged {
            let dash = || "-".to_owned();
            let detail = format!("not readable: {} {}", damaged.path.display(), damaged.because);
            let cells = [pid.clone(), name.clone(), dash(), dash(), dash(), dash(), "?".to_owned()];
            lines.push(Line { cells, detail });
        }
    }
    let see = busy_ends.iter().map(|pid| format!("see: loopscope incidents {pid}\n"));
    align(paint, &lines) + &see.collect::<String>()
}

/// Pads all columns but the last one to their widest cell. Details stand beside their line where all of them fit, else
/// each below its own.
fn align(paint: Paint, lines: &[Line]) -> String {
    let width =
        |column: usize| lines.iter().map(|line| line.cells[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let padded = |line: &Line| -> String {
        let cells = line.cells[..6].iter().zip(widths);
        cells.map(|(cell, width)| format!("{cell:width$}  ")).collect::<String>() + &line.cells[6]
    };
    let beside = |line: &Line| match line.detail.as_str() {
        "" => padded(line),
        detail if line.cells[6] == "running" || line.cells[6].starts_with(STALLED) => {
            format!("{} {detail}", padded(line))
        }
        detail => format!("{}: {detail}", padded(line)),
    };
    let fits = lines.iter().all(|line| beside(line).chars().count() <= paint.columns);
    let mut text = String::new();
    for line in lines {
        let is_stalled = line.cells[6].starts_with(STALLED);
        let painted = |text: String| if is_stalled { paint.red(&text) } else { text };
        if fits {
            text += &(painted(beside(line)) + "\n");
        } else {
            let indent = " ".repeat(DETAIL_INDENT);
            text += &(painted(padded(line)) + "\n");
            text += &paint.paragraph(&indent, DETAIL_INDENT, &line.detail, str::to_owned);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use loopscope_probe::{Kind, Phase, SiteId, Ticks};

    fn row_of(state: State, busy_ns: u64) -> Row {
        let running = Running {
            phase: Phase::TIMERS,
            kind: Some(Kind::Timer),
            site: SiteId(1),
            queue: None,
            is_many: false,
            since: Ticks(1),
        };
        let now = NowValues { busy_ns, running_ns: 3_000_000, running: Some(running), ..NowValues::IDLE };
        let what = "timer src/x.rs:40".to_owned();
        Row {
            state,
            now,
            what,
            drain: String::new(),
            inside: None,
            expected: None,
            utilization: Some(0.5),
            agent: None,
        }
    }

    #[test]
    fn a_state_is_told_with_its_duration_and_place() {
        for (state, busy_ns, short, detail) in [
            (State::Idle, 0, "idle", ""),
            (State::Running, 9, "running", "timer src/x.rs:40 for 3.0 ms"),
            (State::Stalled, 1_200_000_000, "STALLED 1.2 s", "in timer src/x.rs:40"),
            (State::Ended, 0, "ended", "was idle"),
            (State::Ended, 2_000_000_000, "ended", "was in timer src/x.rs:40, busy for at least 2.0 s"),
        ] {
            assert_eq!(row_of(state, busy_ns).text(), (short.to_owned(), detail.to_owned()));
        }
    }

    #[test]
    fn a_drain_that_stalls_tells_its_jobs() {
        let mut row = row_of(State::Stalled, 400_000_000);
        row.now.drain = Some((400_000_000, 12_345));
        row.drain = drain(&row.now, &Description::new());
        assert_eq!(row.text().1, "in timer src/x.rs:40 (draining, 12345 jobs so far)");
        // Where its jobs are not told one by one, their number is not what was counted.
        row.drain = drain(&row.now, &Description::new().fills(&[Fact::Drains]));
        assert_eq!(row.text().1, "in timer src/x.rs:40 (draining)");
        row.now.running = row.now.running.map(|running| Running { is_many: true, ..running });
        row.drain = drain(&row.now, &Description::new());
        assert_eq!(row.text().1, "in timer src/x.rs:40 (draining)");
    }

    #[test]
    fn the_innermost_span_and_an_expected_block_are_told() {
        let mut row = row_of(State::Running, 400_000_000);
        row.inside = Some(("query".to_owned(), "id=7".to_owned()));
        assert_eq!(row.text().1, "timer src/x.rs:40 for 3.0 ms, inside query id=7");
        row.state = State::Expected;
        row.expected = Some("migration (src/m.rs:3)".to_owned());
        row.now.expected_ns = 2_000_000_000;
        let told = (
            "expected block".to_owned(),
            "migration (src/m.rs:3) for 2.0 s, in timer src/x.rs:40, inside query id=7".to_owned(),
        );
        assert_eq!(row.text(), told);
    }

    fn line(first: &str, state: &str, detail: &str) -> Line {
        Line { cells: [first, "b", "c", "d", "e", "f", state].map(str::to_owned), detail: detail.to_owned() }
    }

    #[test]
    fn columns_line_up_and_details_stand_where_there_is_room() {
        let lines = [line("PID", "STATE", ""), line("1234567", "running", "timer src/x.rs:40 for 3.0 ms")];
        let wide = align(Paint::plain(200), &lines);
        let columns: Vec<usize> = wide.lines().map(|line| line.find('b').unwrap()).collect();
        assert_eq!(columns, [9, 9]);
        assert!(wide.ends_with("running timer src/x.rs:40 for 3.0 ms\n"), "{wide}");
        let narrow = align(Paint::plain(40), &lines);
        assert!(narrow.ends_with("running\n       timer src/x.rs:40 for 3.0 ms\n"), "{narrow}");
    }
}
