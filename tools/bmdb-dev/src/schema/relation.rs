//! Relation: a table or view with its columns, declared in `schema.rs` or found in a database.

use std::fmt;

/// A table or view, declared or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) primary_key: Vec<String>,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    /// For a view, the database knows neither the key nor which columns can be null.
    View,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sql_type: String,
    pub(super) nullable: bool,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sql_type, .. } = self;
        if self.nullable {
            write!(f, "{name} -> Nullable<{sql_type}>,")
        } else {
            write!(f, "{name} -> {sql_type},")
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == Kind::View {
            writeln!(f, "// A view: choose the key and the nullable columns.")?;
        }
        writeln!(f, "diesel::table! {{")?;
        writeln!(f, "    {} ({}) {{", self.name, self.primary_key.join(", "))?;
        for column in &self.columns {
            writeln!(f, "        {column}")?;
        }
        writeln!(f, "    }}\n}}")
    }
}
