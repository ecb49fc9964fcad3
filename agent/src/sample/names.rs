//! From the addresses of a session to a profile: functions, files, lines, inlined calls.

use crate::sample::store::{Found, Stacked};
use loopscope_probe::description::Description;
use loopscope_probe::registry::LocalPage;
use loopscope_probe::site::Site;
use loopscope_probe::{Page, SiteId};
use loopscope_report::model::plumbing::depth as plumbing_depth;
use loopscope_report::profiles::{Code, Frame, Module, Profile, loop_frame, site_frame};
use loopscope_report::words::known_phase;
use loopscope_stacks::{Detail, NativeFrame, RawStack, Symbolizer, Unwinder};
use std::collections::HashMap;
use std::sync::Arc;

/// A module's name and build id.
type ModuleKey = (Arc<str>, Option<Arc<str>>);

/// Names frames of one session's samples. Made at its end, and dropped then: debug information takes memory.
pub(crate) struct Names<'a> {
    symbolizer: Symbolizer,
    unwinder: &'a Unwinder,
    modules: HashMap<ModuleKey, Arc<Module>>,
    /// Loop, sites, and what its runtime says of itself, by the loop's index in the session.
    loops: Vec<(String, Vec<Site>, Arc<Description>)>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(unwinder: &'a Unwinder, pages: &[&LocalPage]) -> Names<'a> {
        let facts = |page: &Page| (page.loop_name(), page.sites().read(), page.description());
        let loops = pages.iter().map(|page| facts(page.page()));
        Names {
            symbolizer: Symbolizer::new(Detail::Lines),
            unwinder,
            modules: HashMap::new(),
            loops: loops.collect(),
        }
    }

    /// Adds a stack to a profile, the layout first. Returns its number there.
    pub(crate) fn add(&mut self, stacked: &Stacked, profile: &mut Profile) -> u32 {
        let found = &*stacked.found;
        let mut frames = self.layout(found);
        let raw = RawStack { addresses: found.addresses.clone(), ..RawStack::default() };
        let native = self.symbolizer.name(&raw, self.unwinder.modules());
        let functions: Vec<(&str, &str)> = native
            .iter()
            .rev()
            .map(|frame| (frame.function.as_str(), frame.file.as_deref().unwrap_or("")))
            .collect();
        let plumbing = plumbing_depth(&functions, found.kind.is_some());
        frames.extend(native.iter().rev().skip(plumbing).map(|frame| self.code(frame)));
        frames.extend(found.wait.as_deref().map(Frame::plain));
        profile.add(frames, stacked.ns, stacked.count)
    }

    /// Returns what to do about modules without symbols, a sentence each, not too many.
    pub(crate) fn advice(&self) -> Vec<String> {
        let nameless = self.symbolizer.nameless().into_iter().take(2);
        nameless.map(|nameless| format!("{}: {}", nameless.module, nameless.advice)).collect()
    }

    /// Loop, phase, callback site, drained job, spans.
    fn layout(&self, found: &Found) -> Vec<Frame> {
        let (name, sites, runtime) = &self.loops[found.loop_index];
        let site = |site: SiteId| site_frame(sites.get(site.index()), runtime);
        let mut frames = vec![loop_frame(name)];
        frames.extend(known_phase(runtime, found.phase).map(Frame::plain));
        if found.parent != SiteId::NONE {
            frames.push(site(found.parent));
        }
        if found.kind.is_some() {
            frames.push(site(found.site));
        }
        frames.extend(found.spans.iter().map(|span| site(*span)));
        frames
    }

    fn code(&mut self, native: &NativeFrame) -> Frame {
        let module = native.module.as_ref().map(|name| self.module(name, native.build_id.as_ref()));
        let code = Code { module, offset: native.offset, is_inlined: native.is_inlined };
        let file = native.file.as_deref().unwrap_or("");
        Frame { code: Some(code), ..Frame::placed(&native.function, file, native.line.unwrap_or(0)) }
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
