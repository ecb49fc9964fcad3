//! Reading libuv's pool: its static variables, at addresses that `pool::symbols` found, without its lock.
//!
//! The lock is never taken: libuv makes it after it has said that there are threads, destroys it while the process ends, and
//! aborts where it is held then or is none any more; and whoever submits a job would wait for us. So the rings of jobs may change
//! while they are counted, and a job be freed whose link was just read. Links are therefore read by system call, where memory that
//! is gone is an error, and each must point back to the one before it: else it is counted anew. Jobs may leave at the head while the
//! walk goes on to the tail, where others come: so a count has those that waited at its begin, and as many more at most as came
//! while it was made.

use loopscope_stacks::Memory;

/// Addresses of the pool's variables in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolAddresses {
    /// `wq`: the ring of jobs that wait.
    pub queue: usize,
    /// `slow_io_pending_wq`: the ring of slow jobs that wait for their turn.
    pub slow_queue: usize,
    /// `run_slow_work_message`: stands in `wq` for that ring, and is no job.
    pub slow_marker: usize,
    /// `slow_io_work_running`: the slow jobs that run, of which there may be one for two threads.
    pub slow_running: usize,
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
    /// Jobs that wait; 1,024 stands for that many and more.
    pub queued: u64,
    /// Slow jobs wait, and no more of them may run than do.
    pub is_slow_full: bool,
}

/// Jobs that are counted: reading a link takes the agent's thread 1 us.
const COUNTED_MAX: u64 = 1_024;
/// How often a ring is counted that changes meanwhile.
const TRIES: u32 = 4;

/// A link of a ring: the next one, and the one before.
type Link = [usize; 2];

/// libuv's pool in this process.
#[derive(Debug)]
pub(crate) struct PoolMemory {
    addresses: PoolAddresses,
}

impl PoolMemory {
    pub(crate) fn new(addresses: PoolAddresses) -> PoolMemory {
        PoolMemory { addresses }
    }

    /// Returns how full the pool is; `None` where it has not begun, has ended, or changes too fast at this moment.
    pub(crate) fn depth(&self) -> Option<Depth> {
        let PoolAddresses { queue, slow_queue, slow_marker, slow_running, threads, idle } = self.addresses;
        let memory = Memory::open().ok()?;
        let link = |address: usize| memory.read(address as u64).map(link_of);
        let number = |address: usize| memory.read(address as u64).map(u32::from_ne_bytes);
        let threads = number(threads).filter(|threads| *threads > 0)?;
        let queued = ring_length(link, queue, slow_marker, COUNTED_MAX)?;
        let slow = ring_length(link, slow_queue, 0, COUNTED_MAX - queued)?;
        let is_slow_full = slow > 0 && number(slow_running)? >= threads.div_ceil(2);
        Some(Depth { threads, idle: number(idle)?.min(threads), queued: queued + slow, is_slow_full })
    }
}

fn link_of(bytes: [u8; size_of::<Link>()]) -> Link {
    let (next, previous) = bytes.split_at(size_of::<usize>());
    [next, previous].map(|word| usize::from_ne_bytes(word.try_into().unwrap_or_default()))
}

/// Returns how many links a ring has besides its head and `skip`, and counts no more than `most`; `None` where it is not made yet,
/// or does not hold still.
fn ring_length(read: impl Fn(usize) -> Option<Link>, head: usize, skip: usize, most: u64) -> Option<u64> {
    if head == 0 {
        return Some(0);
    }
    (0..TRIES).find_map(|_| try_ring_length(&read, head, skip, most))
}

