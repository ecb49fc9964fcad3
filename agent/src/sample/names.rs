//! From the addresses of a session to a profile: functions, files, lines, inlined calls.

use crate::address_source::{AddressCall, AddressSources, AddressStack};
use crate::sample::store::{Found, Stacked};
use crate::watch::stack_symbolizer::detail_of;
use loopscope_probe::Site;
use loopscope_probe::SiteId;
use loopscope_probe::description::{Description, FrameRule};
use loopscope_probe::raw::registry::LocalPage;
use loopscope_report::model::frame_owner::{FrameOwner, FrameText};
use loopscope_report::model::plumbing::depth as plumbing_depth;
use loopscope_report::profiles::{Code, Module, Profile, ProfileFrame as Frame, loop_frame, site_frame};
use loopscope_report::words::known_phase;
use loopscope_stacks::{Detail, NativeFrame, RawStack, Symbolizer, Unwinder};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A module's name and build id.
type ModuleKey = (Arc<str>, Option<Arc<str>>);

/// What the samples of a loop are named by.
pub(crate) struct LoopNames {
    name: String,
    sites: Vec<Site>,
    runtime: String,
    /// What the runtime says of itself, so of whose frames are.
    description: Arc<Description>,
}

impl LoopNames {
    /// Copies them from its page.
    pub(crate) fn of(page: &LocalPage) -> LoopNames {
        LoopNames {
            name: frame_name(page),
            sites: page.page().sites().read(),
            runtime: page.page().facts().runtime,
            description: page.page().description(),
        }
    }

    /// Returns what the loop is called.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns what its runtime says of itself.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }
}

/// The frames of each call of a stack, leaf first.
type Calls = Vec<Arc<[NativeFrame]>>;

/// Names frames of one session's samples. Made at its end, and dropped then: debug information takes memory.
pub(crate) struct Names<'a> {
    symbolizer: Symbolizer,
    unwinder: &'a Unwinder,
    addresses: &'a AddressSources,
    modules: HashMap<ModuleKey, Arc<Module>>,
    /// By the loop's index in the session.
    loops: HashMap<usize, LoopNames>,
    /// Why runtimes did not name their own code.
    troubles: BTreeSet<String>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(
        unwinder: &'a Unwinder,
        addresses: &'a AddressSources,
        loops: HashMap<usize, LoopNames>,
    ) -> Names<'a> {
        Names {
            symbolizer: Symbolizer::new(Detail::Lines),
            unwinder,
            addresses,
            modules: HashMap::new(),
            loops,
            troubles: BTreeSet::new(),
        }
    }

    /// Adds stacks to a profile, the layout first. Returns their numbers there.
    pub(crate) fn add(&mut self, stacks: &[Stacked], profile: &mut Profile) -> Vec<u32> {
        let native: Vec<Calls> = stacks.iter().map(|stacked| self.native(&stacked.found)).collect();
        let foreign = self.foreign(stacks, &native);
        let add = |((stacked, native), foreign): ((&Stacked, &Calls), &Vec<Option<Told>>)| {
            profile.add(self.frames(&stacked.found, native, foreign), stacked.ns, stacked.count)
        };
        stacks.iter().zip(&native).zip(&foreign).map(add).collect()
    }

    fn native(&mut self, found: &Found) -> Calls {
        let raw = RawStack { addresses: found.addresses.clone(), ..RawStack::default() };
        let description = &self.loops[&found.loop_index].description;
        let wanted = |module: &loopscope_stacks::Module| detail_of(description.frame_rules(), module);
        self.symbolizer.name_each_as(&raw, self.unwinder.modules(), wanted)
    }

    /// Returns the frames that runtimes have for calls of their own; empty for a stack that has none.
    fn foreign(&mut self, stacks: &[Stacked], native: &[Calls]) -> Vec<Vec<Option<Told>>> {
        let mut foreign = vec![Vec::new(); stacks.len()];
        let of = |index: usize| self.loops[&stacks[index].found.loop_index].runtime.as_str();
        let runtimes: BTreeSet<&str> = (0..stacks.len()).map(of).collect();
        for runtime in runtimes.into_iter().filter(|runtime| self.addresses.has(runtime)) {
            let own: Vec<usize> = (0..stacks.len()).filter(|index| of(*index) == runtime).collect();
            let asked: Vec<AddressStack<'_>> =
                own.iter().map(|index| asked(&stacks[*index].found, &native[*index])).collect();
            match self.addresses.names(runtime, &asked) {
                Ok(names) => own.iter().zip(names).for_each(|(index, names)| foreign[*index] = names),
                Err(trouble) => _ = self.troubles.insert(trouble),
            }
        }
        foreign
    }

    /// Returns the frames of one stack, the root first.
    fn frames(&mut self, found: &Found, native: &Calls, foreign: &[Option<Told>]) -> Vec<Frame> {
        let mut frames = self.layout(found);
        let calls: Vec<Call<'_>> = native
            .iter()
            .zip(&found.addresses)
            .enumerate()
            .flat_map(|(index, (native, address))| match foreign.get(index).and_then(Option::as_ref) {
                Some(told) => vec![Call::Foreign(told, *address)],
                None => native.iter().map(Call::Native).collect(),
            })
            .collect();
        let rules = self.loops[&found.loop_index].description.frame_rules();
        let owners: Vec<FrameOwner> = calls.iter().rev().map(|call| call.owner(rules)).collect();
        let plumbing = plumbing_depth(&owners, found.kind.is_some());
        frames.extend(calls.iter().rev().skip(plumbing).map(|call| self.code(call)));
        frames.extend(found.wait.as_deref().map(Frame::plain));
        frames
    }

    /// Returns what to do about modules without symbols, a sentence each, not too many; and which runtimes failed to name
    /// their code.
    pub(crate) fn advice(&self) -> Vec<String> {
        let nameless = self.symbolizer.nameless().into_iter().take(2);
        let nameless = nameless.map(|nameless| format!("{}: {}", nameless.module, nameless.advice));
        nameless.chain(self.troubles.iter().cloned()).collect()
    }

    /// Loop, phase, callback site, drained job, spans.
    fn layout(&self, found: &Found) -> Vec<Frame> {
        let LoopNames { name, sites, description, .. } = &self.loops[&found.loop_index];
        let site = |site: SiteId| site_frame(sites.get(site.index()), description);
        let mut frames = vec![loop_frame(name)];
        frames.extend(known_phase(description, found.phase).map(Frame::plain));
        if found.parent != SiteId::NONE {
            frames.push(site(found.parent));
        }
        if found.kind.is_some() {
            frames.push(site(found.site));
        }
        frames.extend(found.spans.iter().map(|span| site(*span)));
        frames
    }

    fn code(&mut self, call: &Call<'_>) -> Frame {
        let (function, file) = call.function();
        let (code, line, column, is_function_start) = match call {
            Call::Native(native) => {
                let module = native.module.as_ref().map(|name| self.module(name, native.build_id.as_ref()));
                let code = Code { module, offset: native.offset, is_inlined: native.is_inlined };
                (code, native.line, native.column, false)
            }
            Call::Foreign(told, address) => {
                let code = Code { module: None, offset: *address, is_inlined: false };
                (code, told.line, told.column, told.is_function_start)
            }
        };
        let column = column.unwrap_or(0);
        let placed = Frame::placed(function, file, line.unwrap_or(0));
        Frame { code: Some(code), column, is_function_start, ..placed }
    }

    fn module(&mut self, name: &Arc<str>, build_id: Option<&Arc<str>>) -> Arc<Module> {
        let key = (name.clone(), build_id.cloned());
        let unwinder = self.unwinder;
        let module = self.modules.entry(key).or_insert_with(|| {
            let loaded = unwinder.modules().iter().find(|module| module.name == *name);
            let path = loaded.and_then(|module| Some(module.path.as_ref()?.display().to_string()));
            let build_id = build_id.map_or(String::new(), |build_id| build_id.to_string());
            Arc::new(Module { path: path.unwrap_or_else(|| name.to_string()), build_id })
        });
        module.clone()
    }
}

