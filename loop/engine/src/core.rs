//! What a loop owns, apart from the user's state: the queues of all phases, the slots, the clock, the probe.

use crate::callback::{Halt, Many, Once, Origin, PanicHook, PanicPolicy, Site};
use crate::clock::LoopClock;
use crate::handles::adopt::Adopted;
use crate::handles::async_handle::AsyncHandleState;
use crate::handles::child::ChildProcess;
use crate::handles::datagram::DatagramSocket;
use crate::handles::idle_timeout::{Deadline, Idle, IdleQueue, NEVER};
use crate::handles::listener::Listener;
use crate::handles::signal::{SignalHub, SignalListener};
use crate::handles::stream::Stream;
use crate::key::{Key, Slots};
use crate::loop_waker::LoopWaker;
use crate::poller::{Poller, Ready};
use crate::pool::{Finished, Pool, WorkDone};
use crate::queues::deferred::Closing;
use crate::queues::deferred::Deferred;
use crate::queues::hooks::{Hook, Hooks};
use crate::queues::immediates::Immediates;
use crate::queues::inbox::{PostInbox, Posted};
use crate::queues::microtasks::Queues;
use crate::queues::sockets::Sockets;
use crate::queues::timers::Timers;
use crate::simulate::World;
use crate::sites::SiteCache;
use loopscope_probe::{HandleType, Kind, Phase, SiteId, Ticks, Writer};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// The loop's own half of [`Cx`](crate::Cx).
pub(crate) struct Core<S: 'static> {
    pub(crate) clock: LoopClock,
    pub(crate) probe: Option<Writer>,
    pub(crate) sites: SiteCache,
    pub(crate) slots: Slots<Entry<S>>,
    pub(crate) queues: Queues<S>,
    pub(crate) immediates: Immediates<S>,
    pub(crate) timers: Timers<S>,
    pub(crate) hooks: Hooks,
    pub(crate) pending: VecDeque<Deferred<S>>,
    pub(crate) closing: Vec<Closing<S>>,
    pub(crate) before_exit: VecDeque<(Site, Once<S>)>,
    pub(crate) poller: Box<dyn Poller>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) sockets: Sockets,
    pub(crate) idle: IdleQueue,
    pub(crate) signals: SignalHub,
    /// Children that run; stale keys are left until the next signal.
    pub(crate) children: Vec<Key>,
    /// Wake handles in the order they were made; stale keys are left until the next is made.
    pub(crate) wakes: Vec<Key>,
    pub(crate) pool: Box<dyn Pool>,
    pub(crate) finished: VecDeque<Finished>,
    pub(crate) mailbox: Arc<PostInbox<S>>,
    pub(crate) posted: VecDeque<Posted<S>>,
    pub(crate) waker: Arc<LoopWaker>,
    /// Present in virtual time.
    pub(crate) world: Option<Rc<World>>,
    /// Active hooks and sockets that keep the loop alive. Timers and immediates are counted where they live.
    pub(crate) referenced: usize,
    /// Pool jobs and connects under way: they keep the loop alive and cannot be unreferenced.
    pub(crate) requests: usize,
    pub(crate) phase: Phase,
    pub(crate) iteration: u64,
    pub(crate) is_stopping: bool,
    pub(crate) policy: PanicPolicy,
    pub(crate) halt: Option<Halt>,
    pub(crate) panic_hook: Option<PanicHook>,
}

/// What is behind a key.
pub(crate) struct Entry<S: 'static> {
    pub(crate) site: Site,
    pub(crate) is_ref: bool,
    pub(crate) what: What<S>,
}

/// The kinds of things a program registers, besides timers and immediates, which have places of their own. A callback
/// that is missing is running.
pub(crate) enum What<S: 'static> {
    Hook(Hook, Option<Many<S>>),
    Work(WorkDone<S>),
    Listener(Box<Listener<S>>),
    Stream(Box<Stream<S>>),
    Datagram(Box<DatagramSocket<S>>),
    Adopted(Box<Adopted<S>>),
    Signal(Box<SignalListener<S>>),
    Child(Box<ChildProcess<S>>),
    Wake(Box<AsyncHandleState<S>>),
}

impl<S: 'static> What<S> {
    /// Returns the type that the handle gauges count this as; `None` for requests.
    pub(crate) fn handle_type(&self) -> Option<HandleType> {
        match self {
            What::Hook(..) => Some(HandleType::Hook),
            What::Work(_) => None,
            What::Listener(listener) => Some(listener.acceptor.handle_type()),
            What::Stream(stream) => Some(stream.transport.handle_type()),
            What::Datagram(datagram) => Some(datagram.datagrams.handle_type()),
            What::Adopted(_) => Some(HandleType::Adopted),
            What::Signal(_) => Some(HandleType::Signal),
            What::Child(_) => Some(HandleType::Child),
            What::Wake(_) => Some(HandleType::Async),
        }
    }

    /// Returns what the poller watches of it.
    pub(crate) fn source(&mut self) -> Option<&mut dyn mio::event::Source> {
        match self {
            What::Listener(listener) => Some(listener.acceptor.source()),
            What::Stream(stream) => stream.transport.source(),
            What::Datagram(datagram) => Some(datagram.datagrams.source()),
            What::Adopted(adopted) => Some(adopted.source()),
            What::Hook(..) | What::Work(_) | What::Signal(_) | What::Child(_) | What::Wake(_) => None,
        }
    }

    /// Returns the kind of its callbacks.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            What::Hook(hook, _) => hook.kind(),
            What::Work(_) => Kind::WorkDone,
            What::Listener(_) => Kind::Accept,
            What::Stream(_) | What::Datagram(_) | What::Adopted(_) => Kind::IoRead,
            What::Signal(_) => Kind::Signal,
            What::Child(_) => Kind::Child,
            What::Wake(_) => Kind::Async,
        }
    }
}

