//! `loopscope ls`: every instrumented process of this machine, and what its loops are doing now.

use crate::args::LsArguments;
use crate::error::Failure;
use crate::incidents::utc_time;
use crate::output::{print, tell};
use crate::pages::{LoopPage, Process};
use crate::paint::Paint;
use crate::view::read;
use crate::{pages, view};
use loopscope_probe::description::{Description, Fact, Term};
use loopscope_probe::raw::agent_address::AgentAddress;
use loopscope_probe::raw::directory::{passed_over, remove_dead_pages, runtime_directory};
use loopscope_probe::raw::now::Running;
use loopscope_probe::{NowValues, Page};
use loopscope_report::duration::show_ns;
use loopscope_report::live::ViewBuilder;
use loopscope_report::short_names::short_names;
use loopscope_report::words::{count, kind_and_place};

/// Prints the list.
///
/// # Errors
/// The runtime directory cannot be read.
pub fn run(options: &LsArguments) -> Result<(), Failure> {
    // Nothing else may remove the pages of killed processes: no other program with a loop may start.
    remove_dead_pages(&runtime_directory());
    let processes = pages::processes()?;
    passed_over().iter().for_each(|why| {
        tell(&format!(
            "loopscope: {why}
"
        ))
    });
    if options.json {
        return view::print(&view::observe(&mut ViewBuilder::new(), &processes));
    }
    if processes.is_empty() {
        return print(&nothing());
    }
    let (left_out, shown): (Vec<Process>, Vec<Process>) =
        processes.into_iter().partition(|process| !options.all && ended_idle(process));
    let mut text = match shown.as_slice() {
        [] => "No instrumented process is running.\n".to_owned(),
        shown => table(Paint::stdout(), shown, options.workers),
    };
    match left_out.len() {
        0 => {}
        1 => text += "1 process exited while idle; use --all to list it.\n",
        count => text += &format!("{count} processes exited while idle; use --all to list them.\n"),
    }
    print(&text)
}

/// Tells whether a process has ended while none of its loops did anything: nothing is to be learned from it.
fn ended_idle(process: &Process) -> bool {
    let was_idle = |entry: &LoopPage| {
        let page = entry.read();
        page.is_ok_and(|page| page.now_values(entry.last_moment(&page), entry.clock()).busy_ns == 0)
    };
    !process.is_alive && process.damaged.is_empty() && process.loops.iter().all(was_idle)
}

/// Returns the moment at which an ended loop is last known to have lived, in nanoseconds since 1970.
fn last_unix_ns(entry: &LoopPage, page: &Page) -> u64 {
    let lived_ns = entry.clock().ns_between(page.created(), entry.last_moment(page));
    entry.facts.created_unix_ns.saturating_add(lived_ns)
}

