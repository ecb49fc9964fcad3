//! Signals at the edges: a program that replaces itself, a user without room for queued signals, an alternate stack that
//! is too small. Each in a process of its own, which is this test program again.

mod support;

use loopscope_stacks::{CaptureError, CaptureSupport, Capturer, Target, prepare, readiness};
use std::io::Error;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};
use std::ptr;
use std::sync::mpsc;
use std::time::Duration;
use support::{WITHIN, until};

/// Tells the program which of the parts below to play, and a number for it.
const PART: &str = "LOOPSCOPE_STACKS_TEST_PART";

/// Times that the program replaces itself in a run of the tests; by hand 10,000 did.
const REPLACEMENTS: u32 = 200;

/// This program, told to play a part in one test.
fn again(test: &str, part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(PART, part);
    command
}

/// Plays a part in a new process, which must end well.
fn played(test: &str, part: &str) {
    ended_well(&again(test, part).output().unwrap());
}

fn ended_well(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), None, "a signal ended the program:\n{said}");
    assert!(output.status.success(), "{said}");
}

fn part() -> Option<String> {
    std::env::var(PART).ok()
}

#[test]
fn a_signal_on_its_way_does_not_end_the_program_that_replaces_this_one() {
    const NAME: &str = "a_signal_on_its_way_does_not_end_the_program_that_replaces_this_one";
    let Some(left) = part() else {
        let count = std::env::var("LOOPSCOPE_REPLACEMENTS").unwrap_or_else(|_| REPLACEMENTS.to_string());
        return played(NAME, &count);
    };
    be_replaced(NAME, left.parse().unwrap());
}

#[test]
fn nor_does_it_where_the_program_handles_sigurg_and_has_no_terminal() {
    const NAME: &str = "nor_does_it_where_the_program_handles_sigurg_and_has_no_terminal";
    let Some(left) = part() else {
        return without_terminal(again(NAME, &REPLACEMENTS.to_string()));
    };
    handle(libc::SIGURG);
    be_replaced(NAME, left.parse().unwrap());
}

/// Replaces this program by itself so many times, each time with captures on their way.
fn be_replaced(name: &str, left: u32) {
    if left == 0 {
        return;
    }
    assert!(matches!(prepare(), CaptureSupport::Ready { .. }));
    let (target, (told, is_asking)) = (Target::this_thread(), mpsc::channel());
    std::thread::spawn(move || {
        let mut capturer = Capturer::attach(target).unwrap();
        loop {
            // One that is not taken is still on its way when the program is replaced.
            let _ = capturer.ask();
            let _ = told.send(());
            let _ = capturer.take();
        }
    });
    is_asking.recv().unwrap();
    panic!("{}", again(name, &(left - 1).to_string()).exec());
}

/// Runs a program, which must end well, in a session of its own: it has no controlling terminal.
fn without_terminal(mut command: Command) {
    let leave = || {
        // SAFETY: takes nothing, and may be called between fork and exec; it fails for the leader of a group only.
        let session = unsafe { libc::setsid() };
        if session == -1 { Err(Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: `leave` makes one system call and allocates nothing.
    unsafe { command.pre_exec(leave) };
    let output = command.output().unwrap();
    ended_well(&output);
}

/// What a program in a session of its own chose; `signals` are those that it handles itself.
fn chosen_signal(signals: &[i32]) -> i32 {
    signals.iter().for_each(|signal| handle(*signal));
    let CaptureSupport::Ready { signal, .. } = prepare() else { panic!("{:?}", prepare()) };
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    assert!(!capturer.capture(WITHIN).unwrap().stack.is_empty());
    signal
}

#[test]
fn a_program_that_handles_sigurg_and_has_no_terminal_gets_sigwinch() {
    const NAME: &str = "a_program_that_handles_sigurg_and_has_no_terminal_gets_sigwinch";
    match part().as_deref() {
        None => ["urgent", "both"].into_iter().for_each(|part| without_terminal(again(NAME, part))),
        Some("urgent") => assert_eq!(chosen_signal(&[libc::SIGURG]), libc::SIGWINCH),
        Some(_) => assert!(chosen_signal(&[libc::SIGURG, libc::SIGWINCH]) > libc::SIGRTMIN()),
    }
}

#[test]
fn where_there_is_a_terminal_its_changes_of_size_meet_no_handler_of_ours() {
    const NAME: &str = "where_there_is_a_terminal_its_changes_of_size_meet_no_handler_of_ours";
    let Some(_) = part() else {
        return without_terminal(again(NAME, "1"));
    };
    let (mut main, mut terminal) = (0, 0);
    let (name, mode, size) = (ptr::null_mut(), ptr::null(), ptr::null());
    // SAFETY: there is room for the two descriptors, and nothing else is asked for or given.
    assert_eq!(unsafe { libc::openpty(&mut main, &mut terminal, name, mode, size) }, 0);
    // SAFETY: takes a descriptor and a number.
    assert_eq!(unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) }, 0, "{}", Error::last_os_error());
    // With a handler of ours, each change of the terminal's size would end a poll.
    assert!(chosen_signal(&[libc::SIGURG]) > libc::SIGRTMIN());
}

/// Limits how many signals this user may have queued.
fn limit_queued_signals(soft: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is room for what the call writes.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_SIGPENDING, &mut limit) }, 0);
    limit.rlim_cur = soft.min(limit.rlim_max);
    // SAFETY: the limit is initialized.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &limit) }, 0);
}