impl<S: 'static> Core<S> {
    /// Finds the site of a registration.
    #[inline]
    pub(crate) fn site(&mut self, origin: impl Into<Origin>, kind: Kind) -> Site {
        let origin = origin.into();
        let id = match &mut self.probe {
            Some(probe) => self.sites.find(probe, origin, kind),
            None => SiteId::NONE,
        };
        Site { at: origin.at, id }
    }

    /// Stores something new, referenced, and counts it.
    #[inline]
    pub(crate) fn insert(&mut self, site: Site, what: What<S>) -> Key {
        if let Some(probe) = &mut self.probe {
            probe.submitted(what.kind());
            if let Some(handle) = what.handle_type() {
                probe.handles(handle, 1);
            }
        }
        self.slots.insert(Entry { site, is_ref: true, what })
    }

    /// Takes something out, and counts that. Its key is stale from now on.
    #[inline]
    pub(crate) fn remove(&mut self, key: Key) -> Option<Entry<S>> {
        let entry = self.slots.remove(key)?;
        if let Some(probe) = &mut self.probe
            && let Some(handle) = entry.what.handle_type()
        {
            probe.handles(handle, -1);
        }
        Some(entry)
    }

    /// Returns the last stamp, for noting when something became ready.
    #[inline]
    pub(crate) fn stamp(&self) -> Ticks {
        self.probe.as_ref().map_or(Ticks::NONE, |probe| probe.last())
    }

    /// Returns where sources are watched.
    pub(crate) fn registry(&self) -> io::Result<&mio::Registry> {
        let without = || io::Error::new(io::ErrorKind::Unsupported, "a loop in virtual time has no sockets");
        self.poller.registry().ok_or_else(without)
    }

    /// Takes something that was removed out of the counts of what keeps the loop alive.
    pub(crate) fn forget(&mut self, what: &What<S>, is_ref: bool) {
        match what {
            What::Hook(hook, _) => {
                self.hooks.closed(*hook);
                self.referenced -= usize::from(is_ref);
            }
            What::Listener(_) | What::Adopted(_) | What::Signal(_) | What::Child(_) | What::Wake(_) => {
                self.referenced -= usize::from(is_ref);
            }
            What::Datagram(datagram) => {
                let (handles, requests) = datagram.counts();
                self.referenced -= if is_ref { handles } else { 0 };
                self.requests -= requests;
            }
            What::Stream(stream) => {
                let (handles, requests) = stream.counts();
                self.referenced -= handles;
                self.requests -= requests;
                if let Some(idle) = &stream.idle {
                    self.forget_idle(idle);
                }
            }
            What::Work(_) => self.requests -= 1,
        }
    }

    /// A stream's time-out was taken from it.
    pub(crate) fn forget_idle(&mut self, idle: &Idle<S>) {
        if idle.queued_ns != NEVER && self.idle.bury() {
            let slots = &self.slots;
            let is_valid = |deadline: &Deadline| match slots.get(deadline.key).map(|entry| &entry.what) {
                Some(What::Stream(stream)) => {
                    stream.idle.as_ref().is_some_and(|idle| idle.queued_ns == deadline.at_ns)
                }
                _ => false,
            };
            self.idle.heap.retain(is_valid);
            self.idle.dead = 0;
        }
    }

    /// Stops to watch a socket. An error would mean that it is not watched, which is what is wanted.
    pub(crate) fn deregister(&mut self, what: &mut What<S>) {
        // Its descriptor is about to be closed: starved listeners may have it.
        self.sockets.starved.retry_now();
        if let (Some(registry), Some(source)) = (self.poller.registry(), what.source()) {
            let _ = registry.deregister(source);
        }
    }

    /// Enters a phase.
    #[inline]
    pub(crate) fn enter_phase(&mut self, phase: Phase) {
        self.phase = phase;
        if let Some(probe) = &mut self.probe {
            probe.phase(phase);
        }
    }

    /// [`Core::enter_phase`], or goes on in it: for parts of an iteration that are one phase, which is observed once then.
    pub(crate) fn continue_phase(&mut self, phase: Phase) {
        if self.phase != phase {
            self.enter_phase(phase);
        }
    }

    /// Tells whether anything keeps the loop running: an active referenced handle, a request, a deferred or posted
    /// callback, or a handle that is still closing.
    pub(crate) fn is_alive(&self) -> bool {
        self.has_active() || !self.pending.is_empty() || !self.closing.is_empty()
    }

    /// Tells whether anything active may produce an event.
    pub(crate) fn has_active(&self) -> bool {
        self.timers.keep_alive()
            || self.immediates.referenced > 0
            || self.requests > 0
            || self.referenced > 0
            || self.waker.has_posted()
            || !self.posted.is_empty()
    }
}
