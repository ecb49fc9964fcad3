//! The agent itself: whether it looks, what it costs, and what it had to leave out.

use super::board::{Board, with_marks_of_targets};
use super::panel::Panel;
use super::selection::{LOOP_NAME, PROCESS, PROCESS_NAME, WINDOW, targets};
use super::shape::{Column, Shape};
use super::thresholds as t;
use crate::promql::{Group, Series, max, per_minute, quantile, rate, sum};
use loopscope_report::metrics::catalog as c;

const EACH: Group<'static> = Group::By(PROCESS);

pub(super) fn board() -> Board {
    let build = Series::of(&c::BUILD_INFO);
    let board = Board::new(
        "loopscope-agent",
        "Loopscope / Agent health",
        "The agents in the processes: can their data be trusted, and what do they cost?",
    )
    .choose("job", "Job", &build, true)
    .choose("instance", "Instance", &build.clone().with("job", "=~", "$job"), true);
    with_marks_of_targets(board)
        .row("Can the data be trusted?", trust())
        .row("What does it cost?", cost())
        .row("What was dropped?", losses())
        .row("The process", process())
}

fn trust() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Figure,
            "Ticks per minute",
            "Ticks of the slowest agent, not counting those for requests; healthy: at least 12 per minute.",
        )
        .ask(format!("min({})", per_minute(&targets(&c::AGENT_TICKS), EACH, WINDOW)), "looks")
        .steps(t::LOOKS)
        .size(6, 8)
        .runbook("AgentStale"),
        Panel::new(
            Shape::Lines,
            "Tick lateness",
            "99th percentile of how late ticks start. High: the agent itself is short of CPU time.",
        )
        .ask(quantile("0.99", &targets(&c::AGENT_TICK_LATENESS), EACH, WINDOW), PROCESS_NAME)
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .size(6, 8),
        Panel::new(
            Shape::Lines,
            "Detection delay",
            "99th percentile of the age of stalls beyond the warning threshold when the agent detected them.",
        )
        .ask(quantile("0.99", &targets(&c::AGENT_DETECTION_DELAY), EACH, WINDOW), PROCESS_NAME)
        .unit("s")
        .lines(t::LAG)
        .logarithmic()
        .size(6, 8),
        Panel::new(
            Shape::Lines,
            "Panics and lost warnings",
            "Ticks per minute that panicked, and warnings that the log did not accept. Both should be 0.",
        )
        .ask(per_minute(&targets(&c::AGENT_PANICS), EACH, WINDOW), format!("{PROCESS_NAME} panics"))
        .ask(
            per_minute(&targets(&c::AGENT_REPORTS_DROPPED), EACH, WINDOW),
            format!("{PROCESS_NAME} lost warnings"),
        )
        .from(0.0)
        .size(6, 8)
        .runbook("AgentPanicked"),
    ]
}

fn cost() -> Vec<Panel> {
    let format = Group::By(&["job", "instance", "pid", "name", "format"]);
    vec![
        Panel::new(Shape::Lines, "Processor time", "CPU time of the agent's threads, in CPUs.")
            .ask(rate(&targets(&c::AGENT_CPU), EACH, WINDOW), PROCESS_NAME)
            .unit("percentunit")
            .lines(t::AGENT_CPU)
            .from(0.0)
            .runbook("AgentExpensive"),
        Panel::new(
            Shape::Lines,
            "Looks",
            "Per second. While every loop is idle, one every five seconds; the lower the stall thresholds, the more.",
        )
        .ask(rate(&targets(&c::AGENT_TICKS), EACH, WINDOW), PROCESS_NAME)
        .unit("ops")
        .from(0.0),
        Panel::new(Shape::Lines, "Requests", "Answered by the agent, by path and status.")
            .ask(rate(&targets(&c::HTTP_REQUESTS), Group::By(&["path", "code"]), WINDOW), "{{path}} {{code}}")
            .unit("reqps")
            .from(0.0),
        Panel::new(Shape::Lines, "Time to render a scrape", "99th percentile of the time to render /metrics.")
            .ask(
                quantile("0.99", &targets(&c::SCRAPE_DURATION), format, WINDOW),
                format!("{PROCESS_NAME} {{{{format}}}}"),
            )
            .unit("s")
            .from(0.0),
        Panel::new(Shape::Lines, "Size of a scrape", "Of the last scrape.")
            .ask(max(&targets(&c::SCRAPE_SIZE), format), format!("{PROCESS_NAME} {{{{format}}}}"))
            .unit("bytes")
            .from(0.0),
        Panel::new(Shape::Lines, "Series", "That a process exports. At 20,000 the rest is left out, and counted.")
            .ask(sum(&targets(&c::AGENT_SERIES), EACH), PROCESS_NAME)
            .from(0.0)
            .runbook("SeriesOverflow"),
    ]
}

