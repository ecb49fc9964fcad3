//! An adapter for a runtime of several workers that poll tasks, as Tokio is one.
//!
//! What such a runtime knows: when a worker parks, when it polls a task, where that was spawned. What it does not:
//! events of a park, queues and their depth, handles, and of its pool of blocking threads the age of the oldest job.
//! Worker 1 parks without telling its page now and then; worker 2 tells nothing, and an observer sees it; worker 3
//! becomes another thread's.

use super::virtual_agent::{Stage, Told};
use loopscope_probe::Site;
use loopscope_probe::description::{Culprit, Description, Fact, FramePart, Owner, Term, Trouble};
use loopscope_probe::observer::{Observed, Sighting};
use loopscope_probe::{Kind, ObservedPool, Phase, PoolWriter, SiteId, TaskTimes, Ticks, Writer};
use std::sync::Arc;

/// What this runtime calls things, and what it can fill.
pub fn description() -> Description {
    Description::new()
        .phase(Phase::MAIN, "worker")
        .phase(tasks(), "tasks")
        .kind(Kind::Task, "poll", "poll", "polls")
        .term(Term::Callback, "poll", "polls")
        .term(Term::Iteration, "round", "rounds")
        .term(Term::Lane, "worker", "workers")
        .term(Term::PoolJob, "blocking job", "blocking jobs")
        .term(Term::Between, "code of the scheduler", "code of the scheduler")
        .culprit(Culprit::Callback, "many short polls")
        .parks("parks", "parked")
        .remedy(Trouble::Computing, "`spawn_blocking`")
        .remedy(Trouble::Waiting, "`spawn_blocking`, or an async call")
        .remedy(Trouble::ManyCallbacks, "more workers, or fewer tasks that wake at once")
        .remedy(Trouble::PoolSize, "raise `max_blocking_threads` to {threads}")
        .frames(Owner::Runtime, FramePart::Function, "tasks_runtime::")
        .fills(&[
            Fact::Time,
            Fact::Lag,
            Fact::Iterations,
            Fact::PollWait,
            Fact::Callbacks,
            Fact::QueueDelay,
            Fact::Errors,
            Fact::PoolQueue,
        ])
}

fn site(name: &str, line: u32) -> Site {
    let file = "src/routes.rs".to_owned();
    Site { kind: Kind::Task, name: name.to_owned(), file, line, ..Site::default() }
}

/// One worker's page.
struct Worker {
    writer: Writer,
    list: SiteId,
    export: SiteId,
}

impl Worker {
    fn new(stage: &mut Stage<'_>, number: u32, told: Option<Arc<Told>>, is_observed: bool) -> Worker {
        let builder = stage.builder(&format!("rt-{number}")).describe(&description()).runtime("tasks");
        let builder = builder.backend("epoll").worker("rt", number).process("shop");
        let builder = builder.thread(&format!("rt-worker-{number}"));
        let builder = if is_observed { builder.observed() } else { builder };
        let mut writer = match told {
            Some(told) => builder.observer(told).build(),
            None => builder.build(),
        };
        // Spawned there; a real adapter has the address of a `Location`, or of a route's name that it keeps.
        let list = writer.addressed_site(0x1000, Kind::Task, || site("GET /items", 12));
        let export = writer.addressed_site(0x1040, Kind::Task, || site("GET /export", 40));
        stage.watch(&writer);
        Worker { writer, list, export }
    }

    /// A task is polled for so long; when it became ready is known, and what the scheduler did before is told to nobody.
    fn poll(&mut self, stage: &mut Stage<'_>, task: SiteId, ms: u64) {
        let ready = self.writer.last();
        stage.pass(1);
        self.writer.phase(tasks());
        self.writer.begin_at(stage.now(), Kind::Task, task, TaskTimes::ready_at(ready));
        stage.pass(ms);
        self.writer.end();
        self.writer.drained();
        self.writer.phase(Phase::MAIN);
    }

    /// The worker parks.
    fn park(&mut self, stage: &Stage<'_>) {
        self.writer.iteration();
        self.writer.settle();
        self.writer.park_at(stage.now());
    }

    /// It goes on. How many events woke it is not known.
    fn unpark(&mut self, stage: &Stage<'_>) {
        self.writer.unpark_untold(stage.now());
    }
}

fn tasks() -> Phase {
    Phase::from_index(8).expect("there are sixteen phases")
}

/// The runtime: four workers, what is said of three of them, and the pool, which worker 0's page has.
struct Runtime {
    first: Worker,
    second: Worker,
    /// Its thread tells nothing; the page has what its observer says.
    _third: Worker,
    fourth: Worker,
    hidden: Arc<Told>,
    seen: Arc<Told>,
    moved: Arc<Told>,
    pool: PoolWriter,
}

