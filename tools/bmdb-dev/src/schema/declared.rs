//! Reads the `diesel::table!` blocks of a file with the macro's own parser.

use super::relation::{Column, Kind, Relation};
use diesel_table_macro_syntax::{ColumnDef, TableDecl};
use syn::{GenericArgument, Item, PathArguments, Type, TypePath};

pub(super) fn relations(text: &str) -> syn::Result<Vec<Relation>> {
    let mut relations = Vec::new();
    for item in syn::parse_file(text)?.items {
        if let Item::Macro(item) = item
            && item
                .mac
                .path
                .segments
                .last()
                .is_some_and(|last| last.ident == "table")
        {
            relations.push(relation(&item.mac.parse_body()?));
        }
    }
    Ok(relations)
}

fn relation(table: &TableDecl) -> Relation {
    let key = table.primary_keys.iter().flat_map(|key| &key.keys);
    let key: Vec<String> = key.map(ToString::to_string).collect();
    Relation {
        name: table.sql_name.clone(),
        // Only the database knows whether it is a view.
        kind: Kind::Table,
        // Diesel's default where no key is given.
        primary_key: if key.is_empty() {
            vec!["id".to_owned()]
        } else {
            key
        },
        columns: table.column_defs.iter().map(column).collect(),
    }
}

fn column(column: &ColumnDef) -> Column {
    let (sql_type, nullable) = match nullable(&column.tpe) {
        Some(inner) => (last_name(inner), true),
        None => (last_name(&column.tpe), false),
    };
    Column {
        name: column.sql_name.clone(),
        sql_type,
        nullable,
    }
}

fn nullable(path: &TypePath) -> Option<&TypePath> {
    let last = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first()? {
        GenericArgument::Type(Type::Path(inner)) if last.ident == "Nullable" => Some(inner),
        _ => None,
    }
}

/// The type's name without its path, arrays as `Array<…>`.
fn last_name(path: &TypePath) -> String {
    let Some(last) = path.path.segments.last() else {
        return String::new();
    };
    if let PathArguments::AngleBracketed(arguments) = &last.arguments
        && let Some(GenericArgument::Type(Type::Path(inner))) = arguments.args.first()
    {
        return format!("{}<{}>", last.ident, last_name(inner));
    }
    last.ident.to_string()
}
