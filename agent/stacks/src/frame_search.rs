//! Searching a copy of a stack for what the unwind tables do not tell: a frame pointer that is not known, and the caller
//! of code that has no table.
//!
//! **The frame pointer.** The kernel says of a thread that sleeps where its code and its stack are, and nothing of its
//! other registers. C libraries' tables need no more; `std` is built with frame pointers, and its tables go by them. Where
//! the function's own first instructions say how far its frame pointer is above its stack pointer, and a return address
//! stands there, that is it, and so is the only one a little above that is a return from a call of this function. Else every position
//! below a return address is tried.
//!
//! **Code without tables** (musl's C library, some assembly) is left by a return address from which the tables lead on.
//!
//! A stack also holds what earlier calls left. So of all tries the best is kept, in this order: it ends at a thread's first
//! function; its calls call the functions that they are said to (old frames and those of now meet where they do not); it is
//! the longest, because a wrong start mostly skips frames. What was found by trying is a guess, and flagged as one.

use crate::machine_code::{Callee, PROLOGUE_BYTES, callee, frame_bytes, jumps};
use crate::memory::Memory;
use crate::unwinder::Unwinder;
use crate::walk::{
    Chain, Copied, End, Gap, Regs, is_unknown_frame_pointer, of_caller, unsigned, with_frame_pointer,
};
use framehop::FrameAddress;
use std::cmp::Reverse;

/// How far from code without tables its caller is searched for: musl's wrappers of system calls use below 500 bytes.
const CALLER_BYTES: u64 = 2048;

/// How far above the stack pointer a frame pointer is searched for. Larger frames are left to their first instructions.
const FRAME_BYTES: u64 = 8192;

/// How far above what a function's first instructions say its frame pointer is looked for.
const ARGUMENT_BYTES: u64 = 128;

/// Frames that are walked in search of one stack; a frame takes 30 to 100 ns. Usual are below 500.
const STEPS: usize = 20_000;

/// What a search goes by.
pub(crate) struct Search<'a> {
    pub copied: &'a Copied<'a>,
    pub memory: &'a Memory,
}

/// A frame whose frame pointer is not known.
struct Frame {
    /// Where its function begins.
    begin: u64,
    from: FrameAddress,
    regs: Regs,
}

/// How good a try is: by its end, by how many of its calls call something else, and by its length.
type Rank = (End, Reverse<usize>, usize);

impl Unwinder {
    /// Walks on where the frame pointer was missing, if one is found.
    pub(crate) fn complete(&mut self, mut chain: Chain, search: &Search<'_>) -> Chain {
        if !chain.lacks_frame_pointer() {
            return chain;
        }
        let index = chain.addresses.len() - 1;
        let address = chain.addresses[index];
        let from = match index {
            0 if !chain.is_searched => FrameAddress::from_instruction_pointer(address),
            _ => match FrameAddress::from_return_address(address) {
                Some(from) => from,
                None => return chain,
            },
        };
        let computed = self.by_prologue(from, chain.last, search);
        let tail = computed.or_else(|| self.by_trying(from, chain.last, search));
        if let Some(tail) = tail {
            chain.join(index, tail);
        }
        chain
    }

    /// Computes the frame pointer from a function's first instructions; `None` where they do not say, or where the walk
    /// proves them wrong.
    fn by_prologue(&mut self, from: FrameAddress, regs: Regs, search: &Search<'_>) -> Option<Chain> {
        let begin = self.function_begin(from.address_for_lookup())?;
        let mut code = [0; PROLOGUE_BYTES as usize];
        let ran = (from.address() - begin).min(PROLOGUE_BYTES);
        let code = &mut code[..ran as usize];
        search.memory.read_into(begin, code).ok()?;
        let least = regs.sp().checked_add(frame_bytes(code)?)?;
        let computed = Frame { begin, from, regs };
        if let Some(tail) = self.walk_from(&computed, least, search) {
            return Some(tail);
        }
        // Above arguments that the function passes on the stack, and what its compiler put between those instructions: where a
        // return address stands behind a call of this very function. Of two such, one is left of an earlier call.
        let places = (least..least.checked_add(ARGUMENT_BYTES)?).step_by(8).skip(1);
        let mut found = None;
        for frame_pointer in places {
            let Some(word) = search.copied.word(frame_pointer.checked_add(8)?) else { break };
            let called = self.called(unsigned(word), search.memory);
            // Of a call by register nobody knows what it calls.
            if called.and_then(|called| target(called, search.memory)).is_none() {
                continue;
            }
            if let Some(tail) = self.walk_from(&computed, frame_pointer, search)
                && found.replace(tail).is_some()
            {
                return None;
            }
        }
        found
    }

