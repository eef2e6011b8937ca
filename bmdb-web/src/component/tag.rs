//! Tag names. A tag is a table.

/// The table's name without the prefix that all tag tables of bmdb have.
pub(crate) fn name(table: &str) -> &str {
    table.strip_prefix("machine_").unwrap_or(table)
}
