//! What captures tell of a stall beside its stack: that the thread waits for another one because the program wants that, and what only
//! looks like it; that it does the loop's work no more; and which job of a queue it is at.

use super::*;

/// A drain whose number of jobs nobody knows, in which the thread sleeps. Found, and its stack is on its way.
fn asleep_in_a_drain(runtime: &Description) -> Bench {
    let mut bench = Bench::of(runtime, 10);
    bench.tell(|told| told.refusal = None);
    bench.sleep();
    let queue = bench.site(Kind::Microtask, "queue");
    bench.writer.unpark(1);
    bench.look();
    bench.writer.drain_begin(Queue::Microtask, 1);
    bench.writer.begin_many(Kind::Microtask, queue);
    bench.pass(101);
    bench.look();
    bench.deliver();
    bench
}

fn with_waits() -> Description {
    let runtime = Description::new().sign(Sign::ThreadWait, "Sleep::for_other");
    runtime.term(Term::ThreadWait, "Thread.wait", "").remedy(Trouble::ThreadWait, "wait otherwise")
}

impl Bench {
    fn sleep(&self) {
        let (state, waiting_in) = (Some(FoundState::Asleep), Some("futex(wait at 0x10)".to_owned()));
        self.tell(|told| told.found = Found { state, waiting_in, ..Found::default() });
    }

    /// The stack that was asked for arrives.
    fn deliver(&mut self) {
        let shot = Shot { busy_since: Some(self.writer.page().busy_since()), sample: None };
        self.tell(|told| told.shot = Some(shot));
        self.look();
    }

    /// Its native frames have names, in all of which the thread waits for another one, or in none.
    fn name(&mut self, age_ms: u64, is_thread_wait: bool) {
        let fingerprint = if is_thread_wait { "wait" } else { "lock" }.to_owned();
        let frames =
            vec![loopscope_report::incident::Frame { function: fingerprint.clone(), ..Default::default() }];
        let (number, age_ns, is_final) = (1, age_ms * MS, true);
        let named =
            Named { number, age_ns, fingerprint, frames, is_final, is_thread_wait, ..Named::default() };
        assert!(self.tracker.named(&named, self.writer.page(), &mut self.queue));
        self.look();
    }

    /// The stall has lasted for another doubling, and its stack is on its way.
    fn double(&mut self, by_ms: u64) {
        self.pass(by_ms);
        self.look();
        self.deliver();
    }
}

#[test]
fn a_wait_for_another_thread_is_said_once_starves_nothing_and_is_not_critical() {
    let mut bench = asleep_in_a_drain(&with_waits());
    assert_eq!(bench.lines(), [""; 0], "the names of its stack are waited for");
    bench.name(101, true);
    let lines = bench.lines();
    assert!(lines.len() == 1 && lines[0].contains(" blocked for 101 ms by microtask queue"), "{lines:?}");
    assert!(lines[0].contains(", waiting in Thread.wait"), "{lines:?}");
    for (by_ms, age_ms) in [(107, 208), (208, 416), (414, 830), (825, 1655), (1650, 3305)] {
        bench.double(by_ms);
        bench.name(age_ms, true);
    }
    assert_eq!(bench.tracker.counts().captures[OK], 6, "each doubling has its stack");
    assert_eq!(bench.lines(), [""; 0]);
    let incident = bench.incident();
    assert_eq!((incident.kind, incident.severity), (IncidentKind::Stall, Severity::Warning));
    assert_eq!(incident.notes, ["wait otherwise"]);
    assert!(bench.tracker.critical().is_none());
    bench.writer.end_many(3);
    bench.writer.drain_end(Queue::Microtask, 3);
    bench.writer.park();
    bench.pass(5);
    bench.look();
    let lines = bench.lines();
    assert!(lines.len() == 1 && lines[0].contains("; it was blocked by microtask queue"), "{lines:?}");
}

