//! From the copy of a stack to addresses, by the unwind tables of the modules. On the asking side only.
//!
//! Where a function has no table (musl's C library, some assembly), framehop follows the frame pointer, which such code
//! uses for other things: the function's caller is then lost, or the walk ends at once. So the copy is searched for the
//! first return address from which the tables lead on to the root. That is a guess, and flagged as one.

use crate::capturer::Sample;
use crate::memory::Memory;
use crate::modules::{self, Changes, Module, find};
use crate::registers::Registers;
use crate::tables::Bytes;
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Unwinder as _, UnwinderNative,
};
use std::collections::HashMap;

/// A stack deeper than this ends here: nobody reads more.
const FRAMES: usize = 1024;

/// How far from the stack's top a return address is searched for: musl's wrappers of system calls use below 500 bytes.
const SEARCHED_BYTES: usize = 2048;

/// Modules that were unloaded, and are kept for the samples that were taken before.
const UNLOADED: usize = 32;

/// Addresses of one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawStack {
    /// Leaf first. The first is exact, where the thread was; the others are return addresses, just behind a call.
    pub addresses: Vec<u64>,
    /// Some frame was found without an unwind table, so that the frames beside it may be wrong.
    pub is_guessed: bool,
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

/// Unwinds samples, and knows the process's modules. It lists them anew when some were loaded or unloaded.
pub struct Unwinder {
    engine: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
    modules: Vec<Module>,
    changes: Changes,
    /// Whether the tables cover an address: searching them costs more than unwinding by a cached rule.
    covered: HashMap<u64, bool>,
}

impl Default for Unwinder {
    fn default() -> Self {
        Self::new()
    }
}

impl Unwinder {
    /// Lists the modules and copies the libraries' tables: some milliseconds.
    pub fn new() -> Unwinder {
        let mut unwinder = Unwinder {
            engine: UnwinderNative::new(),
            cache: CacheNative::new(),
            modules: Vec::new(),
            changes: Changes::default(),
            covered: HashMap::new(),
        };
        unwinder.refresh();
        unwinder
    }

    /// Returns the modules by address, with some that were unloaded lately.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Returns the addresses of a sample's frames.
    pub fn unwind(&mut self, sample: &Sample) -> RawStack {
        if modules::changes() != self.changes {
            self.refresh();
        }
        if sample.is_off_stack || sample.stack.is_empty() {
            // Without a copy there is nothing to follow.
            return RawStack { addresses: vec![sample.registers.ip], ..RawStack::default() };
        }
        let mut stack = self.walk(sample.registers, &sample.stack);
        if stack.is_guessed && (!stack.is_complete || !self.is_covered(sample.registers.ip)) {
            let searched = self.search(sample, &stack);
            stack = searched.unwrap_or(stack);
        }
        stack.is_cut = !stack.is_complete && (sample.is_cut || stack.addresses.len() >= FRAMES);
        stack
    }

    fn refresh(&mut self) {
        // Counted before listing: what is loaded in between is then seen at the next sample.
        self.changes = modules::changes();
        let mut listed = modules::list(&self.modules);
        let is_free = |module: &Module, listed: &[Module]| {
            listed
                .iter()
                .all(|other| other.range.end <= module.range.start || module.range.end <= other.range.start)
        };
        // The latest are those with the highest numbers.
        let mut unloaded: Vec<Module> = std::mem::take(&mut self.modules);
        unloaded.retain(|module| is_free(module, &listed));
        unloaded.sort_by_key(|module| std::cmp::Reverse(module.number));
        unloaded.truncate(UNLOADED);
        listed.extend(unloaded);
        listed.sort_by_key(|module| module.range.start);
        self.engine = UnwinderNative::new();
        listed.iter().for_each(|module| self.engine.add_module(described(module)));
        self.cache = CacheNative::new();
        self.covered.clear();
        self.modules = listed;
    }

    /// Unwinds from registers, over a copy that begins at their stack pointer.
    fn walk(&mut self, registers: Registers, copy: &[u8]) -> RawStack {
        let mut read = |address: u64| {
            let offset = address.wrapping_sub(registers.sp) as usize;
            let word = copy.get(offset..).and_then(|rest| rest.first_chunk::<8>());
            word.map(|word| u64::from_ne_bytes(*word)).ok_or(())
        };
        let mut frames =
            self.engine.iter_frames(registers.ip, native(&registers), &mut self.cache, &mut read);
        let mut stack = RawStack::default();
        while stack.addresses.len() < FRAMES {
            match frames.next() {
                Ok(Some(frame)) => stack.addresses.push(frame.address()),
                Ok(None) => {
                    stack.is_complete = true;
                    break;
                }
                Err(_) => break,
            }
        }
        let covered = stack.addresses.iter().enumerate().filter(|(index, address)| {
            self.is_covered(if *index == 0 { **address } else { address.wrapping_sub(1) })
        });
        let covered = covered.count();
        stack.is_guessed = covered < stack.addresses.len();
        // A chain of frame pointers can end in a zero by chance: without any table that is no root.
        stack.is_complete &= covered > 0;
        stack
    }

    fn is_covered(&mut self, address: u64) -> bool {
        let modules = &self.modules;
        let look = || find(modules, address).is_some_and(|module| module.is_covered(address));
        *self.covered.entry(address).or_insert_with(look)
    }

