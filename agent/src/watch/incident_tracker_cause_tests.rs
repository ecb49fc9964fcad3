//! What the time of a stall went to, from the first look to the last word, and how loud its lines are.

use super::*;
use crate::watch::log_report::Level;

/// A callback that has run for 102 ms, at which nobody has looked yet.
fn running(kind: Kind, name: &str) -> Bench {
    let mut bench = Bench::new(10);
    let site = bench.site(kind, name);
    bench.writer.unpark(1);
    bench.look();
    bench.begin(kind, site);
    bench.pass(102);
    bench
}

/// The same, which has just been found, of a thread that was found like this.
fn stalled(found: FoundState, tell: impl FnOnce(&mut Told)) -> Bench {
    let mut bench = running(Kind::Timer, "t");
    bench.tell(|told| {
        told.found.state = Some(found);
        tell(told);
    });
    bench.look();
    bench
}

#[test]
fn a_thread_whose_wait_for_a_processor_has_not_ended_is_starved_and_told_with_its_figures_at_the_end() {
    // A quota of 10 ms in 100: the wait that is under way is in no account.
    let mut bench = stalled(FoundState::Ready, |told| told.cpu_ns += 10 * MS);
    let open = bench.incident();
    assert_eq!((open.class, open.cpu_ns, open.runqueue_ns), (Class::StarvedOfCpu, 10 * MS, 0));
    let line = bench.lines().remove(0);
    assert!(line.contains(", starved of CPU: runnable but not scheduled ["), "{line}");
    // It went on for 3 ms more, and the wait was counted.
    bench.pass(3);
    bench.tell(|told| (told.cpu_ns, told.runqueue_ns) = (told.cpu_ns + 3 * MS, told.runqueue_ns + 92 * MS));
    bench.finish();
    let closed = bench.incident();
    assert_eq!((closed.class, closed.duration_ns), (Class::StarvedOfCpu, 105 * MS));
    assert_eq!((closed.watched_ns, closed.cpu_ns, closed.runqueue_ns), (105 * MS, 13 * MS, 92 * MS));
    let line = bench.lines().remove(0);
    assert!(line.contains(", starved of CPU: runnable but not scheduled for 92 ms ["), "{line}");
}

#[test]
fn what_a_thread_did_is_judged_again_at_the_end_of_the_stall() {
    // It ran when it was looked at, and whether it had slept was not known. It had: the second look found it asleep.
    let mut bench = stalled(FoundState::OnProcessor, |told| told.cpu_ns += 7 * MS);
    assert_eq!(bench.incident().class, Class::Unknown);
    bench.pass(110);
    bench.tell(|told| told.found.state = Some(FoundState::Asleep));
    bench.look();
    bench.finish();
    let closed = bench.incident();
    assert_eq!((closed.class, closed.cpu_ns, closed.runqueue_ns), (Class::Waiting, 7 * MS, 0));
}

#[test]
fn what_a_stall_waits_in_is_the_first_call_that_it_was_found_in() {
    let waits_in = |call: &str| Some(call.to_owned());
    let mut bench = stalled(FoundState::Asleep, |told| told.found.waiting_in = waits_in("read(fd 3)"));
    // The next look falls on the end of the stall, and finds the thread in its poll.
    bench.pass(110);
    bench.tell(|told| told.found.waiting_in = waits_in("epoll_wait(fd 4)"));
    bench.look();
    bench.finish();
    let closed = bench.incident();
    assert_eq!((closed.class, closed.waiting_in), (Class::Waiting, waits_in("read(fd 3)")));
}

#[test]
fn a_flood_with_time_in_no_account_is_not_told_to_wait() {
    // A hypervisor took the processor away: 174 of 300 ms are counted nowhere, and no look found the thread asleep.
    let mut bench = stalled(FoundState::OnProcessor, |told| told.cpu_ns += 50 * MS);
    bench.pass(198);
    bench.tell(|told| (told.cpu_ns, told.runqueue_ns) = (told.cpu_ns + 40 * MS, told.runqueue_ns + 36 * MS));
    bench.finish();
    let closed = bench.incident();
    assert_eq!(
        (closed.class, closed.duration_ns, closed.unaccounted_ns()),
        (Class::Unknown, 300 * MS, 174 * MS)
    );
    let line = bench.lines().pop().unwrap();
    assert!(line.contains(", on CPU for 90 ms, 174 ms not accounted for ["), "{line}");
}

#[test]
fn a_thread_that_sleeps_in_its_poll_after_the_stall_was_not_asleep_in_it() {
    let mut bench = running(Kind::Microtask, "again");
    bench.tell(|told| {
        told.cpu_ns += 40 * MS;
        told.found.state = Some(FoundState::Asleep);
        told.found.waiting_in = Some("epoll_wait(fd 3)".to_owned());
    });
    // The stall ends between the two things that a look reads.
    let (taken, vitals) = bench.vitals();
    bench.writer.end();
    bench.writer.park();
    bench.look_as_of(taken, vitals);
    bench.look();
    let closed = bench.incident();
    assert!(closed.is_over);
    assert_eq!((closed.class, closed.waiting_in), (Class::Unknown, None));
}

