//! The rules about what programs may rely on: `docs/stability.md` states them for users.
//!
//! What may grow is `#[non_exhaustive]`, so that a new variant or field breaks no program; every error is a
//! `std::error::Error` that names its source; and a library prints nothing: standard output and standard error are
//! the program's.

use crate::circles::attributes::{attributes, is_for_tests};
use crate::tracked::{Fault, Tracked};
use proc_macro2::Ident;
use std::collections::BTreeMap;
use syn::visit::Visit;
use syn::{Attribute, Fields, File, ImplItem, Item, ItemEnum, ItemImpl, ItemStruct, Type, Visibility};

/// Where the types are that programs may rely on: files, and folders with all in them.
const PROMISED: &[&str] = &[
    "agent/src/",
    "agent/spans/src/",
    "agent/http/src/error.rs",
    "agent/report/src/incident/",
    "agent/report/src/metrics/classic_buckets.rs",
    "agent/report/src/metrics/compat_set.rs",
    "agent/report/src/model/frame_owner.rs",
    "agent/report/src/settings.rs",
    "loop/engine/src/",
    "loop/probe/src/builder.rs",
    "loop/probe/src/clock.rs",
    "loop/probe/src/description.rs",
    "loop/probe/src/drains.rs",
    "loop/probe/src/expect_block.rs",
    "loop/probe/src/gauge_writer.rs",
    "loop/probe/src/observed.rs",
    "loop/probe/src/observer.rs",
    "loop/probe/src/phase.rs",
    "loop/probe/src/pool_writer.rs",
    "loop/probe/src/probe.rs",
    "loop/probe/src/record.rs",
    "loop/probe/src/site.rs",
    "loop/probe/src/snapshot.rs",
    "loop/probe/src/threadless_page.rs",
    "loop/probe/src/vitals.rs",
    "loop/probe/src/writer.rs",
    "loop/tokio/src/",
];

/// Enums whose every value a program has to deal with: a new one is a new major version.
const COMPLETE: &[(&str, &str)] = &[
    ("StreamEvent", "a program that passes one over loses bytes or keeps a dead connection"),
    ("DatagramEvent", "a program that passes one over loses datagrams"),
    ("Wrote", "what was not taken is the program's to keep"),
];

/// Structs that a program writes out, or may: `Name { field, ..BASE }`, where the base stands for fields to come.
const WRITTEN_OUT: &[(&str, &str)] = &[
    ("Asleep", "Asleep::default()"),
    ("Culprit", "Culprit::default()"),
    ("Frame", "Frame::default()"),
    ("Group", "Group::default()"),
    ("Incident", "Incident::default()"),
    ("IncidentCounts", "IncidentCounts::default()"),
    ("Iteration", "Iteration::default()"),
    ("Job", "Job::default()"),
    ("JobRecord", "JobRecord::default()"),
    ("Keepalive", "Keepalive::after(silence)"),
    ("TaskTimes", "TaskTimes::UNKNOWN"),
    ("LoopFigures", "LoopFigures::default()"),
    ("NowValues", "NowValues::IDLE"),
    ("Observed", "Observed::default()"),
    ("ObservedPool", "ObservedPool::default()"),
    ("PoolState", "PoolState::default()"),
    ("Record", "Record::default()"),
    ("Site", "Site::default()"),
    ("Span", "Span::default()"),
    ("StackCount", "StackCount::default()"),
];

/// Types in those places that programs cannot reach, or that have one field by nature.
const NO_PROMISE: &[(&str, &str)] = &[
    ("CallbackRecord", "its module is hidden"),
    ("CompatSet", "its module is hidden"),
    ("FrameText", "its module is hidden"),
    ("IterationRecord", "its module is hidden"),
    ("Ticks", "a number with a unit"),
];

/// Folders of libraries: their errors are errors, and they print nothing.
const LIBRARIES: &[&str] = &[
    "agent/src/",
    "agent/host/src/",
    "agent/http/src/",
    "agent/report/src/",
    "agent/spans/src/",
    "agent/stacks/src/",
    "loop/engine/src/",
    "loop/probe/src/",
    "loop/tokio/src/",
];

/// Files of libraries that may print.
const PRINTS: &[(&str, &str)] =
    &[("agent/src/watch/log.rs", "the first stall of a program that has no subscriber and no logger, once")];

/// Types that are errors without being named so.
const ERRORS: &[&str] =
    &["OutOfDescriptors", "CallbackPanicked", "LoopClosed", "NoListen", "PageFault", "WaitsForever"];