fn losses() -> Vec<Panel> {
    let reason = Group::By(&["job", "instance", "pid", "name", "loop", "reason"]);
    let limit = Group::By(&["job", "instance", "pid", "name", "limit"]);
    vec![
        Panel::new(
            Shape::Lines,
            "Counted under a shared name",
            "Registrations per minute that found a loop's table of sites or call paths full. Times stay exact; they \
             are shown as \"other\".",
        )
        .ask(
            per_minute(&targets(&c::AGENT_DROPPED), reason, WINDOW),
            format!("{LOOP_NAME} {{{{reason}}}}"),
        )
        .from(0.0)
        .size(8, 8)
        .runbook("AgentDropping"),
        Panel::new(
            Shape::Lines,
            "Past a limit",
            "Loops, sites, workers and series that have none of their own.",
        )
        .ask(
            sum(&targets(&c::SERIES_OVERFLOW), limit),
            format!("{PROCESS_NAME} {{{{limit}}}}"),
        )
        .from(0.0)
        .size(8, 8)
        .runbook("SeriesOverflow"),
        Panel::new(
            Shape::Lines,
            "Incidents written, actions run and thresholds changed, per minute",
            "Files written to the incidents directory and actions run: ok, failed, or dropped because the disk or \
             the action was too slow; and changes of stall thresholds (the program's log says who made them).",
        )
        .ask(per_minute(&targets(&c::INCIDENT_WRITES), Group::By(&["result"]), WINDOW), "written: {{result}}")
        .ask(per_minute(&targets(&c::INCIDENT_ACTIONS), Group::By(&["result"]), WINDOW), "actions: {{result}}")
        .ask(per_minute(&targets(&c::THRESHOLD_CHANGES), EACH, WINDOW), format!("{PROCESS_NAME} thresholds changed"))
        .from(0.0)
        .size(8, 8),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Lines, "CPU time of the process", "In CPUs, all threads together.")
            .ask(rate(&targets(&c::PROCESS_CPU), EACH, WINDOW), PROCESS_NAME)
            .unit("percentunit")
            .from(0.0),
        Panel::new(Shape::Lines, "Memory", "Resident: in physical memory; virtual: reserved.")
            .ask(sum(&targets(&c::PROCESS_RESIDENT), EACH), format!("{PROCESS_NAME} resident"))
            .ask(sum(&targets(&c::PROCESS_VIRTUAL), EACH), format!("{PROCESS_NAME} virtual"))
            .unit("bytes")
            .from(0.0),
        Panel::new(Shape::Lines, "File descriptors", "Open descriptors, and the limit.")
            .ask(sum(&targets(&c::PROCESS_OPEN_FDS), EACH), format!("{PROCESS_NAME} open"))
            .ask(sum(&targets(&c::PROCESS_MAX_FDS), EACH), format!("{PROCESS_NAME} limit"))
            .from(0.0)
            .runbook("HandleLeak"),
        Panel::new(Shape::Lines, "Threads", "Of the process, the agent's own included.")
            .ask(sum(&targets(&c::PROCESS_THREADS), EACH), PROCESS_NAME)
            .from(0.0),
        Panel::new(Shape::Lines, "Uptime", "A line that falls to 0 is a restart.")
            .ask(format!("time() - {}", targets(&c::PROCESS_START).select()), PROCESS_NAME)
            .unit("s")
            .from(0.0)
            .runbook("ProcessRestarts"),
        Panel::new(
            Shape::Table {
                labels: &["instance", "name", "pid", "version", "target", "job"],
                columns: &[
                    Column { name: "Agents", unit: "none", steps: None },
                    Column { name: "Last tick", unit: "dateTimeFromNow", steps: None },
                    Column { name: "Programs", unit: "none", steps: None },
                ],
                link: None,
            },
            "Versions",
            "Versions built into each process.",
        )
        .column(targets(&c::BUILD_INFO).select(), "Agents")
        .column(format!("1000 * {}", targets(&c::AGENT_LAST_TICK).select()), "Last tick")
        .column(targets(&c::PROCESS_INFO).select(), "Programs")
        .size(8, 8),
    ]
}