fn nothing() -> String {
    format!(
        "No instrumented process: no pages in {}.\nStart one, for example `loopscope demo` in another \
         terminal. Processes of other users are not listed.\n",
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
    /// By a signal or a debugger.
    Stopped,
    Ended,
}

/// One loop as it was read.
struct LoopRow {
    state: State,
    now: NowValues,
    /// `timer parse (src/x.rs:40)`; empty where nothing ran.
    what: String,
    /// What the page is of, where its name does not say so.
    about: String,
    /// The drain that runs, in words.
    drain: String,
    /// The innermost span that is open inside: its name and fields.
    inside: Option<(String, String)>,
    /// The expected block that is open.
    expected: Option<String>,
    /// Busy time since the loop began, and all time, in nanoseconds; `None` where its runtime cannot know.
    times: Option<(u64, u64)>,
    agent: Option<AgentAddress>,
    /// When the loop is last known to have lived, of an ended one: nanoseconds since 1970.
    last_unix_ns: Option<u64>,
}

fn row(process: &Process, entry: &LoopPage, page: &Page) -> LoopRow {
    let at = if process.is_alive { entry.clock().now() } else { entry.last_moment(page) };
    let snapshot = page.snapshot_at(entry.clock(), at);
    let now = snapshot.now;
    let state = match (process.is_alive, now.busy_ns) {
        (false, _) => State::Ended,
        _ if entry.is_stopped() => State::Stopped,
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
    let times = runtime.knows(Fact::Time).then_some((snapshot.active_ns, all_ns));
    let last_unix_ns = (state == State::Ended).then(|| last_unix_ns(entry, page));
    let about = runtime.noun(Term::About).one;
    LoopRow {
        state,
        now,
        what,
        about,
        drain: drain(&now, runtime),
        inside,
        expected,
        times,
        agent,
        last_unix_ns,
    }
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
    kind_and_place(&runtime, kind, &label, running.is_many)
}

impl LoopRow {
    /// Tells the state in a few words, and what there is to say of it.
    fn text(&self) -> (String, String) {
        let what = short_names(if self.what.is_empty() { "?" } else { &self.what });
        let (now, inside) = (&self.now, self.inside_words());
        match self.state {
            State::Idle => ("idle".to_owned(), self.about.clone()),
            State::Running => {
                ("running".to_owned(), format!("{what} for {}{inside}", show_ns(now.running_ns)))
            }
            State::Expected => {
                let name = short_names(self.expected.as_deref().unwrap_or("?"));
                let lasted = show_ns(now.expected_ns);
                ("expected block".to_owned(), format!("{name} for {lasted}, in {what}{inside}"))
            }
            State::Stalled => {
                (format!("{STALLED} {}", show_ns(now.busy_ns)), format!("in {what}{}{inside}", self.drain))
            }
            State::Stopped if now.busy_ns == 0 => {
                ("stopped".to_owned(), "while it waits for events".to_owned())
            }
            State::Stopped => (
                "stopped".to_owned(),
                format!("in {what}{}{inside}, busy for {}", self.drain, show_ns(now.busy_ns)),
            ),
            State::Ended if now.busy_ns == 0 => {
                ("ended".to_owned(), format!("was idle{}", self.last_words()))
            }
            State::Ended => {
                let busy = show_ns(now.busy_ns);
                let drain = &self.drain;
                let last = self.last_words();
                let text = format!("was running {what}{drain}{inside}, busy for at least {busy}{last}");
                ("ended".to_owned(), text)
            }
        }
    }

    /// Returns `; last seen 2026-11-29 04:12:01 UTC` of an ended loop.
    fn last_words(&self) -> String {
        self.last_unix_ns.map_or_else(String::new, |ns| format!("; last seen {}", utc_time::utc_second(ns)))
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
        Some((_, jobs)) if is_told => format!(" (draining, {} so far)", count(jobs, "job")),
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

/// Writes the table of loops, a line each.
pub fn table(paint: Paint, processes: &[Process], with_workers: bool) -> String {
    let head = ["PID", "NAME", "LOOP", "RUNTIME", "BUSY", "AGENT", "STATE"].map(str::to_owned);
    let mut lines = vec![Line { cells: head, detail: String::new() }];
    let mut busy_ends: Vec<String> = Vec::new();
    for process in processes {
        let pid = process.owner.pid.to_string();
        let rows: Vec<ListedLoop<'_>> =
            process.loops.iter().map(|entry| ListedLoop::of(process, entry)).collect();
        let is_busy_end = |row: &LoopRow| row.state == State::Ended && row.now.busy_ns > 0;
        if rows.iter().any(|told| told.row.as_ref().is_ok_and(is_busy_end)) {
            busy_ends.push(pid.clone());
        }
        let mut done: Vec<&str> = Vec::new();
        for told in &rows {
            let Some(runtime) = told.entry.runtime_label() else {
                lines.push(told.line(process, told.entry.called.label.clone()));
                continue;
            };
            if done.contains(&runtime) {
                continue;
            }
            done.push(runtime);
            let mut workers: Vec<&ListedLoop<'_>> =
                rows.iter().filter(|told| told.entry.runtime_label() == Some(runtime)).collect();
            workers.sort_by_key(|told| told.entry.facts.worker);
            lines.push(line_of_runtime(process, runtime, &workers));
            if with_workers {
                lines.extend(
                    workers.iter().map(|told| told.line(process, format!("  {}", told.worker_words()))),
                );
            }
        }
        lines.extend(damaged(process));
    }
    let see = busy_ends.iter().map(|pid| format!("see: loopscope incidents {pid}\n"));
    align(paint, &lines) + &see.collect::<String>()
}

fn damaged(process: &Process) -> impl Iterator<Item = Line> {
    process.damaged.iter().map(|damaged| {
        let dash = || "-".to_owned();
        let detail = format!("not readable: {} {}", damaged.path.display(), damaged.because);
        let (pid, name) = (process.owner.pid.to_string(), process.name().to_owned());
        Line { cells: [pid, name, dash(), dash(), dash(), dash(), "?".to_owned()], detail }
    })
}

/// A loop and what its page tells.
struct ListedLoop<'a> {
    entry: &'a LoopPage,
    row: Result<LoopRow, String>,
}

impl ListedLoop<'_> {
    fn of<'a>(process: &Process, entry: &'a LoopPage) -> ListedLoop<'a> {
        let row =
            read(entry).map(|page| row(process, entry, &page)).map_err(|error| format!("its page {error}"));
        ListedLoop { entry, row }
    }

    /// Returns `worker 3`.
    fn worker_words(&self) -> String {
        self.entry
            .facts
            .worker
            .map_or_else(|| self.entry.called.label.clone(), |worker| format!("worker {worker}"))
    }

    fn line(&self, process: &Process, name: String) -> Line {
        let (busy, agent, (state, detail)) = match &self.row {
            Ok(row) => (busy(row.times), agent_words(row), row.text()),
            Err(because) => ("-".to_owned(), "-".to_owned(), ("?".to_owned(), because.clone())),
        };
        let runtime = self.entry.facts.runtime.clone();
        let (pid, of) = (process.owner.pid.to_string(), process.name().to_owned());
        Line { cells: [pid, of, name, runtime, busy, agent, state], detail }
    }
}

