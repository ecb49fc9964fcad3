//! A function without unwind tables, above memory that earlier calls used: its caller is found, and not one of theirs.
#![cfg(target_arch = "x86_64")]

mod support;

use std::hint::black_box;
use std::io::Write;
use std::os::fd::AsRawFd;
use support::{capture, start, until};

// read(2) from the middle of a frame of 1 KiB that it leaves as it finds it.
std::arch::global_asm!(
    ".text",
    ".globl tableless_read",
    ".type tableless_read, @function",
    "tableless_read:",
    "sub rsp, 1024",
    "xor eax, eax",
    "syscall",
    "add rsp, 1024",
    "ret",
    ".size tableless_read, . - tableless_read",
);

unsafe extern "C" {
    fn tableless_read(descriptor: i32, buffer: *mut u8, bytes: usize) -> isize;
}

/// Leaves the frames of its calls below its caller's.
#[inline(never)]
fn earlier(depth: u32) -> u32 {
    // Black boxes keep the compiler from making a loop, or a jump, of it.
    if depth == 0 { black_box(1) } else { black_box(earlier(black_box(depth - 1))) + 1 }
}

#[inline(never)]
fn reads(descriptor: i32) {
    let mut byte = [0];
    black_box(earlier(black_box(20)));
    // SAFETY: there is room for the one byte.
    black_box(unsafe { tableless_read(descriptor, byte.as_mut_ptr(), 1) });
}

#[test]
fn the_caller_of_code_without_tables_is_found_above_frames_of_earlier_calls() {
    let (pipe, mut end) = std::io::pipe().unwrap();
    let (target, thread) = start(move || reads(pipe.as_raw_fd()));
    let words = || loopscope_stacks::thread::ThreadState::look(target.tid).unwrap().words();
    until("it reads", || words().starts_with("read("));
    let (stack, frames) = capture(&target);
    let names: Vec<&str> = frames.iter().map(|frame| frame.function.as_str()).collect();
    assert_eq!(names[..2], ["tableless_read", "tableless::reads"], "{stack:x?} {names:#?}");
    assert!(stack.is_guessed, "{stack:x?} {names:#?}");
    end.write_all(b"x").unwrap();
    thread.join().unwrap();
}