extern "C" fn the_programs_own(_signal: libc::c_int) {}

fn handle(signal: libc::c_int) {
    // SAFETY: zeros are a valid action: no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = the_programs_own as *const () as usize;
    // SAFETY: the action is initialized.
    assert_eq!(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }, 0);
}

#[test]
fn captures_need_no_room_for_queued_signals() {
    const NAME: &str = "captures_need_no_room_for_queued_signals";
    if part().is_none() {
        return played(NAME, "1");
    }
    limit_queued_signals(0);
    assert!(prepare().is_full(), "{:?}", prepare());
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    assert!(!capturer.capture(WITHIN).unwrap().stack.is_empty());
}

#[test]
fn without_room_for_queued_signals_a_real_time_signal_is_tried_again_later() {
    const NAME: &str = "without_room_for_queued_signals_a_real_time_signal_is_tried_again_later";
    if part().is_none() {
        return played(NAME, "1");
    }
    [libc::SIGURG, libc::SIGWINCH].into_iter().for_each(handle);
    limit_queued_signals(0);
    let CaptureSupport::Untested(why) = prepare() else { panic!("{:?}", prepare()) };
    assert!(why.contains("RLIMIT_SIGPENDING") && !why.contains("seccomp"), "{why}");
    let refused = Capturer::attach(Target::this_thread()).err().expect("not yet");
    assert!(matches!(refused, CaptureError::Untested(_)), "{refused}");
    assert!(matches!(readiness(), CaptureSupport::Untested(_)));
    limit_queued_signals(1000);
    // Nobody prepares anything: the test is made again beside the program, 5 s later.
    until("the test is made again", || readiness().is_full());
    let mut capturer = Capturer::attach(Target::this_thread()).unwrap();
    capturer.capture(WITHIN).unwrap();
    limit_queued_signals(0);
    let refused = capturer.ask().unwrap_err();
    assert!(matches!(refused, CaptureError::QueueFull), "{refused}");
    limit_queued_signals(1000);
    capturer.capture(WITHIN).unwrap();
}

/// What the kernel tells of its frame is faked by what the target tells of its stack: on this processor 2 KiB may do.
#[test]
fn where_the_alternate_stack_is_smaller_than_the_processors_frame_nothing_is_sent() {
    assert!(matches!(prepare(), CaptureSupport::Ready { .. }));
    for bytes in [0, libc::MINSIGSTKSZ - 1] {
        let target = Target { alternate_stack_bytes: Some(bytes), ..Target::this_thread() };
        let mut capturer = Capturer::attach(target).unwrap();
        let Err(CaptureError::SmallAlternateStack { bytes: told, needed_bytes }) = capturer.ask() else {
            panic!("{bytes} bytes are too small")
        };
        assert!(told == bytes && needed_bytes > bytes, "{needed_bytes}");
        assert!(capturer.take().is_none(), "a signal to the own thread would have arrived by now");
    }
    let target = Target { alternate_stack_bytes: Some(1 << 20), ..Target::this_thread() };
    let mut capturer = Capturer::attach(target).unwrap();
    assert!(capturer.capture(WITHIN).is_ok());
    // What the thread sets later is what counts.
    capturer.set_alternate_stack(Some(libc::MINSIGSTKSZ - 1));
    assert!(matches!(capturer.ask(), Err(CaptureError::SmallAlternateStack { .. })));
    capturer.set_alternate_stack(None);
    assert!(capturer.capture(WITHIN).is_ok());
}

#[test]
fn a_thread_with_a_small_alternate_stack_is_not_signalled() {
    prepare();
    let (send, receive) = mpsc::channel();
    let (hold, held) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let room = Box::leak(vec![0_u8; libc::MINSIGSTKSZ].into_boxed_slice());
        let stack = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
        // SAFETY: the memory was leaked, so it outlives the thread.
        let is_taken = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) } == 0;
        send.send(is_taken.then(Target::this_thread)).unwrap();
        let _ = held.recv();
    });
    // Kernels know since 5.14 what their frames take, and then refuse such a stack themselves.
    match receive.recv().unwrap() {
        None => println!("skipped: a small alternate stack: the kernel refuses it"),
        Some(target) => {
            assert_eq!(target.alternate_stack_bytes, Some(libc::MINSIGSTKSZ));
            let refused = Capturer::attach(target).unwrap().capture(Duration::from_secs(1)).unwrap_err();
            assert!(matches!(refused, CaptureError::SmallAlternateStack { .. }), "{refused}");
        }
    }
    drop(hold);
    thread.join().unwrap();
}
