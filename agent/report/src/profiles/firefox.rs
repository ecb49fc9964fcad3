//! The profile as the Firefox profiler's processed format, a thread per loop.
//!
//! The crate `fxprof-processed-profile` writes this format, too, but its frames know no file and line, and its weights
//! are whole milliseconds; the exact times of callbacks need fractions.
//!
//! # Source
//! Version 55 of the format, as that crate's 0.8.1 writes it; the profiler upgrades older versions when it loads them.

use crate::profiles::FlameError;
use crate::profiles::frame::{Module, ProfileFrame};
use crate::profiles::profile::{Profile, ProfileSample, Stack};
use loopscope_probe::Phase;
use loopscope_probe::raw::printable::printable_json;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const VERSION: u32 = 55;

/// Colours of the phases, in the order of their numbers, from the profiler's list.
const COLOURS: [&str; Phase::COUNT] = [
    "grey",
    "orange",
    "brown",
    "lightgreen",
    "green",
    "blue",
    "magenta",
    "purple",
    "yellow",
    "lightblue",
    "lightred",
    "darkgrey",
    "red",
    "orange",
    "green",
    "blue",
];

impl Profile {
    /// Writes the profile for profiler.firefox.com: samples at their moments, or sums of own time one after the other
    /// where no moments are known.
    ///
    /// # Errors
    /// [`FlameError::Empty`] where nothing is in it.
    pub fn firefox(&self) -> Result<Vec<u8>, FlameError> {
        if self.is_empty() {
            return Err(FlameError::Empty);
        }
        let mut modules = Modules::default();
        let loops = self.samples_by_loop();
        let threads = loops.iter().enumerate();
        let threads: Vec<Value> =
            threads.map(|(index, (name, samples))| self.thread(index, name, samples, &mut modules)).collect();
        let phases = (0..Phase::COUNT).filter_map(Phase::from_index);
        let categories = phases.map(|phase| {
            json!({ "name": self.phase_label(phase), "color": COLOURS[phase.index()], "subcategories": ["Other"] })
        }).collect::<Vec<_>>();
        let file = json!({
            "meta": {
                "categories": categories, "debug": false, "interval": ms(self.interval_ns.max(1)),
                "extensions": { "length": 0, "baseURL": [], "id": [], "name": [] },
                "preprocessedProfileVersion": VERSION, "version": 24, "processType": 0,
                "product": if self.process.is_empty() { "loopscope" } else { &self.process },
                "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
                "startTime": ms(self.begin_unix_ns), "symbolicated": true, "pausedRanges": [],
                "usesOnlyOneStackType": true, "sourceCodeIsNotOnSearchfox": true, "markerSchema": [],
                "extra": [{ "label": "loopscope", "entries": self.entries() }],
            },
            "libs": modules.libs, "threads": threads, "pages": [], "profilerOverhead": [], "counters": [],
        });
        Ok(printable_json(file.to_string().into_bytes()))
    }

    fn entries(&self) -> Vec<Value> {
        let notes =
            self.notes.iter().map(|note| json!({ "label": "note", "format": "string", "value": note }));
        notes.collect()
    }

    /// Returns the samples of each loop, in the order of time.
    fn samples_by_loop(&self) -> BTreeMap<&str, Vec<ProfileSample>> {
        let mut loops: BTreeMap<&str, Vec<ProfileSample>> = BTreeMap::new();
        let name_of = |stack: &Stack| stack.frames.first().map_or("", |frame| &*self.frames.get(*frame).text);
        if self.moments().is_empty() {
            // Sums have no moments: they are laid one behind the other.
            let mut at_ns: HashMap<&str, u64> = HashMap::new();
            for (stack, number) in self.numbered() {
                let at_ns = at_ns.entry(name_of(stack)).or_default();
                loops.entry(name_of(stack)).or_default().push(ProfileSample {
                    at_ns: *at_ns,
                    stack: number,
                    ns: stack.ns,
                });
                *at_ns = at_ns.saturating_add(stack.ns);
            }
        }
        for moment in self.moments() {
            loops.entry(name_of(self.stack(moment.stack))).or_default().push(*moment);
        }
        loops.values_mut().for_each(|samples| samples.sort_by_key(|moment| moment.at_ns));
        loops
    }

