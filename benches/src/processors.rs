//! Which processors a server and its client run on: one each, so that no slice depends on where the kernel put them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::sync::OnceLock;

/// What the program could use at first.
fn all() -> &'static CpuSet {
    static ALL: OnceLock<CpuSet> = OnceLock::new();
    ALL.get_or_init(|| sched_getaffinity(None).expect("the calling thread's own processors are known"))
}

/// Has this thread, and what it starts from now on, run on the first processor.
pub fn use_first() {
    use_one((0..CpuSet::MAX_CPU).find(|at| all().is_set(*at)));
}

/// Likewise on the last.
pub fn use_last() {
    use_one((0..CpuSet::MAX_CPU).rev().find(|at| all().is_set(*at)));
}

/// Takes back both.
pub fn use_all() {
    set(all());
}

fn use_one(processor: Option<usize>) {
    let mut one = CpuSet::new();
    one.set(processor.expect("a thread has a processor"));
    set(&one);
}

fn set(processors: &CpuSet) {
    sched_setaffinity(None, processors).expect("these processors were usable before");
}
