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
    /// Jobs that wait; 4,096 stands for that many and more.
    pub queued: u64,
}

/// Jobs that are counted. Who submits one waits for the lock meanwhile, and a link that is not in the cache takes 0.1 us.
const COUNTED_MAX: u64 = 4_096;

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
        let queued = ring_length(self.addresses.queue, marker, COUNTED_MAX);
        let queued = queued.and_then(|queued| {
            Some(queued + ring_length(self.addresses.slow_queue, 0, COUNTED_MAX - queued)?)
        });
        // SAFETY: it was locked above, by this thread.
        unsafe { (self.mutex.unlock)(mutex) };
        Some(Depth { threads, idle: idle.min(threads), queued: queued? })
    }
}

fn word_at(address: usize) -> u32 {
    // SAFETY: an aligned variable of four bytes in the program's own data, by its name and size. libuv changes it meanwhile at
    // most as a whole.
    unsafe { (address as *const u32).read_volatile() }
}

/// Returns how many links a ring has besides its head and `skip`, and counts no more than `most`; `None` where it is broken.
fn ring_length(head: usize, skip: usize, most: u64) -> Option<u64> {
    if head == 0 {
        return Some(0);
    }
    let (mut at, mut before, mut length) = (next(head), head, 0);
    while at != head && length < most {
        // Both directions must agree, or it is no ring of libuv's.
        if at == 0 || previous(at) != before {
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

#[cfg(test)]
mod tests {
    use super::*;

    type Link = [usize; 2];

    /// Links all to a ring, as libuv's: next and previous.
    fn ring(links: &mut [Link]) {
        let addresses: Vec<usize> = links.iter().map(|link| link.as_ptr().expose_provenance()).collect();
        let count = links.len();
        for (index, link) in links.iter_mut().enumerate() {
            *link = [addresses[(index + 1) % count], addresses[(index + count - 1) % count]];
        }
    }

    #[test]
    fn a_ring_is_counted_without_its_head_and_the_marker() {
        let mut links = vec![[0; 2]; 10];
        ring(&mut links);
        let [head, marker] = [0, 3].map(|index: usize| links[index].as_ptr().expose_provenance());
        assert_eq!(ring_length(head, 0, COUNTED_MAX), Some(9));
        assert_eq!(ring_length(head, marker, COUNTED_MAX), Some(8));
        assert_eq!(ring_length(0, 0, COUNTED_MAX), Some(0), "a version without it");
    }

    #[test]
    fn of_a_long_ring_no_more_than_the_first_links_are_looked_at() {
        let mut links = vec![[0; 2]; 100_000];
        ring(&mut links);
        let head = links[0].as_ptr().expose_provenance();
        // Whoever goes on to here finds a broken ring.
        links[COUNTED_MAX as usize + 2] = [0; 2];
        assert_eq!(ring_length(head, 0, COUNTED_MAX), Some(COUNTED_MAX));
    }

    #[test]
    fn a_ring_whose_directions_do_not_agree_is_none() {
        let mut links = vec![[0; 2]; 10];
        ring(&mut links);
        links[5][1] = links[7].as_ptr().expose_provenance();
        assert_eq!(ring_length(links[0].as_ptr().expose_provenance(), 0, COUNTED_MAX), None);
    }
}