    fn thread(&self, index: usize, name: &str, samples: &[ProfileSample], modules: &mut Modules) -> Value {
        let mut tables = Tables::default();
        let stacks: Vec<usize> =
            samples.iter().map(|moment| tables.stack(self, moment.stack, modules)).collect();
        let mut before_ns = 0;
        let deltas: Vec<f64> = samples
            .iter()
            .map(|moment| ms(moment.at_ns - std::mem::replace(&mut before_ns, moment.at_ns)))
            .collect();
        let weights: Vec<f64> = samples.iter().map(|moment| ms(moment.ns)).collect();
        // Only processor time may be called that.
        let is_cpu = self.of == crate::profiles::kind::Of::Cpu;
        let cpu: Vec<u64> = samples.iter().map(|moment| if is_cpu { moment.ns } else { 0 }).collect();
        let mut thread = tables.json();
        thread["samples"] = json!({
            "length": samples.len(), "weightType": "tracing-ms", "stack": stacks, "timeDeltas": deltas,
            "weight": weights, "threadCPUDelta": cpu,
        });
        let facts = json!({
            "name": format!("loop {name}"), "isMainThread": index == 0, "processType": "default",
            "processName": self.process, "pid": self.pid.to_string(), "tid": index + 1,
            "processStartupTime": 0, "processShutdownTime": null, "registerTime": 0, "unregisterTime": null,
            "pausedRanges": [], "showMarkersInTimeline": false,
            "markers": {
                "length": 0, "category": [], "data": [], "endTime": [], "name": [], "phase": [], "startTime": [],
            },
        });
        if let (Value::Object(thread), Value::Object(facts)) = (&mut thread, facts) {
            thread.extend(facts);
        }
        thread
    }
}

/// Milliseconds with their fraction, as this format has all times.
fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// The programs and libraries of all threads.
#[derive(Default)]
struct Modules {
    numbers: HashMap<Arc<Module>, usize>,
    libs: Vec<Value>,
}

impl Modules {
    fn number(&mut self, module: &Arc<Module>) -> usize {
        if let Some(number) = self.numbers.get(module) {
            return *number;
        }
        let name = module.path.rsplit('/').next().unwrap_or(&module.path);
        self.libs.push(json!({
            "name": name, "debugName": name, "path": module.path, "debugPath": module.path,
            "breakpadId": "000000000000000000000000000000000", "codeId": module.build_id, "arch": std::env::consts::ARCH,
        }));
        self.numbers.insert(module.clone(), self.libs.len() - 1);
        self.libs.len() - 1
    }
}

/// The tables of one thread, which refer to each other by index.
/// Address, depth of inlining, category, function, line, column.
type FrameRow = (i64, usize, usize, usize, Option<u32>, Option<u32>);

/// Name, resource (-1 for none), file, and line and column where it begins, where these are known.
type FunctionRow = (usize, i64, Option<usize>, Option<u32>, Option<u32>);

#[derive(Default)]
struct Tables {
    strings: Vec<String>,
    string_numbers: HashMap<String, usize>,
    resources: Vec<(usize, usize)>,
    resource_numbers: HashMap<usize, usize>,
    functions: Vec<FunctionRow>,
    function_numbers: HashMap<FunctionRow, usize>,
    frames: Vec<FrameRow>,
    frame_numbers: HashMap<(u32, usize, usize), usize>,
    stacks: Vec<(Option<usize>, usize)>,
    stack_numbers: HashMap<(Option<usize>, usize), usize>,
    /// Stacks that were made already, by their number in the profile.
    known: HashMap<u32, usize>,
}

impl Tables {
    fn stack(&mut self, profile: &Profile, number: u32, modules: &mut Modules) -> usize {
        if let Some(known) = self.known.get(&number) {
            return *known;
        }
        let stack = profile.stack(number);
        let category = profile.phase_of(stack).map_or(0, Phase::index);
        let (mut prefix, mut depth) = (None, 0);
        for frame_number in stack.frames.iter() {
            let frame = profile.frames.get(*frame_number);
            // An inlined function is one deeper than the one it is in, which comes before it here.
            depth = if frame.code.as_ref().is_some_and(|code| code.is_inlined) { depth + 1 } else { 0 };
            let frame = self.frame((*frame_number, depth, category), frame, modules);
            let next = self.stacks.len();
            let found = *self.stack_numbers.entry((prefix, frame)).or_insert(next);
            if found == next {
                self.stacks.push((prefix, frame));
            }
            prefix = Some(found);
        }
        let last = prefix.unwrap_or(0);
        self.known.insert(number, last);
        last
    }

