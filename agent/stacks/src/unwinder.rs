//! What unwinding goes by: the process's modules and their tables, and what is remembered of addresses.

use crate::loader_list::Changes;
use crate::machine_code::Callee;
use crate::modules::{self, Module};
use crate::tables::Bytes;
use framehop::{
    CacheNative, ExplicitModuleSectionInfo, MayAllocateDuringUnwind, Unwinder as _, UnwinderNative,
};
use std::collections::HashMap;

/// Modules that were unloaded, and are kept for the samples that were taken before.
const UNLOADED: usize = 32;

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

    /// Lists the modules anew where some came or went, and forgets what it knows of addresses where that has become much.
    pub(crate) fn renew(&mut self) {
        if Changes::now() != self.changes {
            self.refresh();
        }
        if self.begins.len().max(self.called.len()).max(self.led.len()) > REMEMBERED {
            self.forget();
        }
    }

    /// Forgets what it knows of addresses.
    fn forget(&mut self) {
        self.begins.clear();
        self.called.clear();
        self.led.clear();
    }

    fn refresh(&mut self) {
        // Counted before listing: what is loaded in between is then seen at the next sample.
        self.changes = Changes::now();
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
