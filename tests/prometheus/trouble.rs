//! A loop in this process that gets into trouble when it is told to, with an agent that watches it.

use loopscope_agent::{Agent, Listen};
use loopscope_loop::{Cx, Loop, Mode, RemoteHandle};
use loopscope_probe::Snapshot;
use loopscope_probe::raw::registry;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Twice what `LoopStalled` fires at.
const BLOCK: Duration = Duration::from_secs(4);
const FLOOD: Duration = Duration::from_millis(500);
/// Twelve seconds' work for the one thread of the pool.
const JOBS: usize = 40;
const JOB: Duration = Duration::from_millis(300);

/// A process has one agent.
static TURN: Mutex<()> = Mutex::new(());

pub struct Troubled {
    _turn: MutexGuard<'static, ()>,
    agent: Agent,
    address: String,
    post: RemoteHandle<()>,
    thread: JoinHandle<()>,
}

impl Troubled {
    pub fn start() -> Troubled {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let agent = Agent::builder().listen(Listen::Exactly(any)).start().unwrap();
        let address = agent.address().unwrap().to_string();
        let (send, started) = channel();
        let thread = std::thread::spawn(move || {
            let mut troubled = Loop::builder(()).name("troubled").pool_threads(1).build().unwrap();
            troubled.main(|cx| {
                cx.every(Duration::from_millis(10), |_| {});
            });
            send.send(troubled.post_handle()).unwrap();
            troubled.run(Mode::Default).unwrap();
        });
        Troubled { _turn: turn, agent, address, post: started.recv().unwrap(), thread }
    }

    /// Returns where its metrics are.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// One callback does not return for a while.
    pub fn block(&self) {
        self.post.post(|_| std::thread::sleep(BLOCK)).unwrap();
    }

    /// Returns what the loop itself has counted, from its page.
    pub fn ledger(&self) -> Snapshot {
        let pages = registry::pages();
        let own = pages.iter().find(|page| page.page().loop_name() == "troubled").unwrap();
        own.page().snapshot(own.clock())
    }

    /// Microtasks queue themselves for a while, a second from the loop's next turn on: not in one busy period with a block.
    pub fn flood(&self) {
        let begin = |cx: &mut Cx<'_, ()>| again(cx, Instant::now());
        let arm = move |cx: &mut Cx<'_, ()>| {
            cx.after(Duration::from_secs(1), begin);
        };
        self.post.post(arm).unwrap();
    }

    /// Many jobs want the pool's only thread.
    pub fn fill_pool(&self) {
        let submit = |cx: &mut Cx<'_, ()>| {
            for _ in 0..JOBS {
                cx.work(|| std::thread::sleep(JOB), |_, _| {});
            }
        };
        self.post.post(submit).unwrap();
    }

    pub fn stop(self) {
        self.post.post(|cx| cx.stop()).unwrap();
        self.thread.join().unwrap();
        self.agent.stop();
    }
}

fn again(cx: &mut Cx<'_, ()>, begin: Instant) {
    if begin.elapsed() < FLOOD {
        cx.microtask(move |cx| again(cx, begin));
    }
}
