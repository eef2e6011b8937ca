//! Statement effect: what the statements of a text do beyond the rows of their transaction.
//!
//! The words are judged, and not only the first of the text: a text may hold several statements, comments and
//! strings. What is not known to be harmless counts as a change of the connection, which costs no more than a
//! new connection.

/// What statements do to the transaction and the connection in which they run, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// They read and write rows and objects, which the end of the transaction commits or undoes.
    Rows,
    /// They may leave something behind on the connection: settings, a role, locks, cursors, temporary tables,
    /// prepared statements, or a channel that is listened to.
    Connection,
    /// They end the transaction.
    Transaction,
}

/// The first words of statements that leave nothing behind on the connection.
const HARMLESS: [&str; 37] = [
    "alter",
    "analyze",
    "begin",
    "close",
    "cluster",
    "comment",
    "copy",
    "create",
    "delete",
    "drop",
    "explain",
    "fetch",
    "grant",
    "import",
    "insert",
    "lock",
    "merge",
    "move",
    "notify",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "revoke",
    "rollback",
    "savepoint",
    "security",
    "select",
    "set",
    "show",
    "start",
    "table",
    "truncate",
    "update",
    "values",
    "with",
    "declare",
];

/// Functions that change more than rows, however the statement begins.
const CHANGING: [&str; 10] = [
    "dblink_connect",
    "dblink_connect_u",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_all",
    "pg_advisory_unlock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "set_config",
];

/// The strongest effect of the statements of a text, and the first words of the statement that has it.
#[must_use]
pub fn effect(sql: &str) -> (Effect, String) {
    let mut strongest = (Effect::Rows, String::new());
    for statement in statements(sql) {
        let effect = effect_of(&statement);
        if effect > strongest.0 {
            let words: Vec<&str> = statement.iter().take(3).map(String::as_str).collect();
            strongest = (effect, words.join(" ").to_uppercase());
        }
    }
    strongest
}

fn effect_of(statement: &[String]) -> Effect {
    let words: Vec<&str> = statement.iter().map(String::as_str).collect();
    match *words.as_slice() {
        [] => Effect::Rows,
        ["commit" | "end" | "abort", ..] | ["prepare", "transaction", ..] => Effect::Transaction,
        // `ROLLBACK [WORK | TRANSACTION] TO` is about a savepoint.
        ["rollback", ref rest @ ..] if !rest.iter().take(2).any(|word| *word == "to") => {
            Effect::Transaction
        }
        ["set", "local" | "constraints" | "transaction", ..] => Effect::Rows,
        ["set", ..] => Effect::Connection,
        ["declare", ref rest @ ..] if has_pair(rest, &["with"], &["hold"]) => Effect::Connection,
        [first, ..] if !HARMLESS.contains(&first) => Effect::Connection,
        _ if words.iter().any(|word| CHANGING.contains(word)) => Effect::Connection,
        _ if has_pair(&words, &BEFORE_TEMPORARY, &["temp", "temporary"]) => Effect::Connection,
        _ => Effect::Rows,
    }
}

/// The words that `TEMPORARY` follows where it makes a table, sequence or view temporary.
const BEFORE_TEMPORARY: [&str; 5] = ["create", "global", "into", "local", "replace"];

fn has_pair(words: &[&str], one: &[&str], next: &[&str]) -> bool {
    words
        .windows(2)
        .any(|pair| one.contains(&pair[0]) && next.contains(&pair[1]))
}

/// The words of each statement, in lower case, without strings and comments.
fn statements(sql: &str) -> Vec<Vec<String>> {
    let mut statements = vec![Vec::new()];
    let mut body = Body::default();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '\'' => 1 + string(&rest[1..], false),
            'e' | 'E' if rest[1..].starts_with('\'') => 2 + string(&rest[2..], true),
            '$' => dollar_quoted(rest),
            ';' => {
                if !body.is_open() {
                    statements.push(Vec::new());
                }
                1
            }
            '"' => {
                let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
                let name = rest[1..end].trim_end_matches('"').to_owned();
                body.add(&name, &mut statements);
                end
            }
            _ if is_word(first) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                body.add(&rest[..end].to_lowercase(), &mut statements);
                end
            }
            _ => first.len_utf8(),
        };
        rest = &rest[length..];
    }
    statements
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The body of a function in `BEGIN ATOMIC … END`, whose semicolons end no statement.
#[derive(Default)]
struct Body {
    /// How many `BEGIN ATOMIC` and `CASE` are open.
    depth: usize,
}

