//! The modules of one target of a crate: what each defines, imports and names, read from its files.
//!
//! What is compiled for tests alone is left out: items behind `cfg(test)`, and files named `*_tests.rs`.

use super::attributes::{attributes, is_for_tests, is_macro_export, path_attribute};
use super::references::{Collector, Import, Place, Reference, import_of};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use syn::Item;

/// The modules of a target; the first is the crate's root.
pub struct Tree {
    pub modules: Vec<Module>,
}

/// One module, by file or inline. Of two files for one name (chosen by a `cfg`), both are read into it.
#[derive(Default)]
pub struct Module {
    pub name: String,
    /// Index in the tree; none for the root.
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    /// Names that are defined here.
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub references: Vec<Reference>,
}

/// A file, and where the files of its modules lie.
struct Source {
    file: Rc<str>,
    /// The folder of the file, for `#[path]`.
    folder: String,
    /// The folder in which its modules lie.
    modules: String,
}

struct Loader<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    tree: Tree,
}

/// Reads the target whose root is at `path`. `read` returns the text of a file.
///
/// # Errors
/// The place and the reason where a file is not Rust.
pub fn load(path: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<Tree, (Place, String)> {
    let mut loader = Loader { read, tree: Tree { modules: vec![Module::default()] } };
    let text = read(path).unwrap_or_default();
    let folder = folder_of(path);
    loader.load_file(0, Source { file: path.into(), modules: folder.clone(), folder }, &text)?;
    Ok(loader.tree)
}

impl Loader<'_> {
    fn load_file(&mut self, module: usize, source: Source, text: &str) -> Result<(), (Place, String)> {
        let parsed = syn::parse_file(text).map_err(|error| {
            let line = error.span().start().line;
            (Place { file: source.file.clone(), line }, error.to_string())
        })?;
        self.load_items(module, &source, &parsed.items)
    }

    fn load_items(&mut self, module: usize, source: &Source, items: &[Item]) -> Result<(), (Place, String)> {
        let mut collector = Collector::new(source.file.clone());
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            match item {
                Item::Mod(declared) => self.load_module(module, source, declared)?,
                Item::Use(used) => import_of(used, &mut collector),
                other => {
                    self.define(module, other);
                    syn::visit::Visit::visit_item(&mut collector, other);
                }
            }
        }
        let module = &mut self.tree.modules[module];
        module.imports.append(&mut collector.imports);
        module.references.append(&mut collector.references);
        Ok(())
    }

    fn load_module(
        &mut self,
        parent: usize,
        source: &Source,
        declared: &syn::ItemMod,
    ) -> Result<(), (Place, String)> {
        let name = declared.ident.to_string();
        let inside = join(&source.modules, name.trim_start_matches("r#"));
        if let Some((_, items)) = &declared.content {
            let source = Source { file: source.file.clone(), folder: inside.clone(), modules: inside };
            let module = self.child(parent, &name);
            return self.load_items(module, &source, items);
        }
        let candidates = match path_attribute(&declared.attrs) {
            Some(path) => vec![(join(&source.folder, &path), folder_of(&join(&source.folder, &path)))],
            None => vec![(format!("{inside}.rs"), inside.clone()), (format!("{inside}/mod.rs"), inside)],
        };
        for (file, modules) in candidates.into_iter().filter(|(file, _)| !file.ends_with("_tests.rs")) {
            let Some(text) = (self.read)(&file) else { continue };
            let module = self.child(parent, &name);
            let source = Source { folder: folder_of(&file), file: file.into(), modules };
            self.load_file(module, source, &text)?;
        }
        Ok(())
    }

    /// Returns the child of that name, new if there is none.
    fn child(&mut self, parent: usize, name: &str) -> usize {
        if let Some(known) = self.tree.modules[parent].children.get(name) {
            return *known;
        }
        let child = self.tree.modules.len();
        let module = Module { name: name.to_owned(), parent: Some(parent), ..Module::default() };
        self.tree.modules.push(module);
        self.tree.modules[parent].children.insert(name.to_owned(), child);
        child
    }

    /// Notes the name that an item defines. A macro that is exported is found at the crate's root.
    fn define(&mut self, module: usize, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => match &item.ident {
                Some(name) => name,
                None => return,
            },
            _ => return,
        };
        let (name, is_exported) = (name.to_string(), attributes(item).iter().any(is_macro_export));
        if is_exported && module != 0 {
            let mut path = vec!["crate".to_owned()];
            path.extend(self.tree.path(module));
            path.push(name.clone());
            self.tree.modules[0].imports.push(Import { name: Some(name.clone()), path });
        }
        self.tree.modules[module].items.insert(name);
    }
}

impl Tree {
    /// Returns the names that lead from the root to a module.
    pub fn path(&self, module: usize) -> Vec<String> {
        let below = self.line_to(module).into_iter().skip(1);
        below.map(|module| self.modules[module].name.clone()).collect()
    }

    /// Returns the modules from the root to this one, both included.
    pub fn line_to(&self, module: usize) -> Vec<usize> {
        let mut line: Vec<usize> =
            std::iter::successors(Some(module), |module| self.modules[*module].parent).collect();
        line.reverse();
        line
    }
}

fn folder_of(path: &str) -> String {
    path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}

/// Joins two paths, without `..` where it can be resolved.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
