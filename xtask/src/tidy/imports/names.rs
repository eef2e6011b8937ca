//! What a file declares and uses by name: its modules and its `use` items.

use syn::spanned::Spanned;
use syn::{Item, UseTree, Visibility};

/// A leaf of a `use`.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) line: usize,
    pub(super) path: Vec<String>,
    /// What it is called here.
    pub(super) name: String,
    pub(super) is_re_export: bool,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) modules: Vec<String>,
    pub(super) uses: Vec<Use>,
}

impl Names {
    /// Nothing where the file does not parse: then the compiler says so.
    pub(super) fn of(text: &str) -> Self {
        let mut names = Self::default();
        for item in syn::parse_file(text).map_or_else(|_| Vec::new(), |file| file.items) {
            match item {
                Item::Mod(module) if module.content.is_none() && !is_test(&module.attrs) => {
                    names.modules.push(module.ident.to_string());
                }
                Item::Use(item) if !is_test(&item.attrs) => {
                    let is_re_export = !matches!(item.vis, Visibility::Inherited);
                    names.add(&item.tree, Vec::new(), is_re_export);
                }
                _ => {}
            }
        }
        names
    }

    fn add(&mut self, tree: &UseTree, before: Vec<String>, is_re_export: bool) {
        let line = tree.span().start().line;
        let mut leaf = |name: String, called: String| {
            let mut path = before.clone();
            // `use a::{self}` is a use of `a`.
            let name_here = if name == "self" {
                path.last().cloned().unwrap_or_default()
            } else {
                path.push(name);
                called
            };
            self.uses.push(Use {
                line,
                path,
                name: name_here,
                is_re_export,
            });
        };
        match tree {
            UseTree::Name(name) => leaf(name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => leaf(rename.ident.to_string(), rename.rename.to_string()),
            UseTree::Glob(_) => leaf("*".to_owned(), "*".to_owned()),
            UseTree::Path(path) => {
                let mut below = before;
                below.push(path.ident.to_string());
                self.add(&path.tree, below, is_re_export);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add(tree, before.clone(), is_re_export);
                }
            }
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.meta.require_list();
        let condition = condition.map(|list| list.tokens.to_string().replace(' ', ""));
        attribute.path().is_ident("cfg")
            && condition.is_ok_and(|text| text == "test" || text.starts_with("all(test,"))
    })
}
