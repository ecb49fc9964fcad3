//! What the probe's page says after a run, to the nanosecond where time is virtual.

use loopscope_loop::{Cx, Hook, Loop, Mode, PanicPolicy, simulate};
use loopscope_probe::raw::registry;
use loopscope_probe::{HandleType, Kind, Phase, Snapshot, WorkKind};
use std::time::Duration;

const MS: u64 = 1_000_000;

fn virtual_loop() -> Loop<()> {
    Loop::builder(()).virtual_time().pool_threads(1).on_panic(PanicPolicy::Propagate).build().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lets a callback take that long.
fn take(duration: Duration) {
    assert!(simulate::advance(duration));
}

fn snapshot<S: 'static>(event_loop: &Loop<S>) -> Snapshot {
    event_loop.page().unwrap().snapshot(event_loop.page_clock().unwrap())
}

/// Runs `main` and the loop, and returns what the page says then.
fn profile(main: impl FnOnce(&mut Cx<'_, ()>)) -> Snapshot {
    let mut event_loop = virtual_loop();
    event_loop.main(main);
    assert!(!event_loop.run(Mode::Default).unwrap());
    snapshot(&event_loop)
}

#[test]
fn callbacks_are_counted_by_kind_and_by_phase() {
    let values = profile(|cx| {
        cx.after(ms(1), |_| take(ms(2)));
        let interval = cx.every(ms(3), |_| {});
        cx.after(ms(10), move |cx| assert!(cx.close(interval)));
        cx.immediate(|_| {});
        cx.immediate(|_| {});
        cx.post_handle().post(|_| {}).unwrap();
        cx.work(|| (), |_, _| {});
        let hook = cx.on(Hook::Check, |_| {});
        cx.close_with(hook, |_| {});
    });
    let count = |kind: Kind| values.run[kind.index()].count();
    assert_eq!(count(Kind::Timer), 5);
    assert_eq!(values.run[Kind::Timer.index()].sum_ns, 2 * MS);
    assert_eq!([Kind::Immediate, Kind::Async, Kind::WorkDone, Kind::Close].map(count), [2, 1, 1, 1]);
    assert_eq!(count(Kind::Other), 1, "the main script");
    assert_eq!(values.phase_callbacks[Phase::TIMERS.index()], 5);
    assert_eq!(values.phase_callbacks[Phase::CHECK.index()], 2);
    assert_eq!(values.phase_callbacks[Phase::POLL.index()], 2);
    assert_eq!(values.phase_callbacks[Phase::CLOSE.index()], 1);
    assert_eq!(values.submitted[Kind::Timer.index()], 3);
    assert_eq!(values.submitted[Kind::Immediate.index()], 2);
    assert_eq!(values.phase[Phase::TIMERS.index()].sum_ns, 2 * MS);
}

#[test]
fn a_phase_of_an_iteration_is_observed_once() {
    let values = profile(|cx| {
        let hook = cx.on(Hook::Check, |_| take(ms(2)));
        cx.immediate(move |cx| {
            take(ms(3));
            cx.close(hook);
        });
    });
    let check = &values.phase[Phase::CHECK.index()];
    assert_eq!((check.count(), check.sum_ns), (1, 5 * MS), "hooks, and then immediates");
}

#[test]
fn a_late_timer_has_waited_from_its_due_time() {
    let values = profile(|cx| {
        cx.after(ms(10), |_| {});
        take(ms(25));
    });
    let wait = &values.wait[Kind::Timer.index()];
    assert_eq!((wait.count(), wait.sum_ns), (1, 15 * MS));
    assert_eq!((values.operation.count(), values.operation.sum_ns), (1, 10 * MS), "armed to due");
}

#[test]
fn an_immediate_has_waited_from_the_end_of_the_callback_that_made_it() {
    let values = profile(|cx| {
        cx.immediate(|_| take(ms(5)));
        cx.immediate(|_| {});
        take(ms(3));
    });
    // One microsecond is the poll; the second one also waited for the first.
    let wait = &values.wait[Kind::Immediate.index()];
    assert_eq!((wait.count(), wait.sum_ns), (2, 1_000 + 1_000 + 5 * MS));
}

#[test]
fn a_post_has_waited_from_its_sending() {
    let values = profile(|cx| {
        cx.post_handle().post(|_| {}).unwrap();
        cx.post_handle().post(|_| {}).unwrap();
        take(ms(4));
    });
    let wait = &values.wait[Kind::Async.index()];
    assert_eq!((wait.count(), wait.sum_ns), (2, 2 * (4 * MS + 1_000)));
    assert_eq!(values.wakes_coalesced, 1);
}

#[test]
fn drains_are_counted_by_queue_with_their_jobs_and_time() {
    let values = profile(|cx| {
        cx.immediate(|cx| {
            for _ in 0..3 {
                cx.next_tick(|_| take(ms(1)));
            }
            cx.microtask(|cx| {
                take(ms(2));
                cx.microtask(|_| {});
                cx.next_tick(|_| {});
            });
        });
    });
    assert_eq!(values.drained_jobs, [4, 2]);
    assert_eq!((values.drain[0].count(), values.drain[0].sum_ns), (2, 3 * MS));
    assert_eq!((values.drain[1].count(), values.drain[1].sum_ns), (1, 2 * MS));
    assert_eq!((values.drain_jobs[0].count(), values.drain_jobs[0].sum), (2, 4));
    assert_eq!(values.completed.sum_ns, 5 * MS, "from the return of the immediate to both queues empty");
    assert_eq!(values.queue_depth_max, [3, 1]);
}

#[test]
fn a_pool_job_is_counted_from_submit_to_its_callback() {
    let values = profile(|cx| {
        cx.work_kind(WorkKind::Fs, || take(ms(10)), |_, _| {});
        cx.work_kind(WorkKind::Fs, || take(ms(20)), |_, _| take(ms(1)));
        cx.immediate(|_| take(ms(35)));
    });
    let pool = values.pool.unwrap();
    let fs = WorkKind::Fs.index();
    assert_eq!((pool.threads, pool.running, pool.queued), (Some(1), Some(0), Some(0)));
    assert_eq!((pool.submitted[fs], pool.completed[fs]), (2, 2));
    assert_eq!((pool.wait[fs].count(), pool.wait[fs].sum_ns), (2, 10 * MS));
    assert_eq!(pool.run[fs].sum_ns, 30 * MS);
    // They ended at 10 and 30 ms; the loop was busy until 35 ms and polled one microsecond twice.
    assert_eq!(values.work_delivery.sum_ns, (25 + 5) * MS + 2 * 2_000);
    assert_eq!(values.operation.sum_ns, (10 + 30) * MS, "submit to end");
}

#[test]
fn what_is_cancelled_is_counted() {
    let values = profile(|cx| {
        cx.work(|| take(ms(1)), |_, _| {});
        let job = cx.work(|| (), |_, _| {});
        assert!(cx.cancel(job));
        let timer = cx.after(ms(1), |_| {});
        let immediate = cx.immediate(|_| {});
        assert!(cx.close(timer) && cx.close(immediate));
    });
    assert_eq!(values.work_delivery.count(), 1, "of the job that ran");
    let cancelled = |kind: Kind| values.cancelled[kind.index()];
    assert_eq!([Kind::Timer, Kind::Immediate].map(cancelled), [1, 1]);
    // The callback of a cancelled job runs, so that it has one outcome: it returned.
    let done = Kind::WorkDone.index();
    assert_eq!((values.submitted[done], values.run[done].count(), values.cancelled[done]), (2, 2, 0));
    assert_eq!(values.pool.unwrap().cancelled[WorkKind::User.index()], 1);
}

#[test]
fn idle_and_busy_time_add_up_to_the_whole() {
    let mut event_loop = virtual_loop();
    event_loop.main(|cx| {
        take(ms(1));
        cx.after(ms(100), |_| take(ms(7)));
    });
    event_loop.run(Mode::Default).unwrap();
    let values = snapshot(&event_loop);
    assert_eq!(values.active_ns, 8 * MS);
    assert_eq!(values.idle_ns, 100 * MS);
    assert_eq!(values.iterations, 1);
    assert_eq!((values.poll_wait.count(), values.poll_wait.sum_ns), (1, 100 * MS));
}

#[test]
fn gauges_follow_what_is_open() {
    let mut event_loop = virtual_loop();
    let (timer, interval) = event_loop.main(|cx| {
        let timer = cx.after(ms(50), |_| {});
        let interval = cx.every(ms(60), |_| {});
        cx.unref(interval);
        drop(cx.spawn_local(std::future::pending::<()>()));
        (timer, interval)
    });
    event_loop.run(Mode::NoWait).unwrap();
    let values = snapshot(&event_loop);
    let gauge = |values: &Snapshot, handle: HandleType| values.handles[handle.index()];
    assert_eq!(gauge(&values, HandleType::Timeout), 1);
    assert_eq!(gauge(&values, HandleType::Interval), 1);
    assert_eq!(gauge(&values, HandleType::Task), 1);
    assert_eq!((values.handles_referenced, values.timers_pending, values.requests_active), (1, 2, 0));
    event_loop.main(|cx| {
        cx.close(timer);
        cx.close(interval);
        cx.immediate(|_| {});
    });
    event_loop.run(Mode::NoWait).unwrap();
    let values = snapshot(&event_loop);
    assert_eq!([HandleType::Timeout, HandleType::Interval].map(|handle| gauge(&values, handle)), [0, 0]);
    assert_eq!((values.handles_referenced, values.timers_pending), (1, 0), "as of the last poll");
}

#[test]
fn sites_are_named_by_their_place_or_by_the_program() {
    let line = line!() + 2;
    let values = profile(|cx| {
        cx.immediate(|_| take(ms(2)));
        let named = cx.after(ms(1), |_| take(ms(3)));
        assert!(cx.name(named, "refresh the cache"));
    });
    let site = |wanted: &dyn Fn(&&loopscope_probe::Site) -> bool| values.sites.iter().find(wanted).cloned();
    let immediate = site(&|site| site.kind == Kind::Immediate).unwrap();
    assert_eq!(immediate.line, line);
    assert!(immediate.file.ends_with("probe.rs"), "{}", immediate.file);
    assert!(site(&|site| site.name == "refresh the cache" && site.kind == Kind::Timer).is_some());
}

fn expire(_: &mut Cx<'_>) {}

fn evict(_: &mut Cx<'_>) {}

/// Registers at one place whatever it is given.
fn after_a_while(cx: &mut Cx<'_>, run: impl FnOnce(&mut Cx<'_>) + 'static) {
    cx.after(ms(1), run);
}

struct Cache;

impl Cache {
    fn warm(&self, cx: &mut Cx<'_>) {
        cx.immediate(|_| {});
    }
}

#[test]
fn callbacks_are_named_by_their_function() {
    async fn serve() {}
    let (first, last) = (line!() + 2, line!() + 10);
    let values = profile(|cx| {
        cx.after(ms(1), expire);
        cx.after(ms(1), |_| {});
        cx.after(ms(1), expire as fn(&mut Cx<'_>));
        cx.immediate(Box::new(expire) as Box<dyn FnOnce(&mut Cx<'_>)>);
        cx.work(|| (), |_, _| {});
        cx.spawn_local(serve());
        cx.spawn_async(|here| async move { here.sleep(ms(1)).await });
        Cache.warm(cx);
    });
    let of = |line: u32| values.sites.iter().filter(move |site| site.line == line && site.line <= last);
    let names = |line| of(line).map(|site| site.name.as_str()).collect::<Vec<_>>();
    let this = "callbacks_are_named_by_their_function";
    let told: Vec<_> = (first..first + 7).map(names).collect();
    let unnamed = [""];
    assert_eq!(told[0], ["expire"]);
    assert_eq!(told[1], [this]);
    assert_eq!([&told[2], &told[3]], [&unnamed, &unnamed], "pointers and boxes do not tell theirs");
    assert_eq!([&told[4], &told[5]], [&[this], &["serve"]]);
    assert_eq!(told[6], [this, ""], "the timer behind a promise is the loop's own");
    assert_eq!(of(first).next().unwrap().label(), format!("expire (loop/engine/tests/probe.rs:{first})"));
    assert!(values.sites.iter().any(|site| site.name == "Cache::warm"), "{:?}", values.sites);
}

#[test]
fn two_functions_at_one_place_are_two_sites_and_two_closures_of_one_function_are_two() {
    let values = profile(|cx| {
        after_a_while(cx, expire);
        after_a_while(cx, evict);
        after_a_while(cx, evict);
        cx.after(ms(1), |_| {});
        cx.after(ms(1), |_| {});
    });
    let timers = || values.sites.iter().filter(|site| site.kind == Kind::Timer);
    let named = |name: &str| timers().filter(|site| site.name == name).count();
    assert_eq!(["expire", "evict"].map(named), [1, 1]);
    let this = "two_functions_at_one_place_are_two_sites_and_two_closures_of_one_function_are_two";
    // A page has room for 64 bytes of a name.
    assert_eq!(named(&this[..64]), 2);
}

#[test]
fn a_panic_is_counted_under_its_kind() {
    let mut event_loop = Loop::builder(()).virtual_time().build().unwrap();
    event_loop.main(|cx| {
        cx.immediate(|_| panic!("counted"));
        cx.work(|| panic!("counted by the pool"), |_, result: Result<(), _>| assert!(result.is_err()));
    });
    event_loop.run(Mode::Default).unwrap();
    let values = snapshot(&event_loop);
    assert_eq!(values.errors[Kind::Immediate.index()], 1);
    assert_eq!(values.pool.unwrap().failed[WorkKind::User.index()], 1);
}

#[test]
fn a_loop_without_a_probe_has_no_page() {
    let mut event_loop = Loop::builder(()).probe(false).virtual_time().build().unwrap();
    event_loop.main(|cx| cx.immediate(|cx| cx.next_tick(|_| {})));
    assert!(!event_loop.run(Mode::Default).unwrap());
    assert!(event_loop.page().is_none() && event_loop.page_clock().is_none());
}

#[test]
fn every_pool_job_is_recorded_with_its_worker_and_its_times() {
    let mut event_loop = Loop::builder(()).name("jobs").pool_threads(2).virtual_time().build().unwrap();
    event_loop.main(|cx| {
        for _ in 0..3 {
            cx.work_kind(WorkKind::Zlib, || take(ms(5)), |_, _| {});
        }
        cx.work(|| -> () { panic!("as a job may") }, |_, _| {});
    });
    event_loop.run(Mode::Default).unwrap();
    let page = event_loop.page().unwrap();
    let jobs = page.jobs(0);
    let told: Vec<_> = jobs.iter().map(|job| (job.kind, job.worker, job.is_ok)).collect();
    let zlib = |worker| (WorkKind::Zlib, worker, true);
    assert_eq!(told, [zlib(0), zlib(1), (WorkKind::User, 1, false), zlib(0)]);
    assert!(jobs.iter().all(|job| job.submitted <= job.started && job.started <= job.ended));
    assert_eq!(page.sites().read_one(jobs[0].site).unwrap().kind, Kind::WorkDone);
}

#[test]
fn a_pool_job_that_runs_tells_its_thread() {
    let mut event_loop = Loop::builder(Vec::new()).name("job threads").pool_threads(1).build().unwrap();
    event_loop.main(|cx| {
        let look = || {
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            let own: u32 = own.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let page = registry::pages().into_iter().find(|page| page.page().loop_name() == "job threads");
            page.unwrap().page().jobs_now().into_iter().map(|job| (job.tid, own)).collect()
        };
        cx.work(look, |cx, told: Result<Vec<_>, _>| *cx.state = told.unwrap());
    });
    event_loop.run(Mode::Default).unwrap();
    let told = event_loop.into_state();
    assert!(matches!(told[..], [(Some(tid), own)] if tid == own), "{told:?}");
}

#[test]
fn a_poll_begins_where_the_only_callback_before_it_ended() {
    fn again(cx: &mut Cx<'_, u32>) {
        *cx.state -= 1;
        if *cx.state > 0 {
            cx.immediate(again);
        }
    }
    let mut event_loop = Loop::builder(100).build().unwrap();
    event_loop.main(again);
    assert!(!event_loop.run(Mode::Default).unwrap());
    let page = event_loop.page().unwrap();
    let (records, iterations) = (page.records(0), page.iterations(0));
    let immediates = records.iter().filter(|record| record.kind == Kind::Immediate);
    // The last that begins with it: of one in which nothing ran, the next has the same first record.
    let of = |number| iterations.iter().rfind(|iteration| iteration.first_record == number);
    let pairs: Vec<_> = immediates.map(|record| (record, of(record.number).unwrap())).collect();
    assert!(pairs.len() == 99 && pairs.iter().all(|(record, iteration)| record.end <= iteration.end));
    // Twice a millisecond the loop looks at another clock, and reads this one once more.
    let at_once = pairs.iter().filter(|(record, iteration)| record.end == iteration.end).count();
    assert!(at_once > 50, "{at_once} of 99");
}
