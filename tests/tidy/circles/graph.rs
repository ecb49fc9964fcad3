//! Who names whom among the modules of one folder, and the circles in that.

use super::modules::Tree;
use super::references::Place;
use super::resolve::Target;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The node for the code in a folder's own file (`mod.rs`, `lib.rs`), beside those for its modules.
pub const OWN_FILE: &str = "(its own file)";

/// Edges between the modules of one folder, by name, and where each is named.
pub type Edges = BTreeMap<(String, String), BTreeSet<Place>>;

/// A circle: each edge begins where the one before it ends, and the last ends where the first begins.
pub type Circle = Vec<(String, String)>;

/// Returns the edges of each folder, by the path of its module.
pub fn edges_by_folder(tree: &Tree) -> BTreeMap<String, Edges> {
    let mut folders: BTreeMap<String, Edges> = BTreeMap::new();
    for (from, module) in tree.modules.iter().enumerate() {
        for reference in &module.references {
            let target = match tree.resolve(from, &reference.path) {
                // A word that happens to be a module's name, such as a variable's.
                Some(Target::Module(_)) if reference.path.len() == 1 => continue,
                Some(target) => target,
                None => continue,
            };
            let Some((folder, edge)) = edge(tree, from, target, reference.is_reexport) else { continue };
            let places = folders.entry(tree.path(folder).join("::")).or_default().entry(edge).or_default();
            places.insert(reference.place.clone());
        }
    }
    folders
}

/// Returns the edge that a reference makes, and the folder at whose level it lies.
fn edge(tree: &Tree, from: usize, target: Target, is_reexport: bool) -> Option<(usize, (String, String))> {
    let (to, is_module) = match target {
        Target::Module(to) => (to, true),
        Target::Item(to) => (to, false),
        Target::Foreign => return None,
    };
    let (line, other) = (tree.line_to(from), tree.line_to(to));
    let shared = line.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let name = |line: &[usize]| {
        line.get(shared).map_or(OWN_FILE.to_owned(), |module| tree.modules[*module].name.clone())
    };
    let edge = (name(&line), name(&other));
    // Between a folder's own file and its modules: to declare or to re-export a module is no use of it, nor is it to
    // pass through the folder's name.
    let is_plain = edge.0 == OWN_FILE && (is_reexport || is_module) || edge.1 == OWN_FILE && is_module;
    (edge.0 != edge.1 && !is_plain).then(|| (line[shared - 1], edge))
}

/// Returns the edges without those that touch the folder's own file.
pub fn between_siblings(edges: &Edges) -> Edges {
    let is_between = |edge: &(String, String)| edge.0 != OWN_FILE && edge.1 != OWN_FILE;
    edges
        .iter()
        .filter(|(edge, _)| is_between(edge))
        .map(|(edge, places)| (edge.clone(), places.clone()))
        .collect()
}

/// Returns circles until none is left: the shortest, then, without that one's least used edge, the next.
pub fn circles(edges: &Edges) -> Vec<Circle> {
    let (mut left, mut found) = (edges.clone(), Vec::new());
    while let Some(circle) = shortest_circle(&left) {
        let weakest = circle.iter().min_by_key(|edge| left[*edge].len()).cloned();
        left.remove(&weakest.expect("a circle has edges"));
        found.push(circle);
    }
    found
}

fn shortest_circle(edges: &Edges) -> Option<Circle> {
    edges.keys().filter_map(|edge| circle_through(edges, edge)).min_by_key(Vec::len)
}

/// Returns the shortest circle that `edge` is a part of; it begins with that edge.
pub fn circle_through(edges: &Edges, edge: &(String, String)) -> Option<Circle> {
    let (goal, start) = (&edge.0, &edge.1);
    let mut came_by: BTreeMap<&String, &(String, String)> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        if at == goal {
            let mut back: Circle = Vec::new();
            let mut at = at;
            while at != start {
                back.push(came_by[at].clone());
                at = &came_by[at].0;
            }
            back.push(edge.clone());
            back.reverse();
            return Some(back);
        }
        for next in edges.keys().filter(|next| next.0 == *at && next.1 != *start) {
            if !came_by.contains_key(&next.1) {
                came_by.insert(&next.1, next);
                waiting.push_back(&next.1);
            }
        }
    }
    None
}
