//! The rows that are measured: what is done, by whom, and what the goal is.

use crate::peer::Peer::{self, Hyper, Libuv, LibuvTry, Mio, Node, Ours, OursAgain, OursOff, Tokio};

/// One row.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    /// The C program and Node script that take part.
    pub program: &'static str,
    /// What they get besides.
    pub arguments: &'static [&'static str],
    pub work: Work,
    /// The first is compared with the others; the second is the control, the same once more.
    pub peers: &'static [Peer],
    pub goals: &'static [Goal],
    pub rounds: usize,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Processor time of so many operations.
    Cpu(u64),
    /// Time of so many operations, for what waits for another thread.
    Wall(u64),
    /// Processor time of a server's answers to so many connections.
    Serve { connections: usize, is_http: bool },
    /// Resident memory of so many timers.
    TimerMemory(u64),
    /// Resident memory of so many connections that were used once and are idle.
    ConnectionMemory(usize),
}

impl Work {
    /// Returns what one operation is measured in.
    pub fn unit(self) -> &'static str {
        match self {
            Work::Cpu(_) => "CPU ns",
            Work::Wall(_) => "ns",
            Work::Serve { .. } => "CPU ns",
            Work::TimerMemory(_) | Work::ConnectionMemory(_) => "bytes",
        }
    }
}

/// At most `at_most` times another peer's figure, or of the row's unit.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    pub of: Peer,
    pub against: Option<Peer>,
    pub at_most: f64,
}

/// The loop with its probe against another.
const fn than(against: Peer, at_most: f64) -> Goal {
    Goal { of: Ours, against: Some(against), at_most }
}

/// A figure of the loop itself.
const fn own(of: Peer, at_most: f64) -> Goal {
    Goal { of, against: None, at_most }
}

const TIMERS: &[Peer] = &[Ours, OursAgain, OursOff, Libuv, Tokio, Node];
const SERVERS: &[Peer] = &[Ours, OursAgain, OursOff, Libuv, LibuvTry, Tokio, Mio, Node];
const FIRE: &[Goal] = &[than(Libuv, 0.5), than(Libuv, 0.3), than(Tokio, 0.4)];
const QUEUES: &[Goal] = &[own(OursOff, 10.0), own(Ours, 25.0)];

const fn timers(name: &'static str, title: &'static str, work: Work, goals: &'static [Goal]) -> Row {
    Row { name, title, program: "timers", arguments: &[], work, peers: TIMERS, goals, rounds: 30 }
}

const fn queue(name: &'static str, title: &'static str, peers: &'static [Peer]) -> Row {
    let (program, work) = ("queues", Work::Cpu(1_000_000));
    Row { name, title, program, arguments: &[], work, peers, goals: QUEUES, rounds: 60 }
}

const fn echo(name: &'static str, title: &'static str, connections: usize, goals: &'static [Goal]) -> Row {
    let work = Work::Serve { connections, is_http: false };
    Row { name, title, program: "server", arguments: &["echo"], work, peers: SERVERS, goals, rounds: 150 }
}

