//! Sessions over a real loop thread of a test's own.

use super::*;
use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, Phase, Queue, TaskTimes, Writer};
use loopscope_report::profiles::Format;
use std::io::{Read, Write};
use std::panic::Location;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

/// A deadline only to fail.
const DEADLINE: Duration = Duration::from_secs(60);

/// A loop on a thread of its own that runs one callback until told to end.
struct Blocked {
    end: Option<std::io::PipeWriter>,
    thread: Option<std::thread::JoinHandle<()>>,
    begun: Receiver<()>,
}

impl Blocked {
    fn start(name: &'static str, work: fn(&mut std::io::PipeReader)) -> Blocked {
        let (mut until, end) = std::io::pipe().unwrap();
        let (say, begun) = channel();
        let thread = std::thread::spawn(move || {
            let mut writer = Writer::builder(name).build();
            writer.resume();
            let site = writer.named_site(Location::caller(), Kind::Timer, "guilty");
            writer.phase(Phase::TIMERS);
            writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
            say.send(()).unwrap();
            work(&mut until);
            writer.end();
        });
        Blocked { end: Some(end), thread: Some(thread), begun }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = self.end.take().unwrap().write_all(&[1]);
        let _ = self.thread.take().unwrap().join();
    }
}

#[inline(never)]
fn read_a_pipe(until: &mut std::io::PipeReader) {
    let mut byte = [0];
    until.read_exact(&mut byte).unwrap();
}

#[inline(never)]
fn count_primes(until: &mut std::io::PipeReader) {
    // The other end hangs up or writes; a thread that waits for that tells this one.
    let (is_over, said) =
        (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), until.try_clone().unwrap());
    let (told, mut said) = (is_over.clone(), said);
    let waiter = std::thread::spawn(move || {
        let _ = said.read(&mut [0]);
        told.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut number = 3_u64;
    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
        number +=
            std::hint::black_box((2..200).filter(|divisor| number.is_multiple_of(*divisor)).count() as u64)
                + 1;
    }
    waiter.join().unwrap();
}

/// Samples the named loop until something was found.
fn sample(of: Of, name: &str) -> Profile {
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let plan = Plan { of, length: Duration::from_millis(500), hz: 199, loop_name: Some(name.to_owned()) };
        let (send, result) = sync_channel(1);
        let _session =
            start(plan, AddressSources::default(), move |profile| send.send(profile).unwrap()).unwrap();
        let profile = result.recv_timeout(DEADLINE).unwrap().unwrap();
        if !profile.is_empty() || std::time::Instant::now() > deadline {
            return profile;
        }
    }
}

#[test]
fn a_computing_callback_is_found_on_the_processor_and_not_waiting() {
    let blocked = Blocked::start("computes", count_primes);
    blocked.begun.recv_timeout(DEADLINE).unwrap();
    let profile = sample(Of::Cpu, "computes");
    let folded = profile.folded();
    assert!(folded.starts_with("computes;timers;guilty ("), "{folded}");
    assert!(folded.contains("count_primes"), "{folded}");
    let (total_ns, lasted_ns) = (profile.total_ns(), profile.lasted_ns);
    assert!(total_ns <= lasted_ns + 50_000_000, "{total_ns} of {lasted_ns} ns");
    assert!(profile.moments().windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));
    for format in [Format::Svg, Format::Pprof, Format::Speedscope, Format::Firefox] {
        assert!(!profile.write(format, "t").unwrap().is_empty());
    }
}

/// Two callbacks in turn, each of which leaves a job of its own to be drained, until told to end.
fn drain_in_turn(is_over: &AtomicBool) {
    let mut writer = Writer::builder("drains").build();
    writer.resume();
    let mut site = |kind, name| writer.named_site(Location::caller(), kind, name);
    let turns = ["first", "second"].map(|name| site(Kind::Timer, name));
    let jobs = ["job_of_first", "job_of_second"].map(|name| site(Kind::Microtask, name));
    writer.phase(Phase::TIMERS);
    let clock = Clock::monotonic();
    let spin = |ns| {
        let begin = clock.now();
        while clock.ns_between(begin, clock.now()) < ns {}
    };
    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
        for (turn, job) in turns.into_iter().zip(jobs) {
            writer.begin(Kind::Timer, turn, TaskTimes::UNKNOWN);
            spin(5_000);
            writer.end();
            writer.drain_begin(Queue::Microtask, 1);
            writer.begin(Kind::Microtask, job, TaskTimes::UNKNOWN);
            spin(30_000);
            writer.end();
            writer.drain_end(Queue::Microtask, 1);
            writer.drained();
        }
    }
}

