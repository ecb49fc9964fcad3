//! Workers: event loops on threads of their own that share a port and a thread pool, and post to each other.
//!
//! Each loop has its own state, its own page and its own name; nothing is locked. What one wants of another it posts,
//! and the other posts the answer back.

use loopscope_loop::{
    Cx, Key, Listening, Loop, LoopClosed, Mode, RemoteHandle, SharedPool, StreamEvent, Wrote, signals,
};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The state of one worker's loop.
pub struct Worker {
    number: usize,
    /// Requests answered.
    answered: usize,
    /// What to close when the work is over, besides connections.
    duties: Vec<Key>,
    connections: HashMap<Key, Connection>,
    /// Everybody, this one too.
    workers: Vec<RemoteHandle<Worker>>,
}

/// A client, whose requests are answered one after the other.
#[derive(Default)]
struct Connection {
    /// What has come and is not answered yet.
    unread: Vec<u8>,
    /// A request is being answered, or its answer waits to be sent. The client is not read from meanwhile, so his end
    /// does not come either before he has all he asked for.
    is_waiting: bool,
}

/// The workers as whoever started them sees them.
pub struct WorkerGroup {
    /// Where they listen.
    pub address: SocketAddr,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// Starts `count` workers on one address; port 0 takes a free one. Any of them ends all on SIGINT.
///
/// # Errors
/// What the operating system says when it refuses the address, a thread or a descriptor.
pub fn start(count: usize, mut address: SocketAddr) -> io::Result<WorkerGroup> {
    let pool = SharedPool::new(None);
    let (mut posts, mut threads) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (tell, told) = mpsc::channel();
        let (pool, name) = (pool.clone(), format!("worker-{number}"));
        // The loop stays on the thread that builds it; what leaves the thread is the way to post to it.
        let thread = std::thread::Builder::new().name(name.clone());
        threads.push(thread.spawn(move || {
            let mut worker = match build(number, &name, &pool, address) {
                Ok((worker, bound)) => {
                    let _ = tell.send(Ok((worker.post_handle(), bound)));
                    worker
                }
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return Ok(());
                }
            };
            worker.run(Mode::Default).map(drop)
        })?);
        let gone = |_| io::Error::other("the worker ended before it had begun");
        let (post, bound) = told.recv().map_err(gone)??;
        // The first one chose the port.
        address = bound;
        posts.push(post);
    }
    for post in &posts {
        let workers = posts.clone();
        post.post(move |cx| cx.state.workers = workers).map_err(io::Error::other)?;
    }
    Ok(WorkerGroup { address, threads })
}

impl WorkerGroup {
    /// Waits until every worker has ended.
    ///
    /// # Errors
    /// What ended a worker's loop before its time.
    ///
    /// # Panics
    /// Where a worker's thread did.
    pub fn join(self) -> io::Result<()> {
        self.threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    }
}

/// Builds a worker's loop on the calling thread, and tells where it listens.
fn build(
    number: usize,
    name: &str,
    pool: &SharedPool,
    address: SocketAddr,
) -> io::Result<(Loop<Worker>, SocketAddr)> {
    let (duties, connections, workers) = (Vec::new(), HashMap::new(), Vec::new());
    let state = Worker { number, answered: 0, duties, connections, workers };
    let mut worker = Loop::builder(state).name(name).pool(pool).build()?;
    let bound = worker.main(|cx| {
        let listener = cx.listen_with(address, Listening::default().reuse_port(true), accepted)?;
        let interrupt = cx.on_signal(signals::SIGINT, end_all)?;
        cx.state.duties = vec![listener, interrupt];
        cx.local_addr(listener).ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    })?;
    Ok((worker, bound))
}

/// Every worker hears the signal; one post each would do, and a second finds nothing left to close.
fn end_all(cx: &mut Cx<'_, Worker>) {
    for post in cx.state.workers.clone() {
        // A worker that is gone has ended already.
        let _: Result<(), LoopClosed> = post.post(retire);
    }
}

