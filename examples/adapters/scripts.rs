//! An adapter for an event loop that runs scripts, as Node.js is one.
//!
//! The runtime tells some things as a whole and after they happened: a batch of timers or of immediates by its
//! number, a queue that was drained by its jobs, the events of a poll while they are dispatched. It has numbers of
//! its own (a heap, collections of garbage), a pool that tells everything, and places that are no Rust source.

use super::virtual_agent::Stage;
use loopscope_probe::GaugeWriter;
use loopscope_probe::JobRecord;
use loopscope_probe::Site;
use loopscope_probe::description::{Culprit, Description, Fact, FramePart, Owner, Term, Trouble};
use loopscope_probe::gauges::{GaugeHistogramId, GaugeId, GaugeType, GaugeUnit};
use loopscope_probe::spans;
use loopscope_probe::{HandleType, Queue};
use loopscope_probe::{Kind, Phase, PoolWriter, SiteId, TaskTimes, Ticks, WorkKind, Writer, expect_block};

/// What this runtime calls things, and what it can fill.
pub fn description() -> Description {
    Description::new()
        .phase(Phase::MAIN, "main")
        .phase(Phase::TIMERS, "timers")
        .phase(Phase::POLL, "poll")
        .phase(Phase::CHECK, "check")
        .phase(Phase::CLOSE, "close")
        .kind(Kind::WorkDone, "worker_job", "worker job's callback", "worker jobs' callbacks")
        .queue(Queue::NextTick, "tick", "tick", "ticks")
        .queue(Queue::Microtask, "promise", "promise job", "promise jobs")
        .term(Term::Between, "code of the engine", "code of the engine")
        .culprit(Culprit::Microtask, "promise jobs")
        .culprit(Culprit::NextTick, "ticks")
        .culprit(Culprit::Immediate, "a batch of immediates")
        .remedy(Trouble::Computing, "a worker thread")
        .remedy(Trouble::MicrotaskFlood, "yield with `setImmediate` between parts")
        .remedy(Trouble::NextTickFlood, "use `setImmediate` instead of ticks")
        .remedy(Trouble::ImmediateFlood, "do fewer in a turn")
        .remedy(Trouble::Collecting, "reuse buffers, or give the heap more room (--heap)")
        .remedy(Trouble::PoolSize, "raise POOL_THREADS to {threads}")
        .frames(Owner::Runtime, FramePart::Module, "libscripts.so")
        .frames(Owner::Dependency, FramePart::File, "/modules/")
        .fills(&[
            Fact::Time,
            Fact::Lag,
            Fact::Iterations,
            Fact::PollWait,
            Fact::PollEvents,
            Fact::Phases,
            Fact::Callbacks,
            Fact::Drains,
            Fact::DrainedJobs,
            Fact::Errors,
            Fact::Work,
            Fact::Handles,
            Fact::Requests,
            Fact::PoolQueue,
            Fact::PoolJobs,
            Fact::PoolWait,
            Fact::PoolRun,
        ])
}

fn site(writer: &mut Writer, kind: Kind, name: &str, line: u32) -> SiteId {
    writer.foreign_site(Site {
        kind,
        name: name.to_owned(),
        file: "app/server.js".to_owned(),
        line,
        ..Site::default()
    })
}

/// The loop's page, and what it has registered.
struct Loop {
    writer: Writer,
    script: SiteId,
    timers: SiteId,
    immediates: SiteId,
    read: SiteId,
    hash: SiteId,
    hashed: SiteId,
    pool: PoolWriter,
    gauges: GaugeWriter,
    collections: Option<Collections>,
}

/// Where collections of garbage are told.
#[derive(Clone, Copy)]
struct Collections {
    runs: GaugeId,
    time: GaugeId,
    pauses: GaugeHistogramId,
}

impl Loop {
    fn new(stage: &mut Stage<'_>) -> Loop {
        let builder = stage.builder("main").describe(&description()).runtime("scripts").backend("epoll");
        let mut writer = builder.process("server.js").thread("MainThread").build();
        stage.watch(&writer);
        Loop {
            script: site(&mut writer, Kind::Other, "server.js", 1),
            timers: site(&mut writer, Kind::Timer, "setTimeout flush", 20),
            immediates: site(&mut writer, Kind::Immediate, "setImmediate", 31),
            read: site(&mut writer, Kind::IoRead, "onrequest", 44),
            hash: site(&mut writer, Kind::Job, "pbkdf2", 52),
            hashed: site(&mut writer, Kind::WorkDone, "onhash", 53),
            pool: writer.take_pool().expect("nobody took it before"),
            gauges: writer.take_gauges().expect("nobody took them before"),
            collections: None,
            writer,
        }
    }