impl Body {
    fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// Adds a word to the last statement.
    fn add(&mut self, word: &str, statements: &mut [Vec<String>]) {
        let Some(statement) = statements.last_mut() else {
            return;
        };
        let is_create = statement.first().is_some_and(|first| first == "create");
        let follows_begin = statement.last().is_some_and(|last| last == "begin");
        match word {
            "atomic" if is_create && follows_begin => self.depth += 1,
            "case" if self.is_open() => self.depth += 1,
            "end" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        statement.push(word.to_owned());
    }
}

/// The length of a comment, which may contain others.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a string after its opening quote. A doubled quote is two strings here, which is the same.
fn string(text: &str, has_escapes: bool) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = has_escapes,
            b'\'' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `$tag$ … $tag$`, or 1 if it is no such string but a parameter.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find(|c| !is_word(c)).map(|end| end + 1) else {
        return 1;
    };
    let is_parameter = text[1..].starts_with(|c: char| c.is_ascii_digit());
    if is_parameter || !text[end..].starts_with('$') {
        return 1;
    }
    let tag = &text[..=end];
    let body = &text[tag.len()..];
    body.find(tag)
        .map_or(text.len(), |closing| tag.len() + closing + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_are(effect: Effect, texts: &[&str]) {
        for sql in texts {
            assert_eq!(super::effect(sql).0, effect, "{sql}");
        }
    }

    #[test]
    fn whatever_ends_a_transaction_is_found() {
        all_are(
            Effect::Transaction,
            &[
                "COMMIT",
                "commit and chain",
                " ; ROLLBACK; BEGIN",
                "rollback and no chain",
                "ABORT",
                "END TRANSACTION",
                "PREPARE TRANSACTION 'x'",
                "INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2)",
                "/* a /* nested */ comment */ COMMIT",
                "-- a comment\nCOMMIT",
                r"SELECT E'\'; '; COMMIT",
                r"SELECT '\'; COMMIT; --'",
                "SELECT 'it''s'; COMMIT",
                "SELECT $a$ $b$ ; $a$; COMMIT",
                "SELECT $1; COMMIT",
                "SELECT \"a;b\"; COMMIT",
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; COMMIT",
                "COMMIT -- binds: []",
            ],
        );
        let (_, words) = effect("SELECT 1; commit and chain read only");
        assert_eq!(words, "COMMIT AND CHAIN");
    }

    #[test]
    fn what_may_outlive_a_transaction_is_found() {
        all_are(
            Effect::Connection,
            &[
                "SET search_path = x",
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                "SET ROLE x",
                "SET SESSION AUTHORIZATION x",
                "RESET ALL",
                "DISCARD TEMP",
                "DEALLOCATE ALL",
                "PREPARE p AS SELECT 1",
                "EXECUTE p",
                "LISTEN x",
                "UNLISTEN *",
                "LOAD 'auto_explain'",
                "DO $$ BEGIN NULL; END $$",
                "CALL p()",
                "CREATE TEMP TABLE t (n int)",
                "CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1",
                "SELECT 1 INTO TEMP t",
                "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
                "SELECT pg_catalog.set_config('a.b', 'c', false)",
                "SELECT \"set_config\"('a.b', 'c', false)",
                "WITH x AS (SELECT pg_try_advisory_lock(1)) SELECT * FROM x",
                "SELECT 1; SET TIME ZONE 'UTC'",
                "what is this",
            ],
        );
    }

    #[test]
    fn ordinary_statements_leave_nothing_behind() {
        all_are(
            Effect::Rows,
            &[
                "",
                ";;",
                "SELECT 'COMMIT; SET x = 1'",
                "SELECT $$ COMMIT; $$, $tag$ ; ROLLBACK $tag$",
                "(SELECT 1) UNION (SELECT 2)",
                "UPDATE t SET temp = 1, commit = 2 WHERE \"end\" = $1",
                "INSERT INTO t SELECT temp FROM u",
                "SAVEPOINT a; ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT a; RELEASE a",
                "SET LOCAL lock_timeout = '1s'",
                "SET CONSTRAINTS ALL DEFERRED",
                "SET TRANSACTION READ ONLY",
                "SELECT pg_advisory_xact_lock(1)",
                "DECLARE c CURSOR FOR SELECT 1; FETCH 1 FROM c",
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
                "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a -- binds: [\"COMMIT\"]",
                "BEGIN",
                "NOTIFY x, 'COMMIT'",
            ],
        );
    }

    #[test]
    fn no_text_makes_the_search_fail() {
        for sql in [
            "'",
            "E'\\",
            "$",
            "$a",
            "$a$",
            "\"",
            "/*",
            "/**",
            "--",
            "e",
            "é'ß",
            "$é$ x $é$;",
            "E",
        ] {
            let _ = effect(sql);
        }
    }
}
