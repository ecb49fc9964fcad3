//! Programs that end, or wait too short, where a capture interrupts one of their system calls.
//!
//! `interrupted polls BLOCKS`: raw mio loops side by side that take `EINTR` for an error, blocked until about the
//! moments at which the agent looks; `interrupted fenced BLOCKS` without the kernel's `membarrier`.
//! `interrupted calls MS`: each call that no signal may meet, for so long, inside a callback.
//! `interrupted race SECONDS`: callbacks that alternate a millisecond of work and one of each call. All of them are
//! sampled at 997 Hz meanwhile. Prints what was seen as one line of JSON.

use loopscope_agent::{Agent, Listen};
use loopscope_probe::{Kind, TaskTimes, Writer};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shortest threshold that there can be.
const THRESHOLD: Duration = Duration::from_millis(2);
const LOOPS: u64 = 3;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (case, number) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let number: u64 = number.parse().expect("a number");
    let early = (case == "fenced").then(|| {
        forbid_membarrier();
        early_loop(number)
    });
    let agent = Agent::builder()
        .listen(Listen::Exactly(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
        .thresholds(THRESHOLD, Duration::from_secs(30))
        .captures_per_second(u32::MAX);
    let agent = agent.start().expect("the first agent of this process");
    let address = agent.address().expect("it listens");
    let seen = match case.as_str() {
        "polls" | "fenced" => sampled(address, "cpu", || polls(number)),
        "calls" => sampled(address, "waits", || calls(Duration::from_millis(number))),
        "race" => sampled(address, "cpu", || race(Duration::from_secs(number))),
        other => panic!("no case {other:?}; there are: polls, fenced, calls, race"),
    };
    if let Some(early) = early {
        early.join().expect("it does not panic").expect("a loop that was there before the agent polls on");
    }
    println!("{seen}");
}

/// A loop that is there before the agent, and always busy or about to be. Returns when it has polled.
fn early_loop(blocks: u64) -> std::thread::JoinHandle<std::io::Result<()>> {
    let polls = Arc::new(AtomicU64::new(0));
    let theirs = polls.clone();
    let thread = std::thread::spawn(move || polling(LOOPS, blocks, &theirs));
    while polls.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    thread
}

/// Does the work while the loops are sampled, and adds what the agent found to what it returns.
fn sampled(address: SocketAddr, of: &str, work: impl FnOnce() -> Value) -> Value {
    let is_over = Arc::new(AtomicBool::new(false));
    let of = of.to_owned();
    let theirs = is_over.clone();
    let sampling = std::thread::spawn(move || {
        let mut bytes = 0;
        while !theirs.load(Ordering::Relaxed) {
            bytes +=
                get(address, &format!("/debug/loopscope/flamegraph?of={of}&hz=997&seconds=1&format=folded"))
                    .len();
        }
        bytes
    });
    let mut seen = work();
    seen["caught_signals"] = json!(caught_signals());
    seen["metrics"] = json!(get(address, "/metrics"));
    let incidents = || {
        let list = get(address, "/debug/loopscope/incidents");
        serde_json::from_str::<Vec<Value>>(&list).expect("a list")
    };
    let whole = |incident: &Value| -> Value {
        let id = incident["id"].as_str().expect("each has an id");
        serde_json::from_str(&get(address, &format!("/debug/loopscope/incidents/{id}"))).expect("an incident")
    };
    // Stacks are named one after the other: what has no names yet has no stack.
    let has_outcome = |incident: Value| {
        let count = |list: &str| incident[list].as_array().map_or(0, Vec::len);
        incident["was_missed"] == true || count("stacks") + count("captures_failed") > 0
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline
        && !incidents().iter().take(8).all(|incident| has_outcome(whole(incident)))
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    let list = incidents();
    seen["incidents"] = list.iter().map(whole).collect::<Vec<Value>>().into();
    is_over.store(true, Ordering::Relaxed);
    seen["profile_bytes"] = json!(sampling.join().expect("it only asks"));
    seen
}

/// Makes the kernel refuse `membarrier` to this process, as a container's filter may.
fn forbid_membarrier() {
    let filter = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filters = [
        // The number of the call; that of membarrier is refused, all others are allowed.
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_membarrier as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_mut_ptr() };
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program and its filters are live during the call.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(set, 0);
    // SAFETY: takes numbers only.
    assert_eq!(unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) }, -1);
}

