//! A loop whose callback goes through code that was made at run time: its runtime reads its own stack where the native one is
//! copied, and names its own code, in incidents and in sampled flamegraphs.

#![cfg(target_arch = "x86_64")]

mod support;

use loopscope_agent::{AddressSource, AddressStack, Frame, FrameOwner, FrameSource, Moment};
use loopscope_probe::description::{Description, FramePart, Owner};
use loopscope_probe::{Kind, TaskTimes, Writer};
use loopscope_stacks::{SamplerRegisters, set_sampler};
use std::ops::Range;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{DEADLINE, builder, get, until};

/// A function that calls its argument, with a frame of its own:
/// push rbp; mov rbp, rsp; call rdi; pop rbp; ret
const CODE: [u8; 8] = [0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3];

type Compiled = extern "C" fn(extern "C" fn());

/// Code in memory that no file holds, for as long as the program lives.
struct Jit {
    code: Range<u64>,
    function: Compiled,
}

impl Jit {
    fn compile() -> Jit {
        let (length, flags) = (4096, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let page = unsafe { libc::mmap(ptr::null_mut(), length, writable, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: the mapping is new, writable, and longer than the code.
        unsafe { ptr::copy_nonoverlapping(CODE.as_ptr(), page.cast(), CODE.len()) };
        // SAFETY: the mapping is this function's, and nothing refers to it.
        let protected = unsafe { libc::mprotect(page, length, libc::PROT_READ | libc::PROT_EXEC) };
        assert_eq!(protected, 0);
        let begin = page.expose_provenance() as u64;
        // SAFETY: what was written there is such a function, and the mapping stays.
        let function = unsafe { std::mem::transmute::<*mut libc::c_void, Compiled>(page) };
        Jit { code: begin..begin + length as u64, function }
    }
}

/// What the callback is at, and whether it is over.
static STEP: AtomicU64 = AtomicU64::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// The thread that the runtime knows.
static OWN_TID: AtomicUsize = AtomicUsize::new(0);

extern "C" fn compute() {
    while !IS_OVER.load(Ordering::Relaxed) {
        STEP.fetch_add(1, Ordering::Relaxed);
    }
}

fn tid() -> usize {
    // SAFETY: gettid takes nothing and returns a number.
    unsafe { libc::gettid() as usize }
}

/// Reads "the runtime's stack": one word that says who it is.
unsafe extern "C" fn sample(_: *const SamplerRegisters, words: *mut u64, _: usize) -> usize {
    if tid() != OWN_TID.load(Ordering::Relaxed) {
        return 0;
    }
    // SAFETY: there is room for at least one word.
    unsafe { words.write(42) };
    1
}

/// The runtime's own knowledge.
struct Runtime {
    code: Range<u64>,
}

impl FrameSource for Runtime {
    fn frames_of(&self, moment: &Moment) -> Vec<Frame> {
        assert_eq!(moment.tid as usize, OWN_TID.load(Ordering::Relaxed));
        let function = format!("script {:?}", moment.foreign);
        vec![Frame { function, file: Some("internal:timers".into()), ..Frame::default() }]
    }
}

impl AddressSource for Runtime {
    fn names_of(&self, stacks: &[AddressStack<'_>]) -> Vec<Vec<Option<Frame>>> {
        let names = |stack: &AddressStack<'_>| {
            let function = format!("compiled {:?}", stack.foreign);
            let frame = Frame { function, file: Some("app.js".into()), line: Some(7), ..Frame::default() };
            let name = |address| self.code.contains(&address).then(|| frame.clone());
            stack.calls.iter().map(|call| name(call.address)).collect()
        };
        stacks.iter().map(names).collect()
    }
}

#[test]
fn both_stacks_are_of_one_instant_and_a_runtime_s_code_has_names() {
    let jit = Jit::compile();
    let runtime = Arc::new(Runtime { code: jit.code.clone() });
    // SAFETY: `sample` makes one system call, reads an atomic, writes one word and keeps nothing.
    unsafe { set_sampler(Some(sample)) };
    let (begin, begun) = channel();
    let thread = std::thread::spawn(move || {
        OWN_TID.store(tid(), Ordering::Relaxed);
        let rules = Description::new().frames(Owner::Runtime, FramePart::File, "internal:");
        let mut writer = Writer::builder("mixed").runtime("script").describe(&rules).build();
        let site = writer.named_site(Location::caller(), Kind::Timer, "flush");
        writer.resume();
        writer.begin(Kind::Timer, site, TaskTimes::UNKNOWN);
        begin.send(()).unwrap();
        (jit.function)(compute);
        writer.end();
        writer.park();
    });
    begun.recv_timeout(DEADLINE).unwrap();
    let agent = builder()
        .thresholds(Duration::from_millis(20), Duration::from_secs(600))
        .frame_source("script", runtime.clone())
        .address_source("script", runtime)
        .start()
        .unwrap();
    let stack_of = || agent.incidents().first().and_then(|incident| incident.stacks.first().cloned());
    let is_named = |frame: &Frame| frame.file.as_ref().is_some_and(|file| file.ends_with("mixed_stacks.rs"));
    // On a busy machine the runtime's own frames come late, and join.
    let is_whole = |frames: &[Frame]| frames[0].function.contains("script") && frames.iter().any(is_named);
    until("the stack has its names", || stack_of().is_some_and(|stack| is_whole(&stack.frames)));
    let stack = stack_of().unwrap();
    let at = |function: &str| stack.frames.iter().position(|frame| frame.function.contains(function));
    let told = |index: usize| {
        let frame = &stack.frames[index];
        (frame.function.as_str(), frame.runtime.as_deref(), frame.owner)
    };
    assert_eq!(told(0), ("script Some([42])", Some("script"), FrameOwner::Runtime), "{stack:#?}");
    let (compiled, computing) = (at("compiled Some([42])").unwrap(), at("compute").unwrap());
    assert_eq!(told(compiled).1, Some("script"));
    assert_eq!(stack.guilty, Some(computing), "nobody else is the program's: {stack:#?}");
    assert!(computing < compiled && compiled < stack.frames.len() - 1, "{stack:#?}");
    let flamegraph = get(&agent, "/debug/loopscope/flamegraph?of=cpu&seconds=1&format=folded");
    assert!(flamegraph.body.contains(";compiled Some([42]);mixed_stacks::compute"), "{}", flamegraph.body);
    assert!(!flamegraph.body.contains("unknown+"), "{}", flamegraph.body);
    IS_OVER.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}
