//! Role names, and the tables that components may not write freely.

/// The role that owns the schema's contents.
pub const OWNER: &str = "bmdb_owner";
/// The role of control loops.
pub const COMPONENT: &str = "bmdb_component";
/// The role of readers.
pub const VIEWER: &str = "bmdb_viewer";

/// Tables that all components rely on or that decide who may connect. Migrations and those who define
/// processes write them, components never do.
///
/// Every component and every migrator runs the view that a definition names.
pub(super) const GUARDED: [&str; 3] = [
    "process_def",
    "schema_compatibility",
    "__diesel_schema_migrations",
];

/// Tables to which components add rows that they cannot change: the audit records.
pub(super) const APPENDED: [&str; 1] = ["operator_action"];
