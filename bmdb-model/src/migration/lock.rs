//! The lock by which concurrent migrators take turns.

/// The key of the session-level advisory lock of migrators ("bmdb").
pub(crate) const MIGRATION_LOCK: i64 = 0x626d_6462;