    /// Searches the copy for the first return address from which the tables lead on; `None` where there is none that
    /// leads further than what was found without.
    fn search(&mut self, sample: &Sample, found: &RawStack) -> Option<RawStack> {
        let memory = Memory::open().ok()?;
        let words = sample.stack[..sample.stack.len().min(SEARCHED_BYTES)].chunks_exact(8);
        let words = words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes)).enumerate();
        let mut best: Option<RawStack> = None;
        for (index, address) in words {
            // The call is covered by tables, so it is not the table-less code's own.
            if !self.is_covered(address.wrapping_sub(1)) || !self.is_behind_call(&memory, address) {
                continue;
            }
            let offset = (index + 1) * 8;
            let sp = sample.registers.sp + offset as u64;
            // Unwinding begins inside the call instruction, because an exact address is expected.
            let caller = Registers { ip: address - 1, sp, fp: sample.registers.fp, lr: 0 };
            let mut stack = self.walk(caller, &sample.stack[offset..]);
            stack.addresses[0] = address;
            stack.addresses.insert(0, sample.registers.ip);
            stack.is_guessed = true;
            let is_longer = stack.addresses.len() > best.as_ref().unwrap_or(found).addresses.len();
            if stack.is_complete && (is_longer || !found.is_complete) {
                return Some(stack);
            }
            if is_longer && !found.is_complete {
                best = Some(stack);
            }
        }
        best
    }

    /// Whether the instruction before an address is a call. Read by system call: a library may be unmapped at any time.
    fn is_behind_call(&self, memory: &Memory, address: u64) -> bool {
        let module = find(&self.modules, address);
        if !module.is_some_and(|module| module.has_code(address) && module.has_code(address.wrapping_sub(8)))
        {
            return false;
        }
        memory.read::<8>(address - 8).is_some_and(|bytes| ends_with_call(&bytes, address))
    }
}

/// Whether eight bytes of code end with a call instruction.
#[cfg(target_arch = "x86_64")]
fn ends_with_call(code: &[u8; 8], _address: u64) -> bool {
    // Of the byte after 0xff, bits 3 to 5 are 2 for a near call.
    let is_indirect = |at: usize| code[at] == 0xff && code[at + 1] & 0x38 == 0x10;
    // call rel32; call register; call [register + 8 bits]; call [register + 32 bits] or [rip + 32 bits].
    code[3] == 0xe8 || is_indirect(6) || is_indirect(5) || is_indirect(2)
}

/// Whether eight bytes of code end with a call instruction.
#[cfg(target_arch = "aarch64")]
fn ends_with_call(code: &[u8; 8], address: u64) -> bool {
    let word = u32::from_le_bytes([code[4], code[5], code[6], code[7]]);
    // bl, blr.
    address % 4 == 0 && (word >> 26 == 0b100101 || word & 0xffff_fc1f == 0xd63f_0000)
}

#[cfg(target_arch = "x86_64")]
fn native(registers: &Registers) -> framehop::UnwindRegsNative {
    framehop::UnwindRegsNative::new(registers.ip, registers.sp, registers.fp)
}

#[cfg(target_arch = "aarch64")]
fn native(registers: &Registers) -> framehop::UnwindRegsNative {
    // Signed return addresses carry their signature above bit 47, the highest of a program's addresses.
    let mask = framehop::aarch64::PtrAuthMask(u64::MAX >> 16);
    framehop::UnwindRegsNative::new_with_ptr_auth_mask(mask, registers.lr, registers.sp, registers.fp)
}

/// Describes a module to framehop.
fn described(module: &Module) -> framehop::Module<Bytes> {
    let mut sections = ExplicitModuleSectionInfo::<Bytes>::default();
    if let Some(tables) = &module.tables {
        let place = |at: u64, bytes: &Bytes| {
            let begin = at.wrapping_sub(module.base);
            begin..begin.wrapping_add(bytes.len() as u64)
        };
        sections.eh_frame_hdr_svma = Some(place(tables.index_at, &tables.index));
        sections.eh_frame_hdr = Some(tables.index.clone());
        sections.eh_frame_svma = Some(place(tables.frames_at, &tables.frames));
        sections.eh_frame = Some(tables.frames.clone());
    }
    framehop::Module::new(module.name.to_string(), module.range.clone(), module.base, sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_leads_nowhere_gives_the_leaf_alone() {
        let mut unwinder = Unwinder::new();
        let registers = Registers { ip: 0x10, sp: 0x7000, fp: 0, lr: 0 };
        for (stack, is_off_stack) in [(vec![0_u8; 64], false), (vec![0xff; 61], false), (Vec::new(), true)] {
            let sample = Sample {
                at_ns: 0,
                tags: Vec::new(),
                registers,
                stack,
                is_off_stack,
                is_cut: false,
                handler_ns: 0,
                source: crate::capturer::SampleSource::Handler,
            };
            let stack = unwinder.unwind(&sample);
            assert_eq!(stack.addresses, [0x10]);
            assert!(!stack.is_complete);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn calls_are_told_from_other_instructions() {
        for (code, is_call) in [
            ([0x90, 0x90, 0x90, 0xe8, 1, 2, 3, 4], true),
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0], true),
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x18], true),
            ([0x90, 0x90, 0xff, 0x15, 1, 2, 3, 4], true),
            ([0x90, 0x90, 0x90, 0xe9, 1, 2, 3, 4], false),
            ([0x90; 8], false),
        ] {
            assert_eq!(ends_with_call(&code, 0x1000), is_call, "{code:x?}");
        }
    }
}
