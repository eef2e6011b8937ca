//! `docs/cli/json.md` describes every field of every answer.

use crate::bmdb::Ran;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Fails if the answer has a field that the command's section of the document does not name.
pub(crate) fn documented(command: &str, ran: &Ran) {
    let section = section(command);
    let named: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let mut fields = BTreeSet::new();
    collect(&ran.json(), "", &mut fields);
    for field in fields {
        let is_named = named.iter().any(|named| names(named, &field));
        assert!(
            is_named || PAGES.contains(&&*field),
            "docs/cli/json.md, {command}: {field} is missing; {named:?} are there"
        );
    }
}

/// The fields of answers by command, for a test of the whole document.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<&'static str, BTreeSet<String>>);

impl Seen {
    /// Adds an answer, and checks that its fields are documented.
    pub(crate) fn answer(&mut self, command: &'static str, ran: &Ran) {
        documented(command, ran);
        let fields = self.0.entry(command).or_default();
        collect(&ran.json(), "", fields);
    }

    /// Fails if the document describes a command that was not run, or a field that no answer of the command
    /// had.
    pub(crate) fn covers_the_document(&self) {
        let text = document();
        let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
        for command in headings {
            let fields = self.0.get(command);
            let fields = fields.unwrap_or_else(|| panic!("{command} was not run"));
            for named in rows(&section(command)) {
                let open = OPEN
                    .iter()
                    .any(|open| named.starts_with(&format!("{open}.")));
                assert!(
                    open || fields.iter().any(|field| names(&named, field)),
                    "docs/cli/json.md, {command}: {named} is in no answer; {fields:?} are"
                );
            }
        }
    }
}

/// The fields in a section's table.
fn rows(section: &str) -> Vec<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let named = rows.flat_map(|row| {
        let cell = row.split(" | ").next().unwrap();
        // The prefix contains the first backtick.
        cell.split('`').step_by(2).map(str::to_owned)
    });
    named.filter(|name| !name.is_empty()).collect()
}

fn document() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli/json.md");
    std::fs::read_to_string(file).unwrap()
}

/// Whether the pattern matches the field's path; `*` matches any name.
fn names(pattern: &str, field: &str) -> bool {
    let (mut names, mut parts) = (pattern.split('.'), field.split('.'));
    loop {
        match (names.next(), parts.next()) {
            (None, None) => return true,
            (Some(name), Some(part)) if name == "*" || name == part => {}
            _ => return false,
        }
    }
}

/// The fields of all lists, which the start of the document describes.
const PAGES: &[&str] = &["items", "next", "at"];

fn section(command: &str) -> String {
    let text = document();
    let heading = format!("\n## {command}\n");
    let (_, section) = text.split_once(&heading).unwrap_or_else(|| {
        panic!("docs/cli/json.md has no section {command:?}");
    });
    section.split("\n## ").next().unwrap().to_owned()
}

/// Objects and lists whose contents the document describes in prose.
const OPEN: &[&str] = &["tags", "upkeep[].broken"];

/// The paths of all fields, as the document writes them.
fn collect(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => {
            for value in values {
                collect(value, &format!("{path}[]"), fields);
            }
        }
        Value::Object(object) => {
            for (name, value) in object {
                let field = match path {
                    "" => name.clone(),
                    _ => format!("{path}.{name}"),
                };
                let is_open =
                    OPEN.contains(&field.as_str()) && (field != "tags" || value.is_object());
                if !is_open {
                    collect(value, &field, fields);
                }
                fields.insert(field);
            }
        }
        _ => {}
    }
}