    /// Walks on with this frame pointer; `None` where no call of the function stands there, or where the walk leads nowhere.
    fn walk_from(&mut self, frame: &Frame, frame_pointer: u64, search: &Search<'_>) -> Option<Chain> {
        let return_address = unsigned(search.copied.word(frame_pointer.checked_add(8)?)?);
        if !self.is_called_from(Some(frame.begin), return_address, search.memory) {
            return None;
        }
        let tail = self.walk(frame.from, with_frame_pointer(frame.regs, frame_pointer), search.copied);
        self.is_plausible(&tail, search).then_some(tail)
    }

    /// Tries all positions for the frame pointer, and returns the best walk.
    fn by_trying(&mut self, from: FrameAddress, regs: Regs, search: &Search<'_>) -> Option<Chain> {
        let mut best: Option<(Rank, Chain)> = None;
        for frame_pointer in (regs.sp()..regs.sp().checked_add(FRAME_BYTES)?).step_by(8) {
            let Some(word) = search.copied.word(frame_pointer + 8) else { break };
            if self.called(unsigned(word), search.memory).is_none() {
                continue;
            }
            if self.steps >= STEPS {
                break;
            }
            let mut tail = self.walk(from, with_frame_pointer(regs, frame_pointer), search.copied);
            self.tries += 1;
            if !self.is_plausible(&tail, search) {
                continue;
            }
            tail.is_searched = true;
            let wrong = self.wrong_calls(from.address_for_lookup(), &tail.addresses[1..], search.memory);
            keep_better(&mut best, (tail.end, Reverse(wrong), tail.addresses.len()), tail);
        }
        best.map(|(_, tail)| tail)
    }

    /// Whether a walk ended where a thread's stack can end, or at the end of the copy.
    fn is_plausible(&self, tail: &Chain, search: &Search<'_>) -> bool {
        tail.addresses.len() > 1 && (tail.end > End::Broken || search.copied.is_cut)
    }

    /// Searches for the caller of a frame without a table, and replaces what the frame pointer led to where that is
    /// better.
    pub(crate) fn leave_gap(&mut self, chain: &mut Chain, gap: Gap, search: &Search<'_>) {
        let begin = chain.addresses[gap.index] - u64::from(gap.index > 0);
        let callers = &chain.addresses[gap.index + 1..];
        let wrong = self.wrong_calls(begin, callers, search.memory);
        let found = (chain.end, Reverse(wrong), callers.len());
        let mut best: Option<(Rank, Chain)> = None;
        let sp = gap.regs.sp();
        // Where the code without tables is: at its leaf, and at its own return addresses.
        let mut inside = vec![chain.addresses[gap.index]];
        for place in (sp..sp.saturating_add(CALLER_BYTES)).step_by(8) {
            let Some(word) = search.copied.word(place) else { break };
            let address = unsigned(word);
            let Some(called) = self.called(address, search.memory) else { continue };
            let Some(from) = FrameAddress::from_return_address(address) else { continue };
            if !self.is_covered(from.address_for_lookup()) {
                inside.push(address);
                continue;
            }
            let strays = usize::from(!self.enters(called, &inside, search.memory));
            for is_kept in [true, false] {
                if self.steps >= STEPS || is_kept && is_unknown_frame_pointer(&gap.regs) {
                    continue;
                }
                let caller = of_caller(gap.regs, place, search.copied, is_kept);
                let mut tail = self.walk(from, caller, search.copied);
                self.tries += 1;
                tail.is_searched = true;
                let tail = self.complete(tail, search);
                let wrong = strays + self.wrong_calls(begin, &tail.addresses, search.memory);
                keep_better(&mut best, (tail.end, Reverse(wrong), tail.addresses.len()), tail);
            }
        }
        if let Some((_, tail)) = best.filter(|(rank, _)| *rank > found) {
            chain.join(gap.index + 1, tail);
        }
    }