fn try_ring_length(read: impl Fn(usize) -> Option<Link>, head: usize, skip: usize, most: u64) -> Option<u64> {
    let [mut at, _] = read(head)?;
    let (mut before, mut length) = (head, 0);
    while at != head && length < most {
        let [next, previous] = read(at)?;
        // Both directions must agree: else it has left the ring meanwhile, or is none.
        if previous != before {
            return None;
        }
        length += u64::from(at != skip);
        (before, at) = (at, next);
    }
    // What libuv has not made yet is all zeros.
    (at != 0).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    /// Links all to a ring, as libuv's: next and previous.
    fn ring(links: &mut [Link]) {
        let addresses: Vec<usize> = links.iter().map(|link| link.as_ptr().expose_provenance()).collect();
        let count = links.len();
        for (index, link) in links.iter_mut().enumerate() {
            *link = [addresses[(index + 1) % count], addresses[(index + count - 1) % count]];
        }
    }

    fn link_at(address: usize) -> Option<Link> {
        Memory::open().unwrap().read(address as u64).map(link_of)
    }

    fn length(head: usize, skip: usize) -> Option<u64> {
        let memory = Memory::open().unwrap();
        ring_length(|address| memory.read(address as u64).map(link_of), head, skip, COUNTED_MAX)
    }

    #[test]
    fn a_ring_is_counted_without_its_head_and_the_marker() {
        let mut links = vec![[0; 2]; 10];
        ring(&mut links);
        let [head, marker] = [0, 3].map(|index: usize| links[index].as_ptr().expose_provenance());
        assert_eq!(length(head, 0), Some(9));
        assert_eq!(length(head, marker), Some(8));
        assert_eq!(length(0, 0), Some(0), "a version without it");
        let alone = [0usize; 2];
        let head = alone.as_ptr().expose_provenance();
        assert_eq!(length(head, 0), None, "libuv has not made it yet");
    }

    #[test]
    fn of_a_long_ring_no_more_than_the_first_links_are_looked_at() {
        let mut links = vec![[0; 2]; 100_000];
        ring(&mut links);
        let head = links[0].as_ptr().expose_provenance();
        // Whoever goes on to here finds a broken ring.
        links[COUNTED_MAX as usize + 2] = [0; 2];
        assert_eq!(length(head, 0), Some(COUNTED_MAX));
    }

    #[test]
    fn a_ring_whose_directions_do_not_agree_is_none() {
        let mut links = vec![[0; 2]; 10];
        ring(&mut links);
        links[5][1] = links[7].as_ptr().expose_provenance();
        assert_eq!(length(links[0].as_ptr().expose_provenance(), 0), None);
    }

    #[test]
    fn a_link_that_goes_while_the_ring_is_counted_is_passed_by_at_the_next_try() {
        let mut links = vec![[0; 2]; 10];
        ring(&mut links);
        let [head, gone, after] = [0, 4, 5].map(|index: usize| links[index].as_ptr().expose_provenance());
        let before = links[gone_index(&links, gone) - 1].as_ptr().expose_provenance();
        let has_gone = Cell::new(false);
        let read = |address: usize| {
            // It goes after the one before it was read; the memory is not mapped any more.
            if address == gone {
                has_gone.set(true);
                return None;
            }
            let [next, previous] = link_at(address)?;
            match (has_gone.get(), address) {
                (true, at) if at == before => Some([after, previous]),
                (true, at) if at == after => Some([next, before]),
                _ => Some([next, previous]),
            }
        };
        assert_eq!(ring_length(read, head, 0, COUNTED_MAX), Some(8));
        assert_eq!(ring_length(|_| None, head, 0, COUNTED_MAX), None, "nothing of it is mapped");
    }

    fn gone_index(links: &[Link], gone: usize) -> usize {
        links.iter().position(|link| link.as_ptr().addr() == gone).unwrap()
    }

    /// The figures are those that libuv has; the pool is not begun, is half made, and then runs.
    #[test]
    fn a_pool_is_read_only_once_it_has_threads_and_its_rings_are_made() {
        let (mut threads, mut idle, mut slow_running) = ([0u32; 1], [0u32; 1], [0u32; 1]);
        let (mut queue, mut slow) = ([[0usize; 2]; 3], [[0usize; 2]; 2]);
        let addresses = PoolAddresses {
            queue: queue[0].as_ptr().expose_provenance(),
            slow_queue: slow[0].as_ptr().expose_provenance(),
            slow_marker: queue[1].as_ptr().expose_provenance(),
            slow_running: slow_running.as_ptr().expose_provenance(),
            threads: threads.as_ptr().expose_provenance(),
            idle: idle.as_ptr().expose_provenance(),
        };
        let pool = PoolMemory::new(addresses);
        assert_eq!(pool.depth(), None);
        threads[0] = 4;
        assert_eq!(std::hint::black_box(&pool).depth(), None, "libuv says so before it makes the rest");
        ring(&mut queue);
        ring(&mut slow);
        idle[0] = 1;
        std::hint::black_box((&threads, &idle, &queue, &slow));
        // One in each ring; the marker is no job.
        let depth = |is_slow_full| Some(Depth { threads: 4, idle: 1, queued: 2, is_slow_full });
        assert_eq!(pool.depth(), depth(false), "one of them may begin");
        slow_running[0] = 2;
        std::hint::black_box(&slow_running);
        assert_eq!(pool.depth(), depth(true), "half of the threads are all that they may have");
        ring(&mut slow[..1]);
        std::hint::black_box(&slow);
        assert_eq!(pool.depth(), Some(Depth { threads: 4, idle: 1, queued: 1, is_slow_full: false }));
    }

    /// Jobs come and go, and their memory is written over, while another thread counts: a count is never more than waited at its
    /// begin and came until its end.
    #[test]
    fn a_ring_that_changes_all_the_time_is_counted_or_none() {
        const LINKS: usize = 64;
        const WAITING_MAX: u64 = LINKS as u64 / 2;
        let words: Vec<[AtomicUsize; 2]> =
            (0..LINKS + 1).map(|_| [AtomicUsize::new(0), AtomicUsize::new(0)]).collect();
        let address = |index: usize| words[index].as_ptr().expose_provenance();
        let set = |index: usize, way: usize, to: usize| words[index][way].store(to, Ordering::SeqCst);
        let (is_over, head) = (AtomicBool::new(false), address(0));
        // Told before each comes.
        let came = AtomicU64::new(0);
        set(0, 0, head);
        set(0, 1, head);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut queued = std::collections::VecDeque::new();
                for round in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let index = 1 + round % LINKS;
                    if queued.len() as u64 == WAITING_MAX {
                        let first: usize = queued.pop_front().unwrap();
                        let second = *queued.front().unwrap();
                        set(0, 0, address(second));
                        set(second, 1, head);
                        // Somebody else's now.
                        set(first, 0, usize::MAX / 3);
                        set(first, 1, usize::MAX / 3);
                    }
                    came.fetch_add(1, Ordering::SeqCst);
                    let last = queued.back().copied().unwrap_or(0);
                    set(index, 0, head);
                    set(index, 1, address(last));
                    set(last, 0, address(index));
                    set(0, 1, address(index));
                    queued.push_back(index);
                }
            });
            // Not while the other thread has it: it goes on until this one has seen enough, also where that fails.
            let counts: Vec<_> = (0..2_000)
                .map(|_| {
                    let before = came.load(Ordering::SeqCst);
                    let counted = length(head, 0);
                    (counted, came.load(Ordering::SeqCst) - before)
                })
                .collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(counts.iter().any(|(counted, _)| counted.is_some()), "most are, on two processors");
            for (counted, came) in counts {
                assert!(counted.is_none_or(|counted| counted <= WAITING_MAX + came), "{counted:?}, {came}");
            }
        });
    }
}
