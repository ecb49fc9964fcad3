//! The lists that a [description](crate::description) is about: terms, culprits, troubles, facts, and whose a function is.
//!
//! Their names are the second field of a line of it.

macro_rules! named {
    // An enum of things that have a name in the text and in metrics, with `ALL`, `name` and `from_name`.
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Returns the name that descriptions have.
            pub const fn name(self) -> &'static str { match self { $($name::$variant => $label,)* } }

            pub(crate) fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}

named! {
    /// A word of the field for which a runtime may have its own.
    Term {
        /// One entry of the loop into user code.
        Callback = "callback",
        /// One turn of the loop, from poll to poll.
        Iteration = "iteration",
        /// What a page is about: a loop, or one of a runtime's workers.
        Lane = "lane",
        /// A job of the runtime's thread pool.
        PoolJob = "pool_job",
        /// Code that runs between callbacks, and belongs to none that the page is told of.
        Between = "between",
        /// What a page is of, in a few words, where its name and its thread do not say so.
        About = "about",
        /// A wait of the loop's thread for another one that the program wants, as [`Sign::ThreadWait`] shows it.
        ThreadWait = "thread_wait",
    }
}

named! {
    /// What a runtime is kept busy by, when many runs share a stall, or one takes most of it.
    Culprit {
        /// One callback.
        Callback = "callback",
        /// Jobs of the microtask queue.
        Microtask = "microtask",
        /// Jobs of the nextTick queue.
        NextTick = "nexttick",
        /// Immediates.
        Immediate = "immediate",
        /// Timers.
        Timer = "timer",
        /// Events of sockets, wakes, signals and finished jobs.
        Io = "io",
    }
}

named! {
    /// A trouble for which a runtime has a remedy of its own.
    Trouble {
        /// A callback that computes for long. The remedy says where to put it: "the thread pool (`cx.work`)".
        Computing = "computing",
        /// A callback that waits in a system call. Likewise.
        Waiting = "waiting",
        /// A microtask queue that refills itself.
        MicrotaskFlood = "microtask_flood",
        /// A nextTick queue that refills itself.
        NextTickFlood = "nexttick_flood",
        /// Too many immediates in a turn.
        ImmediateFlood = "immediate_flood",
        /// Many short callbacks in a turn.
        ManyCallbacks = "many_callbacks",
        /// A task that wakes itself without end.
        SelfWaking = "self_waking",
        /// A callback that waits for a lock.
        LockHeld = "lock_held",
        /// A worker that has all the work while the others have none.
        OneWorker = "one_worker",
        /// A pool with too few threads: `{threads}` is the number wanted.
        PoolSize = "pool_size",
        /// Garbage that is collected for much of the time.
        Collecting = "collecting",
        /// Code of the loop's thread that no function of the runtime has called: the thread has left the loop, of
        /// which nobody is told. Of runtimes whose threads may do so.
        Outside = "outside",
        /// A blocking call of the runtime's while a request is served: `{call}` is its name, and `{other}` that without what
        /// [`Sign::Blocking`] says.
        BlockingCall = "blocking_call",
        /// Hooks that are called for each asynchronous operation.
        OperationHooks = "operation_hooks",
        /// The loop's thread waits for another one, and the program wants it to. The remedy says how to have it wait otherwise.
        ThreadWait = "thread_wait",
    }
}

named! {
    /// What a function of the runtime's own tells that is on a stack.
    Sign {
        /// It returns only when it is done, and another one does not block: the function's name ends with the text.
        Blocking = "blocking",
        /// A request is served: the source file's path contains the text.
        Serving = "serving",
        /// The thread sleeps in it until another one wakes it, and whoever calls it wants that: the function's name contains
        /// the text.
        ThreadWait = "thread_wait",
        /// A debugger has paused the program, and the thread sleeps in it until that goes on: the function's name contains the
        /// text.
        Debugger = "debugger",
        /// The thread has given the loop's work to another one, and does something else in it: the name of this function of
        /// the runtime's contains the text.
        HandsOver = "hands_over",
    }
}

named! {
    /// Numbers of the page that a runtime fills or cannot know.
    Fact {
        /// Time active and idle.
        Time = "time",
        /// How long an event waits before the loop next polls.
        Lag = "lag",
        /// Iterations: their number, and busy time of each.
        Iterations = "iterations",
        /// How long each poll waited in the kernel.
        PollWait = "poll_wait",
        /// How many events each poll returned.
        PollEvents = "poll_events",
        /// Time in each phase.
        Phases = "phases",
        /// Callbacks: run times, sites, paths.
        Callbacks = "callbacks",
        /// From ready to start of a callback.
        QueueDelay = "queue_delay",
        /// From submitted to ready of a callback.
        Operation = "operation",
        /// Drains of the queues: how long.
        Drains = "drains",
        /// Jobs of the queues: how many.
        DrainedJobs = "drained_jobs",
        /// How many jobs waited in a queue.
        QueueDepth = "queue_depth",
        /// Callbacks that panicked or threw.
        Errors = "errors",
        /// Work begun and given up: timers armed, connections asked for.
        Work = "work",
        /// Open handles, by type.
        Handles = "handles",
        /// Handles that keep the loop alive.
        Referenced = "referenced",
        /// Requests under way.
        Requests = "requests",
        /// Timers pending.
        Timers = "timers",
        /// Wakes from other threads that found one on its way.
        Wakes = "wakes",
        /// The pool's queue: its depth and the oldest job.
        PoolQueue = "pool_queue",
        /// The pool's jobs: how many were submitted, and how they ended.
        PoolJobs = "pool_jobs",
        /// How long the pool's jobs waited.
        PoolWait = "pool_wait",
        /// How long the pool's jobs ran.
        PoolRun = "pool_run",
    }
}

named! {
    /// Whose a function is. What no rule knows is the program's own.
    Owner {
        /// The runtime's: it calls the program, and is not what blocks it.
        Runtime = "runtime",
        /// A library's: nobody's fault where the program's own code is on the stack, too.
        Dependency = "dependency",
        /// loopscope's.
        Loopscope = "loopscope",
    }
}

named! {
    /// What of a function a rule looks at.
    FramePart {
        /// The function's path begins with the text: `tokio::runtime::`.
        Function = "function",
        /// The source file's path contains the text: `/tokio-1.`.
        File = "file",
        /// The file name of the module begins with the text: `libuv.so`.
        Module = "module",
    }
}