    /// Counts the calls that call something else than the function below them: `callee` is in the first one's.
    fn wrong_calls(&mut self, callee: u64, return_addresses: &[u64], memory: &Memory) -> usize {
        let mut callee = callee;
        let mut wrong = 0;
        for return_address in return_addresses {
            let begin = self.function_begin(callee);
            wrong += usize::from(!self.is_called_from(begin, *return_address, memory));
            callee = return_address.wrapping_sub(1);
        }
        wrong
    }

    /// Whether a function, or where it is `None` some code without tables, may have been called before a return address.
    fn is_called_from(&mut self, function: Option<u64>, return_address: u64, memory: &Memory) -> bool {
        let Some(called) = self.called(return_address, memory) else { return false };
        let Some(target) = target(called, memory) else { return true };
        if Some(target) == function {
            return true;
        }
        match self.led.get(&(target, function)) {
            Some(leads) => *leads,
            None => {
                let leads = self.leads_to(target, function, memory);
                self.led.insert((target, function), leads);
                leads
            }
        }
    }

    /// Whether the code at `target` is the function, or jumps to it: as the last it does, or because it is nothing but a
    /// jump to another module.
    fn leads_to(&mut self, target: u64, function: Option<u64>, memory: &Memory) -> bool {
        /// Longer functions are rarely ones that end with a jump.
        const SCANNED_BYTES: u64 = 1024;
        /// Code without tables: only a jump that is there at once.
        const STUB_BYTES: u64 = 16;
        let mut places = vec![Callee::Address(target)];
        if let Some(module) = self.module_with_code(target) {
            let end = module.function_end(target).unwrap_or(target + STUB_BYTES);
            let mut code = vec![0; end.saturating_sub(target).min(SCANNED_BYTES) as usize];
            // Where it was unloaded meanwhile, nothing more is known of it.
            if memory.read_into(target, &mut code).is_ok() {
                places.extend(jumps(&code, target));
            }
        }
        places.into_iter().any(|place| match self::target(place, memory) {
            Some(address) if function.is_some() => Some(address) == function,
            Some(address) => self.module_with_code(address).is_some() && !self.is_covered(address),
            None => true,
        })
    }

    /// Whether a call may have led to one of the addresses in code without tables: none is far behind the beginning of the
    /// function that is called.
    fn enters(&mut self, called: Callee, inside: &[u64], memory: &Memory) -> bool {
        /// musl's functions that wait are below 500 bytes.
        const FUNCTION_BYTES: u64 = 2048;
        let Some(target) = target(called, memory) else { return true };
        if self.is_covered(inside[0]) || self.is_covered(target) {
            // It is compared as a function.
            return true;
        }
        let holds = |begin: u64| inside.iter().any(|at| at.wrapping_sub(begin) < FUNCTION_BYTES);
        let mut code = [0; 64];
        let jumps = match memory.read_into(target, &mut code) {
            Ok(()) => jumps(&code, target).collect(),
            Err(_) => Vec::new(),
        };
        holds(target) || jumps.into_iter().filter_map(|jump| self::target(jump, memory)).any(holds)
    }

    /// Returns whom the instruction before an address calls; `None` where it is no call.
    fn called(&mut self, address: u64, memory: &Memory) -> Option<Callee> {
        let has_code = self.module_with_code(address).is_some_and(|module| module.has_code(address - 8));
        if !has_code {
            return None;
        }
        // Read by system call: a library may be unmapped at any time.
        let read = || memory.read::<8>(address - 8).and_then(|code| callee(&code, address));
        *self.called.entry(address).or_insert_with(read)
    }
}

