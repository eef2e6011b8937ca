//! `docs/cli/json.md` tells of every field of every answer.

use crate::bmdb::Ran;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Fails where the answer has a field that the command's section of the document does not name.
pub(crate) fn documented(command: &str, ran: &Ran) {
    let section = section(command);
    let named: BTreeSet<&str> = section.split('`').skip(1).step_by(2).collect();
    let mut fields = BTreeSet::new();
    collect(&ran.json(), "", &mut fields);
    for field in fields {
        let told = named.iter().any(|named| names(named, &field)) || PAGES.contains(&&*field);
        assert!(
            told,
            "docs/cli/json.md, {command}: {field} is not told of; {named:?} are"
        );
    }
}

/// The fields of answers by command, for a test that goes through the whole document.
#[derive(Default)]
pub(crate) struct Seen(BTreeMap<&'static str, BTreeSet<String>>);

impl Seen {
    /// Takes an answer, of which everything must be told.
    pub(crate) fn answer(&mut self, command: &'static str, ran: &Ran) {
        documented(command, ran);
        let fields = self.0.entry(command).or_default();
        collect(&ran.json(), "", fields);
    }

    /// Fails where the document tells of a command that was not run, or of a field that was in none of
    /// the command's answers.
    pub(crate) fn is_all_there_is(&self) {
        let text = document();
        let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
        for command in headings {
            let fields = self.0.get(command);
            let fields = fields.unwrap_or_else(|| panic!("{command} was not run"));
            for told in rows(&section(command)) {
                let open = OPEN
                    .iter()
                    .any(|open| told.starts_with(&format!("{open}.")));
                assert!(
                    open || fields.iter().any(|field| names(&told, field)),
                    "docs/cli/json.md, {command}: {told} is in no answer; {fields:?} are"
                );
            }
        }
    }
}

/// The fields that a section's table tells of.
fn rows(section: &str) -> Vec<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let named = rows.flat_map(|row| {
        let cell = row.split(" | ").next().unwrap();
        // The first backtick has been taken.
        cell.split('`').step_by(2).map(str::to_owned)
    });
    named.filter(|name| !name.is_empty()).collect()
}

fn document() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli/json.md");
    std::fs::read_to_string(file).unwrap()
}

/// Whether it is the field's path, where `*` stands for any name.
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

/// What the head of the document tells of all lists.
const PAGES: &[&str] = &["items", "next", "at"];

fn section(command: &str) -> String {
    let text = document();
    let heading = format!("\n## {command}\n");
    let (_, section) = text.split_once(&heading).unwrap_or_else(|| {
        panic!("docs/cli/json.md has no section {command:?}");
    });
    section.split("\n## ").next().unwrap().to_owned()
}

/// What is in these objects, or in these lists, is told of in words.
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
