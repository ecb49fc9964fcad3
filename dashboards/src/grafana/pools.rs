//! Thread pools: who waits for a thread, who holds them, and whether more would help.

use super::board::{Board, with_marks};
use super::panel::Panel;
use super::selection::{POOL, POOL_NAME, WINDOW, named, pools};
use super::shape::Shape;
use super::thresholds as t;
use crate::promql::{Group, buckets, max, mean_over_time, quantile, rate, ratio, sum, total_rate};
use loopscope_report::metrics::catalog as c;

const EACH: Group<'static> = Group::By(POOL);
const KIND: Group<'static> = Group::By(&["kind"]);

pub(super) fn board() -> Board {
    let board = Board::new(
        "loopscope-pools",
        "Loopscope / Pools",
        "The thread pools of the loops, for file access, name lookups, compression and cryptography.",
    )
    .choose_process(true)
    .choose_from("pool", "Pool", &named("loopscope_pool_.+"), true);
    with_marks(board)
        .row("Now", now())
        .row("Full or not?", load())
        .row("What jobs wait for, and what they do", jobs())
        .row("Jobs", counts())
}

fn now() -> Vec<Panel> {
    let wait = |q| format!("max({})", quantile(q, &pools(&c::POOL_WAIT), EACH, WINDOW));
    vec![
        Panel::new(Shape::Figure, "Threads busy", "Worker threads running a job, and all of them.")
            .ask(sum(&pools(&c::POOL_THREADS_BUSY), Group::By(&[])), "busy")
            .ask(sum(&pools(&c::POOL_THREADS), Group::By(&[])), "all")
            .decimals(0)
            .size(6, 4),
        Panel::new(Shape::Figure, "Jobs waiting", "Jobs waiting for a thread.")
            .ask(sum(&pools(&c::POOL_QUEUE_DEPTH), Group::By(&[])), "waiting")
            .decimals(0)
            .size(6, 4),
        Panel::new(
            Shape::Figure,
            "Oldest waiting job",
            "Age of the oldest waiting job. It grows even if all threads hang.",
        )
        .ask(max(&pools(&c::POOL_OLDEST_WAIT), Group::By(&[])), "oldest")
        .unit("s")
        .steps(t::OLDEST_WAIT)
        .size(6, 4)
        .runbook("PoolStuck"),
        Panel::new(Shape::Figure, "Wait for a thread", "95th percentile, worst pool.")
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
            "Saturated",
            "Share of time in which jobs wait and no thread can take one; more threads may help.",
        )
        .ask(rate(&pools(&c::POOL_SATURATED), EACH, WINDOW), POOL_NAME)
        .unit("percentunit")
        .lines(t::SATURATION)
        .between(0.0, 1.0)
        .runbook("PoolSaturated"),
        Panel::new(
            Shape::Lines,
            "Threads",
            "Busy threads at the scrape, and all of them. Busy threads are fine as long as no job waits.",
        )
        .ask(sum(&pools(&c::POOL_THREADS_BUSY), EACH), format!("{POOL_NAME} busy"))
        .ask(sum(&pools(&c::POOL_THREADS), EACH), format!("{POOL_NAME} all"))
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Busy share of the threads",
            "From the time that threads were busy, which is exact, and how many there were at the scrapes.",
        )
        .ask(
            ratio(
                &rate(&pools(&c::POOL_BUSY), EACH, WINDOW),
                &mean_over_time(&pools(&c::POOL_THREADS), EACH, WINDOW),
            ),
            POOL_NAME,
        )
        .unit("percentunit")
        .between(0.0, 1.0),
        Panel::new(
            Shape::Lines,
            "Queue",
            "Jobs waiting for a thread at the scrape, and the maximum since the start.",
        )
        .ask(max(&pools(&c::POOL_QUEUE_DEPTH), EACH), format!("{POOL_NAME} now"))
        .ask(max(&pools(&c::POOL_QUEUE_DEPTH_MAX), EACH), format!("{POOL_NAME} most ever"))
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Age of the oldest waiting job",
            "A line that keeps rising: all threads of the pool hang.",
        )
        .ask(max(&pools(&c::POOL_OLDEST_WAIT), EACH), POOL_NAME)
        .unit("s")
        .lines(t::OLDEST_WAIT)
        .from(0.0)
        .runbook("PoolStuck"),
        Panel::new(Shape::Heatmap, "Wait of all jobs", "From submission to start; darker is more jobs.")
            .ask(buckets(&pools(&c::POOL_WAIT), WINDOW), "{{le}}")
            .unit("s"),
    ]
}

fn jobs() -> Vec<Panel> {
    vec![
        Panel::new(
            Shape::Lines,
            "Wait by kind",
            "95th percentile by kind. All kinds share one queue, so short jobs wait behind long ones.",
        )
        .ask(quantile("0.95", &pools(&c::POOL_WAIT), KIND, WINDOW), "{{kind}}")
        .unit("s")
        .lines(t::POOL_WAIT)
        .logarithmic()
        .runbook("PoolWaitHigh"),
        Panel::new(
            Shape::Lines,
            "Run time by kind",
            "95th percentile by kind. Waiting for I/O counts as running.",
        )
        .ask(quantile("0.95", &pools(&c::POOL_RUN), KIND, WINDOW), "{{kind}}")
        .unit("s")
        .from(0.0),
        Panel::new(
            Shape::Stack,
            "Threads by kind of job",
            "Threads occupied by each kind of job, on average. Start with the largest.",
        )
        .ask(total_rate(&pools(&c::POOL_RUN), KIND, WINDOW), "{{kind}}")
        .from(0.0)
        .runbook("PoolSaturated"),
    ]
}

fn counts() -> Vec<Panel> {
    vec![
        Panel::new(Shape::Lines, "Jobs submitted", "Per second, by kind.")
            .ask(rate(&pools(&c::POOL_SUBMITTED), KIND, WINDOW) + " > 0", "{{kind}}")
            .unit("ops")
            .from(0.0),
        Panel::new(
            Shape::Lines,
            "Jobs completed",
            "Per second: returned (ok), panicked (error), or cancelled while waiting.",
        )
        .ask(rate(&pools(&c::POOL_COMPLETED), Group::By(&["outcome"]), WINDOW), "{{outcome}}")
        .unit("ops")
        .from(0.0),
        Panel::new(
            Shape::Lines,
            "Completion delay",
            "From the end of a job on its thread to its callback on the loop: p50 and p99. Long while the loop is busy.",
        )
        .ask(quantile("0.5", &pools(&c::POOL_COMPLETION_DELAY), EACH, WINDOW), format!("{POOL_NAME} p50"))
        .ask(quantile("0.99", &pools(&c::POOL_COMPLETION_DELAY), EACH, WINDOW), format!("{POOL_NAME} p99"))
        .unit("s")
        .lines(t::LAG)
        .logarithmic(),
    ]
}