/// Returns the function that a call leads to, where that is known.
fn target(called: Callee, memory: &Memory) -> Option<u64> {
    match called {
        Callee::Address(address) => Some(address),
        Callee::Stored(place) => memory.read::<8>(place).map(u64::from_ne_bytes),
        Callee::Unknown => None,
    }
}

/// Keeps the better of two, and of equals the later: what earlier calls left is mostly below the frames of now.
fn keep_better(best: &mut Option<(Rank, Chain)>, rank: Rank, chain: Chain) {
    if best.as_ref().is_none_or(|(known, _)| rank >= *known) {
        *best = Some((rank, chain));
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::capturer::Capturer;
    use crate::sample::Sample;
    use crate::target::Target;
    use crate::walk::partly_known;
    use std::sync::mpsc;

    /// Reads a thread that sleeps in `std`.
    fn parked() -> Sample {
        let (send, receive) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(Target::this_thread()).unwrap();
            // It fails once the other end is dropped.
            std::hint::black_box(ended.recv()).unwrap_err();
        });
        let target = receive.recv().unwrap();
        let mut capturer = Capturer::attach(target).unwrap();
        // Between the two it may sleep in the allocator, but no longer than that.
        let sample = std::iter::repeat_with(|| capturer.read_sleeping().ok()).flatten().next().unwrap();
        drop(end);
        thread.join().unwrap();
        sample
    }

    #[test]
    fn a_frame_pointer_is_computed_and_tried_to_the_same_end() {
        let (sample, mut unwinder, memory) = (parked(), Unwinder::new(), Memory::open().unwrap());
        let copied = Copied { sp: sample.registers.sp, bytes: &sample.stack, is_cut: false };
        let search = Search { copied: &copied, memory: &memory };
        let leaf = FrameAddress::from_instruction_pointer(sample.registers.ip);
        let chain = unwinder.walk(leaf, partly_known(&sample.registers), &copied);
        if cfg!(target_env = "musl") {
            // Its wrapper of the call has no table: what is missing is not the frame pointer.
            assert!(chain.gap.is_some() && !chain.lacks_frame_pointer());
            return;
        }
        assert!(chain.lacks_frame_pointer(), "{:x?}", chain.addresses);
        let last = chain.addresses[chain.addresses.len() - 1];
        let from = FrameAddress::from_return_address(last).unwrap();
        let computed = unwinder.by_prologue(from, chain.last, &search).unwrap();
        assert_eq!((computed.end, computed.is_searched, unwinder.tries), (End::Root, false, 0));
        let tried = unwinder.by_trying(from, chain.last, &search).unwrap();
        assert_eq!((tried.end, tried.is_searched), (End::Root, true));
        assert_eq!(tried.addresses, computed.addresses);
        assert!((1..200).contains(&unwinder.tries), "{}", unwinder.tries);
    }

    #[test]
    fn of_two_tries_the_one_that_ends_at_the_root_is_kept_then_with_right_calls_then_the_longest() {
        let (sample, mut unwinder) = (parked(), Unwinder::new());
        let copied = Copied { sp: sample.registers.sp, bytes: &sample.stack, is_cut: false };
        let leaf = FrameAddress::from_instruction_pointer(sample.registers.ip);
        let chain = unwinder.walk(leaf, partly_known(&sample.registers), &copied);
        let mut best: Option<(Rank, Chain)> = None;
        for (rank, is_better) in [
            ((End::Tableless, Reverse(1), 3), true),
            ((End::Broken, Reverse(0), 90), false),
            ((End::Root, Reverse(2), 2), true),
            ((End::Root, Reverse(2), 9), true),
            ((End::Root, Reverse(2), 8), false),
            ((End::Root, Reverse(1), 5), true),
            ((End::Root, Reverse(2), 50), false),
        ] {
            keep_better(&mut best, rank, chain.clone());
            assert_eq!(best.as_ref().unwrap().0 == rank, is_better, "{rank:?}");
        }
    }
}
