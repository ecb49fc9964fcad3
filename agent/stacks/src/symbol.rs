//! Names: from addresses to functions, files and lines, by the symbol tables and debug information of the modules' files.
//!
//! blazesym does the reading. It was measured against addr2line and wholesym: the first names of a 63 MB program came in
//! half the time, in half the memory, and dropping it frees everything. It keeps counted references, so a [`Symbolizer`]
//! stays on the thread that made it.

use crate::modules::{Module, find};
use crate::source_path::CrateFolders;
use crate::unwind::RawStack;
use blazesym::symbolize::source::{Elf, Process, Source};
use blazesym::symbolize::{Builder, CodeInfo, Input, Reason, Sym, Symbolized};
use blazesym::{Pid, helper};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names kept; some 300 bytes each. More distinct addresses than a long capture of a large program has.
const NAMES: usize = 1 << 16;

/// How much is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// Functions from symbol tables: some ms for a module's first name, then some us. No lines, and inlined calls are
    /// part of the function they were inlined into.
    Symbols,
    /// Functions, files, lines and inlined calls from debug information: up to 100 ms for a large program's first name,
    /// and about as much memory as the debug information is large, until the symbolizer is dropped.
    Lines,
}

/// A call on a stack, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeFrame {
    /// The function with its path, demangled and without its hash; `libfoo.so.1+0x1234` where the module has no
    /// symbol for it. Of an inlined Rust function whose debug information has lines only, the path is that of the
    /// module of its file: `tokio::runtime::blocking::pool::{closure#0}`.
    pub function: String,
    /// The source file, as the compiler was given it.
    pub file: Option<String>,
    /// The line in it: of the call, or at the leaf of the instruction.
    pub line: Option<u32>,
    /// The column in that line, from 1; `None` where debug information does not tell.
    pub column: Option<u32>,
    /// The module's name, such as `libc.so.6`; `None` for an address outside all modules.
    pub module: Option<Arc<str>>,
    /// The module's build id, in hexadecimal digits.
    pub build_id: Option<Arc<str>>,
    /// The address as in the module's file, within the call; the whole address where there is no module.
    pub offset: u64,
    /// The compiler put this function's body into its caller, the next frame.
    pub is_inlined: bool,
}

/// A module whose functions could not be named, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameless {
    /// The module's name.
    pub module: Arc<str>,
    /// Why, and what to install or change; a sentence.
    pub advice: String,
}

/// Names addresses, and remembers the names.
pub struct Symbolizer {
    detail: Detail,
    engine: blazesym::symbolize::Symbolizer,
    /// By module and address in its file, and by how much was looked up.
    names: HashMap<(u64, u64, Detail), Arc<[NativeFrame]>>,
    /// By the modules' numbers, likewise.
    files: HashMap<(u64, Detail), File>,
    nameless: BTreeMap<Arc<str>, String>,
    folders: CrateFolders,
}

/// Which file names a module's functions.
#[derive(Clone)]
enum File {
    /// Its own, or one with symbols only that is installed apart.
    Named(Arc<Path>),
    /// The kernel's own, in memory.
    Vdso,
    /// None.
    Useless,
}

impl Symbolizer {
    /// Opens nothing yet.
    pub fn new(detail: Detail) -> Symbolizer {
        let has_lines = detail == Detail::Lines;
        let engine = Builder::default()
            .enable_auto_reload(false)
            .enable_code_info(has_lines)
            .enable_inlined_fns(has_lines);
        Symbolizer {
            detail,
            engine: engine.build(),
            names: HashMap::new(),
            files: HashMap::new(),
            nameless: BTreeMap::new(),
            folders: CrateFolders::default(),
        }
    }

    /// Returns the calls of a stack, leaf first, inlined ones expanded. `modules` are those of the unwinder that made it.
    pub fn name(&mut self, stack: &RawStack, modules: &[Module]) -> Vec<NativeFrame> {
        let calls = self.name_each(stack, modules);
        let mut frames = Vec::with_capacity(calls.len());
        calls.iter().for_each(|call| frames.extend_from_slice(call));
        frames
    }

    /// Returns the same for each address of the stack: the function, and before it what was inlined into it.
    pub fn name_each(&mut self, stack: &RawStack, modules: &[Module]) -> Vec<Arc<[NativeFrame]>> {
        let detail = self.detail;
        self.name_each_as(stack, modules, |_| detail)
    }

