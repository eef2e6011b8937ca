//! The errors that are legal under the faults of the stress. Any other ends its process.

use bmdb_core::{Bmdb, Config, ConnectError, HistoryDetail, TxError};
use bmdb_model::Failure;
use deadpool::managed::PoolError;
use std::time::Duration;

/// Whose connections are killed.
pub(super) const VICTIM: &str = "stress";

/// What a worker does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    /// Goes on in its session.
    GoOn,
    /// Starts a new session.
    Over,
}

/// Says how to go on after an error; panics when no fault of the stress accounts for it.
pub(super) fn tolerate(what: &str, error: &TxError) -> Next {
    match error {
        // Zombies, walkers, and whoever was kept from beating.
        TxError::SessionExpired => Next::Over,
        // The heartbeat's connection was killed; the caller waits.
        TxError::Suspect => Next::GoOn,
        // The connection was killed: during a commit, a statement, or while it was being made.
        TxError::CommitUnknown(_) => Next::GoOn,
        TxError::Database(error) if error.failure() == Failure::ConnectionLost => Next::GoOn,
        TxError::Unavailable(source) => match source.downcast_ref::<PoolError<ConnectError>>() {
            Some(PoolError::Backend(error)) if is_kill(error) => Next::GoOn,
            _ => panic!("{what}: {error}: {error:?}"),
        },
        _ => panic!("{what}: {error}: {error:?}"),
    }
}

/// Whether making a connection failed because it was killed: `admin_shutdown`, or the connection was
/// gone before the reason could be read.
fn is_kill(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused { code, .. } => code == "57P01",
        ConnectError::SetUp { reason, .. } => reason.failure() == Failure::ConnectionLost,
        ConnectError::Unreachable { .. } => true,
        _ => false,
    }
}

/// A component with everything on: its own janitor, and every attempt in the history, for good.
pub(super) async fn connect(url: &str) -> Bmdb {
    let config = Config::new(url)
        .component(VICTIM)
        .history(HistoryDetail::Full)
        .retention(None)
        .pool_size(8)
        .janitor_interval(Some(Duration::from_millis(200)));
    loop {
        match Bmdb::connect(config.clone()).await {
            Ok(bmdb) => return bmdb,
            Err(error) => assert!(is_kill(&error), "connecting: {error}"),
        }
    }
}
