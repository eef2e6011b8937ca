//! The roles of an installation, and the tables that components may not write freely.

/// The role that owns the schema's contents.
pub const OWNER: &str = "bmdb_owner";
/// The role of control loops.
pub const COMPONENT: &str = "bmdb_component";
/// The role of readers.
pub const VIEWER: &str = "bmdb_viewer";

/// What everybody must know alike, and what says who may connect: written by migrations and by those
/// who define processes, never by components.
///
/// The planner of every component, and of whoever migrates, runs the view that a definition names.
pub(super) const GUARDED: [&str; 3] = [
    "process_def",
    "schema_compatibility",
    "__diesel_schema_migrations",
];

/// What components add to and never change: the traces of what people did.
pub(super) const APPENDED: [&str; 1] = ["operator_action"];
