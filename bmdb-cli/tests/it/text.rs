//! Invisible characters: texts that other programs wrote neither rule a terminal nor deceive a reader.

use crate::bmdb::{bmdb, due_machine, nowhere};
use bmdb_model::text::is_invisible;
use bmdb_testkit::TestDb;
use serde_json::Value;

/// A right-to-left override, separators, what is not seen, a tag, sequences that a terminal obeys, and lines
/// that look like messages of bmdb.
const HOSTILE: &str = "rack\u{202e}7\u{2028}a\u{200b}b\u{feff}c\u{e0041}\u{1b}[8m\u{9b}2J\u{7f}\u{2066}é\
                       \nerror: forged\r\nhint: forged";

/// The output without the colours of bmdb. What a value has brought is no colour: it hides text.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    for piece in text.split_inclusive("\u{1b}[") {
        let end = piece.find(|c: char| !c.is_ascii_digit() && c != ';');
        let is_colour = plain.ends_with("\u{1b}[")
            && end.is_some_and(|end| piece[end..].starts_with('m') && piece[..end] != *"8");
        match end {
            Some(end) if is_colour => {
                plain.truncate(plain.len() - 2);
                plain += &piece[end + 1..];
            }
            _ => plain += piece,
        }
    }
    plain
}

fn check(text: &str, what: &str) {
    let found = text.chars().find(|c| *c != '\n' && is_invisible(*c));
    assert_eq!(found, None, "{what}: {text:?}");
    let is_forged =
        |line: &&str| line.starts_with("error: forged") || line.starts_with("hint: forged");
    let forged = text.lines().find(is_forged);
    assert_eq!(forged, None, "{what}: {text:?}");
}

fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(values) => values.iter().any(|value| contains(value, text)),
        Value::Object(fields) => fields.values().any(|value| contains(value, text)),
        _ => false,
    }
}

/// A command printed U+202E, and the line of its machine in every list ran backwards. JSON keeps the value.
#[tokio::test]
async fn no_command_prints_what_a_reader_would_not_see() {
    let db = TestDb::new().await.unwrap();
    let machine = due_machine(&db, HOSTILE).await;
    let other = due_machine(&db, "other").await;
    let write = format!(
        "UPDATE work_item SET backoff_until = clock_timestamp() + interval '1 h', failures = 2,
             last_interval_seconds = 600, cause = $t${HOSTILE}$t$ WHERE machine_id = '{machine}';
         INSERT INTO machine_hold (machine_id, since, reason)
             VALUES ('{other}', clock_timestamp(), $t${HOSTILE}$t$);
         INSERT INTO operator_action (verb, operator, reason, machine_id, details)
             VALUES ('Hold', $t${HOSTILE}$t$, $t${HOSTILE}$t$, '{other}', jsonb_build_object('x', $t${HOSTILE}$t$))"
    );
    db.run_sql(&write).await.unwrap();
    let (machine, other) = (machine.to_string(), other.to_string());
    for (args, has_value) in [
        (&["machine", "list"][..], true),
        (&["machine", "show", &machine], true),
        (&["machine", "show", &other], true),
        (&["why", &machine, "ShepherdAgentStart"], false),
        (&["why", &other, "ShepherdAgentStart"], false),
        (&["backoff", "list"], true),
        (&["history", &other], true),
        (&["history", "--causes"], true),
        (&["history"], true),
        (&["process", "show", "ShepherdAgentStart"], false),
        (&["stats"], false),
    ] {
        for more in [&[][..], &["--color=always"], &["--json"]] {
            let ran = bmdb(&db).args(args).args(more).run();
            check(&without_colours(&ran.stdout), &format!("{args:?} {more:?}"));
            assert_eq!(ran.stderr, "", "{args:?}");
        }
        let json = bmdb(&db).args(args).args(["--json"]).run().json();
        assert!(!has_value || contains(&json, HOSTILE), "{args:?}: {json}");
    }
}

/// An error quoted its argument, and the terminal obeyed it.
#[tokio::test]
async fn errors_escape_the_arguments_that_they_quote() {
    let db = TestDb::new().await.unwrap();
    let machine = format!("Equinix/{HOSTILE}");
    for (args, code) in [
        (&["machine", "show", &machine][..], 3),
        (&["machine", "list", "--provider", HOSTILE], 2),
        (&[HOSTILE], 2),
        (&["history", "--causes", HOSTILE], 2),
    ] {
        for more in [&[][..], &["--color=always"], &["--json"]] {
            let ran = bmdb(&db).args(more).args(args).output();
            assert_eq!(ran.code, Some(code), "{ran:?}");
            check(&without_colours(&ran.stderr), &format!("{args:?} {more:?}"));
            assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
        }
    }
    let log = nowhere().args(["stats"]).env("RUST_LOG", HOSTILE).output();
    check(&log.stderr, "the log");
}