/// A frame as its runtime told it.
type Told = loopscope_report::incident::Frame;

/// One call on a stack.
enum Call<'a> {
    Native(&'a NativeFrame),
    /// As its runtime told it, at this address.
    Foreign(&'a Told, u64),
}

impl Call<'_> {
    /// Returns function and file, which may be empty.
    fn function(&self) -> (&str, &str) {
        let (function, file) = match self {
            Call::Native(native) => (&native.function, &native.file),
            Call::Foreign(told, _) => (&told.function, &told.file),
        };
        (function, file.as_deref().unwrap_or(""))
    }

    fn owner(&self, rules: &[FrameRule]) -> FrameOwner {
        let told = match self {
            Call::Native(_) => FrameOwner::Program,
            Call::Foreign(told, _) => told.owner,
        };
        if !told.is_program() {
            return told;
        }
        let (function, file) = self.function();
        let (module, is_told) = match self {
            Call::Native(native) => (native.module.as_deref(), false),
            Call::Foreign(..) => (None, true),
        };
        FrameOwner::of(
            &FrameText { function, file: Some(file).filter(|file| !file.is_empty()), module, is_told },
            rules,
        )
    }
}

/// Returns a stack as its runtime is asked for it.
fn asked<'a>(found: &'a Found, native: &'a Calls) -> AddressStack<'a> {
    let call = |(address, frames): (&u64, &'a Arc<[NativeFrame]>)| {
        let outer = frames.last().filter(|frame| frame.module.is_some());
        AddressCall { address: *address, function: outer.map(|frame| frame.function.as_str()) }
    };
    let calls = found.addresses.iter().zip(native).map(call).collect();
    AddressStack { calls, foreign: (!found.foreign.is_empty()).then_some(&*found.foreign) }
}

/// Returns what a loop is called in a flamegraph: of two of one name, each by its label; a worker is told from others by
/// its name.
pub(crate) fn frame_name(page: &LocalPage) -> String {
    let facts = page.page().facts();
    if facts.worker.is_none() { page.label().to_owned() } else { facts.name }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