/// What may grow says so.
pub fn growth(files: &[Tracked]) -> Vec<Fault> {
    let promised = |path: &str| PROMISED.iter().any(|place| is_in(path, place));
    let mut faults = Vec::new();
    for (file, items) in parsed(files, promised) {
        for item in &items {
            match item {
                Item::Enum(item) if is_public(&item.vis) => faults.extend(closed_enum(file, item)),
                Item::Struct(item) if is_public(&item.vis) => faults.extend(closed_struct(file, item)),
                _ => {}
            }
        }
    }
    faults
}

fn closed_enum(file: &str, item: &ItemEnum) -> Option<Fault> {
    let is_fine = is_open(&item.attrs) || is_listed(COMPLETE, &item.ident);
    let remedy =
        "is public and may grow: #[non_exhaustive], or COMPLETE in tests/tidy/promises.rs with a reason";
    (!is_fine).then(|| fault(file, &item.ident, remedy))
}

fn closed_struct(file: &str, item: &ItemStruct) -> Option<Fault> {
    let mut fields = item.fields.iter();
    let can_be_written = !item.fields.is_empty() && fields.all(|field| is_public(&field.vis));
    let is_fine =
        is_open(&item.attrs) || is_listed(WRITTEN_OUT, &item.ident) || is_listed(NO_PROMISE, &item.ident);
    let remedy = "has public fields and may grow: #[non_exhaustive], or WRITTEN_OUT in tests/tidy/promises.rs with its base";
    (can_be_written && !is_fine).then(|| fault(file, &item.ident, remedy))
}

/// Every error of a library is one for the language, too, and hands on what caused it.
pub fn errors(files: &[Tracked]) -> Vec<Fault> {
    LIBRARIES.iter().flat_map(|library| errors_of(files, library)).collect()
}

fn errors_of(files: &[Tracked], library: &str) -> Vec<Fault> {
    // Names of errors, with where they are and whether they hold another one.
    let mut errors = BTreeMap::new();
    // Those that implement the trait, with whether they tell their source.
    let mut implemented = BTreeMap::new();
    for (file, items) in parsed(files, |path| is_in(path, library)) {
        for item in items {
            match item {
                Item::Enum(item) if is_public(&item.vis) && is_error(&item.ident) => {
                    let holds = item.variants.iter().any(|variant| holds_error(&variant.fields));
                    errors.insert(item.ident.to_string(), (fault_at(file, &item.ident), holds));
                }
                Item::Struct(item) if is_public(&item.vis) && is_error(&item.ident) => {
                    let holds = holds_error(&item.fields);
                    errors.insert(item.ident.to_string(), (fault_at(file, &item.ident), holds));
                }
                Item::Impl(item) => implemented.extend(implementation(&item)),
                _ => {}
            }
        }
    }
    let check = |(name, ((file, line), holds)): (String, ((String, usize), bool))| {
        let remedy = match implemented.get(&name) {
            None => "does not implement std::error::Error",
            Some(false) if holds => "holds an error that source() does not return",
            Some(_) => return None,
        };
        Some(Fault::new(&file, line, format!("{name} {remedy}")))
    };
    errors.into_iter().filter_map(check).collect()
}

/// Libraries print nothing.
pub fn prints(files: &[Tracked]) -> Vec<Fault> {
    let may_not = |path: &str| {
        LIBRARIES.iter().any(|library| is_in(path, library)) && !PRINTS.iter().any(|(file, _)| *file == path)
    };
    let mut faults = Vec::new();
    for (file, items) in parsed(files, may_not) {
        let mut finder = Printing { file, faults: Vec::new() };
        items.iter().for_each(|item| finder.visit_item(item));
        faults.append(&mut finder.faults);
    }
    faults
}

/// Finds what prints, outside tests.
struct Printing<'a> {
    file: &'a str,
    faults: Vec<Fault>,
}

impl Printing<'_> {
    fn found(&mut self, name: &Ident) {
        let remedy = "is the program's: a library hands over a value, logs by `tracing`, or calls a hook";
        self.faults.push(fault(self.file, name, remedy));
    }
}

impl Visit<'_> for Printing<'_> {
    fn visit_item(&mut self, item: &Item) {
        if !is_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        let name = call.path.segments.last().map(|segment| &segment.ident);
        let prints = |name: &&Ident| {
            ["print", "println", "eprint", "eprintln", "dbg"].iter().any(|print| *name == print)
        };
        if let Some(name) = name.filter(prints) {
            self.found(name);
        }
    }

    fn visit_expr_path(&mut self, path: &syn::ExprPath) {
        let names: Vec<&Ident> = path.path.segments.iter().map(|segment| &segment.ident).collect();
        if let [.., module, name] = names[..]
            && module == "io"
            && (name == "stderr" || name == "stdout")
        {
            self.found(name);
        }
    }
}

