//! The names of tags: a tag is a table.

/// The table's name without what the names of all of bmdb's have before them.
pub(crate) fn name(table: &str) -> &str {
    table.strip_prefix("machine_").unwrap_or(table)
}