    fn callback(&mut self, stage: &mut Stage<'_>, kind: Kind, site: SiteId, ms: u64) {
        self.writer.begin(kind, site, TaskTimes::UNKNOWN);
        stage.pass(ms);
        self.writer.end();
    }

    /// A queue is drained after a callback: only when it is empty it is known how many jobs that were.
    fn drain(&mut self, stage: &mut Stage<'_>, queue: Queue, (ms, jobs): (u64, u64), title: Option<&str>) {
        let kind = [Kind::Tick, Kind::Microtask][queue.index()];
        self.writer.drain_begin(queue, 0);
        self.writer.begin_many(kind, SiteId::NONE);
        stage.pass(ms);
        title.into_iter().for_each(|title| stage.show(title));
        self.writer.end_many(jobs);
        self.writer.drain_end(queue, jobs);
    }

    /// A batch, of which the runtime tells the number when it has ended.
    fn batch(&mut self, stage: &mut Stage<'_>, (kind, site): (Kind, SiteId), (ms, number): (u64, u64)) {
        self.writer.begin_many(kind, site);
        stage.pass(ms);
        self.writer.end_many(number);
        self.writer.drained();
    }

    /// One turn: timers with ticks between them, the poll with so many events, immediates.
    fn turn(&mut self, stage: &mut Stage<'_>, events: usize) {
        self.writer.phase(Phase::TIMERS);
        self.writer.begin_many(Kind::Timer, self.timers);
        stage.pass(1);
        let inside = self.writer.drain_inside_begin(Queue::NextTick, 1);
        self.callback(stage, Kind::Tick, SiteId::NONE, 1);
        self.writer.drain_inside_end(Queue::NextTick, 1, inside);
        self.writer.end_many(5);
        self.writer.drained();
        self.writer.phase(Phase::POLL);
        self.poll(stage, 8);
        self.writer.poll_events(events);
        for _ in 0..events {
            self.callback(stage, Kind::IoRead, self.read, 1);
            self.drain(stage, Queue::Microtask, (1, 40), None);
            self.writer.drained();
        }
        self.writer.phase(Phase::CHECK);
        self.batch(stage, (Kind::Immediate, self.immediates), (1, 12));
        self.writer.phase(Phase::MAIN);
    }

    fn poll(&mut self, stage: &mut Stage<'_>, ms: u64) {
        self.writer.iteration();
        self.writer.park();
        stage.pass(ms);
        self.writer.unpark_untold(stage.now());
    }

    /// A job of the pool: it waits, runs on worker 0, and its callback runs in the loop.
    fn job(&mut self, stage: &mut Stage<'_>, kind: WorkKind) {
        let submitted = stage.now();
        self.writer.submitted(Kind::WorkDone);
        self.pool.submitted(kind, submitted);
        self.poll(stage, 2);
        let started = self.pool.started(kind, submitted, None);
        self.pool.runs(0, kind, self.hash, started);
        self.poll(stage, 6);
        let ended = stage.now();
        self.pool.finished(kind, started, ended, true);
        self.pool.rests(0);
        let site = self.hash;
        self.pool.record(&JobRecord { kind, site, submitted, started, ended, ..JobRecord::default() });
        self.writer.poll_events(1);
        self.callback(stage, Kind::WorkDone, self.hashed, 1);
        self.writer.drained();
    }
}

/// Numbers of a heap, and of collections of garbage.
fn garbage(own: &mut Loop) {
    let gauges = &mut own.gauges;
    let used = gauges.add("heap_used", "", GaugeType::Gauge, GaugeUnit::Bytes).expect("there is room");
    let runs = gauges.add("gc_runs", "minor", GaugeType::Counter, GaugeUnit::Count).expect("there is room");
    let time =
        gauges.add("gc_time", "minor", GaugeType::Counter, GaugeUnit::Nanoseconds).expect("there is room");
    let pauses = gauges.add_histogram("gc_pause", "minor").expect("there is room");
    // No name that metrics allow: counted, and left out.
    assert_eq!(gauges.add("Heap size", "", GaugeType::Gauge, GaugeUnit::Bytes), None);
    gauges.set(used, 48 << 20);
    gauges.set(runs, 17);
    gauges.set(time, 3_400_000);
    (0..17).for_each(|_| gauges.record(pauses, 200_000));
    own.collections = Some(Collections { runs, time, pauses });
}

/// The loop is held up by collections of garbage, none of them long enough for a stall.
fn collect(stage: &mut Stage<'_>, own: &mut Loop) {
    let Some(Collections { runs, time, pauses }) = own.collections else { return };
    for collected in 1..=12 {
        own.callback(stage, Kind::IoRead, own.read, 40);
        own.gauges.set(runs, 17 + collected);
        own.gauges.set(time, 3_400_000 + collected * 30_000_000);
        own.gauges.record(pauses, 30_000_000);
        own.writer.drained();
        own.poll(stage, 10);
    }
    stage.show("garbage is collected for more than half of the time");
}

