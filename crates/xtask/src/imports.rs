//! The graph of imports among the files of a crate, and its circles.
//!
//! A file imports another if one of its paths, in a `use` or elsewhere, goes through the other's module. A path to an
//! item that a module re-exports ends at that module, so the re-export is an import too. `mod x;` alone is no import.
//! Code under `cfg(test)` does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item, ItemMod, UseTree};

use crate::source_folder;

/// The imports among the files of a crate, which have the names of their paths below `src`.
#[derive(Debug, Default)]
pub struct Imports(BTreeMap<String, BTreeSet<String>>);

/// Reads the imports of a crate.
///
/// # Errors
/// If a file cannot be read or is not Rust.
pub fn imports(krate: &str) -> Result<Imports> {
    imports_below(&source_folder(krate))
}

impl Imports {
    /// Returns groups of files that import each other, directly or through others, the largest first.
    #[must_use]
    pub fn circles(&self) -> Vec<BTreeSet<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            self.0.keys().map(|file| (file.as_str(), self.reached(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, others) in &reached {
            let circle =
                others.iter().copied().filter(|other| reached.get(other).is_some_and(|back| back.contains(file)));
            circles.insert(circle.collect::<BTreeSet<_>>());
        }
        let mut circles: Vec<_> = circles.into_iter().filter(|circle| circle.len() > 1).collect();
        circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
        circles
    }

    /// Returns the crate's files, without those that exist in tests only.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the imports between two files of a circle, to tell where to cut it.
    #[must_use]
    pub fn within(&self, circle: &BTreeSet<&str>) -> Vec<(&str, &str)> {
        let from = self.0.iter().filter(|(file, _)| circle.contains(file.as_str()));
        let pairs = from.flat_map(|(file, imports)| imports.iter().map(move |import| (file.as_str(), import.as_str())));
        pairs.filter(|(_, import)| circle.contains(import)).collect()
    }

    /// Returns the files that a file imports, directly or through others.
    fn reached(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut next = vec![file];
        while let Some(file) = next.pop() {
            for import in self.0.get(file).into_iter().flatten() {
                if reached.insert(import.as_str()) {
                    next.push(import);
                }
            }
        }
        reached
    }
}

/// A module's path from the root of its crate.
type Module = Vec<String>;

/// One module, without its children.
struct Node {
    /// The file that contains the module.
    file: String,
    /// Items other than modules.
    items: Vec<Item>,
}

fn imports_below(folder: &Path) -> Result<Imports> {
    let mut imports = Imports::default();
    for root in ["lib.rs", "main.rs"].map(|name| folder.join(name)).into_iter().filter(|root| root.exists()) {
        let mut modules = BTreeMap::new();
        read_file(folder, &root, Vec::new(), &mut modules)?;
        for (module, node) in &modules {
            let targets = paths(&modules, module, &node.items).into_iter();
            let files = targets.filter_map(|target| modules.get(&target)).map(|target| target.file.clone());
            imports.0.entry(node.file.clone()).or_default().extend(files.filter(|file| *file != node.file));
        }
    }
    Ok(imports)
}

/// Reads the module in a file and all modules below it.
fn read_file(folder: &Path, path: &Path, module: Module, modules: &mut BTreeMap<Module, Node>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let items = syn::parse_file(&text).with_context(|| path.display().to_string())?.items;
    read_module(folder, path, module, items, modules)
}

fn read_module(
    folder: &Path,
    path: &Path,
    module: Module,
    items: Vec<Item>,
    modules: &mut BTreeMap<Module, Node>,
) -> Result<()> {
    let file = path.strip_prefix(folder)?.display().to_string();
    let mut others = Vec::new();
    for item in items {
        match item {
            item if is_test(&item) => {}
            Item::Mod(ItemMod { ident, content, .. }) => {
                let child: Module = module.iter().cloned().chain([ident.to_string()]).collect();
                match content {
                    Some((_, items)) => read_module(folder, path, child, items, modules)?,
                    None => read_file(folder, &file_of(folder, &child), child, modules)?,
                }
            }
            item => others.push(item),
        }
    }
    modules.insert(module, Node { file, items: others });
    Ok(())
}

fn file_of(folder: &Path, module: &Module) -> PathBuf {
    let path = module.iter().fold(folder.to_owned(), |path, name| path.join(name));
    let file = path.with_extension("rs");
    if file.exists() { file } else { path.join("mod.rs") }
}

/// Whether an item exists in tests or doctests only.
pub(crate) fn is_test(item: &Item) -> bool {
    let attributes: &[Attribute] = match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    };
    attributes.iter().any(|attribute| {
        let text: String = attribute.meta.to_token_stream().to_string().split_whitespace().collect();
        text.starts_with("cfg(test") || text.starts_with("cfg(all(test") || text.starts_with("cfg(doctest")
    })
}

