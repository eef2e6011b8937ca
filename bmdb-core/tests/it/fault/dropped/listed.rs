//! List of the public operations: a new one needs a test that drops it.

use super::operations::DROPPED;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Operations without a test that drops them, and the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "Bmdb::migrate_with_source",
        "waits and runs in the background as Bmdb::migrate_with does",
    ),
    (
        "Operator::switch_off",
        "writes as Bmdb::define_process does, and replans as Bmdb::replan does",
    ),
    ("Operator::switch_on", "as Operator::switch_off"),
];

/// `Type::name` of every public async function, in files that are laid out as rustfmt does it.
fn operations(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            operations(&path, found);
            continue;
        }
        let mut of = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(implemented) = line.strip_prefix("impl") {
                let implemented = implemented.split(" for ").last().unwrap_or(implemented);
                let named = match implemented.strip_prefix('<') {
                    Some(generic) => generic.split_once("> ").map_or("", |(_, named)| named),
                    None => implemented,
                };
                let is_name = |c: char| c.is_alphanumeric() || c == '_';
                of = named.trim().chars().take_while(|c| is_name(*c)).collect();
            } else if let Some(function) = line.trim_start().strip_prefix("pub async fn ") {
                let name: String = function
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                found.insert(format!("{of}::{name}"));
            }
        }
    }
}

#[test]
fn every_public_operation_has_a_test_that_drops_it() {
    let mut found = BTreeSet::new();
    operations(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 40, "the sources were not read: {found:?}");
    let dropped = DROPPED.iter().flat_map(|names| names.iter().copied());
    let elsewhere = ELSEWHERE.iter().map(|(name, _)| *name);
    let known: BTreeSet<String> = dropped.chain(elsewhere).map(str::to_owned).collect();
    assert_eq!(found, known);
}
