//! Text rules, for files of every kind.

use super::files::TextFile;
use super::finding::Finding;

/// A longer file contains more than one concept.
const LONGEST: usize = 450;

/// Files that may be longer, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// Paths of one machine. Split, or this file would break the rule.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/root", "/."),
    concat!("/home", "/"),
    concat!("/Us", "ers/"),
];

const UNFINISHED: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("TO", "DO:"),
];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for machine_path in MACHINE_PATHS {
            if line.contains(machine_path) {
                let fix = format!("write {machine_path}… relative to the workspace");
                findings.push(Finding::new(path, number + 1, "no machine paths", fix));
            }
        }
        for word in UNFINISHED {
            if line.contains(word) {
                let fix = "finish it, or file an issue and describe the present state";
                findings.push(Finding::new(path, number + 1, "nothing unfinished", fix));
            }
        }
    }
    if path.ends_with(".rs") {
        findings.extend(check_rust(path, text));
    }
    findings
}

fn check_rust(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        let fix = "begin with a `//!` sentence that says what the file owns";
        findings.push(Finding::new(path, 1, "files say what they own", fix));
    }
    let lines = text.lines().count();
    if lines > LONGEST && !LONGER.iter().any(|(longer, _)| *longer == path) {
        let fix = format!("split it by concept: {lines} lines, {LONGEST} at most");
        findings.push(Finding::new(path, LONGEST + 1, "no long files", fix));
    }
    findings
}

/// Exceptions for files that are short by now.
pub(super) fn stale_exceptions(files: &[TextFile]) -> Vec<Finding> {
    let long = |path: &str| {
        let file = files.iter().find(|(name, _)| name == path);
        file.is_some_and(|(_, text)| text.lines().count() > LONGEST)
    };
    LONGER
        .iter()
        .filter(|(path, _)| !long(path))
        .map(|(path, _)| {
            let fix = "remove it from LONGER in xtask/src/tidy/text.rs";
            Finding::new(path, 1, "no stale exceptions", fix)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        check(path, text)
            .iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn a_plain_file_breaks_no_rule() {
        assert!(rules("a/src/lib.rs", "//! What it owns.\n").is_empty());
        assert!(rules("README.md", "# Title\n").is_empty());
    }

    #[test]
    fn machine_paths_are_found_with_their_line() {
        for path in MACHINE_PATHS {
            let findings = check("README.md", &format!("fine\nsee {path}x"));
            assert_eq!(findings.len(), 1, "{path}");
            assert_eq!(
                (findings[0].line, findings[0].rule),
                (2, "no machine paths")
            );
        }
    }

    #[test]
    fn what_is_unfinished_is_found() {
        for word in UNFINISHED {
            assert_eq!(
                rules("a.sql", &format!("-- {word} later")),
                ["nothing unfinished"]
            );
        }
    }

    #[test]
    fn a_file_that_does_not_say_what_it_owns_is_found() {
        assert_eq!(
            rules("a/build.rs", "fn main() {}"),
            ["files say what they own"]
        );
    }

    #[test]
    fn a_long_file_is_found() {
        let text = format!("//! Long.\n{}", "\n".repeat(LONGEST));
        assert_eq!(rules("a/src/b.rs", &text), ["no long files"]);
    }
}