    /// [`Symbolizer::name_each`] with as much of each module as is wanted, and no more than the symbolizer was made
    /// for. A file is read once for both: lines that nobody needs take the most memory of all.
    pub fn name_each_as(
        &mut self,
        stack: &RawStack,
        modules: &[Module],
        wanted: impl Fn(&Module) -> Detail,
    ) -> Vec<Arc<[NativeFrame]>> {
        // A return address is behind the call, and may already belong to the next line or function.
        let place = |(index, address): (usize, &u64)| address.wrapping_sub(u64::from(index > 0));
        // The root first: functions there tell which crate the sources of those that they call are of.
        let each = stack.addresses.iter().enumerate().rev();
        let mut calls: Vec<_> = each.map(|each| self.name_address(place(each), modules, &wanted)).collect();
        calls.reverse();
        calls
    }

    /// Returns the modules met so far whose functions could not be named, with what to do about it.
    pub fn nameless(&self) -> Vec<Nameless> {
        let nameless = |(module, advice): (&Arc<str>, &String)| Nameless {
            module: module.clone(),
            advice: advice.clone(),
        };
        self.nameless.iter().map(nameless).collect()
    }

    fn name_address(
        &mut self,
        address: u64,
        modules: &[Module],
        wanted: impl Fn(&Module) -> Detail,
    ) -> Arc<[NativeFrame]> {
        let Some(module) = find(modules, address) else {
            let unknown = format!("unknown+{address:#x}");
            return Arc::new([frame(unknown, None, None, address)]);
        };
        let detail = if self.detail == Detail::Lines { wanted(module) } else { self.detail };
        let key = (module.number, address.wrapping_sub(module.base), detail);
        if let Some(known) = self.names.get(&key) {
            return known.clone();
        }
        let named: Arc<[NativeFrame]> = self.look_up(module, address, detail).into();
        if self.names.len() >= NAMES {
            self.names.clear();
        }
        self.names.insert(key, named.clone());
        named
    }

    fn look_up(&mut self, module: &Module, address: u64, detail: Detail) -> Vec<NativeFrame> {
        let offset = address.wrapping_sub(module.base);
        let file = match self.files.get(&(module.number, detail)) {
            Some(file) => file.clone(),
            None => self.open(module, detail),
        };
        let symbol = match &file {
            File::Named(path) => self.find(module, path, offset, detail == Detail::Lines),
            File::Vdso => self.find_in_vdso(address),
            File::Useless => None,
        };
        let Some(symbol) = symbol else {
            return vec![frame(format!("{}+{offset:#x}", module.name), None, Some(module), offset)];
        };
        let mut frames = expanded(&symbol, module, offset);
        // Debug information of lines only (`debug = "line-tables-only"`) has functions' bare names, without
        // their modules; the symbol table has the full ones, but knows no inlined calls.
        let full = match &file {
            File::Named(path) if detail == Detail::Lines => self.find(module, path, offset, false),
            _ => None,
        };
        let is_known = full.is_some();
        if let (Some(outer), Some(full)) = (frames.last_mut(), full) {
            outer.function = full.name.into_owned();
        }
        self.qualify(&mut frames, is_known);
        frames
    }

    /// Gives the calls at one address, leaf first, their paths. `is_outer_known` tells whether that of the outermost
    /// is whole.
    fn qualify(&mut self, frames: &mut [NativeFrame], is_outer_known: bool) {
        let bare = match frames.split_last_mut() {
            Some((outer, inlined)) if is_outer_known => {
                outer.file.iter().for_each(|file| self.folders.learn(&outer.function, file));
                inlined
            }
            _ => frames,
        };
        for frame in bare {
            let Some(file) = &frame.file else { continue };
            if let Some(path) = self.folders.qualified(&frame.function, file) {
                frame.function = path;
            }
        }
    }

    /// Finds out, once for a module, what its file is good for.
    fn open(&mut self, module: &Module, detail: Detail) -> File {
        let (file, advice) = match &module.path {
            Some(path) => self.examine(path, module, detail),
            None => (File::Vdso, None),
        };
        self.files.insert((module.number, detail), file.clone());
        if let Some(advice) = advice {
            self.nameless.insert(module.name.clone(), advice);
        }
        file
    }

