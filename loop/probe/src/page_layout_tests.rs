//! Tests: `docs/page.md`, from which adapters in other languages are written, says what the code does.
//!
//! Of each table of the document the first three cells are compared: a structure's word with its offset and bytes, or a list
//! with a number and the name or bound that it stands for.

use super::{Layout, Row};
use crate::clock::ClockSource;
use crate::control::ControlWords;
use crate::count_histogram::CountHistogram;
use crate::description::{Culprit, DescriptionWords, Fact, FramePart, Owner, Term, Trouble};
use crate::expected::ExpectedWords;
use crate::gauges::{GaugeTable, GaugeType, GaugeUnit, GaugeWords, HistogramWords};
use crate::histogram::{Histogram, SLOT_OVERFLOW, UPPER_NS};
use crate::kind::{HandleType, Kind, Queue, WorkKind};
use crate::now::NowWords;
use crate::observed::ObservedWords;
use crate::open_spans::{OpenSpanWords, OpenWords};
use crate::page::{HeaderWords, Page, VERSION};
use crate::paths::{PathTable, PathWords};
use crate::phase::Phase;
use crate::pool::PoolWords;
use crate::record::IterationWords;
use crate::record::JobWords;
use crate::shared_u64::LoopOwned;
use crate::site::{SiteTable, SiteWords};
use crate::tallies::TallyWords;
use std::collections::BTreeSet;

const SPECIFICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/page.md");

/// The first three cells of a row.
type Cells = [String; 3];

/// Returns the rows of the document's tables whose first cell is code.
fn documented() -> Vec<Cells> {
    let text = std::fs::read_to_string(SPECIFICATION).unwrap();
    let cells = |line: &str| -> Option<Cells> {
        let mut cells = line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().replace('`', ""));
        Some([cells.next()?, cells.next()?, cells.next()?])
    };
    text.lines().filter_map(cells).collect()
}

fn layout() -> Vec<Row> {
    [
        Page::rows(),
        HeaderWords::rows(),
        ControlWords::rows(),
        ObservedWords::rows(),
        DescriptionWords::rows(),
        NowWords::rows(),
        OpenWords::rows(),
        OpenSpanWords::rows(),
        ExpectedWords::rows(),
        TallyWords::rows(),
        PoolWords::rows(),
        GaugeTable::rows(),
        GaugeWords::rows(),
        HistogramWords::rows(),
        IterationWords::rows(),
        JobWords::rows(),
        SiteTable::rows(),
        SiteWords::rows(),
        PathTable::rows(),
        PathWords::rows(),
        Histogram::<LoopOwned>::rows(),
        CountHistogram::<LoopOwned>::rows(),
    ]
    .concat()
}

/// The lists whose values have numbers on the page.
fn numbered() -> Vec<(&'static str, usize, &'static str)> {
    let list = |name: &'static str, names: Vec<&'static str>| {
        names.into_iter().enumerate().map(move |(number, value)| (name, number, value))
    };
    let mut rows = Vec::new();
    rows.extend(list("kind", Kind::ALL.iter().map(|kind| kind.name()).collect()));
    rows.extend(list("queue", Queue::ALL.iter().map(|queue| queue.name()).collect()));
    rows.extend(list("handle", HandleType::ALL.iter().map(|handle| handle.name()).collect()));
    rows.extend(list("work", WorkKind::ALL.iter().map(|work| work.name()).collect()));
    rows.extend(list("phase", Phase::STANDARD.iter().map(|phase| phase.name()).collect()));
    rows.push(("clock", ClockSource::Counter as usize, "counter"));
    rows.push(("clock", ClockSource::Monotonic as usize, "monotonic"));
    rows.push(("clock", ClockSource::Virtual as usize, "virtual"));
    rows.push(("type", GaugeType::Gauge as usize, "gauge"));
    rows.push(("type", GaugeType::Counter as usize, "counter"));
    rows.push(("unit", GaugeUnit::Count as usize, "count"));
    rows.push(("unit", GaugeUnit::Bytes as usize, "bytes"));
    rows.push(("unit", GaugeUnit::Nanoseconds as usize, "nanoseconds"));
    rows
}

/// The lists whose values are names in the description.
fn named() -> Vec<(&'static str, &'static str)> {
    let mut rows = Vec::new();
    rows.extend(Term::ALL.iter().map(|term| ("word", term.name())));
    rows.extend(Culprit::ALL.iter().map(|culprit| ("cause", culprit.name())));
    rows.extend(Trouble::ALL.iter().map(|trouble| ("remedy", trouble.name())));
    rows.extend(Fact::ALL.iter().map(|fact| ("fills", fact.name())));
    rows.extend(Owner::ALL.iter().map(|owner| ("owner", owner.name())));
    rows.extend(FramePart::ALL.iter().map(|part| ("part", part.name())));
    rows
}

/// Compares what the code has with what the document has of it, and shows both differences.
fn compare(code: BTreeSet<String>, document: BTreeSet<String>) {
    let missing: Vec<_> = code.difference(&document).collect();
    let wrong: Vec<_> = document.difference(&code).collect();
    assert!(
        missing.is_empty() && wrong.is_empty(),
        "docs/page.md lacks {missing:#?}\nand says instead, or besides, {wrong:#?}"
    );
}

#[test]
fn every_word_of_the_page_is_where_its_specification_says() {
    let is_layout = |cells: &&Cells| {
        let [name, offset, bytes] = cells;
        name != "slot" && offset.parse::<usize>().is_ok() && bytes.parse::<usize>().is_ok()
    };
    let document = documented();
    let document = document.iter().filter(is_layout).map(|cells| cells.join(" | ")).collect();
    let code = layout().into_iter().map(|(name, offset, bytes)| format!("{name} | {offset} | {bytes}"));
    compare(code.collect(), document);
}

#[test]
fn every_number_of_a_list_stands_for_what_its_specification_says() {
    let is_numbered =
        |[_, number, name]: &&Cells| number.parse::<usize>().is_ok() && name.parse::<u64>().is_err();
    let document = documented();
    let document = document.iter().filter(is_numbered).map(|cells| cells.join(" | ")).collect();
    let code = numbered().into_iter().map(|(list, number, name)| format!("{list} | {number} | {name}"));
    compare(code.collect(), document);
}

#[test]
fn every_name_that_a_description_may_use_is_in_the_specification() {
    let lists = ["word", "cause", "remedy", "fills", "owner", "part"];
    let document = documented();
    // Names are one word; what a line of a description looks like is another table.
    let is_named = |[list, name, _]: &&Cells| lists.contains(&&**list) && !name.contains(' ');
    let document = document.iter().filter(is_named).map(|[list, name, _]| format!("{list} | {name}"));
    compare(named().into_iter().map(|(list, name)| format!("{list} | {name}")).collect(), document.collect());
}

#[test]
fn the_bounds_of_slots_are_those_of_the_specification() {
    let document = documented();
    let slots: Vec<_> = document.iter().filter(|[name, ..]| name == "slot").collect();
    assert!(slots.len() >= 10, "the document shows some bounds of each octave: {slots:?}");
    for [_, slot, bound] in slots {
        let (slot, bound): (usize, u64) = (slot.parse().unwrap(), bound.parse().unwrap());
        assert!(slot < SLOT_OVERFLOW && UPPER_NS[slot] == bound, "slot {slot} ends at {}", UPPER_NS[slot]);
    }
}

#[test]
fn the_specification_is_of_this_version() {
    let text = std::fs::read_to_string(SPECIFICATION).unwrap();
    assert!(
        text.starts_with(&format!("# The page, version {VERSION}\n")),
        "the first line names the version"
    );
}
