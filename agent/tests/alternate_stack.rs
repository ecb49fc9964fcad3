//! A program that gives its loop's thread a small alternate signal stack after the loop was made: a signal that would have
//! to run on it ends the program, so none is sent. In a process of its own, which is this test program again.

mod support;

use loopscope_agent::Agent;
use loopscope_probe::raw::registry;
use loopscope_probe::{Kind, TaskTimes, Writer};
use std::panic::Location;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::until;

/// Tells the program to play the part.
const PART: &str = "LOOPSCOPE_ALTERNATE_STACK";

/// Sets the calling thread's alternate stack. False where the kernel refuses one of this size.
fn set_alternate_stack(bytes: usize) -> bool {
    let room = Box::leak(vec![0_u8; bytes].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: room.len() };
    // SAFETY: the memory was leaked, so it outlives the thread.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) == 0 }
}

/// Stalls until one tells what is wanted: a signal may come too late on a busy machine, and a stack be unsteady.
fn stacks_or_failures(
    agent: &Agent,
    writer: &mut Writer,
    is_wanted: impl Fn(usize, &[String]) -> bool,
) -> (usize, Vec<String>) {
    let told = (0..20).map(|_| told_of_a_stall(agent, writer)).find(|(stacks, why)| is_wanted(*stacks, why));
    told.unwrap_or_default()
}

/// A loop of this thread works until the incident has a stack or says why it has none.
fn told_of_a_stall(agent: &Agent, writer: &mut Writer) -> (usize, Vec<String>) {
    let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
    writer.unpark(1);
    writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
    let is_told = AtomicBool::new(false);
    // Another thread asks: this one would sleep meanwhile, and be read without a signal.
    let told = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut told = (0, Vec::new());
            until("a stack, or a reason", || {
                let incidents = agent.incidents();
                let under_way = incidents.first().filter(|incident| !incident.is_over);
                if let Some(incident) = under_way {
                    told = (incident.stacks.len(), incident.captures_failed.clone());
                }
                told.0 > 0 || !told.1.is_empty()
            });
            is_told.store(true, Ordering::Relaxed);
            told
        });
        while !is_told.load(Ordering::Relaxed) && !asking.is_finished() {
            std::hint::spin_loop();
        }
        asking.join().unwrap()
    });
    writer.end();
    writer.park();
    until("the incident's end", || agent.incidents()[0].is_over);
    told
}

fn play() {
    let agent =
        Agent::builder().thresholds(Duration::from_millis(20), Duration::from_secs(9)).start().unwrap();
    let mut writer = Writer::builder("small").build();
    writer.resume();
    writer.park();
    let noted = || registry::pages()[0].gate().alternate_stack_bytes();
    let turn_until = |writer: &mut Writer, wanted: usize| {
        until("the loop to look at its thread", || {
            writer.unpark(0);
            writer.park();
            noted() == Some(wanted)
        });
    };
    if !set_alternate_stack(libc::MINSIGSTKSZ) {
        return println!("skipped: a small alternate stack: the kernel refuses it");
    }
    turn_until(&mut writer, libc::MINSIGSTKSZ);
    let is_small = |why: &[String]| why.iter().any(|why| why.contains("alternate signal stack"));
    let (stacks, failures) = stacks_or_failures(&agent, &mut writer, |_, why| is_small(why));
    assert!(stacks == 0 && is_small(&failures), "{failures:?}");
    // One that is large enough is used.
    assert!(set_alternate_stack(1 << 20));
    turn_until(&mut writer, 1 << 20);
    let (stacks, failures) = stacks_or_failures(&agent, &mut writer, |stacks, _| stacks > 0);
    assert!(stacks > 0, "{failures:?}");
    agent.stop();
}

#[test]
fn a_small_alternate_stack_that_is_set_later_ends_nobody() {
    if std::env::var_os(PART).is_some() {
        return play();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["a_small_alternate_stack_that_is_set_later_ends_nobody", "--exact", "--nocapture"]);
    let told = child.env(PART, "1").output().unwrap();
    let said = String::from_utf8_lossy(&told.stdout) + String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{}: {said}", told.status);
    said.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| println!("{line}"));
}
