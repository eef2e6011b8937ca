//! Reads the tables and views of a database.

use super::relation::{Column, Kind, Relation};
use bmdb_testkit::{TestDb, TestkitError};

const COLUMNS: &str = "
    SELECT c.relname, c.relkind = 'v', a.attname, t.typname, NOT a.attnotnull,
           coalesce(array_position(i.indkey::int[], a.attnum::int) + 1, 0)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    ORDER BY c.relname, a.attnum";

pub(super) async fn relations(db: &TestDb) -> Result<Vec<Relation>, TestkitError> {
    let mut relations: Vec<Relation> = Vec::new();
    let mut key: Vec<(u32, String)> = Vec::new();
    for row in db.rows(COLUMNS).await? {
        let fields: Vec<&str> = row.split('|').collect();
        let [table, view, name, type_name, nullable, key_position] = fields[..] else {
            continue;
        };
        if relations.last().is_none_or(|last| last.name != table) {
            key.clear();
            relations.push(Relation {
                name: table.to_owned(),
                kind: if view == "t" { Kind::View } else { Kind::Table },
                primary_key: Vec::new(),
                columns: Vec::new(),
            });
        }
        let Some(relation) = relations.last_mut() else {
            continue;
        };
        match key_position.parse() {
            Ok(0) | Err(_) => {}
            Ok(position) => {
                key.push((position, name.to_owned()));
                key.sort();
                relation.primary_key = key.iter().map(|(_, name)| name.clone()).collect();
            }
        }
        relation.columns.push(Column {
            name: name.to_owned(),
            sql_type: diesel_type(type_name),
            nullable: nullable == "t",
        });
    }
    Ok(relations)
}

/// `timestamptz` is `Timestamptz`, `_text` is `Array<Text>`: Diesel names types as the catalog
/// does, but capitalised.
fn diesel_type(type_name: &str) -> String {
    if let Some(element) = type_name.strip_prefix('_') {
        return format!("Array<{}>", diesel_type(element));
    }
    let mut letters = type_name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