/// Returns the modules that the items of a module name in their paths.
fn paths(modules: &BTreeMap<Module, Node>, module: &Module, items: &[Item]) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    for item in items {
        let mut add = |path: &[String]| found.extend(resolve(modules, module, path));
        match item {
            Item::Use(item) => use_paths(&item.tree, &mut Vec::new(), &mut add),
            item => token_paths(item.to_token_stream(), &mut add),
        }
    }
    found
}

/// Gives each path in the tree of a `use`.
fn use_paths(tree: &UseTree, path: &mut Vec<String>, give: &mut impl FnMut(&[String])) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            use_paths(&tree.tree, path, give);
            path.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| use_paths(tree, path, give)),
        UseTree::Name(name) => give(&[&path[..], &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => give(&[&path[..], &[name.ident.to_string()]].concat()),
        _ => give(path),
    }
}

/// Gives each path of at least two names among tokens, also inside macros.
fn token_paths(tokens: TokenStream, give: &mut impl FnMut(&[String])) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(name) if colons == 2 && !path.is_empty() => {
                path.push(name.to_string());
                colons = 0;
            }
            other => {
                if path.len() > 1 {
                    give(&path);
                }
                path.clear();
                colons = 0;
                match other {
                    TokenTree::Ident(name) => path.push(name.to_string()),
                    TokenTree::Group(group) => token_paths(group.stream(), give),
                    TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                }
            }
        }
    }
    if path.len() > 1 {
        give(&path);
    }
}

/// Returns the module of this crate that a path leads to or through; `None` if it leads out of the crate.
fn resolve(modules: &BTreeMap<Module, Node>, module: &Module, path: &[String]) -> Option<Module> {
    let mut target = module.clone();
    let mut names = path.iter().peekable();
    match names.peek()?.as_str() {
        "crate" => {
            target.clear();
            names.next();
        }
        "self" => {
            names.next();
        }
        "super" => {
            while names.next_if(|name| *name == "super").is_some() {
                target.pop();
            }
        }
        child => {
            let first: Module = target.iter().cloned().chain([child.to_owned()]).collect();
            modules.get(&first)?;
        }
    }
    for name in names {
        target.push(name.clone());
        if !modules.contains_key(&target) {
            target.pop();
            break;
        }
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes files, and returns their imports as `from -> to`.
    fn imports_of(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let Imports(imports) = imports_below(folder.path()).unwrap();
        imports.iter().flat_map(|(from, to)| to.iter().map(move |to| format!("{from} -> {to}"))).collect()
    }

    #[test]
    fn declaration_is_no_import_and_reexport_is() {
        let files = [("lib.rs", "mod a; mod b; pub use b::B;"), ("a.rs", "pub struct A;"), ("b.rs", "pub struct B;")];
        assert_eq!(imports_of(&files), ["lib.rs -> b.rs"]);
    }

    #[test]
    fn reexported_item_belongs_to_its_reexporter() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a/mod.rs", "mod inner; pub(crate) use inner::X;"),
            ("a/inner.rs", "pub(crate) struct X; pub(crate) struct Y;"),
            ("b.rs", "use crate::a::X; use crate::a::inner::{self, Y};"),
        ];
        assert_eq!(imports_of(&files), ["a/mod.rs -> a/inner.rs", "b.rs -> a/inner.rs", "b.rs -> a/mod.rs"]);
    }

    #[test]
    fn paths_in_code_and_macros_count() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "fn f() -> crate::b::B { super::c::g() }"),
            ("b.rs", "macro_rules! m { () => { $crate::d::D } }"),
            ("c.rs", "fn g() { assert!(crate::d::is(1), \"crate::a::f\"); }"),
            ("d.rs", "mod inside { use super::super::b::B; }"),
        ];
        let expected = ["a.rs -> b.rs", "a.rs -> c.rs", "b.rs -> d.rs", "c.rs -> d.rs", "d.rs -> b.rs"];
        assert_eq!(imports_of(&files), expected);
    }

    #[test]
    fn tests_and_comments_do_not_count() {
        let test = "#[cfg(test)] mod tests { use crate::b::B; }";
        let comment = "/// See [`B`](crate::b::B). \nfn f() {} // use crate::b::B;";
        let item = "#[cfg(all(test, shuttle))] use crate::b::B;";
        for text in [test, comment, item] {
            let files = [("lib.rs", "mod a; mod b;"), ("a.rs", text), ("b.rs", "")];
            assert_eq!(imports_of(&files), [""; 0], "{text}");
        }
    }

    #[test]
    fn circles_have_all_their_files() {
        let files: [(String, BTreeSet<String>); 5] = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "e")]
            .map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])));
        let imports = Imports(BTreeMap::from(files));
        assert_eq!(imports.circles(), [BTreeSet::from(["a", "b", "c"])]);
        assert_eq!(imports.within(&imports.circles()[0]), [("a", "b"), ("b", "c"), ("c", "a")]);
    }
}
