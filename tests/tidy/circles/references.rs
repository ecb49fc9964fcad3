//! The paths that code names: in `use`, in types and expressions, and between the tokens of macros.

use super::attributes::{attributes, is_for_tests};
use proc_macro2::{Ident, TokenStream, TokenTree};
use std::rc::Rc;
use syn::visit::Visit;
use syn::{UseTree, Visibility};

/// A name brought in by `use`.
pub struct Import {
    /// None where all names are brought in.
    pub name: Option<String>,
    pub path: Vec<String>,
}

/// A path that code names.
pub struct Reference {
    pub path: Vec<String>,
    pub place: Place,
    /// `pub use`, with whatever visibility.
    pub is_reexport: bool,
}

/// Where a path stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Rc<str>,
    /// From 1.
    pub line: usize,
}

/// What was found in a module. A `use` inside a function counts for the whole module.
pub struct Collector {
    file: Rc<str>,
    pub imports: Vec<Import>,
    pub references: Vec<Reference>,
}

impl Collector {
    pub fn new(file: Rc<str>) -> Collector {
        Collector { file, imports: Vec::new(), references: Vec::new() }
    }

    fn refer(&mut self, path: Vec<String>, at: &Ident, is_reexport: bool) {
        let place = Place { file: self.file.clone(), line: at.span().start().line };
        self.references.push(Reference { path, place, is_reexport });
    }

    /// Finds paths between tokens: a name, and those that follow it after `::`. A name after a dot is a field or method.
    fn refer_in_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, wanted: char| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == wanted);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.refer_in_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let before = at.checked_sub(1);
                    let is_member = before.is_some_and(|before| {
                        is(before, ':') && before > 0 && is(before - 1, ':')
                            || is(before, '.') && !(before > 0 && is(before - 1, '.'))
                    });
                    let mut path = vec![first.to_string()];
                    while is(at + 1, ':') && is(at + 2, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 3) else { break };
                        path.push(next.to_string());
                        at += 3;
                    }
                    if !is_member {
                        self.refer(path, first, false);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String], is_reexport: bool) {
        let with = |name: &Ident| {
            let mut path = before.to_vec();
            // `a::{self}` is `a`.
            if name != "self" || path.is_empty() {
                path.push(name.to_string());
            }
            path
        };
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(&path.ident), is_reexport),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, is_reexport);
                }
            }
            UseTree::Name(name) => {
                let path = with(&name.ident);
                self.imports.push(Import { name: path.last().cloned(), path: path.clone() });
                self.refer(path, &name.ident, is_reexport);
            }
            UseTree::Rename(renamed) => {
                let path = with(&renamed.ident);
                self.imports.push(Import { name: Some(renamed.rename.to_string()), path: path.clone() });
                self.refer(path, &renamed.ident, is_reexport);
            }
            // The names that are used of it count, each where it is used.
            UseTree::Glob(_) => self.imports.push(Import { name: None, path: before.to_vec() }),
        }
    }
}

/// Notes what a `use` brings in.
pub fn import_of(used: &syn::ItemUse, collector: &mut Collector) {
    if used.leading_colon.is_none() {
        collector.import(&used.tree, &[], !matches!(used.vis, Visibility::Inherited));
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            item if is_for_tests(attributes(item)) => {}
            syn::Item::Use(used) => import_of(used, self),
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (None, Some(first)) = (&path.leading_colon, path.segments.first()) {
            let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.refer(names, &first.ident, false);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.refer_in_tokens(called.tokens.clone());
    }
}
