//! The profile as pprof's `profile.proto`, with gzip: what `go tool pprof`, Pyroscope and Parca take.
//!
//! Frames of the layout are locations without an address, so that a viewer shows them as callers of the code. Loop,
//! phase and site are labels, too, by which a viewer can filter.
//!
//! # Source
//! `proto/profile.proto` of github.com/google/pprof.

use crate::profiles::FlameError;
use crate::profiles::frame::{Code, Module, ProfileFrame};
use crate::profiles::profile::{Profile, Stack};
use crate::protobuf::Message;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::Write;

/// Size of the range that each module gets: its addresses are relative to its begin, and 1 TiB is enough for any.
const MODULE_RANGE: u64 = 1 << 40;

impl Profile {
    /// Writes the profile for pprof.
    ///
    /// # Errors
    /// [`FlameError::Empty`] where nothing is in it.
    pub fn pprof(&self) -> Result<Vec<u8>, FlameError> {
        if self.is_empty() {
            return Err(FlameError::Empty);
        }
        self.pprof_also_empty()
    }

    /// Writes the profile for pprof, also without samples.
    ///
    /// # Errors
    /// The compressor failed.
    pub fn pprof_also_empty(&self) -> Result<Vec<u8>, FlameError> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let message = Writer::new(self).profile();
        encoder.write_all(&message).and_then(|()| encoder.finish()).map_err(FlameError::Draw)
    }
}

/// The tables of a profile being written, each entry once.
struct Writer<'a> {
    profile: &'a Profile,
    strings: HashMap<&'a str, u64>,
    string_table: Vec<&'a str>,
    modules: HashMap<&'a Module, u64>,
    /// By name, file, and the line where it begins, 0 where that is not known.
    functions: HashMap<(&'a str, &'a str, u32), u64>,
    /// By the numbers of their frames, the innermost first: those that share an address through inlining.
    locations: HashMap<Vec<u32>, u64>,
    /// The parts that are written behind the samples.
    tables: Message,
}

impl<'a> Writer<'a> {
    fn new(profile: &'a Profile) -> Self {
        let mut writer = Writer {
            profile,
            strings: HashMap::new(),
            string_table: Vec::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
            tables: Message::default(),
        };
        // The first must be the empty one.
        writer.string("");
        writer
    }

    fn profile(mut self) -> Vec<u8> {
        let profile = self.profile;
        let (count, time) = profile.of.values();
        let mut out = Message::default();
        out.message(1, &self.value_type(count, "count"));
        out.message(1, &self.value_type(time, "nanoseconds"));
        for stack in profile.sorted() {
            out.message(2, &self.sample(stack));
        }
        out.number(9, profile.begin_unix_ns);
        out.number(10, profile.lasted_ns);
        out.message(11, &self.value_type(time, "nanoseconds"));
        out.number(12, profile.interval_ns.max(1));
        for note in &profile.notes {
            let note = self.string(note);
            out.number(13, note);
        }
        let default = self.string(time);
        out.number(14, default);
        let mut bytes = out.into_bytes();
        bytes.extend(self.tables.into_bytes());
        let mut strings = Message::default();
        self.string_table.iter().for_each(|string| strings.bytes(6, string.as_bytes()));
        bytes.extend(strings.into_bytes());
        bytes
    }

    fn string(&mut self, text: &'a str) -> u64 {
        let next = self.string_table.len() as u64;
        *self.strings.entry(text).or_insert_with(|| {
            self.string_table.push(text);
            next
        })
    }

    fn value_type(&mut self, kind: &'a str, unit: &'a str) -> Message {
        let mut message = Message::default();
        message.number(1, self.string(kind));
        message.number(2, self.string(unit));
        message
    }

    fn sample(&mut self, stack: &'a Stack) -> Message {
        let mut message = Message::default();
        let locations = self.locations_of(stack);
        message.packed(1, &locations);
        message.packed(2, &[stack.count, stack.ns]);
        let mut layout = self.profile.frames_of(stack).take(self.profile.layout_depth(stack));
        for key in ["loop", "phase", "site"] {
            let Some(frame) = layout.next() else { break };
            let mut label = Message::default();
            label.number(1, self.string(key));
            label.number(2, self.string(&frame.text));
            message.message(3, &label);
        }
        message
    }

    /// Returns the numbers of a stack's locations, the innermost first.
    fn locations_of(&mut self, stack: &'a Stack) -> Vec<u64> {
        let (mut locations, mut together) = (Vec::new(), Vec::new());
        for number in stack.frames.iter().rev() {
            together.push(*number);
            let code = self.profile.frames.get(*number).code.as_ref();
            if !code.is_some_and(|code| code.is_inlined) {
                locations.push(self.location(std::mem::take(&mut together)));
            }
        }
        if !together.is_empty() {
            // The function that they were inlined into is missing, for example where a stack was cut off.
            locations.push(self.location(together));
        }
        locations
    }

    fn location(&mut self, frames: Vec<u32>) -> u64 {
        if let Some(number) = self.locations.get(&frames) {
            return *number;
        }
        let number = self.locations.len() as u64 + 1;
        let profile = self.profile;
        let all: Vec<&ProfileFrame> = frames.iter().map(|frame| profile.frames.get(*frame)).collect();
        let mut message = Message::default();
        message.number(1, number);
        if let Some(Code { module, offset, .. }) = all.last().and_then(|frame| frame.code.as_ref()) {
            let mapping = module.as_ref().map(|module| self.mapping(module));
            message.number(2, mapping.unwrap_or(0));
            message
                .number(3, mapping.map_or(*offset, |mapping| mapping * MODULE_RANGE + offset % MODULE_RANGE));
        }
        for frame in all {
            let mut line = Message::default();
            line.number(1, self.function(frame));
            // Where which line ran is not known, the line is the function's.
            if !frame.is_function_start {
                line.number(2, u64::from(frame.line));
                line.number(3, u64::from(frame.column));
            }
            message.message(4, &line);
        }
        self.tables.message(4, &message);
        self.locations.insert(frames, number);
        number
    }

    fn mapping(&mut self, module: &'a Module) -> u64 {
        if let Some(number) = self.modules.get(module) {
            return *number;
        }
        let number = self.modules.len() as u64 + 1;
        self.modules.insert(module, number);
        let mut message = Message::default();
        message.number(1, number);
        message.number(2, number * MODULE_RANGE);
        message.number(3, (number + 1) * MODULE_RANGE);
        message.number(5, self.string(&module.path));
        message.number(6, self.string(&module.build_id));
        // Functions, files, lines and inlined calls are all told here: nobody needs to look them up.
        (7..=10).for_each(|field| message.number(field, 1));
        self.tables.message(3, &message);
        number
    }

    fn function(&mut self, frame: &'a ProfileFrame) -> u64 {
        let (name, file) = (&*frame.text, frame.file.as_deref().unwrap_or(""));
        let next = self.functions.len() as u64 + 1;
        let start = if frame.is_function_start { frame.line } else { 0 };
        if let Some(number) = self.functions.get(&(name, file, start)) {
            return *number;
        }
        self.functions.insert((name, file, start), next);
        let mut message = Message::default();
        message.number(1, next);
        message.number(2, self.string(name));
        message.number(3, self.string(name));
        message.number(4, self.string(file));
        message.number(5, u64::from(start));
        self.tables.message(5, &message);
        next
    }
}

#[cfg(test)]
#[path = "pprof_tests.rs"]
pub(crate) mod tests;
