//! Choosing how a loop is built.

use crate::callback::{PanicHook, PanicPolicy};
use crate::clock::LoopClock;
use crate::core::Core;
use crate::description::description;
use crate::error::CallbackPanicked;
use crate::event_loop::Loop;
use crate::handles::idle_timeout::IdleQueue;
use crate::handles::signal::SignalHub;
use crate::key::Slots;
use crate::loop_waker::LoopWaker;
use crate::poller::{Poller, SystemPoller};
use crate::pool::{self, Pool};
use crate::queues::hooks::Hooks;
use crate::queues::immediates::Immediates;
use crate::queues::inbox::PostInbox;
use crate::queues::microtasks::Queues;
use crate::queues::sockets::Sockets;
use crate::queues::timers::Timers;
use crate::simulate::{SimulatedPoller, SimulatedPool, World};
use crate::sites::SiteCache;
use crate::threads::{SharedPool, Threads};
use loopscope_probe::{Clock, Phase, PoolWriter, Writer};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Builds a loop. Get one from [`Loop::builder`].
#[derive(Clone, Debug)]
pub struct Builder<S> {
    state: S,
    name: String,
    threads: Option<usize>,
    pool: Option<SharedPool>,
    has_probe: bool,
    is_virtual: bool,
    seed: Option<u64>,
    policy: PanicPolicy,
    panic_hook: Option<PanicHook>,
}

/// What differs between real and virtual time.
struct Surroundings {
    clock: LoopClock,
    poller: Box<dyn Poller>,
    waker: Arc<LoopWaker>,
    world: Option<Rc<World>>,
}

