//! What one migration changed in existing tables, read from the catalog.

use bmdb_shell::Failure;
use std::collections::BTreeMap;
use tokio_postgres::{NoTls, Row};

/// Tables and views with their files. A new file means that the table was rewritten.
const RELATIONS: &str = "
    SELECT relname::text, pg_relation_filenode(oid)::bigint FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'v')
      AND relname <> '__diesel_schema_migrations'";

const COLUMNS: &str = "
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
           a.attnotnull AND NOT a.atthasdef
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v')
      AND c.relname <> '__diesel_schema_migrations' AND a.attnum > 0 AND NOT a.attisdropped";

/// Indexes and checks. To make one, the server reads the whole table while writers wait.
const SCANS: &str = "
    SELECT c.relname::text, 'index ' || i.relname
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
    WHERE c.relnamespace = current_schema()::regnamespace
    UNION ALL
    SELECT c.relname::text, 'constraint ' || k.conname
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.connamespace = current_schema()::regnamespace AND k.contype IN ('c', 'f')
      AND k.convalidated";

const MARK: &str = "SELECT oldest_compatible FROM schema_compatibility";

const LEFT_OUT: &str = "older components do not set it, and their writes fail";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    sql_type: String,
    /// Whether a writer must set it.
    required: bool,
}

/// A schema, as far as it concerns components of the previous release.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    files: BTreeMap<String, Option<i64>>,
    columns: BTreeMap<(String, String), Column>,
    scanned: Vec<(String, String)>,
    oldest_compatible: String,
}

impl Seen {
    pub(super) fn columns(&self) -> Vec<(&str, &str)> {
        let columns = self.columns.keys();
        columns.map(|(table, name)| (&**table, &**name)).collect()
    }
}

pub(super) async fn look(url: &str) -> Result<Seen, Failure> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.map_err(Failure::check)?;
    tokio::spawn(connection);
    let rows = async |sql: &str| -> Result<Vec<Row>, Failure> {
        client.query(sql, &[]).await.map_err(Failure::check)
    };
    let mut seen = Seen::default();
    for row in rows(RELATIONS).await? {
        seen.files.insert(row.get(0), row.get(1));
    }
    for row in rows(COLUMNS).await? {
        let (sql_type, required) = (row.get(2), row.get(3));
        let column = Column { sql_type, required };
        seen.columns.insert((row.get(0), row.get(1)), column);
    }
    for row in rows(SCANS).await? {
        seen.scanned.push((row.get(0), row.get(1)));
    }
    if seen.files.contains_key("schema_compatibility") {
        for row in rows(MARK).await? {
            seen.oldest_compatible = row.get(0);
        }
    }
    Ok(seen)
}

/// What the fleet has to wait for during a migration; longer in a larger fleet.
pub(super) fn notes(before: &Seen, after: &Seen) -> Vec<String> {
    let new = after
        .scanned
        .iter()
        .filter(|scan| !before.scanned.contains(scan));
    let new = new.filter(|(table, _)| before.files.contains_key(table));
    let mut notes: Vec<String> = new
        .map(|(table, what)| {
            format!("{table} is read completely for {what}, while its writers wait")
        })
        .collect();
    if before.oldest_compatible != after.oldest_compatible {
        let mark = &after.oldest_compatible;
        notes.push(format!(
            "components that do not know {mark} are refused from now on"
        ));
    }
    notes
}