/// Tells a runtime: the state of its worst worker, and how busy all of them were.
fn line_of_runtime(process: &Process, runtime: &str, workers: &[&ListedLoop<'_>]) -> Line {
    let rows = || workers.iter().filter_map(|told| told.row.as_ref().ok());
    let badness = |told: &&&ListedLoop<'_>| {
        told.row.as_ref().map_or((0, 0), |row| match row.state {
            State::Stalled => (6, row.now.busy_ns),
            State::Stopped => (5, row.now.busy_ns),
            State::Expected => (4, row.now.busy_ns),
            State::Running => (3, row.now.busy_ns),
            State::Idle => (2, 0),
            State::Ended => (1, row.now.busy_ns),
        })
    };
    let count = workers.len();
    let name = format!("{runtime} ({count} worker{})", if count == 1 { "" } else { "s" });
    // The first of the worst.
    let Some(worst) = workers.iter().rev().max_by_key(badness) else {
        return Line { cells: Default::default(), detail: String::new() };
    };
    let mut line = worst.line(process, name);
    if !line.detail.is_empty() {
        line.detail = format!("{}: {}", worst.worker_words(), line.detail);
    }
    let add = |(active_ns, all_ns): (u64, u64), (more_ns, more_all_ns): (u64, u64)| {
        (active_ns.saturating_add(more_ns), all_ns.saturating_add(more_all_ns))
    };
    line.cells[4] = busy(rows().filter_map(|row| row.times).reduce(add));
    line
}

fn busy(times: Option<(u64, u64)>) -> String {
    let percent =
        |(active_ns, all_ns): (u64, u64)| format!("{:.1}%", active_ns as f64 / all_ns.max(1) as f64 * 100.0);
    times.map_or("-".to_owned(), percent)
}

fn agent_words(row: &LoopRow) -> String {
    row.agent.as_ref().map_or("-".to_owned(), |address| address.local().to_string())
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

    fn row_of(state: State, busy_ns: u64) -> LoopRow {
        let running = Running {
            phase: Phase::TIMERS,
            kind: Some(Kind::Timer),
            site: SiteId::from(1),
            queue: None,
            is_many: false,
            since: Ticks(1),
        };
        let now = NowValues { busy_ns, running_ns: 3_000_000, running: Some(running), ..NowValues::IDLE };
        let what = "timer src/x.rs:40".to_owned();
        LoopRow {
            state,
            now,
            what,
            about: String::new(),
            drain: String::new(),
            inside: None,
            expected: None,
            times: Some((1, 2)),
            agent: None,
            last_unix_ns: None,
        }
    }

    #[test]
    fn a_state_is_told_with_its_duration_and_place() {
        for (state, busy_ns, short, detail) in [
            (State::Idle, 0, "idle", ""),
            (State::Running, 9, "running", "timer src/x.rs:40 for 3.0 ms"),
            (State::Stalled, 1_200_000_000, "STALLED 1.2 s", "in timer src/x.rs:40"),
            (State::Stopped, 0, "stopped", "while it waits for events"),
            (State::Stopped, 1_200_000_000, "stopped", "in timer src/x.rs:40, busy for 1.2 s"),
            (State::Ended, 0, "ended", "was idle"),
            (State::Ended, 2_000_000_000, "ended", "was running timer src/x.rs:40, busy for at least 2.0 s"),
        ] {
            assert_eq!(row_of(state, busy_ns).text(), (short.to_owned(), detail.to_owned()));
        }
    }

    #[test]
    fn a_drain_that_stalls_tells_its_jobs() {
        let mut row = row_of(State::Stalled, 400_000_000);
        row.now.drain = Some((400_000_000, 12_345));
        row.drain = drain(&row.now, &Description::new());
        assert_eq!(row.text().1, "in timer src/x.rs:40 (draining, 12,345 jobs so far)");
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
