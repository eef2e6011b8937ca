//! Source rules: what every crate and each layer must not contain.

use super::finding::Finding;
use super::tokens::{self, Kind, Token};

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let tokens = tokens::of(text);
    let mut findings = everywhere(path, &tokens);
    findings.extend(own_escapes(path, &tokens));
    // Only `src`: tests are not part of a layer.
    match path.split_once("/src/") {
        Some(("bmdb-backoff", file)) => findings.extend(backoff(path, file, text, &tokens)),
        Some(("bmdb-model", _)) => findings.extend(model(path, &tokens)),
        Some(("bmdb-core", _)) => findings.extend(no_sql(path, "core has no SQL text", &tokens)),
        Some(("bmdb-cli", _)) => findings.extend(no_sql(path, "cli has no SQL text", &tokens)),
        Some(("bmdb-web", _)) => {
            findings.extend(no_sql(path, "web has no SQL text", &tokens));
            findings.extend(web(path, &tokens));
        }
        _ => {}
    }
    findings
}

fn everywhere(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pair in tokens.windows(2) {
        let line = pair[0].line;
        if pair[0].is("unsafe") {
            let fix = "use a safe interface of std or a crate";
            findings.push(Finding::new(path, line, "no unsafe code", fix));
        }
        let unfinished = ["todo", "unimplemented"]
            .iter()
            .any(|name| pair[0].is(name));
        if unfinished && pair[1].is_punct('!') {
            let fix = "finish it, or return an error that names what is missing";
            findings.push(Finding::new(path, line, "nothing unfinished", fix));
        }
    }
    findings
}

/// What may look at control characters besides the one function that escapes: the characters of a terminal in
/// the locale C, parameters that are refused, and reasons that become one line.
const ESCAPES: [&str; 5] = [
    "bmdb-cli/src/output/charset.rs",
    // Leaves only ASCII, which every encoding of a database has.
    "bmdb-model/src/column.rs",
    "bmdb-model/src/internal/process_control/pause.rs",
    "bmdb-model/src/text.rs",
    "bmdb-web/src/request.rs",
];

/// Everything that people see is escaped by one function, which knows more than control characters.
fn own_escapes(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let is_product = path.starts_with("bmdb-") && path.contains("/src/");
    if !is_product || path.starts_with("bmdb-testkit/") || ESCAPES.contains(&path) {
        return Vec::new();
    }
    let names = [
        "is_control",
        "escape_debug",
        "escape_default",
        "escape_unicode",
    ];
    let own = tokens
        .iter()
        .filter(|token| names.iter().any(|name| token.is(name)));
    let fix = "call `bmdb_model::text::escape`: it escapes whatever a reader would not see";
    own.map(|token| Finding::new(path, token.line, "one function escapes", fix))
        .collect()
}

fn backoff(path: &str, file: &str, text: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file == "lib.rs" && !text.contains("#![no_std]") {
        let fix = "keep `#![no_std]`: the crate is a pure algorithm";
        findings.push(Finding::new(path, 1, "backoff has no std", fix));
    }
    for line in paths(tokens, "std") {
        let fix = "use `core`: a pure algorithm needs no clock, no I/O and no allocation";
        findings.push(Finding::new(path, line, "backoff has no std", fix));
    }
    findings
}

fn model(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["spawn", "time"] {
        for line in items_of(tokens, "tokio", name) {
            let fix = format!("tokio::{name} belongs to bmdb-core: the model only runs statements");
            let rule = "model has no tasks and no timers";
            findings.push(Finding::new(path, line, rule, fix));
        }
    }
    findings
}

/// The console only reads, through a `Reader`.
fn web(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let fix = "read through `bmdb_core::Reader`; writing belongs to commands of bmdb-cli";
    let writing = ["Bmdb", "Session", "Tx"]
        .into_iter()
        .flat_map(|name| items_of(tokens, "bmdb_core", name));
    writing
        .map(|line| Finding::new(path, line, "web writes nothing", fix))
        .collect()
}

fn no_sql(path: &str, rule: &'static str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for token in tokens {
        match &token.kind {
            Kind::Text(text) if is_sql(text) => {
                let fix = "move the statement to bmdb-model, as a function or a .sql file";
                findings.push(Finding::new(path, token.line, rule, fix));
            }
            Kind::Ident(name) if name == "sql_query" || name == "batch_execute" => {
                let fix = format!("`{name}` belongs to bmdb-model: call one of its functions");
                findings.push(Finding::new(path, token.line, rule, fix));
            }
            _ => {}
        }
    }
    findings
}

/// The lines where a path begins with `root::`.
fn paths(tokens: &[Token], root: &str) -> Vec<usize> {
    let begins = tokens.windows(3).enumerate().filter(|(at, window)| {
        // `x::std::y` is another path; `::std::y` begins with std.
        let inside = *at > 2
            && tokens[at - 1].is_punct(':')
            && matches!(tokens[at - 3].kind, Kind::Ident(_));
        window[0].is(root) && window[1].is_punct(':') && window[2].is_punct(':') && !inside
    });
    begins.map(|(_, window)| window[0].line).collect()
}

/// The lines where `root::name` is used, or imported as `root::{…, name, …}`.
fn items_of(tokens: &[Token], root: &str, name: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_path = token.is(root)
            && tokens.get(at + 1).is_some_and(|t| t.is_punct(':'))
            && tokens.get(at + 2).is_some_and(|t| t.is_punct(':'));
        if !is_path {
            continue;
        }
        let rest = &tokens[at + 3..];
        let used = match rest.first() {
            Some(first) if first.kind == Kind::Open => rest
                .iter()
                .take_while(|t| !t.is_punct(';'))
                .find(|t| t.is(name)),
            first => first.filter(|t| t.is(name)),
        };
        lines.extend(used.map(|token| token.line));
    }
    lines
}

