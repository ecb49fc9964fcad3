//! The two lanes against what libuv's pool does, one thread's step at a time.

use super::*;
use crate::key::Slots;
use loopscope_probe::SiteId;
use proptest::prelude::*;

/// Jobs are named by the order they were pushed in.
struct Bench {
    lanes: Lanes,
    keys: Slots<()>,
    pushed: Vec<Key>,
    client: Key,
}

impl Bench {
    fn new(threads: usize) -> Self {
        let mut keys = Slots::new();
        let client = keys.insert(());
        Bench { lanes: Lanes::new(threads), keys, pushed: Vec::new(), client }
    }

    fn push(&mut self, kind: WorkKind) {
        let key = self.keys.insert(());
        self.pushed.push(key);
        let run = Box::new(|| Box::new(()) as Box<dyn std::any::Any + Send>);
        let job = Job { client: self.client, key, kind, site: SiteId::NONE, run };
        self.lanes.push(job, Ticks(self.pushed.len() as u64));
    }

    fn take(&mut self) -> Option<usize> {
        let has_next = self.lanes.has_next();
        let taken = self.lanes.take();
        assert_eq!(taken.is_some(), has_next);
        let (job, _) = taken?;
        self.pushed.iter().position(|key| *key == job.key)
    }

    fn cancel(&mut self, number: usize) -> bool {
        self.lanes.cancel(self.client, self.pushed[number]).is_some()
    }
}

const FS: WorkKind = WorkKind::Fs;
const DNS: WorkKind = WorkKind::Dns;

#[test]
fn slow_jobs_take_at_most_half_the_threads_and_others_pass_them() {
    let mut bench = Bench::new(4);
    [DNS, DNS, DNS, DNS, FS, FS].into_iter().for_each(|kind| bench.push(kind));
    // The marker goes to the end each time: one slow job, the two others, another slow one.
    let taken: Vec<_> = (0..5).map(|_| bench.take()).collect();
    assert_eq!(taken, [Some(0), Some(4), Some(5), Some(1), None]);
    bench.push(FS);
    assert_eq!(bench.take(), Some(6), "what comes later passes the lane that is full");
    assert_eq!(bench.take(), None);
    bench.lanes.ended(FS);
    assert_eq!(bench.take(), None, "only the end of a slow one makes room");
    bench.lanes.ended(DNS);
    assert_eq!((bench.take(), bench.take()), (Some(2), None));
}

#[test]
fn one_thread_serves_both_lanes() {
    let mut bench = Bench::new(1);
    [DNS, FS, DNS].into_iter().for_each(|kind| bench.push(kind));
    assert_eq!(bench.take(), Some(0));
    bench.lanes.ended(DNS);
    assert_eq!(bench.take(), Some(1));
    bench.lanes.ended(FS);
    assert_eq!((bench.take(), bench.take()), (Some(2), None));
}

#[test]
fn a_cancelled_job_leaves_no_turn_behind() {
    let mut bench = Bench::new(2);
    [DNS, FS].into_iter().for_each(|kind| bench.push(kind));
    assert!(bench.cancel(0) && !bench.cancel(0));
    assert_eq!(bench.lanes.oldest(), Some(Ticks(2)));
    assert_eq!((bench.take(), bench.take()), (Some(1), None));
    assert!(!bench.cancel(1), "it runs");
    assert_eq!(bench.lanes.oldest(), None);
}

proptest! {
    #[test]
    fn every_job_runs_once_in_its_lane_s_order(
        threads in 1_usize..6,
        steps in proptest::collection::vec((0_u8..4, 0_usize..64), 1..200),
    ) {
        let mut bench = Bench::new(threads);
        let (mut kinds, mut running, mut done) = (Vec::new(), VecDeque::new(), Vec::new());
        let take = |bench: &mut Bench, running: &mut VecDeque<usize>, done: &mut Vec<usize>, kinds: &[WorkKind]| {
            if running.len() < threads && let Some(number) = bench.take() {
                running.push_back(number);
                done.push(number);
                let slow = running.iter().filter(|number| kinds[**number] == DNS).count();
                assert!(slow <= threads.div_ceil(2));
                return true;
            }
            false
        };
        for (step, number) in steps {
            match step {
                0 | 1 => {
                    let kind = if step == 0 { FS } else { DNS };
                    kinds.push(kind);
                    bench.push(kind);
                }
                2 => drop(take(&mut bench, &mut running, &mut done, &kinds).then_some(())),
                _ if !kinds.is_empty() && bench.cancel(number % kinds.len()) => done.push(number % kinds.len()),
                _ => {
                    if let Some(number) = running.pop_front() {
                        bench.lanes.ended(kinds[number]);
                    }
                }
            }
        }
        // To the end: a free thread is never left without a job that may run.
        loop {
            while take(&mut bench, &mut running, &mut done, &kinds) {}
            let Some(number) = running.pop_front() else { break };
            bench.lanes.ended(kinds[number]);
        }
        let mut all = done.clone();
        all.sort_unstable();
        prop_assert_eq!(all, (0..kinds.len()).collect::<Vec<_>>());
    }
}