    fn examine(&self, path: &Path, module: &Module, detail: Detail) -> (File, Option<String>) {
        let shown = path.display();
        match helper::read_elf_build_id(path) {
            Err(error) => {
                return (
                    File::Useless,
                    Some(format!(
                        "cannot read {shown} ({error}): keep the file in place while the program runs"
                    )),
                );
            }
            Ok(Some(id)) if module.build_id.as_deref().is_some_and(|known| known != hexadecimal(&id)) => {
                let advice = format!(
                    "{shown} was replaced since it was loaded, so its symbols do not match: restart the program"
                );
                return (File::Useless, Some(advice));
            }
            Ok(_) => {}
        }
        // Any code address tells whether there is a symbol table.
        let probe = module.code.first().map_or(0, |code| code.start.wrapping_sub(module.base));
        let has_symbols = |path: &Path, debug| {
            !matches!(self.ask(path, probe, debug), Some(Symbolized::Unknown(Reason::MissingSyms)) | None)
        };
        if has_symbols(path, false) {
            return (File::Named(path.into()), None);
        }
        // Found by the build id, so that nothing need be checked. By the name in the file itself, blazesym would read the
        // whole of it for a checksum, 35 ms for the C library's, and only does so for lines.
        let apart = module.build_id.as_deref().and_then(installed_apart);
        if let Some(apart) = apart.filter(|apart| has_symbols(apart, false)) {
            return (File::Named(apart.into()), None);
        }
        if detail == Detail::Lines && has_symbols(path, true) {
            return (File::Named(path.into()), None);
        }
        let advice = format!(
            "{shown} has no symbol table: install its debug symbols (the package ending in -dbgsym or -debuginfo of a \
             distribution's library), or build it without stripping (strip = \"none\" in the Cargo profile)"
        );
        // Exported functions still have names.
        (File::Named(path.into()), Some(advice))
    }

    fn find(&self, module: &Module, path: &Path, offset: u64, debug: bool) -> Option<Sym<'_>> {
        let found = self.ask(path, offset, debug).and_then(Symbolized::into_sym)?;
        if !is_mapping_symbol(&found.name) {
            return Some(found);
        }
        // Where the function begins, its own symbol is found before those without a size.
        let begin = module.function_begin(module.base.wrapping_add(offset))?.wrapping_sub(module.base);
        let found = self.ask(path, begin, debug).and_then(Symbolized::into_sym)?;
        Some(found).filter(|found| !is_mapping_symbol(&found.name))
    }

    fn ask(&self, path: &Path, offset: u64, debug: bool) -> Option<Symbolized<'_>> {
        let mut elf = Elf::new(path);
        elf.debug_syms = debug;
        self.engine.symbolize_single(&Source::Elf(elf), Input::VirtOffset(offset)).ok()
    }

    /// The vDSO has no file: blazesym reads it from memory.
    fn find_in_vdso(&self, address: u64) -> Option<Sym<'_>> {
        let mut process = Process::new(Pid::Slf);
        process.debug_syms = false;
        process.perf_map = false;
        process.map_files = false;
        let found = self.engine.symbolize_single(&Source::Process(process), Input::AbsAddr(address)).ok()?;
        found.into_sym()
    }
}

fn frame(function: String, code: Option<&CodeInfo<'_>>, module: Option<&Module>, offset: u64) -> NativeFrame {
    NativeFrame {
        function,
        file: code.map(|code| code.to_path().to_string_lossy().into_owned()),
        line: code.and_then(|code| code.line),
        column: code.and_then(|code| code.column).filter(|column| *column > 0).map(u32::from),
        module: module.map(|module| module.name.clone()),
        build_id: module.and_then(|module| module.build_id.clone()),
        offset,
        is_inlined: false,
    }
}

/// A function and what was inlined into it, innermost first.
fn expanded(symbol: &Sym<'_>, module: &Module, offset: u64) -> Vec<NativeFrame> {
    let inlined = symbol.inlined.iter().rev().map(|inlined| {
        let inner = frame(inlined.name.to_string(), inlined.code_info.as_ref(), Some(module), offset);
        NativeFrame { is_inlined: true, ..inner }
    });
    let outer = frame(symbol.name.to_string(), symbol.code_info.as_deref(), Some(module), offset);
    inlined.chain([outer]).collect()
}

/// Returns where debug symbols of a build are installed, whether they are or not.
fn installed_apart(build_id: &str) -> Option<PathBuf> {
    let (folder, name) = build_id.split_at_checked(2)?;
    Some(PathBuf::from(format!("/usr/lib/debug/.build-id/{folder}/{name}.debug")))
}

/// Whether a symbol only marks where code (`$x`) or data (`$d`) begins, as on aarch64, also within a function.
fn is_mapping_symbol(name: &str) -> bool {
    let rest = name.strip_prefix("$x").or_else(|| name.strip_prefix("$d"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