    fn frame(&mut self, key: (u32, usize, usize), frame: &ProfileFrame, modules: &mut Modules) -> usize {
        if let Some(number) = self.frame_numbers.get(&key) {
            return *number;
        }
        let code = frame.code.as_ref();
        let resource =
            code.and_then(|code| code.module.as_ref()).map(|module| self.resource(module, modules));
        let name = self.string(&frame.text);
        let file = frame.file.as_ref().map(|file| self.string(file));
        let line = (frame.line > 0).then_some(frame.line);
        let column = line.and((frame.column > 0).then_some(frame.column));
        // Where which line ran is not known, the line is the function's.
        let (start, ran) = match frame.is_function_start {
            true => ((line, column), (None, None)),
            false => ((None, None), (line, column)),
        };
        let resource = resource.map_or(-1, |resource| resource as i64);
        let function = (name, resource, file, start.0, start.1);
        let next = self.functions.len();
        let function_number = *self.function_numbers.entry(function).or_insert(next);
        if function_number == next {
            self.functions.push(function);
        }
        let address = code.map_or(-1, |code| i64::try_from(code.offset).unwrap_or(-1));
        self.frames.push((address, key.1, key.2, function_number, ran.0, ran.1));
        self.frame_numbers.insert(key, self.frames.len() - 1);
        self.frames.len() - 1
    }

    fn resource(&mut self, module: &Arc<Module>, modules: &mut Modules) -> usize {
        let lib = modules.number(module);
        if let Some(number) = self.resource_numbers.get(&lib) {
            return *number;
        }
        let name = self.string(module.path.rsplit('/').next().unwrap_or(&module.path));
        self.resources.push((lib, name));
        self.resource_numbers.insert(lib, self.resources.len() - 1);
        self.resources.len() - 1
    }

    fn string(&mut self, text: &str) -> usize {
        if let Some(number) = self.string_numbers.get(text) {
            return *number;
        }
        self.strings.push(text.to_owned());
        self.string_numbers.insert(text.to_owned(), self.strings.len() - 1);
        self.strings.len() - 1
    }

    fn json(&self) -> Value {
        let frames = self.frames.len();
        let none = |length: usize| vec![Value::Null; length];
        let functions = self.functions.len();
        json!({
            "frameTable": {
                "length": frames,
                "address": self.frames.iter().map(|frame| frame.0).collect::<Vec<_>>(),
                "inlineDepth": self.frames.iter().map(|frame| frame.1).collect::<Vec<_>>(),
                "category": self.frames.iter().map(|frame| frame.2).collect::<Vec<_>>(),
                "subcategory": vec![0; frames],
                "func": self.frames.iter().map(|frame| frame.3).collect::<Vec<_>>(),
                "nativeSymbol": none(frames), "innerWindowID": vec![0; frames],
                "line": self.frames.iter().map(|frame| frame.4).collect::<Vec<_>>(),
                "column": self.frames.iter().map(|frame| frame.5).collect::<Vec<_>>(),
            },
            "funcTable": {
                "length": functions,
                "name": self.functions.iter().map(|function| function.0).collect::<Vec<_>>(),
                "isJS": vec![false; functions], "relevantForJS": vec![false; functions],
                "resource": self.functions.iter().map(|function| function.1).collect::<Vec<_>>(),
                "fileName": self.functions.iter().map(|function| function.2).collect::<Vec<_>>(),
                "lineNumber": self.functions.iter().map(|function| function.3).collect::<Vec<_>>(),
                "columnNumber": self.functions.iter().map(|function| function.4).collect::<Vec<_>>(),
            },
            "stackTable": {
                "length": self.stacks.len(),
                "prefix": self.stacks.iter().map(|stack| stack.0).collect::<Vec<_>>(),
                "frame": self.stacks.iter().map(|stack| stack.1).collect::<Vec<_>>(),
            },
            "resourceTable": {
                "length": self.resources.len(),
                "lib": self.resources.iter().map(|resource| resource.0).collect::<Vec<_>>(),
                "name": self.resources.iter().map(|resource| resource.1).collect::<Vec<_>>(),
                "host": none(self.resources.len()), "type": vec![1; self.resources.len()],
            },
            "nativeSymbols": { "length": 0, "address": [], "functionSize": [], "libIndex": [], "name": [] },
            "stringArray": self.strings,
        })
    }
}

#[cfg(test)]
#[path = "firefox_tests.rs"]
mod tests;
