//! A rule about words: the ones that the project's vocabulary replaces do not appear.

use super::finding::Finding;
use super::tokens::{self, Kind};

/// Words that no text has, with what to write instead.
const WORDS: &[(&str, &str)] = &[
    ("anew", "`again`, or a verb that begins with `re-`"),
    (
        "in vain",
        "say what failed: `an empty poll`, `without success`",
    ),
    (
        "whoever",
        "name the actor: the caller, the janitor, an operator",
    ),
    ("nobody's", "name what has no owner"),
    ("told", "`printed`, `reported`, `counted`, `informed`"),
    ("cancelled", "`canceled`"),
];

/// Names of libraries that contain one of those words.
const FOREIGN: &[&str] = &[
    ".cancelled()",
    "is_cancelled()",
    "cancelled_owned()",
    "run_until_cancelled",
];

/// Parts of names that no identifier has.
const PARTS: &[(&str, &str)] = &[
    (
        "floor",
        "the queue's `cursor`, or `baseline` of a measurement",
    ),
    ("floors", "the queue's `cursor`"),
    ("together", "`batch`, `end_batcher`"),
    ("company", "`pipelined`, `batch`"),
    ("chore", "`cleanup`"),
    ("chores", "`cleanup`"),
    ("patience", "`deadline`"),
    ("upkeep", "`maintenance`"),
    ("tally", "`attempt_counts`"),
    ("ear", "`listener`"),
    ("works", "`claimed`, `attempts`: Work has no plural"),
    ("told", "`printed`, `reported`, `counted`"),
    ("befall", "`inject`"),
    ("cancelled", "`canceled`"),
];

/// Identifiers that the database or a library chose.
const IDENTIFIERS: &[&str] = &[
    // Tables and their columns.
    "upkeep",
    "attempt_tally",
    "trim_tally",
    // Of numbers and strings.
    "floor",
    "floor_char_boundary",
    // Of the recorder of Prometheus metrics.
    "run_upkeep",
    // Of tokio's tokens.
    "cancelled",
    "is_cancelled",
];

/// "works" after one of these is a noun.
const BEFORE_A_NOUN: &[&str] = &[
    "the", "these", "those", "its", "their", "all", "both", "of", "no", "many", "several", "two",
    "claimed", "held", "some",
];

/// From this many words on, a name is a sentence, in which "works" may be the verb. As a noun it is found
/// there like in any text.
const SENTENCE: usize = 4;

/// Files whose words are a record: released migrations, and statements of released versions.
const RECORDS: &[&str] = &["bmdb-model/migrations/", "bmdb-model/tests/statements/"];

/// This file has to name the words.
const THIS: &str = "xtask/src/tidy/words.rs";

const RULE: &str = "one vocabulary";

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    if path == THIS || RECORDS.iter().any(|record| path.starts_with(record)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = FOREIGN
            .iter()
            .fold(line.to_lowercase(), |line, name| line.replace(name, ""));
        let mut find = |word: &str, instead: &str| {
            let fix = format!("instead of \"{word}\" write {instead}");
            findings.push(Finding::new(path, number + 1, RULE, fix));
        };
        for (word, instead) in WORDS {
            if has_word(&line, word) {
                find(word, instead);
            }
        }
        if has_works_as_a_noun(&line) {
            find(
                "works",
                "`claimed machines`, `attempts`: Work has no plural",
            );
        }
    }
    if path.ends_with(".rs") {
        findings.extend(identifiers(path, text));
    }
    findings
}

/// Whether the line has this word, and not as a part of another.
fn has_word(line: &str, word: &str) -> bool {
    let mut from = 0;
    while let Some(found) = line[from..].find(word) {
        let (begin, end) = (from + found, from + found + word.len());
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        if !line[..begin].ends_with(is_part) && !line[end..].starts_with(is_part) {
            return true;
        }
        from = end;
    }
    false
}

fn has_works_as_a_noun(line: &str) -> bool {
    let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).collect();
    words
        .windows(2)
        .any(|pair| pair[1] == "works" && BEFORE_A_NOUN.contains(&pair[0]))
}

fn identifiers(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for token in tokens::with_tests(text) {
        let Kind::Ident(name) = &token.kind else {
            continue;
        };
        if IDENTIFIERS.contains(&name.as_str()) {
            continue;
        }
        let words = parts(name);
        for (part, instead) in PARTS {
            let may_be_a_verb = *part == "works" && words.len() >= SENTENCE;
            if !may_be_a_verb && words.iter().any(|own| own == part) {
                let fix = format!("rename `{name}`: instead of \"{part}\" write {instead}");
                findings.push(Finding::new(path, token.line, RULE, fix));
            }
        }
    }
    findings
}

/// The words that a name is made of, in small letters.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && before.is_lowercase()) {
            parts.push(String::new());
        }
        if c != '_'
            && let Some(part) = parts.last_mut()
        {
            part.extend(c.to_lowercase());
        }
        before = c;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text).iter().map(|f| f.line).collect()
    }

    #[test]
    fn a_word_that_has_a_better_one_is_found_in_every_kind_of_text() {
        for text in ["It is told.", "Planned Anew", "a poll in vain", "cancelled"] {
            assert_eq!(lines("docs/a.md", text), [1], "{text}");
            assert_eq!(lines("a.rs", &format!("//! A.\n// {text}")), [2], "{text}");
        }
        assert!(lines("docs/a.md", "The janitor reports it again.").is_empty());
        assert!(lines("docs/a.md", "renewed, untold").is_empty());
    }

    #[test]
    fn a_name_that_belongs_to_a_library_is_not_found() {
        assert!(
            lines(
                "a.rs",
                "//! A.\nfn f() { token.cancelled().await; x.floor(); }"
            )
            .is_empty()
        );
    }

    #[test]
    fn works_is_found_as_a_noun_only() {
        assert_eq!(lines("a.md", "It ends the works of a session."), [1]);
        let test = "//! A.\nfn a_thousand_of_works_is_canceled() {}";
        assert_eq!(lines("a.rs", test), [2]);
        assert!(lines("a.md", "How it works, and what works best.").is_empty());
    }

    #[test]
    fn a_part_of_an_identifier_is_found_also_in_tests() {
        for name in [
            "tally",
            "last_tally",
            "TallyRow",
            "works",
            "works_of",
            "by_floor",
            "Chores",
        ] {
            assert_eq!(
                lines("a.rs", &format!("//! A.\nfn {name}() {{}}")),
                [2],
                "{name}"
            );
            let test = format!("//! A.\n#[cfg(test)]\nmod tests {{ fn {name}() {{}} }}");
            assert_eq!(lines("a.rs", &test), [3], "{name}");
        }
        for name in [
            "floored",
            "networks",
            "early",
            "attempt_tally",
            "run_upkeep",
            "every_link_of_a_page_works",
        ] {
            assert!(
                lines("a.rs", &format!("//! A.\nfn {name}() {{}}")).is_empty(),
                "{name}"
            );
        }
    }

    #[test]
    fn released_statements_keep_their_words() {
        assert!(lines("bmdb-model/migrations/1_a/up.sql", "-- told").is_empty());
    }
}