#[test]
fn what_a_thread_does_between_two_such_waits_is_said() {
    // It sleeps in the same call for a lock, or it computes.
    for is_asleep in [true, false] {
        let mut bench = asleep_in_a_drain(&with_waits());
        bench.name(101, true);
        assert_eq!(bench.lines().len(), 1);
        if !is_asleep {
            bench.tell(|told| told.found = Found { state: Some(FoundState::Ready), ..Found::default() });
        }
        bench.double(107);
        assert_eq!(bench.lines().len(), usize::from(!is_asleep), "of a sleeper the names are waited for");
        bench.name(208, false);
        assert_eq!(bench.lines().len(), usize::from(is_asleep));
        bench.double(1000);
        bench.name(1208, false);
        let lines = bench.lines();
        assert!(
            lines.len() == 1 && lines[0].contains("still blocked for 1.2 s by microtask queue ("),
            "{lines:?}"
        );
        assert_eq!(bench.incident().severity, Severity::Critical);
        assert_ne!(bench.incident().waiting_in.as_deref(), Some("Thread.wait"));
    }
}

#[test]
fn names_that_do_not_come_and_runtimes_without_such_waits_hold_no_line_up() {
    let mut bench = asleep_in_a_drain(&with_waits());
    bench.name(101, true);
    bench.lines();
    bench.double(107);
    bench.pass(NAMES_WITHIN_NS / MS);
    bench.name(208, false);
    assert_eq!(bench.lines().len(), 1);
    let mut bench = asleep_in_a_drain(&Description::new());
    bench.name(101, false);
    let line = bench.lines().remove(0);
    assert!(
        line.contains("blocked for 101 ms by microtask queue (") && line.contains("(one or many jobs)"),
        "{line}"
    );
    bench.double(107);
    assert_eq!(bench.lines().len(), 1, "at once");
}

/// As after Tokio's `block_in_place`: what the thread does meanwhile is nothing of the loop's.
#[test]
fn what_a_thread_does_that_gave_the_loop_to_another_one_is_not_told() {
    let mut bench = asleep_in_a_drain(&Description::new());
    assert!(bench.incident().waiting_in.is_some());
    let frames =
        vec![loopscope_report::incident::Frame { function: "compress".into(), ..Default::default() }];
    let named = Named {
        number: 1,
        age_ns: 101 * MS,
        frames,
        is_final: true,
        handed_over_in: Some("rt::task::in_place".to_owned()),
        ..Named::default()
    };
    assert!(bench.tracker.named(&named, bench.writer.page(), &mut bench.queue));
    for _ in 0..2 {
        bench.look();
        let incident = bench.incident();
        assert_eq!((incident.class, &incident.waiting_in), (Class::Unknown, &None));
        assert_eq!((incident.watched_ns, incident.cpu_ns, incident.stacks.len()), (0, 0, 0));
        let why = [
            "the thread has given this loop to another one, in rt::task::in_place: what that one does is not known",
        ];
        assert_eq!(incident.captures_failed, why);
        // It is found asleep again.
        bench.pass(107);
    }
}

/// As of Node's queues: the page has no number of jobs while they run, and captures find the same one again, or others.
#[test]
fn a_job_that_captures_find_for_longer_than_the_threshold_blocks_alone() {
    for (jobs, kind, words, captured) in [
        ([7, 7], IncidentKind::Stall, "blocked for 415 ms by microtask queue (", 1),
        ([7, 8], IncidentKind::Starvation, "starved for 415 ms by microtasks", 2),
    ] {
        let mut bench = asleep_in_a_drain(&Description::new());
        for (job, age_ms) in jobs.into_iter().zip([101, 208]) {
            let frames =
                vec![loopscope_report::incident::Frame { function: "parse".into(), ..Default::default() }];
            let (number, age_ns, is_final, job) = (1, age_ms * MS, true, Some(job));
            let named = Named { number, age_ns, frames, is_final, job, ..Named::default() };
            assert!(bench.tracker.named(&named, bench.writer.page(), &mut bench.queue));
            bench.look();
            let lines = bench.lines().join("\n");
            assert!(age_ms > 101 || lines.contains("blocked for 101 ms by"), "{lines}");
            assert!(age_ms > 101 || lines.contains("(one or many jobs)"), "{lines}");
            bench.double(107);
        }
        bench.double(100);
        let incident = bench.incident();
        assert_eq!((incident.kind, incident.jobs_captured), (kind, Some(captured)));
        let line = bench.lines().pop().unwrap();
        assert!(line.contains(words) && !line.contains("one or many"), "{line}");
    }
}