/// Returns the signals that this process handles, as the kernel tells them.
fn caught_signals() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    line.expect("every kernel tells").trim().to_owned()
}

/// Loops of which each ends its program where a poll fails.
fn polls(blocks: u64) -> Value {
    let (polls, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for number in 0..LOOPS {
            let (polls, failed) = (&polls, &failed);
            scope.spawn(move || {
                if let Err(error) = polling(number, blocks, polls) {
                    eprintln!("loop {number} ended: {error}");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    json!({ "polls": polls.into_inner(), "ended_loops": failed.into_inner(), "blocks": blocks * LOOPS })
}

fn polling(number: u64, blocks: u64, polls: &AtomicU64) -> std::io::Result<()> {
    let mut poll = mio::Poll::new()?;
    let mut events = mio::Events::with_capacity(8);
    let mut writer = Writer::builder(&format!("raw-{number}")).build();
    let site = writer.site(Location::caller(), Kind::Timer);
    writer.resume();
    for block in 0..blocks {
        // At, before and after the ages at which the agent looks: the threshold, and a little after 2, 4 and 8 thresholds.
        let around = Duration::from_micros((block * 7 + number * 13) % 40 * 10);
        let times = 1 << (block % 4);
        let looked_at = THRESHOLD * times + if times > 1 { THRESHOLD * times / 32 } else { Duration::ZERO };
        let block = looked_at + around - Duration::from_micros(200);
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        spin(block);
        writer.end();
        writer.park();
        // Long enough for a late signal to meet it.
        let polled = poll.poll(&mut events, Some(Duration::from_millis(2)));
        writer.unpark(0);
        polls.fetch_add(1, Ordering::Relaxed);
        polled?;
    }
    writer.suspend();
    Ok(())
}

fn spin(length: Duration) {
    let end = Instant::now() + length;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// A call that a signal ends early: its name, and what it answers after so long; the answer of one that was not ended.
type Call = (&'static str, fn(Duration) -> i64, i64);

const CALLS: [Call; 8] = [
    ("poll", blocked_in_poll, 0),
    ("select", blocked_in_select, 0),
    ("epoll_wait", blocked_in_epoll_wait, 0),
    ("nanosleep", blocked_in_nanosleep, 0),
    ("usleep", blocked_in_usleep, 0),
    ("sleep", blocked_in_sleep, 0),
    ("recv", blocked_in_recv, -(libc::EAGAIN as i64)),
    ("sem_timedwait", blocked_in_sem_timedwait, -(libc::ETIMEDOUT as i64)),
];

/// Each call once, in a callback of its own.
fn calls(length: Duration) -> Value {
    let mut writer = Writer::builder("calls").build();
    writer.resume();
    let mut answers = Vec::new();
    for (name, call, answer) in CALLS {
        let site = writer.named_site(Location::caller(), Kind::Timer, name);
        // sleep(3) knows whole seconds only.
        let length = if name == "sleep" { Duration::from_secs(length.as_secs().max(1)) } else { length };
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        let begin = Instant::now();
        let answered = call(length);
        let lasted = begin.elapsed();
        writer.end();
        writer.park();
        std::thread::sleep(Duration::from_millis(20));
        writer.unpark(0);
        answers.push(json!({
            "call": name,
            "is_whole": answered == answer && lasted >= length,
            "answer": answered,
            "asked_ns": length.as_nanos() as u64,
            "lasted_ns": lasted.as_nanos() as u64,
        }));
    }
    writer.suspend();
    json!({ "answers": answers })
}

/// Alternates a millisecond of work and one of each call, and counts the calls that were ended early.
fn race(length: Duration) -> Value {
    const MILLISECOND: Duration = Duration::from_millis(1);
    let mut writer = Writer::builder("race").build();
    writer.resume();
    let site = writer.named_site(Location::caller(), Kind::Timer, "race");
    let (mut made, mut ended) = ([0_u64; CALLS.len()], [0_u64; CALLS.len()]);
    let end = Instant::now() + length;
    while Instant::now() < end {
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        for (index, (name, call, answer)) in CALLS.into_iter().enumerate().cycle().take(50) {
            if name == "sleep" {
                continue;
            }
            spin(MILLISECOND);
            made[index] += 1;
            ended[index] += u64::from(call(MILLISECOND) != answer);
        }
        writer.end();
        writer.park();
        writer.unpark(0);
    }
    writer.suspend();
    let names = CALLS.iter().map(|(name, ..)| *name);
    let calls: Vec<Value> =
        names.zip(made).zip(ended).map(|((name, made), ended)| json!([name, made, ended])).collect();
    json!({ "calls": calls, "made": made.iter().sum::<u64>(), "ended": ended.iter().sum::<u64>() })
}

/// The answer, or the number of the error with a minus.
fn answer(answered: libc::c_long) -> i64 {
    match answered {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        answered => answered,
    }
}

fn milliseconds(length: Duration) -> i32 {
    length.as_millis() as i32
}

#[inline(never)]
fn blocked_in_poll(length: Duration) -> i64 {
    // SAFETY: there are no descriptors to read.
    answer(unsafe { libc::poll(std::ptr::null_mut(), 0, milliseconds(length)) }.into())
}

#[inline(never)]
fn blocked_in_select(length: Duration) -> i64 {
    let nothing = std::ptr::null_mut();
    let mut limit = libc::timeval {
        tv_sec: length.as_secs() as libc::time_t,
        tv_usec: length.subsec_micros() as libc::suseconds_t,
    };
    // SAFETY: there are no sets, and the limit is a live timeval.
    answer(unsafe { libc::select(0, nothing, nothing, nothing, &mut limit) }.into())
}

#[inline(never)]
fn blocked_in_epoll_wait(length: Duration) -> i64 {
    // SAFETY: takes flags only.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: there is room for the one event.
    let answered = answer(unsafe { libc::epoll_wait(epoll, &mut event, 1, milliseconds(length)) }.into());
    // SAFETY: the descriptor was made above, and is used no more.
    unsafe { libc::close(epoll) };
    answered
}

#[inline(never)]
fn blocked_in_nanosleep(length: Duration) -> i64 {
    let time = time(length);
    // SAFETY: the time is live, and what is left is not asked for.
    answer(unsafe { libc::nanosleep(&time, std::ptr::null_mut()) }.into())
}

#[inline(never)]
fn blocked_in_usleep(length: Duration) -> i64 {
    // SAFETY: takes a number only.
    answer(unsafe { libc::usleep(length.as_micros() as libc::c_uint) }.into())
}

#[inline(never)]
fn blocked_in_sleep(length: Duration) -> i64 {
    // SAFETY: takes a number only.
    unsafe { libc::sleep(length.as_secs() as libc::c_uint) }.into()
}

#[inline(never)]
fn blocked_in_recv(length: Duration) -> i64 {
    let (socket, _peer) = UnixStream::pair().expect("a pair of sockets");
    socket.set_read_timeout(Some(length)).expect("the time is not zero");
    let mut byte = 0_u8;
    // SAFETY: there is room for the one byte.
    answer(unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, 0) } as libc::c_long)
}

#[inline(never)]
fn blocked_in_sem_timedwait(length: Duration) -> i64 {
    let mut semaphore = std::mem::MaybeUninit::<libc::sem_t>::uninit();
    // SAFETY: `semaphore` is room for what the call initializes.
    unsafe { libc::sem_init(semaphore.as_mut_ptr(), 0, 0) };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let until = time(now + length);
    // SAFETY: the semaphore was initialized above, stays where it is, and the time is live.
    answer(unsafe { libc::sem_timedwait(semaphore.as_mut_ptr(), &until) }.into())
}

fn time(length: Duration) -> libc::timespec {
    libc::timespec { tv_sec: length.as_secs() as libc::time_t, tv_nsec: length.subsec_nanos().into() }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the agent listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the agent reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the agent answers");
    let answer = String::from_utf8_lossy(&answer);
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}
