//! Differences between declared and real tables, each with its fix.

use super::relation::{Column, Kind, Relation};

pub(super) fn compare(declared: &[Relation], real: &[Relation]) -> Vec<String> {
    let mut differences = Vec::new();
    for relation in declared {
        match real.iter().find(|real| real.name == relation.name) {
            Some(real) => columns(relation, real, &mut differences),
            None => differences.push(format!(
                "{}: the database has no such table or view: remove the block, or add a migration",
                relation.name
            )),
        }
    }
    // A view that is not queried through Diesel needs no block.
    for table in real.iter().filter(|real| real.kind == Kind::Table) {
        if !declared.iter().any(|declared| declared.name == table.name) {
            differences.push(format!("{}: no block, add\n{table}", table.name));
        }
    }
    differences
}

fn columns(declared: &Relation, real: &Relation, differences: &mut Vec<String>) {
    let table = &declared.name;
    for column in &declared.columns {
        let Some(actual) = real.columns.iter().find(|real| real.name == column.name) else {
            differences.push(format!(
                "{table}.{}: the database has no such column: remove it, or add a migration",
                column.name
            ));
            continue;
        };
        let same = match real.kind {
            Kind::Table => same_type(column, actual) && column.nullable == actual.nullable,
            Kind::View => same_type(column, actual),
        };
        if !same {
            let mut wanted = actual.clone();
            if real.kind == Kind::View {
                wanted.nullable = column.nullable;
            }
            differences.push(format!("{table}: `{column}` must be `{wanted}`"));
        }
    }
    for actual in &real.columns {
        if !declared.columns.iter().any(|c| c.name == actual.name) {
            differences.push(format!("{table}: `{actual}` is missing"));
        }
    }
    order_and_key(declared, real, differences);
}

fn order_and_key(declared: &Relation, real: &Relation, differences: &mut Vec<String>) {
    let table = &declared.name;
    let both = |of: &Relation, other: &Relation| -> Vec<String> {
        let names = of.columns.iter().map(|column| column.name.clone());
        names
            .filter(|name| other.columns.iter().any(|column| column.name == *name))
            .collect()
    };
    let order = both(real, declared);
    if both(declared, real) != order {
        differences.push(format!("{table}: the order must be {}", order.join(", ")));
    }
    if real.kind == Kind::Table && declared.primary_key != real.primary_key {
        differences.push(format!(
            "{table}: the key ({}) must be ({})",
            declared.primary_key.join(", "),
            real.primary_key.join(", ")
        ));
    }
}

fn same_type(declared: &Column, real: &Column) -> bool {
    canonical(&declared.sql_type) == canonical(&real.sql_type)
}

/// One name for types that have several in Diesel.
fn canonical(name: &str) -> String {
    match name {
        "BigInt" | "Bigint" => "Int8",
        "Integer" => "Int4",
        "SmallInt" | "Smallint" => "Int2",
        "VarChar" => "Varchar",
        "Binary" | "Blob" => "Bytea",
        "Double" => "Float8",
        "Float" => "Float4",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::declared;
    use super::*;

    fn relations(body: &str) -> Vec<Relation> {
        declared::relations(&format!("diesel::table! {{ {body} }}")).unwrap()
    }

    fn differences(declared: &str, real: &str, kind: Kind) -> Vec<String> {
        let mut real = relations(real);
        real[0].kind = kind;
        compare(&relations(declared), &real)
    }

    const REAL: &str = "t (a, b) { a -> Uuid, b -> Int8, c -> Nullable<Text>, }";

    #[test]
    fn equal_tables_do_not_differ_whatever_name_a_type_goes_by() {
        let declared =
            "t (a, b) { a -> Uuid, b -> BigInt, c -> Nullable<diesel::sql_types::Text>, }";
        assert!(differences(declared, REAL, Kind::Table).is_empty());
    }

    #[test]
    fn each_difference_is_named_with_its_fix() {
        for (declared, difference) in [
            (
                "t (a, b) { a -> Uuid, b -> Int4, c -> Nullable<Text>, }",
                "t: `b -> Int4,` must be `b -> Int8,`",
            ),
            (
                "t (a, b) { a -> Uuid, b -> Int8, c -> Text, }",
                "t: `c -> Text,` must be `c -> Nullable<Text>,`",
            ),
            (
                "t (a, b) { a -> Uuid, b -> Int8, }",
                "t: `c -> Nullable<Text>,` is missing",
            ),
            (
                "t (a, b) { a -> Uuid, b -> Int8, c -> Nullable<Text>, d -> Bool, }",
                "t.d: the database has no such column: remove it, or add a migration",
            ),
            (
                "t (a, b) { b -> Int8, a -> Uuid, c -> Nullable<Text>, }",
                "t: the order must be a, b, c",
            ),
            (
                "t (a) { a -> Uuid, b -> Int8, c -> Nullable<Text>, }",
                "t: the key (a) must be (a, b)",
            ),
        ] {
            assert_eq!(differences(declared, REAL, Kind::Table), [difference]);
        }
    }

    #[test]
    fn a_table_on_one_side_only_is_named() {
        let other = "u (a) { a -> Uuid, }";
        let found = differences(other, REAL, Kind::Table);
        assert!(found[0].starts_with("u: the database has no such table"));
        assert!(found[1].starts_with("t: no block, add\ndiesel::table! {\n    t (a, b) {"));
    }

    #[test]
    fn of_a_view_only_names_and_types_are_compared() {
        let declared = "t (c) { a -> Nullable<Uuid>, b -> Int8, c -> Text, }";
        assert!(differences(declared, REAL, Kind::View).is_empty());
        let wrong = "t (c) { a -> Nullable<Text>, b -> Int8, c -> Text, }";
        assert_eq!(
            differences(wrong, REAL, Kind::View),
            ["t: `a -> Nullable<Text>,` must be `a -> Nullable<Uuid>,`"]
        );
        assert_eq!(
            differences("u (a) { a -> Int4, }", REAL, Kind::View).len(),
            1
        );
    }
}