/// What components of the previous release cannot work with, unless the migration refuses them.
pub(super) fn problems(before: &Seen, after: &Seen) -> Vec<String> {
    if before.files.is_empty() || before.oldest_compatible != after.oldest_compatible {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (table, file) in &before.files {
        match after.files.get(table) {
            None => problems.push(format!("{table} is removed, but older components use it")),
            Some(now) if now != file => problems.push(format!(
                "{table} is rewritten, which locks it for everybody: add a column instead and \
                 fill it in small steps"
            )),
            Some(_) => {}
        }
    }
    for ((table, name), was) in &before.columns {
        match after.columns.get(&(table.clone(), name.clone())) {
            None if after.files.contains_key(table) => {
                problems.push(format!(
                    "{table}.{name} is removed, but older components use it"
                ));
            }
            Some(now) if now.sql_type != was.sql_type => problems.push(format!(
                "{table}.{name} was {} and is {}: older components expect the former",
                was.sql_type, now.sql_type
            )),
            Some(now) if now.required && !was.required => {
                problems.push(format!("{table}.{name} must be set now: {LEFT_OUT}"));
            }
            _ => {}
        }
    }
    for ((table, name), column) in &after.columns {
        let new = !before.columns.contains_key(&(table.clone(), name.clone()));
        if new && column.required && before.files.contains_key(table) {
            problems.push(format!(
                "{table}.{name} is NOT NULL without a default: {LEFT_OUT}"
            ));
        }
    }
    problems
}

/// The tables in lines of the catalog.
pub(super) fn tables(catalog: &[String]) -> impl Iterator<Item = &str> {
    catalog
        .iter()
        .filter_map(|line| line.strip_prefix("table ")?.split(' ').next())
}

/// Whether a line of the catalog concerns this table.
pub(super) fn is_of(line: &str, table: &str) -> bool {
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("column" | "constraint" | "trigger"), Some(rest)) => {
            rest.split_once('.').is_some_and(|(of, _)| of == table)
        }
        (Some("index"), _) => line.contains(&format!(".{table} USING")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(sql_type: &str, required: bool) -> Column {
        let sql_type = sql_type.to_owned();
        Column { sql_type, required }
    }

    fn seen(columns: &[(&str, &Column)], file: i64) -> Seen {
        let columns = columns
            .iter()
            .map(|(name, column)| (("t".to_owned(), (*name).to_owned()), (*column).clone()));
        Seen {
            files: BTreeMap::from([("t".to_owned(), Some(file))]),
            columns: columns.collect(),
            scanned: Vec::new(),
            oldest_compatible: "1".to_owned(),
        }
    }

    #[test]
    fn what_older_components_cannot_live_with_is_named_unless_they_are_refused() {
        let (text, number, required) = (
            &column("text", false),
            &column("bigint", false),
            &column("text", true),
        );
        let before = seen(&[("a", text), ("b", text)], 1);
        for (after, problem) in [
            (seen(&[("a", text)], 1), "t.b is removed"),
            (
                seen(&[("a", text), ("b", number)], 1),
                "t.b was text and is bigint",
            ),
            (
                seen(&[("a", text), ("b", required)], 1),
                "t.b must be set now",
            ),
            (
                seen(&[("a", text), ("b", text), ("c", required)], 1),
                "t.c is NOT NULL without a default",
            ),
            (seen(&[("a", text), ("b", text)], 2), "t is rewritten"),
        ] {
            let found = problems(&before, &after);
            assert!(found[0].starts_with(problem), "{found:?}");
            let refusing = Seen {
                oldest_compatible: "2".to_owned(),
                ..after
            };
            assert_eq!(problems(&before, &refusing), [""; 0]);
        }
        let compatible = seen(&[("a", text), ("b", text), ("c", number)], 1);
        assert_eq!(problems(&before, &compatible), [""; 0]);
    }

    #[test]
    fn notes_say_what_a_table_is_read_completely_for() {
        let before = seen(&[], 1);
        let mut after = seen(&[], 1);
        after.scanned = [("t", "index t_a"), ("new", "index new_a")]
            .map(|(table, what)| (table.to_owned(), what.to_owned()))
            .to_vec();
        let expected = ["t is read completely for index t_a, while its writers wait"];
        assert_eq!(notes(&before, &after), expected);
    }

    #[test]
    fn a_line_of_a_catalog_is_known_to_be_of_its_table() {
        for line in [
            "column t.a text",
            "constraint t.a CHECK (a)",
            "index i: CREATE INDEX i ON s.t USING btree (a)",
        ] {
            assert!(is_of(line, "t"), "{line}");
            assert!(!is_of(line, "u"), "{line}");
        }
    }
}
