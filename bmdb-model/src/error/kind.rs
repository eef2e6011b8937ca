//! Kinds of errors: what each class of SQLSTATEs means, and for whom.

/// What an error means for the caller's next step.
///
/// | SQLSTATE | kind | a transaction | a claim, a control loop | an end | a heartbeat | an operator's command |
/// |---|---|---|---|---|---|---|
/// | 40xxx | `Serialization`, `Deadlock` | runs again | asks again | again | again | runs again |
/// | 23505 on the lane | `LaneTaken` | runs again | asks again | | | exit code 4 |
/// | 08xxx, 57P0x, 25P03, any `FATAL` | `ConnectionLost` | error; a commit is in doubt | asks again; claims are searched for | looks up its fence, then again | new connection | 5 |
/// | 0A000, 26xxx, 42P05 | `StalePlan` | again on a new connection | asks again | again | new connection | 5 |
/// | 25006 | `ReadOnly` | again on a new connection | asks again, for as long as it lives | for as long as the lease lives | new connection | 5 |
/// | 53xxx, 58xxx | `OutOfResources` | error | asks again | for as long as the lease lives | again | 5 |
/// | 08001, 08003, 08004, 55000, 55006, 57000 | `NotReady` | error | asks again | as `Denied` | again | 5 |
/// | 55P03 | `LockTimeout` | error | asks again | for as long as the lease lives | again | 4 |
/// | 57014 | `StatementTimeout`, `Canceled` | error | asks again | for as long as the lease lives | again | 5 |
/// | XXxxx | `Internal` | error | asks again | as `Denied` | again | 1 |
/// | 22xxx, 54xxx | `InvalidValue` | error | asks again; a machine that cannot be read backs off | recorded in another form, or as a failure | | 2 |
/// | 42501, 28xxx, 0Pxxx | `Denied` | error | ends | as long as the lease lives; with statements of the caller's for a minute | until the lease is lost | 7 |
/// | 42xxx, 3Fxxx | `SchemaMismatch` | error | ends | as `Denied` | until the lease is lost | 6 |
/// | 25P02 | `Aborted` | error | ends | given up | again | 1 |
/// | all others | `Other` | error | ends | given up | until the lease is lost | 1 |
///
/// Connecting is different: a control loop that has worked waits whatever the reason is, because a
/// password or a certificate is renewed and a database restored while it runs. At its start it only waits
/// for servers that start up or have no connection free.
///
/// What may pass is waited for with growing delays. A loop logs each new reason with its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transaction conflicted with a concurrent one (SQLSTATE 40001): run it again.
    Serialization,
    /// The transaction was the victim of a deadlock (40P01): run it again.
    Deadlock,
    /// A concurrent claim got the lane first (23505 on `work_item_lane`).
    LaneTaken,
    /// The connection is lost; it is unknown whether the statement took effect.
    ConnectionLost,
    /// An earlier failed statement has aborted the transaction (25P02).
    Aborted,
    /// The database user lacks a privilege (42501): components may not do this, or the user is not a
    /// member of `bmdb_component` ([`crate::grants`]).
    Denied,
    /// Another transaction has held a lock that the statement needs for longer than `lock_timeout`
    /// (55P03). The statement changed nothing. Running it again at once would wait as long again: do so
    /// later, or find out who holds the lock (`pg_blocking_pids`).
    LockTimeout,
    /// The statement took longer than `statement_timeout` (57014). It changed nothing, and would take
    /// as long again. Where the server's messages are not English, also [`ErrorKind::Canceled`], which has
    /// the same code.
    StatementTimeout,
    /// Somebody canceled the statement (57014 by `pg_cancel_backend`). It changed nothing.
    Canceled,
    /// The server takes no writes (25006): it is a standby that is not promoted yet, or an administrator
    /// has made it read-only. Other connections may reach one that does.
    ReadOnly,
    /// The server lacks disk, memory or connections, or met an error of its disk (53xxx, 58xxx). The
    /// statement changed nothing; a later one may succeed.
    OutOfResources,
    /// Something that the statement needs is not there now, such as another server that a view reads
    /// (08001, 55000, 55006).
    NotReady,
    /// The connection remembers what is no longer so: a plan from before a migration, or a prepared
    /// statement that a connection pooler has lost (0A000, 26000). Run the statement on a new connection.
    StalePlan,
    /// The server met an error of its own (XX000), or found corrupted data. A later try may succeed.
    Internal,
    /// A value is invalid or too large for the database, or cannot be stored in its encoding (22xxx,
    /// 54xxx). Other values may be stored; this one never.
    InvalidValue,
    /// A table, column or function is missing or has another type (42xxx, 3F000): the schema is not the
    /// one that the statement was written for.
    SchemaMismatch,
    /// Anything else: a retry would fail again.
    Other,
}

impl ErrorKind {
    /// Whether running the same transaction again at once may succeed, because it lost against a
    /// concurrent one.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Serialization | Self::Deadlock)
    }

    /// Whether running the same transaction on a new connection at once may succeed, because the fault is
    /// one of this connection. Nothing was committed.
    #[must_use]
    pub const fn is_the_connections(self) -> bool {
        matches!(self, Self::ReadOnly | Self::StalePlan)
    }

    /// Whether waiting may help, with nothing changed by the caller or an administrator of the schema and
    /// its privileges.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Serialization
            | Self::Deadlock
            | Self::LaneTaken
            | Self::ConnectionLost
            | Self::LockTimeout
            | Self::StatementTimeout
            | Self::Canceled
            | Self::ReadOnly
            | Self::OutOfResources
            | Self::NotReady
            | Self::StalePlan
            | Self::Internal => true,
            Self::Aborted
            | Self::Denied
            | Self::InvalidValue
            | Self::SchemaMismatch
            | Self::Other => false,
        }
    }

    /// Whether the connection must not be used again. After a cancellation a second one may be on its way,
    /// which would hit the next statement.
    #[must_use]
    pub const fn spoils_connection(self) -> bool {
        matches!(
            self,
            Self::ConnectionLost
                | Self::ReadOnly
                | Self::StalePlan
                | Self::StatementTimeout
                | Self::Canceled
                | Self::Internal
        )
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn what_lost_or_belongs_to_a_connection_may_pass() {
        use ErrorKind::{ConnectionLost, Deadlock, ReadOnly, Serialization, StalePlan};
        for kind in [Serialization, Deadlock, StalePlan, ReadOnly, ConnectionLost] {
            assert!(kind.may_pass(), "{kind:?}");
            let is_lost_race = kind.is_retryable();
            assert_eq!(kind.spoils_connection(), !is_lost_race, "{kind:?}");
        }
    }
}