/// All rows, in the order of the table of goals.
pub const ROWS: &[Row] = &[
    echo(
        "echo-1",
        "TCP echo, 64 bytes, 1 connection",
        1,
        &[than(Libuv, 1.0), than(Mio, 1.03), than(Tokio, 1.03)],
    ),
    echo(
        "echo-50",
        "TCP echo, 64 bytes, 50 connections",
        50,
        &[than(Libuv, 0.95), than(Mio, 1.03), than(Tokio, 1.03)],
    ),
    echo(
        "echo-1000",
        "TCP echo, 64 bytes, 1,000 connections",
        1000,
        &[than(Libuv, 0.9), than(Mio, 1.03), than(Tokio, 1.03)],
    ),
    Row {
        name: "http",
        title: "HTTP hello, 50 connections",
        program: "server",
        arguments: &["http"],
        work: Work::Serve { connections: 50, is_http: true },
        peers: &[Ours, OursAgain, OursOff, Hyper, Libuv, LibuvTry, Tokio, Mio, Node],
        goals: &[than(Hyper, 0.95)],
        rounds: 150,
    },
    timers("timers-random", "1M timers of 1 to 1,000 ms: start and fire", Work::Cpu(1_000_000), FIRE),
    timers("timers-few", "1M timers of 5 durations up to 500 ms: start and fire", Work::Cpu(1_000_000), FIRE),
    timers(
        "cancel-random",
        "timer start and cancel, 30,000 durations, beside 100,000 pending",
        Work::Cpu(200_000),
        &[than(Libuv, 0.1)],
    ),
    timers(
        "cancel-few",
        "timer start and cancel, 5 durations, beside 100,000 pending",
        Work::Cpu(200_000),
        &[than(Libuv, 0.1)],
    ),
    timers("refresh", "refresh of one of 10,000 timers", Work::Cpu(1_000_000), &[]),
    Row {
        name: "touch",
        title: "refresh of the idle time-out of one of 1,000 connections",
        program: "timers",
        arguments: &[],
        work: Work::Cpu(1_000_000),
        peers: &[Ours, OursAgain, OursOff],
        goals: &[own(Ours, 10.0)],
        rounds: 60,
    },
    timers(
        "rearm",
        "100,000 re-arming timers of 20 to 199 ms, each firing",
        Work::Cpu(300_000),
        &[than(Libuv, 0.35), than(Tokio, 0.5)],
    ),
    queue(
        "immediates",
        "immediate, 1,000 an iteration (libuv: a check handle that runs closures)",
        &[Ours, OursAgain, OursOff, Libuv, Node],
    ),
    queue("ticks", "nextTick, each queues the next", &[Ours, OursAgain, OursOff, Node]),
    queue("microtasks", "microtask, each queues the next", &[Ours, OursAgain, OursOff, Node]),
    Row {
        name: "futures",
        title: "local future, woken by itself and polled (node: await)",
        program: "queues",
        arguments: &[],
        work: Work::Cpu(1_000_000),
        peers: &[Ours, OursAgain, OursOff, Tokio, Node],
        goals: &[own(Ours, 40.0)],
        rounds: 60,
    },
    Row {
        name: "wake",
        title: "two loops on two threads wake each other: one round trip",
        program: "wake",
        arguments: &[],
        work: Work::Wall(2_000),
        peers: &[Ours, OursAgain, OursOff, Libuv, Tokio, Mio, Node],
        goals: &[than(Libuv, 0.85)],
        rounds: 100,
    },
    Row {
        name: "pool-1",
        title: "pool, one job at a time: submit to completion (node: fs.stat)",
        program: "pool",
        arguments: &["1"],
        work: Work::Wall(2_000),
        peers: &[Ours, OursAgain, OursOff, Libuv, Tokio, Node],
        goals: &[than(Libuv, 0.6)],
        rounds: 100,
    },
    Row {
        name: "pool-64",
        title: "pool, 64 jobs outstanding: time a job (node: fs.stat)",
        program: "pool",
        arguments: &["64"],
        work: Work::Wall(20_000),
        peers: &[Ours, OursAgain, OursOff, Libuv, Tokio, Node],
        goals: &[than(Libuv, 1.0)],
        rounds: 100,
    },
    Row {
        name: "connection-memory",
        title: "resident memory of one of 5,000 idle TCP connections",
        program: "server",
        arguments: &["echo"],
        work: Work::ConnectionMemory(5_000),
        peers: SERVERS,
        goals: &[own(Ours, 400.0)],
        rounds: 3,
    },
    Row {
        name: "timer-memory",
        title: "resident memory of one of 1,000,000 timers of 60 to 90 s",
        program: "timers",
        arguments: &[],
        work: Work::TimerMemory(1_000_000),
        peers: TIMERS,
        goals: &[own(Ours, 48.0)],
        rounds: 3,
    },
];