impl Runtime {
    fn new(stage: &mut Stage<'_>) -> Runtime {
        let (hidden, seen, moved) = (Stage::observer(), Stage::observer(), Stage::observer());
        let mut first = Worker::new(stage, 0, None, false);
        let pool = first.writer.take_pool().expect("nobody took it before");
        Runtime {
            first,
            second: Worker::new(stage, 1, Some(hidden.clone()), false),
            _third: Worker::new(stage, 2, Some(seen.clone()), true),
            fourth: Worker::new(stage, 3, Some(moved.clone()), false),
            hidden,
            seen,
            moved,
            pool,
        }
    }

    /// Nothing is wrong.
    fn work(&mut self, stage: &mut Stage<'_>) {
        let Runtime { first, second, fourth, .. } = self;
        for worker in [&mut *first, &mut *second, fourth] {
            worker.writer.resume();
            worker.park(stage);
        }
        for _ in 0..20 {
            first.unpark(stage);
            first.poll(stage, first.list, 2);
            first.park(stage);
            second.unpark(stage);
            second.poll(stage, second.export, 1);
            second.park(stage);
            stage.pass(6);
        }
        stage.show("nothing is wrong");
    }

    /// One worker goes from poll to poll for half a second; it parks in between, of which only a number tells. Another one is
    /// in code of the scheduler, until its thread goes on to something else.
    fn turn(&mut self, stage: &mut Stage<'_>) {
        self.second.unpark(stage);
        self.fourth.unpark(stage);
        for turn in 1..=10 {
            self.hidden.say(Sighting::nothing().turn(turn));
            self.second.poll(stage, self.second.list, 49);
        }
        stage.show("worker 1 parks without telling, worker 3 is in code of the scheduler for 500 ms");
        self.second.park(stage);
        self.moved.say(Sighting::nothing().retired());
        stage.pass(100);
        stage.show("worker 3 is retired");
    }

    /// The observer sees worker 2 busy, which has waited since `parked_since`.
    fn observe(&mut self, stage: &mut Stage<'_>, parked_since: Ticks) {
        let busy_since = stage.now();
        let idle_ticks = busy_since.since(parked_since);
        let busy = Observed { busy_since, parked_since, idle_ticks, active_ticks: 0 };
        self.seen.say(Sighting::nothing().observed(busy));
        stage.pass(150);
        stage.show("worker 2 is seen busy for 150 ms");
        let parked_since = stage.now();
        let active_ticks = parked_since.since(busy_since);
        let parked = Observed { busy_since: Ticks::NONE, parked_since, active_ticks, idle_ticks };
        self.seen.say(Sighting::nothing().observed(parked));
        stage.look();
    }

    /// A poll of worker 0 computes for so long.
    fn compute(&mut self, stage: &mut Stage<'_>, ms: u64, title: &str) {
        let Worker { writer, export, .. } = &mut self.first;
        writer.phase(tasks());
        writer.begin(Kind::Task, *export, TaskTimes::UNKNOWN);
        stage.pass(ms);
        stage.show(title);
    }

    /// All threads of the pool are busy, and jobs wait; then only the age of the oldest is known.
    fn fill_pool(&mut self, stage: &mut Stage<'_>) {
        let some =
            ObservedPool { threads: Some(4), running: Some(1), queued: Some(0), ..ObservedPool::default() };
        self.pool.observe(ObservedPool { running: Some(4), queued: Some(30), ..some }, stage.now());
        stage.pass(700);
        stage.show("the pool is full");
        let waiting = ObservedPool { oldest: Some(stage.now()), ..ObservedPool::default() };
        self.pool.observe(waiting, stage.now());
        stage.pass(300);
        stage.show("of the pool only the age of its oldest job is known");
        self.pool.observe(some, stage.now());
    }
}

/// Plays what such a runtime does in three seconds.
pub fn play(stage: &mut Stage<'_>) {
    let mut own = Runtime::new(stage);
    let begin = stage.now();
    // A thread that tells nothing wakes no agent, so the agent must look again by itself.
    let parked = Observed { parked_since: begin, ..Observed::default() };
    own.seen.say(Sighting::nothing().observed(parked).again_within(10_000_000));
    let idle =
        ObservedPool { threads: Some(4), running: Some(1), queued: Some(0), ..ObservedPool::default() };
    own.pool.observe(idle, begin);
    own.work(stage);
    own.turn(stage);
    own.observe(stage, begin);
    own.first.unpark(stage);
    own.compute(stage, 240, "a poll of worker 0 computes for 240 ms");
    own.first.writer.panicked();
    own.first.writer.end();
    own.first.writer.drained();
    own.first.writer.phase(Phase::MAIN);
    own.first.park(stage);
    own.fill_pool(stage);
    // Killed in the middle of a poll.
    own.first.unpark(stage);
    own.first.poll(stage, own.first.list, 2);
    own.compute(stage, 1_100, "a poll of worker 0 computes for 1.1 s");
}
