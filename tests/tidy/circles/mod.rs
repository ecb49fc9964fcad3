//! The rule that no modules of one folder name each other in a circle: not two files, not two folders.
//!
//! A name counts for the module that defines it, wherever it is imported from. A circle between a folder's own file
//! (`mod.rs`, `lib.rs`) and its modules is told, and is no fault: a module may take its folder's types.

pub mod attributes;
mod graph;
mod known;
mod modules;
mod references;
mod resolve;

#[cfg(test)]
mod circles_tests;

use crate::tracked::{Fault, root};
use graph::{Circle, Edges};
pub use known::{KNOWN, Known};
use std::collections::BTreeMap;

/// One target of a package: its crate, and the path of its root from the repository's.
pub struct Target {
    pub package: String,
    pub root: String,
}

/// What was found.
#[derive(Default)]
pub struct Findings {
    pub faults: Vec<Fault>,
    /// Circles through a folder's own file, each in a line.
    pub through_own_files: Vec<String>,
}

/// Checks all targets. Every entry of `known` is needed, or a fault.
pub fn check_all(targets: &[Target], known: &[Known], read: &dyn Fn(&str) -> Option<String>) -> Findings {
    let mut all = Findings::default();
    for found in targets.iter().map(|target| check(target, known, read)) {
        all.faults.extend(found.faults);
        all.through_own_files.extend(found.through_own_files);
    }
    let lost = known.iter().filter(|entry| !targets.iter().any(|target| target.root == entry.root));
    all.faults.extend(lost.map(stale));
    all
}

/// Checks one target against `known`, of which only the entries for it count.
fn check(target: &Target, known: &[Known], read: &dyn Fn(&str) -> Option<String>) -> Findings {
    let mut findings = Findings::default();
    let tree = match modules::load(&target.root, read) {
        Ok(tree) => tree,
        Err((place, reason)) => {
            findings.faults.push(Fault::new(&place.file, place.line, reason));
            return findings;
        }
    };
    let folders = graph::edges_by_folder(&tree);
    let known: Vec<&Known> = known.iter().filter(|entry| entry.root == target.root).collect();
    for (folder, edges) in &folders {
        let known: Vec<_> =
            known.iter().filter(|entry| entry.folder == folder).map(|entry| edge_of(entry)).collect();
        let siblings = graph::between_siblings(edges);
        let unknown = without(&siblings, &known);
        let circles = graph::circles(&unknown);
        findings.faults.extend(circles.iter().map(|circle| fault(target, folder, circle, &unknown)));
        findings.through_own_files.extend(through_own_file(target, folder, edges));
    }
    findings
        .faults
        .extend(known.iter().filter(|entry| is_stale(entry, &known, &folders)).map(|entry| stale(entry)));
    findings
}

fn stale(entry: &Known) -> Fault {
    let Known { root, folder, from, to } = entry;
    let inside = if folder.is_empty() { String::new() } else { format!(" in {folder}") };
    let remedy =
        format!("{from} -> {to}{inside} closes no circle: remove it from tests/tidy/circles/known.rs");
    Fault::new(root, 0, remedy)
}

fn edge_of(known: &Known) -> (String, String) {
    (known.from.to_owned(), known.to.to_owned())
}

fn without(edges: &Edges, gone: &[(String, String)]) -> Edges {
    let left = edges.iter().filter(|(edge, _)| !gone.contains(edge));
    left.map(|(edge, places)| (edge.clone(), places.clone())).collect()
}

/// Whether the other entries, without this one, would leave no circle through its edge.
fn is_stale(entry: &Known, known: &[&Known], folders: &BTreeMap<String, Edges>) -> bool {
    let Some(edges) = folders.get(entry.folder) else { return true };
    let others = known.iter().filter(|other| other.folder == entry.folder && **other != entry);
    let edges =
        without(&graph::between_siblings(edges), &others.map(|other| edge_of(other)).collect::<Vec<_>>());
    !edges.contains_key(&edge_of(entry)) || graph::circle_through(&edges, &edge_of(entry)).is_none()
}

fn fault(target: &Target, folder: &str, circle: &Circle, edges: &Edges) -> Fault {
    let place = edges[&circle[0]].first().expect("an edge is named somewhere");
    Fault::new(&place.file, place.line, tell(target, folder, circle, edges))
}

/// Returns a circle in words: its modules, and where each names the next.
fn tell(target: &Target, folder: &str, circle: &Circle, edges: &Edges) -> String {
    let edge = |edge: &(String, String)| {
        let places = &edges[edge];
        let first = places.first().expect("an edge is named somewhere");
        let more = if places.len() > 1 { format!(" and {} more", places.len() - 1) } else { String::new() };
        format!("{} at {}:{}{more}", edge.1, first.file, first.line)
    };
    let line: Vec<String> = circle.iter().map(edge).collect();
    let inside = if folder.is_empty() { String::new() } else { format!(" in {folder}") };
    format!("circle of modules of {}{inside}: {} -> {}", target.package, circle[0].0, line.join(" -> "))
}

fn through_own_file(target: &Target, folder: &str, edges: &Edges) -> Vec<String> {
    let back = edges.keys().filter(|edge| edge.1 == graph::OWN_FILE);
    let circles = back.filter_map(|edge| graph::circle_through(edges, edge));
    circles.map(|circle| tell(target, folder, &circle, edges)).collect()
}

/// Reads a file of the repository.
pub fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}
