//! Listing of a library: which public items it has a line for.

use bmdb_shell::Failure;
use public_api::{Builder, PublicItem};
use std::collections::HashMap;
use std::path::Path;

/// The listed items, each followed by its fields, variants, methods and implementations.
pub(crate) fn lines(library: &str, json: &Path) -> Result<Vec<String>, Failure> {
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .map_err(|error| {
            Failure::check(format!(
                "{}: {error}; after an update of Rust, set in Cargo.toml the version of public-api \
                 that reads the JSON of its rustdoc",
                json.display()
            ))
        })?;
    let items: Vec<(&PublicItem, String)> =
        api.items().map(|item| (item, item.to_string())).collect();
    let by_id: HashMap<_, _> = items.iter().map(|(item, line)| (item.id(), line)).collect();
    let library = library.replace('-', "_");
    let is_listed = |item: &PublicItem, line: &str| {
        let parent = item.parent_id().and_then(|id| by_id.get(&id));
        is_listed(&library, parent.map(|line| line.as_str()), line)
    };
    let listed = items.iter().filter(|(item, line)| is_listed(item, line));
    let mut lines: Vec<String> = listed.map(|(_, line)| line.clone()).collect();
    lines.dedup();
    Ok(lines)
}

/// Whether a listing has this line, which belongs to an item with the line `parent`.
fn is_listed(library: &str, parent: Option<&str>, line: &str) -> bool {
    if is_in(&format!("{library}::internal"), line) {
        return false;
    }
    if is_in(&format!("{library}::schema"), line) {
        return is_table_or_column(line);
    }
    if is_implementation(line) {
        return is_of_trait(line) && !is_generated(line);
    }
    match parent {
        // The trait has the functions; it leaves open only the associated types.
        Some(parent) if is_implementation(parent) && is_of_trait(parent) => {
            line.starts_with("pub type ") && !parent.contains("diesel::")
        }
        _ => true,
    }
}

/// Whether the line is about an item of this module, or implements a trait that involves one.
fn is_in(module: &str, line: &str) -> bool {
    let library = module.split("::").next().unwrap_or(module);
    // The first path of an item is its own, later ones are those of its types.
    let path = line
        .find(&format!("{library}::"))
        .map_or("", |start| &line[start..]);
    let inside = format!("{module}::");
    path == module || path.starts_with(&inside) || is_implementation(line) && line.contains(&inside)
}

/// `diesel::table!` makes hundreds of items per table. Only the table and each column have a line.
fn is_table_or_column(line: &str) -> bool {
    line.starts_with("pub struct ")
        && (line.ends_with("::table") || line.contains("::columns::") && !line.ends_with("::star"))
}

fn is_implementation(line: &str) -> bool {
    line.starts_with("impl")
}

fn is_of_trait(line: &str) -> bool {
    line.contains(" for ")
}

/// Derive macros name their own parameters with `__`. `StructuralPartialEq` comes with `PartialEq`.
fn is_generated(line: &str) -> bool {
    ["<__", "<'__", " __", "StructuralPartialEq"]
        .iter()
        .any(|name| line.contains(name))
}

#[cfg(test)]
mod tests {
    use super::is_listed;

    #[track_caller]
    fn check(expected: bool, parent: Option<&str>, line: &str) {
        assert_eq!(is_listed("a", parent, line), expected, "{line}");
    }

    #[test]
    fn items_and_what_belongs_to_them_are_listed() {
        check(true, None, "pub mod a");
        check(
            true,
            Some("pub mod a"),
            "#[non_exhaustive] pub enum a::Error",
        );
        check(
            true,
            Some("pub mod a"),
            "pub fn a::f(a::internal::Row) -> a::schema::t::table",
        );
        check(true, Some("impl a::S"), "pub fn a::S::get(&self) -> u32");
        check(true, Some("pub trait a::T"), "pub fn a::T::f(&self)");
    }

    #[test]
    fn a_trait_implementation_is_one_line_and_its_associated_types() {
        let from_str = "impl core::str::traits::FromStr for a::S";
        check(true, Some("pub struct a::S"), from_str);
        check(true, Some(from_str), "pub type a::S::Err = a::Error");
        check(
            false,
            Some(from_str),
            "pub fn a::S::from_str(&str) -> Result<Self, a::Error>",
        );
        check(false, Some("pub struct a::S"), "impl a::S");
    }

    #[test]
    fn generated_implementations_have_no_line() {
        let derived = "impl<__DB: diesel::backend::Backend> diesel::Selectable<__DB> for a::S";
        check(false, Some("pub struct a::S"), derived);
        check(
            false,
            Some(derived),
            "pub type a::S::SelectExpression = (a::schema::t::id,)",
        );
        check(
            false,
            None,
            "impl core::marker::StructuralPartialEq for a::S",
        );
    }

    #[test]
    fn internal_modules_have_no_lines() {
        check(false, Some("pub mod a"), "pub mod a::internal");
        check(
            false,
            Some("pub mod a::internal"),
            "pub async fn a::internal::claim(&a::S)",
        );
        check(
            false,
            None,
            "impl core::convert::From<a::internal::Row> for a::S",
        );
        check(true, Some("pub mod a"), "pub fn a::internals()");
    }

    #[test]
    fn a_table_has_one_line_and_each_column_another() {
        check(true, None, "pub struct a::schema::t::table");
        check(true, None, "pub struct a::schema::t::columns::id");
        check(false, None, "pub struct a::schema::t::columns::star");
        check(false, None, "pub struct a::schema::t::dsl::id");
        check(false, None, "pub mod a::schema::t");
        check(
            false,
            None,
            "impl diesel::expression::Expression for a::schema::t::id",
        );
    }
}
