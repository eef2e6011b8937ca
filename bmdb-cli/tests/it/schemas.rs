//! `docs/cli/json.md` tells of every field of every answer.

use crate::bmdb::Ran;
use serde_json::Value;
use std::collections::BTreeSet;
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
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli/json.md");
    let text = std::fs::read_to_string(file).unwrap();
    let heading = format!("\n## {command}\n");
    let (_, section) = text.split_once(&heading).unwrap_or_else(|| {
        panic!("docs/cli/json.md has no section {command:?}");
    });
    section.split("\n## ").next().unwrap().to_owned()
}

/// What is in these is told of in words.
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
                if !OPEN.contains(&field.as_str()) {
                    collect(value, &field, fields);
                }
                fields.insert(field);
            }
        }
        _ => {}
    }
}