#[test]
fn a_callback_that_computes_beyond_the_threshold_is_computing_whatever_it_was_starved_of() {
    let mut bench = stalled(FoundState::Ready, |told| told.cpu_ns += 10 * MS);
    assert_eq!(bench.incident().class, Class::StarvedOfCpu);
    // Under the quota it takes twelve hundred milliseconds for a hundred and twenty.
    bench.pass(1_098);
    bench.tell(|told| {
        (told.cpu_ns, told.runqueue_ns) = (told.cpu_ns + 110 * MS, told.runqueue_ns + 1_080 * MS)
    });
    bench.finish();
    let closed = bench.incident();
    assert_eq!((closed.class, closed.cpu_ns, closed.runqueue_ns), (Class::Computing, 120 * MS, 1_080 * MS));
}

#[test]
fn a_line_that_waited_for_names_tells_one_moment_and_is_as_loud_as_that() {
    let mut bench = stalled(FoundState::Ready, |told| {
        told.refusal = None;
        told.cpu_ns += 2 * MS;
        told.runqueue_ns += 100 * MS;
    });
    assert_eq!(bench.lines(), [""; 0], "it waits for the names");
    // The stall goes on and becomes critical, and its thread is starved on.
    bench.pass(110);
    bench.tell(|told| told.runqueue_ns += 110 * MS);
    bench.look();
    assert_eq!(bench.lines(), [""; 0], "and for those of its second stack");
    bench.pass(1_400);
    bench.tell(|told| told.runqueue_ns += 1_400 * MS);
    bench.finish();
    let said = std::mem::take(&mut bench.queue.said);
    let told: Vec<(Level, &str)> =
        said.iter().map(|report| (report.level, report.message.as_str())).collect();
    assert!(
        told[0].1.contains("blocked for 1.6 s") && told[0].1.contains("not scheduled for 1.6 s"),
        "{told:?}"
    );
    assert_eq!((told[0].0, told.last().unwrap().0), (Level::Error, Level::Info), "{told:?}");
}

#[test]
fn a_stall_that_is_not_critical_yet_is_a_warning_whatever_becomes_of_it() {
    let mut bench = stalled(FoundState::OnProcessor, |told| {
        told.refusal = None;
        told.cpu_ns += 102 * MS;
    });
    // It becomes critical while its names are on their way.
    bench.tracker.stall.as_mut().unwrap().builder.incident.severity = Severity::Critical;
    let named = Named { number: 1, is_final: true, ..Named::default() };
    assert!(bench.tracker.named(&named, bench.writer.page(), &mut bench.queue));
    bench.tracker.speak(bench.time.now_ns(), &mut bench.queue);
    let said = &bench.queue.said[0];
    assert!(said.message.contains("blocked for 102 ms"), "{}", said.message);
    assert_eq!(said.level, Level::Warn, "{}", said.message);
}

#[test]
fn a_debugger_that_is_attached_is_named() {
    let bench = stalled(FoundState::Ready, |told| told.found.tracer = Some("strace, pid 812".to_owned()));
    let incident = bench.incident();
    assert_eq!(incident.class, Class::Debugger);
    assert_eq!(incident.notes, ["a debugger or tracer was attached to the thread: strace, pid 812"]);
}

#[test]
fn a_full_pool_tells_what_its_longest_job_waits_in() {
    let mut bench = Bench::new(10);
    let site = bench.site(Kind::Job, "read");
    let mut pool = bench.writer.take_pool().unwrap();
    pool.threads(1);
    bench.look();
    let clock = pool.clock().clone();
    pool.submitted(WorkKind::Fs, clock.now());
    let started = pool.started(WorkKind::Fs, clock.now(), None);
    pool.runs_on(0, 4_711, WorkKind::Fs, site, started);
    pool.submitted(WorkKind::Fs, clock.now());
    bench.pass(120);
    bench.look();
    let incident = bench.incident();
    assert_eq!(incident.waiting_in.as_deref(), Some("read(fd 5 -> pipe:[81])"));
    let line = bench.lines().remove(0);
    // How much room there is depends on the pid.
    let [whole, short] = ["; the longest job is", "; longest job"];
    let told = |job: &str| line.contains(&format!("{job} waiting in read(fd 5 -> pipe:[81]) ["));
    assert!(told(whole) || told(short), "{line}");
}

#[test]
fn a_debugger_that_came_during_a_stall_and_let_go_when_it_ended_is_told_as_one() {
    let mut bench = stalled(FoundState::OnProcessor, |told| told.cpu_ns += 102 * MS);
    assert_eq!(bench.incident().class, Class::Computing);
    bench.pass(9_000);
    bench.gap = Gap { length_ns: 9_000 * MS, late_ns: 8_900 * MS, ..Gap::default() };
    bench.tell(|told| told.found.tracer = Some("gdb, pid 812".to_owned()));
    bench.finish();
    assert_eq!(bench.incident().class, Class::Debugger);
}
