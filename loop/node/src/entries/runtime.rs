//! What the state machine asks of the loop that it is about.

/// One loop of libuv and Node, asked on its own thread.
pub trait Runtime {
    /// For how long all polls have waited, in nanoseconds.
    fn idle_ns(&mut self) -> u64;
    /// How many events all polls have returned; `None` where it is not counted.
    fn events(&mut self) -> Option<u64>;
    /// The resource that JavaScript is entered for.
    fn async_id(&mut self) -> Option<u64>;

    /// libuv's own time, in milliseconds: it reads it at the begin of each turn, and when its poll returns. Not recorded; 0 where
    /// it is not known.
    fn time_ms(&mut self) -> u64 {
        0
    }

    /// V8 begins to drain its queue.
    fn drain_begins(&mut self) {}

    /// V8 has drained its queue of so many microtasks.
    fn drain_ended(&mut self, count: u64) {
        let _ = count;
    }

    /// How many of these are read in libuv's and Node's own memory by now.
    fn read_in_place(&self) -> usize {
        0
    }

    /// How old that is, in nanoseconds, at most 1 ms too much; `None` where it is not known.
    fn time_age_ns(&mut self) -> Option<u64> {
        None
    }
}