/// Lets a worker's loop end: nothing is left that keeps it alive but the jobs that are under way.
fn retire(cx: &mut Cx<'_, Worker>) {
    let connections = std::mem::take(&mut cx.state.connections);
    for key in std::mem::take(&mut cx.state.duties).into_iter().chain(connections.into_keys()) {
        cx.close(key);
    }
}

fn accepted(cx: &mut Cx<'_, Worker>, connection: io::Result<Key>) {
    let Ok(key) = connection else { return };
    cx.state.connections.insert(key, Connection::default());
    cx.on_stream(key, on_event);
    cx.name(key, "request");
}

fn on_event(cx: &mut Cx<'_, Worker>, key: Key, event: StreamEvent<'_>) {
    let Some(connection) = cx.state.connections.get_mut(&key) else { return };
    match event {
        StreamEvent::Data(bytes) => {
            connection.unread.extend_from_slice(bytes);
            answer_lines(cx, key);
        }
        StreamEvent::Drained => {
            connection.is_waiting = false;
            answer_lines(cx, key);
        }
        StreamEvent::End | StreamEvent::Error(_) => {
            cx.state.connections.remove(&key);
            cx.close(key);
        }
    }
}

/// Answers the lines that have come, up to one that has to wait.
fn answer_lines(cx: &mut Cx<'_, Worker>, key: Key) {
    while let Some(connection) = cx.state.connections.get_mut(&key) {
        if connection.is_waiting {
            cx.pause(key);
            return;
        }
        let Some(end) = connection.unread.iter().position(|byte| *byte == b'\n') else {
            cx.resume(key);
            return;
        };
        let line: Vec<u8> = connection.unread.drain(..=end).collect();
        connection.is_waiting = true;
        answer(cx, key, String::from_utf8_lossy(&line).trim());
    }
}

fn answer(cx: &mut Cx<'_, Worker>, key: Key, request: &str) {
    cx.state.answered += 1;
    let number = cx.state.number;
    match request.split_once(' ').unwrap_or((request, "")) {
        ("primes", below) => {
            let below: u32 = below.parse().unwrap_or(1000);
            let job = cx.work(
                move || primes(below),
                move |cx, count| {
                    let count = count.map_or("the job failed".to_owned(), |count| count.to_string());
                    say(cx, key, &format!("worker-{number}: {count}"));
                    answer_lines(cx, key);
                },
            );
            cx.name(job, "primes");
        }
        ("count", _) => ask_all(cx, key),
        _ => say(cx, key, &format!("worker-{number}: try `primes N` or `count`")),
    }
}

/// Asks every worker how much it has answered; the last that says so brings the answer.
fn ask_all(cx: &mut Cx<'_, Worker>, key: Key) {
    let (here, workers) = (cx.post_handle(), cx.state.workers.clone());
    let counts = std::sync::Arc::new(std::sync::Mutex::new(vec![None; workers.len()]));
    for post in &workers {
        let (here, counts) = (here.clone(), counts.clone());
        let _ = post.post(move |there| {
            let (number, answered) = (there.state.number, there.state.answered);
            let _ = here.post(move |cx| {
                let mut counts = counts.lock().unwrap();
                counts[number] = Some(answered);
                if let Some(all) = counts.iter().copied().collect::<Option<Vec<usize>>>() {
                    say(cx, key, &format!("answered: {all:?}"));
                    answer_lines(cx, key);
                }
            });
        });
    }
}

/// Gives an answer. What has come behind its request is for [`answer_lines`] to look at.
fn say(cx: &mut Cx<'_, Worker>, key: Key, line: &str) {
    let wrote = cx.write(key, format!("{line}\n").as_bytes());
    // Where the client went away meanwhile there is nobody to tell; a broken connection is told to its own callback.
    if let Some(connection) = cx.state.connections.get_mut(&key) {
        connection.is_waiting = wrote.is_ok_and(|wrote| wrote != Wrote::All);
    }
}

fn primes(below: u32) -> usize {
    let is_prime = |n: &u32| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..below).filter(is_prime).count()
}
