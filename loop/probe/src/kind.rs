//! What kind of work a callback is, which queue it drained from, and what a handle or a pool job is.
//!
//! All numbers here are part of the page's layout; the names are label values in metrics.

macro_rules! labelled {
    // A `repr(u8)` enum whose numbers are dense from 0, with `ALL`, `COUNT`, `name`, `index` and `from_index`.
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every value in the order of its number.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// How many values there are.
            pub const COUNT: usize = $name::ALL.len();
            /// Returns the label value.
            pub const fn name(self) -> &'static str { match self { $($name::$variant => $label,)* } }
            /// Returns the number, below `COUNT`.
            pub const fn index(self) -> usize { self as usize }
            /// Returns the value with this number, or `None` where there is none.
            pub fn from_index(index: usize) -> Option<$name> { $name::ALL.get(index).copied() }
        }
    };
}

labelled! {
    /// The kind of a callback, of a queued job, or of another named place in the program.
    ///
    /// The first sixteen ([`Kind::CALLBACKS`]) are entries from the loop into user code and have histograms of their own.
    #[non_exhaustive]
    Kind {
        /// A one-shot timer or interval fired.
        Timer = "timer",
        /// A `set_immediate`-like callback.
        Immediate = "immediate",
        /// A source became readable.
        IoRead = "io_read",
        /// A source became writable.
        IoWrite = "io_write",
        /// A listener accepted a connection.
        Accept = "accept",
        /// An outgoing connection was made or refused.
        Connect = "connect",
        /// A signal arrived.
        Signal = "signal",
        /// A child process ended.
        Child = "child",
        /// A closure posted from another thread, or a wake handle.
        Async = "async",
        /// A thread-pool job completed.
        WorkDone = "work_done",
        /// A handle finished closing.
        Close = "close",
        /// An idle hook.
        Idle = "idle",
        /// A prepare hook.
        Prepare = "prepare",
        /// A check hook.
        Check = "check",
        /// One poll of a task of an async runtime.
        Task = "task",
        /// Anything else, such as the main script or a before-exit listener.
        Other = "other",
        /// A job of the nextTick queue.
        Tick = "tick",
        /// A job of the microtask queue, or one poll of a local future.
        Microtask = "microtask",
        /// A `tracing` span entered inside a callback.
        Span = "span",
        /// A job that runs on a pool thread.
        Job = "job",
    }
}

impl Kind {
    /// How many kinds are callbacks of the loop; their numbers are `0..CALLBACKS`.
    pub const CALLBACKS: usize = 16;

    /// Returns the queue that jobs of this kind drain from, or `None` for a callback of the loop.
    pub const fn queue(self) -> Option<Queue> {
        match self {
            Kind::Tick => Some(Queue::NextTick),
            Kind::Microtask => Some(Queue::Microtask),
            _ => None,
        }
    }

    /// Returns what it is called for people, in flamegraphs and on displays: a job by its queue.
    pub fn display_name(self) -> &'static str {
        self.queue().map_or(self.name(), Queue::name)
    }
}

labelled! {
    /// One of the two queues that are drained after every callback.
    Queue {
        /// The nextTick queue: all of it before any microtask.
        NextTick = "nexttick",
        /// The microtask queue: promises in Node, local futures here.
        Microtask = "microtask",
    }
}

labelled! {
    /// What a handle is, for the handle gauges.
    #[non_exhaustive]
    HandleType {
        /// One-shot timer.
        Timeout = "timeout",
        /// Interval.
        Interval = "interval",
        /// Immediate.
        Immediate = "immediate",
        /// Listening TCP socket.
        TcpListener = "tcp_listener",
        /// TCP connection.
        TcpStream = "tcp_stream",
        /// UDP socket.
        Udp = "udp",
        /// Unix-domain listener.
        UnixListener = "unix_listener",
        /// Unix-domain stream or datagram socket.
        UnixStream = "unix_stream",
        /// Pipe.
        Pipe = "pipe",
        /// Signal listener.
        Signal = "signal",
        /// Child process.
        Child = "child",
        /// Wake handle.
        Async = "async",
        /// Idle, prepare or check hook.
        Hook = "hook",
        /// A source of the user's own.
        Adopted = "adopted",
        /// Local future.
        Task = "task",
        /// Anything else.
        Other = "other",
    }
}

labelled! {
    /// What a pool job does, for the pool's histograms.
    #[non_exhaustive]
    WorkKind {
        /// File-system call.
        Fs = "fs",
        /// Name resolution.
        Dns = "dns",
        /// Cryptography.
        Crypto = "crypto",
        /// Compression.
        Zlib = "zlib",
        /// Random bytes.
        Random = "random",
        /// A closure of the program's own.
        User = "user",
        /// Anything else.
        Other = "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callback_kinds_come_first_and_fit_the_histograms() {
        assert_eq!(Kind::Other.index(), Kind::CALLBACKS - 1);
        assert_eq!(Kind::Tick.index(), Kind::CALLBACKS);
        // The packed word has five bits for it, and 31 stands for none.
        const { assert!(Kind::COUNT < 31) };
        assert_eq!(HandleType::COUNT, 16);
        assert_eq!(WorkKind::COUNT, 7);
    }

    #[test]
    fn only_ticks_and_microtasks_drain_from_a_queue() {
        let queued: Vec<_> = Kind::ALL.iter().filter(|kind| kind.queue().is_some()).collect();
        assert_eq!(queued, [&Kind::Tick, &Kind::Microtask]);
    }
}
