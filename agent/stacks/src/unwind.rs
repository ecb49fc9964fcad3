//! From the copy of a stack to addresses, by the unwind tables of the modules. On the asking side only.
//!
//! Where a function has no table (musl's C library, some assembly), framehop follows the frame pointer, which such code
//! uses for other things: the function's caller is then lost, or the walk ends at once. And of a thread that sleeps, the
//! frame pointer is not known. So the copy is searched for what is missing: `frame_search.rs`.

use crate::capturer::{Sample, SampleSource};
use crate::frame_search::Search;
use crate::machine_code::Callee;
use crate::memory::Memory;
use crate::modules::{self, Changes, Module, find};
use crate::tables::Bytes;
use crate::walk::{Chain, Copied, FRAMES, Gap, known, partly_known};
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Unwinder as _,
    UnwinderNative,
};
use std::collections::HashMap;

/// Modules that were unloaded, and are kept for the samples that were taken before.
const UNLOADED: usize = 32;

/// Addresses of one stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawStack {
    /// Leaf first. The first is exact, where the thread was; the others are return addresses, just behind a call.
    pub addresses: Vec<u64>,
    /// Some frame was found without an unwind table, or by trying what could be the frame pointer of a thread that
    /// slept, so that the frames beside it may be wrong.
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

/// Addresses that something is remembered of; 32 bytes each.
const REMEMBERED: usize = 1 << 16;

/// Unwinds samples, and knows the process's modules. It lists them anew when some were loaded or unloaded.
pub struct Unwinder {
    pub(crate) engine: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    pub(crate) cache: CacheNative<MayAllocateDuringUnwind>,
    pub(crate) modules: Vec<Module>,
    changes: Changes,
    /// Where the function begins that an address lies in: searching the tables costs more than unwinding by a cached rule.
    pub(crate) begins: HashMap<u64, Option<u64>>,
    /// What the instruction before an address calls: reading it is a system call.
    pub(crate) called: HashMap<u64, Option<Callee>>,
    /// Whether one function leads to another, or to code without tables, by a jump: its code is read for that.
    pub(crate) led: HashMap<(u64, Option<u64>), bool>,
    /// Frames walked, and places tried, for the present sample.
    pub(crate) steps: usize,
    pub(crate) tries: usize,
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
            begins: HashMap::new(),
            called: HashMap::new(),
            led: HashMap::new(),
            steps: 0,
            tries: 0,
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
        if self.begins.len().max(self.called.len()).max(self.led.len()) > REMEMBERED {
            self.forget();
        }
        (self.steps, self.tries) = (0, 0);
        let copied = Copied { sp: sample.registers.sp, bytes: &sample.stack, is_cut: sample.is_cut };
        let chain = self.chain(sample, &copied);
        let is_complete = chain.is_complete();
        RawStack {
            is_guessed: chain.is_searched || chain.gap.is_some(),
            is_cut: !is_complete && (sample.is_cut || chain.addresses.len() >= FRAMES),
            is_complete,
            addresses: chain.addresses,
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

    /// Forgets what it knows of addresses.
    fn forget(&mut self) {
        self.begins.clear();
        self.called.clear();
        self.led.clear();
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
        self.forget();
        self.modules = listed;
    }
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
    use crate::registers::Registers;

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
                source: SampleSource::Handler,
            };
            let stack = unwinder.unwind(&sample);
            assert_eq!(stack.addresses, [0x10]);
            assert!(!stack.is_complete);
        }
    }
}