impl<S: 'static> Builder<S> {
    pub(crate) fn new(state: S) -> Self {
        let name = "main".to_owned();
        let policy = PanicPolicy::default();
        Builder {
            state,
            name,
            threads: None,
            pool: None,
            has_probe: true,
            is_virtual: false,
            seed: None,
            policy,
            panic_hook: None,
        }
    }

    /// Sets the loop's name: a label in metrics, at most 64 bytes. `main` where not set.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets how many threads the pool has, 1 to 1024. Where not set, the environment variable `UV_THREADPOOL_SIZE`
    /// says, and without it four.
    pub fn pool_threads(mut self, count: usize) -> Self {
        self.threads = Some(count);
        self
    }

    /// Has jobs run by a pool that other loops use, too; in virtual time only its number of threads is taken. Where not
    /// set, the loop has a pool of its own.
    pub fn pool(mut self, pool: &SharedPool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Turns the probe on or off. On where not set.
    pub fn probe(mut self, is_on: bool) -> Self {
        self.has_probe = is_on;
        self
    }

    /// Simulates clock, poller and pool: time jumps instead of passing, and every run has the same order. There are no
    /// sockets then. See [`simulate`](crate::simulate).
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::time::Duration;
    ///
    /// let mut event_loop = Loop::builder(0).virtual_time().build()?;
    /// event_loop.main(|cx| {
    ///     cx.every(Duration::from_secs(3_600), |cx| *cx.state += 1);
    ///     cx.after(Duration::from_secs(24 * 3_600), |cx| cx.stop());
    /// });
    /// event_loop.run(Mode::Default)?;
    /// assert_eq!(event_loop.into_state(), 24);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn virtual_time(mut self) -> Self {
        self.is_virtual = true;
        self
    }

    /// In virtual time, lets streams that become ready in one poll have their turns in an order that this number
    /// chooses: a test that passes with many of them does not rest on one order. Where not set they keep the order in
    /// which they became ready.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, StreamEvent};
    ///
    /// let order = |seed| -> std::io::Result<Vec<u32>> {
    ///     let mut event_loop = Loop::builder(Vec::new()).virtual_time().seed(seed).build()?;
    ///     event_loop.main(|cx| {
    ///         for number in 0..4 {
    ///             let (client, server) = cx.memory_pair()?;
    ///             cx.on_stream(server, move |cx, _, event| {
    ///                 if let StreamEvent::Data(_) = event {
    ///                     cx.state.push(number);
    ///                 }
    ///             });
    ///             cx.write(client, b"hello")?;
    ///             cx.shutdown(client);
    ///         }
    ///         std::io::Result::Ok(())
    ///     })?;
    ///     event_loop.run(Mode::Default)?;
    ///     Ok(event_loop.into_state())
    /// };
    /// // One seed, one order: a failure can be repeated.
    /// assert_eq!(order(7)?, order(7)?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what happens when a callback panics. [`PanicPolicy::Continue`] where not set.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode, PanicPolicy};
    ///
    /// let mut event_loop = Loop::builder(()).on_panic(PanicPolicy::Stop).build()?;
    /// event_loop.main(|cx| {
    ///     cx.immediate(|_| panic!("out of cheese"));
    /// });
    /// let error = event_loop.run(Mode::Default).unwrap_err();
    /// assert!(error.to_string().contains("out of cheese"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_panic(mut self, policy: PanicPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Calls this with each callback that panicked, whatever the policy, before the loop goes on or stops: for the
    /// program's own log. The loop itself prints nothing; std's panic hook has said where the panic was, this says
    /// which callback it ended. Called on the loop's thread.
    ///
    /// ```
    /// use loopscope_loop::{Loop, Mode};
    /// use std::sync::mpsc;
    ///
    /// let (tell, told) = mpsc::channel();
    /// let builder = Loop::builder(()).panic_hook(move |panicked| drop(tell.send(panicked.to_string())));
    /// let mut event_loop = builder.build()?;
    /// event_loop.main(|cx| cx.immediate(|_| panic!("no such user")));
    /// event_loop.run(Mode::Default)?;
    /// let told = told.recv().unwrap();
    /// assert!(told.starts_with("the immediate callback registered at ") && told.ends_with(" panicked: no such user"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn panic_hook(mut self, hook: impl Fn(&CallbackPanicked) + Send + Sync + 'static) -> Self {
        self.panic_hook = Some(PanicHook::new(hook));
        self
    }

    /// Builds the loop; the calling thread becomes its thread.
    ///
    /// # Errors
    /// What the operating system says when it refuses the poller's descriptors.
    pub fn build(mut self) -> io::Result<Loop<S>> {
        let shared = self.pool.take().unwrap_or_else(|| SharedPool::with_size(pool::size(self.threads)));
        let threads = shared.threads();
        let Surroundings { clock, poller, waker, world } = self.surroundings(threads)?;
        let mut probe = self.has_probe.then(|| self.writer(world.as_deref()));
        let stamps = probe.as_ref().map(|probe| probe.clock().clone());
        let pool_probe = probe.as_mut().and_then(Writer::take_pool);
        let core = Core {
            clock,
            sites: SiteCache::new(),
            slots: Slots::new(),
            queues: Queues::new(),
            immediates: Immediates::new(),
            timers: Timers::new(),
            hooks: Hooks::default(),
            pending: VecDeque::new(),
            closing: Vec::new(),
            before_exit: VecDeque::new(),
            poller,
            ready: Vec::new(),
            sockets: Sockets::default(),
            idle: IdleQueue::default(),
            signals: SignalHub::default(),
            children: Vec::new(),
            wakes: Vec::new(),
            pool: make_pool(&shared, &waker, world.as_ref(), pool_probe),
            finished: VecDeque::new(),
            mailbox: PostInbox::new(waker.clone(), stamps),
            posted: VecDeque::new(),
            waker,
            world,
            referenced: 0,
            requests: 0,
            phase: Phase::MAIN,
            iteration: 0,
            is_stopping: false,
            policy: self.policy,
            halt: None,
            panic_hook: self.panic_hook,
            probe,
        };
        Ok(Loop::assemble(self.state, core))
    }

    fn surroundings(&self, threads: usize) -> io::Result<Surroundings> {
        if self.is_virtual {
            let waker = Arc::new(LoopWaker::new(None));
            let world = World::new(threads, waker.clone(), self.seed);
            let clock = LoopClock::of(Clock::simulated(world.clock()));
            let poller = Box::new(SimulatedPoller(world.clone()));
            return Ok(Surroundings { clock, poller, waker, world: Some(world) });
        }
        let (poller, waker) = SystemPoller::new()?;
        let (clock, poller, waker) =
            (LoopClock::real(), Box::new(poller), Arc::new(LoopWaker::new(Some(waker))));
        Ok(Surroundings { clock, poller, waker, world: None })
    }

    fn writer(&self, world: Option<&World>) -> Writer {
        let builder = Writer::builder(&self.name).backend(BACKEND).describe(&description());
        match world {
            Some(world) => builder.clock(Clock::simulated(world.clock())).build(),
            None => builder.build(),
        }
    }
}

/// What mio polls with on this system.
const BACKEND: &str = if cfg!(any(target_os = "linux", target_os = "android")) {
    "epoll"
} else if cfg!(windows) {
    "iocp"
} else {
    "kqueue"
};

fn make_pool(
    shared: &SharedPool,
    waker: &Arc<LoopWaker>,
    world: Option<&Rc<World>>,
    probe: Option<PoolWriter>,
) -> Box<dyn Pool> {
    match world {
        Some(world) => {
            world.set_probe(probe);
            Box::new(SimulatedPool(world.clone()))
        }
        None => Box::new(Threads::new(shared, waker.clone(), probe)),
    }
}

impl Loop<()> {
    /// Makes a loop with the probe on and no state.
    ///
    /// # Errors
    /// What the operating system says when it refuses the poller's descriptors.
    pub fn new() -> io::Result<Loop<()>> {
        Loop::builder(()).build()
    }
}

impl<S: 'static> Loop<S> {
    /// Begins to build a loop with this state.
    pub fn builder(state: S) -> Builder<S> {
        Builder::new(state)
    }
}
