//! The lock that migrators take in turn.

/// The key of the session-level advisory lock that makes concurrent migrators take turns ("bmdb").
pub(crate) const MIGRATION_LOCK: i64 = 0x626d_6462;
