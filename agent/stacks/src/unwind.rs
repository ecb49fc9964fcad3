//! From the copy of a stack to addresses, by the unwind tables of the modules. On the asking side only.
//!
//! Where a function has no table (musl's C library, some assembly), framehop follows the frame pointer, which such code
//! uses for other things: the function's caller is then lost, or the walk ends at once. And of a thread that sleeps, the
//! frame pointer is not known. So the copy is searched for what is missing: `frame_search.rs`.

use crate::frame_search::Search;
use crate::memory::Memory;
use crate::modules::{Module, find};
use crate::sample::{Sample, SampleSource};
use crate::unwinder::Unwinder;
use crate::walk::{Chain, Copied, FRAMES, Gap, known, partly_known};
use framehop::FrameAddress;

/// Addresses of one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawStack {
    /// Leaf first. The first is exact, where the thread was; the others are return addresses, just behind a call.
    pub addresses: Vec<u64>,
    /// The frame pointer in each of these frames: the address of the frame, in code that keeps one. 0 where it is not known.
    pub frame_pointers: Vec<u64>,
    /// Some frame was found without an unwind table, or by trying what could be the frame pointer of a thread that
    /// slept, so that the frames beside it may be wrong.
    pub is_guessed: bool,
    /// Some frame was found by trying: what earlier calls left on the stack may be among the frames.
    pub is_searched: bool,
    /// The root is missing: the sample's stack was larger than what is copied, or deeper than 1,024 frames.
    pub is_cut: bool,
    /// The walk ended at a thread's first function. With musl's C library never known, because that one has no table.
    pub is_complete: bool,
}

impl RawStack {
    /// Returns a number that is the same for the same calls, also in another run of the same build: of the leaf counts
    /// only the function, of the others the exact place.
    pub fn fingerprint(&self, modules: &[Module]) -> u64 {
        // FNV-1a, because it must be the same in every process; the standard hasher promises nothing.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        };
        for (index, address) in self.addresses.iter().enumerate() {
            let Some(module) = find(modules, *address) else {
                add(b"unknown");
                continue;
            };
            // A leaf without a table, in musl's C library, is known by its module only.
            let place = match index {
                0 => module.function_begin(*address).unwrap_or(module.base),
                _ => *address,
            };
            add(module.build_id.as_deref().unwrap_or(&module.name).as_bytes());
            add(&place.wrapping_sub(module.base).to_le_bytes());
        }
        hash
    }
}

impl Unwinder {
    /// Returns the addresses of a sample's frames.
    pub fn unwind(&mut self, sample: &Sample) -> RawStack {
        self.renew();
        if sample.is_off_stack || sample.stack.is_empty() {
            // Without a copy there is nothing to follow.
            let (addresses, frame_pointers) = (vec![sample.registers.ip], vec![sample.registers.fp]);
            return RawStack { addresses, frame_pointers, ..RawStack::default() };
        }
        (self.steps, self.tries) = (0, 0);
        let copied = Copied { sp: sample.registers.sp, bytes: &sample.stack, is_cut: sample.is_cut };
        let chain = self.chain(sample, &copied);
        let is_complete = chain.is_complete();
        RawStack {
            is_searched: chain.is_searched,
            is_guessed: chain.is_searched || chain.gap.is_some(),
            is_cut: !is_complete && (sample.is_cut || chain.addresses.len() >= FRAMES),
            is_complete,
            addresses: chain.addresses,
            frame_pointers: chain.frame_pointers,
        }
    }

    fn chain(&mut self, sample: &Sample, copied: &Copied<'_>) -> Chain {
        let registers = match sample.source {
            SampleSource::Handler => known(&sample.registers),
            SampleSource::Memory => partly_known(&sample.registers),
        };
        let leaf = FrameAddress::from_instruction_pointer(sample.registers.ip);
        let chain = self.walk(leaf, registers, copied);
        if chain.gap.is_none() && !chain.lacks_frame_pointer() {
            return chain;
        }
        let Ok(memory) = Memory::open() else { return chain };
        let search = Search { copied, memory: &memory };
        let mut chain = self.complete(chain, &search);
        // Further up, frame pointers that led to the root led through the code without tables, too.
        let is_due = |gap: &Gap| gap.index == 0 || !chain.is_complete();
        if let Some(gap) = chain.gap.filter(is_due) {
            self.leave_gap(&mut chain, gap, &search);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::Registers;

    #[test]
    fn a_copy_that_leads_nowhere_gives_the_leaf_alone() {
        let mut unwinder = Unwinder::new();
        let registers = Registers { ip: 0x10, sp: 0x7000, fp: 0, lr: 0 };
        for (stack, is_off_stack) in [(vec![0_u8; 64], false), (vec![0xff; 61], false), (Vec::new(), true)] {
            let sample = Sample {
                at_ns: 0,
                tags: Vec::new(),
                foreign: None,
                registers,
                stack,
                is_off_stack,
                is_cut: false,
                handler_ns: 0,
                source: SampleSource::Handler,
            };
            let stack = unwinder.unwind(&sample);
            assert_eq!(stack.addresses, [0x10]);
            assert!(!stack.is_complete);
        }
    }
}
