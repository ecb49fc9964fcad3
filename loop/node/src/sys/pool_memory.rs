//! Reading libuv's pool: its static variables, at addresses that `pool::symbols` found, under libuv's own lock.

use super::symbols::{self, Missing, functions};
use libc::{c_int, c_void};

functions! {
    /// libuv's lock.
    Mutex {
        try_lock = c"uv_mutex_trylock": fn(*mut c_void) -> c_int;
        unlock = c"uv_mutex_unlock": fn(*mut c_void);
    }
}

/// Addresses of the pool's variables in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolAddresses {
    /// `wq`: the ring of jobs that wait.
    pub queue: usize,
    /// `slow_io_pending_wq`: the ring of slow jobs that wait for their turn.
    pub slow_queue: usize,
    /// `run_slow_work_message`: stands in `wq` for that ring, and is no job.
    pub slow_marker: usize,
    /// `mutex`.
    pub mutex: usize,
    /// `nthreads`.
    pub threads: usize,
    /// `idle_threads`.
    pub idle: usize,
}

/// How full a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Its threads.
    pub threads: u32,
    /// Those without a job.
    pub idle: u32,
    /// Jobs that wait.
    pub queued: u64,
}

/// Jobs that are counted; a longer queue is taken for a broken one.
const QUEUE_MAX: u64 = 10_000_000;

/// libuv's pool in this process.
#[derive(Debug)]
pub(crate) struct PoolMemory {
    addresses: PoolAddresses,
    mutex: Mutex,
}

impl PoolMemory {
    /// # Errors
    /// libuv has other functions for its locks.
    pub(crate) fn new(addresses: PoolAddresses) -> Result<PoolMemory, Missing> {
        Ok(PoolMemory { addresses, mutex: Mutex::find()? })
    }

    /// Returns how full the pool is; `None` where it has not begun, or its lock is held at this moment.
    pub(crate) fn depth(&self) -> Option<Depth> {
        let threads = word_at(self.addresses.threads);
        if threads == 0 {
            // Its mutex is made with its threads.
            return None;
        }
        let mutex = self.addresses.mutex as *mut c_void;
        // SAFETY: the variable is libuv's mutex, by its name and size, and was made before the number of threads was set.
        let code = unsafe { (self.mutex.try_lock)(mutex) };
        if code != 0 {
            return None;
        }
        let idle = word_at(self.addresses.idle);
        let marker = self.addresses.slow_marker;
        let lengths = [(self.addresses.queue, marker), (self.addresses.slow_queue, 0)]
            .map(|(head, skip)| ring_length(head, skip));
        // SAFETY: it was locked above, by this thread.
        unsafe { (self.mutex.unlock)(mutex) };
        let [queued, slow] = lengths;
        Some(Depth { threads, idle: idle.min(threads), queued: queued? + slow? })
    }
}

fn word_at(address: usize) -> u32 {
    // SAFETY: an aligned variable of four bytes in the program's own data, by its name and size. libuv changes it meanwhile at
    // most as a whole.
    unsafe { (address as *const u32).read_volatile() }
}

/// Returns how many links a ring has besides its head and `skip`; `None` where it does not close.
fn ring_length(head: usize, skip: usize) -> Option<u64> {
    if head == 0 {
        return Some(0);
    }
    let (mut at, mut before, mut length) = (next(head), head, 0);
    while at != head {
        // Both directions must agree, or it is no ring of libuv's.
        if at == 0 || previous(at) != before || length > QUEUE_MAX {
            return None;
        }
        length += u64::from(at != skip);
        before = at;
        at = next(at);
    }
    Some(length)
}

fn next(link: usize) -> usize {
    // SAFETY: the head is a variable of two pointers, by its name and size; every other link was reached from it while the
    // pool's lock is held, so it is the link of a job that waits.
    unsafe { (link as *const usize).read() }
}

fn previous(link: usize) -> usize {
    let field = link.wrapping_add(size_of::<usize>()) as *const usize;
    // SAFETY: as in `next`; a link is two pointers.
    unsafe { field.read() }
}