/// A sample is counted some time after it was taken: meanwhile the loop drains what another one has left.
#[test]
fn a_drained_job_is_told_below_the_callback_that_left_it() {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| drain_in_turn(&is_over));
        let deadline = std::time::Instant::now() + DEADLINE;
        let mut folded = String::new();
        while folded.matches("microtask").count() < 2 && std::time::Instant::now() < deadline {
            folded += &sample(Of::Cpu, "drains").folded();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        for (turn, job) in [(";first (", "job_of_first"), (";second (", "job_of_second")] {
            assert!(folded.lines().any(|line| line.contains(turn) && line.contains(job)), "{folded}");
        }
        for line in folded.lines() {
            let is_wrong = |turn: &str, job: &str| line.contains(turn) && line.contains(job);
            assert!(
                !is_wrong(";first (", "job_of_second") && !is_wrong(";second (", "job_of_first"),
                "{line}"
            );
        }
    });
}

#[test]
fn a_waiting_callback_is_found_with_what_it_waits_in_and_not_on_the_processor() {
    let blocked = Blocked::start("waits", read_a_pipe);
    blocked.begun.recv_timeout(DEADLINE).unwrap();
    let profile = sample(Of::Waits, "waits");
    let folded = profile.folded();
    assert!(folded.contains("read_a_pipe") && folded.contains("waits;timers;guilty ("), "{folded}");
    assert!(folded.contains(";[read(fd ") && folded.contains("pipe:["), "{folded}");
    let plan = Plan {
        of: Of::Cpu,
        length: Duration::from_millis(300),
        hz: 199,
        loop_name: Some("waits".to_owned()),
    };
    let (_stop, stopped) = channel();
    let cpu = run(&plan, AddressSources::default(), &stopped).unwrap();
    assert!(cpu.total_ns() < 20_000_000, "{}", cpu.folded());
}

#[test]
fn a_stall_is_sampled_beyond_the_threshold() {
    let blocked = Blocked::start("stalls", read_a_pipe);
    blocked.begun.recv_timeout(DEADLINE).unwrap();
    let profile = sample(Of::Stalls, "stalls");
    assert!(profile.folded().contains("read_a_pipe"), "{}", profile.folded());
}

#[test]
fn what_ran_and_could_not_be_sampled_safely_is_not_told_as_nothing() {
    let blocked = Blocked::start("kept out", count_primes);
    blocked.begun.recv_timeout(DEADLINE).unwrap();
    let page = registry::pages().into_iter().find(|page| page.page().loop_name() == "kept out").unwrap();
    barrier::of_agent();
    // Another capture of the same thread, for as long as the session lasts.
    let _wanted = page.gate().want().unwrap();
    let plan = Plan {
        of: Of::Cpu,
        length: Duration::from_millis(300),
        hz: 199,
        loop_name: Some("kept out".to_owned()),
    };
    let (_stop, stopped) = channel();
    let profile = run(&plan, AddressSources::default(), &stopped).unwrap();
    assert!(profile.is_empty());
    let told = profile.write_sampled(Format::Svg, "t").unwrap_err().to_string();
    assert!(told.starts_with("nothing to draw, no stack was captured: "), "{told}");
    assert!(told.contains(" on CPU have no stack, because a signal might"), "{told}");
    assert!(told.contains("other captures were in progress"), "{told}");
}

#[test]
fn a_dropped_session_ends_at_once() {
    let plan =
        Plan { of: Of::Cpu, length: Duration::from_secs(3600), hz: 49, loop_name: Some("none".to_owned()) };
    let (send, result) = sync_channel(1);
    let session = start(plan, AddressSources::default(), move |profile| send.send(profile).unwrap()).unwrap();
    drop(session);
    assert!(result.recv_timeout(DEADLINE).unwrap().unwrap().is_empty());
}