/// Returns the parsed files whose paths fit, without the tests.
fn parsed<'a>(files: &'a [Tracked], fits: impl Fn(&str) -> bool) -> Vec<(&'a str, Vec<Item>)> {
    let is_wanted = |file: &&Tracked| fits(&file.path) && !file.path.ends_with("_tests.rs");
    let parse = |file: &'a Tracked| {
        let File { items, .. } = syn::parse_file(&file.text).expect("it compiles, so it can be parsed");
        (file.path.as_str(), items.into_iter().filter(|item| !is_for_tests(attributes(item))).collect())
    };
    files.iter().filter(is_wanted).map(parse).collect()
}

/// Whether a path is a place, or in it.
fn is_in(path: &str, place: &str) -> bool {
    path == place || place.ends_with('/') && path.starts_with(place)
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_open(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"))
}

fn is_listed(list: &[(&str, &str)], name: &Ident) -> bool {
    list.iter().any(|(listed, _)| name == listed)
}

fn is_error(name: &Ident) -> bool {
    name.to_string().ends_with("Error") || ERRORS.iter().any(|error| name == error)
}

/// Whether a field is an error of somebody else.
fn holds_error(fields: &Fields) -> bool {
    let is_error = |field: &syn::Field| match &field.ty {
        Type::Path(path) => {
            path.path.segments.last().is_some_and(|last| last.ident.to_string().ends_with("Error"))
        }
        _ => false,
    };
    fields.iter().any(is_error)
}

/// Returns for which type an `impl` has the trait of errors, and whether it tells a source.
fn implementation(item: &ItemImpl) -> Option<(String, bool)> {
    let (path, _) = item.trait_.as_ref()?;
    let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let is_trait = names.ends_with(&["error".to_owned(), "Error".to_owned()]) || names == ["Error"];
    let Type::Path(of) = &*item.self_ty else { return None };
    let name = of.path.segments.last()?.ident.to_string();
    let tells =
        item.items.iter().any(|item| matches!(item, ImplItem::Fn(call) if call.sig.ident == "source"));
    is_trait.then_some((name, tells))
}

fn fault_at(file: &str, name: &Ident) -> (String, usize) {
    (file.to_owned(), name.span().start().line)
}

fn fault(file: &str, name: &Ident, remedy: &str) -> Fault {
    Fault::new(file, name.span().start().line, format!("{name} {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracked::sample;

    fn lines(faults: &[Fault]) -> Vec<usize> {
        faults.iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn what_can_be_matched_or_written_out_must_say_that_it_may_grow() {
        let text = "//! X.\npub enum Closed { A }\n#[non_exhaustive]\npub enum Open { A }\npub(crate) enum Own { A }\n\
            pub struct Read { pub a: u8 }\npub struct Private { pub a: u8, b: u8 }\npub struct TaskTimes { pub a: u8 }\n\
            pub enum Wrote { All }\npub struct Unit;\n#[cfg(test)]\nmod tests { pub enum Closed { A } }\n";
        assert_eq!(lines(&growth(&[sample("loop/engine/src/x.rs", text)])), [2, 6]);
        assert_eq!(
            growth(&[sample("loop/probe/src/page.rs", text), sample("agent/src/x_tests.rs", text)]),
            []
        );
    }

    #[test]
    fn an_error_is_one_for_the_language_and_hands_on_its_source() {
        let text = "//! X.\npub struct LostError;\npub enum OpenError { System(io::Error) }\nimpl std::error::Error for OpenError {}\n\
            pub enum ReadError { System(&'static str, io::Error) }\nimpl Error for ReadError {\n    fn source(&self) {}\n}\n\
            pub struct PlainError(String);\nimpl std::error::Error for PlainError {}\n";
        assert_eq!(lines(&errors(&[sample("agent/stacks/src/x.rs", text)])), [2, 3]);
        assert_eq!(errors(&[sample("agent/cli/src/x.rs", text)]), []);
    }

    #[test]
    fn a_library_that_prints_is_found() {
        let text = "//! X.\nfn f() {\n    eprintln!(\"x\");\n    std::io::stderr().write_all(b\"x\");\n    if a {\n        println!();\n    }\n}\n\
            #[cfg(test)]\nmod tests {\n    fn f() {\n        println!();\n    }\n}\n";
        assert_eq!(lines(&prints(&[sample("loop/engine/src/x.rs", text)])), [3, 4, 6]);
        assert_eq!(prints(&[sample("agent/src/watch/log.rs", text), sample("agent/cli/src/x.rs", text)]), []);
    }
}
