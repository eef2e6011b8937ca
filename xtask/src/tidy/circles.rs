//! Rules about imports: the files of a crate do not import each other in a circle, and a glob does not
//! hide what they import.

use super::finding::Finding;
use super::imports::{self, Import};
use std::collections::BTreeSet;

pub(super) fn check(imports: &[Import]) -> Vec<Finding> {
    let circles = imports::circles(imports);
    let found = circles.iter().filter_map(|circle| {
        let within = |import: &&Import| {
            circle.contains(&import.from.as_str()) && circle.contains(&import.to.as_str())
        };
        let ties: BTreeSet<String> = imports
            .iter()
            .filter(within)
            .map(|import| format!("{} uses {} of {}", import.from, import.name, import.to))
            .collect();
        let ties: Vec<String> = ties.into_iter().collect();
        let first = imports.iter().find(within)?;
        let fix = format!("give what both need a file of its own: {}", ties.join("; "));
        Some(Finding::new(
            &first.from,
            first.line,
            "no circles of imports",
            fix,
        ))
    });
    let globs = imports.iter().filter(|import| import.name == imports::GLOB);
    let globs = globs.map(|import| {
        let fix = format!("name what is used of {}", import.to);
        Finding::new(&import.from, import.line, "no globs within a crate", fix)
    });
    found.chain(globs).collect()
}
