//! Evidence rule: a test that a document names as evidence must exist.

use super::files::TextFile;
use super::finding::Finding;

/// Documents that name tests as evidence.
const DOCUMENTS: &[&str] = &["SECURITY.md"];

/// A code span with this many words is a test's name.
const WORDS: usize = 4;

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let documents = files
        .iter()
        .filter(|(path, _)| DOCUMENTS.contains(&path.as_str()));
    documents
        .flat_map(|(path, text)| {
            let lines = text.lines().enumerate();
            let named = lines.flat_map(|(i, line)| tests(line).map(move |test| (i + 1, test)));
            let missing = named.filter(|(_, test)| !exists(test, files));
            missing.map(move |(line, test)| {
                let fix = format!("no test is called {test}: name the test that shows this now");
                Finding::new(path, line, "evidence is there", fix)
            })
        })
        .collect()
}

/// Code spans that can only be names of tests.
fn tests(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|code| {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        code.chars().all(is_name) && code.split('_').count() >= WORDS
    })
}

fn exists(test: &str, files: &[TextFile]) -> bool {
    let function = format!("fn {test}(");
    files
        .iter()
        .any(|(path, text)| path.ends_with(".rs") && text.contains(&function))
}

#[cfg(test)]
mod tests {
    use super::check;

    fn findings(document: &str) -> Vec<usize> {
        let files = [
            ("SECURITY.md", document),
            (
                "a/tests/it/b.rs",
                "//! B.\nasync fn nobody_may_do_that() {}",
            ),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        check(&files).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_test_that_is_named_and_missing_is_found_with_its_line() {
        assert_eq!(findings("# A\n\nNot so (`nobody_may_do_this`)."), [3]);
        assert_eq!(
            findings("`nobody_may_do` and `nobody_may_do_it_at_all`"),
            [1]
        );
    }

    #[test]
    fn tests_that_are_there_and_other_code_are_not() {
        assert!(findings("`nobody_may_do_that`, `work_item`, `SET role_a_b_c`").is_empty());
    }
}