/// Whether a text is a statement: its first word, and a second one that tells SQL from English
/// ("Select a machine", "update of").
fn is_sql(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let words: Vec<&str> = upper
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let has = |word: &str| words.contains(&word);
    match words.first().copied() {
        Some("SELECT") => text.trim_start().starts_with("SELECT") || has("FROM"),
        Some("INSERT") => words.get(1) == Some(&"INTO"),
        Some("DELETE") => words.get(1) == Some(&"FROM"),
        Some("UPDATE") => has("SET"),
        Some("WITH") => has("AS") && has("SELECT"),
        Some("BEGIN" | "START") => words.len() == 1 || has("ISOLATION") || has("TRANSACTION"),
        Some("COMMIT" | "ROLLBACK") => words.len() == 1,
        Some("LOCK" | "CREATE" | "ALTER" | "DROP") => {
            matches!(
                words.get(1),
                Some(&("TABLE" | "VIEW" | "INDEX" | "DATABASE"))
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let findings = check(path, text);
        findings.iter().map(|f| (f.line, f.rule)).collect()
    }

    #[test]
    fn unsafe_code_is_found_but_not_the_lint_against_it() {
        let rule = "no unsafe code";
        assert_eq!(
            found("xtask/src/a.rs", "\nfn f() { unsafe { g() } }"),
            [(2, rule)]
        );
        assert!(found("xtask/src/a.rs", "#![forbid(unsafe_code)] // unsafe").is_empty());
    }

    #[test]
    fn unfinished_code_is_found() {
        for name in ["todo", "unimplemented"] {
            let text = format!("fn f() {{ {name}!() }}");
            assert_eq!(
                found("bmdb-web/src/a.rs", &text),
                [(1, "nothing unfinished")]
            );
        }
    }

    #[test]
    fn a_second_way_to_escape_text_is_found() {
        let text = "fn f(c: char) -> bool { c.is_control() }";
        let rule = "one function escapes";
        assert_eq!(found("bmdb-cli/src/a.rs", text), [(1, rule)]);
        assert!(found("bmdb-model/src/text.rs", text).is_empty());
        assert!(found("xtask/src/a.rs", text).is_empty());
    }

    #[test]
    fn std_in_backoff_is_found_outside_tests() {
        let rule = "backoff has no std";
        let path = "bmdb-backoff/src/a.rs";
        assert_eq!(found(path, "use std::fmt;"), [(1, rule)]);
        assert_eq!(
            found(path, "fn f() -> ::std::io::Result<()> {}"),
            [(1, rule)]
        );
        assert!(found(path, "/// use std::fmt;\nuse core::fmt;").is_empty());
        assert!(found(path, "#[cfg(test)]\nmod tests { use std::fmt; }").is_empty());
        assert!(found("bmdb-backoff/tests/it/a.rs", "use std::fmt;").is_empty());
        assert_eq!(found("bmdb-backoff/src/lib.rs", "mod a;"), [(1, rule)]);
        assert!(found("bmdb-backoff/src/lib.rs", "#![no_std]\nmod a;").is_empty());
    }

    #[test]
    fn tasks_and_timers_in_the_model_are_found() {
        let rule = "model has no tasks and no timers";
        let path = "bmdb-model/src/a.rs";
        for text in [
            "fn f() { tokio::spawn(g()); }",
            "use tokio::time::sleep;",
            "use tokio::{sync::Mutex, time};",
        ] {
            assert_eq!(found(path, text), [(1, rule)], "{text}");
        }
        assert!(found(path, "fn f() { tokio::task::spawn_blocking(g); }").is_empty());
    }

    #[test]
    fn sql_in_core_is_found_but_not_english() {
        let rule = "core has no SQL text";
        let path = "bmdb-core/src/a.rs";
        for text in [
            r#"const A: &str = "SELECT 1";"#,
            r#"const A: &str = "select x from t";"#,
            r#"const A: &str = "INSERT INTO t VALUES (1)";"#,
            r#"const A: &str = "UPDATE t SET a = 1";"#,
            r#"const A: &str = "DELETE FROM t";"#,
            r##"const A: &str = r#"WITH a AS (SELECT 1) TABLE a"#;"##,
            r#"const A: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE";"#,
            "fn f() { diesel::sql_query(g()); }",
            "fn f() { conn.batch_execute(g()); }",
        ] {
            assert_eq!(found(path, text), [(1, rule)], "{text}");
        }
        for text in [
            r#"const A: &str = "select a machine first";"#,
            r#"const A: &str = "update bmdb";"#,
            r#"const A: &str = "with nothing to do";"#,
            "/// SELECT 1\nfn f() {}",
            r#"#[cfg(test)] mod tests { const A: &str = "SELECT 1"; }"#,
        ] {
            assert!(found(path, text).is_empty(), "{text}");
        }
        assert!(found("bmdb-model/src/a.rs", r#"const A: &str = "SELECT 1";"#).is_empty());
    }

    #[test]
    fn a_console_that_could_write_is_found() {
        let found = found(
            "bmdb-web/src/a.rs",
            "//! a\nuse bmdb_core::{Bmdb, Reader};\n",
        );
        assert_eq!(found, [(2, "web writes nothing")]);
        let statement = format!("//! a\nconst A: &str = {:?};\n", "DELETE FROM x");
        assert_eq!(
            self::found("bmdb-cli/src/a.rs", &statement),
            [(2, "cli has no SQL text")]
        );
    }
}