/// Plays what such a runtime does in some seconds.
pub fn play(stage: &mut Stage<'_>) {
    let mut own = Loop::new(stage);
    own.pool.threads(4);
    own.writer.handles(HandleType::TcpListener, 1);
    own.writer.handles(HandleType::Timeout, 3);
    own.writer.gauges(0, 2, 0);
    own.writer.resume();
    own.callback(stage, Kind::Other, own.script, 30);
    own.drain(stage, Queue::NextTick, (1, 1), None);
    own.drain(stage, Queue::Microtask, (2, 9), None);
    own.writer.drained();
    garbage(&mut own);
    for events in [0, 1, 3, 2, 1, 0, 4, 1] {
        own.turn(stage, events);
    }
    for kind in [WorkKind::Crypto, WorkKind::Fs, WorkKind::Dns] {
        own.job(stage, kind);
    }
    own.writer.submitted_many(Kind::Timer, 9);
    own.writer.cancelled(Kind::Timer);
    stage.show("nothing is wrong");
    drains(stage, &mut own);
    blocks(stage, &mut own);
    pool(stage, &mut own);
    own.poll(stage, 3);
    collect(stage, &mut own);
    own.callback(stage, Kind::IoRead, own.read, 1);
    own.writer.drained();
    own.writer.suspend();
    stage.pass(20);
    stage.show("the loop waits");
}

/// Queues that fill themselves, and a batch.
fn drains(stage: &mut Stage<'_>, own: &mut Loop) {
    own.poll(stage, 3);
    own.callback(stage, Kind::IoRead, own.read, 1);
    own.drain(stage, Queue::Microtask, (800, 1_648_453), Some("promise jobs for 800 ms, told as one drain"));
    own.writer.drained();
    own.poll(stage, 3);
    own.writer.phase(Phase::TIMERS);
    own.writer.begin_many(Kind::Timer, own.timers);
    let inside = own.writer.drain_inside_begin(Queue::NextTick, 1);
    for _ in 0..150 {
        own.callback(stage, Kind::Tick, SiteId::NONE, 1);
    }
    stage.show("ticks for 150 ms, one by one, inside a batch of timers");
    own.writer.drain_inside_end(Queue::NextTick, 150, inside);
    own.writer.end_many(2);
    own.writer.drained();
    own.poll(stage, 3);
    own.writer.phase(Phase::CHECK);
    own.writer.begin_many(Kind::Immediate, own.immediates);
    stage.pass(300);
    stage.show("a batch of immediates for 300 ms, whose number is not known yet");
    own.writer.end_many(12_000);
    own.writer.drained();
    own.poll(stage, 3);
}

/// A callback that blocks, in a span, and one that is meant to.
fn blocks(stage: &mut Stage<'_>, own: &mut Loop) {
    let _installed = own.writer.install_spans();
    own.writer.phase(Phase::POLL);
    own.writer.begin(Kind::IoRead, own.read, TaskTimes::UNKNOWN);
    let query = spans::site("JSON.parse", "app/orders.js", 7).expect("a loop runs on this thread");
    let entered = spans::enter(query, "bytes=1048576").expect("a callback runs");
    stage.pass(260);
    stage.show("a callback blocks for 260 ms, in a span");
    spans::leave(entered);
    own.writer.panicked();
    own.writer.end();
    own.writer.drained();
    own.poll(stage, 3);
    own.writer.begin(Kind::Other, own.script, TaskTimes::UNKNOWN);
    let expected = expect_block("migration");
    stage.pass(400);
    stage.show("a block that was announced");
    drop(expected);
    own.writer.end();
    own.writer.drained();
    own.poll(stage, 3);
}

/// All threads of the pool are busy.
fn pool(stage: &mut Stage<'_>, own: &mut Loop) {
    let submitted = stage.now();
    for _ in 0..12 {
        own.writer.submitted(Kind::WorkDone);
        own.pool.submitted(WorkKind::Crypto, submitted);
    }
    let mut started = Ticks::NONE;
    for worker in 0..4 {
        started = own.pool.started(WorkKind::Crypto, submitted, Some(submitted));
        own.pool.runs(worker, WorkKind::Crypto, own.hash, started);
    }
    own.writer.suspend();
    stage.pass(1_200);
    stage.show("the pool is full for 1.2 s");
    own.writer.resume();
    for worker in 0..4 {
        own.pool.finished(WorkKind::Crypto, started, stage.now(), worker != 3);
        own.pool.rests(worker);
    }
    for left in (0..8).rev() {
        own.pool.cancelled(WorkKind::Crypto, (left > 0).then_some(submitted));
    }
    // Sent to find out how long one waits now.
    own.pool.waited(WorkKind::Other, 40_000);
}
