//! Thread pools: who waits for a thread, who holds them, and whether more would help.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{POOL, POOL_NAME, WINDOW, pools, processes};
use super::shape::Shape;
use super::thresholds as t;
use crate::promql::{Group, buckets, max, quantile, rate, ratio, sum, total_rate};
use loopscope_report::metrics::catalog as c;

const EACH: Group<'static> = Group::By(POOL);
const KIND: Group<'static> = Group::By(&["kind"]);

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-pools",
        "Loopscope / Pools",
        "The thread pools behind the loops. Files, name lookups, compression and cryptography run there.",
    )
    .choose_process(&c::POOL_THREADS, true)
    .choose("pool", "Pool", &processes(&c::POOL_THREADS), true);
    with_marks(board)
        .row("Now", now())
        .row("Full or not?", load())
        .row("What jobs wait for, and what they do", jobs())
        .row("Jobs", counts())
}

fn now() -> Vec<Panel> {
    let wait = |q| format!("max({})", quantile(q, &pools(&c::POOL_WAIT), EACH, WINDOW));
    vec![
        Panel::new(Shape::Figure, "Threads busy", "Worker threads that run a job now, and how many there are.")
            .ask(sum(&pools(&c::POOL_THREADS_BUSY), Group::By(&[])), "busy")
            .ask(sum(&pools(&c::POOL_THREADS), Group::By(&[])), "all")
            .decimals(0)
            .size(6, 4),
        Panel::new(Shape::Figure, "Jobs waiting", "Jobs that wait for a thread now.")
            .ask(sum(&pools(&c::POOL_QUEUE_DEPTH), Group::By(&[])), "waiting")
            .decimals(0)
            .size(6, 4),
        Panel::new(
            Shape::Figure,
            "Oldest waiting job",
            "How long the first job of a queue has waited. It grows when all threads hang, when nothing else does.",
        )
        .ask(max(&pools(&c::POOL_OLDEST_WAIT), Group::By(&[])), "oldest")
        .unit("s")
        .steps(t::OLDEST_WAIT)
        .size(6, 4)
        .runbook("PoolStuck"),
        Panel::new(Shape::Figure, "Wait for a thread", "One job in twenty waits longer, in the pool that is worst off.")
            .ask(wait("0.95"), "p95")
            .unit("s")
            .steps(t::POOL_WAIT)
            .size(6, 4)
            .runbook("PoolWaitHigh"),
    ]
}

fn load() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Full, with jobs waiting",
            "Share of time in which all threads were busy and at least one job waited: what more threads could help \
             against.",
        )
        .ask(rate(&pools(&c::POOL_SATURATED), EACH, WINDOW), POOL_NAME)
        .unit("percentunit")
        .lines(t::SATURATION)
        .between(0.0, 1.0)
        .runbook("PoolSaturated"),
        Panel::new(
            Shape::Lines,
            "Threads",
            "Busy threads as scraped, and all of them. Busy is no fault as long as nobody waits.",
        )
        .ask(sum(&pools(&c::POOL_THREADS_BUSY), EACH), format!("{POOL_NAME} busy"))
        .ask(sum(&pools(&c::POOL_THREADS), EACH), format!("{POOL_NAME} all"))
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Busy share of the threads",
            "Exact, from the time that threads were busy, not from samples.",
        )
        .ask(
            ratio(&rate(&pools(&c::POOL_BUSY), EACH, WINDOW), &sum(&pools(&c::POOL_THREADS), EACH)),
            POOL_NAME,
        )
        .unit("percentunit")
        .between(0.0, 1.0),
        Panel::new(Shape::Lines, "Queue", "Jobs that wait for a thread, as scraped, and the most that ever waited.")
            .ask(max(&pools(&c::POOL_QUEUE_DEPTH), EACH), format!("{POOL_NAME} now"))
            .ask(max(&pools(&c::POOL_QUEUE_DEPTH_MAX), EACH), format!("{POOL_NAME} most ever"))
            .from(0.0),
        Panel::new(Shape::Lines, "Age of the oldest waiting job", "A line that rises without end is a pool whose threads all hang.")
            .ask(max(&pools(&c::POOL_OLDEST_WAIT), EACH), POOL_NAME)
            .unit("s")
            .lines(t::OLDEST_WAIT)
            .from(0.0)
            .runbook("PoolStuck"),
        Panel::new(Shape::Heatmap, "Wait of all jobs", "From submission to start, darker for more jobs.")
            .ask(buckets(&pools(&c::POOL_WAIT), WINDOW), "{{le}}")
            .unit("s"),
    ]
}

fn jobs() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Wait by kind",
            "One job in twenty of this kind waits longer for a thread. All kinds share one queue, so short jobs suffer \
             from long ones.",
        )
        .ask(quantile("0.95", &pools(&c::POOL_WAIT), KIND, WINDOW), "{{kind}}")
        .unit("s")
        .lines(t::POOL_WAIT)
        .logarithmic()
        .runbook("PoolWaitHigh"),
        Panel::new(
            Shape::Lines,
            "Run time by kind",
            "One job in twenty of this kind runs longer. Waiting for I/O counts as running here.",
        )
        .ask(quantile("0.95", &pools(&c::POOL_RUN), KIND, WINDOW), "{{kind}}")
        .unit("s")
        .from(0.0),
        Panel::new(
            Shape::Stack,
            "Who holds the threads",
            "Threads that each kind of job occupies, on average. The largest part is what to change.",
        )
        .ask(total_rate(&pools(&c::POOL_RUN), KIND, WINDOW), "{{kind}}")
        .from(0.0)
        .runbook("PoolSaturated"),
    ]
}

fn counts() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Lines, "Jobs submitted", "A second, by kind.")
            .ask(rate(&pools(&c::POOL_SUBMITTED), KIND, WINDOW) + " > 0", "{{kind}}")
            .unit("ops")
            .from(0.0),
        Panel::new(
            Shape::Lines,
            "Jobs completed",
            "A second: returned (ok), panicked (error), or cancelled while they waited.",
        )
        .ask(rate(&pools(&c::POOL_COMPLETED), Group::By(&["outcome"]), WINDOW), "{{outcome}}")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Way back to the loop",
            "From the end of a job on its thread to its callback on the loop: half, and one in a hundred, wait longer. \
             Long while the loop is busy.",
        )
        .ask(quantile("0.5", &pools(&c::POOL_COMPLETION_DELAY), EACH, WINDOW), format!("{POOL_NAME} half"))
        .ask(quantile("0.99", &pools(&c::POOL_COMPLETION_DELAY), EACH, WINDOW), format!("{POOL_NAME} one in a hundred"))
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
    ]
}
