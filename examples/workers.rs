//! You will see workers, each an event loop of its own, on one port and with one thread pool: `nc` it, ask `count`.

#[path = "workers/worker_group.rs"]
mod worker_group;

use std::io;

fn main() -> io::Result<()> {
    let _agent = loopscope_examples::watched();
    let count = std::thread::available_parallelism()?.get();
    let workers = worker_group::start(count, ([127, 0, 0, 1], 0).into())?;
    let address = workers.address;
    println!("{count} workers: nc {} {}; ask `primes 100000` or `count`.", address.ip(), address.port());
    println!("Ctrl-C ends them: each closes what it has, and its loop returns.");
    workers.join()
}
